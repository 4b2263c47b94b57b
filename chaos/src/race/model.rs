//! A model of a container: the answers that its state allows, and the effects of calls.
//!
//! ```text
//! Absent -> Creating -> Created -> Running
//!   ^          |           |          |     a killed one, at a moment that the kernel chooses
//!   |          |           v          v
//!   +------ Removing <-- Stopped <----+
//! ```
//! A created or running container may also be paused. Each container has its own number, its
//! generation, so that an answer about a previous container is not attributed to it.

use std::fmt;

/// The phase of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    Absent,
    /// The id is in use. For readers the container does not exist yet, or it is `creating`.
    Creating,
    Created,
    Running,
    Stopped,
    /// The id is still in use, but for readers the container no longer exists.
    Removing,
}

/// Everything that callers can observe about an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Container {
    pub phase: Phase,
    pub paused: bool,
    /// SIGKILL has been sent. The container stops at a moment that only the kernel knows.
    pub killed: bool,
    /// A start has reached init, which answers no other one.
    pub started: Started,
    /// 0 for an id that was never used.
    pub generation: u32,
}

/// The start that has reached init. Readers see a created container until init has executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Started {
    Not,
    /// Init executes the program, or ends, before the start does.
    Waits,
    /// The start has been killed. Init executes at a moment that the kernel chooses.
    Alone,
}

/// The status as `state` and `list` print it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    Creating,
    Created,
    Running,
    Paused,
    Stopped,
}

/// A verb, as the harness calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// With the generation of the new container.
    Create(u32),
    Start,
    Exec,
    /// `kill ID KILL`.
    Kill,
    /// `kill ID URG`, which has no effect on the program.
    Signal,
    State,
    /// The answer of `list` about one id.
    List,
    Delete,
    DeleteForce,
    Pause,
    Resume,
    Update,
    Ps,
}

/// The result of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// Success, without output to check.
    Done,
    /// The status, and the generation that has it.
    Status(Status, u32),
    /// `list` has no line for the id.
    NotListed,
    /// Whether `ps` has found processes.
    Processes(bool),
    /// `ps` has found processes, while an `exec` was under way that may have begun them: these end a
    /// little later than init, which is what `stopped` is about.
    ProcessesOfExec,
    /// `exec` has run a program in the container of this generation.
    Ran(u32),
    /// The process of `exec`, or the one to be started, was killed.
    Died,
    Refused(Refusal),
    /// The harness has killed the call or has left it too few descriptors, or the call failed with a
    /// text that is not an answer. It may have done a part of its work.
    Cut,
}

/// The reason why a call was refused: the classes of messages that engines match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// `container does not exist`.
    NotThere,
    /// The same, with the hint that a create has left its directory.
    HalfMade,
    /// `already exists`.
    Exists,
    /// `cannot start an already running container`.
    AlreadyRunning,
    /// `cannot start a container that has stopped`, `cannot exec in a stopped container`.
    HasStopped,
    /// `… that is being created`.
    BeingCreated,
    /// `… in a paused container`, `it is paused`.
    IsPaused,
    /// `container not running`.
    NotRunning,
    /// `container not paused`.
    NotPaused,
    /// `cannot delete container … that is not stopped: STATUS`.
    NotStopped(Status),
}

/// A call that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Op {
    pub verb: Verb,
    pub answer: Answer,
}

/// The progress of a call, in its own steps, and the container that it is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Progress {
    pub step: u8,
    generation: u32,
}

/// The step at which every call is done.
pub const DONE: Progress = Progress {
    step: u8::MAX,
    generation: 0,
};

/// The step of a delete that has found the container created.
const LOOKED: u8 = 3;

/// The step of a pause or a resume that has failed after it wrote to the freezer.
const UNDO: u8 = 2;

impl Container {
    /// An id that was never used.
    pub const NONE: Self = Self {
        phase: Phase::Absent,
        paused: false,
        killed: false,
        started: Started::Not,
        generation: 0,
    };

