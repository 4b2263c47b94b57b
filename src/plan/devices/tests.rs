use super::*;
use crate::config::resources::DeviceRuleKind::{All, Block, Char};

/// Evaluates the list directly: the last rule that names an access decides it.
fn naive(rules: &[DeviceRule], kind: u8, major: u32, minor: u32, access: u8) -> bool {
    [MKNOD, READ, WRITE]
        .into_iter()
        .filter(|bit| access & bit != 0)
        .all(|bit| {
            let decides = |rule: &&DeviceRule| {
                let named = match bit {
                    MKNOD => rule.mknod,
                    READ => rule.read,
                    _ => rule.write,
                };
                let everything = rule.kind == All && !rule.mknod && !rule.read && !rule.write;
                let same_kind = match rule.kind {
                    All => true,
                    Block => kind == BLOCK,
                    Char => kind == CHAR,
                };
                (named || everything)
                    && same_kind
                    && rule.major.is_none_or(|it| it == major)
                    && rule.minor.is_none_or(|it| it == minor)
            };
            rules
                .iter()
                .chain(&DEFAULTS)
                .rev()
                .find(decides)
                .is_some_and(|rule| rule.allow)
        })
}

/// Runs a program as the kernel would, with the instructions that the assembler emits. Panics on
/// any other instruction, on a jump out of the program and on a backward jump.
fn interpret(program: &[Insn], kind: u8, major: u32, minor: u32, access: u8) -> bool {
    let context = [u32::from(access) << 16 | u32::from(kind), major, minor];
    let mut registers = [None::<u32>; 11];
    let mut at = 0;
    loop {
        let insn = program[at];
        let to = usize::from(insn.registers & 15);
        let from = usize::from(insn.registers >> 4);
        let value = |register: usize| registers[register].expect("read before written");
        let immediate = insn.immediate.cast_unsigned();
        let jump = match insn.code {
            0x61 => {
                assert_eq!(from, 1, "the context is in r1");
                registers[to] = Some(context[usize::try_from(insn.offset).unwrap() / 4]);
                false
            }
            0xb4 => {
                registers[to] = Some(immediate);
                false
            }
            0xbc => {
                registers[to] = Some(value(from));
                false
            }
            0x54 => {
                registers[to] = Some(value(to) & immediate);
                false
            }
            0x4c => {
                registers[to] = Some(value(to) | value(from));
                false
            }
            0x64 => {
                registers[to] = Some(value(to) << immediate);
                false
            }
            0x74 => {
                registers[to] = Some(value(to) >> immediate);
                false
            }
            0x05 => true,
            0x16 => value(to) == immediate,
            0x56 => value(to) != immediate,
            0x46 => value(to) & immediate != 0,
            0x95 => return value(0) == 1,
            code => panic!("unknown instruction {code:#x}"),
        };
        at += 1;
        if jump {
            at += usize::try_from(insn.offset).expect("jumps go forward");
        }
    }
}

/// Whether all instructions can be reached. The verifier checks this before it looks at any value.
fn all_reachable(program: &[Insn]) -> bool {
    let mut reached = vec![false; program.len()];
    let mut todo = vec![0];
    while let Some(at) = todo.pop() {
        if std::mem::replace(&mut reached[at], true) {
            continue;
        }
        let insn = program[at];
        let target = at + 1 + usize::try_from(insn.offset).unwrap_or(0);
        match insn.code {
            0x95 => {}
            0x05 => todo.push(target),
            0x16 | 0x56 | 0x46 => todo.extend([at + 1, target]),
            _ => todo.push(at + 1),
        }
    }
    reached.into_iter().all(|it| it)
}

/// xorshift64, which gives the same lists in every run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }

    fn rule(&mut self) -> DeviceRule {
        let access = self.below(8);
        DeviceRule {
            allow: self.below(2) == 0,
            kind: self.pick(&[All, Block, Char]),
            major: self.pick(&MAJORS),
            minor: self.pick(&MINORS),
            read: access & 1 != 0,
            write: access & 2 != 0,
            mknod: access & 4 != 0,
        }
    }

    pub(crate) fn rules(&mut self) -> Vec<DeviceRule> {
        (0..self.below(8)).map(|_| self.rule()).collect()
    }
}

