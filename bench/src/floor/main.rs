//! The floor: the system calls that a container requires, and nothing else.
//!
//! It executes a list of operations that `scripts/bench` has prepared from a `config.json`: the
//! same namespaces, mounts, masks, devices, capabilities and programs that a runtime creates for
//! that config. It parses no JSON, checks nothing, keeps no state but one pid, undoes nothing and
//! prints no error texts. No runtime that does this work can be faster, so the difference to the
//! floor is the time that a runtime can still save.
//!
//! ```text
//! floor nothing                        the start and end of a static program
//! floor run SCRIPT                     until the process ends; its exit status
//! floor create SCRIPT PIDFILE          until only execve(2) is left
//! floor start PIDFILE
//! floor kill PIDFILE SIGNAL
//! floor delete PIDFILE CGROUP
//! floor exec SCRIPT PIDFILE            joins, runs, waits; its exit status
//! ```
//!
//! A script has one operation per line, with values separated by tabs. Numbers are decimal, or
//! hexadecimal after `0x`. The operations before `clone` are the runtime's, the rest is init's.
#![no_main]

mod init;
mod kernel;
mod script;

use std::ffi::{CStr, c_char, c_int};

use kernel::{Died, check, die};
use script::{Op, Script};

/// The entry point. The start of the standard library is not part of a runtime's work.
///
/// # Safety
///
/// The C library calls it, with `argc` strings at `argv`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    // SAFETY: the C library passes argc strings that live as long as the process.
    let args: Vec<&'static CStr> = (0..argc as usize)
        .map(|i| unsafe { CStr::from_ptr(*argv.add(i)) })
        .collect();
    let verb = args.get(1).map_or(&b""[..], |verb| verb.to_bytes());
    match (verb, args.get(2..).unwrap_or_default()) {
        (b"nothing", _) => 0,
        (b"run", [script]) => run(script),
        (b"create", [script, pid_file]) => create(script, pid_file),
        (b"exec", [script, pid_file]) => exec(script, pid_file),
        (b"start", [pid_file]) => signal(pid_file, libc::SIGUSR1),
        (b"kill", [pid_file, number]) => {
            signal(pid_file, script::number(number.to_bytes()) as c_int)
        }
        (b"delete", [pid_file, cgroup]) => {
            kernel::remove_cgroup(cgroup);
            kernel::unlink(pid_file);
            0
        }
        _ => die(&Died("usage: see the head of main.rs", 0)),
    }
}

fn run(path: &CStr) -> c_int {
    let script = Script::load(path);
    let (pid, _) = clone(&script, -1);
    let status = kernel::wait(pid);
    for op in script.ops() {
        if let Op::Cgroup(path) = op {
            kernel::remove_cgroup(path);
        }
    }
    status
}

fn exec(path: &CStr, pid_file: &CStr) -> c_int {
    let script = Script::load(path);
    let container = kernel::read_pid(pid_file);
    let (pid, _) = clone(&script, kernel::open_process(container));
    kernel::wait(pid)
}

/// Leaves init waiting for SIGUSR1, and its pid in the file.
fn create(path: &CStr, pid_file: &CStr) -> c_int {
    let script = Script::load(path);
    let (pid, mut ready) = clone(&script, -1);
    ready.wait();
    kernel::write_pid(pid_file, pid);
    0
}

fn signal(pid_file: &CStr, number: c_int) -> c_int {
    // SAFETY: kill(2) takes two numbers.
    check(
        unsafe { libc::kill(kernel::read_pid(pid_file), number) }.into(),
        "kill",
    );
    0
}

/// Executes the runtime's part and clones init, which executes the rest and never returns.
/// `container` is the pidfd of the container to join.
fn clone(script: &Script, container: c_int) -> (i32, kernel::Ready) {
    let mut cgroup = -1;
    let ready = kernel::Ready::new(script.waits());
    let mut ops = script.ops();
    for op in ops.by_ref() {
        match op {
            Op::Cgroup(path) => cgroup = kernel::make_cgroup(path),
            Op::CgroupOf(path) => cgroup = kernel::open_cgroup(path),
            Op::CgroupFile(name, value) => kernel::write_at(cgroup, name, value),
            Op::DeviceProgram(file) => kernel::attach_device_program(cgroup, file),
            Op::Join(flags) => kernel::join(container, flags),
            Op::Clone(flags) => {
                return match kernel::clone(flags, cgroup) {
                    0 => init::main(ops, &ready, container),
                    pid => (pid, ready),
                };
            }
            _ => die(&Died("an operation of init before clone", 0)),
        }
    }
    die(&Died("no clone", 0))
}