    /// The id is free again. The generation stays, so that the next container can be distinguished.
    fn gone(self) -> Self {
        Self {
            generation: self.generation,
            ..Self::NONE
        }
    }

    /// The progress of a call that has found this container.
    fn at(self, step: u8) -> Progress {
        Progress {
            step,
            generation: self.generation,
        }
    }

    fn lives(self) -> bool {
        matches!(self.phase, Phase::Created | Phase::Running)
    }

    /// Whether `state` may print this status. A killed process leaves the freezer to end.
    fn shows(self, status: Status) -> bool {
        match self.phase {
            Phase::Absent | Phase::Removing => false,
            Phase::Creating => status == Status::Creating,
            Phase::Stopped => status == Status::Stopped,
            Phase::Created | Phase::Running if self.paused && status == Status::Paused => true,
            Phase::Created | Phase::Running if self.paused && !self.killed => false,
            Phase::Created => status == Status::Created,
            Phase::Running => status == Status::Running,
        }
    }

    /// Whether `container does not exist` is a correct answer.
    fn is_out_of_sight(self) -> bool {
        matches!(
            self.phase,
            Phase::Absent | Phase::Creating | Phase::Removing
        )
    }

    /// A killed container stops by itself.
    fn stops(self) -> Option<Self> {
        (self.killed && self.lives()).then_some(Self {
            phase: Phase::Stopped,
            paused: false,
            killed: false,
            started: Started::Not,
            ..self
        })
    }

    fn can_execute(self) -> bool {
        self.phase == Phase::Created && !self.paused && !self.killed
    }

    /// Init executes the program, after a start of this kind has reached it.
    fn executes(self, started: Started) -> Option<Self> {
        (self.can_execute() && self.started == started).then_some(Self {
            phase: Phase::Running,
            started: Started::Not,
            ..self
        })
    }

    /// What becomes of the container without a call.
    pub fn changes(self) -> impl Iterator<Item = Self> {
        [self.stops(), self.executes(Started::Alone)]
            .into_iter()
            .flatten()
    }
}

impl Op {
    /// Whether the call is read-only. It may read as soon as the state that it sees exists: waiting
    /// does not affect other calls.
    pub fn only_looks(&self) -> bool {
        match (self.verb, self.answer) {
            (Verb::Start, _) if self.may_have_ended_init() => false,
            (Verb::Pause, _) if self.may_have_frozen() => false,
            (_, Answer::Refused(_) | Answer::Died) => {
                !matches!(self.verb, Verb::Create(_)) || {
                    self.answer == Answer::Refused(Refusal::Exists)
                }
            }
            (_, Answer::Cut) => false,
            (verb, _) => !matches!(
                verb,
                Verb::Create(_)
                    | Verb::Start
                    | Verb::Kill
                    | Verb::Delete
                    | Verb::DeleteForce
                    | Verb::Pause
                    | Verb::Resume
            ),
        }
    }

    /// Whether the call is a start whose init may have ended after the start had reached it.
    fn may_have_ended_init(&self) -> bool {
        let stopped = Answer::Refused(Refusal::HasStopped);
        self.verb == Verb::Start && [Answer::Died, stopped].contains(&self.answer)
    }

    /// Whether the call is a pause whose container may have been frozen before it stopped.
    fn may_have_frozen(&self) -> bool {
        let stopped = [Refusal::NotRunning, Refusal::NotThere].map(Answer::Refused);
        self.verb == Verb::Pause && stopped.contains(&self.answer)
    }

