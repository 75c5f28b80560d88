"""
`make bench`, or `python -m benchmarks [--quick] [--only NAME] [--json FILE]`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks import gate, machine, rating, report, scenarios
from benchmarks.processes import ROOT

RESULTS = ROOT / "benchmarks" / "results"
ALL = scenarios.ALL | gate.ALL | rating.ALL
PAGE = ROOT / "docs" / "performance.md"


def main() -> int:
    options = _options()
    if options.publish:
        figures = (RESULTS / "latest.md").read_text().partition("\n\n")[2]
        report.publish(PAGE, figures.rstrip() + "\n")
        print(f"{PAGE.relative_to(ROOT)} has the figures of benchmarks/results/latest.md")
        return 0
    parent = Path(options.dir or tempfile.gettempdir())
    if machine.is_memory_disk(parent):
        print(f"{parent} is in memory, where a sync costs nothing; give a --dir on a disk.")
        return 2
    work = Path(tempfile.mkdtemp(prefix="taximeter-bench-", dir=parent))
    try:
        return _run(options, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _run(options: argparse.Namespace, work: Path) -> int:
    plan = scenarios.QUICK if options.quick else scenarios.Plan()
    bench = scenarios.Bench(work, plan, peers=not options.no_peers)
    for name in options.only or ALL:
        print(name, flush=True)
        ALL[name](bench)
    described = machine.describe(work)
    document = report.as_json(bench.measurements, described, plan)
    markdown = report.as_markdown(bench.measurements, described, plan)
    print(f"\n{markdown}")
    if options.json:
        Path(options.json).write_text(json.dumps(document, indent=1) + "\n")
    # Only a whole run replaces the results that are kept.
    if not (options.quick or options.only or options.no_peers):
        report.write(RESULTS, document, markdown)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short run of each")
    parser.add_argument(
        "--only", action="append", choices=list(ALL), help="just this one (repeatable)"
    )
    parser.add_argument("--no-peers", action="store_true", help="just this product")
    parser.add_argument("--json", metavar="FILE", help="also write everything measured here")
    parser.add_argument("--dir", help="where servers keep their data; must be a real disk")
    parser.add_argument(
        "--publish", action="store_true", help="copy the kept results into docs/performance.md"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
