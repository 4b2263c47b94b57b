# Podman, as root (group podman) and as an ordinary user (group rootless).
# shellcheck shell=bash disable=SC2154,SC2016,SC2086
prepare_podman() { podman import -q "$work/image.tar" "$image"; }
prepare_rootless() { prepare_podman; }

is_root() { [ "$(id -u)" = 0 ]; }
run() { podman run --rm --network none "$@"; }
start() { local name=$1; shift; podman run -d --network none --name "$name" "$@"; }
remove() { podman rm -f -t 0 "$1"; }
state() { podman inspect -f '{{.State.Status}}' "$1"; }
is_state() { [ "$(state "$1")" = "$2" ]; }
# The limits of a container, as seen from inside.
limit() { run "${@:2}" "$image" cat "/sys/fs/cgroup/$1"; }
# An ordinary user can set limits only where systemd delegates cgroups.
needs_limits() { is_root || [ "$cgroups" = systemd ] || skip "without systemd's delegation an ordinary user has no limits"; }

quick_runtime_is_chosen() { [ "$(podman info -f '{{.Host.OCIRuntime.Name}} {{.Host.CgroupManager}}')" = "$runtime $cgroups" ]; }
quick_run() { [ "$(run "$image" echo hello)" = hello ]; }
quick_exit_status() { rc=0; run "$image" sh -c 'exit 7' || rc=$?; [ $rc = 7 ]; }
full_killed_status() { rc=0; run "$image" sh -c 'kill -9 $$' || rc=$?; [ $rc = 137 ] || [ $rc = 0 ]; }
quick_missing_program_is_127() { rc=0; run "$image" /nowhere || rc=$?; [ $rc = 127 ]; }
full_unexecutable_program_is_126() { rc=0; run "$image" /etc/passwd || rc=$?; [ $rc = 126 ]; }
full_missing_workdir_is_told() { rc=0; run -w /nowhere "$image" true || rc=$?; [ $rc = 126 ] || [ $rc = 127 ]; }
full_stdin() { [ "$(echo word | podman run --rm -i --network none "$image" cat)" = word ]; }
quick_terminal() { on_terminal podman run --rm -it --network none "$image" tty | grep /dev/pts/0; }
full_terminal_size() { on_terminal "stty rows 33 cols 77; podman run --rm -it --network none $image sh -c 'sleep 1; stty size'" | grep '33 77'; }

quick_life() {
  start life --stop-timeout 1 "$image" sh -c 'echo begun; exec sleep 1000'
  is_state life running
  until_true grep -q begun <(podman logs life)
  podman exec life true
  [ "$(podman exec life cat /proc/1/comm)" = sleep ]
  rc=0; podman exec life sh -c 'exit 9' || rc=$?; [ $rc = 9 ]
  rc=0; podman exec life /nowhere || rc=$?; [ $rc = 127 ]
  on_terminal podman exec -it life tty | grep /dev/pts/
  podman stop life
  is_state life exited
  podman start life
  is_state life running
  podman restart -t 0 life
  podman rm -f -t 0 life
}
full_exec_options() {
  start options "$image" sleep 1000
  [ "$(podman exec -u 1000:1000 -w /data -e WORD=x options sh -c 'id -u; pwd; echo $WORD' | tr '\n' ' ')" = '1000 /data x ' ]
  podman exec -d options touch /tmp/detached
  until_true podman exec options test -e /tmp/detached
  [ "$(echo word | podman exec -i options cat)" = word ]
  podman exec --privileged options grep CapEff /proc/self/status
  remove options
}
full_preserve_fds() { exec 3<<<handed; [ "$(run --preserve-fds 1 "$image" sh -c 'cat <&3')" = handed ]; }
full_kill() {
  start victim "$image" sh -c 'trap "exit 5" USR1; while :; do sleep 0.1; done'
  sleep 1; podman kill -s USR1 victim
  [ "$(podman wait victim)" = 5 ]
  podman start victim; podman kill victim; [ "$(podman wait victim)" = 137 ]
  remove victim
}
quick_pause() {
  needs_limits
  start paused "$image" sleep 1000
  podman pause paused; is_state paused paused
  podman unpause paused; is_state paused running
  remove paused
}
full_top_and_stats() {
  start top "$image" sleep 1000
  podman top top pid comm | grep sleep
  if is_root; then podman stats --no-stream top | grep top; fi
  remove top
}
full_attach() { podman create --network none --name attach "$image" echo attached; [ "$(podman start -a attach)" = attached ]; remove attach; }
full_copy() {
  start copy "$image" sleep 1000
  echo there >"$HOME/here"; podman cp "$HOME/here" copy:/data/there
  [ "$(podman exec copy cat /data/there)" = there ]
  podman cp copy:/data/file "$HOME/back"; grep from-image "$HOME/back"
  remove copy
}
full_commit_and_diff() {
  start change "$image" touch /data/new; podman wait change
  podman diff change | grep '/data/new'
  podman commit -q change changed; run changed test -e /data/new
  podman rmi -f changed; podman rm -f change
}
full_healthcheck() {
  start health --health-cmd 'test -e /data/file' --health-interval disable "$image" sleep 1000
  podman healthcheck run health
  podman exec -u 0 health rm /data/file
  fails podman healthcheck run health
  remove health
}
full_init_process() { [ -x /usr/libexec/podman/catatonit ] || skip "catatonit is not installed"; run --init "$image" cat /proc/1/comm; }

