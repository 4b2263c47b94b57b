//! A call of the runtime under a tracer, which disturbs it at one point.

use std::collections::HashMap;
use std::ffi::{CString, OsString};
use std::fs::{self, File};
use std::io::Result;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::ptr::null;
use std::time::Duration;

use bench::trace::{self, Call, Ended, Stop, Then, Tracer};

use crate::names;
use crate::world::BASE;

/// The time after which a call counts as hanging.
const PATIENCE: Duration = Duration::from_secs(10);

/// The number of times that a call returns EINTR when it does so forever. A retry is correct,
/// because real signals do not come endlessly.
const INTERRUPTIONS: usize = 1000;

/// A process that repeats the same system calls this many times hangs.
const ENDLESS: usize = 20_000;

/// The maximum number of failed calls whose objects are recorded.
const OBJECTS: usize = 50;

/// The number of system calls before a hang that are reported.
const LAST: usize = 12;

/// One of the system calls that a verb makes: the n-th with this number by this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Point {
    /// 0 for the runtime, then its children in the order of their creation.
    pub process: usize,
    pub number: i64,
    /// Starts at 1.
    pub nth: usize,
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            process,
            number,
            nth,
        } = self;
        let process = match process {
            0 => "the runtime".to_owned(),
            n => format!("child {n}"),
        };
        write!(f, "{} number {nth} of {process}", names::call(*number))
    }
}

/// The disturbance at the point.
#[derive(Clone, Copy, Debug)]
pub enum Harm {
    /// The process is killed before the system call.
    Kill,
    /// The system call returns this errno once, or every such call does from there on, in any
    /// process.
    Fail { errno: i32, for_ever: bool },
}

/// The result of a call.
pub struct Disturbed {
    pub ended: Ended,
    /// The system calls in their order.
    pub points: Vec<Point>,
    /// If the point was reached, the strings and files in the arguments of the failed calls.
    pub reached: Option<Vec<String>>,
    /// The file with the output, including that of a container that keeps running.
    pub stdout: PathBuf,
    pub stderr: String,
    /// Whether a process made system calls endlessly.
    pub endless: bool,
}

impl Disturbed {
    /// The exit status. `None` if a signal ended the runtime.
    pub fn code(&self) -> Option<i32> {
        libc::WIFEXITED(self.ended.status).then(|| libc::WEXITSTATUS(self.ended.status))
    }

    /// What was said, the last system calls, and what the processes were waiting in.
    pub fn of_a_hang(&self) -> String {
        let last = self.points.iter().rev().take(LAST).rev();
        let last: String = last.map(|point| format!("{point}\n")).collect();
        format!("{}{last}{}", self.stderr, self.ended.hung_in.join("\n"))
    }

    /// The output so far of the runtime and of its container.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stdout).unwrap_or_default()).into_owned()
    }
}

/// Runs a command line, with `harm` at the point. `attached` is a process, the init of a created
/// container, that is traced like a child.
///
/// # Errors
///
/// ptrace(2) or a file for the output failed.
pub fn call(
    words: &[OsString],
    attached: Option<i32>,
    harm: Option<(Point, Harm)>,
) -> Result<Disturbed> {
    let (stdout, stderr) = (
        Path::new(BASE).join("stdout"),
        Path::new(BASE).join("stderr"),
    );
    let (out, err) = (new_file(&stdout)?, new_file(&stderr)?);
    let input = File::open("/dev/null")?;
    let root = start(
        words,
        [&input, &out, &err].map(std::os::fd::AsRawFd::as_raw_fd),
    )?;
    let mut watch = Watch::new(harm);
    let mut tracer = Tracer::new(root, |stop| watch.at(stop)).patience(PATIENCE);
    if let Some(pid) = attached {
        tracer = tracer.attach(pid)?;
    }
    let ended = tracer.follow()?;
    Ok(Disturbed {
        ended,
        points: watch.points,
        reached: watch.reached,
        endless: watch.endless,
        stderr: String::from_utf8_lossy(&fs::read(&stderr)?).into_owned(),
        stdout,
    })
}

