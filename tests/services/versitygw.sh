#!/usr/bin/env bash
# An S3 server for tests: versitygw over a directory. Its buckets are the directories below, its objects the files.
#   versitygw.sh install                 brings the server, unless it is there; needs Go
#   versitygw.sh serve [OPTION...]       serves a new directory until standard input ends, then removes it; prints
#                                        "PORT DIRECTORY" when it answers. The keys of its owner are taken from
#                                        ROOT_ACCESS_KEY_ID and ROOT_SECRET_ACCESS_KEY.
#   versitygw.sh user PORT KEY SECRET    adds a user, who may do nothing
set -euo pipefail

version=v1.8.0
binary=${LAKEGATE_CACHE:-$HOME/.cache/lakegate}/bin/versitygw

install() {
  [[ -x $binary ]] && return
  command -v go >/dev/null || { echo "the S3 server of the tests needs Go to be installed: https://go.dev/dl" >&2; exit 1; }
  GOBIN=$(dirname "$binary") go install "github.com/versity/versitygw/cmd/versitygw@$version"
}

# Whether our own server answers: another may have taken the port.
answers() {
  local line
  { exec 3<>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null || return 1
  printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$2" >&3
  read -r -t 5 line <&3 || line=
  exec 3>&-
  [[ $line == *" 200 "* ]]
}

stop() {
  if [[ -n $server ]]; then
    kill "$server" 2>/dev/null || true
    # what it still writes would keep its directory
    wait "$server" 2>/dev/null || true
  fi
  rm -rf "$directory"
}

serve() {
  [[ -x $binary ]] || { echo "$binary is absent: run tests/prepare.sh" >&2; exit 1; }
  directory=$(mktemp -d "${TMPDIR:-/tmp}/lakegate-s3-XXXXXX")
  server=
  trap stop EXIT
  trap 'exit 143' TERM INT HUP
  mkdir "$directory/buckets" "$directory/users"
  local port health attempt
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    # below the ports that the system gives to clients
    port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
    health=/health-$RANDOM$RANDOM
    "$binary" --port "127.0.0.1:$port" --health "$health" --iam-dir "$directory/users" --iam-cache-disable \
      --keep-alive --quiet "$@" posix "$directory/buckets" >"$directory/log" 2>&1 </dev/null &
    server=$!
    for ((attempt = 0; attempt < 600; attempt++)); do
      kill -0 "$server" 2>/dev/null || break
      if answers "$port" "$health"; then
        echo "$port $directory/buckets"
        # until whoever started this has ended
        cat >/dev/null
        return
      fi
      sleep 0.05
    done
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    server=
  done
  echo "the S3 server does not start:" >&2
  cat "$directory/log" >&2
  exit 1
}

user() {
  "$binary" admin --access "$ROOT_ACCESS_KEY_ID" --secret "$ROOT_SECRET_ACCESS_KEY" \
    --endpoint-url "http://127.0.0.1:$1" create-user --access "$2" --secret "$3" --role user >/dev/null
}

case ${1:-} in
  install) install ;;
  serve) shift; serve "$@" ;;
  user) shift; user "$@" ;;
  *) sed -n '2,7s/^# *//p' "$0" >&2; exit 2 ;;
esac
