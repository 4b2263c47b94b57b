//! Calls of programs, with output to files and a time limit.
//!
//! Output goes to files, never to pipes: a created container inherits the runtime's stdout and
//! stderr, so reading a pipe to its end would wait for the container.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;

/// The time limit for a command or a condition, after which the case fails. It guards against hangs
/// and is not an assertion about speed.
pub fn patience() -> Duration {
    let seconds = std::env::var("RUNTIME_TESTS_PATIENCE")
        .ok()
        .and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(30))
}

/// A change to the command, applied when it starts.
type Setting = Box<dyn FnOnce(&mut Command)>;

/// A call of a program that has not started yet.
pub struct Call {
    argv: Vec<OsString>,
    settings: Vec<Setting>,
    directory: PathBuf,
    stdin: Vec<u8>,
}

/// strace(1) and its first words, for [`Call::prefix`]. It prints nothing. The `options` say what
/// else it does: `-f` to the children too, `-e EXPRESSION`, `-P PATH`, `-o FILE`.
pub fn strace<'w>(options: &[&'w str]) -> Vec<&'w str> {
    [&["strace", "-qq", "-o", "/dev/null"], options].concat()
}

impl Call {
    /// A call of `program`, with output files in `directory`.
    pub fn new(program: impl AsRef<OsStr>, directory: &Path) -> Self {
        Self {
            argv: vec![program.as_ref().to_owned()],
            settings: Vec::new(),
            directory: directory.to_owned(),
            stdin: Vec::new(),
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.argv
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(self, arg: impl AsRef<OsStr>) -> Self {
        self.args([arg])
    }

    /// Puts arguments before the program: `sh -c 'exec 3<file; exec "$@"' sh`, `unshare -m`.
    #[must_use]
    pub fn prefix<S: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.argv
            .splice(0..0, words.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        let (name, value) = (name.to_owned(), value.as_ref().to_owned());
        self.settings.push(Box::new(move |command| {
            command.env(name, value);
        }));
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn cwd(mut self, directory: impl AsRef<Path>) -> Self {
        let directory = directory.as_ref().to_owned();
        self.settings.push(Box::new(move |command| {
            command.current_dir(directory);
        }));
        self
    }

    /// Uses a terminal for the three standard streams.
    #[must_use]
    pub fn terminal(mut self, slave: std::os::fd::OwnedFd) -> Self {
        self.settings.push(Box::new(move |command| {
            let stream = || Stdio::from(slave.try_clone().expect("another descriptor"));
            command.stdin(stream()).stdout(stream()).stderr(stream());
        }));
        self
    }

    /// Lets this thread trace the program, which stops when it is executed. ptrace(2).
    #[must_use]
    pub fn traced(mut self) -> Self {
        self.settings.push(Box::new(|command| {
            let trace = || nix::sys::ptrace::traceme().map_err(std::io::Error::from);
            // SAFETY: the closure makes one system call and allocates no memory.
            unsafe { command.pre_exec(trace) };
        }));
        self
    }

    /// Makes every open(2) of `file` fail, by its path or by its name relative to a directory
    /// descriptor. The case needs strace.
    #[must_use]
    pub fn denied(self, file: &Path, error: &str) -> Self {
        let inject = format!("inject=openat:error={error}");
        let name = file.file_name().and_then(OsStr::to_str).expect("UTF-8");
        let path = file.to_str().expect("UTF-8");
        self.prefix(strace(&["-e", &inject, "-P", path, "-P", name]))
    }

    /// Stops the first process that makes the system call `call`, with the file `name` if given,
    /// after the call. [`Sandbox::stopped`](crate::Sandbox::stopped) waits for it.
    #[must_use]
    pub fn stopping(self, call: &str, name: Option<&str>) -> Self {
        let file: Vec<_> = name.into_iter().flat_map(|name| ["-P", name]).collect();
        self.stopping_at(call, 1, &file)
    }

    /// The same for the `number`th of these calls of a process. `options` are more options of
    /// strace(1).
    #[must_use]
    pub fn stopping_at(self, call: &str, number: usize, options: &[&str]) -> Self {
        let trace = self.directory.join("trace");
        let inject = format!("inject={call}:signal=SIGSTOP:when={number}");
        let trace = trace.to_str().expect("UTF-8");
        let options = [&["-f", "-e", &inject, "-o", trace], options].concat();
        self.prefix(strace(&options))
    }

    /// The content of standard input, which is empty by default.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Starts the program.
    #[track_caller]
    pub fn spawn(self) -> Running {
        static COUNTER: AtomicUsize = AtomicUsize::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = |kind: &str| self.directory.join(format!("{number:03}.{kind}"));
        let (stdin, stdout, stderr) = (path("stdin"), path("stdout"), path("stderr"));
        File::create(&stdin)
            .and_then(|mut file| file.write_all(&self.stdin))
            .expect("stdin file");
        let mut command = Command::new(&self.argv[0]);
        command
            .args(&self.argv[1..])
            .stdin(File::open(stdin).expect("stdin file"))
            .stdout(Stdio::from(File::create(&stdout).expect("stdout file")))
            .stderr(Stdio::from(File::create(&stderr).expect("stderr file")))
            .process_group(0);
        for setting in self.settings {
            setting(&mut command);
        }
        let line: Vec<_> = self.argv.iter().map(|arg| arg.to_string_lossy()).collect();
        let line = line.join(" ");
        match command.spawn() {
            Ok(child) => Running {
                child,
                line,
                stdout,
                stderr,
            },
            Err(error) => panic!("cannot run {line}: {error}"),
        }
    }

    /// Runs the program and waits for its end.
    #[track_caller]
    pub fn run(self) -> Output {
        self.spawn().finish()
    }
}

/// A running program.
pub struct Running {
    child: Child,
    line: String,
    /// The file with its standard output, and with that of a container that it has created.
    pub stdout: PathBuf,
    /// The file with its standard error, and with that of a container that it has created.
    pub stderr: PathBuf,
}

impl Running {
    /// The program's process id.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Whether it is still running.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends it a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).expect("signal the program");
    }

    /// Waits for its end. If it hangs, kills its process group and fails the case.
    #[track_caller]
    pub fn finish(self) -> Output {
        let (output, hung) = self.end();
        assert!(!hung, "killed after {:?}\n{output}", patience());
        output
    }

    /// Waits for its end or kills it. Returns the output and whether it hung.
    pub(crate) fn end(mut self) -> (Output, bool) {
        let pid = self.pid();
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || sender.send(self.child.wait()));
        let status = receiver.recv_timeout(patience());
        let hung = status.is_err();
        if hung {
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let status = status
            .unwrap_or_else(|_| Ok(ExitStatus::from_raw(libc::SIGKILL)))
            .expect("wait");
        (
            Output::read(status, &self.stdout, &self.stderr, self.line),
            hung,
        )
    }

    /// Its output, for a caller that has reaped it by wait(2).
    pub(crate) fn ended(self, status: WaitStatus) -> Output {
        let status = ExitStatus::from_raw(match status {
            WaitStatus::Exited(_, code) => code << 8,
            WaitStatus::Signaled(_, signal, _) => signal as i32,
            other => panic!("unexpected wait status {other:?}"),
        });
        Output::read(status, &self.stdout, &self.stderr, self.line)
    }
}

/// The result of a program.
#[derive(Debug)]
pub struct Output {
    /// Its wait status.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    line: String,
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            status,
            stdout,
            stderr,
            line,
        } = self;
        write!(
            f,
            "$ {line}\n{status}\n--- stdout\n{stdout}--- stderr\n{stderr}"
        )
    }
}

