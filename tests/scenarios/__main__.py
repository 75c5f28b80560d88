"""
Play scenarios and print what came of them: `python -m tests.scenarios [--update] [NAME...]`.

With --update the answers are written into the files. Read the diff before you commit it: the
scenarios are what was promised.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.scenarios.script import read
from tests.scenarios.stage import perform
from tests.serving import serve

HERE = Path(__file__).parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--update", action="store_true")
    parser.add_argument("names", nargs="*")
    asked = parser.parse_args()
    paths = [HERE / f"{name}.scenario" for name in asked.names] or sorted(HERE.glob("*.scenario"))
    changed = 0
    with tempfile.TemporaryDirectory() as directory, serve(Path(directory), "--sandbox") as server:
        for path in paths:
            script = read(path.read_text())
            played = script.with_answers(perform(script, server))
            if asked.update:
                changed += played != path.read_text()
                path.write_text(played)
            else:
                print(played)
    if asked.update:
        print(f"{changed} of {len(paths)} changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
