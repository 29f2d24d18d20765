#!/usr/bin/env bash
# Lakegate on a real Kubernetes, from an empty machine to an uninstalled release: starts a cluster with a node, makes
# the image, installs both charts, exports a table of a Postgres outside the cluster to S3 outside the cluster by a Job,
# asks for it by psql through the gateway, upgrades, and uninstalls. Everything it starts is gone when it ends.
#   LAKEGATE_BINARY=target/debug/lakegate tests/cluster/e2e.sh
# Needs root (a node runs containers) and what tests/prepare.sh and tests/cluster/prepare.sh bring.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../.." && pwd)
cache=${LAKEGATE_CACHE:-$HOME/.cache/lakegate}
binary=${LAKEGATE_BINARY:-${CARGO_TARGET_DIR:-$repository/target}/debug/lakegate}
helm=$cache/bin/helm
work=$(mktemp -d "${TMPDIR:-/tmp}/lakegate-e2e-XXXXXX")
cluster=$work/cluster
namespace=lakegate

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
step() { printf '\n== %s (%s s)\n' "$*" "$SECONDS" >&2; }
fail() { echo "FAILED: $*" >&2; exit 1; }
k() { "$cache/kube-bin/kubectl" --kubeconfig "$cluster/admin.kubeconfig" "$@"; }
h() { "$helm" --kubeconfig "$cluster/admin.kubeconfig" "$@"; }

# Ask until the command succeeds.
eventually() { # SECONDS WHAT COMMAND…
  local limit=$1 what=$2 start=$SECONDS
  shift 2
  until "$@" >/dev/null 2>&1; do
    ((SECONDS - start < limit)) || fail "$what did not happen within $limit s"
    sleep 0.5
  done
}

finish() {
  local code=$?
  set +e
  if ((code)); then
    echo "-- what the cluster says" >&2
    k get all,exports,exportruns,datasources,leases -A -o wide >&2
    k -n $namespace get events --sort-by=.lastTimestamp 2>/dev/null | tail -30 >&2
    for pod in $(k -n $namespace get pods -o name); do
      echo "-- $pod" >&2
      k -n $namespace describe "$pod" | tail -25 >&2
      k -n $namespace logs "$pod" --all-containers --tail=40 >&2
    done
  fi
  [[ -d $cluster ]] && bash "$here/down.sh" "$cluster"
  [[ -n ${s3:-} ]] && kill "$s3" 2>/dev/null
  [[ -d $work/postgres ]] && as_postgres "$pg_bin/pg_ctl" -D "$work/postgres" -m immediate stop >/dev/null 2>&1
  rm -rf "$work"
  exit "$code"
}
trap finish EXIT

[[ $(id -u) == 0 ]] || fail "a node needs root"
[[ -x $binary ]] || fail "no binary at $binary: build it, or name it with LAKEGATE_BINARY"

