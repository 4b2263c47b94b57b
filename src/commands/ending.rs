//! Why a container has ended: a sentence and a JSON object for `wait`, and a warning of `run`.

use anyhow::Result;
use serde::Serialize;

use super::saved::Saved;
use crate::cgroup::{Memory, MemoryWatch, Scope, Shortage};
use crate::error::{Code, Error};
use crate::log::Log;
use crate::signal;
use crate::state::{Dir, Ended, State};
use crate::sys::end::End;

const KILL: u8 = 9;
const SYS: u8 = 31;
const KILL_STATUS: u8 = 128 + KILL;
const SYS_STATUS: u8 = 128 + SYS;

/// What is known about the end of a container.
#[derive(Clone, Debug)]
pub(super) struct Ending<'a> {
    pub id: &'a str,
    pub ended: Ended,
    /// `None` if the container has no cgroup of its own.
    pub memory: Option<Memory>,
    /// Whether the container has a seccomp profile. `None` if its config cannot be read.
    pub seccomp: Option<bool>,
    /// Whether a `delete` ended the container, or removed it meanwhile. Only looked at after
    /// SIGKILL.
    pub deleted: bool,
}

/// The reasons in the JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Reason {
    Exited,
    Signal,
    OutOfMemory,
    Seccomp,
    Deleted,
    NotStarted,
    Unknown,
}

/// The output of `wait --json`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct View<'a> {
    id: &'a str,
    reason: Reason,
    status: Option<u8>,
    exit_code: Option<u8>,
    signal: Option<String>,
    oom: Option<&'a Shortage>,
    message: String,
}

impl Ending<'_> {
    /// The status as a shell counts it. `None` if it is not known.
    pub(super) fn status(&self) -> Option<u8> {
        self.end().map(End::status)
    }

    fn end(&self) -> Option<End> {
        match self.ended {
            Ended::Known { end, .. } => Some(end),
            Ended::Reaped | Ended::Untold | Ended::Denied => None,
        }
    }

    fn shortage(&self) -> Option<&Shortage> {
        match &self.memory {
            Some(Memory::Short(shortage)) => Some(shortage),
            _ => None,
        }
    }

    fn reason(&self) -> Reason {
        let (end, executed) = match self.ended {
            Ended::Known { end, executed } => (end, executed),
            Ended::Reaped | Ended::Untold | Ended::Denied => return Reason::Unknown,
        };
        match end {
            End::Killed(KILL) if self.shortage().is_some() => Reason::OutOfMemory,
            End::Killed(KILL) if self.deleted => Reason::Deleted,
            _ if executed == Some(false) => Reason::NotStarted,
            End::Killed(SYS) if self.seccomp != Some(false) => Reason::Seccomp,
            End::Killed(_) => Reason::Signal,
            End::Exited(_) => Reason::Exited,
        }
    }

    /// What has happened, as a sentence.
    pub(super) fn text(&self) -> String {
        let id = self.id;
        match self.end() {
            None => format!(
                "container {id} has ended, but its status is not known: {}{}",
                self.why_unknown(),
                self.kills()
            ),
            Some(end) if self.reason() == Reason::NotStarted => {
                format!("container {id} ended before it executed its program: {end}")
            }
            Some(End::Exited(status)) => {
                let more = match status {
                    KILL_STATUS => self.kills(),
                    SYS_STATUS if self.seccomp == Some(true) => {
                        "; its seccomp profile has probably killed one of its processes (SIGSYS)"
                            .into()
                    }
                    _ => String::new(),
                };
                format!("container {id} exited with status {status}{more}")
            }
            Some(End::Killed(number)) => {
                let name = signal::name(number.into());
                let name = format!("container {id} was killed by signal {number} ({name})");
                name + &self.why_killed(number)
            }
        }
    }

    fn why_unknown(&self) -> &'static str {
        match self.ended {
            Ended::Reaped => {
                "its parent had reaped it before this command began, and the kernel does not keep \
                 the status"
            }
            Ended::Untold => {
                "its parent has reaped it, and only Linux 6.15 or newer keeps the status for others"
            }
            Ended::Known { .. } | Ended::Denied => "the caller may not inspect its process",
        }
    }

    fn why_killed(&self, signal: u8) -> String {
        match self.reason() {
            Reason::OutOfMemory => return self.kills(),
            Reason::Deleted => return " when it was deleted".into(),
            _ => {}
        }
        match (signal, self.seccomp) {
            (KILL, _) => match &self.memory {
                Some(Memory::Uncounted) => {
                    "; whether for lack of memory is not known: its cgroup has no memory controller"
                }
                Some(Memory::Gone) => {
                    "; whether for lack of memory is not known: its cgroup is gone"
                }
                None => "; whether for lack of memory is not known: it has no cgroup of its own",
                Some(Memory::Enough | Memory::Short(_)) => {
                    ", which another process or the kernel sent, not for lack of memory"
                }
            },
            (SYS, Some(false)) => {
                ": another process sent it, or a filter of its own forbids a system call, because \
                 the config has no linux.seccomp"
            }
            (SYS, _) => {
                ": linux.seccomp does not allow a system call that it made (the audit record of \
                 type 1326 in the kernel's log has the call's number)"
            }
            _ => "",
        }
        .to_owned()
    }

    /// The kills for lack of memory, as the end of a sentence; empty if there were none. The kernel
    /// counts them by cgroup, so it is not known whether init was among the killed.
    fn kills(&self) -> String {
        let Some(shortage) = self.shortage() else {
            return String::new();
        };
        let Shortage { kills, peak, .. } = shortage;
        let peak = peak.map_or(String::new(), |peak| {
            format!(", the peak usage was {}", size(peak))
        });
        format!(
            "; for lack of memory the kernel killed {kills} of its processes: {}{peak}{}",
            cause(shortage),
            remedy(shortage.scope)
        )
    }

    /// The object that `wait --json` prints.
    ///
    /// # Errors
    /// Never.
    pub(super) fn json(&self) -> Result<String> {
        let end = self.end();
        super::pretty(&View {
            id: self.id,
            reason: self.reason(),
            status: self.status(),
            exit_code: match end {
                Some(End::Exited(status)) => Some(status),
                _ => None,
            },
            signal: match end {
                Some(End::Killed(number)) => Some(signal::name(number.into())),
                _ => None,
            },
            oom: self.shortage(),
            message: self.text(),
        })
    }
}

