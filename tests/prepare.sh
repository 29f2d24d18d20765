#!/usr/bin/env bash
# Bring what the tests use beside Rust: PostgreSQL 15's server and psql, MariaDB's server and client (the packages
# without a system service: tests start servers of their own), and a Python environment with the readers that
# must understand our tables. Installs with apt when run as root, else says what to install.
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

# The stamp names the exact set, so that a changed set builds a new environment.
requirements=$(dirname "$0")/requirements.txt
stamp=$venv/.$(sha256sum "$requirements" | cut -c1-16)
if [[ ! -e $stamp ]]; then
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$requirements"
  touch "$stamp"
fi
