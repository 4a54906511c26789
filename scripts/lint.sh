#!/usr/bin/env bash
# Lints everything: scripts/lint.sh [options of ruff check]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup dev
export PATH="${WKDVID_VENV:-$PWD/.venv}/bin:$PATH"
exec ruff check "$@" .
