//! The calls of the runtime: their choice and their answers.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::memfd::{MFdFlags, memfd_create};
use serde_json::{Value, json};

use super::check::Timed;
use super::model::{Answer, Op, Status, Verb};
use super::words::{self, Meaning};
use crate::random::Random;

/// The program of `exec`. It prints the host name, the variable, and its open descriptors, the last
/// of which is the directory that it reads.
const LOOK: &str = "read name </proc/sys/kernel/hostname; echo $name $GENERATION /proc/self/fd/*";
const DESCRIPTORS: &str = "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3";

/// The data that all callers of a round share.
pub struct Arena {
    pub runtime: PathBuf,
    pub root: PathBuf,
    /// The ids that the callers compete for.
    pub ids: Vec<String>,
    /// The config, without the generation.
    pub config: Value,
    /// The number of the next container.
    pub generation: AtomicU32,
    pub start: Instant,
    /// The running calls, each with its process and its start time, so that a hanging one can be
    /// killed.
    pub running: Mutex<Vec<Running>>,
}

/// A running call.
#[derive(Clone, Debug)]
pub struct Running {
    pub caller: usize,
    pub pid: u32,
    pub id: usize,
    pub verb: Verb,
    pub since: Instant,
    pub hung: bool,
}

/// A call that has ended.
#[derive(Clone, Debug)]
pub struct Record {
    /// The index of the id.
    pub id: usize,
    pub caller: usize,
    pub timed: Timed,
    /// The output, on one line.
    pub text: String,
    /// Anything else that is wrong with the answer: a kind and a text.
    pub oddity: Option<String>,
}

/// The disturbance of a call.
#[derive(Clone, Copy, PartialEq)]
enum Disturbed {
    No,
    /// The call has only this many descriptors.
    Descriptors(u64),
    /// The call is killed after this time.
    Killed(Duration),
}

/// The weights of the verbs.
const WEIGHTS: &[(u64, Verb)] = &[
    (22, Verb::Create(0)),
    (16, Verb::Start),
    (9, Verb::Exec),
    (8, Verb::Kill),
    (3, Verb::Signal),
    (10, Verb::State),
    (5, Verb::List),
    (9, Verb::Delete),
    (8, Verb::DeleteForce),
    (4, Verb::Pause),
    (6, Verb::Resume),
    (3, Verb::Update),
    (4, Verb::Ps),
];

/// One of the callers of a round.
pub struct Caller<'a> {
    pub arena: &'a Arena,
    pub number: usize,
    pub random: Random,
    /// The caller's own bundle, because the config contains the generation.
    pub bundle: PathBuf,
    pub records: Vec<Record>,
}

