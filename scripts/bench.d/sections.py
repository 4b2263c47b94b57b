"""The measurements. A section is a function that yields (what, unit, {subject: [value of each round]})."""

import contextlib
import os
import random
import subprocess
import sys

import bundles
import trace
from world import Failed, Timer, cgroup

LONG = ["sleep", "1000"]
VERBS = ["create", "start", "state", "exec", "kill", "delete"]


class Columns:
    """Values by subject. A failed round is not counted; after the third failure the subject is left out."""

    def __init__(self, world):
        self.world, self.values, self.failures = world, {}, {}

    @property
    def failed(self):
        return {name for name, count in self.failures.items() if count >= 3}

    @contextlib.contextmanager
    def tries(self, subject):
        try:
            yield
        except Failed as failure:
            print(f"bench: {subject.name} failed: {failure}", file=sys.stderr)
            self.failures[subject.name] = self.failures.get(subject.name, 0) + 1

    def subjects(self):
        return [subject for subject in self.world.subjects if subject.name not in self.failed]

    def add(self, subject, what, value):
        self.values.setdefault(what, {}).setdefault(subject.name, []).append(value)

    def of(self, what):
        columns = self.values.get(what, {})
        return {name: column for name, column in columns.items() if name not in self.failed}


def interleaved(world, rounds, step):
    """Calls step(subject, columns) for each subject, round after round, after a first round that is not counted. The
    order changes from round to round: the kernel still cleans up after the previous program, which must affect all."""
    step_columns, order = Columns(world), random.Random(0)
    for number in range(rounds + 1):
        subjects = step_columns.subjects()
        for subject in order.sample(subjects, len(subjects)):
            with step_columns.tries(subject):
                step(subject, step_columns)
        if number == 0:
            step_columns.values = {}
    return step_columns


def timed_runs(world, timer, rounds, bundle):
    def step(subject, columns):
        columns.add(subject, "run", timer.run(subject.run(bundle, world.new_id()))["ns"] / 1e6)
        timer.ask("reap")
    return interleaved(world, rounds, step).of("run")


def run(world, timer, rounds):
    """`run` of the config that `spec` writes, with `true` as the process."""
    bundle = bundles.Bundle(world, "default", bundles.default(world))
    yield "run", "ms", timed_runs(world, timer, rounds, bundle)


def docker(world, timer, rounds):
    """`run` of a config as dockerd writes it: seccomp profile, 20 bind mounts, masks, sysctls."""
    bundle = bundles.Bundle(world, "docker", bundles.docker(world))
    yield "run, Docker's config", "ms", timed_runs(world, timer, rounds, bundle)


def mounts(world, timer, rounds):
    """`run` of the default config with 200 additional bind mounts."""
    bundle = bundles.Bundle(world, "mounts200", bundles.with_mounts(world, bundles.default(world), 200))
    yield "run, 200 mounts", "ms", timed_runs(world, timer, rounds, bundle)


def hostmounts(world, timer, rounds):
    """`run` of the default config on a host with 1,000 mounts."""
    bundle = bundles.Bundle(world, "default", bundles.default(world))
    with crowded(world, 1000) as there:
        yield "run, host with 1,000 mounts", "ms", timed_runs(world, there, rounds, bundle)


@contextlib.contextmanager
def crowded(world, count):
    """A timer in a mount namespace with this many additional mounts."""
    timer = Timer(world)
    directory = os.path.join(world.state, "crowd")
    os.makedirs(directory, exist_ok=True)
    if timer.ask("mounts", str(count), directory) != str(count):
        sys.exit("bench: cannot make mounts")
    try:
        yield timer
    finally:
        timer.close()


def verbs(world, timer, rounds):
    """`create`, `start`, `state`, `exec true`, `kill`, `delete`, each measured alone, one container after the other."""
    config = bundles.default(world)
    config["process"]["args"] = LONG
    bundle = bundles.Bundle(world, "long", config)

    def step(subject, columns):
        ident = world.new_id()
        for verb, argv in life(subject, bundle, ident):
            columns.add(subject, verb, timer.run(argv)["ns"] / 1e6)
            if verb == "kill":
                # The end of the process is the kernel's work and not part of a verb.
                timer.ask("reap")
    columns = interleaved(world, rounds, step)
    for verb in VERBS:
        yield verb, "ms", columns.of(verb)


def life(subject, bundle, ident):
    """Each verb with its arguments."""
    yield "create", subject.create(bundle, ident)
    for verb in VERBS[1:]:
        argv = subject.exec(bundle, ident, ["true"]) if verb == "exec" else subject.verb(verb, bundle, ident)
        yield verb, argv


