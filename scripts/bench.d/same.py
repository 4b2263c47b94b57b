"""Checks that a container of the floor has the same environment as the same container of sampan."""

import difflib
import re

import bundles

# Printed from inside. The numbers of mounts, devices and namespaces differ between containers.
LOOK = r"""
sed -E 's/^[0-9]+ [0-9]+ [0-9]+:[0-9]+ //; s/(master|shared):[0-9]+/\1/g' /proc/self/mountinfo
grep -E '^(Cap|NoNewPrivs|Seccomp|Uid|Gid|Groups|Umask|SigBlk|SigIgn)' /proc/self/status
for kind in cgroup ipc mnt net pid time user uts; do echo "$kind $(readlink /proc/self/ns/$kind)"; done
ls -lnR /dev | sed -E 's/ [A-Z][a-z]{2} +[0-9]+ +[0-9:]+ / /'
cat /proc/self/limits /proc/self/cgroup /proc/sys/net/ipv4/ip_unprivileged_port_start
cat /sys/class/net/lo/flags; hostname; readlink /proc/self/cwd; ls -l /proc/self/fd | wc -l; env
cut -d' ' -f5- /proc/keys 2>/dev/null
"""


def check(world, timer):
    """Compares all bundles. Returns the exit status."""
    configs = {"default": bundles.default(world), "docker": bundles.docker(world)}
    configs["mounts"] = bundles.with_mounts(world, configs["default"], 20)
    configs["rules"] = bundles.with_rules(configs["default"], 20)
    status = 0
    for name, config in configs.items():
        for how in ("run", "exec"):
            seen = {s.name: look(world, timer, s, f"same-{name}", config, how) for s in world.subjects[:2]}
            (first, a), (second, b) = seen.items()
            difference = list(difflib.unified_diff(a, b, first, second, lineterm="", n=0))
            print(f"{name}, {how}: {len(a)} lines, {'DIFFERENT' if difference else 'the same'}")
            print("\n".join(difference), end="\n" if difference else "")
            status |= bool(difference) or len(a) < 50
    return status


def look(world, timer, subject, name, config, how):
    """The environment of a process of `run` or of `exec`, without the container's name."""
    config = dict(config, process=dict(config["process"]))
    mount = {"destination": "/out", "type": "bind", "source": f"{world.directory}/out", "options": ["bind"]}
    config["mounts"] = config["mounts"] + [mount]
    open(mount["source"], "w", encoding="utf-8").close()
    script = ["sh", "/look"]
    config["process"]["args"] = script if how == "run" else ["sleep", "1000"]
    bundle, ident = bundles.Bundle(world, name, config), world.new_id()
    with open(f"{bundle.path}/rootfs/look", "w", encoding="utf-8") as file:
        file.write(f"exec >/out 2>&1\n{LOOK}")
    if how == "run":
        timer.run(subject.run(bundle, ident))
    else:
        timer.run(subject.create(bundle, ident))
        timer.run(subject.verb("start", bundle, ident))
        timer.run(subject.exec(bundle, ident, script))
        timer.run(subject.verb("kill", bundle, ident))
        timer.ask("reap")
        timer.run(subject.verb("delete", bundle, ident))
    with open(mount["source"], encoding="utf-8") as file:
        text = file.read().replace(ident, "ID")
    return namespaces(text).splitlines()


def namespaces(text):
    """Replaces the number of each namespace by whether it is the host's."""
    import os
    def kind(match):
        mine = os.readlink(f"/proc/self/ns/{match[1]}") == match[2]
        return f"{match[1]} {'host' if mine else 'own'}"
    return re.sub(r"(?m)^(\w+) (\w+:\[\d+\])$", kind, text)
