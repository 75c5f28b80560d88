"""
The one way a function is compiled to machine code here.

Only modules that hold kernels import this one, and they are imported on first use: a process that
neither decodes events nor keeps identities never loads the compiler.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

_F = TypeVar("_F", bound=Callable[..., object])


def compiled(function: _F) -> _F:
    """
    Compile on the first call with each signature, without the GIL, cached on disk.

    The cache lies beside the source or, if that is not writable, in the user's cache directory.
    Where neither can be written the function is compiled again in every process.
    """
    try:
        return cast(_F, numba.njit(nogil=True, cache=True)(function))
    except RuntimeError:
        return cast(_F, numba.njit(nogil=True)(function))
