"""Writes the floor's script of a config.json: see bench/src/floor/main.rs and script.rs.

Not a runtime: it knows the properties that the bundles of scripts/bench use, trusts them, and
raises KeyError at others.
"""

import ctypes
import os
import struct

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
# What every container may use, besides what its config allows: nodes may be made of any kind.
ALWAYS_ALLOWED = [(None, None, None, "m"), *((("c", major, minor, "rwm")) for major, minor in
                  [(1, 3), (1, 8), (1, 7), (5, 0), (1, 5), (1, 9), (5, 2), (136, None), (10, 200)])]


def container(config, bundle, cgroup, name, wait):
    """The script of `floor run` and, with wait, of `floor create`."""
    linux, process = config["linux"], config["process"]
    kinds = [namespace["type"] for namespace in linux["namespaces"]]
    ops = [("cgroup", cgroup), ("device-program", device_program(linux, bundle)),
           *limits(linux["resources"]), ("clone", hex(namespace_flags(kinds)))]
    if "cgroup" in kinds:
        ops.append(("unshare-cgroup",))
    ops += [("keyring", "_ses." + name), ("loopback-up",), ("root-propagation", PROPAGATIONS["rslave"]),
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
    flags = namespace_flags([namespace["type"] for namespace in linux["namespaces"]]) | 0x2000000
    ops = [("cgroup-of", cgroup), ("join", hex(flags)), ("clone", 0), ("keyring", "_ses.exec")]
    return lines(ops + ending(dict(config["process"], args=args), linux, bundle, False))


def limits(resources):
    return [("cgroup-file", "memory.max", resources["memory"]["limit"])] if "memory" in resources else []


def namespace_flags(kinds):
    return sum(NAMESPACES[kind] for kind in kinds if kind != "cgroup")


def lines(ops):
    # A lone "-" is the empty word; a tab before the newline marks the end of the line.
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
    filters = [("seccomp", seccomp_program(linux["seccomp"], bundle))] if "seccomp" in linux else []
    # Without no_new_privs a filter takes CAP_SYS_ADMIN, which is about to be dropped.
    ops += credentials + privileges + filters if privileges else filters + credentials
    ops += [("wait-for-start",)] * wait + [("close-range",)]
    # Everyone adds HOME.
    ops += [("env", pair) for pair in process["env"] + ["HOME=/root"]]
    return ops + [("exec", *process["args"])]


def device_program(linux, bundle):
    """Writes the device program as instructions of eBPF; the file's path. Later rules win."""
    rules = [(r.get("type"), r.get("major"), r.get("minor"), r.get("access") or "rwm", r["allow"])
             for r in linux["resources"]["devices"]] + [(*rule, True) for rule in ALWAYS_ALLOWED]

    def instruction(code, destination=0, source=0, offset=0, value=0):
        return struct.pack("<BBhi", code, destination | source << 4, offset, value)

    # r2 = type, r3 = access, r4 = major, r5 = minor, of struct bpf_cgroup_dev_ctx
    code = [instruction(0x61, 2, 1), instruction(0xBF, 3, 2), instruction(0x77, 3, value=16),
            instruction(0x57, 2, value=0xFFFF), instruction(0x61, 4, 1, 4), instruction(0x61, 5, 1, 8)]
    for kind, major, minor, access, allow in reversed(rules):
        tests = []
        if kind in ("b", "c"):
            tests.append((0x55, 2, {"b": 1, "c": 2}[kind]))
        if set(access) != set("rwm"):
            tests.append((0x45, 3, 7 & ~sum({"m": 1, "r": 2, "w": 4}[letter] for letter in access)))
        tests += [(0x55, register, number) for register, number in ((4, major), (5, minor)) if number is not None]
        for left, (jump, register, value) in zip(range(len(tests) - 1, -1, -1), tests):
            code.append(instruction(jump, register, 0, left + 2, value))
        code += [instruction(0xB7, 0, value=int(allow)), instruction(0x95)]
        if not tests:
            break
    path = os.path.join(bundle, "device.bpf")
    with open(path, "wb") as file:
        file.write(b"".join(code))
    return path


class Comparison(ctypes.Structure):
    """struct scmp_arg_cmp"""
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def seccomp_program(seccomp, bundle):
    """Writes the filter that libseccomp makes of the profile, as a binary tree; the file's path."""
    actions = {"SCMP_ACT_ALLOW": 0x7FFF0000, "SCMP_ACT_ERRNO": 0x00050000}
    operators = {"SCMP_CMP_NE": 1, "SCMP_CMP_LT": 2, "SCMP_CMP_LE": 3, "SCMP_CMP_EQ": 4, "SCMP_CMP_GE": 5,
                 "SCMP_CMP_GT": 6, "SCMP_CMP_MASKED_EQ": 7}
    architectures = {"SCMP_ARCH_X86": 0x40000003, "SCMP_ARCH_X32": 0x4000003E}

    def action(name, errno):
        return actions[name] | ((1 if errno is None else errno) if name == "SCMP_ACT_ERRNO" else 0)

    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    default = action(seccomp["defaultAction"], seccomp.get("defaultErrnoRet"))
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(default)))
    library.seccomp_attr_set(context, 8, 2)  # SCMP_FLTATR_CTL_OPTIMIZE: a binary tree
    for name in seccomp.get("architectures", []):
        if name in architectures:
            library.seccomp_arch_add(context, ctypes.c_uint32(architectures[name]))
    for rule in seccomp.get("syscalls", []):
        value = action(rule["action"], rule.get("errnoRet"))
        arguments = [Comparison(a["index"], operators[a["op"]], a["value"], a.get("valueTwo", 0))
                     for a in rule.get("args") or []]
        array = (Comparison * len(arguments))(*arguments)
        for name in rule["names"]:
            number = library.seccomp_syscall_resolve_name(name.encode())
            if number != -1 and value != default:
                library.seccomp_rule_add_array(context, ctypes.c_uint32(value), number, len(arguments), array)
    path = os.path.join(bundle, "seccomp.bpf")
    with open(path, "wb") as file:
        if library.seccomp_export_bpf(context, file.fileno()) != 0:
            raise OSError("seccomp_export_bpf")
    library.seccomp_release(context)
    return path
