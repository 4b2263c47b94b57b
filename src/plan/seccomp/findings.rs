//! What is wrong with a profile: names that do not exist, and rules that have no effect.

use super::description::{Answer, Finding, condition};
use super::rules::{Profile, has, register};
use crate::config::seccomp::{Arch, Argument, Operator, Seccomp};

/// Collects findings. Those of the same kind become one.
pub(super) struct Findings<'p> {
    rules: &'p Profile<'p>,
    all: &'p [Arch],
    /// One for each name and kind.
    single: Vec<Finding>,
}

impl<'p> Findings<'p> {
    /// Begins with those that do not depend on other rules.
    pub(super) fn new(profile: &Seccomp, rules: &'p Profile, all: &'p [Arch]) -> Self {
        let mut this = Self {
            rules,
            all,
            single: Vec::new(),
        };
        for (index, rule) in profile.rules.iter().enumerate() {
            this.of_rule(index, profile, rule.args.as_slice());
            for name in &rule.names {
                let known = rules.rules[index].calls.iter().find(|call| call.1 == name);
                let what = match known {
                    None => "no architecture has this call",
                    Some(call) if !all.iter().any(|arch| has(call, *arch)) => {
                        "no architecture of the profile has this call"
                    }
                    Some(_) => continue,
                };
                this.push(index, Some(name), what.to_owned(), None);
            }
        }
        this
    }

    fn of_rule(&mut self, index: usize, profile: &Seccomp, args: &[Argument]) {
        if profile.rules[index].action == profile.default_action {
            let what = "has no effect: its action is the default action";
            self.push(index, None, what.to_owned(), None);
        }
        let twice = args.iter().enumerate().find_map(|(at, one)| {
            let before = args[..at].iter().position(|it| it.index == one.index)?;
            Some((before, at, one.index))
        });
        if let Some((before, at, argument)) = twice {
            let what = format!(
                "args[{before}] and args[{at}] both test arg {argument}, so that each element of \
                 args alone is enough"
            );
            self.push(index, None, what, None);
        }
    }

    /// Adds a finding about the call `name` of a rule on `arch`.
    pub(super) fn add(&mut self, rule: usize, name: &str, what: String, arch: Arch) {
        self.push(rule, Some(name), what, Some(arch));
    }

    fn push(&mut self, rule: usize, name: Option<&str>, what: String, arch: Option<Arch>) {
        let names: Vec<_> = name.into_iter().map(str::to_owned).collect();
        let key = (rule, &what, &names);
        let key_of = |it: &Finding| (it.rule, &it.what, &it.names).cmp(&key);
        match self.single.binary_search_by(key_of) {
            Ok(at) => {
                let known = &mut self.single[at].architectures;
                if known.last() != arch.as_ref() {
                    known.extend(arch);
                }
            }
            Err(at) => self.single.insert(
                at,
                Finding {
                    rule,
                    names,
                    what,
                    architectures: arch.into_iter().collect(),
                },
            ),
        }
    }

    /// The number of architectures that have the call of a finding that is about one call.
    fn having(&self, one: &Finding) -> usize {
        let mut calls = self.rules.rules[one.rule].calls.iter();
        let call = calls.find(|call| one.names.iter().any(|name| name == call.1));
        let has = |arch: &&Arch| call.is_some_and(|(call, _)| call.number(**arch).is_some());
        self.all.iter().filter(has).count()
    }

    /// The findings, in the order of the rules.
    pub(super) fn finish(mut self) -> Vec<Finding> {
        let mut merged: Vec<Finding> = Vec::new();
        for mut one in std::mem::take(&mut self.single) {
            if one.architectures.len() == self.having(&one) {
                one.architectures.clear();
            }
            let same = |it: &&mut Finding| {
                (it.rule, &it.what, &it.architectures) == (one.rule, &one.what, &one.architectures)
            };
            match merged.last_mut().filter(same) {
                Some(last) => last.names.append(&mut one.names),
                None => merged.push(one),
            }
        }
        merged
    }
}

/// The earlier answer that matches whenever `args` match.
pub(super) fn shadow_of<'a>(
    earlier: &'a [Answer],
    args: &[Argument],
    arch: Arch,
) -> Option<&'a Answer> {
    let implied = |one: &Argument| args.iter().any(|arg| implies(arg, one, arch));
    earlier
        .iter()
        .find(|answer| answer.args.iter().all(implied))
}

/// What to say about the rule `own`, which `earlier` shadows.
pub(super) fn shadowed(earlier: &Answer, own: usize, profile: &Seccomp) -> String {
    if earlier.rule == own {
        return "cannot match again: the rule already has it".to_owned();
    }
    let rule = format!("linux.seccomp.syscalls[{}]", earlier.rule);
    let arguments = if earlier.args.is_empty() {
        "for any arguments"
    } else {
        "for these arguments"
    };
    let contradicts = if earlier.action == profile.rules[own].action {
        "in the same way"
    } else {
        "and contradicts it"
    };
    format!("cannot match: {rule} answers first, {arguments}, {contradicts}")
}

/// What to say if one of `args` never matches.
pub(super) fn impossible(args: &[Argument], arch: Arch) -> Option<String> {
    let never = args.iter().find(|arg| match arg.operator {
        Operator::Less => arg.value == 0,
        Operator::Greater => arg.value == register(arch),
        _ => false,
    })?;
    Some(format!("cannot match: {} never holds", condition(never)))
}

/// Whether `one` holds whenever `arg` does. Finds the cases that occur in profiles.
fn implies(arg: &Argument, one: &Argument, arch: Arch) -> bool {
    if arg.index != one.index {
        return false;
    }
    let value = arg.value;
    arg == one
        || arg.operator == Operator::Equal
            && match one.operator {
                Operator::NotEqual => value != one.value,
                Operator::Less => value < one.value,
                Operator::LessOrEqual => value <= one.value,
                Operator::Equal => value == one.value,
                Operator::GreaterOrEqual => value >= one.value,
                Operator::Greater => value > one.value,
                Operator::MaskedEqual => value & one.value == one.value_two & one.value,
            }
        || one.operator == Operator::GreaterOrEqual && one.value == 0
        || one.operator == Operator::LessOrEqual && one.value == register(arch)
}
