#!/bin/sh
# Runs the whole suite on the current stack in a Debian 13 root, for machines whose own glibc is too old for it,
# and lets each stack read what the other wrote. Needs root and debootstrap.
#
# The root stays in .debian13 between runs, about 6 GB with its .venv; the tests see a copy of the working tree.
set -eu
cd "$(dirname "$0")/.."
here=$PWD
root=$here/.debian13
tree=$root/src/breakhis-knet
exchange=$here/.crossover
bundle=/etc/ssl/certs/ca-certificates.crt

fail() { echo "error: $*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || fail "making a Debian root needs root: run it with sudo"
[ "$(cat .venv/.stack)" = compat ] || fail "this machine runs the current stack itself: make test"
command -v debootstrap >/dev/null || fail "debootstrap is missing: apt-get install debootstrap"

# inside COMMAND...: in the root, with this machine's network settings; the mounts vanish with the command.
inside() {
    unshare --mount sh -euc '
        root=$1 exchange=$2 bundle=$3; shift 3
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        mkdir -p "$root$exchange"
        mount --bind "$exchange" "$root$exchange"
        for file in /etc/resolv.conf /etc/hosts "$bundle"; do
            [ ! -e "$file" ] || { mkdir -p "$root${file%/*}"; touch "$root$file"; mount --bind "$file" "$root$file"; }
        done
        if [ -d ../shared ]; then mkdir -p "$root/src/shared"; mount --bind ../shared "$root/src/shared"; fi
        exec chroot "$root" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 SSL_CERT_FILE="$bundle" \
            CI="${CI:-}" ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
            ${no_proxy:+no_proxy="$no_proxy"} sh -euc "cd /src/breakhis-knet; $*"
    ' inside "$root" "$exchange" "$bundle" "$@"
}

if [ ! -d "$root" ]; then
    echo "making a Debian 13 root in $root"
    rm -rf "$root.part"
    debootstrap --variant=minbase --include=python3,python3-pip,python3-venv,make,gcc,libc6-dev,git,ca-certificates \
        trixie "$root.part" >.debian13.log 2>&1 || { tail .debian13.log >&2; fail "debootstrap failed: see .debian13.log"; }
    mv "$root.part" "$root"
fi

mkdir -p "$tree" "$exchange"
find "$tree" -mindepth 1 -maxdepth 1 ! -name .venv ! -name .uv -exec rm -rf {} +
git ls-files -z --cached --others --exclude-standard |
    tar --create --null --ignore-failed-read --warning=no-failed-read --files-from=- --file=- .git | tar --extract --directory "$tree"

echo "compat, here: writing for current"
rm -rf "${exchange:?}"/*
.venv/bin/python scripts/make_crossover.py "$exchange/compat" 2>>"$exchange/log" || { tail "$exchange/log" >&2; fail "no run on compat"; }
echo "current, in $root: the suite, with what compat wrote"
inside "CROSSOVER=$exchange/compat make test STACK=current"
echo "current, in $root: writing for compat"
inside ".venv/bin/python scripts/make_crossover.py $exchange/current 2>>$exchange/log || { tail $exchange/log >&2; exit 1; }"
echo "compat, here: with what current wrote"
CROSSOVER=$exchange/current .venv/bin/python -m pytest tests/crossover
