//! The device allow-list as a BPF_CGROUP_DEVICE program.
//!
//! The kernel asks the program about every use of a device node. A request is a set of accesses:
//! mknod alone, or read and write together for an open(2) with O_RDWR. The list means:
//!
//! * Each single access (read, write, mknod) is decided by the **last** rule that names the device
//!   and that access. Without such a rule it is denied. The request passes if all of its accesses
//!   do.
//! * [`DEFAULTS`] come after the rules of the config, so that a container can always use the
//!   devices that the specification promises.
//! * A rule of type `a` without accesses applies to every access.
//!
//! runc gives the lists of engines this meaning too: it replays them as cgroup v1 would. There are
//! two differences. If a rule denies a part of what an earlier wildcard allowed, v1 ignored the
//! rule and runc refuses the config; here that part is denied. In v1 `a` always meant everything;
//! here its numbers and accesses count if they are given.
//!
//! Sources: runtime-spec config-linux.md, "Allowed Device list"; cgroup-v2.rst, "Device controller".

#[cfg(test)]
pub(crate) mod tests;

use std::fmt;

use crate::config::resources::{DeviceRule, DeviceRuleKind};

/// One eBPF instruction. Source: Documentation/bpf/standardization/instruction-set.rst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Insn {
    /// Class, operation and source.
    pub code: u8,
    /// Destination register in the low nibble, source register in the high one.
    pub registers: u8,
    /// Of a jump, in instructions; of a load, in bytes.
    pub offset: i16,
    /// The constant operand.
    pub immediate: i32,
}

/// A program, and the rules that it implements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The program.
    pub insns: Vec<Insn>,
    /// The rules in the order in which the program tries them.
    tried: Vec<Rule>,
    /// The verdict if none of them decides.
    default_verdict: Verdict,
}

impl Program {
    /// The rules in the order in which the program tries them, in one line such as
    /// `allow c 10:200 rwm, allow c 5:2 rwm, deny a *:* rwm`.
    pub fn summary(&self) -> String {
        let last = match self.default_verdict {
            Verdict::Allow => "allow a *:* rwm",
            Verdict::Deny => "deny a *:* rwm",
        };
        let tried = self.tried.iter().map(|rule| format!("{rule}, "));
        tried.chain([last.to_owned()]).collect()
    }
}

const fn default(kind: DeviceRuleKind, major: Option<u32>, minor: Option<u32>) -> DeviceRule {
    DeviceRule {
        allow: true,
        kind,
        major,
        minor,
        read: true,
        write: true,
        mknod: true,
    }
}

const fn mknod_any(kind: DeviceRuleKind) -> DeviceRule {
    DeviceRule {
        allow: true,
        kind,
        major: None,
        minor: None,
        read: false,
        write: false,
        mknod: true,
    }
}

/// Rules that hold for every container, whatever its own rules are. mknod(2) is allowed for any
/// device, because the node cannot be opened without another rule. The console of the container is
/// one of 136:*, so the console of the host, 5:1, is not in the list.
pub const DEFAULTS: [DeviceRule; 11] = {
    use DeviceRuleKind::{Block, Char};
    [
        mknod_any(Char),
        mknod_any(Block),
        default(Char, Some(1), Some(3)),    // null
        default(Char, Some(1), Some(5)),    // zero
        default(Char, Some(1), Some(7)),    // full
        default(Char, Some(1), Some(8)),    // random
        default(Char, Some(1), Some(9)),    // urandom
        default(Char, Some(5), Some(0)),    // tty
        default(Char, Some(5), Some(2)),    // ptmx
        default(Char, Some(136), None),     // pts/*
        default(Char, Some(10), Some(200)), // net/tun
    ]
};

/// BPF_DEVCG_ACC_*.
const MKNOD: u8 = 1;
const READ: u8 = 2;
const WRITE: u8 = 4;
const ALL: u8 = MKNOD | READ | WRITE;

/// BPF_DEVCG_DEV_*.
const BLOCK: u8 = 1;
const CHAR: u8 = 2;

/// A rule with the kernel's numbers. `None` is the wildcard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule {
    allow: bool,
    kind: Option<u8>,
    major: Option<u32>,
    minor: Option<u32>,
    access: u8,
}

impl Insn {
    /// The instruction as the kernel reads it: eight bytes in native byte order.
    pub fn encode(self) -> u64 {
        let [a, b] = self.offset.to_ne_bytes();
        let [c, d, e, f] = self.immediate.to_ne_bytes();
        u64::from_ne_bytes([self.code, self.registers, a, b, c, d, e, f])
    }
}

