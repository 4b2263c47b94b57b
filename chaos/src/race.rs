//! `chaos race`: many callers, few ids.

mod calls;
mod check;
mod crowd;
mod kernel;
mod model;
mod words;

use std::collections::BTreeMap;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork};
use serde_json::json;

use self::calls::{Arena, Caller, Record};
use self::check::{Verdict, check};
use self::model::{Answer, Verb};
pub use self::words::plain;
use crate::figures::Figures;
use crate::options::Options;
use crate::random::Random;
use crate::world::{World, run};

pub const USAGE: &str = "\
usage: scripts/chaos race [OPTION...]
16 concurrent callers create, start, exec, kill, inspect and delete containers with the same few ids.
Some order of the overlapping calls must allow each answer, with the right error text, and nothing may
be left. Some calls have few descriptors, and some calls of start are killed.
With --long until 10,000 containers have been created. Then 1,000 live at once: state and exec must
make as many system calls as with a single container, and list no more for each. --only rounds and
--only crowd do one of the two.
";

/// The number of concurrent calls.
const CALLERS: usize = 16;
/// The number of calls of each caller in a round.
const CALLS: usize = 30;
/// The number of containers that are created.
const LONG: u64 = 10_000;
/// The number of containers that live at once, in the long form and in the sample.
const CROWD: (usize, usize) = (1000, 100);
/// The time after which a call counts as hanging.
const PATIENCE: Duration = Duration::from_secs(60);
/// The time for which a call may wait for a paused container's program before the container is
/// resumed.
const BLOCKED: Duration = Duration::from_millis(500);

pub fn main(options: &Options) -> ExitCode {
    run(
        "race",
        &Options {
            jobs: 1,
            ..options.clone()
        },
        work,
    )
}

fn work(world: &World, options: &Options, figures: &mut Figures) {
    let end = Instant::now() + Duration::from_secs(options.seconds);
    let mut random = Random::new(options.seed);
    let bundle = world.sandbox.bundle().args(&["sleep", "1000"]).write();
    let mut round = Round {
        world,
        bundle: &bundle,
        generation: 1,
        number: 0,
    };
    let mut before = None;
    let mut created = 0;
    while if options.long {
        created < LONG
    } else {
        Instant::now() < end
    } && options.wants("rounds")
    {
        let sent = round.run(random.next());
        created += sent["counts"]["containers created"]
            .as_u64()
            .unwrap_or_default();
        figures.merge(&sent);
        round.number += 1;
        // Objects that the kernel creates once and keeps exist after the first round.
        before.get_or_insert_with(kernel::Objects::now);
    }
    figures.add("rounds", round.number);
    let crowd = if options.long { CROWD.0 } else { CROWD.1 };
    if options.wants("crowd") {
        crowd::crowd(world, &bundle, crowd, figures);
    }
    if let Some(before) = before {
        before.compare(created + crowd as u64, figures);
    }
}

/// A number of calls on new ids.
struct Round<'w> {
    world: &'w World,
    /// The root filesystem and the config of all containers.
    bundle: &'w Path,
    generation: u32,
    number: u64,
}

impl Round<'_> {
    /// Runs the callers in a separate process, because this one, the first of its namespace, reaps
    /// all orphans; then checks what is left.
    fn run(&mut self, seed: u64) -> serde_json::Value {
        let (mut file, mut sender) = calls::memory_file();
        // SAFETY: this process is single-threaded; the child continues as its copy.
        let child = match unsafe { fork() }.expect("fork") {
            ForkResult::Child => {
                let mut figures = Figures::default();
                let generation = self.race(seed, &mut figures);
                let sent = json!({"figures": figures.to_json(), "generation": generation});
                sender
                    .write_all(sent.to_string().as_bytes())
                    .expect("send the figures");
                std::process::exit(0);
            }
            ForkResult::Parent { child } => child,
        };
        while waitpid(None, None).map(|status| status.pid()) != Ok(Some(child)) {}
        let mut text = String::new();
        file.rewind()
            .and_then(|()| file.read_to_string(&mut text))
            .expect("the figures");
        let sent: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let mut figures = Figures::default();
        figures.merge(&sent["figures"]);
        match sent["generation"].as_u64() {
            Some(generation) => self.generation = generation as u32,
            None => figures.found("a round has failed", format!("seed {seed}")),
        }
        let left = self.world.leftovers();
        if !left.is_empty() {
            figures.found(
                "left behind",
                format!("round {}\n{}", self.number, left.join("\n")),
            );
            self.world.remove();
        }
        figures.to_json()
    }

    fn race(&self, seed: u64, figures: &mut Figures) -> u32 {
        let mut random = Random::new(seed);
        let sandbox = &self.world.sandbox;
        let text = std::fs::read(self.bundle.join("config.json")).expect("the config");
        let mut config: serde_json::Value = serde_json::from_slice(&text).expect("the config");
        config["root"]["path"] = json!(self.bundle.join("rootfs"));
        let count = 1 + random.below(5);
        let arena = Arena {
            runtime: sandbox.runtime.clone(),
            root: sandbox.root.clone(),
            ids: (0..count)
                .map(|number| format!("{}-r{}-{number}", sandbox.id, self.number))
                .collect(),
            config,
            generation: AtomicU32::new(self.generation),
            start: Instant::now(),
            running: Mutex::default(),
        };
        let caller = |number: usize, seed| Caller {
            arena: &arena,
            number,
            random: Random::new(seed),
            bundle: calls::own_bundle(&sandbox.dir, number),
            records: Vec::new(),
        };
        let mut records = Vec::new();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..CALLERS)
                .map(|number| {
                    let mut caller = caller(number, random.next());
                    scope.spawn(move || {
                        (0..CALLS).for_each(|_| caller.call_any());
                        caller.records
                    })
                })
                .collect();
            let helper = caller(CALLERS, 0);
            let (arena, over) = (&arena, &over);
            let helper = scope.spawn(move || help(arena, helper, over));
            for thread in threads {
                records.extend(thread.join().expect("no caller panics"));
            }
            over.store(true, Ordering::Relaxed);
            records.extend(helper.join().expect("the helper does not panic"));
        });
        let mut last = caller(CALLERS + 1, 0);
        for id in 0..arena.ids.len() {
            last.call(id, Verb::State);
            last.call(id, Verb::DeleteForce);
            last.call(id, Verb::State);
        }
        records.extend(last.records);
        judge(self.number, &arena, records, figures);
        arena.generation.into_inner()
    }
}