fn cause(shortage: &Shortage) -> String {
    let cgroup = shortage.cgroup.as_deref().unwrap_or_default();
    let limit = match shortage.limit {
        Some(limit) => format!("the limit of {} ", size(limit)),
        None => "a limit ".to_owned(),
    };
    match shortage.scope {
        Scope::Container | Scope::Above => format!("{limit}in {cgroup}/memory.max was reached"),
        Scope::Below => "the limit of a cgroup that the container has made was reached".to_owned(),
        Scope::Host => "the host had no memory left".to_owned(),
    }
}

fn remedy(scope: Scope) -> &'static str {
    match scope {
        Scope::Container => " (raise linux.resources.memory.limit, or see update --memory)",
        Scope::Above => " (raise the limit of that cgroup, or move the container out of it)",
        Scope::Below | Scope::Host => "",
    }
}

/// A number of bytes in the largest unit that divides it.
fn size(bytes: u64) -> String {
    const KIB: u64 = 1024;
    const MIB: u64 = 1024 * KIB;
    match bytes {
        _ if bytes.is_multiple_of(MIB) => format!("{} MiB", bytes / MIB),
        _ if bytes.is_multiple_of(KIB) => format!("{} KiB", bytes / KIB),
        _ => format!("{bytes} bytes"),
    }
}

/// Whether the container's config has a seccomp profile. `None` if the config cannot be read.
pub(super) fn has_seccomp(dir: &Dir, state: &State) -> Option<bool> {
    let saved = Saved::read(dir, state).ok()?;
    Some(saved.config.linux.seccomp.is_some())
}

/// The container's cgroup, for what it says about memory. `None` without a cgroup of its own.
///
/// # Errors
/// The cgroup exists and cannot be read, or the container has been deleted.
pub(super) fn watch_memory(dir: &Dir, state: &State) -> Result<Option<Option<MemoryWatch>>> {
    let Some(place) = &state.cgroup else {
        return Ok(None);
    };
    let cgroup = place.place().open()?;
    dir.check_current()?;
    Ok(Some(cgroup.map(MemoryWatch::new).transpose()?))
}

/// The exit status of a runtime that has stayed with the container. Warns if it does not explain the
/// end.
pub(super) fn status(log: &Log, dir: &Dir, state: &State, end: End) -> u8 {
    remark(log, dir, state, end);
    end.status()
}

/// Warns of an end that the exit status alone does not explain: the status of SIGKILL or of SIGSYS.
/// A reason that cannot be looked at is part of the warning, and never a failure of `run`.
fn remark(log: &Log, dir: &Dir, state: &State, end: End) {
    if ![KILL_STATUS, SYS_STATUS].contains(&end.status()) {
        return;
    }
    let memory = match watch_memory(dir, state) {
        Ok(watch) => watch.map(|watch| watch.map_or(Memory::Gone, MemoryWatch::into_seen)),
        Err(error) => return log.warn_of(error.context("why the process was killed")),
    };
    let ending = Ending {
        id: &state.id,
        ended: Ended::Known {
            end,
            executed: Some(true),
        },
        memory,
        seccomp: has_seccomp(dir, state),
        deleted: matches!(dir.is_current(), Ok(false)),
    };
    let explained = match end {
        End::Killed(_) => true,
        End::Exited(KILL_STATUS) => ending.shortage().is_some(),
        End::Exited(_) => ending.seccomp == Some(true),
    };
    if explained {
        log.warn(Error::new(ending.text()).code_is(Code::WarningEnded));
    }
}
