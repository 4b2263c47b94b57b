# Docker with the runtime as its default, as in docs/engines.md. It uses the containerd of the group containerd.
# shellcheck shell=bash disable=SC2154,SC2016
prepare_docker() {
  if ! ctr version >/dev/null 2>&1; then setsid containerd >"$work/containerd.log" 2>&1 & until_true ctr version; fi
  mkdir -p /etc/docker
  # User Mode Linux has no NAT, hence no default bridge.
  jq -n --arg runtime "$runtime" --arg binary "$binary" --arg cgroups "$cgroups" --argjson nat "$(has_nat && echo true || echo false)" '
    {"default-runtime": $runtime, "runtimes": (if $runtime == "runc" then {} else {($runtime): {"path": $binary}} end),
     "exec-opts": ["native.cgroupdriver=" + $cgroups]}
    + (if $nat then {} else {"iptables": false, "ip6tables": false, "bridge": "none"} end)' >/etc/docker/daemon.json
  setsid dockerd --containerd /run/containerd/containerd.sock >"$work/dockerd.log" 2>&1 &
  until_true docker info || { tail -n 20 "$work/dockerd.log"; return 1; }
  docker import "$work/image.tar" busybox:1
}
has_nat() { ! grep -q 'User Mode Linux' /proc/cpuinfo; }
run() { docker run --rm --network none "$@"; }
start() { local name=$1; shift; docker run -d --network none --name "$name" "$@" busybox:1 sleep 1000; }
state() { docker inspect -f '{{.State.Status}}' "$1"; }
is_state() { [ "$(state "$1")" = "$2" ]; }

