#!/usr/bin/env bash
# Generates gridbft/v1 from proto/gridbft/v1; --check only compares, and fails when the checked-in code is stale.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
export PATH="$(dirname "$python"):$PATH"   # protoc finds the mypy plugins beside the interpreter
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
"$python" -m grpc_tools.protoc -I "$root/proto" --python_out="$out" --grpc_python_out="$out" \
    --mypy_out="$out" --mypy_grpc_out="$out" "$root"/proto/gridbft/v1/*.proto
if [ "${1:-}" = "--check" ]; then
    for f in "$out"/gridbft/v1/*; do
        cmp -s "$f" "$root/gridbft/v1/$(basename "$f")" || { echo "gridbft/v1/$(basename "$f") is stale: run proto/generate.sh" >&2; exit 1; }
    done
    echo "gridbft/v1 matches proto/"
else
    mkdir -p "$root/gridbft/v1"
    cp "$out"/gridbft/v1/* "$root/gridbft/v1/"
fi
