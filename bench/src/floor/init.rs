//! Init's side, from clone3(2) to execve(2).

use std::ffi::{CStr, c_char, c_int};
use std::ptr::{null, null_mut};

use crate::kernel::{self, Died, Ready, call, check, close, die, errno, open, set_mask};
use crate::script::Op;

const OPEN_TREE_CLONE: c_int = 1;
const MOVE_MOUNT_F_EMPTY_PATH: c_int = 4;
const MOVE_MOUNT_T_EMPTY_PATH: c_int = 0x40;
const AT_RECURSIVE: c_int = 0x8000;
const READ_ONLY: u64 = 1;

/// The descriptors and values of init.
struct Init<'r> {
    ready: &'r Ready,
    /// The pidfd of the container to join.
    container: c_int,
    rootfs: c_int,
    /// The masks for directories and files: a read-only tmpfs and `/dev/null`, created on first use.
    empty: c_int,
    null: c_int,
    env: Vec<*const c_char>,
}

/// Executes the rest of the script.
pub fn main(ops: impl Iterator<Item = Op>, ready: &Ready, container: c_int) -> ! {
    let mut init = Init {
        ready,
        container,
        rootfs: -1,
        empty: -1,
        null: -1,
        env: Vec::with_capacity(16),
    };
    // SAFETY: changes only this process's umask.
    unsafe { libc::umask(0) };
    check(call!(libc::SYS_setsid), "setsid");
    for op in ops {
        init.step(op);
    }
    die(&Died("no exec", 0))
}

