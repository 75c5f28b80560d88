#!/usr/bin/env bash
# Pin all dependencies with hashes, without naming an index.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=${UV:-uv}
compile() {
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
        --no-emit-index-url --no-annotate "$@"
}
printf 'hatchling\neditables\n' >/tmp/build.in.$$
trap 'rm -f /tmp/build.in.$$' EXIT
compile pyproject.toml /tmp/build.in.$$ -o requirements/run.txt
compile pyproject.toml /tmp/build.in.$$ --extra dev -o requirements/dev.txt
compile pyproject.toml /tmp/build.in.$$ --extra dev --extra bench -o requirements/bench.txt
