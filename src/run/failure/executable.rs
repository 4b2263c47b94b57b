//! Explains why `args[0]` cannot be executed: which file is missing or unusable, and which file
//! needs it.
//!
//! Files are opened only through the descriptor of the container's root. Nothing in it is executed
//! or trusted.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use crate::error::{Code, Error, Result, Tail, errno_text};
use crate::plan::{Exec, InitStep, Plan};
use crate::sys::stat::Stat;
use crate::sys::{Fail, Sys, path, stat};

/// The longest chain of files that the kernel follows: the program and five interpreters.
/// fs/exec.c, exec_binprm().
const DEEPEST: usize = 6;
/// How many bytes of a file the kernel reads to recognise its format.
const HEAD: usize = 256;

/// The machines whose programs this host runs: ELF number, name, and whether their ELF files are
/// 64-bit.
const NATIVE: &[(u16, &str, bool)] = if cfg!(target_arch = "x86_64") {
    &[(62, "x86_64", true), (3, "i386", false), (6, "i486", false)]
} else if cfg!(target_arch = "aarch64") {
    &[(183, "aarch64", true), (40, "arm", false)]
} else if cfg!(target_arch = "riscv64") {
    &[(243, "riscv64", true)]
} else {
    &[]
};

fn error(name: &str, reason: impl std::fmt::Display) -> Error {
    let mut error = Error::new(format!("exec: {name:?}: {reason}"));
    error.tail = Tail::Nothing;
    error
}

/// Explains a lookup or an execve(2) that failed with `errno`.
pub fn explain(plan: &Plan, errno: Errno, root: BorrowedFd) -> Error {
    let Some(exec) = plan.exec() else {
        return error("", errno_text(errno));
    };
    let name = exec
        .args
        .first()
        .map_or_else(String::new, |name| name.to_string_lossy().into());
    if let Some((candidate, stat)) = likeliest(plan, exec, root) {
        let found = check(plan, candidate, root).err();
        return match (errno, found) {
            _ if stat.is(libc::S_IFDIR) => error(&name, "is a directory")
                .code_is(Code::ExecNotExecutable)
                .hint("process.args[0] must name a program"),
            (_, Some(found)) if found.errno == Some(errno) => found,
            (Errno::EACCES, _) => error(&name, "permission denied").hint(denied(candidate, stat)),
            (Errno::EPERM, _) if has_filter(plan) => error(&name, errno_text(errno))
                .hint("the filter of linux.seccomp may forbid execve"),
            _ => error(&name, errno_text(errno)),
        };
    }
    if name.contains('/') {
        let error = error(&name, format!("stat {name}: {}", errno_text(errno)));
        match errno {
            Errno::ENOENT | Errno::ENOTDIR => {
                error.hint("process.args[0] does not exist in the container")
            }
            _ => error,
        }
    } else {
        let looked = format!("looked for {}", list(exec));
        match errno {
            Errno::ENOENT | Errno::ENOTDIR => {
                error(&name, "executable file not found in $PATH").hint(looked)
            }
            _ => error(&name, errno_text(errno)).hint(looked),
        }
    }
}

/// The candidate that the failure is about: the first one that has an execute permission, otherwise
/// the first one that exists. execvp(3) reports the same one.
fn likeliest<'a>(plan: &Plan, exec: &'a Exec, root: BorrowedFd) -> Option<(&'a CStr, Stat)> {
    let mut existing = exec.candidates.iter().filter_map(|candidate| {
        let path = from_cwd(plan, candidate);
        let file = path::open_in_root(root, &path, libc::O_PATH).ok()?;
        Some((candidate.as_c_str(), stat::stat(file.as_fd()).ok()?))
    });
    let first = existing.next()?;
    let executable = |(_, stat): &(_, Stat)| stat.is(libc::S_IFREG) && stat.mode & 0o111 != 0;
    if executable(&first) {
        return Some(first);
    }
    Some(existing.find(executable).unwrap_or(first))
}

fn denied(candidate: &CStr, stat: Stat) -> String {
    let file = candidate.to_string_lossy();
    if !stat.is(libc::S_IFREG) {
        return format!("{file} is not a regular file");
    }
    let (mode, uid, gid) = (stat.mode & 0o7777, stat.uid, stat.gid);
    format!(
        "{file} has mode {mode:04o} and owner {uid}:{gid}, or lies below a directory or on a noexec mount that forbids it"
    )
}

fn has_filter(plan: &Plan) -> bool {
    let mut steps = plan.start.iter();
    steps.any(|planned| matches!(planned.step, InitStep::Seccomp { .. }))
}

