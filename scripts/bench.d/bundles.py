"""The bundles for the measurements. Each has a config.json for every runtime, and the floor's scripts."""

import copy
import json
import os
import shutil
import subprocess

import floor

DIRECTORIES = "bin dev etc proc root srv sys tmp usr/bin var".split()


class Bundle:
    """A directory with config.json."""

    def __init__(self, world, name, config):
        self.world, self.name, self.config = world, name, copy.deepcopy(config)
        self.path = os.path.join(world.directory, name)
        make_rootfs(os.path.join(self.path, "rootfs"))
        for mount in self.config["mounts"]:
            self.make_mount_point(mount)
        with open(os.path.join(self.path, "config.json"), "w", encoding="utf-8") as file:
            json.dump(self.config, file, indent=1)

    def make_mount_point(self, mount):
        source, target = mount.get("source"), self.path + "/rootfs" + mount["destination"]
        if not {"bind", "rbind"} & set(mount.get("options", [])):
            return
        if os.path.isdir(source):
            os.makedirs(target, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            open(target, "w", encoding="utf-8").close()

    def script(self, cgroup, name="floor", wait=False):
        """Writes the floor's script for a container in this cgroup."""
        path = os.path.join(self.path, f"{name}{'.create' if wait else '.run'}")
        text = floor.container(self.config, self.path, cgroup, wait)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def exec_script(self, cgroup, args):
        path = os.path.join(self.path, "floor.exec")
        with open(path, "w", encoding="utf-8") as file:
            file.write(floor.joined(self.config, self.path, cgroup, args))
        return path


def make_rootfs(rootfs):
    for directory in DIRECTORIES:
        os.makedirs(os.path.join(rootfs, directory), exist_ok=True)
    busybox = os.path.join(rootfs, "bin/busybox")
    if not os.path.exists(busybox):
        shutil.copy("/bin/busybox", busybox)
        for applet in "true sleep sh cat readlink ls sort hostname sed grep tr wc id".split():
            os.link(busybox, os.path.join(rootfs, "bin", applet))
    with open(os.path.join(rootfs, "etc/passwd"), "w", encoding="utf-8") as file:
        file.write("root:x:0:0:root:/root:/bin/sh\n")


def default(world):
    """The output of `spec`, without a terminal, running `true`."""
    scratch = os.path.join(world.directory, "spec")
    if not os.path.exists(scratch):
        os.makedirs(scratch)
        subprocess.run([world.sampan, "spec", "--bundle", scratch], check=True)
    with open(os.path.join(scratch, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    # Older runtimes refuse the newest version.
    config["ociVersion"] = "1.0.2"
    config["process"].update(terminal=False, args=["true"])
    return config


def docker(world):
    """As dockerd writes it: 20 bind mounts, masks, sysctls, its seccomp profile; no limits, which need controllers."""
    with open(world.repo + "/tests/plans/cases/engine-docker.json", encoding="utf-8") as file:
        config = json.load(file)["config"]
    with open(world.repo + "/runtime-tests/data/docker-seccomp.json", encoding="utf-8") as file:
        config["linux"]["seccomp"] = json.load(file)
    sources = os.path.join(world.directory, "volumes")
    for number, mount in enumerate(mount for mount in config["mounts"] if mount["type"] == "bind"):
        mount["source"] = os.path.join(sources, str(number))
        if mount["destination"].startswith("/etc/"):
            os.makedirs(sources, exist_ok=True)
            open(mount["source"], "w", encoding="utf-8").close()
        else:
            os.makedirs(mount["source"], exist_ok=True)
    for key in ("memory", "cpu", "pids", "blockIO"):
        del config["linux"]["resources"][key]
    del config["hooks"], config["linux"]["cgroupsPath"], config["process"]["apparmorProfile"]
    del config["process"]["oomScoreAdj"]
    import resource  # not in the lab's guest

    for limit in config["process"]["rlimits"]:
        # Raising a hard limit needs CAP_SYS_RESOURCE, which not every root has.
        limit["hard"] = min(limit["hard"], resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        limit["soft"] = min(limit["soft"], limit["hard"])
    config["ociVersion"] = "1.0.2"
    config["root"] = {"path": "rootfs"}
    config["process"]["args"] = ["true"]
    return config


def with_mounts(world, config, count):
    """The config with this many additional bind mounts."""
    config, sources = copy.deepcopy(config), os.path.join(world.directory, "sources")
    for number in range(count):
        source = os.path.join(sources, str(number))
        os.makedirs(source, exist_ok=True)
        config["mounts"].append({"destination": f"/srv/many/{number}", "type": "bind", "source": source,
                                 "options": ["rbind", "ro", "rprivate"]})
    return config


def with_rules(config, count):
    """The config with a seccomp profile of this many rules, each for a system call and a value of an argument."""
    config = copy.deepcopy(config)
    names = [f"{kind}{what}" for what in ("xattr",) for kind in ("set", "get", "list", "remove", "fset", "fget",
             "flist", "fremove", "lset", "lget", "llist", "lremove")]
    rules = [{"names": [names[number % len(names)]], "action": "SCMP_ACT_ERRNO",
              "args": [{"index": 2, "value": number, "op": "SCMP_CMP_EQ"}]} for number in range(count)]
    config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
                                  "syscalls": rules}
    return config
