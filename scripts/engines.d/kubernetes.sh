# Pods on a Kubernetes node: what a kubelet asks of a runtime, through containerd. `scripts/engines --kubernetes`.
# shellcheck shell=bash disable=SC2154,SC2016
# shellcheck source=scripts/engines.d/kubernetes-node.sh
. "$here/kubernetes-node.sh"

# Limits, read from the cgroup files, inside and outside.
full_limits() {
  one limits <<<'resources: {requests: {cpu: 250m, memory: 32Mi}, limits: {cpu: 500m, memory: 64Mi}}'
  started limits
  [ "$(inside limits 'cd /sys/fs/cgroup; cat memory.max cpu.max' | words)" = '67108864 50000 100000' ]
  [ "$(cd "$(cgroup limits)" && cat memory.max cpu.max | words)" = '67108864 50000 100000' ]
  # 256 shares weigh 10 by the old conversion of cgroup v1's numbers, 35 or 36 by the new one.
  inside limits 'cat /sys/fs/cgroup/cpu.weight' | grep -xE '10|35|36'
  remove limits
}
# What the containers of a pod have together.
full_limits_of_the_pod() {
  needs_limits_of_pods
  one together <<<'resources: {requests: {cpu: 250m, memory: 32Mi}, limits: {cpu: 500m, memory: 64Mi}}'
  started together
  [ "$(cd "$(dirname "$(cgroup together)")" && cat memory.max cpu.max cpu.weight pids.max | words)" = '67108864 50000 100000 10 40' ]
  remove together
}
full_limit_of_processes() {
  needs_limits_of_pods
  one processes
  started processes
  told=$(inside processes 'for i in $(seq 60); do sleep 100 >/dev/null 2>&1 & done' 2>&1 || :)
  grep "can't fork" <<<"$told"
  grep '^max [1-9]' "$(dirname "$(cgroup processes)")/pids.events"
  remove processes
}
full_hugepages() {
  grep hugetlb /sys/fs/cgroup/cgroup.controllers || skip "this kernel has no controller hugetlb; run with --vm qemu"
  one huge <<<'resources: {requests: {memory: 32Mi, hugepages-2Mi: 4Mi}, limits: {memory: 32Mi, hugepages-2Mi: 4Mi}}'
  started huge
  [ "$(inside huge 'cat /sys/fs/cgroup/hugetlb.2MB.max')" = 4194304 ]
  remove huge
}
full_quality_of_service() {
  # The kubelet protects static pods from the OOM killer, whatever their class.
  one effort </dev/null; one burst <<<'resources: {requests: {memory: 200Mi}}'
  one sure <<<'resources: {limits: {cpu: 100m, memory: 32Mi}}'
  started effort; started burst; started sure
  [ "$(inside effort 'cat /proc/1/oom_score_adj /sys/fs/cgroup/cpu.weight' | words)" = '-997 1' ]
  [[ $(cgroup effort) = *besteffort* ]]; [[ $(cgroup burst) = *burstable* ]]; [[ $(cgroup sure) != *be[su]*t* ]]
  remove effort; remove burst; remove sure
}
full_out_of_memory() {
  one greedy <<<$'command: [tail, /dev/zero]\nresources: {limits: {memory: 16Mi}}'
  until_true is_c greedy '.restartCount > 0' true
  is_c greedy .lastState.terminated.exitCode 137
  is_c greedy .lastState.terminated.reason OOMKilled || late=1
  remove greedy
  [ -z "${late:-}" ] || [ "$cgroups" = cgroupfs ] || skip "systemd removed the cgroup before containerd had read its events"
  [ -z "${late:-}" ]
}
full_out_of_memory_of_a_child() {
  one child <<<$'command: [sh, -c, "tail /dev/zero; echo outlived; sleep 1000"]\nresources: {limits: {memory: 16Mi}}'
  until_true logs child c; spoken() { logs child c | grep outlived; }; until_true spoken
  is_c child .restartCount 0
  grep -E '^oom_kill [1-9]' "$(cgroup child)/memory.events"
  remove child
}

