#!/usr/bin/env bash
# Faults on four real processes under load, then every promise is checked. See --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. devnet/install.sh
install requirements.lock
exec .venv/bin/python -m devnet.chaos "$@"
