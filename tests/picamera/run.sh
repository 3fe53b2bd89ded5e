#!/usr/bin/env bash
# run.sh ROOT WORK COMMAND...: run a command in the Debian of make_root.sh and in this checkout, with WORK at /work and
# WORK/virtual.yaml as what libcamera's virtual camera is. What is mounted for that is seen by the command alone and gone
# with it: nothing can be left over, and nothing deleted through it.
set -euo pipefail
if [ "${1:-}" != --inside ]; then
  exec unshare --mount --propagation private bash "$0" --inside "$@"
fi
root=$2 work=$3
shift 3
yaml=$root/usr/share/libcamera/pipeline/virtual/virtual.yaml
mkdir -p "$root/checkout" "$root/work" "$(dirname "$yaml")"
touch "$yaml"
for folder in proc sys dev; do mount --rbind "/$folder" "$root/$folder"; done
mount --bind "$(cd "$(dirname "$0")/../.." && pwd)" "$root/checkout"
mount -o remount,bind,ro "$root/checkout"
mount --bind "$work" "$root/work"
mount --bind "$work/virtual.yaml" "$yaml"
exec chroot "$root" env -i -C /checkout PATH=/opt/edge/bin:/usr/bin:/bin HOME=/work PYTHONDONTWRITEBYTECODE=1 \
  PYTHONPATH=/checkout/tests/picamera/inside:/checkout LD_PRELOAD=/opt/udmabuf_shim.so "$@"
