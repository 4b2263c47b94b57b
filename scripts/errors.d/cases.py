"""Wrong inputs and broken hosts. Each case has a title, the property or the flag to blame, the object to name, and a
function that spoils a good bundle. The function may return the words of the call; without, it is `run`."""

import json
import os
import subprocess

CASES = []


class Case:
    def __init__(self, title, blamed, named, spoil, before, user, host):
        self.title, self.blamed, self.named, self.spoil = title, blamed, named, spoil
        # A container that exists before the call: None, "created", "running" or "stopped".
        self.before = before
        # Whether an ordinary user calls, and whether the call is one that has to work.
        self.user, self.host = user, host


def case(title, blamed, named, before=None, user=False, host=False):
    def add(spoil):
        CASES.append(Case(title, blamed, named, spoil, before, user, host))
        return spoil
    return add


def put(path, value):
    """Sets a property: put("process.cwd", "/x"). A number is an index."""
    def spoil(trial):
        parent, words = trial.config, path.split(".")
        for word in words[:-1]:
            parent = parent[int(word)] if word.isdigit() else parent.setdefault(word, {})
        parent[words[-1]] = value
    return spoil


def add_mount(**mount):
    return lambda trial: trial.config["mounts"].append(mount)


def call(*words):
    return lambda trial: list(words)


def program(path, content, mode=0o755):
    def spoil(trial):
        trial.file(path, content, mode)
        trial.config["process"]["args"] = [path]
    return spoil


def text(change):
    """Changes the text of the config."""
    def spoil(trial):
        trial.text = lambda config: change(json.dumps(config, indent=1))
    return spoil


def user_namespace(maps, **process):
    def spoil(trial):
        trial.config["linux"]["namespaces"].append({"type": "user"})
        trial.config["linux"]["uidMappings"] = trial.config["linux"]["gidMappings"] = maps
        trial.config["process"].update(process)
        # devpts: gid=5 must be mapped.
        for mount in trial.config["mounts"]:
            mount["options"] = [word for word in mount.get("options", []) if word != "gid=5"]
    return spoil


def without(kind):
    def spoil(trial):
        linux = trial.config["linux"]
        linux["namespaces"] = [one for one in linux["namespaces"] if one["type"] != kind]
    return spoil


def hooks(**hook):
    return put("hooks", {"createRuntime": [hook]})


def namespace(path):
    def spoil(trial):
        without("network")(trial)
        trial.config["linux"]["namespaces"].append({"type": "network", "path": path})
    return spoil


