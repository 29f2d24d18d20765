#!/usr/bin/env bash
# Bring what a whole cluster with a node needs beside what tests/prepare.sh brings: containerd with its friends, by apt
# when run as root, and the rest of Kubernetes' own programs, built from their Go modules once (about ten minutes).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

missing=()
command -v containerd >/dev/null || missing+=(containerd)
command -v runc >/dev/null || missing+=(runc)
[[ -d /usr/lib/cni ]] || missing+=(containernetworking-plugins)
command -v envsubst >/dev/null || missing+=(gettext-base)
if ((${#missing[@]})); then
  if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  else
    echo "a node needs: apt-get install ${missing[*]}" >&2
    exit 1
  fi
fi
bash "$here/build.sh" kube-apiserver kubectl kube-controller-manager kube-scheduler kubelet
