# A Kubernetes node without an API server: containerd 1.6 and a kubelet that takes its pods from the files of a folder.
# Sourced by kubernetes.sh.
# shellcheck shell=bash disable=SC2154,SC2016
PATH=/opt/node/bin:$PATH
kubelet=/var/lib/kubelet
manifests=$kubelet/manifests
kubepods=/sys/fs/cgroup/kubepods; [ "$cgroups" = cgroupfs ] || kubepods+=.slice
# One address for the host's network, which has no other.
node_ip=10.98.0.1

prepare_kubernetes() {
  cp -r ./node /opt/node
  mkdir -p "$manifests" "$kubelet/seccomp" /etc/cni/net.d /etc/containerd
  ip link add net0 type dummy; ip address add $node_ip/24 dev net0; ip link set net0 up; ip route add default dev net0
  cat >/etc/cni/net.d/bridge.conflist <<'CONF'
{"cniVersion": "0.4.0", "name": "pods", "plugins": [{"type": "bridge", "bridge": "pods0", "isGateway": true,
  "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.99.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
CONF
  cat >/etc/containerd/node.toml <<CONF
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  disable_hugetlb_controller = false
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/opt/node/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
  default_runtime_name = "$runtime"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.$runtime]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.$runtime.options]
  BinaryName = "$binary"
  SystemdCgroup = $([ "$cgroups" = systemd ] && echo true || echo false)
CONF
  start_containerd
  cp /usr/bin/catatonit "$work/root/bin/"; tar -C "$work/root" -cf "$work/image.tar" .
  archive "$image" "$work/image-archive.tar"; ctr -n k8s.io image import "$work/image-archive.tar"
  archive localhost/pause:1 "$work/pause-archive.tar" -c 'CMD ["/bin/catatonit","-P"]'; ctr -n k8s.io image import "$work/pause-archive.tar"
  # The kubelet looks for changes each second, not each minute. A pod may have 40 processes.
  cat >$kubelet/config.yaml <<CONF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
staticPodPath: $manifests
cgroupDriver: $cgroups
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
readOnlyPort: 10255
address: 127.0.0.1
failSwapOn: false
makeIPTablesUtilChains: false
fileCheckFrequency: 1s
syncFrequency: 1s
podPidsLimit: 40
evictionHard: {memory.available: 1Mi}
imageGCHighThresholdPercent: 100
allowedUnsafeSysctls: [net.core.somaxconn]
featureGates: {ProcMountType: true}
CONF
  # A kubelet asks for the processor's clock, which User Mode Linux does not tell.
  { sed '/^$/d' /proc/cpuinfo; grep -q 'cpu MHz' /proc/cpuinfo || printf 'cpu MHz\t\t: 2000.000\n'; echo; } >"$work/cpuinfo"
  # A kubelet counts the huge pages when it starts.
  [ ! -e /proc/sys/vm/nr_hugepages ] || echo 8 >/proc/sys/vm/nr_hugepages
  start_kubelet
}
start_containerd() {
  setsid containerd --config /etc/containerd/node.toml >>"$work/containerd.log" 2>&1 &
  echo $! >"$work/containerd.pid"
  until_true ctr version || { tail -n 20 "$work/containerd.log"; return 1; }
}
start_kubelet() {
  setsid unshare -m --propagation unchanged sh -c 'mount --make-private /proc && mount --bind "$0" /proc/cpuinfo && exec "$@"' "$work/cpuinfo" \
    kubelet --config $kubelet/config.yaml --hostname-override lab --node-ip $node_ip --container-runtime remote \
    --container-runtime-endpoint unix:///run/containerd/containerd.sock --minimum-container-ttl-duration 0s \
    --maximum-dead-containers-per-container 1 >>"$work/kubelet.log" 2>&1 &
  echo $! >"$work/kubelet.pid"
  # On an emulated CPU this takes a minute.
  until_true curl -sf http://127.0.0.1:10255/pods || until_true curl -sf http://127.0.0.1:10255/pods || { tail -n 20 "$work/kubelet.log"; return 1; }
}
# What a failed check would leave to the next one.
after_failed_kubernetes() {
  rm -f "$manifests"/*; tail -n 4 "$work/kubelet.log"
  for _ in {1..100}; do [ -n "$(curl -sf http://127.0.0.1:10255/pods | jq '.items[]?')" ] || break; sleep 0.2; done
}
stop_service() { kill "$(cat "$work/$1.pid")"; until_true fails test -d "/proc/$(cat "$work/$1.pid")"; }

# Creates the static pod $1, with $2 seconds of grace. Its spec is on standard input, in YAML.
pod() {
  {
    printf '%s\n' 'apiVersion: v1' 'kind: Pod' "metadata: {name: $1, namespace: default, labels: {colour: blue}}" 'spec:'
    printf '  %s\n' "terminationGracePeriodSeconds: ${2:-1}"; sed 's/^/  /'
  } >"$work/$1.yaml"
  mv "$work/$1.yaml" "$manifests/"
}
# Creates the static pod $1 with one container, c, whose fields are on standard input. Other arguments are lines of the pod's spec.
one() {
  local fields; fields=$(cat)
  grep -q '^command:' <<<"$fields" || fields+=$'\ncommand: [sleep, "10000"]'
  { printf '%s\n' 'containers:' '- name: c' "  image: $image"; sed 's/^/  /' <<<"$fields"; printf '%s\n' "${@:2}"; } | pod "$1" "${grace:-1}"
}
# What jq's filter $2 finds in the pod $1, or in its container c.
of() { curl -sf http://127.0.0.1:10255/pods | jq -er --arg name "$1-lab" '.items[]? | select(.metadata.name == $name) | '"$2"; }
of_c() { of "$1" '.status.containerStatuses[] | select(.name == "c") | '"$2"; }
is() { [ "$(of "$1" "$2")" = "$3" ]; }
is_c() { [ "$(of_c "$1" "$2")" = "$3" ]; }
ready() { of "$1" '.status.conditions[] | select(.type == "Ready") | .status == "True"' >/dev/null; }
started() { until_true ready "$1" || { of "$1" .status; return 1; }; }
# Runs a shell's commands in the container $2 of the pod $1, as `kubectl exec` does; `inside` in the container c.
streamed() { python3 "$here/kubelet.py" "$1" "$2-lab" "${@:3}"; }
in_container() { streamed exec "$1" "$2" sh -c "$3"; }
inside() { in_container "$1" c "$2"; }
# The commands that name the namespaces of a process.
namespaces() { echo "for name in $*; do readlink /proc/self/ns/\$name; done"; }
kubelet_api() { curl -skf "https://127.0.0.1:10250$1" "${@:2}"; }
logs() { kubelet_api "/containerLogs/default/$1-lab/$2"; }
cri() { python3 "$here/cri.py" "$@"; }
container_id() { of_c "$1" .containerID | sed 's,.*//,,'; }
# The process 1, and the cgroup, of the container c.
pid() { ctr -n k8s.io task ls | awk -v id="$(container_id "$1")" '$1 == id { print $2 }'; }
cgroup() { echo "/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$(pid "$1")/cgroup")"; }
# Kubernetes 1.20 does not translate a pod's cgroup to systemd's name when it sets limits on cgroup v2.
needs_limits_of_pods() { [ "$cgroups" = cgroupfs ] || skip "this kubelet writes the limits of a pod to /kubepods/..., not to the pod's slice"; }
words() { tr '\n' ' ' | sed 's/ $//'; }
remove() {
  local uid; uid=$(of "$1" .metadata.uid)
  rm "$manifests/$1.yaml"
  until_true gone "$1" "$uid"
}
# No pod, cgroup or mount is left of the pod $1 with the uid $2.
gone() {
  curl -sf http://127.0.0.1:10255/pods | jq -e --arg name "$1-lab" '[.items[]? | select(.metadata.name == $name)] == []' && [ -z "$(find $kubepods -name "*pod$2*")" ] && fails grep -F "$2" /proc/mounts
}
