//! System call names and their numbers on each architecture that seccomp profiles name.
//!
//! The table is generated from the kernel's user-space headers (Linux 7.2) by
//! `scripts/gen-syscalls`. It has one row per name, so one search finds the numbers on all
//! architectures.

#![allow(
    clippy::cast_possible_truncation,
    reason = "the table has few rows and short names, and is packed while the program is compiled"
)]

mod table;

use crate::config::seccomp::Arch;
use table::{NO, TABLE};

/// The bit that marks an x32 call among those of x86_64 (`__X32_SYSCALL_BIT`).
pub const X32_BIT: u32 = 0x4000_0000;

/// The first private call of ARM (`__ARM_NR_BASE`), far above the common calls.
pub const ARM_PRIVATE: u32 = 0x000f_0000;

/// A system call that at least one architecture has.
#[derive(Clone, Copy, Debug)]
pub struct Syscall(&'static [u16; 6]);

impl Syscall {
    /// The call named `name` as the kernel's headers spell it, or `None` if no architecture has it.
    pub fn named(name: &str) -> Option<Self> {
        let mut slot = hash(name.as_bytes());
        loop {
            let row = ROWS.get(usize::from(INDEX[slot]))?;
            if row.name() == name.as_bytes() {
                return Some(Self(&row.numbers));
            }
            slot = (slot + 1) % SLOTS;
        }
    }

    /// The names of all calls that an architecture has.
    pub fn all() -> impl Iterator<Item = &'static str> {
        let names = ROWS.iter().map(Row::name);
        names.filter_map(|name| std::str::from_utf8(name).ok())
    }

    /// The name of the call with this number on `arch`, or `None` if the table has none. Searches the
    /// whole table.
    pub fn name(arch: Arch, number: u32) -> Option<&'static str> {
        let mut rows = ROWS.iter();
        let row = rows.find(|row| Self(&row.numbers).number(arch) == Some(number))?;
        std::str::from_utf8(row.name()).ok()
    }

    /// Its number on `arch` as in `seccomp_data.nr` (x32 with [`X32_BIT`]), or `None` if that
    /// architecture lacks it.
    pub fn number(self, arch: Arch) -> Option<u32> {
        let column = match arch {
            Arch::X86_64 => 0,
            Arch::X32 => 1,
            Arch::X86 => 2,
            Arch::Aarch64 => 3,
            Arch::Arm => 4,
            Arch::Riscv64 => 5,
        };
        let number = unpack(self.0[column])?;
        Some(if arch == Arch::X32 {
            number | X32_BIT
        } else {
            number
        })
    }
}

/// A row of the table as it is stored in the binary. The table itself exists only at compile time:
/// each of its strings would cost a pointer, a length and a relocation at every start.
#[derive(Clone, Copy)]
struct Row {
    /// The position of the name in [`NAMES`].
    start: u16,
    length: u16,
    numbers: [u16; 6],
}

static NAMES: [u8; names_length()] = pack_names();
static ROWS: [Row; TABLE.len()] = pack_rows();

/// The hash table of the rows. A row is in the slot of its name's hash or in the next free one;
/// other slots are [`EMPTY`].
static INDEX: [u16; SLOTS] = index();
const SLOTS: usize = 1024;
const EMPTY: u16 = u16::MAX;

/// The packed form of "no such call". Packed numbers from [`PRIVATE`] on are private calls of ARM.
const NONE: u16 = u16::MAX;
const PRIVATE: u16 = 0xf000;

impl Row {
    fn name(&self) -> &'static [u8] {
        &NAMES[usize::from(self.start)..][..usize::from(self.length)]
    }
}

const fn pack(number: u32) -> u16 {
    if number == NO {
        NONE
    } else if number >= ARM_PRIVATE {
        PRIVATE + (number - ARM_PRIVATE) as u16
    } else {
        assert!(number < PRIVATE as u32);
        number as u16
    }
}

fn unpack(number: u16) -> Option<u32> {
    match number {
        NONE => None,
        PRIVATE.. => Some(ARM_PRIVATE + u32::from(number - PRIVATE)),
        common => Some(u32::from(common)),
    }
}

