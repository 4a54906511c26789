#!/usr/bin/env bash
# The table of speed and memory: benchmarks/run_all.sh [options of benchmarks.run_all]
#
# Needs wrk, nginx and haproxy, which are installed where that is possible. WKDVID_TEST_DATA: see scripts/test.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export PATH="$PATH:/usr/sbin" # where Debian puts both
if ! command -v nginx >/dev/null; then
    scripts/debian-packages nginx
    service nginx stop >/dev/null 2>&1 || true # its package starts it on port 80; the benchmark starts its own
fi
scripts/debian-packages haproxy wrk

scripts/setup dev
export PATH="${WKDVID_VENV:-$PWD/.venv}/bin:$PATH"
if [[ -z "${WKDVID_TEST_DATA:-}" && -d ../shared/data ]]; then
    WKDVID_TEST_DATA="$(cd ../shared/data && pwd)"
    export WKDVID_TEST_DATA
fi
exec python -m benchmarks.run_all "$@"