impl Caller<'_> {
    /// Makes one call, chosen at random.
    pub fn call_any(&mut self) {
        let id = self.random.below(self.arena.ids.len() as u64) as usize;
        let total: u64 = WEIGHTS.iter().map(|(weight, _)| weight).sum();
        let mut rest = self.random.below(total);
        let mut verb = Verb::State;
        for (weight, one) in WEIGHTS {
            if rest < *weight {
                verb = *one;
                break;
            }
            rest -= weight;
        }
        let disturbed = match (verb, self.random.below(24)) {
            (_, 0) => Disturbed::Descriptors(3 + self.random.below(9)),
            (Verb::Start, 1..=3) => {
                Disturbed::Killed(Duration::from_micros(self.random.below(3000)))
            }
            _ => Disturbed::No,
        };
        self.call_disturbed(id, verb, disturbed);
    }

    /// Makes one call of a verb.
    pub fn call(&mut self, id: usize, verb: Verb) {
        self.call_disturbed(id, verb, Disturbed::No);
    }

    fn call_disturbed(&mut self, id: usize, verb: Verb, disturbed: Disturbed) {
        let verb = match verb {
            Verb::Create(_) => self.new_generation(),
            other => other,
        };
        let mut command = self.command(id, verb, disturbed);
        let (out, out_end) = memory_file();
        let (err, err_end) = memory_file();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::from(out_end))
            .stderr(Stdio::from(err_end));
        let begun = self.now();
        let mut child = command.spawn().expect("start the runtime");
        // The command's copies of the descriptors belong to the container now.
        drop(command);
        self.enter(Running {
            caller: self.number,
            pid: child.id(),
            id,
            verb,
            since: Instant::now(),
            hung: false,
        });
        if let Disturbed::Killed(after) = disturbed {
            std::thread::sleep(after);
            let _ = child.kill();
        }
        let status = child.wait().expect("wait for the runtime");
        let ended = self.now();
        let hung = self.leave();
        let (out, err) = (text_of(out), text_of(err));
        let exit = status.code().unwrap_or(-1);
        let killed = status.signal().is_some() && !hung;
        let starved = matches!(disturbed, Disturbed::Descriptors(_));
        let cut = killed || hung || (starved && exit != 0 && words::is_starved(&out, &err));
        let how = match disturbed {
            Disturbed::No => String::new(),
            Disturbed::Descriptors(count) => format!("with {count} descriptors "),
            Disturbed::Killed(after) => format!("killed after {after:?} "),
        };
        let text = format!("{how}{exit}: {} {}", out.trim(), words::message(err.trim()));
        let text = text.replace('\n', " | ");
        let mut record = |id, verb, meaning: Meaning| {
            let mut ended = ended;
            if killed && verb == Verb::Start {
                // The process may take effect a little after the call was killed.
                ended += 1_000_000_000;
            }
            let (op, text) = (
                Op {
                    verb,
                    answer: meaning.answer,
                },
                text.clone(),
            );
            self.records.push(Record {
                id,
                caller: self.number,
                timed: Timed { op, begun, ended },
                text,
                oddity: meaning.oddity,
            });
        };
        if hung {
            let oddity = Some(format!("{} hangs", words::name(verb)));
            let answer = Answer::Cut;
            return record(id, verb, Meaning { answer, oddity });
        }
        if cut {
            return record(id, verb, Answer::Cut.into());
        }
        if verb == Verb::List {
            for (id, meaning) in words::listed(&self.arena.ids, exit, &out, &err) {
                record(id, verb, meaning);
            }
            return;
        }
        record(id, verb, words::meaning(verb, exit, &out, &err));
    }

    fn now(&self) -> u64 {
        self.arena.start.elapsed().as_nanos() as u64
    }

    fn enter(&self, running: Running) {
        let mut list = self.arena.running.lock().expect("no caller panics");
        list.push(running);
    }

    /// Whether the call was killed because it hung.
    fn leave(&self) -> bool {
        let mut list = self.arena.running.lock().expect("no caller panics");
        let place = list.iter().position(|one| one.caller == self.number);
        place.is_some_and(|place| list.swap_remove(place).hung)
    }

    /// Writes the config of a container that can be distinguished from all others, from outside and
    /// from inside.
    fn new_generation(&self) -> Verb {
        let generation = self.arena.generation.fetch_add(1, Ordering::Relaxed);
        let mut config = self.arena.config.clone();
        config["hostname"] = json!(generation.to_string());
        config["annotations"] = json!({"generation": generation.to_string()});
        let variables = config["process"]["env"].as_array_mut().expect("env");
        variables.push(json!(format!("GENERATION={generation}")));
        if generation.is_multiple_of(2) {
            // A network namespace is more expensive than all others.
            let namespaces = config["linux"]["namespaces"].as_array_mut();
            let namespaces = namespaces.expect("namespaces");
            namespaces.retain(|one| one["type"] != "network");
        }
        fs::write(self.bundle.join("config.json"), config.to_string()).expect("write the config");
        Verb::Create(generation)
    }

    fn command(&self, id: usize, verb: Verb, disturbed: Disturbed) -> Command {
        let arena = self.arena;
        let mut command = match disturbed {
            Disturbed::Descriptors(count) => {
                let mut shell = Command::new("/bin/sh");
                let script = format!("ulimit -n {count}; exec \"$@\"");
                shell.args(["-c", &script, "sh"]).arg(&arena.runtime);
                shell
            }
            _ => Command::new(&arena.runtime),
        };
        command
            .arg("--root")
            .arg(&arena.root)
            .arg(words::name(verb));
        let id = &arena.ids[id];
        match verb {
            Verb::Create(_) => command.arg("--bundle").arg(&self.bundle).arg(id),
            Verb::Exec => command.args([id.as_str(), "sh", "-c", LOOK]),
            Verb::Kill => command.args([id, "KILL"]),
            Verb::Signal => command.args([id, "URG"]),
            Verb::DeleteForce => command.args(["--force", id]),
            Verb::List | Verb::Ps => command.args(["--format", "json"]),
            _ => command.arg(id),
        };
        if verb == Verb::Ps {
            command.arg(id);
        }
        command
    }
}

/// Whether the output of `exec` shows exactly the descriptors that the program should have.
pub fn has_right_descriptors(printed: &str) -> bool {
    printed.trim().ends_with(DESCRIPTORS)
}

/// A file in memory, open twice. A container that holds it uses no disk space, and it disappears
/// with the container.
pub fn memory_file() -> (File, File) {
    let fd = memfd_create(c"output", MFdFlags::MFD_CLOEXEC).expect("memfd_create");
    let file = File::from(fd);
    let other = file.try_clone().expect("another descriptor");
    (file, other)
}

fn text_of(mut file: File) -> String {
    let mut bytes = Vec::new();
    file.rewind()
        .and_then(|()| file.read_to_end(&mut bytes))
        .expect("read the output");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A directory with a config that each `create` replaces.
pub fn own_bundle(dir: &Path, number: usize) -> PathBuf {
    let bundle = dir.join(format!("caller{number}"));
    fs::create_dir_all(&bundle).expect("a bundle");
    bundle
}

/// Parses a status as `state` and `list` print it.
pub fn status(word: &str) -> Option<Status> {
    Some(match word {
        "creating" => Status::Creating,
        "created" => Status::Created,
        "running" => Status::Running,
        "paused" => Status::Paused,
        "stopped" => Status::Stopped,
        _ => return None,
    })
}
