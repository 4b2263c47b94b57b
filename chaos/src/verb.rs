//! The verbs that are disturbed: their preconditions, their arguments, and the evidence that they
//! did what they report.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use runtime_tests::{Call, Container, Output};
use serde_json::json;

use crate::bundles::{Bundles, HOOKED, Shape};
use crate::disturbed::{self, Disturbed, Harm, Point};
use crate::world::World;

/// The precondition of a verb.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Before {
    Nothing,
    Created,
    Running,
    Paused,
    /// Running, with the mounts of [`MOUNTS`].
    Mounted,
    Stopped,
}

impl Before {
    /// The status of the container in this state.
    pub fn status(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Created => Some("created"),
            Self::Running | Self::Mounted => Some("running"),
            Self::Paused => Some("paused"),
            Self::Stopped => Some("stopped"),
        }
    }
}

/// The evidence that the verb has done its work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum After {
    /// Its output; for `events` without the measured numbers.
    Prints,
    PrintsMeasured,
    /// The output of the container's process after start.
    Starts,
    /// The output of the container's process.
    Runs,
    /// The status of the container.
    Status,
    /// The mounts that a new process in the container sees.
    Mounts,
    /// The limit on processes.
    Limit,
    /// The container no longer exists.
    Gone,
    /// The file that it has written.
    Config,
}

/// A verb with its arguments.
#[derive(Clone, Copy, Debug)]
pub struct Verb {
    pub name: &'static str,
    pub before: Before,
    pub after: After,
    /// The arguments; `{…}` is replaced by values that differ from call to call.
    words: &'static str,
    /// Whether a failure leaves an existing container unchanged.
    pub harmless: bool,
}

const fn verb(
    name: &'static str,
    before: Before,
    after: After,
    words: &'static str,
    harmless: bool,
) -> Verb {
    Verb {
        name,
        before,
        after,
        words,
        harmless,
    }
}

/// The runtime's verbs.
#[rustfmt::skip]
pub const VERBS: &[Verb] = &[
    verb("create", Before::Nothing, After::Starts, "create --bundle {probe} --pid-file {files}/pid {id}", false),
    verb("run", Before::Nothing, After::Runs, "run --bundle {probe} {id}", false),
    verb("run-detached", Before::Nothing, After::Runs, "run --detach --bundle {probe} {id}", false),
    verb("start", Before::Created, After::Runs, "start {id}", false),
    verb("exec", Before::Running, After::Prints, "exec {id} sh /probe", true),
    verb("exec-detached", Before::Running, After::Runs, "exec --detach --pid-file {files}/pid {id} sh /probe", true),
    verb("update", Before::Running, After::Limit, "update --pids-limit 50 {id}", true),
    verb("delete", Before::Stopped, After::Gone, "delete {id}", false),
    verb("delete-force", Before::Running, After::Gone, "delete --force {id}", false),
    verb("kill", Before::Running, After::Status, "kill {id} KILL", false),
    verb("kill-all", Before::Running, After::Status, "kill --all {id} KILL", false),
    verb("pause", Before::Running, After::Status, "pause {id}", true),
    verb("resume", Before::Paused, After::Status, "resume {id}", false),
    verb("mounts-add", Before::Running, After::Mounts, "mounts add {id} {mounts}", true),
    verb("mounts-remove", Before::Mounted, After::Mounts, "mounts remove {id} {mounts}", true),
    verb("state", Before::Running, After::Prints, "state {id}", true),
    verb("list", Before::Running, After::Prints, "list --format json", true),
    verb("ps", Before::Running, After::Prints, "ps --format json {id}", true),
    verb("events", Before::Running, After::PrintsMeasured, "events --stats {id}", true),
    verb("features", Before::Nothing, After::Prints, "features", true),
    verb("spec", Before::Nothing, After::Config, "spec --bundle {files}", true),
    verb("explain", Before::Nothing, After::Prints, "explain --bundle {probe}", true),
];

/// The directory for files that verbs write, which contains nothing else.
const FILES: &str = "/tmp/chaos/files";

/// The input of `mounts`.
const MOUNTS: &str = "/tmp/chaos/mounts.json";

/// A verb that is ready to be called on a container.
pub struct Ready<'w> {
    pub verb: &'static Verb,
    pub world: &'w World,
    pub container: Container<'w>,
    shape: Shape,
    probe: PathBuf,
    /// Init of a created container, which does most of the work of `start`.
    init: Option<i32>,
}

impl Verb {
    /// Whether the host meets the verb's requirements.
    pub fn is_possible(&self) -> bool {
        let pids = runtime_tests::Need::Controller("pids");
        self.name != "update" || pids.check(Path::new("")).is_ok()
    }

    /// The name of the verb with a bundle, such as `plain/create`.
    pub fn with(&self, bundles: &Bundles) -> String {
        format!("{}/{}", bundles.shape.name(), self.name)
    }

    /// Brings a new container into the state that the verb needs.
    pub fn prepare<'w>(&'static self, world: &'w World, bundles: &Bundles) -> Ready<'w> {
        world.forget_calls();
        let _ = fs::remove_dir_all(FILES);
        fs::create_dir(FILES).expect("make a directory");
        let bundle = match self.after {
            After::Starts | After::Runs if self.before != Before::Running => &bundles.probe,
            _ => &bundles.long,
        };
        let mut ready = Ready {
            verb: self,
            world,
            container: world.sandbox.container(bundle),
            shape: bundles.shape,
            probe: bundles.probe.clone(),
            init: None,
        };
        let mount = json!([{"destination": "/added", "type": "tmpfs", "source": "tmpfs"}]);
        fs::write(MOUNTS, mount.to_string()).expect("write a file");
        ready.reach(self.before);
        write_hooked();
        ready
    }
}