    /// Whether a read-only call can have seen this container.
    pub fn can_see(&self, it: Container) -> bool {
        match self.answer {
            Answer::Status(status, generation) => it.shows(status) && it.generation == generation,
            Answer::NotListed => it.is_out_of_sight(),
            Answer::Processes(true) => it.lives() || it.phase == Phase::Creating,
            Answer::ProcessesOfExec => {
                it.lives() || matches!(it.phase, Phase::Creating | Phase::Stopped)
            }
            Answer::Processes(false) => !it.lives() || it.killed,
            Answer::Ran(generation) => it.lives() && !it.paused && it.generation == generation,
            Answer::Died => it.killed || !it.lives(),
            Answer::Refused(refusal) => self.can_be_refused(refusal, it),
            Answer::Done => match self.verb {
                Verb::Signal => it.lives(),
                Verb::Update => it.lives() || it.phase == Phase::Creating,
                _ => false,
            },
            Answer::Cut => true,
        }
    }

    fn can_be_refused(&self, refusal: Refusal, it: Container) -> bool {
        match refusal {
            Refusal::NotThere => it.is_out_of_sight(),
            Refusal::HalfMade | Refusal::BeingCreated => it.phase == Phase::Creating,
            Refusal::Exists => it.phase != Phase::Absent,
            Refusal::AlreadyRunning => it.phase == Phase::Running || it.started != Started::Not,
            Refusal::HasStopped => it.phase == Phase::Stopped,
            Refusal::IsPaused => it.shows(Status::Paused),
            Refusal::NotRunning => matches!(it.phase, Phase::Creating | Phase::Stopped),
            Refusal::NotPaused => match it.phase {
                Phase::Absent | Phase::Removing => false,
                _ => !it.paused || it.killed,
            },
            Refusal::NotStopped(status) => it.shows(status),
        }
    }

    /// Whether the call may end here.
    pub fn is_done(&self, progress: Progress) -> bool {
        progress == DONE || (self.answer == Answer::Cut && progress.step == 0)
    }

    /// The next steps that the call may take, each with the resulting container.
    pub fn next(&self, it: Container, progress: Progress) -> Vec<(Container, Progress)> {
        if progress == DONE {
            return Vec::new();
        }
        if self.only_looks() {
            return Vec::from_iter(self.can_see(it).then_some((it, DONE)));
        }
        match self.verb {
            Verb::Create(generation) => self.create(it, progress, generation),
            Verb::Delete | Verb::DeleteForce => self.delete(it, progress),
            Verb::Pause | Verb::Resume => self.freeze_or_thaw(it, progress),
            Verb::Start => self.start(it, progress),
            Verb::Kill if it.lives() => vec![(Container { killed: true, ..it }, DONE)],
            _ => Vec::new(),
        }
    }

    /// Reaches init, which then executes the program, or ends before it has.
    fn start(&self, it: Container, progress: Progress) -> Vec<(Container, Progress)> {
        let reach = |started| Container { started, ..it };
        let can_start = it.can_execute() && it.started == Started::Not;
        let cut = self.answer == Answer::Cut;
        let mut next = Vec::new();
        if self.may_have_ended_init() && self.can_see(it) {
            next.push((it, DONE));
        }
        match progress.step {
            0 if can_start && cut => next.push((reach(Started::Alone), DONE)),
            0 if can_start => next.push((reach(Started::Waits), it.at(1))),
            1 if self.answer == Answer::Done && it.generation == progress.generation => {
                next.extend(it.executes(Started::Waits).map(|it| (it, DONE)));
            }
            _ => {}
        }
        next
    }

    /// Looks at the status, then writes to the freezer. The kernel accepts a value that the freezer
    /// has already, so two calls that overlap may both succeed, as in runc.
    fn freeze_or_thaw(&self, it: Container, progress: Progress) -> Vec<(Container, Progress)> {
        let pauses = self.verb == Verb::Pause;
        let own = it.generation == progress.generation;
        let set = |paused| Container { paused, ..it };
        if self.may_have_frozen() {
            let mut next = Vec::new();
            // The directory that the call holds may be that of an earlier container.
            if self.can_see(it) || (progress.step == UNDO && !own) {
                next.push((it, DONE));
            }
            if progress.step == 0 && it.lives() && (!it.paused || it.killed) {
                next.push((set(true), it.at(UNDO)));
            }
            return next;
        }
        match progress.step {
            // A killed container leaves the freezer, and may be frozen again.
            0 if it.lives() && (it.paused != pauses || (pauses && it.killed)) => {
                vec![(it, it.at(1))]
            }
            1 | UNDO if !own || !it.lives() => vec![(it, DONE)],
            1 if self.answer == Answer::Cut => vec![(it, DONE), (set(pauses), it.at(UNDO))],
            1 => vec![(set(pauses), DONE)],
            // A pause that fails later thaws the container again.
            UNDO => vec![(it, DONE), (set(!pauses), DONE)],
            _ => vec![],
        }
    }