quick_memory_limit() { needs_limits; [ "$(limit memory.max --memory 64m)" = 67108864 ]; }
full_cpu_limit() { needs_limits; [ "$(limit cpu.max --cpus 0.5)" = '50000 100000' ]; }
full_pids_limit() { needs_limits; [ "$(limit pids.max --pids-limit 50)" = 50 ]; }
full_out_of_memory() {
  needs_limits
  # The shell outlives the killed process: conmon has to see the event while the cgroup exists.
  start greedy --memory 16m --memory-swap 16m "$image" sh -c 'head -c 64m /dev/zero | tail; sleep 2'
  podman wait greedy
  podman inspect -f '{{.State.OOMKilled}}' greedy | grep true
  remove greedy
}
full_update() {
  needs_limits
  start renewed --memory 64m "$image" sleep 1000
  podman update --memory 128m --pids-limit 77 renewed
  [ "$(podman exec renewed cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max | tr '\n' ' ')" = '134217728 77 ' ]
  remove renewed
}
full_cgroups_disabled() { run --cgroups disabled "$image" true; }
full_cgroups_split() { is_root || skip "needs a cgroup of its own"; run --cgroups split "$image" true; }
full_cgroup_namespace_host() { needs_limits; run --cgroupns host "$image" grep -q libpod /proc/self/cgroup; }

