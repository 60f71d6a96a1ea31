#!/usr/bin/env bash
# Stops the local network; --wipe also removes its folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ ! -x .venv/bin/python ]; then
    echo "nothing is installed here, so nothing runs"
    exit 0
fi
exec .venv/bin/python -m devnet.down "$@"
