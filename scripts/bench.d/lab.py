"""Runs sections in the lab VM."""

import os
import shutil
import subprocess
import tempfile

FILES = ["scripts/bench", "tests/plans/cases/engine-docker.json", "runtime-tests/data/docker-seccomp.json"]
GUEST = """set -eu
cp -r . /root/bench; cd /root/bench
scripts/bench --json "$1/results.json" "${@:2}"
"""


def run(repo, target, options, sections, results):
    """Runs the sections and copies their results to the file `results`, if given. Returns the exit status.

    In the VM all is copied to its own disk first: see scripts/lab/run.
    """
    subprocess.run([os.path.join(repo, "scripts/lab/setup")], check=True)
    stage = tempfile.mkdtemp(prefix="bench-lab.", dir="/var/tmp")
    try:
        for file in FILES:
            os.makedirs(os.path.dirname(os.path.join(stage, file)), exist_ok=True)
            shutil.copy(os.path.join(repo, file), os.path.join(stage, file))
        shutil.copytree(os.path.join(repo, "scripts/bench.d"), os.path.join(stage, "scripts/bench.d"))
        built = os.path.join(stage, "target/x86_64-unknown-linux-musl/release")
        os.makedirs(built)
        named = dict(word.split("=", 1) for word in options.runtimes)
        for binary in ("sampan", "bench-floor", "bench-timer", "bench-count"):
            shutil.copy(named.get(binary, os.path.join(target, binary)), built)
        with open(os.path.join(stage, "guest"), "w", encoding="utf-8") as file:
            file.write(GUEST)
        words = ["--rounds", str(options.rounds), *sections]
        call = [os.path.join(repo, "scripts/lab/run"), "--timeout", "1200", *options.machine.split(), "--", "bash", "./guest", stage, *words]
        status = subprocess.run(call, cwd=stage, check=False).returncode
        if status == 0 and results:
            shutil.copy(os.path.join(stage, "results.json"), results)
        return status
    finally:
        shutil.rmtree(stage)