    /// Takes the id, then completes the container; or fails because the id was deleted by force
    /// meanwhile. Others may have seen the container as created by then, and have deleted or killed
    /// it.
    fn create(
        &self,
        it: Container,
        progress: Progress,
        generation: u32,
    ) -> Vec<(Container, Progress)> {
        let at = |step| Progress { step, generation };
        let own = it.generation == generation;
        match progress.step {
            0 if it.phase == Phase::Absent => {
                let taken = Container {
                    phase: Phase::Creating,
                    generation,
                    ..Container::NONE
                };
                vec![(taken, at(1))]
            }
            1 => match self.answer {
                Answer::Done if own && it.phase == Phase::Creating => {
                    let phase = Phase::Created;
                    vec![(Container { phase, ..it }, DONE)]
                }
                Answer::Done => vec![],
                _ if own && it.phase == Phase::Creating => {
                    let phase = Phase::Created;
                    let mut next = self.undo(it, own);
                    next.push((Container { phase, ..it }, at(2)));
                    next
                }
                _ => self.undo(it, own),
            },
            2 => self.undo(it, own),
            _ => vec![],
        }
    }

    /// The end of a create that fails: it removes what it has made, unless another call has.
    fn undo(&self, it: Container, own: bool) -> Vec<(Container, Progress)> {
        let fails = it.killed || it.phase == Phase::Stopped || self.answer == Answer::Cut;
        match it.phase {
            Phase::Absent => vec![(it, DONE)],
            _ if !own => vec![(it, DONE)],
            Phase::Creating | Phase::Created | Phase::Stopped if fails => vec![(it.gone(), DONE)],
            _ => vec![],
        }
    }

    /// Kills a live container, waits until it has stopped, and removes it. All steps are about the
    /// container that the first one has found. Without --force the status is looked at first, and
    /// the container may be started before it is killed, as in runc.
    fn delete(&self, it: Container, progress: Progress) -> Vec<(Container, Progress)> {
        let force = self.verb == Verb::DeleteForce;
        let own = it.generation == progress.generation;
        let cut = self.answer == Answer::Cut;
        match (progress.step, it.phase) {
            (0, Phase::Absent | Phase::Removing) if force && !cut => vec![(it, DONE)],
            (0, Phase::Created) if !force => vec![(it, it.at(LOOKED))],
            (LOOKED, _) if own && it.lives() => vec![(Container { killed: true, ..it }, it.at(1))],
            (LOOKED, _) if own => vec![(it, it.at(1))],
            (LOOKED, _) if cut => vec![(it, DONE)],
            (0, Phase::Creating | Phase::Created | Phase::Running) if force => {
                vec![(Container { killed: true, ..it }, it.at(1))]
            }
            (0, Phase::Stopped) => vec![(it, it.at(1))],
            (1, _) if cut => vec![(it, DONE)],
            (1, Phase::Stopped | Phase::Creating) if own => {
                let phase = Phase::Removing;
                vec![(Container { phase, ..it }, it.at(2))]
            }
            (2, Phase::Removing) if own => vec![(it.gone(), DONE)],
            _ => vec![],
        }
    }
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.phase)?;
        if self.paused {
            f.write_str(", paused")?;
        }
        if self.killed {
            f.write_str(", killed")?;
        }
        if self.started != Started::Not {
            f.write_str(", started")?;
        }
        write!(f, " (generation {})", self.generation)
    }
}
