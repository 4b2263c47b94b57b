"""ftrace, in a separate instance: the places where calls sleep in the kernel."""

import os
import subprocess
import sys

GRACE_PERIOD = ("synchronize_rcu", "synchronize_srcu", "rcu_barrier", "wait_rcu_gp", "__wait_rcu_gp")


class Sleeps:
    """In a `with` block, records the kernel's stack whenever one of the timer's programs sleeps uninterruptibly."""

    def __init__(self, world, timer):
        self.mount = os.path.join(world.directory, "tracing")
        self.instance = os.path.join(self.mount, f"instances/bench{os.getpid()}")
        self.pid, self.text = timer.process.pid, ""

    def __enter__(self):
        if not os.path.isdir(self.mount):
            os.mkdir(self.mount)
            if subprocess.run(["mount", "-t", "tracefs", "tracefs", self.mount], check=False).returncode != 0:
                sys.exit("bench: no tracefs: the section waits needs it")
        os.mkdir(self.instance)
        for file, value in [("options/event-fork", 1), ("options/stacktrace", 1), ("set_event_pid", self.pid),
                            ("events/sched/sched_switch/filter", "prev_state & 2"),
                            ("events/sched/sched_switch/enable", 1)]:
            self.write(file, value)
        return self

    def write(self, file, value):
        with open(os.path.join(self.instance, file), "w", encoding="utf-8") as place:
            place.write(str(value))

    def __exit__(self, *_):
        with open(os.path.join(self.instance, "trace"), encoding="utf-8") as file:
            self.text = file.read()
        self.write("events/sched/sched_switch/enable", 0)
        os.rmdir(self.instance)

    def grace_periods(self):
        """The number of stacks that wait for a grace period."""
        stacks = self.text.split("<stack trace>")[1:]
        return sum(any(line.strip().removeprefix("=> ").startswith(GRACE_PERIOD) for line in stack.split("\n"))
                   for stack in stacks)
