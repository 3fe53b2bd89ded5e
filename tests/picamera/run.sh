#!/usr/bin/env bash
# run.sh ROOT WORK COMMAND...: run a command in the Debian of make_root.sh, in this checkout (/checkout), with WORK at /work
# and WORK/virtual.yaml as what libcamera's virtual camera is. What is mounted for that is seen by the command alone and
# gone with it: nothing can be left over, and nothing deleted through it.
set -euo pipefail
if [ "${1:-}" != --inside ]; then
  exec unshare --mount --propagation private --kill-child --fork bash "$0" --inside "$@"
fi
root=$2 work=$3
shift 3
mkdir -p "$root/checkout" "$root/work" "$root/usr/share/libcamera/pipeline/virtual"
touch "$root/usr/share/libcamera/pipeline/virtual/virtual.yaml"
for folder in proc sys dev; do mount --rbind "/$folder" "$root/$folder"; done
mount --bind -o ro "$(cd "$(dirname "$0")/../.." && pwd)" "$root/checkout"
mount --bind "$work" "$root/work"
mount --bind "$work/virtual.yaml" "$root/usr/share/libcamera/pipeline/virtual/virtual.yaml"
exec chroot "$root" env -C /checkout -i PATH=/opt/edge/bin:/usr/bin:/bin HOME=/work PYTHONDONTWRITEBYTECODE=1 \
  PYTHONPATH=/checkout/tests/picamera/inside LD_PRELOAD=/opt/udmabuf_shim.so "$@"