impl Rule {
    fn new(rule: &DeviceRule) -> Self {
        let kind = match rule.kind {
            DeviceRuleKind::All => None,
            DeviceRuleKind::Block => Some(BLOCK),
            DeviceRuleKind::Char => Some(CHAR),
        };
        let bits = [(rule.mknod, MKNOD), (rule.read, READ), (rule.write, WRITE)];
        let access = bits.iter().map(|(named, bit)| u8::from(*named) * bit).sum();
        let access = if access == 0 && kind.is_none() {
            ALL
        } else {
            access
        };
        Self {
            allow: rule.allow,
            kind,
            major: rule.major,
            minor: rule.minor,
            access,
        }
    }

    /// Whether this rule decides everything that `other` decides.
    fn covers(&self, other: &Self) -> bool {
        fn wider<T: PartialEq>(this: Option<T>, other: Option<T>) -> bool {
            this.is_none() || this == other
        }
        wider(self.kind, other.kind)
            && wider(self.major, other.major)
            && wider(self.minor, other.minor)
            && other.access & !self.access == 0
    }

    /// Whether a device with these numbers can exist: dev_t has 12 bits for the major number and 20
    /// for the minor one.
    fn can_match(&self) -> bool {
        self.major.is_none_or(|it| it < 1 << 12) && self.minor.is_none_or(|it| it < 1 << 20)
    }

    fn is_everything(&self) -> bool {
        self.kind.is_none() && self.major.is_none() && self.minor.is_none() && self.access == ALL
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.allow { "allow" } else { "deny" };
        let kind = match self.kind {
            None => 'a',
            Some(BLOCK) => 'b',
            Some(_) => 'c',
        };
        let number = |number: Option<u32>| number.map_or("*".into(), |number| number.to_string());
        write!(
            f,
            "{verdict} {kind} {}:{} ",
            number(self.major),
            number(self.minor)
        )?;
        for (bit, letter) in [(READ, "r"), (WRITE, "w"), (MKNOD, "m")] {
            f.write_str(if self.access & bit == 0 { "" } else { letter })?;
        }
        Ok(())
    }
}

/// Compiles the rules of the config and [`DEFAULTS`]. Returns `None` if they allow everything,
/// because that needs no program.
#[must_use]
pub fn compile(rules: &[DeviceRule]) -> Option<Program> {
    let (tried, default_verdict) = order(rules);
    let default_verdict = Verdict::of(default_verdict);
    if default_verdict == Verdict::Allow && tried.iter().all(|rule| rule.allow) {
        return None;
    }
    Some(Program {
        insns: assemble(&tried, default_verdict),
        tried,
        default_verdict,
    })
}

/// The rules from the last to the first, without those that have nothing left to decide, and the
/// verdict if none of them decides.
fn order(rules: &[DeviceRule]) -> (Vec<Rule>, bool) {
    let mut tried: Vec<Rule> = Vec::new();
    for rule in rules.iter().chain(&DEFAULTS).rev().map(Rule::new) {
        if rule.is_everything() {
            return (tried, rule.allow);
        }
        if rule.access != 0
            && rule.can_match()
            && !tried.iter().any(|earlier| earlier.covers(&rule))
        {
            tried.push(rule);
        }
    }
    (tried, false)
}

/// The registers of the program. The kernel passes the context in r1.
const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
/// The accesses that no rule has decided yet.
const UNDECIDED: u8 = 2;
const KIND: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
/// Major and minor number combined, as in dev_t.
const DEVICE: u8 = 6;

/// Instruction codes: class, operation and source of the operand in one byte. All work on 32 bits.
const LOAD_WORD: u8 = 0x61;
const MOVE_IMMEDIATE: u8 = 0xb4;
const MOVE_REGISTER: u8 = 0xbc;
const AND: u8 = 0x54;
const OR_REGISTER: u8 = 0x4c;
const SHIFT_LEFT: u8 = 0x64;
const SHIFT_RIGHT: u8 = 0x74;
const JUMP: u8 = 0x05;
const JUMP_IF_EQUAL: u8 = 0x16;
const JUMP_IF_NOT_EQUAL: u8 = 0x56;
const JUMP_IF_ANY_BIT: u8 = 0x46;
const EXIT: u8 = 0x95;

/// The result of the program, and the target of a jump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Allow,
    Deny,
}

impl Verdict {
    fn of(allow: bool) -> Self {
        if allow { Self::Allow } else { Self::Deny }
    }

    fn other(self) -> Self {
        Self::of(self == Self::Deny)
    }
}

#[derive(Default)]
struct Assembler {
    insns: Vec<Insn>,
    /// Jumps whose offsets are filled in when the position of the verdict is known.
    jumps: Vec<(usize, Verdict)>,
}

