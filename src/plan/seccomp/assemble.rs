//! Assembles ranges of numbers to instructions.
//!
//! Jumps only go forward, and conditional jumps reach 255 instructions. So the program is written
//! from its end to its start: every target exists before the jump to it. A conditional jump to a
//! target out of reach goes to a stepping stone, which is an unconditional jump to the target.

#![allow(
    clippy::cast_possible_truncation,
    reason = "codes and distances fit: a program has at most 4096 instructions"
)]

use libc::sock_filter;

use super::answer::{Body, Verdict};
use super::rules;

/// The answers for one architecture.
pub(super) struct Section {
    /// `AUDIT_ARCH_*`.
    pub audit: u32,
    /// The answer from each number up to the next. The first number is 0.
    pub ranges: Vec<(u32, Verdict)>,
}

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// Offsets in `struct seccomp_data` (seccomp(2)).
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCH: u32 = 4;

/// The longest conditional jump. The field allows 255, but two stepping stones (one for each
/// branch) may still be inserted before the target.
const REACH: usize = 253;

/// The program for `sections`, which it tries in their order. Other architectures get `foreign`.
pub(super) fn assemble(sections: &[Section], bodies: &[Body], foreign: u32) -> Vec<sock_filter> {
    let mut code = Code {
        backward: Vec::new(),
        returns: Vec::new(),
        bodies: Vec::new(),
    };
    let mut entries = Vec::with_capacity(sections.len());
    for section in sections.iter().rev() {
        let tree = code.tree(&section.ranges, bodies);
        code.continue_at(tree);
        entries.push((section.audit, code.push(LOAD, OFFSET_NUMBER)));
    }
    let mut next = code.answer(foreign);
    for (audit, entry) in entries {
        next = code.branch(IF_EQUAL, audit, entry, next);
    }
    code.continue_at(next);
    code.push(LOAD, OFFSET_ARCH);
    code.backward.reverse();
    code.backward
}

/// A position in the program, counted from its end.
type Place = usize;

struct Code {
    backward: Vec<sock_filter>,
    /// The position at which each answer was last written.
    returns: Vec<(u32, Place)>,
    /// The position at which each body, or a jump to it, was last written.
    bodies: Vec<(usize, Place)>,
}

impl Code {
    fn push(&mut self, code: u16, k: u32) -> Place {
        self.backward.push(sock_filter {
            code,
            jt: 0,
            jf: 0,
            k,
        });
        self.backward.len() - 1
    }

    /// The number of instructions between the next one to be written and `place`.
    fn distance(&self, place: Place) -> usize {
        self.backward.len() - place - 1
    }

    fn in_reach(&self, place: Place) -> bool {
        self.distance(place) <= REACH
    }

    fn jump(&mut self, place: Place) -> Place {
        self.push(JUMP, self.distance(place) as u32)
    }

    /// Makes the instruction that is written next continue at `place`.
    fn continue_at(&mut self, place: Place) {
        if self.distance(place) > 0 {
            self.jump(place);
        }
    }

    /// `place`, or a stepping stone to it.
    fn near(&mut self, place: Place) -> Place {
        if self.in_reach(place) {
            place
        } else {
            self.jump(place)
        }
    }

    fn branch(&mut self, test: u16, k: u32, yes: Place, no: Place) -> Place {
        let (yes, no) = (self.near(yes), self.near(no));
        let (jt, jf) = (self.distance(yes), self.distance(no));
        debug_assert!(jt <= 255 && jf <= 255);
        self.backward.push(sock_filter {
            code: test,
            jt: jt as u8,
            jf: jf as u8,
            k,
        });
        self.backward.len() - 1
    }

    /// A RET with `value`: the last one that was written if it is in reach.
    fn answer(&mut self, value: u32) -> Place {
        let known = self.returns.iter().position(|(other, _)| *other == value);
        if let Some(place) = known
            .map(|at| self.returns[at].1)
            .filter(|place| self.in_reach(*place))
        {
            return place;
        }
        let place = self.push(RETURN, value);
        match known {
            Some(at) => self.returns[at].1 = place,
            None => self.returns.push((value, place)),
        }
        place
    }

    /// The start of body number `index` of `bodies`, or a jump to it.
    fn body(&mut self, index: usize, bodies: &[Body]) -> Place {
        if let Some(at) = self.bodies.iter().position(|(other, _)| *other == index) {
            let place = self.near(self.bodies[at].1);
            self.bodies[at].1 = place;
            return place;
        }
        let body = &bodies[index];
        self.push(RETURN, body.otherwise);
        for clause in body.clauses.iter().rev() {
            self.push(RETURN, clause.action);
            for instruction in rules::instructions(&clause.conditions).iter().rev() {
                let seccompiler::sock_filter { code, jt, jf, k } = *instruction;
                self.backward.push(sock_filter { code, jt, jf, k });
            }
        }
        let place = self.backward.len() - 1;
        self.bodies.push((index, place));
        place
    }

    /// Writes a binary tree over `ranges`, which expects the number in the accumulator. Returns the
    /// position at which to enter it.
    fn tree(&mut self, ranges: &[(u32, Verdict)], bodies: &[Body]) -> Place {
        if let [(_, verdict)] = ranges {
            return match *verdict {
                Verdict::Return(value) => self.answer(value),
                Verdict::Match(index) => self.body(index, bodies),
            };
        }
        let (lower, upper) = ranges.split_at(ranges.len() / 2);
        let yes = self.tree(upper, bodies);
        let no = self.tree(lower, bodies);
        self.branch(IF_AT_LEAST, upper[0].0, yes, no)
    }
}
