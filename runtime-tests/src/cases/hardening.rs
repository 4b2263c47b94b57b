//! The release binary is as hardened as those of distributions: its addresses are random, relocated
//! data is read-only after the start, and no memory is both writable and executable.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;

use crate::elf::{self, Elf};
use crate::{Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    the_binary_is_static_and_has_no_fixed_address [Need::NotAPeer, Need::ReleaseBuild],
    no_segment_is_writable_and_executable [Need::NotAPeer, Need::ReleaseBuild],
    all_relocations_are_done_at_the_start [Need::NotAPeer, Need::ReleaseBuild],
    relocations_are_among_data [Need::NotAPeer, Need::ReleaseBuild],
    relocations_are_on_few_pages [Need::NotAPeer, Need::ReleaseBuild],
    the_process_cannot_write_what_was_relocated [Need::NotAPeer, Need::ReleaseBuild],
    no_memory_of_the_process_is_writable_and_executable [Need::NotAPeer, Need::ReleaseBuild],
];

/// In bytes.
const PAGE: u64 = 4096;

fn binary(t: &Sandbox) -> Elf {
    Elf::parse(fs::read(&t.runtime).expect("read the runtime"))
}

fn the_binary_is_static_and_has_no_fixed_address(t: &Sandbox) {
    let elf = binary(t);
    assert_eq!(
        elf.kind,
        elf::ET_DYN,
        "not position-independent: the type is not ET_DYN"
    );
    assert!(
        elf.has_flags(elf::DT_FLAGS_1, elf::DF_1_PIE),
        "a library: no DF_1_PIE"
    );
    assert_eq!(
        elf.segments_of(elf::PT_INTERP).count(),
        0,
        "dynamic: PT_INTERP names a loader"
    );
    assert!(
        elf.dynamic(elf::DT_NEEDED).is_empty(),
        "dynamic: DT_NEEDED names libraries"
    );
}

fn no_segment_is_writable_and_executable(t: &Sandbox) {
    const BOTH: u32 = elf::PF_W | elf::PF_X;
    let elf = binary(t);
    for segment in elf.segments_of(elf::PT_LOAD) {
        assert_ne!(
            segment.flags & BOTH,
            BOTH,
            "writable and executable: {segment:x?}"
        );
    }
    let stack: Vec<_> = elf.segments_of(elf::PT_GNU_STACK).collect();
    assert_eq!(
        stack.len(),
        1,
        "without PT_GNU_STACK the stack is executable"
    );
    assert_eq!(
        stack[0].flags & elf::PF_X,
        0,
        "PT_GNU_STACK asks for an executable stack"
    );
}

/// "Full RELRO" as checksec(1) and distributions define it: the segment and immediate binding.
fn all_relocations_are_done_at_the_start(t: &Sandbox) {
    let elf = binary(t);
    let relro: Vec<_> = elf.segments_of(elf::PT_GNU_RELRO).collect();
    assert_eq!(relro.len(), 1, "no PT_GNU_RELRO");
    let dynamic = elf.segments_of(elf::PT_DYNAMIC).next().expect("PT_DYNAMIC");
    assert!(
        relro[0].memory.start <= dynamic.memory.start && dynamic.memory.end <= relro[0].memory.end,
        "the dynamic section is outside of PT_GNU_RELRO: {dynamic:x?}"
    );
    assert!(
        elf.has_flags(elf::DT_FLAGS, elf::DF_BIND_NOW),
        "lazy binding: no DF_BIND_NOW"
    );
}

fn relocations_are_among_data(t: &Sandbox) {
    let elf = binary(t);
    assert!(
        elf.dynamic(elf::DT_TEXTREL).is_empty(),
        "relocations of code: DT_TEXTREL"
    );
    assert!(
        !elf.has_flags(elf::DT_FLAGS, elf::DF_TEXTREL),
        "relocations of code: DF_TEXTREL"
    );
    let relocated = elf.relocated();
    assert!(
        !relocated.is_empty(),
        "no relocations found: is this reader at fault?"
    );
    for place in relocated {
        let segment = elf
            .segments_of(elf::PT_LOAD)
            .find(|one| one.memory.contains(&place));
        assert!(
            segment.is_some_and(|segment| segment.flags & elf::PF_W != 0),
            "{place:#x} is relocated and not among the data: {segment:x?}"
        );
    }
}

