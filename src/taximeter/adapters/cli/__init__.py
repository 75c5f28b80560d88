"""
The command line: the same things from the terminal.

Exit codes: 0 ok, 1 a difference or a refusal, 2 wrong usage or any other error, 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; `argv` without the program's name. Returns the exit code."""
    from cyclopts import CycloptsError

    from taximeter.adapters.cli.app import app
    from taximeter.adapters.cli.failures import INTERRUPTED, USAGE, report
    from taximeter.errors import TaximeterError

    tokens = list(sys.argv[1:] if argv is None else argv)
    try:
        result = app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        print(f"{error}\nTry: taximeter {' '.join(tokens[:1])} --help", file=sys.stderr)
        return USAGE
    except TaximeterError as error:
        return report(error, as_json="--json" in tokens)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # `taximeter tail | head`: the reader has seen enough.
        sys.stderr.close()
        return 0
    return result if isinstance(result, int) else 0
