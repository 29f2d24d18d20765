#!/usr/bin/env bash
# Build Kubernetes' own binaries from their published Go modules, for tests against a real API server and, with a node,
# real Pods. About ten minutes on two cores once; then nothing.
#   build.sh COMPONENT…     kube-apiserver kubectl kube-controller-manager kube-scheduler kubelet
# They go to ${LAKEGATE_CACHE:-~/.cache/lakegate}/kube-bin. KUBE_VERSION names another version.
set -euo pipefail
version=${KUBE_VERSION:-v1.34.2}
target=${LAKEGATE_CACHE:-$HOME/.cache/lakegate}/kube-bin
(($#)) || { echo "usage: build.sh COMPONENT…" >&2; exit 2; }
mkdir -p "$target"
# Two builds of one component would only waste time; the second finds the work of the first done.
exec 9>"$target/.lock"
flock 9

missing=()
for component in "$@"; do
  [[ -x $target/$component && $(cat "$target/.$component.version" 2>/dev/null) == "$version" ]] || missing+=("$component")
done
((${#missing[@]})) || exit 0
command -v go >/dev/null || { echo "needs Go 1.24 or newer to build: ${missing[*]}" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
printf 'module kubebin\n\ngo 1.24.0\n' >go.mod
source=$(go mod download -json "k8s.io/kubernetes@$version" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
# k8s.io/kubernetes replaces its staging modules by folders that its module archive lacks; the same code is published
# as k8s.io/NAME v0.x.y.
{
  printf '\nrequire k8s.io/kubernetes %s\n\nreplace (\n' "$version"
  grep -oE 'k8s\.io/[a-z0-9-]+ v0\.0\.0$' "$source/go.mod" | cut -d' ' -f1 | sort -u |
    while read -r module; do echo "	$module => $module v0${version#v1}"; done
  echo ")"
} >>go.mod
minor=${version#v1.}
minor=${minor%%.*}
about=k8s.io/component-base/version
flags="-s -w -X $about.gitVersion=$version -X $about.gitMajor=1 -X $about.gitMinor=$minor"
for component in "${missing[@]}"; do
  echo "building $component $version" >&2
  if ! go build -mod=mod -ldflags "$flags" -o "$target/$component" "k8s.io/kubernetes/cmd/$component" 2>build.log; then
    tail -20 build.log >&2
    exit 1
  fi
  echo "$version" >"$target/.$component.version"
done
