//! Compares the answers with those of libseccomp for the same profiles.
//!
//! The library is only a development tool. The test opens it at run time if the machine has it
//! (Debian: `libseccomp2`). If `CI` is set, the library must be there.
//!
//! Known differences, which the comparison leaves out:
//! - Architectures that are not listed: by default libseccomp kills the thread. The test sets it to
//!   kill the process, as the compiler does.
//! - ENOSYS for calls newer than the profile is an addition of runc. The test computes it from the
//!   library's own numbers. runc treats sockets and System V IPC on i386 as older than all other
//!   calls, because the library returns their numbers behind the multiplexers; the test uses their
//!   direct numbers.
//! - Names that the installed library is too old to know are removed from the profile.
//! - Conditional rules for one call with different actions: libseccomp orders them by the form of
//!   their conditions, and refuses some. The random profiles have one action besides the default,
//!   so the order does not matter.
//! - Names that one of several architectures lacks: libseccomp (2.5.4 to 2.6.1) may omit to load
//!   the number of the call there, and then answers every call with the default action. The random
//!   profiles only have names that all their architectures have. Docker's profile does not trigger
//!   the fault.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsRawFd, FromRawFd};

use libc::sock_filter;
use sampan::config::seccomp::{Action, Arch, Argument, Operator, Seccomp};
use sampan::plan::seccomp::audit_arch;
use sampan::plan::syscalls::{Syscall, X32_BIT, multiplexed};

use crate::bpf::{self, Call};
use crate::random::{OPERATORS, Random, VALUES, names};
use crate::{filter, profile, seccomp};

const KILL_PROCESS: u32 = 0x8000_0000;
const ENOSYS: u32 = 0x0005_0026;
/// `SCMP_FLTATR_ACT_BADARCH`.
const BAD_ARCH: c_int = 2;

/// `struct scmp_arg_cmp`.
#[repr(C)]
struct Comparison {
    argument: c_uint,
    operator: c_int,
    a: u64,
    b: u64,
}

/// The functions of seccomp.h that the comparison needs.
struct Library {
    init: extern "C" fn(u32) -> *mut c_void,
    release: extern "C" fn(*mut c_void),
    attribute: extern "C" fn(*mut c_void, c_int, u32) -> c_int,
    add_arch: extern "C" fn(*mut c_void, u32) -> c_int,
    resolve: extern "C" fn(*const c_char) -> c_int,
    resolve_on: extern "C" fn(u32, *const c_char) -> c_int,
    add_rule: extern "C" fn(*mut c_void, u32, c_int, c_uint, *const Comparison) -> c_int,
    export: extern "C" fn(*const c_void, c_int) -> c_int,
}

impl Library {
    /// Opens the library. Returns `None`, with a message, if the machine does not have it.
    fn open() -> Option<Self> {
        // SAFETY: libseccomp's constructors have no preconditions.
        let handle = unsafe { libc::dlopen(c"libseccomp.so.2".as_ptr(), libc::RTLD_NOW) };
        if handle.is_null() {
            assert!(
                std::env::var_os("CI").is_none(),
                "libseccomp.so.2 is missing in CI"
            );
            // Not with eprintln!, whose output the test harness drops when a test passes.
            let reason = "SKIP: no libseccomp.so.2 here (Debian: libseccomp2) to compare with";
            writeln!(std::io::stderr(), "{reason}").expect("stderr is open");
            return None;
        }
        // SAFETY: each field's type is the function's declaration in seccomp.h, and the library
        // is never closed.
        unsafe {
            Some(Self {
                init: symbol(handle, c"seccomp_init"),
                release: symbol(handle, c"seccomp_release"),
                attribute: symbol(handle, c"seccomp_attr_set"),
                add_arch: symbol(handle, c"seccomp_arch_add"),
                resolve: symbol(handle, c"seccomp_syscall_resolve_name"),
                resolve_on: symbol(handle, c"seccomp_syscall_resolve_name_arch"),
                add_rule: symbol(handle, c"seccomp_rule_add_array"),
                export: symbol(handle, c"seccomp_export_bpf"),
            })
        }
    }

