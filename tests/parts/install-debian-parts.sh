#!/bin/sh
# Unpacks the real Prometheus, Alertmanager and wrk below .deps, for the tests that want them.
#
# Debian's packages are downloaded and unpacked, not installed: no service starts, no user is created, and
# `make clean` removes them. What is there already is left alone, so a second run costs nothing.
# Tests look in .deps/bin first and then along PATH; without these programs they skip with a sentence.
#
# One thing lands outside .deps: Debian's Alertmanager reads its templates from a path that is compiled in, so
# two small text files go to /usr/share/prometheus/alertmanager. That needs root, or sudo without a password.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
deps="$root/.deps"
bin="$deps/bin"
templates=/usr/share/prometheus/alertmanager

have() { [ -x "$bin/$1" ] || command -v "$1" >/dev/null 2>&1; }

missing=""
{ have prometheus && have promtool; } || missing="$missing prometheus"
have_alertmanager() {
  have amtool || return 1
  if [ -x "$bin/prometheus-alertmanager" ]; then [ -r "$templates/default.tmpl" ]; else have prometheus-alertmanager || have alertmanager; fi
}
have_alertmanager || missing="$missing prometheus-alertmanager"
have wrk || missing="$missing wrk"

if [ -z "$missing" ]; then
  echo "deps: prometheus, alertmanager and wrk are here already"
  exit 0
fi

if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg >/dev/null 2>&1; then
  echo "deps: missing:$missing" >&2
  echo "deps: this script knows Debian and Ubuntu only (no apt-get here); install these programs yourself and put" >&2
  echo "deps: them on PATH: prometheus, promtool, alertmanager, amtool, wrk. The tests that need them skip until then." >&2
  exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
mkdir -p "$bin" "$deps/root"

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  else
    command -v sudo >/dev/null 2>&1 && sudo -n "$@" 2>/dev/null
  fi
}

updated=""
update_once() {
  [ -z "$updated" ] || return 1
  updated=yes
  if ! as_root apt-get update -qq; then
    echo "deps: apt knows no package '$1' and only root may ask for a new list: sudo apt-get update" >&2
    return 1
  fi
}

# The sandbox user of apt cannot write below a private directory; a download needs no such user.
download() {
  (cd "$work" && apt-get -qq -o APT::Sandbox::User="$(id -un)" download "$1" >"$work/log" 2>&1)
}

unpack() {
  echo "deps: unpacking $1"
  # A list that is missing or old (the mirror has a newer version by now) is the usual reason to fail.
  if ! download "$1"; then
    if ! update_once "$1" || ! download "$1"; then
      cat "$work/log" >&2
      echo "deps: could not download the Debian package $1" >&2
      return 1
    fi
  fi
  for package in "$work"/*.deb; do
    dpkg -x "$package" "$deps/root" || return 1
    rm -f "$package"
  done
}

link() {
  ln -sf "$deps/root/usr/bin/$1" "$bin/$1"
}

unpack_alertmanager() {
  unpack prometheus-alertmanager || return 1
  if [ ! -r "$templates/default.tmpl" ]; then
    source="$deps/root$templates"
    if ! as_root install -D -m 644 -t "$templates" "$source/default.tmpl" "$source/email.tmpl"; then
      echo "deps: Alertmanager wants its templates in $templates; as root, run:" >&2
      echo "deps:   install -D -m 644 -t $templates $source/*.tmpl" >&2
      return 1
    fi
    echo "deps: put Alertmanager's two templates into $templates"
  fi
  link prometheus-alertmanager
  link amtool
}

unpack_wrk() {
  unpack wrk || return 1
  libraries="$deps/root/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || echo "$(uname -m)-linux-gnu")"
  # Take its dependencies only as far as the machine lacks them: LuaJIT, as a rule.
  for library in $(apt-cache depends wrk | sed -n 's/^ *|*Depends: \([a-z0-9].*\)$/\1/p'); do
    LD_LIBRARY_PATH="$libraries" ldd "$deps/root/usr/bin/wrk" | grep -q 'not found' || break
    [ "$library" = libc6 ] || unpack "$library" || true
  done
  if LD_LIBRARY_PATH="$libraries" ldd "$deps/root/usr/bin/wrk" | grep 'not found' >&2; then
    echo "deps: wrk lacks the libraries above" >&2
    return 1
  fi
  printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "'$libraries'" "'$deps/root/usr/bin/wrk'" >"$bin/wrk"
  chmod 755 "$bin/wrk"
}

failed=""
for part in $missing; do
  case $part in
    prometheus) { unpack prometheus && link prometheus && link promtool; } || failed="$failed $part" ;;
    prometheus-alertmanager) unpack_alertmanager || failed="$failed $part" ;;
    wrk) unpack_wrk || failed="$failed $part" ;;
  esac
done

if [ -n "$failed" ]; then
  echo "deps: not there:$failed; the tests that need them will skip" >&2
  exit 1
fi
echo "deps: ready in $bin"
