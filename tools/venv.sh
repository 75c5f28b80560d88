#!/usr/bin/env bash
# Make .venv with everything pinned by hash. Needs python >= 3.11; on a bare Debian the venv module
# is a package of its own, so fetch that one if it is missing and we may.
#
#   tools/venv.sh DIRECTORY REQUIREMENTS...
set -euo pipefail
venv=$1
shift
python=${PYTHON:-python3}
stamp="$venv/.installed"
wanted=$(cat "$@" pyproject.toml | sha256sum)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then exit 0; fi
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Taximeter needs Python 3.11 or newer." >&2; exit 1; }
if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    echo "python3-venv is missing; installing it" >&2
    apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
fi
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
for file in "$@"; do
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$file"
done
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
echo "$wanted" >"$stamp"