/// Resumes containers that calls wait for, and kills calls that hang.
fn help<'a>(arena: &Arena, mut caller: Caller<'a>, over: &AtomicBool) -> Vec<Record> {
    while !over.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(20));
        let mut running = arena.running.lock().expect("no caller panics");
        for one in running.iter_mut() {
            if one.since.elapsed() > PATIENCE {
                one.hung = true;
                let _ = kill(Pid::from_raw(one.pid as i32), Signal::SIGKILL);
            }
        }
        let mut blocked: Vec<usize> = running
            .iter()
            .filter(|one| matches!(one.verb, Verb::Start | Verb::Exec))
            .filter(|one| one.since.elapsed() > BLOCKED)
            .map(|one| one.id)
            .collect();
        drop(running);
        blocked.sort_unstable();
        blocked.dedup();
        for id in blocked {
            caller.call(id, Verb::Resume);
        }
    }
    caller.records
}

/// Checks the answers, id by id.
fn judge(round: u64, arena: &Arena, records: Vec<Record>, figures: &mut Figures) {
    let mut of_ids: BTreeMap<usize, Vec<Record>> = BTreeMap::new();
    for record in records {
        figures.add("calls", 1);
        figures.add(
            &format!("calls of {}", words::name(record.timed.op.verb)),
            1,
        );
        if matches!(record.timed.op.verb, Verb::Create(_)) && record.timed.op.answer == Answer::Done
        {
            figures.add("containers created", 1);
        }
        of_ids.entry(record.id).or_default().push(record);
    }
    for (id, mut records) in of_ids {
        records.sort_by_key(|record| record.timed.begun);
        for (index, record) in records.iter().enumerate() {
            if let Some(kind) = &record.oddity {
                let near = extract(&records, index);
                figures.found(kind, format!("round {round}, {}\n{near}", arena.ids[id]));
            }
        }
        let mut timed: Vec<_> = records.iter().map(|record| record.timed.clone()).collect();
        check::mark_processes_of_exec(&mut timed);
        match check(&timed) {
            Verdict::Allowed => figures.add("histories that some order allows", 1),
            Verdict::TooMany(_) => figures.add("histories with too many orders", 1),
            Verdict::NotAllowed(index, possible) => {
                let op = records[index].timed.op;
                let kind = format!(
                    "no order allows that {} answers {}",
                    words::name(op.verb),
                    plain(&format!("{:?}", op.answer))
                );
                let possible: Vec<_> = possible.iter().map(ToString::to_string).collect();
                let text = format!(
                    "round {round}, {}: possible was: {}\n{}",
                    arena.ids[id],
                    possible.join("; "),
                    extract(&records, index)
                );
                figures.found(&kind, text);
            }
        }
    }
}

/// The number of calls shown before the one that is not allowed.
const SHOWN: usize = 14;

/// The last calls that ended before a call, and those that overlapped with it.
fn extract(records: &[Record], index: usize) -> String {
    let at = &records[index].timed;
    let mut near: Vec<&Record> = records
        .iter()
        .filter(|one| one.timed.begun <= at.ended)
        .collect();
    near.sort_by_key(|one| one.timed.ended);
    let overlapping = near
        .iter()
        .filter(|one| one.timed.ended >= at.begun)
        .count();
    let from = near.len().saturating_sub(overlapping + SHOWN);
    let micros = |time: u64| time / 1000;
    let lines: Vec<_> = near[from..]
        .iter()
        .map(|one| {
            let mark = if std::ptr::eq(*one, &records[index]) {
                ">"
            } else {
                " "
            };
            format!(
                "{mark} {:>8}..{:<8} {:>2} {:<24} {}",
                micros(one.timed.begun),
                micros(one.timed.ended),
                one.caller,
                format!("{:?}", one.timed.op.verb),
                one.text.chars().take(160).collect::<String>()
            )
        })
        .collect();
    lines.join("\n")
}
