//! `--timings`, and the steps in the debug log: how long the runtime took, by phase and by step.
//!
//! A verb that is asked for neither has no clock: every method is then one branch.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::fcntl::OFlag;
use serde_json::Value;

use crate::error::{Call as _, Context as _};
use crate::json::object;
use crate::log::Log;
use crate::plan::{Found, Plan};
use crate::run::protocol::StepTime;
use crate::sorted::sorted;

/// How many of the slowest steps are printed.
const SLOWEST: usize = 5;

/// Measures one verb.
#[derive(Debug)]
pub struct Timings<'a> {
    log: &'a Log,
    /// `--timings`
    asked: bool,
    measured: Option<RefCell<Measured>>,
}

#[derive(Debug)]
struct Measured {
    /// The phases that have ended, in the order of their beginning.
    phases: Vec<(&'static str, Duration)>,
    /// The present phase, and when it began.
    present: (&'static str, Instant),
    steps: Vec<Step>,
    /// The pipe into which init writes how long its steps take.
    of_init: Option<OwnedFd>,
}

/// A step that has been executed.
#[derive(Debug)]
struct Step {
    phase: &'static str,
    name: &'static str,
    what: String,
    field: String,
    took: Duration,
}

impl<'a> Timings<'a> {
    /// Begins with the phase `plan`, if `--timings` is given (`asked`) or the log has debug lines.
    pub fn new(log: &'a Log, asked: bool) -> Self {
        let measured = (asked || log.debugs()).then(|| {
            RefCell::new(Measured {
                phases: Vec::new(),
                present: ("plan", Instant::now()),
                steps: Vec::new(),
                of_init: None,
            })
        });
        Self {
            log,
            asked,
            measured,
        }
    }

    /// Ends the present phase and begins another one, or continues one that has ended.
    pub fn phase(&self, name: &'static str) {
        if let Some(measured) = &self.measured {
            measured.borrow_mut().begin(name);
        }
    }

    /// Carries out a step of the phase that `explain` names, and writes it to the debug log.
    ///
    /// # Errors
    /// Those of `act`.
    pub(super) fn step(
        &self,
        phase: &'static str,
        found: Found,
        act: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let Some(measured) = &self.measured else {
            return act();
        };
        let began = Instant::now();
        act()?;
        let step = Step::new(phase, found, began.elapsed());
        self.log.debug_line(|| step.text());
        measured.borrow_mut().steps.push(step);
        Ok(())
    }

    /// The end of a pipe for the times of init's steps, if they are measured.
    ///
    /// # Errors
    /// pipe2(2) failed.
    pub(super) fn of_init(&self) -> Result<Option<OwnedFd>> {
        let Some(measured) = &self.measured else {
            return Ok(None);
        };
        let pipe = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK);
        let (read, write) = pipe.call("pipe2").context("--timings")?;
        measured.borrow_mut().of_init = Some(read);
        Ok(Some(write))
    }

    /// Reads how long the steps of init took, and writes them to the debug log.
    pub fn collect(&self, plan: &Plan) {
        let Some(measured) = &self.measured else {
            return;
        };
        let measured = &mut *measured.borrow_mut();
        let Some(pipe) = &measured.of_init else {
            return;
        };
        for StepTime { step, took } in StepTime::read_all(pipe.as_fd()) {
            let Some(found) = plan.at(step) else {
                continue;
            };
            let step = Step::new(step.list.phase(), found, took);
            self.log.debug_line(|| step.text());
            measured.steps.push(step);
        }
    }

    /// Ends the last phase, and prints what was measured: for `--timings` as text on standard
    /// error, unless the log is JSON; otherwise as one line of the log.
    pub fn finish(&self) {
        let Some(measured) = &self.measured else {
            return;
        };
        let mut measured = measured.borrow_mut();
        measured.begin("");
        if self.asked && !self.log.is_json() {
            // The verb has worked, and does not fail because standard error is closed.
            drop(std::io::stderr().write_all(measured.text().as_bytes()));
        } else {
            self.log
                .debug_data(&measured.summary(), ("timings", measured.json()));
        }
    }
}

impl Measured {
    fn begin(&mut self, name: &'static str) {
        let now = Instant::now();
        let (ended, began) = std::mem::replace(&mut self.present, (name, now));
        let took = now - began;
        match self.phases.iter_mut().find(|(phase, _)| *phase == ended) {
            Some((_, sum)) => *sum += took,
            None => self.phases.push((ended, took)),
        }
    }