/// Creates a new file, because a container of an earlier call may still write to the old one.
fn new_file(path: &Path) -> Result<File> {
    let _ = fs::remove_file(path);
    File::options().create_new(true).append(true).open(path)
}

fn start(words: &[OsString], streams: [RawFd; 3]) -> Result<i32> {
    let strings: Vec<CString> = words
        .iter()
        .map(|word| CString::new(word.as_bytes()))
        .collect::<std::result::Result<_, _>>()?;
    let mut argv: Vec<_> = strings.iter().map(|word| word.as_ptr()).collect();
    argv.push(null());
    let environment = [c"PATH=/usr/sbin:/usr/bin:/sbin:/bin".as_ptr(), null()];
    // SAFETY: the closure makes only calls that are safe after fork(2). The pointers are to C
    // strings, and the arrays end with null. The streams' numbers are above 2, because this program
    // has its own streams.
    trace::start(|| unsafe {
        for (stream, fd) in streams.into_iter().enumerate() {
            libc::dup2(fd, stream as RawFd);
        }
        libc::setsid();
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0);
        libc::execve(argv[0], argv.as_ptr(), environment.as_ptr());
    })
}

/// Decides about each system call.
struct Watch {
    harm: Option<(Point, Harm)>,
    counts: HashMap<(usize, i64), usize>,
    points: Vec<Point>,
    reached: Option<Vec<String>>,
    injected: usize,
    endless: bool,
}

impl Watch {
    fn new(harm: Option<(Point, Harm)>) -> Self {
        Self {
            harm,
            counts: HashMap::new(),
            points: Vec::new(),
            reached: None,
            injected: 0,
            endless: false,
        }
    }

    fn at(&mut self, stop: Stop) -> Then {
        let Stop::Call(call) = stop else {
            return Then::GoOn;
        };
        let nth = self.counts.entry((call.process, call.number)).or_default();
        *nth += 1;
        let point = Point {
            process: call.process,
            number: call.number,
            nth: *nth,
        };
        if *nth > ENDLESS {
            self.endless = true;
            return Then::Kill;
        }
        self.points.push(point);
        self.decide(point, &call)
    }

    fn decide(&mut self, point: Point, call: &Call) -> Then {
        let Some((wanted, harm)) = self.harm else {
            return Then::GoOn;
        };
        let now = self.reached.is_none() && point == wanted;
        let again = self.reached.is_some() && point.number == wanted.number;
        match harm {
            Harm::Kill if now => {
                self.reached = Some(Vec::new());
                Then::Kill
            }
            Harm::Fail { errno, for_ever } if now || for_ever && again => self.fail(errno, call),
            _ => Then::GoOn,
        }
    }

    fn fail(&mut self, errno: i32, call: &Call) -> Then {
        self.injected += 1;
        if self.injected < OBJECTS {
            self.reached.get_or_insert_default().extend(objects(call));
        }
        match errno {
            libc::EINTR if self.injected > INTERRUPTIONS => Then::GoOn,
            // Linux closes the descriptor whatever close(2) returns.
            _ if call.number == libc::SYS_close => Then::MakeAndFail(errno),
            _ => Then::Fail(errno),
        }
    }
}

/// The objects of a system call: the strings that its arguments point to, and the files of its
/// descriptors.
fn objects(call: &Call) -> Vec<String> {
    let strings = call.args[..4]
        .iter()
        .filter_map(|arg| string_at(call.pid, *arg));
    let files = call.args[..2].iter().filter_map(|arg| {
        let link = fs::read_link(format!("/proc/{}/fd/{arg}", call.pid)).ok()?;
        Some(link.to_string_lossy().into_owned())
    });
    strings.chain(files).collect()
}

/// A string of printable characters in another process's memory.
fn string_at(pid: i32, address: u64) -> Option<String> {
    let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut bytes = [0; 512];
    let length = memory.read_at(&mut bytes, address).ok()?;
    let end = bytes[..length].iter().position(|byte| *byte == 0)?;
    let text = std::str::from_utf8(&bytes[..end]).ok()?;
    let is_text = text.len() > 1 && text.chars().all(|letter| !letter.is_control());
    is_text.then(|| text.to_owned())
}
