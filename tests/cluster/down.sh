#!/usr/bin/env bash
# Stop what up.sh started in DIR, and only that, and remove DIR.
#   down.sh DIR
set -euo pipefail
(($# == 1)) || { echo "usage: down.sh DIR" >&2; exit 2; }
[[ -d $1 ]] || exit 0
dir=$(cd "$1" && pwd)
[[ -e $dir/.lakegate-cluster ]] || { echo "down.sh: $dir is no cluster of up.sh" >&2; exit 1; }
cd "$dir"

# A process id may have been given to another program since: ours have the directory in their arguments.
is_ours() { [[ -r /proc/$1/cmdline ]] && tr '\0' ' ' <"/proc/$1/cmdline" 2>/dev/null | grep -qF "$dir/"; }
stop() { # NAME…   at once: nothing of it is kept
  local name pid
  for name in "$@"; do
    [[ -f $name.pid ]] || continue
    pid=$(cat "$name.pid")
    is_ours "$pid" && kill -KILL "$pid" 2>/dev/null || true
    for _ in $(seq 100); do
      is_ours "$pid" || break
      sleep 0.05
    done
  done
}

socket=cri/containerd.sock
# The kubelet first: it would start again what is ended below.
stop kubelet
if [[ -S $socket ]]; then
  containers() { ctr -a "$socket" -n k8s.io "$@" 2>/dev/null || true; }
  for task in $(containers task ls -q); do containers task kill -s KILL "$task"; done
  for _ in $(seq 50); do
    [[ -n $(containers task ls | grep RUNNING) ]] || break
    sleep 0.1
  done
  for task in $(containers task ls -q); do containers task rm -f "$task" >/dev/null; done
  for container in $(containers container ls -q); do containers container rm "$container" >/dev/null; done
fi
stop scheduler controller-manager containerd apiserver etcd

cd /
if [[ -f $dir/ports ]]; then
  while IFS== read -r _ port; do rmdir "${TMPDIR:-/tmp}/lakegate-ports/$port" 2>/dev/null || true; done <"$dir/ports"
fi
if [[ -f $dir/cgroup ]]; then
  group=$(cat "$dir/cgroup")
  # The last processes of a container leave its group a moment after they were ended.
  for _ in $(seq 50); do
    left=()
    for root in /sys/fs/cgroup /sys/fs/cgroup/*; do
      [[ -n $group && -d $root/$group ]] && left+=("$root/$group")
    done
    ((${#left[@]})) || break
    find "${left[@]}" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
  done
fi
# Deepest first: a Pod's volumes, its root, its shared memory.
awk -v dir="$dir/" 'index($2, dir) == 1 { print $2 }' /proc/mounts | tac | while read -r mount; do umount -l "$mount" || true; done
rm -rf --one-file-system "$dir"
