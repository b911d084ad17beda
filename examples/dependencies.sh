#!/bin/sh
# Installs Debian/Ubuntu packages that are missing: sh examples/dependencies.sh PACKAGE...
# Used by examples/quickstart.sh, tests/run.sh and .ci/run; on other systems install the equivalents.
set -eu

command -v dpkg-query >/dev/null 2>&1 || {
    echo "not a Debian-like system: make sure these are installed: $*" >&2
    exit 0
}
missing=
for package in "$@"; do
    case "$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)" in
    'install ok installed') ;;
    *) missing="$missing $package" ;;
    esac
done
[ -n "$missing" ] || exit 0
as_root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 || { echo "please install:$missing" >&2; exit 1; }
    as_root=sudo
fi
echo "Installing:$missing"
log=$(mktemp)
if ! { DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -q $missing >"$log" 2>&1 ||
       { $as_root apt-get update -q >>"$log" 2>&1 &&
         DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -q $missing >>"$log" 2>&1; }; }
then
    cat "$log" >&2
    rm -f "$log"
    exit 1
fi
rm -f "$log"