step "services outside the cluster"
pg_bin=$(ls -d /usr/lib/postgresql/*/bin | tail -1)
as_postgres() { setpriv --reuid postgres --regid postgres --clear-groups env HOME=/tmp "$@"; }
chmod a+rx "$work"
install -d -o postgres "$work/postgres"
export SHOP_PORT S3_PORT SHOP_PASSWORD S3_SECRET
SHOP_PORT=$(free_port) S3_PORT=$(free_port) SHOP_PASSWORD=canary-shop-$RANDOM S3_SECRET=canary-s3-$RANDOM$RANDOM
as_postgres "$pg_bin/initdb" -D "$work/postgres" -U postgres -A trust --locale=C.UTF-8 >/dev/null
as_postgres "$pg_bin/pg_ctl" -w -D "$work/postgres" -l "$work/postgres/log" \
  -o "-p $SHOP_PORT -c listen_addresses=127.0.0.1 -c unix_socket_directories=''" start >/dev/null
shop() { psql -X -q -h 127.0.0.1 -p "$SHOP_PORT" -U postgres -v ON_ERROR_STOP=1 "$@"; }
shop -c 'create database shop'
shop -d shop <<SQL
create role reader login password '$SHOP_PASSWORD';
create table orders (id bigint primary key, status text, total numeric(12,2), email text, created_at timestamptz);
insert into orders
  select n, case when n % 10 = 0 then 'draft' else 'paid' end, n * 1.25, 'person' || n || '@example.com',
         timestamptz '2026-01-01' + n * interval '1 minute'
  from generate_series(1, 100000) n;
grant select on orders to reader;
SQL
mkdir -p "$work/s3/lake"
ROOT_ACCESS_KEY_ID=test ROOT_SECRET_ACCESS_KEY=$S3_SECRET setsid "$cache/bin/versitygw" --port "127.0.0.1:$S3_PORT" posix "$work/s3" >"$work/s3.log" 2>&1 </dev/null &
s3=$!

step "the cluster"
bash "$here/up.sh" --node "$cluster" >/dev/null

step "the image"
cp "$binary" "$work/lakegate"
strip "$work/lakegate"
"$repository/image/archive.sh" localhost/lakegate:e2e "$work/lakegate" |
  ctr -a "$cluster/cri/containerd.sock" -n k8s.io image import - >/dev/null

step "helm install"
k create namespace $namespace >/dev/null
password=canary-user-$RANDOM
printf '%s' "$password" | "$binary" user add analyst >"$work/users"
k -n $namespace create secret generic lakegate-users --from-file=users="$work/users" >/dev/null
gateway_port=$(free_port) gateway_http=$(free_port) operator_http=$(free_port)
# No proxy runs on the node that would lead to the address of the API server's Service.
api_port=$(grep -oE '127.0.0.1:[0-9]+' "$cluster/admin.kubeconfig" | cut -d: -f2)
environment='[{"name":"KUBERNETES_SERVICE_HOST","value":"127.0.0.1"},{"name":"KUBERNETES_SERVICE_PORT","value":"'$api_port'"}]'
values=(
  --set-json "extraEnv=$environment"
  --set image.repository=localhost/lakegate --set image.tag=e2e --set image.pullPolicy=Never
  --set hostNetwork=true --set bindAddress=127.0.0.1 --set networkPolicy.enabled=false
  --set "gateway.ports.postgres=$gateway_port" --set "gateway.ports.http=$gateway_http"
  --set "operator.ports.http=$operator_http" --set gateway.users.secretName=lakegate-users
  --set operator.replicas=1 --set gateway.replicas=1 --set gateway.resources.requests.cpu=100m
  --set "tests.postgresAddress=127.0.0.1:$gateway_port" --set "tests.readyURL=http://127.0.0.1:$gateway_http/readyz"
  --set "watchNamespaces={$namespace}"
)
h install lakegate-crds "$repository/charts/lakegate-crds" -n $namespace >/dev/null
h install lakegate "$repository/charts/lakegate" -n $namespace "${values[@]}" --wait --timeout 180s >"$work/notes"
grep -q psql "$work/notes" || fail "the notes do not say how to connect"

step "manifests"
envsubst <"$here/manifests/shop.yaml" | k -n $namespace apply --server-side -f - >/dev/null
eventually 120 "the export's first run" bash -c "$(declare -f k); cache=$cache cluster=$cluster
  k -n $namespace get exportruns -o jsonpath='{.items[*].status.state}' | grep -qw Complete"
k -n $namespace wait --for=condition=Ready export/orders datasource/shop datasource/lake --timeout=60s >/dev/null
run=$(k -n $namespace get exportruns -o name | head -1)
k -n $namespace get jobs -o wide >&2

step "psql through the gateway"
ask() { PGPASSWORD=$password psql -X -A -t -q -h 127.0.0.1 -p "$gateway_port" -U analyst -d lakegate -v ON_ERROR_STOP=1 -c "$1"; }
eventually 60 "an answer of the gateway" ask 'select 1'
eventually 60 "the exported table in the gateway" ask 'select 1 from lake.shop.orders limit 1'
exported=$(ask 'select count(*), sum(total_amount), max(created_at) from lake.shop.orders')
source=$(ask "select count(*), sum(total), max(created_at) from shop.public.orders where status <> 'draft'")
direct=$(shop -d shop -A -t -c "select count(*), sum(total) from orders where status <> 'draft'")
[[ $exported == "$source" && ${exported%|*} == "$direct" ]] ||
  fail "export '$exported', source through the gateway '$source', source itself '$direct'"
[[ $(ask 'select count(*) from views.orders_by_day') == 70 ]] || fail "the view: $(ask 'select count(*) from views.orders_by_day')"
[[ $(ask 'select ready, last_run from lakegate.exports') == 't|Succeeded' ]] || fail "lakegate.exports"
echo "   $exported" >&2

step "no secret in the cluster's own words"
k get exports,exportruns,datasources,jobs,pods,events,configmaps -A -o yaml >"$work/everything.yaml"
k -n $namespace logs -l app.kubernetes.io/name=lakegate --all-containers --prefix --tail=-1 >>"$work/everything.yaml" 2>/dev/null || true
for secret in "$SHOP_PASSWORD" "$S3_SECRET" "$password"; do
  ! grep -q "$secret" "$work/everything.yaml" || fail "a secret is readable"
done

step "helm upgrade: no query is dropped"
(ask "select count(*) from generate_series(1, 200000) a(x), generate_series(1, 200) b(y)" >"$work/long" 2>&1 || echo "failed" >>"$work/long") &
long=$!
h upgrade lakegate "$repository/charts/lakegate" -n $namespace "${values[@]}" \
  --set-string 'gateway.podAnnotations.example\.com/restarted=once' --wait --timeout 180s >/dev/null
wait $long
[[ $(cat "$work/long") == 40000000 ]] || fail "a running query did not survive the upgrade: $(cat "$work/long")"
eventually 60 "an answer after the upgrade" ask 'select 1 from lake.shop.orders limit 1'

step "run now by annotation"
before=$(k -n $namespace get exportruns -o name | wc -l)
k -n $namespace annotate export/orders lakegate.dev/requestedAt="$(date -u +%FT%TZ)" >/dev/null
eventually 120 "the second run" bash -c "$(declare -f k); cache=$cache cluster=$cluster
  [[ \$(k -n $namespace get exportruns -o jsonpath='{.items[*].status.state}' | grep -ow Complete | wc -l) -gt $before ]]"

step "helm test and uninstall"
h test lakegate -n $namespace --timeout 120s >/dev/null
h uninstall lakegate -n $namespace --wait --timeout 120s >/dev/null
h uninstall lakegate-crds -n $namespace >/dev/null 2>&1
k get exports -n $namespace orders >/dev/null || fail "the resources went with the release"
timeout 90 "$cache/kube-bin/kubectl" --kubeconfig "$cluster/admin.kubeconfig" delete namespace $namespace --timeout=80s >/dev/null ||
  fail "the namespace cannot be deleted"
ls "$work/s3/lake/prod/shop/orders/metadata/"*.metadata.json >/dev/null || fail "the exported data went with the namespace"
echo "run of ${run#*/}: everything held after $SECONDS s"
