#!/usr/bin/env bash
# Start a cluster that lasts as long as this script's standard input is open: a test that holds the other end of the pipe
# takes its cluster with it, however it ends.
#   session.sh [--api | --node] DIR      prints the path of an administrator's kubeconfig, then waits
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=${!#}
trap '' INT HUP
trap 'bash "$here/down.sh" "$dir"' EXIT
bash "$here/up.sh" "$@" </dev/null
exec 1>&-
cat >/dev/null