    fn total(&self) -> Duration {
        self.phases.iter().map(|(_, took)| took).sum()
    }

    fn slowest(&self) -> Vec<&Step> {
        let times = self.steps.iter().map(|step| Reverse(step.took)).zip(0..);
        let mut slowest = sorted(times.collect());
        slowest.truncate(SLOWEST);
        slowest.into_iter().map(|(_, at)| &self.steps[at]).collect()
    }

    /// One line for each phase, then one for each of the slowest steps.
    fn text(&self) -> String {
        let mut text = String::new();
        let phases = self.phases.iter().copied();
        for (name, took) in phases.chain([("total", self.total())]) {
            let _ = writeln!(text, "{name:<8} {:>10}", milliseconds(took));
        }
        for step in self.slowest() {
            let _ = writeln!(
                text,
                "step     {:>10}  {}",
                milliseconds(step.took),
                step.line()
            );
        }
        text
    }

    fn summary(&self) -> String {
        let mut text = format!("timings: total {}", milliseconds(self.total()));
        for (name, took) in &self.phases {
            let _ = write!(text, ", {name} {}", milliseconds(*took));
        }
        text
    }

    fn json(&self) -> Value {
        let phases = self.phases.iter();
        let phases: Vec<_> = phases
            .map(|(name, took)| object! { "phase": *name, "us": microseconds(*took) })
            .collect();
        let slowest = self.slowest().into_iter();
        let slowest: Vec<_> = slowest.map(Step::json).collect();
        let total = microseconds(self.total());
        object! { "total_us": total, "phases": phases, "slowest": slowest }
    }
}

impl Step {
    fn new(phase: &'static str, found: Found, took: Duration) -> Self {
        Self {
            phase,
            name: found.step.name(),
            what: found.step.what(),
            field: found.field.to_owned(),
            took,
        }
    }

    /// As `explain` prints it.
    fn line(&self) -> String {
        format!("{:<8} {}  <- {}", self.phase, self.what, self.field)
    }

    fn text(&self) -> String {
        format!("{}, {}", self.line(), milliseconds(self.took))
    }

    /// The members that `explain --json` has, and the time.
    fn json(&self) -> Value {
        object! {
            "phase": self.phase,
            "step": self.name,
            "what": self.what.as_str(),
            "config": self.field.as_str(),
            "us": microseconds(self.took),
        }
    }
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn milliseconds(time: Duration) -> String {
    let time = microseconds(time);
    format!("{}.{:03} ms", time / 1000, time % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_that_continues_is_one() {
        let mut measured = Measured {
            phases: Vec::new(),
            present: ("init", Instant::now()),
            steps: Vec::new(),
            of_init: None,
        };
        for name in ["hooks", "init", ""] {
            measured.begin(name);
        }
        let names: Vec<_> = measured.phases.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["init", "hooks"]);
    }

    #[test]
    fn the_text_has_the_slowest_steps_first() {
        let step = |what: &str, took| Step {
            phase: "prepare",
            name: "cgroup-write",
            what: what.to_owned(),
            field: "linux.resources".to_owned(),
            took: Duration::from_micros(took),
        };
        let measured = Measured {
            phases: vec![("plan", Duration::from_micros(12_003))],
            present: ("", Instant::now()),
            steps: vec![step("write a", 7), step("write b", 1450)],
            of_init: None,
        };
        let expected = "\
plan      12.003 ms
total     12.003 ms
step       1.450 ms  prepare  write b  <- linux.resources
step       0.007 ms  prepare  write a  <- linux.resources
";
        assert_eq!(measured.text(), expected);
        assert_eq!(
            measured.summary(),
            "timings: total 12.003 ms, plan 12.003 ms"
        );
    }
}
