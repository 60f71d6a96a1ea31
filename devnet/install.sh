# Sourced by the scripts: `install LOCKFILE` makes or updates .venv, only when the lock file or pyproject.toml changed.

# Prints, for a Python of 3.11 to 3.$1 that can make environments, the least time of some rounds of what nodes do all day.
PROBE='
import sys, time, venv, ensurepip
if not (3, 11) <= sys.version_info < (3, int(sys.argv[1]) + 1):
    sys.exit(1)

def price(quantity, limit):
    return quantity * limit // 1000

def round_():
    found = {}
    for number in range(30_000):
        key = b"%d" % (number * 7919 % 1009)
        found[key] = found.get(key, 0) + price(number, len(key))

def timed():
    begun = time.process_time()
    round_()
    return time.process_time() - begun

print(int(min(timed() for _ in range(7)) * 1e6))
'

# Prints the interpreter to use: PYTHON if it is named, else one that every dependency has wheels for (LevelDB's binding stops
# at 3.12), else any that is new enough; then the binding is compiled, which needs LevelDB's headers. Of several that would do,
# the first that takes at most a tenth longer than the fastest: builds of the same version differ by a fourth, for
# distributions optimise theirs with a profile of its use, and who compiles one by hand often does not.
find_python() {
    local candidate newest took least=0 found=() candidates=(python3 /usr/bin/python3 python3.{12,11,13,14})
    if [ -n "${PYTHON:-}" ]; then
        candidates=("$PYTHON")
    fi
    for newest in 12 99; do
        for candidate in "${candidates[@]}"; do
            if took=$("$candidate" -c "$PROBE" "$newest" 2>/dev/null); then
                found+=("$took $candidate")
                if [ "$least" -eq 0 ] || [ "$took" -lt "$least" ]; then
                    least=$took
                fi
            fi
        done
        for candidate in "${found[@]}"; do
            if [ "${candidate%% *}" -le $((least * 11 / 10)) ]; then
                echo "${candidate#* }"
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
