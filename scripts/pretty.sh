#!/usr/bin/env bash
# Formats the code and mends what the linter can mend.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup dev
export PATH="${WKDVID_VENV:-$PWD/.venv}/bin:$PATH"
ruff check --fix-only .
exec ruff format .