/// FNV-1a. Source: draft-eastlake-fnv.
const fn hash(name: &[u8]) -> usize {
    let mut hash = 0x811c_9dc5_u32;
    let mut at = 0;
    while at < name.len() {
        hash = (hash ^ name[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    (hash ^ hash >> 16) as usize % SLOTS
}

const fn index() -> [u16; SLOTS] {
    let mut index = [EMPTY; SLOTS];
    let mut row = 0;
    while row < TABLE.len() {
        let mut slot = hash(TABLE[row].0.as_bytes());
        while index[slot] != EMPTY {
            slot = (slot + 1) % SLOTS;
        }
        index[slot] = row as u16;
        row += 1;
    }
    index
}

const fn names_length() -> usize {
    let (mut length, mut row) = (0, 0);
    while row < TABLE.len() {
        length += TABLE[row].0.len();
        row += 1;
    }
    length
}

const fn pack_names() -> [u8; names_length()] {
    let mut names = [0; names_length()];
    let (mut end, mut row) = (0, 0);
    while row < TABLE.len() {
        let name = TABLE[row].0.as_bytes();
        let mut at = 0;
        while at < name.len() {
            names[end] = name[at];
            (end, at) = (end + 1, at + 1);
        }
        row += 1;
    }
    names
}

const fn pack_rows() -> [Row; TABLE.len()] {
    let mut rows = [Row {
        start: 0,
        length: 0,
        numbers: [NONE; 6],
    }; TABLE.len()];
    let (mut start, mut row) = (0, 0);
    while row < TABLE.len() {
        let (name, numbers) = TABLE[row];
        rows[row].start = start as u16;
        rows[row].length = name.len() as u16;
        let mut column = 0;
        while column < numbers.len() {
            rows[row].numbers[column] = pack(numbers[column]);
            column += 1;
        }
        start += name.len();
        row += 1;
    }
    rows
}

/// The multiplexer of i386 for a call, and the number of the call in its `call` argument:
/// `socketcall(2)` from `linux/net.h`, `ipc(2)` from `linux/ipc.h`. `None` for all other calls.
pub fn multiplexed(name: &str) -> Option<(&'static str, u32)> {
    let (multiplexer, call) = match name {
        "socket" => ("socketcall", 1),
        "bind" => ("socketcall", 2),
        "connect" => ("socketcall", 3),
        "listen" => ("socketcall", 4),
        "accept" => ("socketcall", 5),
        "getsockname" => ("socketcall", 6),
        "getpeername" => ("socketcall", 7),
        "socketpair" => ("socketcall", 8),
        "send" => ("socketcall", 9),
        "recv" => ("socketcall", 10),
        "sendto" => ("socketcall", 11),
        "recvfrom" => ("socketcall", 12),
        "shutdown" => ("socketcall", 13),
        "setsockopt" => ("socketcall", 14),
        "getsockopt" => ("socketcall", 15),
        "sendmsg" => ("socketcall", 16),
        "recvmsg" => ("socketcall", 17),
        "accept4" => ("socketcall", 18),
        "recvmmsg" => ("socketcall", 19),
        "sendmmsg" => ("socketcall", 20),
        "semop" => ("ipc", 1),
        "semget" => ("ipc", 2),
        "semctl" => ("ipc", 3),
        "semtimedop" => ("ipc", 4),
        "msgsnd" => ("ipc", 11),
        "msgrcv" => ("ipc", 12),
        "msgget" => ("ipc", 13),
        "msgctl" => ("ipc", 14),
        "shmat" => ("ipc", 21),
        "shmdt" => ("ipc", 22),
        "shmget" => ("ipc", 23),
        "shmctl" => ("ipc", 24),
        _ => return None,
    };
    Some((multiplexer, call))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(name: &str, arch: Arch) -> Option<u32> {
        Syscall::named(name).and_then(|syscall| syscall.number(arch))
    }

    #[test]
    fn the_table_is_sorted_and_every_name_is_found() {
        assert!(TABLE.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (name, numbers) in &TABLE {
            let found = Syscall::named(name).expect(name);
            let unpacked = found.0.map(|number| unpack(number).unwrap_or(NO));
            assert_eq!(unpacked, *numbers, "{name}");
            assert!(
                numbers.iter().any(|number| *number != NO),
                "{name} has no number"
            );
        }
    }

    #[test]
    fn numbers_agree_with_the_c_library_of_this_architecture() {
        for (name, expected) in [
            ("read", libc::SYS_read),
            ("mkdirat", libc::SYS_mkdirat),
            ("clone3", libc::SYS_clone3),
            ("mount_setattr", libc::SYS_mount_setattr),
        ] {
            assert_eq!(number(name, Arch::NATIVE), Some(expected as u32), "{name}");
        }
    }

    #[test]
    fn x32_has_its_own_numbers_and_shares_the_rest() {
        assert_eq!(number("read", Arch::X32), Some(X32_BIT));
        assert_eq!(number("rt_sigaction", Arch::X86_64), Some(13));
        assert_eq!(number("rt_sigaction", Arch::X32), Some(X32_BIT + 512));
        assert_eq!(number("pwritev2", Arch::X32), Some(X32_BIT + 547));
    }

    #[test]
    fn old_private_and_recent_calls_are_found() {
        assert_eq!(number("recv", Arch::Arm), Some(291));
        assert_eq!(number("pciconfig_iobase", Arch::Arm), Some(271));
        assert_eq!(
            number("sync_file_range2", Arch::Arm),
            number("arm_sync_file_range", Arch::Arm)
        );
        assert_eq!(number("set_tls", Arch::Arm), Some(ARM_PRIVATE + 5));
        assert_eq!(number("mseal", Arch::Riscv64), Some(462));
        assert_eq!(number("file_getattr", Arch::X86), Some(468));
        assert_eq!(number("riscv_flush_icache", Arch::Riscv64), Some(259));
        assert_eq!(number("riscv_flush_icache", Arch::X86_64), None);
    }

    #[test]
    fn unknown_names_are_not_found() {
        for name in ["", "rea", "readx", "zzz", "READ"] {
            assert!(Syscall::named(name).is_none(), "{name:?}");
        }
    }

    #[test]
    fn multiplexed_calls_name_a_call_that_i386_has() {
        for (name, _) in &TABLE {
            if let Some((multiplexer, _)) = multiplexed(name) {
                assert!(number(multiplexer, Arch::X86).is_some(), "{name}");
            }
        }
        // On i386, recv and send exist only behind socketcall.
        assert_eq!(number("send", Arch::X86), None);
        assert_eq!(multiplexed("send"), Some(("socketcall", 9)));
    }
}
