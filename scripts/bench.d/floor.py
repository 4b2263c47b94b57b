"""Writes the floor's script for a config.json: see bench/src/floor/main.rs and script.rs.

Not a runtime: it knows the properties that the bundles of scripts/bench use, trusts them, and
raises KeyError at others.
"""

import os

import programs

NAMESPACES = {"mount": 0x20000, "uts": 0x4000000, "ipc": 0x8000000, "pid": 0x20000000, "network": 0x40000000}
MOUNT_FLAGS = {"ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8, "relatime": 1 << 21, "strictatime": 1 << 24}
BIND_ATTRIBUTES = {"ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8}
PROPAGATIONS = {"private": 1 << 18, "slave": 1 << 19, "rprivate": 1 << 18, "rslave": 1 << 19}
CAPABILITIES = """CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE
SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL
SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE""".split()
RLIMITS = {"RLIMIT_NOFILE": 7}
# runtime-spec, config-linux.md, default devices and default symbolic links.
DEFAULT_DEVICES = [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)]
LINKS = [("/proc/self/fd", "fd"), ("/proc/self/fd/0", "stdin"), ("/proc/self/fd/1", "stdout"),
         ("/proc/self/fd/2", "stderr"), ("/proc/kcore", "core"), ("pts/ptmx", "ptmx")]


def container(config, bundle, cgroup, wait):
    """The script of `floor run` and, with wait, of `floor create`."""
    linux, process = config["linux"], config["process"]
    kinds = [namespace["type"] for namespace in linux["namespaces"]]
    ops = [("cgroup", cgroup), ("device-program", programs.device(linux, bundle)),
           *limits(linux["resources"]), ("clone", hex(namespace_flags(kinds)))]
    if "cgroup" in kinds:
        ops.append(("unshare-cgroup",))
    ops += [("keyring",), ("loopback-up",), ("root-propagation", PROPAGATIONS["rslave"]),
            ("rootfs", os.path.join(bundle, config["root"]["path"]))]
    ops += mounts(config["mounts"]) + devices()
    ops += [("sysctl", "proc/sys/" + key.replace(".", "/"), value) for key, value in linux.get("sysctl", {}).items()]
    ops += [("readonly-path", path[1:]) for path in linux["readonlyPaths"]]
    ops += [("mask-path", path[1:]) for path in linux["maskedPaths"]]
    if config["root"].get("readonly"):
        ops.append(("root-readonly",))
    ops += [("pivot",), ("hostname", config["hostname"])]
    return lines(ops + ending(process, linux, bundle, wait))


def joined(config, bundle, cgroup, args):
    """The script of `floor exec`."""
    linux = config["linux"]
    flags = namespace_flags([namespace["type"] for namespace in linux["namespaces"]])
    # Joined last: within a cgroup namespace clone3 cannot use the cgroup if the hierarchy has nsdelegate.
    ops = [("cgroup-of", cgroup), ("join", hex(flags)), ("clone", 0), ("join", "0x2000000"), ("keyring",)]
    return lines(ops + ending(dict(config["process"], args=args), linux, bundle, False))


def limits(resources):
    return [("cgroup-file", "memory.max", resources["memory"]["limit"])] if "memory" in resources else []


def namespace_flags(kinds):
    return sum(NAMESPACES[kind] for kind in kinds if kind != "cgroup")


def lines(ops):
    # A lone "-" is the empty value; a tab before the newline marks the end of the line.
    return "".join("".join(f"{'-' if word == '' else word}\t" for word in op) + "\n" for op in ops)


def mounts(config_mounts):
    ops, fresh = [], []
    for mount in config_mounts:
        target, options = mount["destination"][1:], mount.get("options", [])
        if any(target.startswith(directory + "/") for directory in fresh):
            ops.append(("make-directory", target, 0o755))
        if "bind" in options or "rbind" in options:
            attributes = sum(BIND_ATTRIBUTES.get(option, 0) for option in options)
            propagation = sum(PROPAGATIONS.get(option, 0) for option in options)
            ops.append(("bind", mount["source"], target, attributes, int("rbind" in options), propagation))
            continue
        kind = {"cgroup": "cgroup2"}.get(mount["type"], mount["type"])
        flags = sum(MOUNT_FLAGS.get(option, 0) for option in options)
        data = ",".join(option for option in options if option not in MOUNT_FLAGS)
        ops.append(("mount", kind, mount["source"], target, hex(flags), data))
        if kind == "tmpfs":
            fresh.append(target)
    return ops


def devices():
    ops = [("node", "dev/" + name, 0o666, major, minor) for name, major, minor in DEFAULT_DEVICES]
    ops += [("symlink", target, "dev/" + name) for target, name in LINKS
            if name != "core" or os.path.exists(target)]
    return ops + [("reopen-null",)]


def ending(process, linux, bundle, wait):
    ops = [("rlimit", RLIMITS[limit["type"]], limit["soft"], limit["hard"]) for limit in process.get("rlimits", [])]
    ops.append(("cwd", process["cwd"]))
    sets = process["capabilities"]
    masks = [sum(1 << CAPABILITIES.index(name[4:]) for name in sets.get(kind) or [])
             for kind in ("bounding", "effective", "permitted", "inheritable", "ambient")]
    credentials, privileges = [("credentials", *map(hex, masks))], []
    if process.get("noNewPrivileges"):
        privileges = [("no-new-privileges",)]
    filters = [("seccomp", programs.seccomp(linux["seccomp"], bundle))] if "seccomp" in linux else []
    # Without no_new_privs a filter needs CAP_SYS_ADMIN, which is about to be dropped.
    ops += credentials + privileges + filters if privileges else filters + credentials
    ops += [("wait-for-start",)] * wait + [("close-range",)]
    # Every runtime adds HOME.
    ops += [("env", pair) for pair in process["env"] + ["HOME=/root"]]
    return ops + [("exec", *process["args"])]
