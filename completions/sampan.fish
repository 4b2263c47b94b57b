# Completion of sampan for fish. Generated from the definition of the command line: BLESS=1 cargo test --test completions

# Whether VERB and PLACE arguments after it have been typed. Flags do not count.
function __sampan_at --argument-names verb place
    set -l words (string match --invert -- '-*' (commandline -opc))
    test (count $words) -eq (math 2 + $place); and test $words[2] = $verb
end

complete -c sampan -f
complete -c sampan -n __fish_use_subcommand -a create -d 'Create a container without running its process'
complete -c sampan -n __fish_use_subcommand -a start -d 'Run the process of a created container'
complete -c sampan -n __fish_use_subcommand -a run -d 'Create a container, run its process, and delete it when the process ends'
complete -c sampan -n __fish_use_subcommand -a exec -d 'Execute an additional process in a running container'
complete -c sampan -n __fish_use_subcommand -a state -d 'Print the state of a container as JSON'
complete -c sampan -n __fish_use_subcommand -a kill -d 'Send a signal to the process of a container'
complete -c sampan -n __fish_use_subcommand -a wait -d 'Wait until the process of a container has ended, and say why'
complete -c sampan -n __fish_use_subcommand -a delete -d 'Delete a container that has stopped'
complete -c sampan -n __fish_use_subcommand -a list -d 'List the containers below the root directory'
complete -c sampan -n __fish_use_subcommand -a ps -d 'List the processes of a container'
complete -c sampan -n __fish_use_subcommand -a pause -d 'Stop every process of a container until it is resumed'
complete -c sampan -n __fish_use_subcommand -a resume -d 'Resume the processes of a paused container'
complete -c sampan -n __fish_use_subcommand -a update -d 'Change the limits of a container'
complete -c sampan -n __fish_use_subcommand -a mounts -d 'Add mounts to a running container, or remove them'
complete -c sampan -n __fish_use_subcommand -a checkpoint -d 'Save the processes of a container to images, and delete the container'
complete -c sampan -n __fish_use_subcommand -a restore -d 'Create a container whose processes continue from the images of `checkpoint`'
complete -c sampan -n __fish_use_subcommand -a events -d 'Print statistics and out-of-memory events of a container'
complete -c sampan -n __fish_use_subcommand -a spec -d 'Write a default config.json'
complete -c sampan -n __fish_use_subcommand -a features -d 'Print what this runtime supports as JSON'
complete -c sampan -n __fish_use_subcommand -a explain -d 'Show every step that creating a container would take'
complete -c sampan -n __fish_use_subcommand -a check -d 'Say what is wrong with a bundle, or what this host can do'
complete -c sampan -n __fish_use_subcommand -a help -d 'Print help'
complete -c sampan -n __fish_use_subcommand -l root -d 'Directory that holds the state of the containers' -r -a '(__fish_complete_directories)'
complete -c sampan -n __fish_use_subcommand -l log -d 'Where to write the log: [file:]PATH, journald:ID or syslog:ID' -r -F
complete -c sampan -n __fish_use_subcommand -l log-format -d 'Format of the log: text or json' -r -a 'text json'
complete -c sampan -n __fish_use_subcommand -l log-level -d 'Lowest severity to log: error, warning or debug' -r -a 'error warning debug'
complete -c sampan -n __fish_use_subcommand -l debug -d 'Log debug messages too'
complete -c sampan -n __fish_use_subcommand -l systemd-cgroup -d 'Let systemd manage the cgroups of the container'
complete -c sampan -n __fish_use_subcommand -l cgroup-manager -d 'Manager of the cgroups of the container' -r -a 'cgroupfs systemd disabled'
complete -c sampan -n __fish_use_subcommand -l rootless -d 'Accepted for compatibility with engines, without effect: true, false or auto' -r -a 'true false auto'
complete -c sampan -n __fish_use_subcommand -s v -l version -d 'Print the version'
complete -c sampan -n __fish_use_subcommand -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sampan -n '__fish_seen_subcommand_from create' -s b -l bundle -d 'Directory that holds config.json' -r -a '(__fish_complete_directories)'
complete -c sampan -n '__fish_seen_subcommand_from create' -s f -l config -d 'The config, if it is not config.json in the bundle' -r -F
complete -c sampan -n '__fish_seen_subcommand_from create' -l no-pivot -d 'Use MS_MOVE and chroot(2) instead of pivot_root(2)'
complete -c sampan -n '__fish_seen_subcommand_from create' -l no-new-keyring -d 'Keep the session keyring of the caller instead of creating a new one'
complete -c sampan -n '__fish_seen_subcommand_from create' -l preserve-fds -d 'Pass this many descriptors, from 3 upwards, to the process' -r
complete -c sampan -n '__fish_seen_subcommand_from create' -l console-socket -d 'Unix stream socket that receives the master of the terminal of the process' -r -F
complete -c sampan -n '__fish_seen_subcommand_from create' -l pidfd-socket -d 'Unix stream socket that receives a pidfd of the process' -r -F
complete -c sampan -n '__fish_seen_subcommand_from create' -l pid-file -d 'File to write the process id to, as the caller sees it' -r -F
complete -c sampan -n '__fish_seen_subcommand_from create' -l no-subreaper -d 'Do not adopt the orphans of the process'
complete -c sampan -n '__fish_seen_subcommand_from create' -l timings -d 'Print where the time went, by phase, and the slowest steps'
complete -c sampan -n '__fish_seen_subcommand_from create' -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sampan -n '__fish_seen_subcommand_from start' -s h -l help -d 'Print help'
complete -c sampan -n '__sampan_at start 0' -a '(sampan list --quiet 2>/dev/null)'
complete -c sampan -n '__fish_seen_subcommand_from run' -s b -l bundle -d 'Directory that holds config.json' -r -a '(__fish_complete_directories)'
complete -c sampan -n '__fish_seen_subcommand_from run' -s f -l config -d 'The config, if it is not config.json in the bundle' -r -F
complete -c sampan -n '__fish_seen_subcommand_from run' -l no-pivot -d 'Use MS_MOVE and chroot(2) instead of pivot_root(2)'
complete -c sampan -n '__fish_seen_subcommand_from run' -l no-new-keyring -d 'Keep the session keyring of the caller instead of creating a new one'
complete -c sampan -n '__fish_seen_subcommand_from run' -l preserve-fds -d 'Pass this many descriptors, from 3 upwards, to the process' -r
complete -c sampan -n '__fish_seen_subcommand_from run' -l console-socket -d 'Unix stream socket that receives the master of the terminal of the process' -r -F
complete -c sampan -n '__fish_seen_subcommand_from run' -l pidfd-socket -d 'Unix stream socket that receives a pidfd of the process' -r -F
complete -c sampan -n '__fish_seen_subcommand_from run' -l pid-file -d 'File to write the process id to, as the caller sees it' -r -F
complete -c sampan -n '__fish_seen_subcommand_from run' -l no-subreaper -d 'Do not adopt the orphans of the process'
complete -c sampan -n '__fish_seen_subcommand_from run' -l timings -d 'Print where the time went, by phase, and the slowest steps'
complete -c sampan -n '__fish_seen_subcommand_from run' -s d -l detach -d 'Return as soon as the process runs'
complete -c sampan -n '__fish_seen_subcommand_from run' -l keep -d 'Keep the state and the cgroup when the process ends'
complete -c sampan -n '__fish_seen_subcommand_from run' -l seccomp-record -d 'Record the system calls of the container in a new file, as a seccomp profile' -r -F
complete -c sampan -n '__fish_seen_subcommand_from run' -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sampan -n '__fish_seen_subcommand_from exec' -s p -l process -d 'File with the process as JSON, like `process` in config.json' -r -F
complete -c sampan -n '__fish_seen_subcommand_from exec' -s d -l detach -d 'Return as soon as the process runs'
complete -c sampan -n '__fish_seen_subcommand_from exec' -s t -l tty -d 'Give the process a terminal'
complete -c sampan -n '__fish_seen_subcommand_from exec' -s i -l interactive -d 'Accepted for users of other tools, without effect: the process always gets the caller\'s standard input'
complete -c sampan -n '__fish_seen_subcommand_from exec' -l cwd -d 'Working directory in the container' -r -a '(__fish_complete_directories)'
complete -c sampan -n '__fish_seen_subcommand_from exec' -s e -l env -d 'Environment variable' -r
complete -c sampan -n '__fish_seen_subcommand_from exec' -s u -l user -d 'User and group in the container, as numbers' -r
complete -c sampan -n '__fish_seen_subcommand_from exec' -s g -l additional-gids -d 'Additional group, as a number' -r
complete -c sampan -n '__fish_seen_subcommand_from exec' -s c -l cap -d 'Capability to add' -r
complete -c sampan -n '__fish_seen_subcommand_from exec' -l no-new-privs -d 'Set no_new_privs'
complete -c sampan -n '__fish_seen_subcommand_from exec' -l process-label -d 'SELinux label of the process' -r
complete -c sampan -n '__fish_seen_subcommand_from exec' -l apparmor -d 'AppArmor profile of the process' -r
complete -c sampan -n '__fish_seen_subcommand_from exec' -l ignore-paused -d 'Allow a paused container'
complete -c sampan -n '__fish_seen_subcommand_from exec' -l cgroup -d 'Cgroup of the process, below the container\'s' -r -F
complete -c sampan -n '__fish_seen_subcommand_from exec' -l preserve-fds -d 'Pass this many descriptors, from 3 upwards, to the process' -r
complete -c sampan -n '__fish_seen_subcommand_from exec' -l console-socket -d 'Unix stream socket that receives the master of the terminal of the process' -r -F
complete -c sampan -n '__fish_seen_subcommand_from exec' -l pidfd-socket -d 'Unix stream socket that receives a pidfd of the process' -r -F
complete -c sampan -n '__fish_seen_subcommand_from exec' -l pid-file -d 'File to write the process id to, as the caller sees it' -r -F
complete -c sampan -n '__fish_seen_subcommand_from exec' -l no-subreaper -d 'Do not adopt the orphans of the process'
complete -c sampan -n '__fish_seen_subcommand_from exec' -l timings -d 'Print where the time went, by phase, and the slowest steps'
complete -c sampan -n '__fish_seen_subcommand_from exec' -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sampan -n '__sampan_at exec 0' -a '(sampan list --quiet 2>/dev/null)'
complete -c sampan -n '__fish_seen_subcommand_from state' -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sampan -n '__sampan_at state 0' -a '(sampan list --quiet 2>/dev/null)'
complete -c sampan -n '__fish_seen_subcommand_from kill' -s a -l all -d 'Signal every process of the container'
complete -c sampan -n '__fish_seen_subcommand_from kill' -s r -l regex -d 'Treat ID as an extended regular expression and signal every container that matches'
complete -c sampan -n '__fish_seen_subcommand_from kill' -s s -l signal -d 'The signal, instead of SIGNAL' -r -a 'HUP INT QUIT KILL USR1 USR2 TERM CONT STOP WINCH'
complete -c sampan -n '__fish_seen_subcommand_from kill' -s h -l help -d 'Print help'
complete -c sampan -n '__sampan_at kill 0' -a '(sampan list --quiet 2>/dev/null)'
complete -c sampan -n '__sampan_at kill 1' -a 'HUP INT QUIT KILL USR1 USR2 TERM CONT STOP WINCH'
complete -c sampan -n '__fish_seen_subcommand_from wait' -l json -d 'Print JSON'
complete -c sampan -n '__fish_seen_subcommand_from wait' -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sampan -n '__sampan_at wait 0' -a '(sampan list --quiet 2>/dev/null)'
complete -c sampan -n '__fish_seen_subcommand_from delete' -s f -l force -d 'Kill a running container first'
complete -c sampan -n '__fish_seen_subcommand_from delete' -s r -l regex -d 'Treat ID as an extended regular expression and delete every container that matches'
complete -c sampan -n '__fish_seen_subcommand_from delete' -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sampan -n '__sampan_at delete 0' -a '(sampan list --quiet 2>/dev/null)'
complete -c sampan -n '__fish_seen_subcommand_from list' -s f -l format -d 'Output format' -r -a 'table json'
complete -c sampan -n '__fish_seen_subcommand_from list' -s q -l quiet -d 'Print only the ids'
complete -c sampan -n '__fish_seen_subcommand_from list' -s h -l help -d 'Print help'
complete -c sampan -n '__fish_seen_subcommand_from ps' -s f -l format -d 'Output format' -r -a 'table json'
complete -c sampan -n '__fish_seen_subcommand_from ps' -s h -l help -d 'Print help'
complete -c sampan -n '__sampan_at ps 0' -a '(sampan list --quiet 2>/dev/null)'
complete -c sampan -n '__fish_seen_subcommand_from pause' -s h -l help -d 'Print help'
complete -c sampan -n '__sampan_at pause 0' -a '(sampan list --quiet 2>/dev/null)'
complete -c sampan -n '__fish_seen_subcommand_from resume' -s h -l help -d 'Print help'
complete -c sampan -n '__sampan_at resume 0' -a '(sampan list --quiet 2>/dev/null)'
complete -c sampan -n '__fish_seen_subcommand_from update' -s r -l resources -d 'File with the new limits, the linux.resources of a config as JSON' -r -F
complete -c sampan -n '__fish_seen_subcommand_from update' -l blkio-weight -d 'Block I/O weight, 10 to 1000' -r
complete -c sampan -n '__fish_seen_subcommand_from update' -l cpu-period -d 'Period of the CPU quota in microseconds, 1000 to 1000000' -r
complete -c sampan -n '__fish_seen_subcommand_from update' -l cpu-quota -d 'CPU time per period in microseconds, at least 1000' -r
complete -c sampan -n '__fish_seen_subcommand_from update' -l cpu-burst -d 'Unused CPU time that later periods may use, in microseconds' -r
complete -c sampan -n '__fish_seen_subcommand_from update' -l cpu-share -d 'CPU shares, 2 to 262144' -r
complete -c sampan -n '__fish_seen_subcommand_from update' -l cpu-idle -d '1 lets the container run only when the CPU would be idle' -r
complete -c sampan -n '__fish_seen_subcommand_from update' -l cpu-rt-period -d 'Period for realtime processes' -r
complete -c sampan -n '__fish_seen_subcommand_from update' -l cpu-rt-runtime -d 'Time for realtime processes' -r
complete -c sampan -n '__fish_seen_subcommand_from update' -l cpuset-cpus -d 'CPUs to use, such as 0-3,5' -r
complete -c sampan -n '__fish_seen_subcommand_from update' -l cpuset-mems -d 'Memory nodes to use, such as 0-1' -r
complete -c sampan -n '__fish_seen_subcommand_from update' -l memory -d 'Memory limit, such as 512m' -r
complete -c sampan -n '__fish_seen_subcommand_from update' -l memory-reservation -d 'Memory that the kernel leaves to the container when the host runs short of memory' -r
complete -c sampan -n '__fish_seen_subcommand_from update' -l memory-swap -d 'Limit of memory plus swap' -r
complete -c sampan -n '__fish_seen_subcommand_from update' -l pids-limit -d 'Maximum number of processes and threads' -r
complete -c sampan -n '__fish_seen_subcommand_from update' -l l3-cache-schema -d 'Cache schema of Intel RDT, such as L3:0=ff' -r
complete -c sampan -n '__fish_seen_subcommand_from update' -l mem-bw-schema -d 'Memory bandwidth schema of Intel RDT, such as MB:0=50' -r
complete -c sampan -n '__fish_seen_subcommand_from update' -l kernel-memory -d 'Ignored: Linux has no limit of kernel memory any more' -r
complete -c sampan -n '__fish_seen_subcommand_from update' -l kernel-memory-tcp -d 'Ignored: Linux has no limit of kernel memory any more' -r
complete -c sampan -n '__fish_seen_subcommand_from update' -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sampan -n '__sampan_at update 0' -a '(sampan list --quiet 2>/dev/null)'
complete -c sampan -n '__fish_seen_subcommand_from mounts' -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sampan -n '__sampan_at mounts 0' -a 'add remove'
complete -c sampan -n '__sampan_at mounts 1' -a '(sampan list --quiet 2>/dev/null)'
complete -c sampan -n '__sampan_at mounts 2' -F
complete -c sampan -n '__fish_seen_subcommand_from checkpoint' -l image-path -d 'Directory of the images' -r -a '(__fish_complete_directories)'
complete -c sampan -n '__fish_seen_subcommand_from checkpoint' -l work-path -d 'Directory of CRIU\'s log and working files' -r -a '(__fish_complete_directories)'
complete -c sampan -n '__fish_seen_subcommand_from checkpoint' -l tcp-established -d 'Leave open TCP connections open'
complete -c sampan -n '__fish_seen_subcommand_from checkpoint' -l tcp-close -d 'Close open TCP connections'
complete -c sampan -n '__fish_seen_subcommand_from checkpoint' -l ext-unix-sk -d 'Allow Unix sockets that are connected to a process outside of the container'
complete -c sampan -n '__fish_seen_subcommand_from checkpoint' -l shell-job -d 'Allow a terminal that is not the container\'s'
complete -c sampan -n '__fish_seen_subcommand_from checkpoint' -l file-locks -d 'Save and restore locks of files'
complete -c sampan -n '__fish_seen_subcommand_from checkpoint' -l link-remap -d 'Give a deleted file that is still open a name for the time in between'
complete -c sampan -n '__fish_seen_subcommand_from checkpoint' -l lazy-pages -d 'Transfer memory when it is used, by `criu lazy-pages`'
complete -c sampan -n '__fish_seen_subcommand_from checkpoint' -l auto-dedup -d 'Remove memory from the parent images that newer images have'
complete -c sampan -n '__fish_seen_subcommand_from checkpoint' -l manage-cgroups-mode -d 'What to do with the cgroups of the processes' -r -a 'soft full strict ignore'
complete -c sampan -n '__fish_seen_subcommand_from checkpoint' -l empty-ns -d 'Namespace whose content is left out, for hooks to set up: network' -r
complete -c sampan -n '__fish_seen_subcommand_from checkpoint' -l network-lock -d 'How packets are held back meanwhile' -r -a 'iptables nftables skip'
complete -c sampan -n '__fish_seen_subcommand_from checkpoint' -s R -l leave-running -d 'Let the container continue'
complete -c sampan -n '__fish_seen_subcommand_from checkpoint' -s P -l pre-dump -d 'Save only the memory, while the container runs'
complete -c sampan -n '__fish_seen_subcommand_from checkpoint' -l parent-path -d 'Images of an earlier pre-dump, relative to those of this one' -r -a '(__fish_complete_directories)'
complete -c sampan -n '__fish_seen_subcommand_from checkpoint' -l tcp-skip-in-flight -d 'Leave out TCP connections that are not established yet'
complete -c sampan -n '__fish_seen_subcommand_from checkpoint' -l page-server -d 'Send the memory to this page server instead of writing it' -r
complete -c sampan -n '__fish_seen_subcommand_from checkpoint' -l status-fd -d 'Descriptor to which CRIU writes a zero when its page server of --lazy-pages listens' -r
complete -c sampan -n '__fish_seen_subcommand_from checkpoint' -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sampan -n '__sampan_at checkpoint 0' -a '(sampan list --quiet 2>/dev/null)'
complete -c sampan -n '__fish_seen_subcommand_from restore' -s b -l bundle -d 'Directory that holds config.json' -r -a '(__fish_complete_directories)'
complete -c sampan -n '__fish_seen_subcommand_from restore' -s f -l config -d 'The config, if it is not config.json in the bundle' -r -F
complete -c sampan -n '__fish_seen_subcommand_from restore' -l image-path -d 'Directory of the images' -r -a '(__fish_complete_directories)'
complete -c sampan -n '__fish_seen_subcommand_from restore' -l work-path -d 'Directory of CRIU\'s log and working files' -r -a '(__fish_complete_directories)'
complete -c sampan -n '__fish_seen_subcommand_from restore' -l tcp-established -d 'Leave open TCP connections open'
complete -c sampan -n '__fish_seen_subcommand_from restore' -l tcp-close -d 'Close open TCP connections'
complete -c sampan -n '__fish_seen_subcommand_from restore' -l ext-unix-sk -d 'Allow Unix sockets that are connected to a process outside of the container'
complete -c sampan -n '__fish_seen_subcommand_from restore' -l shell-job -d 'Allow a terminal that is not the container\'s'
complete -c sampan -n '__fish_seen_subcommand_from restore' -l file-locks -d 'Save and restore locks of files'
complete -c sampan -n '__fish_seen_subcommand_from restore' -l link-remap -d 'Give a deleted file that is still open a name for the time in between'
complete -c sampan -n '__fish_seen_subcommand_from restore' -l lazy-pages -d 'Transfer memory when it is used, by `criu lazy-pages`'
complete -c sampan -n '__fish_seen_subcommand_from restore' -l auto-dedup -d 'Remove memory from the parent images that newer images have'
complete -c sampan -n '__fish_seen_subcommand_from restore' -l manage-cgroups-mode -d 'What to do with the cgroups of the processes' -r -a 'soft full strict ignore'
complete -c sampan -n '__fish_seen_subcommand_from restore' -l empty-ns -d 'Namespace whose content is left out, for hooks to set up: network' -r
complete -c sampan -n '__fish_seen_subcommand_from restore' -l network-lock -d 'How packets are held back meanwhile' -r -a 'iptables nftables skip'
complete -c sampan -n '__fish_seen_subcommand_from restore' -s d -l detach -d 'Return as soon as the processes continue'
complete -c sampan -n '__fish_seen_subcommand_from restore' -l lsm-profile -d 'Label of the processes, instead of the one in the images' -r
complete -c sampan -n '__fish_seen_subcommand_from restore' -l lsm-mount-context -d 'SELinux context of the mounts, instead of the one in the images' -r
complete -c sampan -n '__fish_seen_subcommand_from restore' -l no-new-keyring -d 'Let the processes share the session keyring of the caller, instead of creating a new one that they share'
complete -c sampan -n '__fish_seen_subcommand_from restore' -l no-pivot -d 'Accepted for users of other tools, without effect: the processes have their root already'
complete -c sampan -n '__fish_seen_subcommand_from restore' -l parent-path -d 'Accepted for users of other tools, without effect: the images name those of an earlier pre-dump themselves' -r -a '(__fish_complete_directories)'
complete -c sampan -n '__fish_seen_subcommand_from restore' -l console-socket -d 'Unix stream socket that receives the master of the terminal of the process' -r -F
complete -c sampan -n '__fish_seen_subcommand_from restore' -l pidfd-socket -d 'Unix stream socket that receives a pidfd of the process' -r -F
complete -c sampan -n '__fish_seen_subcommand_from restore' -l pid-file -d 'File to write the process id to, as the caller sees it' -r -F
complete -c sampan -n '__fish_seen_subcommand_from restore' -l no-subreaper -d 'Do not adopt the orphans of the process'
complete -c sampan -n '__fish_seen_subcommand_from restore' -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sampan -n '__sampan_at restore 0' -a '(sampan list --quiet 2>/dev/null)'
complete -c sampan -n '__fish_seen_subcommand_from events' -l interval -d 'Time between statistics, such as 500ms, 5s or 1m30s' -r
complete -c sampan -n '__fish_seen_subcommand_from events' -l stats -d 'Print the statistics once and exit'
complete -c sampan -n '__fish_seen_subcommand_from events' -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sampan -n '__sampan_at events 0' -a '(sampan list --quiet 2>/dev/null)'
complete -c sampan -n '__fish_seen_subcommand_from spec' -s b -l bundle -d 'Directory to write config.json to' -r -a '(__fish_complete_directories)'
complete -c sampan -n '__fish_seen_subcommand_from spec' -s f -l file -d 'File to write instead' -r -F
complete -c sampan -n '__fish_seen_subcommand_from spec' -l rootless -d 'Write a config that a user other than root can run'
complete -c sampan -n '__fish_seen_subcommand_from spec' -s h -l help -d 'Print help'
complete -c sampan -n '__fish_seen_subcommand_from features' -s h -l help -d 'Print help'
complete -c sampan -n '__fish_seen_subcommand_from explain' -s b -l bundle -d 'Directory that holds config.json' -r -a '(__fish_complete_directories)'
complete -c sampan -n '__fish_seen_subcommand_from explain' -s f -l config -d 'The config, if it is not config.json in the bundle' -r -F
complete -c sampan -n '__fish_seen_subcommand_from explain' -l no-pivot -d 'Use MS_MOVE and chroot(2) instead of pivot_root(2)'
complete -c sampan -n '__fish_seen_subcommand_from explain' -l no-new-keyring -d 'Keep the session keyring of the caller instead of creating a new one'
complete -c sampan -n '__fish_seen_subcommand_from explain' -l preserve-fds -d 'Pass this many descriptors, from 3 upwards, to the process' -r
complete -c sampan -n '__fish_seen_subcommand_from explain' -l seccomp -d 'Show what the seccomp filter of the config answers to each system call, instead of the steps'
complete -c sampan -n '__fish_seen_subcommand_from explain' -l diff -d 'Show what differs between two configs, instead of the steps of one: --diff A B' -r
complete -c sampan -n '__fish_seen_subcommand_from explain' -l json -d 'Print JSON'
complete -c sampan -n '__fish_seen_subcommand_from explain' -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sampan -n '__fish_seen_subcommand_from check' -s b -l bundle -d 'Directory that holds config.json' -r -a '(__fish_complete_directories)'
complete -c sampan -n '__fish_seen_subcommand_from check' -s f -l config -d 'The config, if it is not config.json in the bundle' -r -F
complete -c sampan -n '__fish_seen_subcommand_from check' -l json -d 'Print JSON'
complete -c sampan -n '__fish_seen_subcommand_from check' -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sampan -n '__sampan_at help 0' -a 'create start run exec state kill wait delete list ps pause resume update mounts checkpoint restore events spec features explain check help'