    /// libseccomp's program, made as runc makes it: the native architecture comes first, and each
    /// name has its own rule.
    fn compile(&self, profile: &Seccomp) -> Vec<sock_filter> {
        let context = (self.init)(code(profile.default_action));
        assert!(!context.is_null());
        assert_eq!((self.attribute)(context, BAD_ARCH, KILL_PROCESS), 0);
        for arch in profile
            .architectures
            .iter()
            .filter(|arch| **arch != Arch::NATIVE)
        {
            assert_eq!((self.add_arch)(context, token(*arch)), 0, "{arch:?}");
        }
        for rule in profile
            .rules
            .iter()
            .filter(|rule| rule.action != profile.default_action)
        {
            for name in &rule.names {
                let number = (self.resolve)(c_string(name).as_ptr());
                for args in separate(&rule.args) {
                    let args: Vec<_> = args.iter().map(comparison).collect();
                    let count = args.len() as c_uint;
                    let added =
                        (self.add_rule)(context, code(rule.action), number, count, args.as_ptr());
                    assert_eq!(added, 0, "{name} {:?}", rule.args);
                }
            }
        }
        let program = self.exported(context);
        (self.release)(context);
        program
    }

    fn exported(&self, context: *mut c_void) -> Vec<sock_filter> {
        // SAFETY: the name ends with NUL; the new descriptor has no other owner.
        let mut file = unsafe { File::from_raw_fd(libc::memfd_create(c"bpf".as_ptr(), 0)) };
        assert_eq!((self.export)(context, file.as_raw_fd()), 0);
        let mut bytes = Vec::new();
        file.rewind()
            .and_then(|()| file.read_to_end(&mut bytes))
            .expect("a memfd is readable");
        bytes
            .chunks_exact(8)
            .map(|bytes| sock_filter {
                code: u16::from_ne_bytes([bytes[0], bytes[1]]),
                jt: bytes[2],
                jf: bytes[3],
                k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
            })
            .collect()
    }

    /// `profile` without the names that this version of the library does not know, or does not know
    /// on all architectures that have the call today.
    fn known(&self, mut profile: Seccomp) -> Seccomp {
        let arches = [Arch::X86_64, Arch::X32, Arch::X86, Arch::Aarch64];
        for rule in &mut profile.rules {
            rule.names.retain(|name| {
                let c_name = c_string(name);
                let here = Syscall::named(name);
                let missing = |arch: &Arch| {
                    let there = (self.resolve_on)(token(*arch), c_name.as_ptr());
                    there < 0 && here.is_some_and(|syscall| syscall.number(*arch).is_some())
                };
                let known = (self.resolve)(c_name.as_ptr()) != -1;
                // The library has special negative numbers for calls behind multiplexers of i386.
                known && (multiplexed(name).is_some() || !arches.iter().any(missing))
            });
        }
        profile
    }

    /// The newest call of `arch` in `profile` by the library's tables. Negative numbers stand for
    /// calls that the architecture lacks.
    fn newest(&self, profile: &Seccomp, arch: Arch) -> Option<u32> {
        let names = profile.rules.iter().flat_map(|rule| &rule.names);
        let number = |name: &String| {
            if arch == Arch::X86 && multiplexed(name).is_some() {
                return Syscall::named(name)?.number(arch);
            }
            u32::try_from((self.resolve_on)(token(arch), c_string(name).as_ptr())).ok()
        };
        names.filter_map(number).max()
    }
}

/// The function `name` of the open library `handle`.
///
/// # Safety
/// `F` is the type of a pointer to that function.
unsafe fn symbol<F: Copy>(handle: *mut c_void, name: &CStr) -> F {
    assert_eq!(size_of::<F>(), size_of::<*mut c_void>());
    // SAFETY: the caller has opened the handle and the name ends with NUL.
    let address = unsafe { libc::dlsym(handle, name.as_ptr()) };
    assert!(!address.is_null(), "libseccomp has no {name:?}");
    // SAFETY: both are pointers, and the caller guarantees the type.
    unsafe { std::mem::transmute_copy(&address) }
}

fn is_everywhere(name: &str, arches: &[Arch]) -> bool {
    Syscall::named(name).is_some_and(|syscall| {
        let mut all = arches.iter().chain([&Arch::NATIVE]);
        all.all(|arch| syscall.number(*arch).is_some())
    })
}

fn c_string(name: &str) -> CString {
    CString::new(name).expect("names have no NUL")
}

/// `SCMP_ACT_*`.
fn code(action: Action) -> u32 {
    match action {
        Action::Allow => 0x7fff_0000,
        Action::Errno(errno) => 0x0005_0000 + u32::from(errno),
        other => panic!("{other:?} is not used here"),
    }
}

/// `SCMP_ARCH_*`: the same as `AUDIT_ARCH_*`, except that x32 has its own.
fn token(arch: Arch) -> u32 {
    match arch {
        Arch::X32 => audit_arch(arch) & !0x8000_0000,
        other => audit_arch(other),
    }
}