fn list(exec: &Exec) -> String {
    let paths: Vec<_> = exec
        .candidates
        .iter()
        .map(|path| path.to_string_lossy())
        .collect();
    paths.join(", ")
}

/// Looks for the executable below the rootfs alone, for a container that does not exist: what its
/// mounts would provide is not there.
///
/// # Errors
/// Those of `create`, in the same words.
pub(crate) fn look(plan: &Plan, root: BorrowedFd) -> Result<()> {
    let Some(exec) = plan.exec() else {
        return Ok(());
    };
    match likeliest(plan, exec, root) {
        Some((candidate, stat)) if stat.is(libc::S_IFREG) && stat.mode & 0o111 != 0 => {
            check(plan, candidate, root)
        }
        Some(_) => Err(explain(plan, Errno::EACCES, root)),
        None => Err(explain(plan, Errno::ENOENT, root)),
    }
}

/// Looks at another program of the container below the rootfs alone. The inner error is what
/// execve(2) would say.
///
/// # Errors
/// The path leads nowhere, or cannot be looked at.
pub(crate) fn look_at(
    plan: &Plan,
    program: &CStr,
    root: BorrowedFd,
) -> Sys<std::result::Result<(), Errno>> {
    let found = path::open_in_root(root, program, libc::O_PATH)?;
    let found = stat::stat(found.as_fd())?;
    if !found.is(libc::S_IFREG) || found.mode & 0o111 == 0 {
        return Ok(Err(Errno::EACCES));
    }
    let checked = check(plan, program, root);
    Ok(checked.map_err(|error| error.errno.unwrap_or(Errno::ENOEXEC)))
}

/// Checks the executable that init has found, so that `create` fails if execve(2) would.
///
/// # Errors
/// The file is for another architecture, is not a program, or lacks its interpreter.
pub fn check_found(plan: &Plan, candidate: u32, root: BorrowedFd) -> Result<()> {
    match plan
        .exec()
        .and_then(|exec| exec.candidates.get(candidate as usize))
    {
        Some(candidate) => check(plan, candidate, root),
        None => Ok(()),
    }
}

const WRONG_FORMAT: (Code, Errno) = (Code::ExecWrongFormat, Errno::ENOEXEC);

/// The error for an unusable file, with the errno that execve(2) would return for it:
/// `exec: "name": the errno's text: detail (hint)`.
fn unusable(
    name: &str,
    (code, errno): (Code, Errno),
    detail: impl std::fmt::Display,
    hint: &str,
) -> Error {
    let reason = format!("{}: {detail}", errno_text(errno));
    let mut error = error(name, reason).hint(hint).code_is(code);
    error.errno = Some(errno);
    error
}

fn check(plan: &Plan, candidate: &CStr, root: BorrowedFd) -> Result<()> {
    let name = plan
        .exec()
        .and_then(|exec| exec.args.first())
        .map_or_else(String::new, |name| name.to_string_lossy().into());
    let mut file = from_cwd(plan, candidate);
    for _ in 0..DEEPEST {
        // A file that cannot be read here is left to the kernel: it may nevertheless be executable.
        let Ok(Some(opened)) = open_regular(root, &file) else {
            return Ok(());
        };
        let Ok(head) = read_at(&opened, 0, HEAD) else {
            return Ok(());
        };
        let interpreter = match inspect(&opened, &head) {
            Found::Native(None) | Found::Unknown => return Ok(()),
            Found::Native(Some(loader)) => {
                // The ELF loader is not followed further: the kernel maps it, and does not look
                // for an interpreter of it.
                return check_interpreter(&name, &file, &loader, "ELF interpreter", root);
            }
            Found::Script(interpreter) => from_cwd(plan, &interpreter),
            Found::Foreign(arch) if no_foreign_formats() => {
                let native = NATIVE.first().map_or("another", |(_, name, _)| name);
                let text = file.to_string_lossy();
                let detail = format!("{text} is for {arch}, this host is {native}");
                let hint = "use an image for this architecture";
                return Err(unusable(&name, WRONG_FORMAT, detail, hint));
            }
            Found::NoProgram if no_foreign_formats() => {
                let text = file.to_string_lossy();
                let detail = format!("{text} is neither an ELF file nor a script");
                let hint = "a script starts with #! and its interpreter";
                return Err(unusable(&name, WRONG_FORMAT, detail, hint));
            }
            Found::Foreign(_) | Found::NoProgram => return Ok(()),
        };
        check_interpreter(&name, &file, &interpreter, "script interpreter", root)?;
        file = interpreter;
    }
    // The chain is longer than the kernel allows, so the last file need not be inspected.
    let detail = format!("interpreters of {name}");
    let hint = "at most five interpreters in a row are followed";
    let failed = (Code::ExecFailed, Errno::ELOOP);
    Err(unusable(&name, failed, detail, hint))
}