quick_capabilities() {
  [ "$(run --cap-drop all "$image" sh -c 'grep CapEff /proc/self/status | cut -f2')" = 0000000000000000 ]
  run --cap-drop all --cap-add net_admin "$image" grep 'CapEff.*0000000000001000' /proc/self/status
}
quick_read_only() { run --read-only "$image" sh -c '! touch /x && touch /tmp/x'; }
full_tmpfs() { run --tmpfs /scratch:size=1m,mode=1777 "$image" sh -c 'df /scratch | grep 1024 && touch /scratch/x'; }
full_shm_size() { run --shm-size 5m "$image" sh -c 'df /dev/shm | grep 5120'; }
quick_volumes() {
  mkdir -p "$HOME/v"; echo host >"$HOME/v/f"; chmod 777 "$HOME/v"
  run -v "$HOME/v:/v:ro" "$image" sh -c 'cat /v/f && ! touch /v/x'
  run -v "$HOME/v:/v" "$image" touch /v/x; [ -e "$HOME/v/x" ]
  run -v "$HOME/v/f:/etc/one" "$image" grep host /etc/one
}
full_volume_copies_the_image() { podman volume rm -f vol; run -v vol:/data "$image" grep from-image /data/file; podman volume rm -f vol; }
full_volume_owner() { mkdir -p "$HOME/u"; run --user 1000 -v "$HOME/u:/u:U" "$image" touch /u/x; }
full_volume_of_another() {
  start owner -v /shared "$image" sh -c 'echo x >/shared/f; sleep 1000'
  until_true podman exec owner test -e /shared/f
  run --volumes-from owner "$image" cat /shared/f
  remove owner
}
full_mount_options() { run --mount type=bind,src=/usr/share,dst=/m,ro,bind-propagation=rslave "$image" sh -c 'ls /m && ! touch /m/x'; }
full_idmapped_volume() {
  is_root || skip "takes root"
  "$binary" features | jq -e .linux.mountExtensions.idmap.enabled || skip "the runtime has no idmapped mounts"
  mkdir -p /var/tmp/idmapped; touch /var/tmp/idmapped/f
  [ "$(run --uidmap 0:200000:5000 -v /var/tmp/idmapped:/v:idmap "$image" stat -c %u /v/f)" = 0 ]
}
full_device() { run --device /dev/fuse "$image" test -c /dev/fuse; }
full_device_denied() { is_root || skip "takes root"; run --cap-add mknod "$image" sh -c 'mknod /tmp/k c 1 11 && ! cat </tmp/k'; }
full_privileged() { run --privileged "$image" mount -t tmpfs x /data; }

full_user() { [ "$(run --user 1000:1000 "$image" sh -c 'id -u; id -g; echo $HOME; cat /data/file' | tr '\n' ' ')" = '1000 1000 /data from-image ' ]; }
full_user_groups() { run --user 1000 --group-add 2000 "$image" sh -c 'id -G | grep -w 2000'; }
full_user_namespace_auto() { run --userns auto "$image" cat /proc/self/uid_map; }
full_user_namespace_keep_id() { ! is_root || skip "is for ordinary users"; [ "$(run --userns keep-id "$image" id -u)" = "$(id -u)" ]; }
full_user_namespace_nomap() { ! is_root || skip "is for ordinary users"; run --userns nomap "$image" id; }
full_user_namespace_map() { is_root || skip "takes root"; [ "$(run --uidmap 0:200000:5000 "$image" sh -c 'set -- $(cat /proc/self/uid_map); echo $*')" = '0 200000 5000' ]; }
quick_hostname_env_workdir() { [ "$(run -h box -e WORD=x -w /data "$image" sh -c 'hostname; echo $WORD; pwd' | tr '\n' ' ')" = 'box x /data ' ]; }
full_ulimit() { [ "$(run --ulimit nofile=99:99 "$image" sh -c 'ulimit -n')" = 99 ]; }
full_sysctl() { [ "$(run --sysctl net.ipv4.ip_unprivileged_port_start=80 "$image" cat /proc/sys/net/ipv4/ip_unprivileged_port_start)" = 80 ]; }
full_oom_score() { run --oom-score-adj 500 "$image" grep -x 500 /proc/self/oom_score_adj; }
quick_default_seccomp() { run "$image" grep -E '^Seccomp:\s+2' /proc/self/status; }
full_seccomp_file() {
  echo '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":95}]}' >"$HOME/seccomp.json"
  run --security-opt seccomp="$HOME/seccomp.json" "$image" sh -c '! mkdir /tmp/x 2>/tmp/said; grep "not supported" /tmp/said'
}
full_no_new_privileges() { run --security-opt no-new-privileges "$image" grep -E 'NoNewPrivs:\s+1' /proc/self/status; }
full_masked_paths() { run --security-opt mask=/data "$image" sh -c '! test -e /data/file'; run --security-opt unmask=ALL "$image" true; }
full_time_zone() { run --tz UTC "$image" date; }