/// Some of these belong to no device that can exist. Rules with them must match nothing.
const MAJORS: [Option<u32>; 6] = [None, None, Some(1), Some(8), Some(4097), Some(u32::MAX)];
const MINORS: [Option<u32>; 5] = [None, None, Some(3), Some(1 << 20 | 3), Some(u32::MAX)];

/// Every request that could distinguish two lists.
fn requests() -> impl Iterator<Item = (u8, u32, u32, u8)> {
    let majors = [0, 1, 5, 8, 10, 136, 4095, 77];
    let minors = [0, 2, 3, 200, (1 << 20) - 1, 77];
    [BLOCK, CHAR].into_iter().flat_map(move |kind| {
        majors.into_iter().flat_map(move |major| {
            minors
                .into_iter()
                .flat_map(move |minor| (1..8).map(move |access| (kind, major, minor, access)))
        })
    })
}

fn agrees(rules: &[DeviceRule]) {
    let program = compile(rules);
    if let Some(program) = &program {
        assert!(all_reachable(&program.insns), "{rules:?}");
    }
    for (kind, major, minor, access) in requests() {
        let got = program
            .as_ref()
            .is_none_or(|program| interpret(&program.insns, kind, major, minor, access));
        let wanted = naive(rules, kind, major, minor, access);
        assert_eq!(got, wanted, "{kind} {major}:{minor} {access} by {rules:?}");
    }
}

#[test]
fn random_lists_agree_with_direct_evaluation() {
    let mut random = Random::new();
    for _ in 0..300 {
        agrees(&random.rules());
    }
}

fn rule(text: &str) -> DeviceRule {
    let words: Vec<_> = text.split([' ', ':']).collect();
    let number = |word: &str| (word != "*").then(|| word.parse().unwrap());
    DeviceRule {
        allow: words[0] == "allow",
        kind: match words[1] {
            "a" => All,
            "b" => Block,
            _ => Char,
        },
        major: number(words[2]),
        minor: number(words[3]),
        read: words[4].contains('r'),
        write: words[4].contains('w'),
        mknod: words[4].contains('m'),
    }
}

fn allowed(rules: &[&str], kind: u8, major: u32, minor: u32, access: u8) -> bool {
    let rules: Vec<_> = rules.iter().map(|text| rule(text)).collect();
    agrees(&rules);
    compile(&rules).is_none_or(|program| interpret(&program.insns, kind, major, minor, access))
}

