#!/usr/bin/env bash
# make_root.sh DIR PYTHON: an arm64 Python with the versions of OpenCV and LiteRT that PYTHON has, and an emulator for it.
# About 300 MB and a minute. Debian 12's own qemu-user 7.2 crashes in LiteRT, so the emulator is Debian 13's.
set -euo pipefail
dir=${1:?usage: make_root.sh DIR PYTHON} python=${2:?usage: make_root.sh DIR PYTHON}
if [ "$(id -u)" != 0 ]; then
  echo "$dir: building an arm64 system needs root, found user $(id -un); type once: sudo make .arm64/installed" >&2
  exit 1
fi
if ! command -v mmdebstrap >/dev/null; then
  echo "Installing mmdebstrap ..."
  if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mmdebstrap
       } >/dev/null; then
    echo "expected mmdebstrap, found none and no way to install it; use Debian or Ubuntu" >&2
    exit 1
  fi
fi
echo "Setting up an emulated arm64 (about 300 MB, kept in $dir) ..."
rm -rf "$dir" && mkdir -p "$dir"
mirror=$(. /etc/os-release; [ "$ID" != debian ] || apt-get indextargets --format '$(SITE)' | grep -v security | head -1)
extract() {
  mmdebstrap --quiet --mode=root --variant=extract --aptopt='Acquire::Languages "none"' "$@" ${mirror:+"$mirror"}
}
extract --include=qemu-user trixie "$dir/emulator"
mv "$dir/emulator/usr/bin/qemu-aarch64" "$dir/"  # It is static: nothing else of it is needed.
rm -rf "$dir/emulator"
libraries=libc6,libstdc++6,libgcc-s1,zlib1g,libbz2-1.0,liblzma5,libffi8,libssl3,libsqlite3-0,libexpat1,libuuid1
libraries+=,libreadline8,libtinfo6,libncursesw6,libcrypt1,libdb5.3
extract --arch=arm64 --include="python3-minimal,libpython3-stdlib,$libraries" bookworm "$dir/root"
rm -rf "$dir/root/dev"
# numpy only carries the pictures; its newest version need not exist for the Python of the emulated system.
versions=$("$python" -c 'from importlib.metadata import version
print(*(f"{name}=={version(name)}" for name in ("ai-edge-litert", "opencv-python-headless")))')
platforms=()
for glibc in 36 34 31 28 27 26 17; do platforms+=(--platform "manylinux_2_${glibc}_aarch64"); done
"$python" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-compile \
  --only-binary=:all: --python-version 3.11 --implementation cp "${platforms[@]}" --platform manylinux2014_aarch64 \
  --platform any --target "$dir/root/opt/edge" $versions 'numpy<3'
