#!/usr/bin/env bash
# make_root.sh DIR: DIR/root, a Debian 13 with its libcamera (which has a virtual camera), picamera2 from PyPI, and what
# the edge needs. About 900 MB and a minute or two; kept until this script, the shim or what the edge needs changes.
set -euo pipefail
dir=${1:?usage: make_root.sh DIR} here=$(cd "$(dirname "$0")" && pwd)
missing=
[ "$(id -u)" = 0 ] || missing="root, found user $(id -un); type: sudo make test-picamera2"
[ -n "$missing" ] || command -v mmdebstrap >/dev/null || missing="mmdebstrap, found none; type: sudo apt install mmdebstrap"
if [ -n "$missing" ]; then
  echo "the Raspberry Pi's camera software runs in a Debian system made with $missing" >&2
  [ "${CI:-}" != true ] || exit 1
  exit 0  # The tests then say why they are skipped.
fi
echo "Setting up a Debian with the Raspberry Pi's camera software (about 900 MB, kept in $dir) ..."
rm -rf --one-file-system "$dir" && mkdir -p "$dir"
mirror=$(. /etc/os-release; [ "$ID" != debian ] || apt-get indextargets --format '$(SITE)' | grep -v security | head -1)
needs=$(python3 -c 'import configparser, sys
setup = configparser.ConfigParser(); setup.read(sys.argv[1]); print(setup["options"]["install_requires"])' "$here/../../setup.cfg")
printf '%s\n' 'picamera2==0.3.38' "$needs" > "$dir/requirements.txt"
cat > "$dir/inside.sh" <<'INSIDE'
set -e
root=$1 dir=$2 here=$3
cp "$here/udmabuf_shim.c" "$dir/requirements.txt" "$root/opt/"
for file in /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do [ ! -e "$file" ] || cp "$file" "$root$file"; done
chroot "$root" gcc -shared -fPIC -O2 -o /opt/udmabuf_shim.so /opt/udmabuf_shim.c -ldl
chroot "$root" python3 -m venv --system-site-packages /opt/edge
unset PIP_FIND_LINKS  # a folder of this machine's
chroot "$root" /opt/edge/bin/pip install --quiet --disable-pip-version-check --no-cache-dir -r /opt/requirements.txt
INSIDE
mmdebstrap --quiet --mode=root --variant=minbase --aptopt='Acquire::Languages "none"' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
  --include=ca-certificates,python3-libcamera,python3-venv,python3-dev,python3-numpy,python3-pil,gcc,libc6-dev,linux-libc-dev,libcap-dev \
  --customize-hook="sh $(printf '%q ' "$PWD/$dir/inside.sh") \"\$1\" $(printf '%q ' "$PWD/$dir" "$here")" \
  trixie "$dir/root" ${mirror:+"$mirror"}
touch "$dir/installed"
