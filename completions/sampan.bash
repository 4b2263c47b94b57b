# Completion of sampan for bash. Generated from the definition of the command line: BLESS=1 cargo test --test completions

_sampan_words() { COMPREPLY=($(compgen -W "$1" -- "$cur")); }

_sampan_files() {
  compopt -o filenames
  COMPREPLY=($(compgen "$@" -- "$cur"))
}

_sampan() {
  local cur=${COMP_WORDS[COMP_CWORD]} before='' verb='' place=0 i word
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    case $word in
      =) continue ;;
      -*) before=$word; continue ;;
    esac
    case $verb:$before in
      :--root|:--log|:--log-format|:--log-level|:--cgroup-manager|:--rootless|create:-b|create:--bundle|create:-f|create:--config|create:--preserve-fds|create:--console-socket|create:--pidfd-socket|create:--pid-file|run:-b|run:--bundle|run:-f|run:--config|run:--preserve-fds|run:--console-socket|run:--pidfd-socket|run:--pid-file|run:--seccomp-record|exec:-p|exec:--process|exec:--cwd|exec:-e|exec:--env|exec:-u|exec:--user|exec:-g|exec:--additional-gids|exec:-c|exec:--cap|exec:--process-label|exec:--apparmor|exec:--cgroup|exec:--preserve-fds|exec:--console-socket|exec:--pidfd-socket|exec:--pid-file|kill:-s|kill:--signal|list:-f|list:--format|ps:-f|ps:--format|update:-r|update:--resources|update:--blkio-weight|update:--cpu-period|update:--cpu-quota|update:--cpu-burst|update:--cpu-share|update:--cpu-idle|update:--cpu-rt-period|update:--cpu-rt-runtime|update:--cpuset-cpus|update:--cpuset-mems|update:--memory|update:--memory-reservation|update:--memory-swap|update:--pids-limit|update:--l3-cache-schema|update:--mem-bw-schema|update:--kernel-memory|update:--kernel-memory-tcp|checkpoint:--image-path|checkpoint:--work-path|checkpoint:--manage-cgroups-mode|checkpoint:--empty-ns|checkpoint:--network-lock|checkpoint:--parent-path|checkpoint:--page-server|checkpoint:--status-fd|restore:-b|restore:--bundle|restore:-f|restore:--config|restore:--image-path|restore:--work-path|restore:--manage-cgroups-mode|restore:--empty-ns|restore:--network-lock|restore:--lsm-profile|restore:--lsm-mount-context|restore:--parent-path|restore:--console-socket|restore:--pidfd-socket|restore:--pid-file|events:--interval|spec:-b|spec:--bundle|spec:-f|spec:--file|explain:-b|explain:--bundle|explain:-f|explain:--config|explain:--preserve-fds|explain:--diff|check:-b|check:--bundle|check:-f|check:--config)
        before=''; continue ;;
    esac
    before=''
    if [ -z "$verb" ]; then verb=$word; else place=$((place + 1)); fi
  done
  if [ "$cur" = = ]; then cur=''; fi
  case $verb:$before in
    :--root) _sampan_files -d; return ;;
    :--log) _sampan_files -f; return ;;
    :--log-format) _sampan_words 'text json'; return ;;
    :--log-level) _sampan_words 'error warning debug'; return ;;
    :--cgroup-manager) _sampan_words 'cgroupfs systemd disabled'; return ;;
    :--rootless) _sampan_words 'true false auto'; return ;;
    create:-b|create:--bundle) _sampan_files -d; return ;;
    create:-f|create:--config) _sampan_files -f; return ;;
    create:--preserve-fds) :; return ;;
    create:--console-socket) _sampan_files -f; return ;;
    create:--pidfd-socket) _sampan_files -f; return ;;
    create:--pid-file) _sampan_files -f; return ;;
    run:-b|run:--bundle) _sampan_files -d; return ;;
    run:-f|run:--config) _sampan_files -f; return ;;
    run:--preserve-fds) :; return ;;
    run:--console-socket) _sampan_files -f; return ;;
    run:--pidfd-socket) _sampan_files -f; return ;;
    run:--pid-file) _sampan_files -f; return ;;
    run:--seccomp-record) _sampan_files -f; return ;;
    exec:-p|exec:--process) _sampan_files -f; return ;;
    exec:--cwd) _sampan_files -d; return ;;
    exec:-e|exec:--env) :; return ;;
    exec:-u|exec:--user) :; return ;;
    exec:-g|exec:--additional-gids) :; return ;;
    exec:-c|exec:--cap) :; return ;;
    exec:--process-label) :; return ;;
    exec:--apparmor) :; return ;;
    exec:--cgroup) _sampan_files -f; return ;;
    exec:--preserve-fds) :; return ;;
    exec:--console-socket) _sampan_files -f; return ;;
    exec:--pidfd-socket) _sampan_files -f; return ;;
    exec:--pid-file) _sampan_files -f; return ;;
    kill:-s|kill:--signal) _sampan_words 'HUP INT QUIT KILL USR1 USR2 TERM CONT STOP WINCH'; return ;;
    list:-f|list:--format) _sampan_words 'table json'; return ;;
    ps:-f|ps:--format) _sampan_words 'table json'; return ;;
    update:-r|update:--resources) _sampan_files -f; return ;;
    update:--blkio-weight) :; return ;;
    update:--cpu-period) :; return ;;
    update:--cpu-quota) :; return ;;
    update:--cpu-burst) :; return ;;
    update:--cpu-share) :; return ;;
    update:--cpu-idle) :; return ;;
    update:--cpu-rt-period) :; return ;;
    update:--cpu-rt-runtime) :; return ;;
    update:--cpuset-cpus) :; return ;;
    update:--cpuset-mems) :; return ;;
    update:--memory) :; return ;;
    update:--memory-reservation) :; return ;;
    update:--memory-swap) :; return ;;
    update:--pids-limit) :; return ;;
    update:--l3-cache-schema) :; return ;;
    update:--mem-bw-schema) :; return ;;
    update:--kernel-memory) :; return ;;
    update:--kernel-memory-tcp) :; return ;;
    checkpoint:--image-path) _sampan_files -d; return ;;
    checkpoint:--work-path) _sampan_files -d; return ;;
    checkpoint:--manage-cgroups-mode) _sampan_words 'soft full strict ignore'; return ;;
    checkpoint:--empty-ns) :; return ;;
    checkpoint:--network-lock) _sampan_words 'iptables nftables skip'; return ;;
    checkpoint:--parent-path) _sampan_files -d; return ;;
    checkpoint:--page-server) :; return ;;
    checkpoint:--status-fd) :; return ;;
    restore:-b|restore:--bundle) _sampan_files -d; return ;;
    restore:-f|restore:--config) _sampan_files -f; return ;;
    restore:--image-path) _sampan_files -d; return ;;
    restore:--work-path) _sampan_files -d; return ;;
    restore:--manage-cgroups-mode) _sampan_words 'soft full strict ignore'; return ;;
    restore:--empty-ns) :; return ;;
    restore:--network-lock) _sampan_words 'iptables nftables skip'; return ;;
    restore:--lsm-profile) :; return ;;
    restore:--lsm-mount-context) :; return ;;
    restore:--parent-path) _sampan_files -d; return ;;
    restore:--console-socket) _sampan_files -f; return ;;
    restore:--pidfd-socket) _sampan_files -f; return ;;
    restore:--pid-file) _sampan_files -f; return ;;
    events:--interval) :; return ;;
    spec:-b|spec:--bundle) _sampan_files -d; return ;;
    spec:-f|spec:--file) _sampan_files -f; return ;;
    explain:-b|explain:--bundle) _sampan_files -d; return ;;
    explain:-f|explain:--config) _sampan_files -f; return ;;
    explain:--preserve-fds) :; return ;;
    explain:--diff) :; return ;;
    check:-b|check:--bundle) _sampan_files -d; return ;;
    check:-f|check:--config) _sampan_files -f; return ;;
  esac
  case $verb:$place:$cur in
    :0:-*) _sampan_words '--root --log --log-format --log-level --debug --systemd-cgroup --cgroup-manager --rootless -v --version -h --help' ;;
    create:0:-*) _sampan_words '-b --bundle -f --config --no-pivot --no-new-keyring --preserve-fds --console-socket --pidfd-socket --pid-file --no-subreaper --timings -h --help' ;;
    start:0:-*) _sampan_words '-h --help' ;;
    start:0:*) _sampan_words "$("${COMP_WORDS[0]}" list --quiet 2>/dev/null)" ;;
    run:0:-*) _sampan_words '-b --bundle -f --config --no-pivot --no-new-keyring --preserve-fds --console-socket --pidfd-socket --pid-file --no-subreaper --timings -d --detach --keep --seccomp-record -h --help' ;;
    exec:0:-*) _sampan_words '-p --process -d --detach -t --tty -i --interactive --cwd -e --env -u --user -g --additional-gids -c --cap --no-new-privs --process-label --apparmor --ignore-paused --cgroup --preserve-fds --console-socket --pidfd-socket --pid-file --no-subreaper --timings -h --help' ;;
    exec:0:*) _sampan_words "$("${COMP_WORDS[0]}" list --quiet 2>/dev/null)" ;;
    state:0:-*) _sampan_words '-h --help' ;;
    state:0:*) _sampan_words "$("${COMP_WORDS[0]}" list --quiet 2>/dev/null)" ;;
    kill:0:-*) _sampan_words '-a --all -r --regex -s --signal -h --help' ;;
    kill:0:*) _sampan_words "$("${COMP_WORDS[0]}" list --quiet 2>/dev/null)" ;;
    kill:1:*) _sampan_words 'HUP INT QUIT KILL USR1 USR2 TERM CONT STOP WINCH' ;;
    wait:0:-*) _sampan_words '--json -h --help' ;;
    wait:0:*) _sampan_words "$("${COMP_WORDS[0]}" list --quiet 2>/dev/null)" ;;
    delete:0:-*) _sampan_words '-f --force -r --regex -h --help' ;;
    delete:0:*) _sampan_words "$("${COMP_WORDS[0]}" list --quiet 2>/dev/null)" ;;
    list:0:-*) _sampan_words '-f --format -q --quiet -h --help' ;;
    ps:0:-*) _sampan_words '-f --format -h --help' ;;
    ps:0:*) _sampan_words "$("${COMP_WORDS[0]}" list --quiet 2>/dev/null)" ;;
    pause:0:-*) _sampan_words '-h --help' ;;
    pause:0:*) _sampan_words "$("${COMP_WORDS[0]}" list --quiet 2>/dev/null)" ;;
    resume:0:-*) _sampan_words '-h --help' ;;
    resume:0:*) _sampan_words "$("${COMP_WORDS[0]}" list --quiet 2>/dev/null)" ;;
    update:0:-*) _sampan_words '-r --resources --blkio-weight --cpu-period --cpu-quota --cpu-burst --cpu-share --cpu-idle --cpu-rt-period --cpu-rt-runtime --cpuset-cpus --cpuset-mems --memory --memory-reservation --memory-swap --pids-limit --l3-cache-schema --mem-bw-schema --kernel-memory --kernel-memory-tcp -h --help' ;;
    update:0:*) _sampan_words "$("${COMP_WORDS[0]}" list --quiet 2>/dev/null)" ;;
    mounts:0:-*) _sampan_words '-h --help' ;;
    mounts:0:*) _sampan_words 'add remove' ;;
    mounts:1:*) _sampan_words "$("${COMP_WORDS[0]}" list --quiet 2>/dev/null)" ;;
    mounts:2:*) _sampan_files -f ;;
    checkpoint:0:-*) _sampan_words '--image-path --work-path --tcp-established --tcp-close --ext-unix-sk --shell-job --file-locks --link-remap --lazy-pages --auto-dedup --manage-cgroups-mode --empty-ns --network-lock -R --leave-running -P --pre-dump --parent-path --tcp-skip-in-flight --page-server --status-fd -h --help' ;;
    checkpoint:0:*) _sampan_words "$("${COMP_WORDS[0]}" list --quiet 2>/dev/null)" ;;
    restore:0:-*) _sampan_words '-b --bundle -f --config --image-path --work-path --tcp-established --tcp-close --ext-unix-sk --shell-job --file-locks --link-remap --lazy-pages --auto-dedup --manage-cgroups-mode --empty-ns --network-lock -d --detach --lsm-profile --lsm-mount-context --no-new-keyring --no-pivot --parent-path --console-socket --pidfd-socket --pid-file --no-subreaper -h --help' ;;
    restore:0:*) _sampan_words "$("${COMP_WORDS[0]}" list --quiet 2>/dev/null)" ;;
    events:0:-*) _sampan_words '--interval --stats -h --help' ;;
    events:0:*) _sampan_words "$("${COMP_WORDS[0]}" list --quiet 2>/dev/null)" ;;
    spec:0:-*) _sampan_words '-b --bundle -f --file --rootless -h --help' ;;
    features:0:-*) _sampan_words '-h --help' ;;
    explain:0:-*) _sampan_words '-b --bundle -f --config --no-pivot --no-new-keyring --preserve-fds --seccomp --diff --json -h --help' ;;
    check:0:-*) _sampan_words '-b --bundle -f --config --json -h --help' ;;
    help:0:-*) _sampan_words '' ;;
    help:0:*) _sampan_words 'create start run exec state kill wait delete list ps pause resume update mounts checkpoint restore events spec features explain check help' ;;
    :0:*) _sampan_words 'create start run exec state kill wait delete list ps pause resume update mounts checkpoint restore events spec features explain check help' ;;
  esac
}

complete -F _sampan sampan
