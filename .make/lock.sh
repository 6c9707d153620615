#!/bin/sh
# Writes requirements.lock and horovod.lock: names, versions and hashes, no addresses.
# usage: lock.sh PYTHON HOROVOD==VERSION
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$1" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check uv

pin() {
  # shellcheck disable=SC2086  # flags are words
  "$work/venv/bin/uv" pip compile --quiet ${LOCK_FLAGS:-} \
    --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
    --generate-hashes --no-header --no-emit-index-url --no-emit-find-links "$@"
}

# uv keeps the versions of the file that it writes to.
cp requirements.lock "$work/requirements.lock" 2>/dev/null || true
pin pyproject.toml --extra cpu --extra demo --extra dev --extra horovod-needs --extra neighbours \
  --output-file "$work/requirements.lock" >/dev/null
echo "$2" | pin - --no-deps --no-annotate --output-file "$work/horovod.lock" >/dev/null

header='# Written by `make lock`, for x86-64 Linux and Python 3.11.'
for name in requirements horovod; do
  { echo "$header"; grep -v '^# Written by' "$work/$name.lock"; } >"$work/$name.done"
  mv "$work/$name.done" "$name.lock"
done
