from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.sdk.fake import Fake, faking


@pytest.fixture
def fake() -> Iterator[Fake]:
    with faking() as running:
        yield running