/// Makes a path absolute. The kernel resolves a relative path from the working directory.
fn from_cwd(plan: &Plan, path: &CStr) -> CString {
    let mut steps = plan.init.iter();
    let cwd = steps.find_map(|planned| match &planned.step {
        InitStep::Cwd { path } => Some(path),
        _ => None,
    });
    match cwd {
        Some(cwd) if !path.to_bytes().starts_with(b"/") => {
            let whole = [cwd.to_bytes(), b"/", path.to_bytes()].concat();
            CString::new(whole).unwrap_or_else(|_| path.to_owned())
        }
        _ => path.to_owned(),
    }
}

/// Checks that the interpreter of `file` exists and has an execute permission.
fn check_interpreter(
    name: &str,
    file: &CStr,
    interpreter: &CStr,
    what: &str,
    root: BorrowedFd,
) -> Result<()> {
    let (text, wanted) = (file.to_string_lossy(), interpreter.to_string_lossy());
    let detail = format!("{wanted:?}, the {what} of {text}");
    let opened = path::open_in_root(root, interpreter, libc::O_PATH);
    match opened.and_then(|opened| stat::stat(opened.as_fd())) {
        Ok(stat) if !stat.is(libc::S_IFREG) || stat.mode & 0o111 == 0 => {
            let hint = denied(interpreter, stat);
            let denied = (Code::ExecNotExecutable, Errno::EACCES);
            Err(unusable(name, denied, detail, &hint))
        }
        Err(Fail {
            errno: errno @ (Errno::ENOENT | Errno::ENOTDIR),
            ..
        }) => {
            let hint = missing(interpreter, what);
            let absent = (Code::ExecInterpreterMissing, errno);
            let detail = format!("{detail}, is missing");
            Err(unusable(name, absent, detail, hint))
        }
        // Any other failure is left to the kernel.
        Ok(_) | Err(_) => Ok(()),
    }
}

fn missing(interpreter: &CStr, what: &str) -> &'static str {
    if interpreter.to_bytes().ends_with(b"\r") {
        "the script has DOS line ends: its first line ends with a carriage return"
    } else if what == "ELF interpreter" {
        "the program is linked dynamically and the rootfs lacks its C library"
    } else {
        "install the interpreter in the rootfs"
    }
}

/// The format of a file, as far as it matters to execve(2).
enum Found {
    /// A program of this architecture, with its dynamic loader.
    Native(Option<CString>),
    Script(CString),
    /// A program of the named architecture.
    Foreign(String),
    NoProgram,
    /// A damaged file, or a format that is left to the kernel.
    Unknown,
}

fn inspect(file: &OwnedFd, head: &[u8]) -> Found {
    if head.starts_with(b"#!") {
        return script(head);
    }
    if !head.starts_with(b"\x7fELF") {
        return Found::NoProgram;
    }
    let Some(machine) = number(head, 18, 2) else {
        return Found::Unknown;
    };
    // The kernel decides by the machine number alone. No supported host is big-endian.
    let native = NATIVE
        .iter()
        .find(|(native, ..)| u64::from(*native) == machine);
    let Some(&(_, _, wide)) = native else {
        return Found::Foreign(match head.get(5) {
            Some(2) => "a big-endian machine".to_owned(),
            _ => machine_name(machine),
        });
    };
    match loader(file, head, wide) {
        Ok(loader) => Found::Native(loader),
        Err(_) => Found::Unknown,
    }
}

/// Parses `#!interpreter argument` as the kernel does. The name ends at a blank, a NUL byte or the
/// end of the line, and one of them must be within the bytes that the kernel reads. Trailing
/// carriage returns belong to the name. fs/binfmt_script.c, load_script().
fn script(head: &[u8]) -> Found {
    let blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let start = head[2..].iter().position(|byte| !blank(byte));
    let name = &head[start.map_or(head.len(), |start| 2 + start)..];
    let ends = |byte: &u8| blank(byte) || *byte == 0 || *byte == b'\n';
    let end = match name.iter().position(ends) {
        // The kernel's buffer is filled with NUL bytes after the end of the file.
        None if head.len() < HEAD => name.len(),
        None => return Found::NoProgram,
        Some(0) if name[0] == b'\n' => return Found::NoProgram,
        Some(end) => end,
    };
    match CString::new(&name[..end]) {
        Ok(interpreter) if end > 0 => Found::Script(interpreter),
        _ => Found::Unknown,
    }
}

