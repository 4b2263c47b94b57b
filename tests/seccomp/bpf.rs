//! Classic BPF as seccomp(2) runs it: the checks of the kernel's verifier, then an interpreter.

use libc::sock_filter;

/// The input of a program: `struct seccomp_data`.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub number: u32,
    pub arch: u32,
    pub args: [u64; 6],
}

impl Call {
    /// The aligned 32-bit word at `offset` on a little-endian machine.
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.arch,
            // The instruction pointer. No filter of these tests reads it.
            8 | 12 => 0,
            16..64 => {
                let argument = self.args[(offset as usize - 16) / 8];
                (if offset.is_multiple_of(8) {
                    argument
                } else {
                    argument >> 32
                }) as u32
            }
            _ => panic!("a load at {offset} is outside seccomp_data"),
        }
    }
}

/// The checks with which the kernel accepts a program: known instructions, jumps inside the
/// program, a RET at the end.
pub fn verify(program: &[sock_filter]) {
    assert!(
        (1..=4096).contains(&program.len()),
        "{} instructions",
        program.len()
    );
    assert_eq!(
        program.last().unwrap().code,
        0x06,
        "the last instruction is not a RET"
    );
    for (at, instruction) in program.iter().enumerate() {
        let furthest = match instruction.code {
            0x05 => instruction.k as usize,
            0x15 | 0x25 | 0x35 | 0x45 => usize::from(instruction.jt.max(instruction.jf)),
            0x20 => {
                assert!(
                    instruction.k % 4 == 0 && instruction.k < 64,
                    "{at}: load {}",
                    instruction.k
                );
                0
            }
            0x06 | 0x54 => 0,
            code => panic!("{at}: instruction {code:#x} is not expected"),
        };
        if instruction.code != 0x06 {
            assert!(
                at + 1 + furthest < program.len(),
                "{at}: a jump leaves the program"
            );
        }
    }
}

/// The program's answer to `call`, `SECCOMP_RET_*`. `program` must have passed [`verify`].
pub fn run(program: &[sock_filter], call: &Call) -> u32 {
    let mut accumulator = 0;
    let mut at = 0;
    loop {
        let sock_filter { code, jt, jf, k } = program[at];
        let branch = |taken: bool| usize::from(if taken { jt } else { jf });
        at += 1 + match code {
            0x06 => return k,
            0x05 => k as usize,
            0x15 => branch(accumulator == k),
            0x25 => branch(accumulator > k),
            0x35 => branch(accumulator >= k),
            0x45 => branch(accumulator & k != 0),
            0x20 => {
                accumulator = call.word(k);
                0
            }
            0x54 => {
                accumulator &= k;
                0
            }
            code => panic!("instruction {code:#x}"),
        };
    }
}