/// Creates an empty file that hooks in a user namespace can write to.
fn write_hooked() {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(HOOKED, "").expect("write a file");
    fs::set_permissions(HOOKED, fs::Permissions::from_mode(0o666)).expect("chmod");
}

impl Ready<'_> {
    fn reach(&mut self, before: Before) {
        match before {
            Before::Nothing => return,
            Before::Created => {
                self.container
                    .launch(self.flagged().arg("create"))
                    .finish()
                    .ok();
                self.init = Some(self.container.pid());
                return;
            }
            _ => {}
        }
        self.reach(Before::Created);
        self.init = None;
        self.container.start().ok();
        match before {
            Before::Paused => drop(self.container.verb("pause").ok()),
            Before::Stopped => self.container.stop(),
            Before::Mounted => drop(self.mounts("add").ok()),
            _ => {}
        }
    }

    /// A call of the runtime with the flags that the shape needs.
    fn flagged(&self) -> Call {
        let call = self.world.sandbox.runtime();
        match self.shape {
            Shape::Systemd => call.arg("--systemd-cgroup"),
            _ => call,
        }
    }

    fn mounts(&self, action: &str) -> Output {
        let call = self.world.sandbox.runtime();
        call.args(["mounts", action, &self.container.id, MOUNTS])
            .run()
    }

    /// The arguments of the call.
    pub fn words(&self) -> Vec<OsString> {
        let sandbox = &self.world.sandbox;
        let mut words: Vec<OsString> = vec![sandbox.runtime.clone().into()];
        words.extend(["--root".into(), sandbox.root.clone().into()]);
        if self.shape == Shape::Systemd {
            words.push("--systemd-cgroup".into());
        }
        for word in self.verb.words.split(' ') {
            words.push(match word {
                "{id}" => self.container.id.clone().into(),
                "{probe}" => self.probe.clone().into(),
                "{mounts}" => MOUNTS.into(),
                _ => word.replace("{files}", FILES).into(),
            });
        }
        words
    }

    /// Calls the verb, with a disturbance at a point.
    pub fn call(&self, harm: Option<(Point, Harm)>) -> Disturbed {
        disturbed::call(&self.words(), self.init, harm).expect("follow the runtime")
    }

    /// The evidence of success: the same text whenever the verb has succeeded.
    pub fn outcome(&self, disturbed: &Disturbed) -> String {
        let text = match self.verb.after {
            After::Prints => disturbed.stdout(),
            After::PrintsMeasured => disturbed.stdout().replace(|c: char| c.is_ascii_digit(), ""),
            After::Starts => {
                let status = self.status();
                let start = self.container.start();
                let began = format!("{status}\n{}\n{}", start.code(), start.stderr);
                began + &self.printed(|| disturbed.stdout())
            }
            After::Runs if self.verb.before == Before::Created => {
                self.printed(|| self.container.stdout())
            }
            After::Runs => self.printed(|| disturbed.stdout()),
            After::Status => self.settled_status(),
            After::Mounts => {
                let mounts = self.container.exec(&["cat", "/proc/self/mountinfo"]);
                mounts
                    .stdout
                    .lines()
                    .filter(|line| line.contains("/added"))
                    .count()
                    .to_string()
            }
            After::Limit => {
                self.container
                    .exec(&["cat", "/sys/fs/cgroup/pids.max"])
                    .stdout
            }
            After::Gone => self.status(),
            After::Config => {
                fs::read_to_string(Path::new(FILES).join("config.json")).unwrap_or_default()
            }
        };
        let hooked = fs::read_to_string(HOOKED).unwrap_or_default();
        self.without_numbers(&(text + &hooked))
    }

    /// Removes text that differs between containers.
    fn without_numbers(&self, text: &str) -> String {
        let text = text.replace(&self.container.id, "ID");
        match self.verb.name {
            "state" | "list" => {
                let pid = format!("\"pid\": {},", self.container.pid());
                let text = text
                    .replace(&pid, "PID")
                    .replace(&pid.replace(' ', ""), "PID");
                text.split_once("\"created\"")
                    .map_or(text.clone(), |(before, _)| before.to_owned())
            }
            "ps" => text.replace(&self.container.pid().to_string(), "PID"),
            _ => text,
        }
    }

    /// The output of the container's process up to its end or, if that does not come, up to now.
    fn printed(&self, read: impl Fn() -> String) -> String {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let text = read();
            if text.ends_with("END\n") || Instant::now() > deadline {
                return text;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The status or, without a container, the error about it.
    pub fn status(&self) -> String {
        let output = self.container.verb("state");
        if output.status.success() {
            output.json()["status"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        } else {
            output
                .stderr
                .split_once("msg=")
                .map_or_else(|| output.stderr.clone(), |(_, text)| text.to_owned())
        }
    }

    /// The status after a signal has had its effect.
    fn settled_status(&self) -> String {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.verb.name.starts_with("kill")
            && self.status() == "running"
            && Instant::now() < deadline
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.status()
    }

    /// Files that a call has left beside the one that it was asked to write.
    pub fn stray_files(&self) -> Vec<String> {
        let entries = fs::read_dir(FILES).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names
            .filter(|name| name != "pid" && name != "config.json")
            .collect()
    }
}
