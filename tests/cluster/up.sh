#!/usr/bin/env bash
# Start a real Kubernetes on loopback, or what of it does not run any more.
#   up.sh [--api | --node] DIR      prints the path of an administrator's kubeconfig
#     --api     only etcd and the API server: enough for resources, their status, Events, Leases and admission
#     (none)    and the controller manager: owners' garbage, namespaces that are deleted, Jobs
#     --node    and a node, named localhost: scheduler, containerd and kubelet; its Pods share the host's network. Needs root
# Everything is in DIR, which down.sh removes. Ports are chosen free, so that several clusters run side by side.
# Needs the binaries of build.sh, and Debian's etcd-server and openssl; --node also containerd, runc,
# containernetworking-plugins and gcc.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=${LAKEGATE_CACHE:-$HOME/.cache/lakegate}/kube-bin

fail() { echo "up.sh: $*" >&2; exit 1; }

parts=control
case ${1:-} in
  --api) parts=api; shift ;;
  --node) parts=node; shift ;;
esac
(($# == 1)) || fail "usage: up.sh [--api | --node] DIR"
[[ -e $1 && ! -e $1/.lakegate-cluster && -n $(ls -A "$1") ]] && fail "$1 is not empty and not a cluster: name another directory"

components=(kube-apiserver kubectl)
commands=(etcd openssl curl)
[[ $parts == api ]] || components+=(kube-controller-manager)
if [[ $parts == node ]]; then
  components+=(kube-scheduler kubelet)
  commands+=(containerd ctr runc gcc)
  [[ $(id -u) == 0 ]] || fail "a node runs containers, which needs root"
fi
for component in "${components[@]}"; do
  [[ -x $bin/$component ]] || fail "no $bin/$component: run tests/cluster/build.sh ${components[*]}"
done
for command in "${commands[@]}"; do
  command -v "$command" >/dev/null || fail "no $command: apt-get install etcd-server openssl curl$([[ $parts == node ]] && echo ' containerd runc containernetworking-plugins gcc')"
done

mkdir -p "$1"
dir=$(cd "$1" && pwd)
touch "$dir/.lakegate-cluster"
mkdir -p "$dir"/{pki,log,etcd}
chmod 700 "$dir/pki" "$dir/etcd"
cd "$dir"

# Ports. Below those that the kernel gives to outgoing connections, so that none is taken between the look and the use;
# claimed by a directory, so that no cluster that starts at the same time takes one either. down.sh gives them back.
claims=${TMPDIR:-/tmp}/lakegate-ports
free_port() {
  while true; do
    chosen=$((RANDOM % 12000 + 20000))
    (exec 3<>"/dev/tcp/127.0.0.1/$chosen") 2>/dev/null && continue
    mkdir -p "$claims"
    mkdir "$claims/$chosen" 2>/dev/null && break
  done
}
if [[ ! -f ports ]]; then
  for name in api_port etcd_port etcd_peer_port kubelet_port; do
    free_port
    echo "$name=$chosen"
  done >ports.new
  mv ports.new ports
fi
source ./ports

# Certificates and tokens. Elliptic keys: they are made at once.
key=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
signed() { # NAME SUBJECT [EXTENSION]
  openssl req "${key[@]}" -subj "$2" -keyout "pki/$1.key" -out "pki/$1.csr"
  openssl x509 -req -in "pki/$1.csr" -CA pki/ca.crt -CAkey pki/ca.key -CAcreateserial -days 30 -out "pki/$1.crt" \
    -extfile <(echo "${3:-}")
}
if [[ ! -f pki/done ]]; then
  {
    openssl req -x509 "${key[@]}" -days 30 -subj /CN=kube-ca -keyout pki/ca.key -out pki/ca.crt
    signed api /CN=kube-apiserver "subjectAltName=DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:10.96.0.1"
    signed kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client
    openssl ecparam -name prime256v1 -genkey -noout -out pki/accounts.key
    openssl ec -in pki/accounts.key -pubout -out pki/accounts.pub
  } 2>log/openssl.log || fail "no certificates could be made: $(tail -3 log/openssl.log)"
  for user in admin controller scheduler node; do openssl rand -hex 16 >"pki/$user.token"; done
  touch pki/done
fi
node=localhost # resolves to loopback, where the kubelet listens
cat >pki/tokens.csv <<TOKENS
$(cat pki/admin.token),admin,admin,"system:masters"
$(cat pki/controller.token),system:kube-controller-manager,controller,"system:masters"
$(cat pki/scheduler.token),system:kube-scheduler,scheduler,"system:masters"
$(cat pki/node.token),system:node:$node,node,"system:nodes"
TOKENS
for user in admin controller scheduler node; do
  cat >"$user.kubeconfig" <<CONFIG
apiVersion: v1
kind: Config
clusters: [{name: local, cluster: {server: "https://127.0.0.1:$api_port", certificate-authority-data: "$(base64 -w0 pki/ca.crt)"}}]
users: [{name: $user, user: {token: "$(cat "pki/$user.token")"}}]
contexts: [{name: local, context: {cluster: local, user: $user}}]
current-context: local
CONFIG
done

alive() { # PID   not ended; one that nobody has waited for yet has ended, too
  local state
  state=$(sed 's/.*) //; s/ .*//' "/proc/$1/stat" 2>/dev/null) && [[ -n $state && $state != [ZX] ]]
}
run() { # NAME COMMAND…   in the background, unless it runs
  local name=$1
  shift
  if [[ -f $name.pid ]] && alive "$(cat "$name.pid")"; then return; fi
  # A session of its own, so that an interrupt at the terminal reaches down.sh first.
  setsid "$@" >>"log/$name.log" 2>&1 </dev/null &
  echo $! >"$name.pid"
}
wait_for() { # SECONDS NAME COMMAND…   until the command succeeds, or the process NAME has ended
  local limit=$((SECONDS + $1)) name=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    alive "$(cat "$name.pid")" || fail "$name ended: $(tail -3 "log/$name.log")"
    ((SECONDS < limit)) || fail "$name does not answer: $(tail -3 "log/$name.log")"
    sleep 0.2
  done
}
k() { "$bin/kubectl" --kubeconfig "$dir/admin.kubeconfig" --cache-dir "$dir/kubectl-cache" "$@"; }

run etcd etcd --data-dir "$dir/etcd" --name default --initial-cluster "default=http://127.0.0.1:$etcd_peer_port" \
  --listen-client-urls "http://127.0.0.1:$etcd_port" --advertise-client-urls "http://127.0.0.1:$etcd_port" \
  --listen-peer-urls "http://127.0.0.1:$etcd_peer_port" --initial-advertise-peer-urls "http://127.0.0.1:$etcd_peer_port" \
  --unsafe-no-fsync
wait_for 60 etcd curl -sf "http://127.0.0.1:$etcd_port/health"
run apiserver "$bin/kube-apiserver" --etcd-servers "http://127.0.0.1:$etcd_port" --bind-address 127.0.0.1 --secure-port "$api_port" \
  --tls-cert-file "$dir/pki/api.crt" --tls-private-key-file "$dir/pki/api.key" --token-auth-file "$dir/pki/tokens.csv" \
  --authorization-mode Node,RBAC --service-account-key-file "$dir/pki/accounts.pub" \
  --service-account-signing-key-file "$dir/pki/accounts.key" --service-account-issuer https://kubernetes.default.svc \
  --service-cluster-ip-range 10.96.0.0/16 --advertise-address 127.0.0.1 --endpoint-reconciler-type none \
  --kubelet-client-certificate "$dir/pki/kubelet-client.crt" --kubelet-client-key "$dir/pki/kubelet-client.key" \
  --kubelet-preferred-address-types Hostname --allow-privileged=true
wait_for 180 apiserver curl -sf --cacert pki/ca.crt "https://127.0.0.1:$api_port/readyz"

if [[ $parts != api ]]; then
  run controller-manager "$bin/kube-controller-manager" --kubeconfig "$dir/controller.kubeconfig" \
    --service-account-private-key-file "$dir/pki/accounts.key" --root-ca-file "$dir/pki/ca.crt" \
    --use-service-account-credentials --leader-elect=false --secure-port 0
  wait_for 60 controller-manager k -n default get serviceaccount default
fi

if [[ $parts == node ]]; then
  run scheduler "$bin/kube-scheduler" --kubeconfig "$dir/scheduler.kubeconfig" --leader-elect=false --secure-port 0
  mkdir -p cri cni/net.d kubelet
  cat >cri/config.toml <<CONTAINERD
version = 2
root = "$dir/cri/root"
state = "$dir/cri/state"
[grpc]
  address = "$dir/cri/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  disable_apparmor = true
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "$dir/cni/net.d"
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
CONTAINERD
  echo '{"cniVersion":"0.4.0","name":"lo","plugins":[{"type":"loopback"}]}' >cni/net.d/10-lo.conflist
  run containerd containerd --config "$dir/cri/config.toml"
  wait_for 30 containerd ctr -a "$dir/cri/containerd.sock" version
  images=$(ctr -a "$dir/cri/containerd.sock" -n k8s.io image ls -q)
  grep -q '^localhost/pause:1$' <<<"$images" ||
    "$here/image.sh" localhost/pause:1 - | ctr -a "$dir/cri/containerd.sock" -n k8s.io image import - >/dev/null
  # A kubelet ends every Pod below its cgroup that it does not know: each has a cgroup of its own.
  group=lakegate-$api_port
  echo "$group" >cgroup
  if [[ -f /sys/fs/cgroup/cgroup.controllers ]]; then
    mkdir -p "/sys/fs/cgroup/$group"
  else
    for controller in cpu cpuacct cpuset memory pids systemd hugetlb blkio; do
      [[ -d /sys/fs/cgroup/$controller ]] && mkdir -p "/sys/fs/cgroup/$controller/$group"
    done
    # A new cpuset is empty, and nothing can run in it.
    for setting in cpuset.cpus cpuset.mems; do
      [[ -f /sys/fs/cgroup/cpuset/$setting ]] && cat "/sys/fs/cgroup/cpuset/$setting" >"/sys/fs/cgroup/cpuset/$group/$setting"
    done
  fi
  cat >kubelet.yaml <<KUBELET
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 127.0.0.1
port: $kubelet_port
healthzPort: 0
authentication: {anonymous: {enabled: false}, x509: {clientCAFile: "$dir/pki/ca.crt"}, webhook: {enabled: true}}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
cgroupRoot: /$group
failSwapOn: false
failCgroupV1: false
containerRuntimeEndpoint: unix://$dir/cri/containerd.sock
evictionHard: {memory.available: "100Mi", nodefs.available: "1%", imagefs.available: "1%"}
resolvConf: ""
KUBELET
  run kubelet "$bin/kubelet" --kubeconfig "$dir/node.kubeconfig" --config "$dir/kubelet.yaml" --root-dir "$dir/kubelet" --hostname-override "$node"
  ready() { [[ $(k get node "$node" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}') == True ]]; }
  wait_for 90 kubelet ready
fi
echo "$dir/admin.kubeconfig"
