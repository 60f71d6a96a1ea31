#!/usr/bin/env bash
# Installs what tests need and runs every check; arguments go to pytest. The last line is pytest's own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. devnet/install.sh
install requirements-dev.lock
tests/install-browser.sh
.venv/bin/ruff format --check .
.venv/bin/ruff check .
.venv/bin/mypy
.venv/bin/lint-imports
proto/generate.sh --check
exec .venv/bin/python -m pytest "$@"
