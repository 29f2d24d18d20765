#!/usr/bin/env bash
# Make a container image, an archive on standard output, from files: with no registry, no daemon and no base image.
#   image.sh NAME:TAG ENTRYPOINT [FILE=PATH_IN_IMAGE …]     the shared libraries that a FILE needs come along
#   image.sh NAME:TAG -                                     the image of a Pod's sandbox, which only waits
# Load it into a cluster of up.sh with: ctr -a DIR/cri/containerd.sock -n k8s.io image import -
set -euo pipefail
(($# >= 2)) || { echo "usage: image.sh NAME:TAG ENTRYPOINT [FILE=PATH_IN_IMAGE …]" >&2; exit 2; }
name=$1 entrypoint=$2
shift 2
case $(uname -m) in
  x86_64) architecture=amd64 ;;
  aarch64) architecture=arm64 ;;
  *) echo "image.sh: no name for the architecture $(uname -m)" >&2; exit 1 ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root"/{tmp,etc/ssl/certs}
chmod 1777 "$root/tmp"
if [[ $entrypoint == - ]]; then
  entrypoint=/pause
  gcc -static -Os -x c -o "$root/pause" - <<'PAUSE'
#include <signal.h>
#include <unistd.h>
static void leave(int signal) { _exit(0); }
int main(void) {
  signal(SIGTERM, leave);
  signal(SIGINT, leave);
  for (;;) pause();
}
PAUSE
fi
for pair in "$@"; do
  file=${pair%%=*} target=$root${pair#*=}
  mkdir -p "$(dirname "$target")"
  cp -L "$file" "$target"
  # A program that is linked statically has no list; the loader stands in it by its path.
  { ldd "$file" 2>/dev/null || true; } | grep -oE '/[^ ]+' | while read -r library; do
    [[ -e $root$library ]] && continue
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
  done || true
done
authorities=/etc/ssl/certs/ca-certificates.crt
[[ ! -e $authorities ]] || cp -L "$authorities" "$root$authorities"
printf 'root:x:0:0:root:/:/\nlakegate:x:10001:10001:lakegate:/:/\n' >"$root/etc/passwd"

cd "$work"
tar --owner=0 --group=0 --numeric-owner -C root -cf layer.tar .
digest=$(sha256sum layer.tar | cut -d' ' -f1)
cat >config.json <<CONFIG
{"architecture": "$architecture", "os": "linux", "rootfs": {"type": "layers", "diff_ids": ["sha256:$digest"]},
 "config": {"Entrypoint": ["$entrypoint"], "User": "10001:10001", "Env": ["PATH=/usr/bin:/bin"]}}
CONFIG
printf '[{"Config": "config.json", "RepoTags": ["%s"], "Layers": ["layer.tar"]}]' "$name" >manifest.json
tar -cf - manifest.json config.json layer.tar
