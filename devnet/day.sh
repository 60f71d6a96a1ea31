#!/usr/bin/env bash
# Plays a day of a real feeder through the running network. See --help.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Paths on the command line are the caller's; what is ours is found from the checkout.
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
if [ ! -x "$root/.venv/bin/python" ]; then
    echo "error: nothing is installed yet: run devnet/up.sh first" >&2
    exit 1
fi
exec "$root/.venv/bin/python" -m devnet.day "$@"
