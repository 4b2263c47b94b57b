# containerd: its shim io.containerd.runc.v2 calls the runtime through go-runc.
# shellcheck shell=bash disable=SC2154,SC2016
prepare_containerd() {
  mkdir -p /etc/containerd
  cat >/etc/containerd/config.toml <<CONF
version = 3
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "localhost/pause:1"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.$runtime]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.$runtime.options]
  BinaryName = "$binary"
  SystemdCgroup = $([ "$cgroups" = systemd ] && echo true || echo false)
CONF
  # A pod needs a network: one with only an address.
  mkdir -p /etc/cni/net.d /opt/cni/bin
  printf '#!/bin/sh\ncase $CNI_COMMAND in\n  VERSION) echo %s ;;\n  ADD) echo %s ;;\nesac\n' \
    "'{\"cniVersion\":\"1.0.0\",\"supportedVersions\":[\"1.0.0\"]}'" "'{\"cniVersion\":\"1.0.0\",\"ips\":[{\"address\":\"10.99.0.2/24\"}]}'" >/opt/cni/bin/nothing
  chmod 755 /opt/cni/bin/nothing; cp /opt/cni/bin/nothing /opt/cni/bin/loopback
  echo '{"cniVersion":"1.0.0","name":"nothing","plugins":[{"type":"nothing"}]}' >/etc/cni/net.d/nothing.conflist
  setsid containerd >"$work/containerd.log" 2>&1 &
  until_true ctr version
  # ctr needs an image name with a registry.
  archive "$image" "$work/docker.tar"
  ctr image import "$work/docker.tar"
  ctr -n k8s.io image import "$work/docker.tar"
  archive localhost/pause:1 "$work/pause.tar" -c 'CMD ["/bin/sleep","100000"]'
  ctr -n k8s.io image import "$work/pause.tar"
}
ctr_run() { ctr run --runc-binary "$binary" "$@"; }
tasks() { ctr task ls | awk -v id="$1" '$1 == id { print $3 }'; }
is_task() { [ "$(tasks "$1")" = "$2" ]; }
# Starts a container that sleeps.
start() { ctr_run -d "${@:2}" "$image" "$1" /bin/sleep 1000; until_true is_task "$1" RUNNING; }
remove() { ctr task kill -s SIGKILL "$1"; until_true is_task "$1" STOPPED; ctr task rm "$1"; ctr container rm "$1"; }

quick_run() { [ "$(ctr_run --rm "$image" hello /bin/echo hello)" = hello ]; }
quick_exit_status() { rc=0; ctr_run --rm "$image" seven /bin/sh -c 'exit 7' || rc=$?; [ $rc = 7 ]; }
full_missing_program_is_told() { fails ctr_run --rm "$image" missing /nowhere 2>"$work/said"; grep 'no such file or directory' "$work/said"; }
quick_life() {
  start life
  [ "$(ctr task exec --exec-id one life /bin/echo inside)" = inside ]
  rc=0; ctr task exec --exec-id two life /bin/sh -c 'exit 9' || rc=$?; [ $rc = 9 ]
  ctr task pause life; is_task life PAUSED
  ctr task resume life; is_task life RUNNING
  ctr task metrics life | grep -i memory
  ctr task ps life
  remove life
}
full_terminal() { on_terminal ctr run --runc-binary "$binary" --rm -t "$image" tty /bin/tty | grep /dev/pts; }
full_exec_terminal() { start terminal; on_terminal ctr task exec -t --exec-id t terminal /bin/tty | grep /dev/pts; remove terminal; }
full_limits() {
  start limits --memory-limit 67108864 --cpus 0.5
  cgroup=/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$(ctr task ls | awk '$1 == "limits" { print $2 }')/cgroup")
  [ "$(cat "$cgroup/memory.max" "$cgroup/cpu.max" | tr '\n' ' ')" = '67108864 50000 100000 ' ]
  remove limits
}
full_default_seccomp() { ctr_run --rm --seccomp "$image" seccomp /bin/grep -E '^Seccomp:\s+2' /proc/self/status; }
full_user_namespace() { ctr_run --rm --uidmap 0:200000:5000 --gidmap 0:200000:5000 --remap-labels "$image" userns /bin/cat /proc/self/uid_map | grep 200000 || skip "the snapshotter cannot map ids here"; }
full_kill_all() {
  start all; ctr task exec -d --exec-id second all /bin/sleep 2000
  ctr task kill -a -s SIGKILL all; until_true is_task all STOPPED
  ctr task rm all; ctr container rm all
}
full_two_at_once() { start a; start b; remove a; remove b; }
counted() { ctr task exec --exec-id "count-$RANDOM" "$1" /bin/cat /count; }
start_counter() {
  needs_criu
  ctr_run -d --null-io "$image" "$1" /bin/sh -c "$counter"
  until_true counts_on "$1" 2
}
full_checkpoint() {
  start_counter saved
  ctr task checkpoint --image-path "$work/images" --work-path "$work/criu" saved
  [ -e "$work/images/pstree.img" ]; [ -e "$work/criu/dump.log" ]
  is_task saved RUNNING
  until_true counts_on saved "$(counted saved)"
  ctr task checkpoint --exit saved
  until_true is_task saved STOPPED
  ctr task rm saved; ctr container rm saved
}
full_restore() {
  start_counter moved
  ctr container checkpoint --rw --task --image moved localhost/checkpoint:1
  count=$(counted moved)
  remove moved
  ctr container restore --rw --live moved localhost/checkpoint:1
  is_task moved RUNNING
  until_true counts_on moved "$count"
  remove moved
}
full_features_are_read() { ctr plugin ls | grep -E 'cri.*runtime.*ok' || skip "this containerd has no CRI plug-in"; fails grep -i 'failed to.*features' "$work/containerd.log"; }