quick_runtime_is_default() { docker info -f '{{.DefaultRuntime}} {{.CgroupDriver}}' | grep -x "$runtime $cgroups"; }
full_runtime_version() { docker info -f '{{json .Runtimes}}' | grep "$runtime"; [ "$runtime" != sampan ] || fails grep -iE 'sampan.*(failed|invalid|error)' "$work/dockerd.log"; }
quick_run() { [ "$(run busybox:1 echo hello)" = hello ]; }
full_run_by_name() { [ "$(run --runtime "$runtime" busybox:1 echo hello)" = hello ]; }
quick_exit_status() { rc=0; run busybox:1 sh -c 'exit 7' || rc=$?; [ $rc = 7 ]; }
quick_missing_program_is_127() { rc=0; run busybox:1 /nowhere || rc=$?; [ $rc = 127 ]; }
full_unexecutable_program_is_126() { rc=0; run busybox:1 /etc/passwd || rc=$?; [ $rc = 126 ]; }
quick_terminal() { on_terminal docker run --rm -it --network none busybox:1 tty | grep /dev/pts/0; }
full_stdin() { [ "$(echo word | docker run --rm -i --network none busybox:1 cat)" = word ]; }
quick_life() {
  start life
  [ "$(docker exec life echo inside)" = inside ]
  rc=0; docker exec life sh -c 'exit 9' || rc=$?; [ $rc = 9 ]
  rc=0; docker exec life /nowhere || rc=$?; [ $rc = 127 ]
  on_terminal docker exec -it life tty | grep /dev/pts/
  docker exec -u 1000:1000 -w /data -e WORD=x life sh -c 'id -u; pwd; echo $WORD'
  docker stop -t 1 life; is_state life exited
  docker start life; is_state life running
  docker kill life; until_true is_state life exited
  docker rm life
}
full_pause() { start paused; docker pause paused; is_state paused paused; docker unpause paused; is_state paused running; docker rm -f paused; }
full_stats_and_top() { start stats; docker stats --no-stream stats | grep -E '[0-9][KM]iB'; docker top stats | grep 'sleep 1000'; docker rm -f stats; }
quick_limits() {
  run -m 64m --pids-limit 50 --cpus 0.5 busybox:1 cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max /sys/fs/cgroup/cpu.max |
    tr '\n' ' ' | grep '67108864 50 50000 100000'
}
full_update() {
  start renewed -m 64m
  docker update -m 128m --memory-swap 256m --cpus 0.25 --pids-limit 77 renewed
  docker exec renewed cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max /sys/fs/cgroup/pids.max | tr '\n' ' ' | grep '134217728 25000 100000 77'
  docker rm -f renewed
}
full_out_of_memory() {
  docker run -d --name greedy --network none -m 16m --memory-swap 16m busybox:1 sh -c 'head -c 64m /dev/zero | tail; sleep 1000'
  ran_out() { docker inspect -f '{{.State.OOMKilled}}' greedy | grep true; }
  until_true ran_out; docker rm -f greedy
}
full_restart_policy() {
  docker run -d --network none --name again --restart on-failure:2 busybox:1 false
  restarted() { [ "$(docker inspect -f '{{.RestartCount}}' again)" = 2 ]; }
  until_true restarted; docker rm -f again
}
full_volumes() {
  mkdir -p /tmp/dv; echo host >/tmp/dv/f
  run -v /tmp/dv:/v:ro busybox:1 sh -c 'cat /v/f && ! touch /v/x'
  run -v vol:/data busybox:1 grep from-image /data/file
  run --tmpfs /t:size=1m --mount type=bind,src=/tmp/dv,dst=/m,bind-propagation=rslave busybox:1 sh -c 'df /t; cat /m/f'
}
full_read_only() { run --read-only busybox:1 sh -c '! touch /x'; }
full_capabilities() { [ "$(run --cap-drop all busybox:1 sh -c 'grep CapEff /proc/self/status | cut -f2')" = 0000000000000000 ]; }
full_default_seccomp() { run busybox:1 grep -E '^Seccomp:\s+2' /proc/self/status; }
full_init_process() { run --init busybox:1 sh -c 'cat /proc/1/comm' || skip "docker-init is not installed"; }
full_privileged() { run --privileged busybox:1 mount -t tmpfs x /data; }
full_device() { run --device /dev/fuse busybox:1 test -c /dev/fuse; }
full_ulimit_sysctl_hostname() { run --ulimit nofile=99:99 --sysctl net.ipv4.ip_unprivileged_port_start=80 -h box busybox:1 sh -c 'ulimit -n; hostname; cat /proc/sys/net/ipv4/ip_unprivileged_port_start' | tr '\n' ' ' | grep '99 box 80'; }
full_container_namespaces() { start one; run --pid container:one --network container:one busybox:1 ps | grep 'sleep 1000' || docker run --rm --pid container:one --network container:one busybox:1 ps | grep 'sleep 1000'; docker rm -f one; }
full_host_namespaces() { docker run --rm --network host --pid host --ipc host --uts host busybox:1 true; }
full_copy_and_commit() { start copy; echo x >/tmp/x; docker cp /tmp/x copy:/data/x; docker exec copy cat /data/x; docker commit copy copied; run copied cat /data/x; docker rm -f copy; }
full_network_of_two() {
  has_nat || skip "this kernel has no NAT; run with --vm qemu"
  docker network create two
  docker run -d --rm --network two --name server busybox:1 sh -c 'echo served >/tmp/index.html; exec httpd -f -h /tmp'
  until_true docker run --rm --network two busybox:1 wget -qO- http://server/
  docker rm -f server; docker network rm two
}
full_health() { docker run -d --network none --name health --health-cmd true --health-interval 1s busybox:1 sleep 1000; healthy() { docker inspect -f '{{.State.Health.Status}}' health | grep -x healthy; }; until_true healthy; docker rm -f health; }
full_events() { start events; docker events --since 10m --until "$(($(date +%s) + 3))" --filter container=events | grep 'container start'; docker rm -f events; }
quick_nothing_is_left() { docker ps -aq | xargs -r docker rm -f; [ -z "$(docker ps -aq)" ]; [ -z "$(ls -A "/run/docker/runtime-$runtime/moby" 2>/dev/null)" ]; }