full_host_namespaces() { podman run --rm --network host --pid host --ipc host --uts host "$image" true; }
full_container_namespaces() {
  start one "$image" sleep 1000
  podman run --rm --network container:one --pid container:one --ipc shareable "$image" ps | grep 'sleep 1000'
  remove one
}
full_user_namespace_in_shared_network() {
  start one "$image" sleep 1000
  podman run --rm --userns auto --network container:one "$image" sh -c 'ip addr && ! grep -q 4294967295 /proc/self/uid_map'
  remove one
}
full_user_namespace_in_shared_processes() {
  start one "$image" sleep 1000
  run --userns auto --pid container:one --ipc container:one "$image" sh -c 'ps | grep "sleep 1000" && ! cat /proc/1/environ && ! grep -q 4294967295 /proc/self/uid_map'
  remove one
}
quick_pod() {
  podman pod create --name pod --network none --infra-image "$image" --infra-command 'sleep 1000' --share net,ipc,uts,pid
  podman run -d --pod pod --name a "$image" sleep 2000
  podman run --rm --pod pod "$image" ps | grep 'sleep 2000'
  if [ "$cgroups" = systemd ] || is_root; then podman pod pause pod; podman pod unpause pod; fi
  podman pod stop -t 0 pod; podman pod rm -f -t 0 pod
}
full_network() {
  if is_root; then podman run --rm "$image" ip addr | grep eth0; else podman run --rm --network pasta "$image" ip addr || skip "pasta does not work here"; fi
}
full_hooks() {
  is_root || skip "takes root"
  mkdir -p /tmp/hooks; printf '#!/bin/sh\ncat >/tmp/hooks/state\n' >/tmp/hooks/it; chmod 755 /tmp/hooks/it
  echo '{"version":"1.0.0","hook":{"path":"/tmp/hooks/it"},"when":{"always":true},"stages":["createRuntime"]}' >/tmp/hooks/it.json
  podman --hooks-dir /tmp/hooks run --rm --network none "$image" true
  jq -e '.pid > 1 and .bundle != "" and .status == "creating"' /tmp/hooks/state
}
full_notify_socket() { run --sdnotify conmon "$image" true; }
full_build() {
  mkdir -p "$HOME/build"; printf 'FROM %s\nRUN echo built >/made\nUSER 1000\nCMD ["cat","/made"]\n' "$image" >"$HOME/build/Containerfile"
  podman build -q --network none -t made "$HOME/build"
  [ "$(run made)" = built ]
}
# The number that the container $1 has come to.
counted() { podman exec "$1" cat /count; }
start_counter() {
  is_root || skip "CRIU needs root"
  needs_criu
  start "$1" "$image" sh -c "$counter"
  until_true counts_on "$1" 2
}
full_checkpoint_and_restore() {
  start_counter saved
  podman container checkpoint saved
  [ "$(podman inspect -f '{{.State.Status}} {{.State.Checkpointed}}' saved)" = 'exited true' ]
  podman container restore saved
  is_state saved running
  count=$(counted saved); until_true counts_on saved "$count"
  podman kill saved; [ "$(podman wait saved)" = 137 ]
  remove saved
}
full_checkpoint_by_archive() {
  start_counter original
  podman container checkpoint --leave-running --file-locks --export /var/tmp/one.tar original
  is_state original running
  count=$(counted original); until_true counts_on original "$count"
  podman container restore --import /var/tmp/one.tar --name other --file-locks
  is_state other running
  until_true counts_on other "$count"
  remove original; remove other; rm /var/tmp/one.tar
}
full_checkpoint_in_advance() {
  start_counter advance
  podman container checkpoint --pre-checkpoint --export /var/tmp/pre.tar advance
  is_state advance running
  count=$(counted advance)
  podman container checkpoint --with-previous --export /var/tmp/rest.tar advance
  remove advance
  podman container restore --import-previous /var/tmp/pre.tar --import /var/tmp/rest.tar
  until_true counts_on advance "$count"
  remove advance; rm /var/tmp/pre.tar /var/tmp/rest.tar
}
quick_nothing_is_left() {
  podman rm -fa -t 0 >/dev/null
  [ -z "$(podman ps -aq)" ]
  if is_root; then [ -z "$(find /sys/fs/cgroup -name 'libpod-*' -not -name '*conmon*' | head -1)" ]; fi
}
