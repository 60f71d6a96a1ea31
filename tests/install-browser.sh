#!/usr/bin/env bash
# Installs the browser that looks at the control room's pages, where there is none: as root on a Debian machine, from its packages.
# Elsewhere it says what is missing; the tests that need it decide what that means.
set -euo pipefail
if [ -x "${CHROMIUM:-/usr/bin/chromium}" ]; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "no Chromium: install your system's package of it, or name one in CHROMIUM=..." >&2
    exit 0
fi
echo "installing Chromium ..." >&2
export DEBIAN_FRONTEND=noninteractive
apt-get -o DPkg::Lock::Timeout=300 update -qq
apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends chromium >/dev/null
