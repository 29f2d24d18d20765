#!/usr/bin/env bash
# Bring what the checks of charts and GitOps examples use: helm, kustomize, promtool and Lua 5.1, which Argo CD interprets.
# Go programs and promtool go to the cache; Lua is installed with apt when run as root, else it says what to install.
set -euo pipefail

bin=${LAKEGATE_CACHE:-$HOME/.cache/lakegate}/bin
mkdir -p "$bin"

missing=()
command -v lua5.1 >/dev/null || missing+=(lua5.1)
if ((${#missing[@]})); then
  if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  else
    echo "the checks of charts need: apt-get install ${missing[*]}" >&2
    exit 1
  fi
fi

# Debian's Go is too old for helm.
export PATH=$PATH:/usr/local/go/bin
if [[ ! -x $bin/helm || ! -x $bin/kustomize ]] && ! command -v go >/dev/null; then
  echo "the checks of charts need Go 1.26 or newer, to build helm and kustomize" >&2
  exit 1
fi
[[ -x $bin/helm ]] || GOBIN=$bin nice go install helm.sh/helm/v3/cmd/helm@v3.22.0
[[ -x $bin/kustomize ]] || GOBIN=$bin nice go install sigs.k8s.io/kustomize/kustomize/v5@v5.8.2

# Only the one program of the package: installed as a whole it would start a server.
if [[ ! -x $bin/promtool ]]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  chmod 755 "$work"
  (cd "$work" && apt-get download -qq -o APT::Sandbox::User=root prometheus && dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin/promtool)
  install -m 755 "$work/usr/bin/promtool" "$bin/promtool"
fi
