#!/usr/bin/env bash
# Lay out the file system of Lakegate's image: the binary, the shared libraries it needs, certificates, a user, and
# nothing else.
#   image/rootfs.sh BINARY DIRECTORY
set -euo pipefail
umask 022
(($# == 2)) || { echo "usage: image/rootfs.sh BINARY DIRECTORY" >&2; exit 2; }
binary=$1 root=$2
here=$(cd "$(dirname "$0")" && pwd)

[[ -x $binary ]] || { echo "$binary is no program: build it with cargo build --release" >&2; exit 1; }
certificates=/etc/ssl/certs/ca-certificates.crt
[[ -r $certificates ]] || { echo "$certificates is absent: apt-get install ca-certificates" >&2; exit 1; }

mkdir -p "$root"/{etc/ssl/certs,tmp,var/lib/lakegate}
chmod 1777 "$root/tmp"
install -m 755 "$binary" "$root/lakegate"

# glibc answers names by itself (files, dns) since 2.34: no library but these is opened at run time.
libraries=$(ldd "$binary" 2>/dev/null | grep -oE '/[^ ]+' || true)
if grep -q 'not found' <(ldd "$binary" 2>/dev/null); then
  echo "$binary needs libraries that are not here:" >&2
  ldd "$binary" | grep 'not found' >&2
  exit 1
fi
for library in $libraries; do
  install -D -m 755 "$library" "$root$library"
done

install -m 644 "$certificates" "$root$certificates"
install -m 644 "$here/../LICENSE" "$root/LICENSE"
echo 'lakegate:x:10001:10001:Lakegate:/var/lib/lakegate:/nonexistent' > "$root/etc/passwd"
echo 'lakegate:x:10001:' > "$root/etc/group"
echo 'hosts: files dns' > "$root/etc/nsswitch.conf"
chmod 644 "$root"/etc/{passwd,group,nsswitch.conf}