impl Output {
    fn read(status: ExitStatus, stdout: &Path, stderr: &Path, line: String) -> Self {
        let read = |path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        Self {
            status,
            stdout: read(stdout),
            stderr: read(stderr),
            line,
        }
    }

    /// The exit status; 128+n if signal n ended it.
    pub fn code(&self) -> i32 {
        self.status
            .code()
            .unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// Asserts success.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(self.status.success(), "expected success\n{self}");
        self
    }

    /// Asserts the exit status.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "expected exit status {code}\n{self}");
        self
    }

    /// Asserts a regular failure: a nonzero exit status (no signal), and text on stderr.
    #[track_caller]
    pub fn fails(self) -> Self {
        let orderly = self.status.code().is_some_and(|code| code != 0);
        assert!(orderly, "expected a failure\n{self}");
        assert!(
            !self.stderr.trim().is_empty(),
            "expected an error message\n{self}"
        );
        self
    }

    /// Asserts a regular failure whose message contains `text`.
    #[track_caller]
    pub fn fails_with(self, text: &str) -> Self {
        let output = self.fails();
        assert!(
            output.stderr.contains(text),
            "expected the message {text:?}\n{output}"
        );
        output
    }

    /// Asserts standard output, except for white space at both ends.
    #[track_caller]
    pub fn prints(self, text: &str) -> Self {
        assert_eq!(
            self.stdout.trim(),
            text.trim(),
            "expected this output\n{self}"
        );
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        match serde_json::from_str(&self.stdout) {
            Ok(value) => value,
            Err(error) => panic!("expected JSON: {error}\n{self}"),
        }
    }
}