def parallel(world, timer, rounds):
    """`run` of the default config, 8 at a time: the time until the last has ended."""
    bundle = bundles.Bundle(world, "default", bundles.default(world))

    def step(subject, columns):
        base = world.new_id()
        if subject.name == "floor":
            for number in range(8):
                bundle.script(cgroup(f"{base}-{number}"), f"{base}-{number}")
            argv = [subject.path, "run", os.path.join(bundle.path, f"{base}-%.run")]
        else:
            argv = subject.run(bundle, base + "-%")
        columns.add(subject, "8", timer.measured("together", "8", *argv)["ns"] / 1e6)
        timer.ask("reap")
    yield "run, 8 at a time", "ms", interleaved(world, max(10, rounds // 3), step).of("8")


def memory(world, timer, rounds):
    """The maximum memory of `create`: of the runtime and the children that it waited for (ru_maxrss), and separately
    of the process that waits for `start` (VmHWM)."""
    bundle = bundles.Bundle(world, "default", bundles.default(world))

    def step(subject, columns):
        ident = world.new_id()
        columns.add(subject, "runtime", timer.run(subject.create(bundle, ident))["maxrss_kb"] / 1024)
        columns.add(subject, "waiting", first_process_peak(timer) / 1024)
        timer.run(subject.verb("kill", bundle, ident))
        timer.ask("reap")
        timer.run(subject.verb("delete", bundle, ident))
    columns = interleaved(world, 3, step)
    yield "create, runtime", "MB", columns.of("runtime")
    yield "create, waiting process", "MB", columns.of("waiting")


def first_process_peak(timer):
    """VmHWM in kB of the timer's only child."""
    with open(f"/proc/{children(timer)[-1]}/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))


def children(timer):
    """The pids of the timer's children."""
    with open(f"/proc/{timer.process.pid}/task/{timer.process.pid}/children", encoding="utf-8") as file:
        return file.read().split()


def size(world, timer, rounds):
    """The size of the executable, including the libraries that ldd(1) prints."""
    columns = Columns(world)
    for subject in world.subjects:
        if subject.name != "floor":
            columns.add(subject, "size", executable_size(subject.path) / 1e6)
    yield "executable and libraries", "MB", columns.of("size")


def executable_size(path):
    # ldd fails for a static executable. The C library itself is on every host and not counted.
    listing = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
    libraries = [word for line in listing.splitlines() for word in line.split() if word.startswith("/")]
    return sum(os.path.getsize(file) for file in [path, *libraries] if "libc.so" not in file and "ld-linux" not in file)


def syscalls(world, timer, rounds):
    """System calls by verb, of the runtime and of its children until each executes a program."""
    yield from counted(world, timer, "syscalls")


def instructions(world, timer, rounds):
    """Instructions by verb, counted the same way, for the floor and sampan; by single-stepping, which takes minutes."""
    subjects, world.subjects = world.subjects, world.subjects[:2]
    yield from counted(world, timer, "instructions")
    world.subjects = subjects


def counted(world, timer, what):
    config = bundles.default(world)
    config["process"]["args"] = LONG
    once, bundle = bundles.Bundle(world, "default", bundles.default(world)), bundles.Bundle(world, "long", config)
    counter, answer = os.path.join(world.built, "bench-count"), os.path.join(world.directory, "count")
    columns = Columns(world)

    def count(subject, verb, argv):
        timer.run([counter, what, answer, *argv])
        with open(answer, encoding="utf-8") as file:
            columns.add(subject, verb, int(file.read()))

    for subject in world.subjects:
        with columns.tries(subject):
            count(subject, "run", subject.run(once, world.new_id()))
            ident = world.new_id()
            for verb, argv in life(subject, bundle, ident):
                count(subject, verb, argv)
                if verb == "kill":
                    timer.ask("reap")
    for verb in ["run"] + VERBS:
        yield verb, what.replace("syscalls", "system calls"), columns.of(verb)


def waits(world, timer, rounds):
    """The number of calls that sleep until an RCU grace period is over, which takes milliseconds on a busy machine:
    counted by ftrace, in the runtime and its children until the container has ended."""
    config = bundles.default(world)
    config["process"]["args"] = LONG
    once, bundle = bundles.Bundle(world, "default", bundles.default(world)), bundles.Bundle(world, "long", config)

    def step(subject, columns):
        ident = world.new_id()
        with trace.Sleeps(world, timer) as sleeps:
            timer.run(subject.run(once, ident))
        columns.add(subject, "run", sleeps.grace_periods())
        ident = world.new_id()
        for verb, argv in life(subject, bundle, ident):
            with trace.Sleeps(world, timer) as sleeps:
                timer.run(argv)
            columns.add(subject, verb, sleeps.grace_periods())
            timer.ask("reap") if verb == "kill" else None
    columns = interleaved(world, 3, step)
    for verb in ["run"] + VERBS:
        yield f"{verb} (VM)", "RCU waits", columns.of(verb)


@contextlib.contextmanager
def memory_controller():
    """Enables the controller for the children of the root cgroup meanwhile."""
    path = "/sys/fs/cgroup/cgroup.subtree_control"
    with open(path, encoding="utf-8") as file:
        given = "memory" in file.read().split()
    try:
        switch(path, "+memory")
    except OSError:
        sys.exit("bench: the section charged takes the memory controller of cgroup v2: scripts/bench --lab charged")
    try:
        yield
    finally:
        if not given:
            switch(path, "-memory")


def switch(path, word):
    with open(path, "w", encoding="utf-8") as file:
        file.write(word)


def charged(world, timer, rounds):
    """Needs the memory controller (--lab): the maximum that `create` has charged to the container's cgroup
    (memory.peak), and the smallest memory.max with which `true` still runs; the medians of five searches."""
    default = bundles.default(world)
    columns = Columns(world)

    def limited(limit):
        config = dict(default, linux=dict(default["linux"], resources=dict(default["linux"]["resources"])))
        config["linux"]["resources"]["memory"] = {"limit": limit}
        return bundles.Bundle(world, f"limit{limit}", config)

    def measure(subject):
        ident, bundle = world.new_id(), limited(512 << 20)
        timer.run(subject.create(bundle, ident))
        columns.add(subject, "peak", memory_peak(timer) / 1024)
        timer.run(subject.verb("kill", bundle, ident))
        timer.ask("reap")
        timer.run(subject.verb("delete", bundle, ident))
        columns.add(subject, "smallest", smallest(lambda kb: runs(world, timer, subject, limited(kb << 10))))

    with memory_controller():
        # The result differs by a page between searches.
        for subject in world.subjects * 5:
            with columns.tries(subject):
                measure(subject)
    # The kernel charges 256 kB at a time, and memory.peak shows only whole charges.
    yield "create, charged to the container (VM)", "kB", columns.of("peak")
    yield "run, smallest memory.max (VM)", "kB", columns.of("smallest")


def memory_peak(timer):
    with open(f"/proc/{children(timer)[-1]}/cgroup", encoding="utf-8") as file:
        path = next(line[3:].strip() for line in file if line.startswith("0::"))
    with open(f"/sys/fs/cgroup{path}/memory.peak", encoding="utf-8") as file:
        return int(file.read())


def runs(world, timer, subject, bundle):
    try:
        timer.run(subject.run(bundle, world.new_id()))
        return True
    except Failed:
        return False
    finally:
        timer.ask("reap")


def smallest(works, low=0, high=64 << 10, step=4):
    """The smallest number of kB, in steps, with which it succeeds three times out of three."""
    while high - low > step:
        middle = (low + high) // 2 // step * step
        if all(works(middle) for _ in range(3)):
            high = middle
        else:
            low = middle
    return high


def curves(world, timer, rounds):
    """`run` by the number of the config's bind mounts, of the host's mounts, and of seccomp rules."""
    default = bundles.default(world)
    rounds = max(10, rounds // 3)
    for count in (0, 50, 100, 200):
        bundle = bundles.Bundle(world, f"mounts{count}", bundles.with_mounts(world, default, count))
        yield f"bind mounts: {count}", "ms", timed_runs(world, timer, rounds, bundle)
    bundle = bundles.Bundle(world, "default", default)
    for count in (0, 250, 500, 1000):
        with crowded(world, count) as there:
            yield f"mounts of the host: {count}", "ms", timed_runs(world, there, rounds, bundle)
    for count in (1, 100, 200, 400):
        bundle = bundles.Bundle(world, f"rules{count}", bundles.with_rules(default, count))
        yield f"seccomp rules: {count}", "ms", timed_runs(world, timer, rounds, bundle)


SECTIONS = {section.__name__: section for section in
            (run, docker, mounts, hostmounts, verbs, parallel, memory, size, syscalls, instructions, waits, charged, curves)}
DEFAULT = ["run", "docker", "mounts", "hostmounts", "verbs", "parallel", "memory", "size", "syscalls"]
# The documents' figures from the lab, and the VM for them: in this one nothing expedites the grace periods, as on hosts
# that must answer in time, and its kernel survives running out of memory in execve(2), which UML's does not.
LAB, LAB_MACHINE = ["charged", "waits"], "--vm qemu --append rcupdate.rcu_normal=1"