impl Init<'_> {
    fn step(&mut self, op: Op) {
        match op {
            Op::UnshareCgroup => {
                check(call!(libc::SYS_unshare, libc::CLONE_NEWCGROUP), "unshare");
            }
            Op::Join(flags) => kernel::join(self.container, flags),
            Op::Keyring => {
                const KEYCTL_JOIN_SESSION_KEYRING: c_int = 1;
                const NO_NAME: *const u8 = null();
                check(
                    call!(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NO_NAME),
                    "keyctl",
                );
            }
            Op::LoopbackUp => loopback_up(),
            Op::RootPropagation(propagation) => {
                set_attributes(libc::AT_FDCWD, c"/", AT_RECURSIVE, 0, propagation);
            }
            Op::Rootfs(path) => {
                self.rootfs = open_tree(path, true);
                move_mount(self.rootfs, path);
                check(call!(libc::SYS_fchdir, self.rootfs), "fchdir");
            }
            Op::Mount([fstype, source, target], flags, data) => {
                let (fstype, source, target) = (fstype.as_ptr(), source.as_ptr(), target.as_ptr());
                let result = call!(
                    libc::SYS_mount,
                    source,
                    target,
                    fstype,
                    flags,
                    data.as_ptr()
                );
                check(result, "mount");
            }
            Op::Bind([source, target], attributes, recursive, propagation) => {
                let flags = if recursive { AT_RECURSIVE } else { 0 };
                let tree = open_tree(source, recursive);
                if attributes | propagation != 0 {
                    set_attributes(
                        tree,
                        c"",
                        flags | libc::AT_EMPTY_PATH,
                        attributes,
                        propagation,
                    );
                }
                move_mount(tree, target);
                close(tree);
            }
            Op::MakeDirectory(path, mode) => {
                check(
                    call!(libc::SYS_mkdirat, libc::AT_FDCWD, path.as_ptr(), mode),
                    "mkdir",
                );
            }
            Op::Node(path, mode, major, minor) => {
                let (mode, device) = (
                    mode as u32 | libc::S_IFCHR,
                    libc::makedev(major as u32, minor as u32),
                );
                check(
                    call!(
                        libc::SYS_mknodat,
                        libc::AT_FDCWD,
                        path.as_ptr(),
                        mode,
                        device
                    ),
                    "mknod",
                );
            }
            Op::Symlink(target, path) => {
                let (target, path) = (target.as_ptr(), path.as_ptr());
                check(
                    call!(libc::SYS_symlinkat, target, libc::AT_FDCWD, path),
                    "symlink",
                );
            }
            Op::ReopenNull => {
                let null = check(open(c"dev/null", libc::O_RDWR).into(), "dev/null");
                check(call!(libc::SYS_dup3, null, 0, 0), "dup3");
                close(null);
            }
            Op::ReadonlyPath(path) => readonly_path(path),
            Op::MaskPath(path) => self.mask(path),
            Op::RootReadonly => {
                set_attributes(self.rootfs, c"", libc::AT_EMPTY_PATH, READ_ONLY, 0);
            }
            Op::Pivot => {
                check(
                    call!(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()),
                    "pivot_root",
                );
                check(
                    call!(libc::SYS_umount2, c".".as_ptr(), libc::MNT_DETACH),
                    "umount2",
                );
            }
            Op::Sysctl(path, value) => {
                kernel::write_at(libc::AT_FDCWD, path, value);
            }
            op => self.process(op),
        }
    }

    fn process(&mut self, op: Op) {
        match op {
            Op::Hostname(name) => {
                check(
                    call!(libc::SYS_sethostname, name.as_ptr(), name.count_bytes()),
                    "hostname",
                );
            }
            Op::Rlimit(resource, soft, hard) => {
                let limit = [soft, hard];
                let result = call!(libc::SYS_prlimit64, 0, resource, &limit, null_mut::<u64>());
                check(result, "prlimit");
            }
            Op::WorkingDirectory(path) => {
                check(call!(libc::SYS_chdir, path.as_ptr()), "chdir");
            }
            Op::Credentials(sets) => credentials(sets),
            Op::NoNewPrivileges => {
                check(
                    call!(libc::SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
                    "prctl",
                );
            }
            Op::Seccomp(filter) => seccomp(filter),
            Op::WaitForStart => {
                self.ready.tell();
                let start: u64 = 1 << (libc::SIGUSR1 - 1);
                let (info, timeout) = (null_mut::<u8>(), null::<u8>());
                // Only a tracer interrupts the call.
                while call!(libc::SYS_rt_sigtimedwait, &start, info, timeout, 8) < 0 {}
                set_mask(0);
            }
            Op::CloseRange => {
                const CLOSE_RANGE_CLOEXEC: c_int = 4;
                check(
                    call!(libc::SYS_close_range, 3, u32::MAX, CLOSE_RANGE_CLOEXEC),
                    "close_range",
                );
            }
            Op::Env(pair) => self.env.push(pair.as_ptr()),
            Op::Exec(args) => self.exec(&args),
            _ => die(&Died("an operation of the runtime after clone", 0)),
        }
    }

    /// Masks a directory by an empty tmpfs, and a file by `/dev/null`. A missing path is skipped.
    fn mask(&mut self, path: &'static CStr) {
        let fd = open(path, libc::O_PATH);
        if fd < 0 {
            return;
        }
        // SAFETY: an all-zero stat is valid, and fstat fills it in.
        let mut status: libc::stat = unsafe { std::mem::zeroed() };
        check(call!(libc::SYS_fstat, fd, &mut status), "fstat");
        let directory = status.st_mode & libc::S_IFMT == libc::S_IFDIR;
        let cover = if directory {
            &mut self.empty
        } else {
            &mut self.null
        };
        if *cover < 0 {
            *cover = if directory {
                empty_tmpfs()
            } else {
                read_only_null()
            };
            move_to(*cover, fd);
        } else {
            let tree = clone_of(*cover);
            move_to(tree, fd);
            close(tree);
        }
        close(fd);
    }

    /// execve(2) in the first directory in PATH that contains the program.
    fn exec(&mut self, args: &[&'static CStr]) -> ! {
        let mut argv: Vec<*const c_char> = args.iter().map(|arg| arg.as_ptr()).collect();
        argv.push(null());
        self.env.push(null());
        let name = args[0].to_bytes();
        if name.contains(&b'/') {
            call!(
                libc::SYS_execve,
                args[0].as_ptr(),
                argv.as_ptr(),
                self.env.as_ptr()
            );
        }
        let path = self.env.iter().take(self.env.len() - 1).find_map(|pair| {
            // SAFETY: the script's values are C strings.
            unsafe { CStr::from_ptr(*pair) }
                .to_bytes()
                .strip_prefix(b"PATH=")
        });
        for directory in path.unwrap_or_default().split(|byte| *byte == b':') {
            let file = [directory, b"/", name, b"\0"].concat();
            call!(
                libc::SYS_execve,
                file.as_ptr(),
                argv.as_ptr(),
                self.env.as_ptr()
            );
        }
        die(&Died("execve", errno()))
    }
}

fn open_tree(path: &CStr, recursive: bool) -> c_int {
    let recursive = if recursive { AT_RECURSIVE } else { 0 };
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC | recursive;
    check(
        call!(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags),
        "open_tree",
    )
}

fn clone_of(tree: c_int) -> c_int {
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC | libc::AT_EMPTY_PATH;
    check(
        call!(libc::SYS_open_tree, tree, c"".as_ptr(), flags),
        "open_tree",
    )
}

fn move_mount(tree: c_int, path: &CStr) {
    let (empty, path) = (c"".as_ptr(), path.as_ptr());
    let flags = MOVE_MOUNT_F_EMPTY_PATH;
    check(
        call!(
            libc::SYS_move_mount,
            tree,
            empty,
            libc::AT_FDCWD,
            path,
            flags
        ),
        "move_mount",
    );
}

fn move_to(tree: c_int, place: c_int) {
    let empty = c"".as_ptr();
    let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    check(
        call!(libc::SYS_move_mount, tree, empty, place, empty, flags),
        "move_mount",
    );
}

/// mount_setattr(2).
fn set_attributes(fd: c_int, path: &CStr, flags: c_int, set: u64, propagation: u64) {
    // The members are attr_set, attr_clr, propagation, userns_fd.
    let attributes = [set, 0, propagation, 0];
    let size = size_of_val(&attributes);
    let result = call!(
        libc::SYS_mount_setattr,
        fd,
        path.as_ptr(),
        flags,
        &attributes,
        size
    );
    check(result, "mount_setattr");
}

fn readonly_path(path: &CStr) {
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC | AT_RECURSIVE;
    let tree = call!(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) as c_int;
    if tree < 0 {
        return;
    }
    set_attributes(tree, c"", AT_RECURSIVE | libc::AT_EMPTY_PATH, READ_ONLY, 0);
    move_mount(tree, path);
    close(tree);
}

fn read_only_null() -> c_int {
    let tree = open_tree(c"/dev/null", false);
    set_attributes(tree, c"", libc::AT_EMPTY_PATH, READ_ONLY, 0);
    tree
}

/// A detached mount of an empty read-only tmpfs.
fn empty_tmpfs() -> c_int {
    const SET_FLAG: c_int = 0;
    const SET_STRING: c_int = 1;
    const CREATE: c_int = 6;
    const NOSUID_NODEV_NOEXEC: u64 = 2 | 4 | 8;
    let none = null::<c_char>();
    let context = check(call!(libc::SYS_fsopen, c"tmpfs".as_ptr(), 1), "fsopen");
    for (key, value) in [
        (c"nr_blocks", c"1"),
        (c"nr_inodes", c"1"),
        (c"mode", c"0755"),
    ] {
        let (key, value) = (key.as_ptr(), value.as_ptr());
        check(
            call!(libc::SYS_fsconfig, context, SET_STRING, key, value, 0),
            "fsconfig",
        );
    }
    check(
        call!(
            libc::SYS_fsconfig,
            context,
            SET_FLAG,
            c"ro".as_ptr(),
            none,
            0
        ),
        "fsconfig",
    );
    check(
        call!(libc::SYS_fsconfig, context, CREATE, none, none, 0),
        "fsconfig",
    );
    let attributes = READ_ONLY | NOSUID_NODEV_NOEXEC;
    let mount = check(call!(libc::SYS_fsmount, context, 1, attributes), "fsmount");
    close(context);
    mount
}

fn loopback_up() {
    #[repr(C)]
    struct Request {
        name: [u8; 16],
        flags: u16,
        rest: [u8; 22],
    }
    let mut request = Request {
        name: [0; 16],
        flags: 0,
        rest: [0; 22],
    };
    request.name[..2].copy_from_slice(b"lo");
    request.flags = (libc::IFF_UP | libc::IFF_RUNNING) as u16;
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
    let socket = check(call!(libc::SYS_socket, libc::AF_UNIX, kind, 0), "socket");
    check(
        call!(libc::SYS_ioctl, socket, libc::SIOCSIFFLAGS, &request),
        "loopback",
    );
    close(socket);
}

/// Sets root's capabilities: bounding, effective, permitted, inheritable, ambient.
fn credentials([bounding, effective, permitted, inheritable, ambient]: [u64; 5]) {
    const VERSION_3: u32 = 0x2008_0522;
    for capability in (0..=40).filter(|bit| bounding >> bit & 1 == 0) {
        check(
            call!(libc::SYS_prctl, libc::PR_CAPBSET_DROP, capability, 0, 0, 0),
            "bounding set",
        );
    }
    check(call!(libc::SYS_setgroups, 0, null::<u32>()), "setgroups");
    check(call!(libc::SYS_setresgid, 0, 0, 0), "setresgid");
    check(call!(libc::SYS_setresuid, 0, 0, 0), "setresuid");
    // SAFETY: changes only this process's umask.
    unsafe { libc::umask(0o022) };
    let header = [VERSION_3, 0];
    let words = |shift: u32| [effective, permitted, inheritable].map(|set| (set >> shift) as u32);
    check(
        call!(libc::SYS_capset, &header, &[words(0), words(32)]),
        "capset",
    );
    for capability in (0..=40).filter(|bit| ambient >> bit & 1 == 1) {
        const RAISE: c_int = libc::PR_CAP_AMBIENT_RAISE;
        check(
            call!(
                libc::SYS_prctl,
                libc::PR_CAP_AMBIENT,
                RAISE,
                capability,
                0,
                0
            ),
            "ambient set",
        );
    }
}

/// Loads a filter: an array of `sock_filter`.
fn seccomp(filter: &[u8]) {
    #[repr(C)]
    struct Program {
        length: u16,
        filter: *const u8,
    }
    const SET_MODE_FILTER: c_int = 1;
    let program = Program {
        length: (filter.len() / 8) as u16,
        filter: filter.as_ptr(),
    };
    check(
        call!(libc::SYS_seccomp, SET_MODE_FILTER, 0, &program),
        "seccomp",
    );
}
