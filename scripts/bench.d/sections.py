"""What is measured. A section is a function that yields (what, unit, {subject: [value of each round]})."""

import contextlib
import os
import subprocess
import sys

import bundles
from world import Failed, Timer, cgroup

LONG = ["sleep", "1000"]
VERBS = ["create", "start", "state", "exec", "kill", "delete"]


class Columns:
    """Values by subject. A subject that fails is left out, with its words on standard error."""

    def __init__(self, world):
        self.world, self.values, self.failed = world, {}, set()

    @contextlib.contextmanager
    def tries(self, subject):
        try:
            yield
        except Failed as failure:
            print(f"bench: {subject.name} left out: {failure}", file=sys.stderr)
            self.failed.add(subject.name)

    def subjects(self):
        return [subject for subject in self.world.subjects if subject.name not in self.failed]

    def add(self, subject, what, value):
        self.values.setdefault(what, {}).setdefault(subject.name, []).append(value)

    def of(self, what):
        columns = self.values.get(what, {})
        return {name: column for name, column in columns.items() if name not in self.failed}


def interleaved(world, rounds, step):
    """step(subject, columns) of each subject in turn, round after round; one round goes before, uncounted."""
    step_columns = Columns(world)
    for number in range(rounds + 1):
        for subject in step_columns.subjects():
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
    """`run` of the default config with 200 bind mounts more."""
    bundle = bundles.Bundle(world, "mounts200", bundles.with_mounts(world, bundles.default(world), 200))
    yield "run, 200 mounts", "ms", timed_runs(world, timer, rounds, bundle)


def hostmounts(world, timer, rounds):
    """`run` of the default config on a host with 1,000 mounts."""
    bundle = bundles.Bundle(world, "default", bundles.default(world))
    with crowded(world, 1000) as there:
        yield "run, host with 1,000 mounts", "ms", timed_runs(world, there, rounds, bundle)


@contextlib.contextmanager
def crowded(world, count):
    """A timer in a mount namespace with this many mounts more."""
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
    """`create`, `start`, `state`, `exec true`, `kill`, `delete`, each alone, one container after the other."""
    config = bundles.default(world)
    config["process"]["args"] = LONG
    bundle = bundles.Bundle(world, "long", config)

    def step(subject, columns):
        ident = world.new_id()
        for verb, argv in life(subject, bundle, ident):
            columns.add(subject, verb, timer.run(argv)["ns"] / 1e6)
            if verb == "kill":
                # Its end is the kernel's work and nobody's verb.
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
    """`run` of the default config, 8 at a time; the time until the last has ended."""
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
    """The most memory that `create` held: the runtime and those it waited for (ru_maxrss), and, by itself, the
    process that is left waiting for `start` (VmHWM)."""
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
    """VmHWM in kB of the timer's one child."""
    path = f"/proc/{timer.process.pid}/task/{timer.process.pid}/children"
    with open(path, encoding="utf-8") as file:
        children = file.read().split()
    with open(f"/proc/{children[-1]}/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))


def size(world, timer, rounds):
    """The size of the executable; of dynamic ones with the libraries that ldd(1) names."""
    columns = Columns(world)
    for subject in world.subjects:
        if subject.name != "floor":
            columns.add(subject, "size", executable_size(subject.path) / 1e6)
    yield "executable and libraries", "MB", columns.of("size")


def executable_size(path):
    # ldd fails for a static executable; the C library itself is everywhere and not counted.
    listing = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
    libraries = [word for line in listing.splitlines() for word in line.split() if word.startswith("/")]
    return sum(os.path.getsize(file) for file in [path, *libraries] if "libc.so" not in file and "ld-linux" not in file)


def curves(world, timer, rounds):
    """`run` by the number of the config's bind mounts, of the host's mounts, of seccomp rules."""
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
            (run, docker, mounts, hostmounts, verbs, parallel, memory, size, curves)}
DEFAULT = ["run", "docker", "mounts", "hostmounts", "verbs", "parallel", "memory", "size"]