/// If two arguments have the same index, runc makes one rule for each argument.
fn separate(args: &[Argument]) -> Vec<&[Argument]> {
    let repeated = (0..6).any(|index| args.iter().filter(|arg| arg.index == index).count() > 1);
    if repeated {
        args.chunks(1).collect()
    } else {
        vec![args]
    }
}

fn comparison(argument: &Argument) -> Comparison {
    let operator = match argument.operator {
        Operator::NotEqual => 1,
        Operator::Less => 2,
        Operator::LessOrEqual => 3,
        Operator::Equal => 4,
        Operator::GreaterOrEqual => 5,
        Operator::Greater => 6,
        Operator::MaskedEqual => 7,
    };
    Comparison {
        argument: argument.index.into(),
        operator,
        a: argument.value,
        b: argument.value_two,
    }
}

/// Compares the answers to all numbers, with each of `args`. Returns how many were compared.
fn compare(library: &Library, profile: &Seccomp, args: &[[u64; 6]]) -> usize {
    let ours = filter(profile, Arch::NATIVE).program;
    let theirs = library.compile(profile);
    let mut compared = 0;
    for arch in [Arch::X86_64, Arch::X32, Arch::X86, Arch::Aarch64] {
        let base = if arch == Arch::X32 { X32_BIT } else { 0 };
        let listed = arch == Arch::NATIVE || profile.architectures.contains(&arch);
        let newest = library
            .newest(profile, arch)
            .filter(|_| listed && profile.default_action != Action::Allow);
        for number in (0..700)
            .map(|number| number + base)
            .chain([base + 0x3fff_ffff])
        {
            for args in args {
                let call = Call {
                    number,
                    arch: audit_arch(arch),
                    args: *args,
                };
                let expected = match newest {
                    Some(newest) if number > newest => ENOSYS,
                    _ => bpf::run(&theirs, &call),
                };
                let actual = bpf::run(&ours, &call);
                let rules = || profile.rules.iter();
                assert_eq!(
                    actual,
                    expected,
                    "{arch:?} {call:x?}, rules with arguments: {:#x?}",
                    rules().collect::<Vec<_>>()
                );
                compared += 1;
            }
        }
    }
    compared
}

#[test]
fn dockers_profile_has_the_answers_of_libseccomp() {
    let Some(library) = Library::open() else {
        return;
    };
    let values = [
        0,
        1,
        8,
        40,
        0x2_0000,
        0x2_0008,
        0xffff_ffff,
        0x7e02_0000,
        1 << 32,
        40 | 1 << 32,
    ];
    let mut args: Vec<_> = values.iter().map(|value| [*value; 6]).collect();
    args.push([3, 0, 2, u64::MAX, 0x1000_0000, 5]);
    let compared = compare(&library, &library.known(profile::docker()), &args);
    assert_eq!(compared, 4 * 701 * 11);
}

#[test]
fn random_profiles_have_the_answers_of_libseccomp() {
    let Some(library) = Library::open() else {
        return;
    };
    let names = names();
    let mut random = Random(0x0b5e_55ed_0c0d_e5ee);
    for _ in 0..60 {
        let (default, action) = random.pick(&[
            (Action::Allow, Action::Errno(1)),
            (Action::Errno(1), Action::Allow),
            (Action::Errno(1), Action::Errno(2)),
        ]);
        let arches = random.pick(&[
            &[][..],
            &[Arch::X86],
            &[Arch::X32],
            &[Arch::X86, Arch::X32, Arch::Aarch64],
        ]);
        let mut rules = Vec::new();
        // One rule for each name: libseccomp merges several rules into one tree, and may lose some.
        let mut free = names.clone();
        for _ in 0..12 {
            let name = free.swap_remove(random.below(free.len()));
            free.retain(|other| *other != name);
            if !is_everywhere(&name, arches) {
                continue;
            }
            let mut args: Vec<(u8, Operator, u64, u64)> = Vec::new();
            for index in 0..random.below(4) as u8 {
                let (a, b) = (random.pick(&VALUES), random.pick(&VALUES));
                args.push((index, random.pick(&OPERATORS), a, b));
            }
            rules.push(profile::on(&[&name], action, &args));
        }
        let args: Vec<_> = (0..20)
            .map(|_| [(); 6].map(|()| random.pick(&VALUES)))
            .collect();
        compare(
            &library,
            &library.known(seccomp(default, arches, rules)),
            &args,
        );
    }
}