# The bundle.
case("the bundle does not exist", "--bundle", "/nonexistent")(call("run", "--bundle", "/nonexistent", "ID"))
case("the bundle has no config.json", None, "config.json")(lambda trial: setattr(trial, "text", None))
case("config.json lacks a comma", None, "line")(text(lambda text: text.replace(",\n", "\n", 1)))
case("config.json is cut off", None, "line")(text(lambda text: text[:len(text) // 2]))
case("config.json is empty", None, "config.json")(text(lambda _: ""))
case("config.json is an array", None, "config.json")(text(lambda text: f"[{text}]"))
case("a string for a number: uid is \"0\"", "process.user.uid", "string")(put("process.user.uid", "0"))
case("a number for a list: args is 7", "process.args", "7")(put("process.args", 7))
case("ociVersion is missing", "ociVersion", None)(lambda trial: trial.config.pop("ociVersion") and None)
case("root is missing", "root", None)(lambda trial: trial.config.pop("root") and None)
case("process is missing", "process", None)(lambda trial: trial.config.pop("process") and None)
case("args is empty", "process.args", None)(put("process.args", []))
case("cwd is not absolute", "process.cwd", "tmp")(put("process.cwd", "tmp"))
case("the rootfs does not exist", "root.path", "nowhere")(put("root.path", "nowhere"))
case("the rootfs is a file", "root.path", "config.json")(put("root.path", "config.json"))


# The program.
case("the program is not in PATH", "process.args", "ngnix")(put("process.args", ["ngnix"]))
case("the program's path does not exist", "process.args", "/bin/ngnix")(put("process.args", ["/bin/ngnix"]))
case("the program is a directory", "process.args", "/etc")(put("process.args", ["/etc"]))
case("the program is not executable", "process.args", "/bin/data")(program("/bin/data", "text", 0o644))
case("the program is a text without #!", "process.args", "/bin/data")(program("/bin/data", "text"))
case("a script whose interpreter is missing", "process.args", "/usr/bin/python3")(
    program("/bin/tool", "#!/usr/bin/python3\n"))
case("a script with DOS line ends", "process.args", "/bin/sh\\r")(program("/bin/tool", "#!/bin/sh\r\necho\r\n"))


def elf(trial, patch):
    with open("/bin/busybox", "rb") as file:
        content = bytearray(file.read())
    patch(content)
    program("/bin/tool", bytes(content))(trial)


@case("a program for another machine", "process.args", "aarch64")
def foreign(trial):
    def patch(content):
        content[18:20] = (183).to_bytes(2, "little")
    elf(trial, patch)


@case("a program whose dynamic loader is missing", "process.args", "ld-linux-x86-64.so.2")
def dynamic(trial):
    with open("/bin/ls", "rb") as file:
        program("/bin/tool", file.read())(trial)


@case("the working directory is a file", "process.cwd", "/etc/passwd")
def cwd(trial):
    put("process.cwd", "/etc/passwd")(trial)


# Mounts and devices.
case("the source of a bind does not exist", "mounts", "/no/source")(
    add_mount(destination="/data", type="bind", source="/no/source", options=["rbind"]))
case("a directory is bound on a file", "mounts", "/etc/passwd")(
    add_mount(destination="/etc/passwd", type="bind", source="/usr", options=["rbind"]))
case("an unknown file system", "mounts", "nosuchfs")(add_mount(destination="/data", type="nosuchfs", source="x"))
case("a misspelt option of a tmpfs", "mounts", "nosiud")(
    add_mount(destination="/data", type="tmpfs", source="tmpfs", options=["nosiud"]))
case("a mount without a destination", "mounts", "destination")(add_mount(type="tmpfs", source="tmpfs"))
case("a device of an unknown type", "linux.devices", "x")(
    put("linux.devices", [{"path": "/dev/x", "type": "x", "major": 1, "minor": 3}]))
case("a device where the rootfs has a file", "linux.devices", "/etc/passwd")(
    put("linux.devices", [{"path": "/etc/passwd", "type": "c", "major": 1, "minor": 3}]))


# Namespaces, users, limits.
case("a namespace of an unknown type", "linux.namespaces", "netwrok")(
    lambda trial: trial.config["linux"]["namespaces"].append({"type": "netwrok"}))
case("a namespace's path does not exist", "linux.namespaces", "/run/netns/gone")(namespace("/run/netns/gone"))
case("a namespace's path is another file", "linux.namespaces", "/etc/passwd")(namespace("/etc/passwd"))
case("a hostname without a uts namespace", "hostname", "uts")(without("uts"))
case("uid maps overlap", "linux.uidMappings", None)(user_namespace([
    {"containerID": 0, "hostID": 100000, "size": 10}, {"containerID": 5, "hostID": 200000, "size": 10}]))
case("the user is not in the uid map", "process.user", "1000")(user_namespace(
    [{"containerID": 0, "hostID": 100000, "size": 10}], user={"uid": 1000, "gid": 1000}))
case("a limit whose controller is missing", "linux.resources.memory.limit", "memory.max")(
    put("linux.resources", {"memory": {"limit": 100000000}}))
case("an rlimit: soft above hard", "process.rlimits", "RLIMIT_NOFILE")(
    put("process.rlimits", [{"type": "RLIMIT_NOFILE", "soft": 2000, "hard": 1000}]))
case("an rlimit of an unknown type", "process.rlimits", "RLIMIT_NOFILES")(
    put("process.rlimits", [{"type": "RLIMIT_NOFILES", "soft": 1, "hard": 1}]))
case("oomScoreAdj out of range", "process.oomScoreAdj", "5000")(put("process.oomScoreAdj", 5000))
case("a misspelt sysctl", "linux.sysctl", "net.ipv4.ip_fowrard")(put("linux.sysctl", {"net.ipv4.ip_fowrard": "1"}))


@case("a sysctl of the host", "linux.sysctl", "kernel.panic")
def of_the_host(trial):
    # The value that it has: a runtime may write it.
    with open("/proc/sys/kernel/panic", encoding="utf-8") as file:
        put("linux.sysctl", {"kernel.panic": file.read().strip()})(trial)


case("an AppArmor profile that is not loaded", "process.apparmorProfile", "nosuch")(
    put("process.apparmorProfile", "nosuch"))
case("an unknown capability", "process.capabilities", "CAP_NET_ADMN")(
    put("process.capabilities", {"bounding": ["CAP_NET_ADMN"]}))
case("an unknown action of seccomp", "linux.seccomp.defaultAction", "SCMP_ACT_DENY")(
    put("linux.seccomp", {"defaultAction": "SCMP_ACT_DENY"}))
case("a seccomp profile that denies execve", "linux.seccomp", "execve")(put("linux.seccomp", {
    "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["execve"], "action": "SCMP_ACT_ERRNO"}]}))


# Hooks.
case("a hook that fails and says why", "hooks.createRuntime", "no free address")(
    hooks(path="/bin/sh", args=["sh", "-c", "echo no free address >&2; exit 3"]))
case("a hook that does not exist", "hooks.createRuntime", "/usr/bin/nohook")(hooks(path="/usr/bin/nohook"))
case("a hook that runs past its timeout", "hooks.createRuntime", "/bin/sleep")(
    hooks(path="/bin/sleep", args=["sleep", "1000"], timeout=1))


# Verbs.
case("a misspelt verb", None, "start")(call("strat", "ID"))
case("a misspelt flag", "--bundle", "--bundel")(call("run", "--bundel", "BUNDLE", "ID"))
case("an id with a slash", None, "a/b")(call("run", "--bundle", "BUNDLE", "a/b"))
case("an id that is in use", None, "ID", before="running")(call("run", "--bundle", "BUNDLE", "ID"))
case("state of an unknown container", None, "ID")(call("state", "ID"))
case("delete of a running container", None, "ID", before="running")(call("delete", "ID"))
case("start of a running container", None, "ID", before="running")(call("start", "ID"))
case("exec in a stopped container", None, "ID", before="stopped")(call("exec", "ID", "true"))
case("kill of a stopped container", None, "ID", before="stopped")(call("kill", "ID", "TERM"))
case("kill with an unknown signal", None, "SIGFOO", before="running")(call("kill", "ID", "SIGFOO"))
case("exec of a missing program", None, "ngnix", before="running")(call("exec", "ID", "ngnix"))
case("a pid file in a missing directory", "--pid-file", "/nonexistent")(
    call("run", "--pid-file", "/nonexistent/pid", "--bundle", "BUNDLE", "ID"))


@case("a terminal without a console socket", "process.terminal", "--console-socket")
def no_socket(trial):
    put("process.terminal", True)(trial)
    return ["create", "--bundle", "BUNDLE", "ID"]


@case("a console socket that does not exist", "--console-socket", "/nonexistent.sock")
def dead_socket(trial):
    put("process.terminal", True)(trial)
    return ["create", "--console-socket", "/nonexistent.sock", "--bundle", "BUNDLE", "ID"]


# The host.
@case("the state's file system is full", None, "ROOT")
def full(trial):
    os.makedirs(trial.root, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k,mode=700", "full", trial.root], check=True)
    with open(os.path.join(trial.root, "ballast"), "wb") as file:
        file.write(bytes(4096))


case("an ordinary user, no user namespace", "linux.namespaces", "user", user=True)(lambda trial: None)
