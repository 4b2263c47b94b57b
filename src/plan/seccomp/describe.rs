//! Describes a profile: what its filter answers to each call, and which of its rules have no effect.
//!
//! It uses the rules as the compiler reads them, so that it cannot say anything else than the
//! filter does.

use super::architectures;
use super::description::{Answer, Architecture, Call, Description};
use super::findings::{Findings, impossible, shadow_of, shadowed};
use super::rules::{Entry, Profile, by_number, has, number, position};
use crate::config::seccomp::{Arch, Seccomp};
use crate::plan::syscalls::{ARM_PRIVATE, multiplexed};
use crate::sorted::sorted_set;

/// Describes the filter of `profile` for a host of the architecture `native`.
#[must_use]
pub fn describe(profile: &Seccomp, native: Arch) -> Description {
    let rules = Profile::new(profile);
    let all = architectures(profile, native);
    let mut findings = Findings::new(profile, &rules, &all);
    let architectures = all
        .iter()
        .map(|&arch| architecture(profile, &rules, arch, &all, &mut findings))
        .collect();
    Description {
        default: profile.default_action,
        architectures,
        findings: findings.finish(),
    }
}

fn architecture(
    profile: &Seccomp,
    rules: &Profile,
    arch: Arch,
    all: &[Arch],
    findings: &mut Findings,
) -> Architecture {
    let entries = rules.entries(arch);
    let mut calls: Vec<Call> = Vec::new();
    for chunk in by_number(&entries).chunk_by(|a, b| number(*a) == number(*b)) {
        let entries: Vec<_> = chunk.iter().map(|key| &entries[position(*key)]).collect();
        let call = call(profile, &entries, arch, findings);
        // A sort is 5 kB of code.
        let at = calls.partition_point(|other| other.name < call.name);
        calls.insert(at, call);
    }
    let named = rules.rules.iter().flat_map(|rule| &rule.calls);
    let lacking = named
        .filter(|call| !has(call, arch) && all.iter().any(|other| has(call, *other)))
        .map(|(_, name)| *name);
    let lacking = sorted_set(lacking.collect());
    let limit = if arch == Arch::Arm {
        ARM_PRIVATE
    } else {
        u32::MAX
    };
    Architecture {
        arch,
        newest: rules.newest(arch, limit).filter(|_| !rules.permissive),
        calls,
        lacking: lacking.into_iter().map(str::to_owned).collect(),
    }
}

/// The answers of all rules for one number, in the order in which the filter tries them.
fn call(profile: &Seccomp, entries: &[&Entry], arch: Arch, findings: &mut Findings) -> Call {
    let mut answers: Vec<Answer> = Vec::new();
    let every = entries.iter().flat_map(|entry| {
        let alternatives = entry.alternatives(arch).into_iter();
        alternatives.map(move |args| (entry, args))
    });
    // An answer for any arguments beats the others, whatever the order.
    let (always, some): (Vec<_>, Vec<_>) = every.partition(|(_, args)| args.is_empty());
    for (entry, args) in always.into_iter().chain(some) {
        let shadow = shadow_of(&answers, &args, arch);
        if let Some(finding) = shadow.map_or_else(
            || impossible(&args, arch),
            |earlier| Some(shadowed(earlier, entry.rule.index, profile)),
        ) {
            // The rule still answers the call itself, if it has a number.
            if entry.behind.is_none() {
                findings.add(entry.rule.index, entry.name, finding, arch);
            }
            continue;
        }
        answers.push(Answer {
            action: profile.rules[entry.rule.index].action,
            args,
            behind: entry.behind.map(|_| entry.name.to_owned()),
            rule: entry.rule.index,
        });
    }
    let direct = entries.iter().find(|entry| entry.behind.is_none());
    let multiplexer = || multiplexed(entries[0].name).map_or("", |(name, _)| name);
    Call {
        name: direct
            .map_or_else(multiplexer, |entry| entry.name)
            .to_owned(),
        number: entries[0].number,
        answers,
    }
}
