#!/usr/bin/env bash
# Installs what is needed, starts the local network, and waits until every node decides. See --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. devnet/install.sh
install requirements.lock
exec .venv/bin/python -m devnet.up "$@"