#[test]
fn rules_in_words() {
    let rw = READ | WRITE;
    for (rules, (kind, major, minor, access), wanted) in [
        // Only the defaults are allowed, and mknod for every device.
        (&[][..], (BLOCK, 8, 0, READ), false),
        (&[], (CHAR, 1, 3, rw), true),
        (&[], (CHAR, 136, 7, rw), true),
        (&[], (CHAR, 5, 1, READ), false),
        (&[], (BLOCK, 8, 0, MKNOD), true),
        // The defaults cannot be denied.
        (&["deny a *:* rwm"], (CHAR, 1, 5, rw), true),
        (&["deny c 1:3 rwm"], (CHAR, 1, 3, rw), true),
        // A privileged container.
        (&["allow a *:* rwm"], (BLOCK, 8, 0, rw), true),
        (
            &["deny a *:* rwm", "allow a *:* rwm"],
            (BLOCK, 8, 0, rw),
            true,
        ),
        (
            &["allow a *:* rwm", "deny a *:* rwm"],
            (BLOCK, 8, 0, rw),
            false,
        ),
        // A request passes if all of its accesses do, even by different rules.
        (&["allow b 8:0 r"], (BLOCK, 8, 0, rw), false),
        (&["allow b 8:0 r", "allow b 8:* w"], (BLOCK, 8, 0, rw), true),
        // A later rule denies a part of what was allowed.
        (
            &["allow a *:* rwm", "deny b 8:0 w"],
            (BLOCK, 8, 0, rw),
            false,
        ),
        (
            &["allow a *:* rwm", "deny b 8:0 w"],
            (BLOCK, 8, 0, READ),
            true,
        ),
        (
            &["allow b 8:* rw", "deny b 8:1 rw"],
            (BLOCK, 8, 1, READ),
            false,
        ),
        (
            &["allow b 8:* rw", "deny b 8:1 rw"],
            (BLOCK, 8, 2, READ),
            true,
        ),
        (
            &["allow b 8:1 rw", "deny b *:* w"],
            (BLOCK, 8, 1, WRITE),
            false,
        ),
        (
            &["deny b 8:1 rw", "allow b 8:* r"],
            (BLOCK, 8, 1, READ),
            true,
        ),
        // A block device and a character device with the same number are two devices.
        (&["allow c 8:0 rwm"], (BLOCK, 8, 0, READ), false),
        // The largest numbers.
        (
            &["allow b 4095:1048575 r"],
            (BLOCK, 4095, 1_048_575, READ),
            true,
        ),
        // Type `a` without accesses means everything; another type without accesses means nothing.
        (&["allow a *:* "], (BLOCK, 8, 0, rw), true),
        (&["allow b 8:0 "], (BLOCK, 8, 0, READ), false),
    ] {
        assert_eq!(
            allowed(rules, kind, major, minor, access),
            wanted,
            "{rules:?} {access}"
        );
    }
}

#[test]
fn there_is_a_program_only_if_something_is_denied() {
    assert!(compile(&[rule("allow a *:* rwm")]).is_none());
    assert!(compile(&[rule("deny b 8:0 r"), rule("allow a *:* rwm")]).is_none());
    assert!(compile(&[rule("allow a *:* rwm"), rule("deny b 8:0 r")]).is_some());
    assert!(compile(&[]).is_some());
}

#[test]
fn summary_is_the_order_of_the_program() {
    let rules = [
        rule("deny a *:* rwm"),
        rule("allow c 10:229 rw"),
        rule("allow c 1:3 rwm"),
    ];
    let program = compile(&rules).unwrap();
    assert_eq!(
        program.summary(),
        "allow c 10:200 rwm, allow c 136:* rwm, allow c 5:2 rwm, allow c 5:0 rwm, \
         allow c 1:9 rwm, allow c 1:8 rwm, allow c 1:7 rwm, allow c 1:5 rwm, allow c 1:3 rwm, \
         allow b *:* m, allow c *:* m, allow c 10:229 rw, deny a *:* rwm"
    );
}

#[test]
fn no_jump_is_too_far() {
    // The longest possible program: each rule needs three instructions for each kind.
    let wide = |minor| DeviceRule {
        mknod: false,
        ..default(All, Some(300), Some(minor))
    };
    let many: Vec<_> = (0..4096).map(wide).collect();
    let program = compile(&many).unwrap();
    assert!(program.insns.len() > 6 * many.len());
    assert!(interpret(&program.insns, BLOCK, 300, 0, READ));
    assert!(interpret(&program.insns, CHAR, 300, 4095, READ | WRITE));
    assert!(!interpret(&program.insns, CHAR, 300, 4096, READ));
}

#[test]
fn instructions_as_the_kernel_reads_them() {
    let insn = Insn {
        code: 0x56,
        registers: 0x13,
        offset: -2,
        immediate: 0x0102_0304,
    };
    let bytes = insn.encode().to_ne_bytes();
    assert_eq!(bytes[..2], [0x56, 0x13]);
    assert_eq!(bytes[2..4], (-2i16).to_ne_bytes());
    assert_eq!(bytes[4..], 0x0102_0304i32.to_ne_bytes());
}
