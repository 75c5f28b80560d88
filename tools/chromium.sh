#!/usr/bin/env bash
# The page tests drive a real browser: Debian's Chromium, installed if missing and possible.
set -uo pipefail
command -v chromium >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing chromium for the page tests" >&2
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
else
    echo "chromium is missing: the page tests need it (Debian: apt-get install chromium)" >&2
    exit 1
fi
