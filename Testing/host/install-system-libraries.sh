#!/bin/sh
# The libraries that offscreen Qt and VTK load at run time. Installs them from Debian's packages when run as root; otherwise says what is
# missing and goes on: without them the pictures and the tests on the Slicer host are skipped, the rest works.
set -u
libraries="libEGL.so.1 libEGL_mesa.so.0 libGL.so.1 libxkbcommon.so.0 libdbus-1.so.3 libfontconfig.so.1"
packages="libegl1 libegl-mesa0 libgl1 libgl1-mesa-dri libxkbcommon0 libdbus-1-3 libfontconfig1"

[ "$(uname -s)" = Linux ] || exit 0
missing() {
  cache="$( (ldconfig -p || /sbin/ldconfig -p) 2>/dev/null)"
  for library in $libraries; do
    case "$cache" in *"$library"*) ;; *) printf ' %s' "$library" ;; esac
  done
}
[ -z "$(missing)" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "Installing the offscreen rendering libraries:$(missing)"
  export DEBIAN_FRONTEND=noninteractive
  # shellcheck disable=SC2086
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends $packages; } >/dev/null || true
fi
if [ -n "$(missing)" ]; then
  echo "Missing for offscreen pictures:$(missing). Install them with: apt-get install $packages"
fi
exit 0
