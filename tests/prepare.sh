#!/usr/bin/env bash
# Bring what the tests use beside Rust: PostgreSQL 15's server and psql, MariaDB's server and client (the packages
# without a system service: tests start servers of their own), an S3 server, a Python environment with the readers that
# must understand our tables, what checks the charts, and etcd with a Kubernetes API server. Installs with apt when run as
# root, else says what to install. What is written in Go (1.24 or newer; Debian's is too old) is built from its modules
# once, in about ten minutes.
set -euo pipefail

cache=${LAKEGATE_CACHE:-$HOME/.cache/lakegate}
venv=$cache/venv
mkdir -p "$cache"

have_postgres() { command -v psql >/dev/null && compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; }
have_mariadb() { command -v mariadb >/dev/null && command -v mariadb-install-db >/dev/null && [[ -x /usr/sbin/mariadbd || -n $(command -v mariadbd) ]]; }
have_venv_module() { python3 -c 'import venv, ensurepip' 2>/dev/null; }

missing=()
have_postgres || missing+=(postgresql postgresql-client)
have_mariadb || missing+=(mariadb-server-core mariadb-client-core)
command -v cc >/dev/null || missing+=(build-essential)
command -v openssl >/dev/null || missing+=(openssl)
command -v curl >/dev/null || missing+=(curl)
command -v etcd >/dev/null || missing+=(etcd-server)
command -v python3 >/dev/null || missing+=(python3)
have_venv_module || missing+=(python3-venv)
if ((${#missing[@]})); then
  if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  else
    echo "the tests need: apt-get install ${missing[*]}" >&2
    exit 1
  fi
fi

# The stamp names the exact set, so that a changed set builds a new environment. Of two who find it missing, one builds.
exec 8>"$cache/.venv.lock"
flock 8
requirements=$(dirname "$0")/requirements.txt
stamp=$venv/.$(sha256sum "$requirements" | cut -c1-16)
if [[ ! -e $stamp ]]; then
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$requirements"
  touch "$stamp"
fi

bash "$(dirname "$0")/charts/prepare.sh"
bash "$(dirname "$0")/services/versitygw.sh" install
bash "$(dirname "$0")/cluster/build.sh" kube-apiserver kubectl kube-controller-manager