# Pods, through the kubelet's interface; the numbers are field numbers.
cri() { python3 "$here/cri.py" "$@"; }
# The configuration of the sandbox $name as field $1, followed by more fields of its security context.
pod() {
  local parent=/kubepods field; [ "$cgroups" = cgroupfs ] || parent=kubepods.slice
  printf '%s\n' "$1.1.1=$name" "$1.1.2=uid" "$1.1.3=default" "$1.2=podhost" "$1.3=$work/pods" "$1.8.1=$parent"
  for field in "${@:2}"; do echo "$1.8.2.$field"; done
}
# Creates a container of the pod $1, with the configuration of the function $2 and additional fields. Prints its id.
in_pod() {
  local config; mapfile -t config < <("$2" 3)
  cri CreateContainer 1="$1" 2.1.1=c 2.2.1="$image" "${@:3}" "${config[@]}" | sed -n 's/^1=//p'
}
full_pod() {
  name=one
  mapfile -t config < <(pod 1)
  sandbox=$(cri RunPodSandbox "${config[@]}" 2="$runtime" | sed -n 's/^1=//p')
  container=$(in_pod "$sandbox" pod 2.3=/bin/sh 2.3=-c 2.4='hostname; exec sleep 1000' 2.11=c.log 2.15.1.4=int:67108864)
  cri StartContainer 1="$container"
  cri ContainerStatus 1="$container" | grep -x 1.3=1
  until_true grep -q 'F podhost$' "$work/pods/c.log"
  [ "$(cri ExecSync 1="$container" 2=/bin/sh 2=-c 2='cat /sys/fs/cgroup/memory.max; exit 3' 3=int:20 | tr '\n' ' ')" = '1=67108864 3=3 ' ]
  cri ContainerStats 1="$container" | grep '^1.3.2.1=[1-9]'
  ip=$(cri PodSandboxStatus 1="$sandbox" | sed -n 's/^1.5.1=//p'); [ "$ip" = 10.99.0.2 ]
  cri StopContainer 1="$container" 2=int:1
  cri ContainerStatus 1="$container" | grep -x -e 1.3=2 -e 1.7=143 -e 1.7=137 | wc -l | grep -x 2
  cri RemoveContainer 1="$container"
  cri StopPodSandbox 1="$sandbox"; cri RemovePodSandbox 1="$sandbox"
  [ -z "$(cri ListPodSandbox)" ]
}
full_container_of_a_pod_that_fails() {
  name=two
  mapfile -t config < <(pod 1)
  sandbox=$(cri RunPodSandbox "${config[@]}" 2="$runtime" | sed -n 's/^1=//p')
  container=$(in_pod "$sandbox" pod 2.3=/nowhere)
  fails cri StartContainer 1="$container" 2>"$work/said"; grep 'no such file or directory' "$work/said"
  # Kubernetes restarts containers that ended. Status 128 means that a container never started.
  cri ContainerStatus 1="$container" | grep -x 1.7=128
  cri StopPodSandbox 1="$sandbox"; cri RemovePodSandbox 1="$sandbox"
}
# The user namespace of a pod; its volumes and its rootfs are mounted with mapped ids.
pod_with_ids() { pod "$1" 1.5.1=int:0 1.5.2.1=int:200000 1.5.2.2=int:0 1.5.2.3=int:65536 1.5.3.1=int:200000 1.5.3.2=int:0 1.5.3.3=int:65536; }
full_pod_with_a_user_namespace() {
  name=three
  "$binary" features | jq -e .linux.mountExtensions.idmap.enabled || skip "the runtime has no idmapped mounts"
  mkdir -p "$work/volume"; echo x >"$work/volume/f"; chmod 700 "$work/volume"
  mapfile -t config < <(pod_with_ids 1)
  sandbox=$(cri RunPodSandbox "${config[@]}" 2="$runtime" | sed -n 's/^1=//p')
  container=$(in_pod "$sandbox" pod_with_ids 2.3=/bin/sleep 2.4=1000 2.7.1=/volume 2.7.2="$work/volume" \
    2.7.6.1=int:200000 2.7.6.2=int:0 2.7.6.3=int:65536 2.7.7.1=int:200000 2.7.7.2=int:0 2.7.7.3=int:65536 \
    2.15.2.3.5.1=int:0 2.15.2.3.5.2.1=int:200000 2.15.2.3.5.2.2=int:0 2.15.2.3.5.2.3=int:65536 2.15.2.3.5.3.1=int:200000 2.15.2.3.5.3.2=int:0 2.15.2.3.5.3.3=int:65536)
  cri StartContainer 1="$container"
  told=$(cri ExecSync 1="$container" 2=/bin/sh 2=-c 2='echo $(cat /proc/self/uid_map; stat -c %u /volume/f; cat /volume/f); touch /volume/made' 3=int:20)
  [ "$told" = '1=0 200000 65536 0 x' ]
  [ "$(stat -c %u "$work/volume/made")" = 0 ]
  cri StopPodSandbox 1="$sandbox"; cri RemovePodSandbox 1="$sandbox"
}
quick_nothing_is_left() { [ -z "$(ctr container ls -q)" ]; [ -z "$(ls -A "/run/containerd/runc/default" 2>/dev/null)" ]; }
