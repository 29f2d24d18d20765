#!/usr/bin/env bash
# Make Lakegate's image without a container engine or a registry: the same files and settings as Containerfile's, as a
# docker archive on standard output.
#   image/archive.sh NAME:TAG BINARY [LIMIT] | ctr -n k8s.io image import -
# LIMIT: fail when the compressed image is larger, in bytes.
set -euo pipefail
(($# == 2 || $# == 3)) || { echo "usage: image/archive.sh NAME:TAG BINARY [LIMIT]" >&2; exit 2; }
name=$1 binary=$2 limit=${3:-}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$here/rootfs.sh" "$binary" "$work/root"
# Equal files make an equal image: no times, owners or order of this machine.
pack() { tar -C "$work/root" --sort=name --mtime=@0 --numeric-owner --format=gnu "$@"; }
pack --create --file "$work/layer.tar" --owner=0 --group=0 --exclude=./var/lib/lakegate .
pack --append --file "$work/layer.tar" --owner=10001 --group=10001 ./var/lib/lakegate

if [[ -n $limit ]]; then
  size=$(gzip -6 --stdout "$work/layer.tar" | wc -c)
  echo "$name: $size bytes compressed" >&2
  if ((size > limit)); then
    echo "$name is larger than $limit bytes" >&2
    exit 1
  fi
fi

case $(uname -m) in
  x86_64) architecture=amd64 ;;
  aarch64) architecture=arm64 ;;
  *) architecture=$(uname -m) ;;
esac
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$here/../Cargo.toml")
diff=$(sha256sum "$work/layer.tar" | cut -d' ' -f1)
cat > "$work/config.json" <<JSON
{
  "architecture": "$architecture",
  "os": "linux",
  "config": {
    "User": "10001:10001",
    "Entrypoint": ["/lakegate"],
    "Env": ["PATH=/", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt", "LAKEGATE_STATE_DIR=/var/lib/lakegate"],
    "ExposedPorts": {"5432/tcp": {}, "8080/tcp": {}},
    "WorkingDir": "/var/lib/lakegate",
    "Labels": {
      "org.opencontainers.image.title": "lakegate",
      "org.opencontainers.image.description": "Query every store and every export with one SQL",
      "org.opencontainers.image.licenses": "Apache-2.0",
      "org.opencontainers.image.version": "$version"
    }
  },
  "rootfs": {"type": "layers", "diff_ids": ["sha256:$diff"]}
}
JSON
printf '[{"Config": "config.json", "RepoTags": ["%s"], "Layers": ["layer.tar"]}]' "$name" > "$work/manifest.json"
tar -C "$work" --create manifest.json config.json layer.tar
