"""The compiled programs that the floor loads: eBPF for devices, BPF for system calls."""

import os
import struct

# Devices that every container may use in addition to those of its config. Nodes of any kind may be created.
ALWAYS_ALLOWED = [(None, None, None, "m"), *((("c", major, minor, "rwm")) for major, minor in
                  [(1, 3), (1, 8), (1, 7), (5, 0), (1, 5), (1, 9), (5, 2), (136, None), (10, 200)])]


def device(linux, bundle):
    """Writes the device program as eBPF instructions. Returns the file's path. Later rules win."""
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


def seccomp(profile, bundle):
    """Writes the filter that libseccomp generates from the profile, as a binary tree. Returns the file's path."""
    import ctypes  # not in the lab's guest, which needs no filters

    class Comparison(ctypes.Structure):
        """struct scmp_arg_cmp"""
        _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]

    actions = {"SCMP_ACT_ALLOW": 0x7FFF0000, "SCMP_ACT_ERRNO": 0x00050000}
    operators = {"SCMP_CMP_NE": 1, "SCMP_CMP_LT": 2, "SCMP_CMP_LE": 3, "SCMP_CMP_EQ": 4, "SCMP_CMP_GE": 5,
                 "SCMP_CMP_GT": 6, "SCMP_CMP_MASKED_EQ": 7}
    architectures = {"SCMP_ARCH_X86": 0x40000003, "SCMP_ARCH_X32": 0x4000003E}

    def action(name, errno):
        return actions[name] | ((1 if errno is None else errno) if name == "SCMP_ACT_ERRNO" else 0)

    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    default = action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(default)))
    library.seccomp_attr_set(context, 8, 2)  # SCMP_FLTATR_CTL_OPTIMIZE: a binary tree
    for name in profile.get("architectures", []):
        if name in architectures:
            library.seccomp_arch_add(context, ctypes.c_uint32(architectures[name]))
    for rule in profile.get("syscalls", []):
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
