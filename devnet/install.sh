# Sourced by the scripts: `install LOCKFILE` makes or updates .venv, only when the lock file or pyproject.toml changed.

# Prints the interpreter to use: first one that every dependency has wheels for (LevelDB's binding stops at 3.12), else any
# that is new enough; then the binding is compiled, which needs LevelDB's headers.
find_python() {
    local candidate newest
    for newest in 12 99; do
        for candidate in ${PYTHON:+"$PYTHON"} python3 python3.12 python3.11 python3.13 python3.14; do
            if "$candidate" -c "import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, $newest + 1))" \
                >/dev/null 2>&1; then
                echo "$candidate"
                return
            fi
        done
    done
    echo "error: Python 3.11 or newer (with venv) is needed: install it, or name it in PYTHON=..." >&2
    return 1
}

install() {
    local lock=$1 python pip stamp fingerprint
    stamp=.venv/.installed-$lock
    if [ ! -x .venv/bin/python ] || ! .venv/bin/python -c '' 2>/dev/null; then
        python=$(find_python)
        rm -rf .venv
        "$python" -m venv .venv
    fi
    # The folder is part of it: a moved checkout is installed again, because scripts in .venv name their interpreter.
    fingerprint=$(pwd; cat "$lock" requirements-build.lock pyproject.toml)
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$fingerprint" ]; then
        return
    fi
    echo "installing $lock into .venv ..." >&2
    pip=(.venv/bin/python -m pip --disable-pip-version-check install --quiet)
    if ! "${pip[@]}" --require-hashes --prefer-binary -r requirements-build.lock -r "$lock"; then
        echo "error: the dependencies could not be installed with $(.venv/bin/python --version): see above. If plyvel" \
            "could not be built, use Python 3.11 or 3.12 (rm -r .venv, PYTHON=python3.12), or install LevelDB's headers" >&2
        return 1
    fi
    "${pip[@]}" --no-deps --no-build-isolation -e .
    printf '%s\n' "$fingerprint" > "$stamp"
}