# Probes.
full_readiness_by_exec() {
  one ready <<<$'readinessProbe: {periodSeconds: 1, exec: {command: [test, -e, /tmp/ready]}}'
  until_true is ready .status.phase Running
  fails ready ready; inside ready 'touch /tmp/ready'; started ready
  inside ready 'rm /tmp/ready'; until_true fails ready ready
  is_c ready .restartCount 0
  remove ready
}
full_liveness_by_exec() {
  one live <<<$'livenessProbe: {periodSeconds: 1, failureThreshold: 1, exec: {command: [sh, -c, "! test -e /tmp/ill"]}}'
  started live; inside live 'touch /tmp/ill'
  until_true is_c live .restartCount 1; started live
  remove live
}
full_probe_that_hangs() {
  one hangs <<<$'livenessProbe: {periodSeconds: 2, timeoutSeconds: 1, failureThreshold: 1, exec: {command: [sleep, "4321"]}}'
  until_true is_c hangs '.restartCount > 0' true
  remove hangs
  fails pgrep -f 'sleep 4321'
}
full_startup_probe() {
  one begins <<<$'startupProbe: {periodSeconds: 1, failureThreshold: 100, exec: {command: [test, -e, /tmp/up]}}\nlivenessProbe: {periodSeconds: 1, failureThreshold: 1, exec: {command: [test, -e, /tmp/up]}}'
  until_true is begins .status.phase Running
  is_c begins .started false; inside begins 'touch /tmp/up'; until_true is_c begins .started true
  is_c begins .restartCount 0
  remove begins
}
full_probes_over_the_network() {
  one web <<<$'command: [httpd, -f, -p, "80", -h, /data]\nreadinessProbe: {periodSeconds: 1, httpGet: {port: 80, path: /file}}\nlivenessProbe: {periodSeconds: 1, tcpSocket: {port: 80}}'
  started web
  [ "$(curl -s "http://$(of web .status.podIP)/file")" = from-image ]
  remove web
}
# What 50 execs cost, as the shim makes them: the container, and the runtime with all its processes. The clock of User
# Mode Linux ticks each 10 ms.
full_cost_of_a_probe() {
  one cost </dev/null; started cost; inside cost true
  used() { sed -n 's/^usage_usec //p' "$usage"; }
  usage=$(cgroup cost)/cpu.stat; before=$(used)
  times=$(bash -c 'set +x; for _ in {1..50}; do "$0" --root /run/containerd/runc/k8s.io exec "$1" /bin/true; done; times' "$binary" "$(container_id cost)" | tail -n 1)
  told "CPU of the container for 50 probes, ms = $((($(used) - before) / 1000))"
  told "CPU of the runtime for 50 probes, ms = $(echo "$times" | tr ms '  ' | awk '{ printf "%d", (($1 + $3) * 60 + $2 + $4) * 1000 }')"
  remove cost
}

# Init containers, several containers, ends and restarts.
full_init_containers() {
  pod first <<YAML
volumes: [{name: v, emptyDir: {}}]
initContainers:
- {name: one, image: $image, command: [sh, -c, 'echo one >>/v/order'], volumeMounts: [{name: v, mountPath: /v}]}
- {name: two, image: $image, command: [sh, -c, 'echo two >>/v/order'], volumeMounts: [{name: v, mountPath: /v}]}
containers: [{name: c, image: $image, command: [sleep, "1000"], volumeMounts: [{name: v, mountPath: /v}]}]
YAML
  started first
  [ "$(inside first 'cat /v/order' | words)" = 'one two' ]
  is first '[.status.initContainerStatuses[].state.terminated.reason] | join(" ")' 'Completed Completed'
  remove first
}
full_init_container_that_fails() {
  pod unfit <<YAML
restartPolicy: Never
initContainers: [{name: one, image: $image, command: [sh, -c, 'exit 5']}]
containers: [{name: c, image: $image, command: [sleep, "1000"]}]
YAML
  until_true is unfit .status.phase Failed
  is unfit '.status.initContainerStatuses[0].state.terminated.exitCode' 5
  is_c unfit .state.waiting.reason PodInitializing
  remove unfit
}
full_containers_of_a_pod() {
  pod several <<YAML
volumes: [{name: v, emptyDir: {}}]
containers:
- {name: c, image: $image, command: [sh, -c, 'echo shared >/v/f; exec httpd -f -p 80 -h /v'], volumeMounts: [{name: v, mountPath: /v}]}
- {name: side, image: $image, command: [sleep, "1000"], volumeMounts: [{name: v, mountPath: /v, readOnly: true}], resources: {limits: {memory: 32Mi}}}
YAML
  started several
  [ "$(in_container several side 'cat /v/f; wget -qO- http://127.0.0.1/f; hostname' | words)" = 'shared shared several-lab' ]
  in_container several side '! touch /v/x 2>/dev/null && ! ps | grep "[h]ttpd"'
  theirs=$(in_container several side "$(namespaces net ipc uts)")
  [ "$(wc -w <<<"$theirs")" = 3 ] && [ "$(inside several "$(namespaces net ipc uts)")" = "$theirs" ]
  [ "$(in_container several side 'cat /sys/fs/cgroup/memory.max'; inside several 'cat /sys/fs/cgroup/memory.max')" = $'33554432\nmax' ]
  remove several
}
full_restart_with_status() {
  one again <<<'command: [sh, -c, "echo last word >/dev/termination-log; echo said; exit 3"]'
  until_true is_c again '.restartCount > 0' true
  is_c again '.lastState.terminated | [.reason, .exitCode, .message] | join(" ")' 'Error 3 last word'
  # The kubelet removes an older container before it knows that another one has ended, too.
  said_before() { kubelet_api '/containerLogs/default/again-lab/c?previous=true' | grep -x said; }
  until_true said_before
  remove again
}
full_end_without_restart() {
  one ends <<<'command: ["true"]' 'restartPolicy: Never'
  until_true is ends .status.phase Succeeded
  is_c ends '.state.terminated | [.reason, .exitCode] | join(" ")' 'Completed 0'
  one fails <<<'command: ["false"]' 'restartPolicy: Never'
  until_true is fails .status.phase Failed
  is_c fails '.state.terminated | [.reason, .exitCode] | join(" ")' 'Error 1'
  one killed 'restartPolicy: Never' </dev/null; started killed; kill -KILL "$(pid killed)"
  until_true is killed .status.phase Failed; is_c killed .state.terminated.exitCode 137
  remove ends; remove fails; remove killed
}
full_missing_program_is_told() {
  one missing <<<'command: [/nowhere]'
  broken() { of_c missing .lastState.terminated.message,.state.terminated.message,.state.waiting.message | grep '/nowhere.*no such file or directory'; }
  until_true broken
  is_c missing '[.lastState.terminated.exitCode, .state.terminated.exitCode] | max' 128
  remove missing
}
full_hooks_and_grace() {
  mkdir -p "$work/grace"; : >"$work/grace/log"
  grace=20 one grace 'volumes: [{name: v, hostPath: {path: '"$work/grace"'}}]' <<'YAML'
command: [sh, -c, 'trap "echo term >>/v/log; exit 0" TERM; while :; do sleep 0.1; done']
volumeMounts: [{name: v, mountPath: /v}]
lifecycle:
  postStart: {exec: {command: [sh, -c, 'echo poststart >>/v/log']}}
  preStop: {exec: {command: [sh, -c, 'echo prestop >>/v/log']}}
YAML
  started grace; remove grace
  [ "$(words <"$work/grace/log")" = 'poststart prestop term' ]
}
full_end_of_the_grace() {
  one deaf <<<$'command: [sh, -c, "trap : TERM; while :; do sleep 4321; done"]'
  started deaf; remove deaf
  fails pgrep -f 'sleep 4321'
}

# Exec, attach, logs, port-forward, statistics: the kubelet's streaming interface.
full_exec() {
  one exec </dev/null; started exec
  [ "$(inside exec 'echo out; echo err >&2' 2>"$work/err")" = out ]; grep -x err "$work/err"
  rc=0; inside exec 'exit 9' || rc=$?; [ $rc = 9 ]
  [ "$(echo word | streamed exec exec c -i head -n 1)" = word ]
  [ "$(inside exec 'head -c 1000000 /dev/zero' | wc -c)" = 1000000 ]
  fails streamed exec exec c /nowhere 2>"$work/err"; grep 'no such file or directory' "$work/err"
  echo | streamed exec exec c -i -t sh -c 'tty; read word' | grep /dev/pts/
  [ "$(kubelet_api /run/default/exec-lab/c -d cmd='cat /data/file')" = from-image ]
  remove exec
}
full_exec_past_its_time() {
  one late </dev/null; started late
  fails cri ExecSync 1="$(container_id late)" 2=/bin/sleep 2=4321 3=int:1
  until_true fails pgrep -f 'sleep 4321'
  remove late
}
full_attach() {
  one attach <<<$'stdin: true\nstdinOnce: true\ncommand: [sh, -c, "read word; echo got $word; sleep 1000"]'
  started attach
  mkfifo "$work/attach"; streamed attach attach c -i <>"$work/attach" >"$work/attached" & echo word >"$work/attach"
  until_true grep -x 'got word' "$work/attached"; kill $!
  remove attach
}
full_terminal() {
  one terminal <<<$'stdin: true\ntty: true\ncommand: [sh, -c, "tty; exec sleep 1000"]'
  started terminal
  until_true eval 'logs terminal c | grep /dev/pts/0'
  remove terminal
}
full_logs() {
  one logs <<<'command: [sh, -c, "echo to stdout; echo to stderr >&2; for i in 1 2 3; do echo line $i; done; exec sleep 1000"]'
  started logs; until_true eval 'logs logs c | grep "line 3"'
  [ "$(logs logs c | sort | words)" = 'line 1 line 2 line 3 to stderr to stdout' ]
  [ "$(kubelet_api '/containerLogs/default/logs-lab/c?tailLines=2' | wc -l)" = 2 ]
  remove logs
}
full_port_forward() {
  one forward <<<'command: [httpd, -f, -p, "127.0.0.1:8080", -h, /data]'
  started forward
  printf 'GET /file HTTP/1.0\r\n\r\n' | streamed forward forward 8080 | grep -x from-image
  remove forward
}
full_statistics() {
  one counted </dev/null; started counted
  counted() { curl -sf http://127.0.0.1:10255/stats/summary | jq -e '.pods[] | select(.podRef.name == "counted-lab") | .containers[0] | .memory.workingSetBytes > 0 and .cpu.usageCoreNanoSeconds > 0'; }
  until_true counted
  seen() { curl -sf http://127.0.0.1:10255/metrics/cadvisor | grep '^container_memory_usage_bytes{container="c".*pod="counted-lab"'; }
  until_true seen
  remove counted
}

# The security context.
full_user_and_groups() {
  one user <<<$'volumeMounts: [{name: v, mountPath: /v}]' 'volumes: [{name: v, emptyDir: {}}]' \
    'securityContext: {runAsUser: 1000, runAsGroup: 2000, fsGroup: 3000, supplementalGroups: [4000], runAsNonRoot: true}'
  started user
  [ "$(inside user 'id -u; id -g; id -G; stat -c %g /v; touch /v/f && stat -c %u:%g /v/f' | words)" = '1000 2000 2000 3000 4000 3000 1000:3000' ]
  remove user
}
full_capabilities() {
  one caps <<<'securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL], add: [NET_BIND_SERVICE, CHOWN]}}'
  started caps
  [ "$(inside caps "sed -nE 's/^(CapEff|CapBnd|NoNewPrivs):\s*//p' /proc/self/status" | words)" = '0000000000000401 0000000000000401 1' ]
  one plain </dev/null; started plain
  [ "$(inside plain "sed -nE 's/^(CapEff|NoNewPrivs):\s*//p' /proc/self/status" | words)" = '00000000a80425fb 0' ]
  remove caps; remove plain
}
full_read_only_rootfs() {
  one fixed <<<$'securityContext: {readOnlyRootFilesystem: true}\nvolumeMounts: [{name: v, mountPath: /v}]' 'volumes: [{name: v, emptyDir: {}}]'
  started fixed
  inside fixed '! touch /x 2>/dev/null && touch /v/x && touch /dev/shm/x'
  remove fixed
}
full_privileged() {
  one mighty <<<'securityContext: {privileged: true}'
  started mighty
  inside mighty 'mount -t tmpfs x /data && touch /proc/sys/kernel/hostname && test -c /dev/fuse && ! grep " /proc/" /proc/self/mountinfo'
  remove mighty
}
full_seccomp_of_the_runtime() {
  one default <<<'securityContext: {seccompProfile: {type: RuntimeDefault}}'
  one free <<<'securityContext: {seccompProfile: {type: Unconfined}}'
  started default; started free
  [ "$(inside default "sed -n 's/^Seccomp:\s*//p' /proc/self/status")" = 2 ]; inside default '! unshare -U true 2>/dev/null'
  [ "$(inside free "sed -n 's/^Seccomp:\s*//p' /proc/self/status")" = 0 ]
  remove default; remove free
}
full_seccomp_of_the_node() {
  echo '{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}' >$kubelet/seccomp/no-mkdir.json
  one local <<<'securityContext: {seccompProfile: {type: Localhost, localhostProfile: no-mkdir.json}}'
  started local
  inside local 'touch /tmp/f && ! mkdir /tmp/d 2>/tmp/said && grep "not permitted" /tmp/said'
  remove local
}
full_sysctls() {
  one sysctls 'securityContext: {sysctls: [{name: kernel.shm_rmid_forced, value: "1"}, {name: net.ipv4.ip_local_port_range, value: "2000 3000"}, {name: net.core.somaxconn, value: "77"}]}' </dev/null
  started sysctls
  [ "$(inside sysctls 'cd /proc/sys; cat kernel/shm_rmid_forced net/ipv4/ip_local_port_range net/core/somaxconn' | tr '\t' ' ' | words)" = '1 2000 3000 77' ]
  [ "$(cat /proc/sys/net/core/somaxconn)" != 77 ]
  remove sysctls
}
full_proc_mount() {
  one masked </dev/null; one unmasked <<<'securityContext: {procMount: Unmasked}'
  started masked; started unmasked
  inside masked 'grep " /proc/sys " /proc/self/mountinfo && ! touch /proc/sys/kernel/hostname 2>/dev/null && [ ! -s /proc/timer_list ]'
  inside unmasked '! grep " /proc/" /proc/self/mountinfo'
  remove masked; remove unmasked
}

# Volumes.
full_empty_dir() {
  one empty <<<$'volumeMounts: [{name: disk, mountPath: /disk}, {name: memory, mountPath: /memory}]' 'volumes: [{name: disk, emptyDir: {}}, {name: memory, emptyDir: {medium: Memory}}]'
  started empty
  inside empty 'echo kept >/disk/f; grep " /memory .* tmpfs " /proc/self/mountinfo'
  kill -KILL "$(pid empty)"
  until_true is_c empty .restartCount 1; started empty
  [ "$(inside empty 'cat /disk/f')" = kept ]
  remove empty
}
full_host_path() {
  mkdir -p "$work/host"; echo host >"$work/host/f"
  one host <<<$'volumeMounts: [{name: d, mountPath: /d}, {name: d, mountPath: /r, readOnly: true}, {name: f, mountPath: /etc/f}, {name: new, mountPath: /new}]' \
    "volumes: [{name: d, hostPath: {path: $work/host, type: Directory}}, {name: f, hostPath: {path: $work/host/f, type: File}}, {name: new, hostPath: {path: $work/host/new, type: DirectoryOrCreate}}]"
  started host
  inside host 'cat /d/f /r/f /etc/f; ! touch /r/x 2>/dev/null && touch /d/x /new/x'
  [ -e "$work/host/x" ] && [ -e "$work/host/new/x" ]
  remove host
}
full_sub_path() {
  mkdir -p "$work/sub/a"; echo in-a >"$work/sub/a/f"
  one sub <<<$'env: [{name: WHO, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]\nvolumeMounts: [{name: h, mountPath: /a, subPath: a}, {name: h, mountPath: /etc/f, subPath: a/f, readOnly: true}, {name: e, mountPath: /made, subPath: x/y}, {name: e, mountPath: /named, subPathExpr: $(WHO)}, {name: e, mountPath: /e}]' \
    "volumes: [{name: h, hostPath: {path: $work/sub}}, {name: e, emptyDir: {}}]"
  started sub
  inside sub '[ "$(cat /a/f /etc/f | tr "\n" " ")" = "in-a in-a " ] && ! echo x 2>/dev/null >/etc/f && touch /made/1 /named/2 && test -e /e/x/y/1 && test -e /e/sub-lab/2'
  # A link out of the volume is not followed.
  ln -s /etc "$work/sub/out"
  one escape <<<'volumeMounts: [{name: h, mountPath: /o, subPath: out}]' "volumes: [{name: h, hostPath: {path: $work/sub}}]"
  until_true is_c escape .state.waiting.reason CreateContainerConfigError
  remove sub; remove escape
}
full_propagation() {
  mkdir -p "$work/propagation/"{host,both}
  pod propagation <<YAML
volumes: [{name: v, hostPath: {path: $work/propagation}}]
containers:
- name: c
  image: $image
  command: [sleep, "1000"]
  securityContext: {privileged: true}
  volumeMounts: [{name: v, mountPath: /v, mountPropagation: Bidirectional}]
- {name: slave, image: $image, command: [sleep, "1000"], volumeMounts: [{name: v, mountPath: /v, mountPropagation: HostToContainer}]}
- {name: private, image: $image, command: [sleep, "1000"], volumeMounts: [{name: v, mountPath: /v}]}
YAML
  started propagation
  mount -t tmpfs of-host "$work/propagation/host"; touch "$work/propagation/host/f"
  inside propagation 'test -e /v/host/f && mount -t tmpfs of-pod /v/both && touch /v/both/f'
  test -e "$work/propagation/both/f"
  in_container propagation slave 'test -e /v/host/f && test -e /v/both/f'
  in_container propagation private '! test -e /v/host/f && ! test -e /v/both/f'
  umount "$work/propagation/host" "$work/propagation/both"
  remove propagation
}
full_pod_in_files_and_environment() {
  one told 'volumes: [{name: v, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}]' \
    'hostAliases: [{ip: 192.0.2.7, hostnames: [seven]}]' 'dnsPolicy: None' 'dnsConfig: {nameservers: [192.0.2.8]}' <<'YAML'
volumeMounts: [{name: v, mountPath: /v}]
resources: {limits: {memory: 32Mi}}
env:
- {name: WHERE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
- {name: ADDRESS, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
- {name: MEMORY, valueFrom: {resourceFieldRef: {resource: limits.memory}}}
YAML
  started told
  inside told 'grep colour=.blue /v/labels; grep "192.0.2.7.seven" /etc/hosts; grep 192.0.2.8 /etc/resolv.conf'
  [ "$(inside told 'echo $WHERE $ADDRESS $MEMORY')" = "lab $(of told .status.podIP) 33554432" ]
  remove told
}

# Namespaces.
full_host_namespaces() {
  one shared 'hostNetwork: true' 'hostPID: true' 'hostIPC: true' <<<'securityContext: {privileged: true}'
  started shared
  # With the network's namespace comes that of the host's name.
  [ "$(inside shared "$(namespaces net pid ipc uts)")" = "$(eval "$(namespaces net pid ipc uts)")" ]
  inside shared 'ps | grep "[k]ubelet --config" && grep -q net0 /proc/net/dev && test "$(hostname)" = lab'
  remove shared
  fails pgrep -f 'sleep 10000'
}
full_shared_process_namespace() {
  pod together <<YAML
shareProcessNamespace: true
containers:
- {name: c, image: $image, command: [sleep, "1001"]}
- {name: side, image: $image, command: [sleep, "1002"]}
YAML
  started together
  [ "$(inside together 'cat /proc/1/comm')" = catatonit ]
  inside together "kill -9 \$(ps | awk '\$3 == \"sleep\" && \$4 == 1002 { print \$1 }')"
  until_true is together '.status.containerStatuses[] | select(.name == "side") | .restartCount' 1
  is_c together .restartCount 0
  remove together
}

# The node's services.
full_restart_of_the_kubelet() {
  one outlives </dev/null; started outlives; id=$(container_id outlives)
  stop_service kubelet; start_kubelet; started outlives
  [ "$(container_id outlives)" = "$id" ]; is_c outlives .restartCount 0
  remove outlives
}
full_restart_of_containerd() {
  one endures </dev/null; started endures; id=$(container_id endures)
  stop_service containerd; start_containerd
  until_true inside endures true
  [ "$(container_id endures)" = "$id" ]; is_c endures .restartCount 0
  remove endures
}
full_several_at_once() {
  for i in 1 2 3 4 5; do one "many$i" <<<$'readinessProbe: {periodSeconds: 1, exec: {command: ["true"]}}'; done
  for i in 1 2 3 4 5; do started "many$i"; done
  for i in 1 2 3 4 5; do remove "many$i"; done
}
# The kubelet removes what is left of ended pods each minute.
full_nothing_is_left() {
  rm -f "$manifests"/*
  sandboxes() { [ -z "$(cri ListPodSandbox)" ] && [ -z "$(cri ListContainers)" ]; }
  until_true sandboxes || until_true sandboxes || until_true sandboxes
  [ -z "$(ctr -n k8s.io task ls -q)" ] && [ -z "$(ctr -n k8s.io container ls -q)" ]
  [ -z "$(ls -A /run/containerd/runc/k8s.io)" ] && [ -z "$(ls -A /run/containerd/io.containerd.runtime.v2.task/k8s.io)" ]
  [ -z "$(ls -A "/run/$runtime" 2>/dev/null)" ]
  fails grep -E '/var/lib/kubelet/|io.containerd.runtime|/run/netns/' /proc/mounts
  fails pgrep -f 'containerd-shim|sleep 1[0-9][0-9][0-9]|catatonit'
  [ -z "$(find $kubepods -mindepth 2 -type d)" ]
  [ -z "$(systemctl list-units --all --no-legend 'cri-containerd-*')" ]
}
