#!/usr/bin/env bash
# Fails where scripts/pretty.sh would change the format.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup dev
export PATH="${WKDVID_VENV:-$PWD/.venv}/bin:$PATH"
exec ruff format --diff .
