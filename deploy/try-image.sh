#!/usr/bin/env bash
# Build the image on a base from debootstrap, so that no registry is needed, and try it. `make image`
# runs this script. It needs root, buildah and debootstrap.
#
#   BASE             an image to build on instead, such as python:3.11-slim-bookworm
#   SUITE, MIRROR    what debootstrap installs, and from where (default: Debian bookworm)
#   BUILDAH_OPTIONS  more options for `buildah build`, such as --volume /etc/pip.conf:/etc/pip.conf:ro
#   WORK             where images are kept between runs (default: var/image); delete it to start afresh
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }
fail() {
  say "$*"
  exit 1
}

[ "$(id -u)" = 0 ] || fail "Building the image here needs root: sudo make image"
for program in buildah debootstrap; do
  command -v "$program" > /dev/null \
    || fail "Building the image here needs $program, which is not installed: apt-get install $program"
done

WORK=$(realpath -m "${WORK:-var/image}")
SUITE=${SUITE:-bookworm}
mkdir -p "$WORK"
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
image=coursebell:$version

builder() {
  local command=$1
  shift
  buildah --root "$WORK/storage" --runroot "$WORK/run" --storage-driver vfs "$command" "$@"
}

make_base() {
  say "Making a base of Debian $SUITE with debootstrap."
  rm -rf "$WORK/base" "$WORK/base.tar"
  debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates \
    "$SUITE" "$WORK/base" ${MIRROR:+"$MIRROR"} > "$WORK/debootstrap.log" \
    || fail "debootstrap failed; its log is $WORK/debootstrap.log"
  tar -C "$WORK/base" --exclude='./dev/*' --exclude='./var/cache/apt/*' -cf "$WORK/base.tar" .
  local container
  container=$(builder from scratch)
  builder add --quiet "$container" "$WORK/base.tar" / > /dev/null
  builder commit --quiet "$container" "$BASE" > /dev/null
  builder rm "$container" > /dev/null
  rm -rf "$WORK/base" "$WORK/base.tar"
}

if [ -z "${BASE:-}" ]; then
  BASE=localhost/coursebell-base:$SUITE
  builder inspect --type image "$BASE" > /dev/null 2>&1 || make_base
fi

say "Building $image on $BASE."
read -ra options <<< "${BUILDAH_OPTIONS:-}"
# Only Docker's image format has a health check.
builder build --isolation chroot --format docker --pull=never --ignorefile deploy/Dockerfile.dockerignore \
  --build-arg BASE="$BASE" "${options[@]}" -f deploy/Dockerfile -t "$image" . > "$WORK/build.log" 2>&1 \
  || { tail -30 "$WORK/build.log" >&2; fail "The build failed; its log is $WORK/build.log"; }

container=$(builder from --pull=never "$image")
trap 'builder rm "$container" > /dev/null' EXIT

# Run it as a platform that assigns the user id would.
run() {
  builder run --isolation chroot --user 54321:0 --env COURSEBELL_LISTEN="127.0.0.1:${PORT:-8765}" \
    "$container" -- "$@"
}

say "Trying it as a user without a name."
run coursebell --help > /dev/null
run coursebell init - 2> /dev/null | grep -q "^COURSEBELL_SECRET_KEY='." || fail "init writes no secret key."
run coursebell migrate
run python - <<'PYTHON' || fail "The image contains the packages named above, which it should leave out."
import importlib.util, shutil, sys

packages = ["aiosmtpd", "hatchling", "pip", "sandbox", "setuptools"]
programs = ["cc", "gcc", "make", "git"]
found = [name for name in packages if importlib.util.find_spec(name)]
found += [name for name in programs if shutil.which(name)]
sys.exit(", ".join(found) or None)
PYTHON
check=$(builder inspect --type image "$image" | python3 -c \
  'import json, sys; print(json.dumps(json.load(sys.stdin)["Docker"]["config"]["Healthcheck"]["Test"]))')
run sh -c 'coursebell serve & web=$!
  python -c "
import json, subprocess, sys, time
command = json.loads(sys.argv[1])[1:]
for _ in range(60):
    if subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0: sys.exit()
    time.sleep(0.5)
sys.exit(\"The health check does not succeed.\")" "$1"
  healthy=$?; kill "$web"; wait "$web"; exit "$healthy"' sh "$check"
say "$image starts, migrates a ledger, passes its health check, and has no build tools and no sandbox."
