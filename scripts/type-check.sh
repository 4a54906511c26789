#!/usr/bin/env bash
# Checks the types of everything: scripts/type-check.sh [options of mypy]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup dev
export PATH="${WKDVID_VENV:-$PWD/.venv}/bin:$PATH"
exec mypy --num-workers=auto "$@"