fn machine_name(machine: u64) -> String {
    let known = [
        (3, "i386"),
        (8, "mips"),
        (20, "ppc"),
        (21, "ppc64"),
        (22, "s390x"),
        (40, "arm"),
        (62, "x86_64"),
        (183, "aarch64"),
        (243, "riscv64"),
        (258, "loongarch64"),
    ];
    known
        .iter()
        .find(|(number, _)| *number == machine)
        .map_or_else(
            || format!("ELF machine {machine}"),
            |(_, name)| (*name).to_owned(),
        )
}

/// Reads PT_INTERP of a 64-bit or 32-bit ELF file. A file that the kernel rejects for a reason
/// other than the loader is an error. elf(5); fs/binfmt_elf.c, load_elf_binary().
fn loader(file: &OwnedFd, head: &[u8], wide: bool) -> Sys<Option<CString>> {
    const ET_EXEC: u64 = 2;
    const ET_DYN: u64 = 3;
    const LARGEST_TABLE: usize = 65536;
    let broken = Fail::new("read", Errno::ENOEXEC);
    let header = |narrow: (usize, usize), wide_at: (usize, usize)| {
        let (at, size) = if wide { wide_at } else { narrow };
        number(head, at, size).ok_or(broken)
    };
    let (class, entry_size) = if wide { (2, 56) } else { (1, 32) };
    let table = header((28, 4), (32, 8))?;
    let fits = |number| usize::try_from(number).map_err(|_| broken);
    let size = fits(header((42, 2), (54, 2))?)?;
    let count = fits(header((44, 2), (56, 2))?)?;
    let is_program = matches!(number(head, 16, 2), Some(ET_EXEC | ET_DYN));
    if !is_program || head[4] != class || size != entry_size || size * count > LARGEST_TABLE {
        return Err(broken);
    }
    let entries = read_at(file, table, size * count)?;
    if entries.len() < size * count {
        return Err(broken);
    }
    for entry in entries.chunks_exact(size) {
        const PT_INTERP: u64 = 3;
        if number(entry, 0, 4) != Some(PT_INTERP) {
            continue;
        }
        let (offset, length) = if wide {
            (number(entry, 8, 8), number(entry, 32, 8))
        } else {
            (number(entry, 4, 4), number(entry, 16, 4))
        };
        let (offset, length) = (offset.ok_or(broken)?, length.ok_or(broken)?);
        if !(2..=libc::PATH_MAX as u64).contains(&length) {
            return Err(broken);
        }
        let text = read_at(file, offset, fits(length)?)?;
        return match CStr::from_bytes_until_nul(&text) {
            Ok(name)
                if !name.is_empty() && text.len() as u64 == length && text.ends_with(b"\0") =>
            {
                Ok(Some(name.to_owned()))
            }
            _ => Err(broken),
        };
    }
    Ok(None)
}

/// Reads a little-endian number.
fn number(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + size)?;
    Some(
        bytes
            .iter()
            .rev()
            .fold(0, |value, &byte| value << 8 | u64::from(byte)),
    )
}

/// Opens a regular file for reading; returns `None` for another type. The type is checked first,
/// because opening a FIFO could block and opening a device could have an effect.
fn open_regular(root: BorrowedFd, name: &CStr) -> Sys<Option<OwnedFd>> {
    let handle = path::open_in_root(root, name, libc::O_PATH)?;
    if !stat::stat(handle.as_fd())?.is(libc::S_IFREG) {
        return Ok(None);
    }
    path::reopen(handle.as_fd(), libc::O_RDONLY).map(Some)
}

fn read_at(file: &OwnedFd, offset: u64, length: usize) -> Sys<Vec<u8>> {
    let mut buffer = vec![0; length];
    let offset = i64::try_from(offset).map_err(|_| Fail::new("read", Errno::EINVAL))?;
    let got = nix::sys::uio::pread(file, &mut buffer, offset)
        .map_err(|errno| Fail::new("read", errno))?;
    buffer.truncate(got);
    Ok(buffer)
}

/// Whether only ELF files and scripts can be executed, because no emulator is registered.
/// binfmt_misc.rst.
fn no_foreign_formats() -> bool {
    std::fs::read_dir("/proc/sys/fs/binfmt_misc").is_ok_and(|entries| {
        !entries
            .flatten()
            .any(|entry| entry.file_name() != "register" && entry.file_name() != "status")
    })
}
