"""The environment of the measurements: the runtimes, the floor, the timer, and their directories."""

import os
import shutil
import subprocess
import sys
import tempfile
import time

# Runtimes by name, in the order of columns.
KNOWN = ["sampan", "crun", "runc", "youki"]


class World:
    """A directory for bundles, a tmpfs for the runtimes' state, and the names of everything created."""

    def __init__(self, repo, built, runtimes):
        self.repo, self.built = repo, built
        # On the file system that engines use, not on a tmpfs.
        self.directory = tempfile.mkdtemp(prefix="bench.", dir=os.environ.get("BENCH_DIR", "/var/tmp"))
        self.state = os.path.join(self.directory, "state")
        self.programs = os.path.join(self.directory, "programs")
        self.count = 0
        try:
            self.furnish(runtimes)
        except BaseException:
            self.close()
            raise

    def furnish(self, runtimes):
        os.mkdir(self.state)
        os.mkdir(self.programs)
        self.sampan = self.install("sampan", runtimes.get("sampan", os.path.join(self.built, "sampan")))
        self.floor = self.install("floor", os.path.join(self.built, "bench-floor"))
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=700", "state", self.state], check=True)
        self.subjects = [Floor(self)] + [Runtime(self, name, self.install(name, path)) for name, path in runtimes.items()]

    def install(self, name, path):
        """A copy, written like a file of a package. A linker's output is in the page cache in small pieces, which
        the kernel maps more slowly than a file that was written from end to end."""
        installed = os.path.join(self.programs, name)
        return installed if os.path.exists(installed) else shutil.copy2(path, installed)

    def new_id(self):
        """A container id that was never used."""
        self.count += 1
        return f"bench{os.getpid()}-{self.count}"

    def close(self):
        """Removes everything, including the remains of failed programs."""
        for directory, _, _ in os.walk("/sys/fs/cgroup", topdown=False):
            if f"bench{os.getpid()}-" in os.path.basename(directory):
                remove_cgroup(directory)
        for place in (self.state, os.path.join(self.directory, "tracing")):
            if os.path.ismount(place):
                subprocess.run(["umount", place], check=False)
        shutil.rmtree(self.directory, ignore_errors=True)


def remove_cgroup(directory):
    """Kills the cgroup's processes and removes it, if that takes less than a second."""
    try:
        with open(os.path.join(directory, "cgroup.kill"), "w", encoding="utf-8") as file:
            file.write("1")
    except FileNotFoundError:
        return None
    for _ in range(100):
        try:
            return os.rmdir(directory)
        except OSError:
            time.sleep(0.01)
    return print(f"bench: left behind: {directory}", file=sys.stderr)


def cgroup(name):
    """The cgroup of the floor's container with this name."""
    return "/sys/fs/cgroup/" + name


class Runtime:
    """An OCI runtime."""

    def __init__(self, world, name, path):
        self.name, self.path = name, path
        self.root = os.path.join(world.state, name)
        os.mkdir(self.root)

    def call(self, *words):
        return [self.path, "--root", self.root, *words]

    def run(self, bundle, ident):
        return self.call("run", "--bundle", bundle.path, ident)

    def create(self, bundle, ident):
        return self.call("create", "--bundle", bundle.path, ident)

    def exec(self, bundle, ident, args):
        return self.call("exec", ident, *args)

    def verb(self, verb, bundle, ident):
        return self.call(*{"kill": ("kill", ident, "KILL")}.get(verb, (verb, ident)))


class Floor:
    """The same calls, made with prepared scripts."""

    def __init__(self, world):
        self.name, self.path, self.state = "floor", world.floor, world.state

    def pid_file(self, ident):
        return os.path.join(self.state, ident + ".pid")

    def run(self, bundle, ident):
        return [self.path, "run", bundle.script(cgroup(ident), ident)]

    def create(self, bundle, ident):
        return [self.path, "create", bundle.script(cgroup(ident), ident, wait=True), self.pid_file(ident)]

    def exec(self, bundle, ident, args):
        return [self.path, "exec", bundle.exec_script(cgroup(ident), args), self.pid_file(ident)]

    def verb(self, verb, bundle, ident):
        return [self.path, *{
            "start": ("start", self.pid_file(ident)),
            "state": ("nothing",),
            "kill": ("kill", self.pid_file(ident), "9"),
            "delete": ("delete", self.pid_file(ident), cgroup(ident)),
        }[verb]]


class Timer:
    """bench-timer: see bench/src/timer.rs."""

    FIELDS = "ns status user_us system_us maxrss_kb faults switches".split()

    def __init__(self, world):
        self.errors = os.path.join(world.directory, "stderr")
        self.process = subprocess.Popen([os.path.join(world.built, "bench-timer"), self.errors], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def ask(self, *words):
        self.process.stdin.write("\t".join(words) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def measured(self, *words):
        """Runs the programs. Returns the numbers by name. A failure ends the benchmark."""
        answer = self.ask(*words)
        fields = answer.split()
        if len(fields) != len(self.FIELDS) or not all(field.isdigit() for field in fields):
            sys.exit(f"bench: {' '.join(words)}: {answer or 'the timer has ended'}")
        result = dict(zip(self.FIELDS, map(int, fields)))
        if result["status"] != 0:
            raise Failed(" ".join(words), result["status"], self.last_error())
        return result

    def run(self, argv):
        return self.measured("run", *argv)

    def last_error(self):
        with open(self.errors, encoding="utf-8", errors="replace") as file:
            return "".join(file.readlines()[-3:]).strip()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Failed(Exception):
    """A program that was measured has failed."""

    def __init__(self, what, status, error):
        super().__init__(f"{what}: status {status}: {error}")


def enter_namespaces():
    """Enters a new mount namespace with only cgroup2 at /sys/fs/cgroup, which every runtime supports."""
    if os.environ.get("BENCH_INSIDE") != "1":
        if os.geteuid() != 0:
            sys.exit("bench: run as root: containers are made for real")
        os.environ["BENCH_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "-m", "--propagation", "private", sys.executable, *sys.argv])
    kind = subprocess.run(["stat", "-f", "-c", "%T", "/sys/fs/cgroup"], capture_output=True, text=True, check=True)
    if kind.stdout.strip() != "cgroup2fs":
        subprocess.run(["umount", "-R", "/sys/fs/cgroup"], check=True)
        subprocess.run(["mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"], check=True)


def find_runtimes(arguments, built):
    """The name=path arguments, or the runtimes that are installed."""
    given = dict(argument.split("=", 1) for argument in arguments)
    if given:
        return {name: shutil.which(path) or os.path.abspath(path) for name, path in given.items()}
    found = {"sampan": os.path.join(built, "sampan")}
    found.update({name: shutil.which(name) for name in KNOWN[1:] if shutil.which(name)})
    return found
