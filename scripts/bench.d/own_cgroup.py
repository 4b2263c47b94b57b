"""A cgroup, a cgroup namespace and a mount namespace for a script that lets runtimes do what they like."""

import errno
import os
import subprocess
import sys
import time


def cgroup2_mount():
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        for line in file:
            fields, _, kind = line.partition(" - ")
            if kind.startswith("cgroup2 "):
                return fields.split()[4]
    return sys.exit("cgroup2 is not mounted")


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def remove(name, parent):
    """Kills the processes of a cgroup and removes it with all below it. A container's path may be too long for a call."""
    cgroup = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=parent)
    try:
        with open(os.open("cgroup.kill", os.O_WRONLY, dir_fd=cgroup), "w", encoding="utf-8") as file:
            file.write("1")
        for entry in os.scandir(cgroup):
            if entry.is_dir(follow_symlinks=False):
                remove(entry.name, cgroup)
    finally:
        os.close(cgroup)
    # A killed process leaves its cgroup a moment later.
    for _ in range(100):
        try:
            return os.rmdir(name, dir_fd=parent)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            time.sleep(0.01)
    return print(f"left behind: the cgroup {name[:40]}", file=sys.stderr)


def enter():
    """Runs the rest of the script in a new cgroup, as the root of a new cgroup namespace, and removes the cgroup."""
    if os.environ.get("IN_OWN_CGROUP") == "1":
        subprocess.run(["umount", "-R", "/sys/fs/cgroup"], check=True)
        subprocess.run(["mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"], check=True)
        # A cgroup with processes cannot give controllers to children.
        os.mkdir("/sys/fs/cgroup/script")
        return write("/sys/fs/cgroup/script/cgroup.procs", "0")
    if os.geteuid() != 0:
        sys.exit("run as root: containers are made for real")
    mount = cgroup2_mount()
    with open("/proc/self/cgroup", encoding="utf-8") as file:
        own = next(line.rstrip("\n").split("::", 1)[1] for line in file if line.startswith("0::"))
    home = f"{mount}/script{os.getpid()}"
    os.mkdir(home)
    try:
        write(f"{home}/cgroup.procs", "0")
        status = subprocess.run(["unshare", "-m", "-C", "--propagation", "private", sys.executable, *sys.argv],
                                env={**os.environ, "IN_OWN_CGROUP": "1"}, check=False).returncode
    finally:
        write(f"{mount}{own}/cgroup.procs", "0")
        remove(os.path.basename(home), os.open(mount, os.O_RDONLY | os.O_DIRECTORY))
    return sys.exit(status)