/// At each start of the program the kernel copies each page that contains a relocation. Instead of
/// a large table of strings or functions use a table of offsets, or a `match`:
/// docs/decisions/hardening.md.
fn relocations_are_on_few_pages(t: &Sandbox) {
    const MOST: usize = 13;
    let relocated = binary(t).relocated();
    let pages: BTreeSet<_> = relocated.iter().map(|place| place / PAGE).collect();
    assert!(
        pages.len() <= MOST,
        "{} relocations are on {} pages, more than {MOST}",
        relocated.len(),
        pages.len()
    );
}

/// A mapping of a process. proc_pid_maps(5).
struct Mapping {
    addresses: Range<u64>,
    line: String,
}

impl Mapping {
    fn parse(line: &str) -> Self {
        let (start, end) = line
            .split(' ')
            .next()
            .and_then(|range| range.split_once('-'))
            .expect("a range of addresses");
        let number = |hex| u64::from_str_radix(hex, 16).expect("an address");
        Self {
            addresses: number(start)..number(end),
            line: line.to_owned(),
        }
    }

    /// `r`, `w`, `x`.
    fn allows(&self, what: char) -> bool {
        let flags = self.line.split(' ').nth(1).expect("its permissions");
        flags.contains(what)
    }

    fn is_writable_and_executable(&self) -> bool {
        self.allows('w') && self.allows('x')
    }
}

fn mappings(pid: i32) -> Vec<Mapping> {
    let text = fs::read_to_string(format!("/proc/{pid}/maps")).expect("the mappings");
    text.lines().map(Mapping::parse).collect()
}

/// The load address of the program. The auxiliary vector contains the address of its headers.
/// getauxval(3), AT_PHDR.
fn base(pid: i32, elf: &Elf) -> u64 {
    const AT_PHDR: u64 = 3;
    let bytes = fs::read(format!("/proc/{pid}/auxv")).expect("the auxiliary vector");
    let (words, _) = bytes.as_chunks();
    let words: Vec<_> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
    let (pairs, _) = words.as_chunks();
    let headers = pairs
        .iter()
        .find(|[key, _]| *key == AT_PHDR)
        .expect("AT_PHDR");
    headers[1] - elf.headers_offset
}

/// Init is a copy of the runtime's process until it executes the container's program.
fn the_process_cannot_write_what_was_relocated(t: &Sandbox) {
    let elf = binary(t);
    let relro = elf
        .segments_of(elf::PT_GNU_RELRO)
        .next()
        .expect("PT_GNU_RELRO");
    let container = t.bundle().container();
    container.create().ok();
    let base = base(container.pid(), &elf);
    let protected =
        (base + relro.memory.start) / PAGE * PAGE..(base + relro.memory.end) / PAGE * PAGE;
    let mut covered = 0;
    for mapping in mappings(container.pid()) {
        let start = mapping.addresses.start.max(protected.start);
        let end = mapping.addresses.end.min(protected.end);
        if start < end {
            assert!(
                !mapping.allows('w'),
                "relocated and still writable: {}",
                mapping.line
            );
            covered += end - start;
        }
    }
    assert_eq!(
        covered,
        protected.end - protected.start,
        "not all of PT_GNU_RELRO is mapped"
    );
}

fn no_memory_of_the_process_is_writable_and_executable(t: &Sandbox) {
    let this = mappings(std::process::id() as i32);
    if this.iter().any(Mapping::is_writable_and_executable) {
        t.skip("the kernel makes writable memory executable (user-mode Linux)");
    }
    let container = t.bundle().container();
    container.create().ok();
    let mappings = mappings(container.pid());
    assert!(!mappings.is_empty());
    for mapping in mappings {
        assert!(
            !mapping.is_writable_and_executable(),
            "writable and executable: {}",
            mapping.line
        );
    }
}