impl Assembler {
    fn push(&mut self, code: u8, to: u8, from: u8, offset: i16, immediate: u32) -> usize {
        let immediate = immediate.cast_signed();
        self.insns.push(Insn {
            code,
            registers: to | from << 4,
            offset,
            immediate,
        });
        self.insns.len() - 1
    }

    fn jump(&mut self, code: u8, register: u8, immediate: u32, verdict: Verdict) {
        let at = self.push(code, register, 0, 0, immediate);
        self.jumps.push((at, verdict));
    }

    /// Makes the jump at `at` go to the next instruction.
    fn target_next(&mut self, at: usize) {
        self.insns[at].offset =
            i16::try_from(self.insns.len() - at - 1).expect("Config limits the number of rules");
    }

    /// Emits a return of `verdict`. All jumps to this verdict go here.
    fn verdict(&mut self, verdict: Verdict) {
        let jumps: Vec<_> = self
            .jumps
            .extract_if(.., |jump| jump.1 == verdict)
            .collect();
        for (at, _) in jumps {
            self.target_next(at);
        }
        self.push(
            MOVE_IMMEDIATE,
            RESULT,
            0,
            0,
            u32::from(verdict == Verdict::Allow),
        );
        self.push(EXIT, 0, 0, 0, 0);
    }

    /// Emits the rules for one kind of device. Returns the verdict if none of them decides.
    fn section(&mut self, rules: &[Rule], kind: u8, default_verdict: Verdict) -> Verdict {
        for rule in rules
            .iter()
            .filter(|rule| rule.kind.is_none_or(|it| it == kind))
        {
            let verdict = Verdict::of(rule.allow);
            let condition = match (rule.major, rule.minor) {
                (Some(major), Some(minor)) => Some((DEVICE, major << 20 | minor)),
                (Some(major), None) => Some((MAJOR, major)),
                (None, Some(minor)) => Some((MINOR, minor)),
                (None, None) => None,
            };
            match condition {
                Some((register, number)) if rule.access == ALL => {
                    self.jump(JUMP_IF_EQUAL, register, number, verdict);
                }
                None if rule.access == ALL => return verdict,
                Some((register, number)) => {
                    let skip = self.push(JUMP_IF_NOT_EQUAL, register, 0, 0, number);
                    self.decide(rule);
                    self.target_next(skip);
                }
                None => self.decide(rule),
            }
        }
        default_verdict
    }

    /// Emits the verdict of a matching rule that names only some of the accesses.
    fn decide(&mut self, rule: &Rule) {
        if rule.allow {
            self.push(AND, UNDECIDED, 0, 0, u32::from(ALL & !rule.access));
            self.jump(JUMP_IF_EQUAL, UNDECIDED, 0, Verdict::Allow);
        } else {
            self.jump(
                JUMP_IF_ANY_BIT,
                UNDECIDED,
                u32::from(rule.access),
                Verdict::Deny,
            );
        }
    }
}

/// Assembles the program so that the verifier checks it in linear time.
///
/// The verifier walks every path, starting with the one that does not jump. It cuts a later path
/// short when it has already seen a more general one. So a match jumps away, and a mismatch falls
/// through to the next rule. The other way round, the work of the verifier would grow with the
/// square of the number of rules.
fn assemble(rules: &[Rule], default_verdict: Verdict) -> Vec<Insn> {
    let mut code = Assembler::default();
    // struct bpf_cgroup_dev_ctx { u32 access_type; u32 major; u32 minor; }, where access_type
    // holds the accesses in its high half and the kind in its low half.
    code.push(LOAD_WORD, KIND, CONTEXT, 0, 0);
    code.push(LOAD_WORD, MAJOR, CONTEXT, 4, 0);
    code.push(LOAD_WORD, MINOR, CONTEXT, 8, 0);
    code.push(MOVE_REGISTER, UNDECIDED, KIND, 0, 0);
    code.push(SHIFT_RIGHT, UNDECIDED, 0, 0, 16);
    code.push(AND, KIND, 0, 0, 0xffff);
    code.push(MOVE_REGISTER, DEVICE, MAJOR, 0, 0);
    code.push(SHIFT_LEFT, DEVICE, 0, 0, 20);
    code.push(OR_REGISTER, DEVICE, MINOR, 0, 0);
    let block = code.push(JUMP_IF_EQUAL, KIND, 0, 0, u32::from(BLOCK));
    let verdict = code.section(rules, CHAR, default_verdict);
    code.jump(JUMP, 0, 0, verdict);
    code.target_next(block);
    let verdict = code.section(rules, BLOCK, default_verdict);
    code.verdict(verdict);
    // The verifier refuses unreachable code.
    if !code.jumps.is_empty() {
        code.verdict(verdict.other());
    }
    code.insns
}
