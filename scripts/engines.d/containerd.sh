# containerd: its shim io.containerd.runc.v2 calls the runtime through go-runc.
# shellcheck shell=bash disable=SC2154,SC2016
prepare_containerd() {
  mkdir -p /etc/containerd
  cat >/etc/containerd/config.toml <<CONF
version = 3
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.$runtime]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.$runtime.options]
  BinaryName = "$binary"
  SystemdCgroup = $([ "$cgroups" = systemd ] && echo true || echo false)
CONF
  setsid containerd >"$work/containerd.log" 2>&1 &
  until_true ctr version
  # ctr wants the image of a registry's form.
  podman save -q --format docker-archive -o "$work/docker.tar" "$image" || { podman import -q "$work/image.tar" "$image"; podman save -q --format docker-archive -o "$work/docker.tar" "$image"; }
  ctr image import "$work/docker.tar"
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
full_terminal() { script -qec "ctr run --runc-binary $binary --rm -t $image tty /bin/tty" /dev/null </dev/null | grep /dev/pts; }
full_exec_terminal() { start terminal; script -qec "ctr task exec -t --exec-id t terminal /bin/tty" /dev/null </dev/null | grep /dev/pts; remove terminal; }
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
full_features_are_read() { ctr plugin ls | grep -E 'cri.*runtime.*ok' || skip "this containerd has no CRI plug-in"; fails grep -i 'failed to.*features' "$work/containerd.log"; }
full_pods() { command -v crictl || skip "no CRI client (crictl) in the distribution"; crictl --runtime-endpoint unix:///run/containerd/containerd.sock info; }
quick_nothing_is_left() { [ -z "$(ctr container ls -q)" ]; [ -z "$(ls -A "/run/containerd/runc/default" 2>/dev/null)" ]; }
