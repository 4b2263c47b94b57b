//! What differs between two plans, by the lines of their texts.
//!
//! The lines name everything that a plan does. What they only count, such as the variables of an
//! environment, has lines of its own here.

use std::fmt::{self, Display};

use serde_json::Value;

use super::text::Line;
use super::text::words::lossy;
use super::{InitStep, Plan};
use crate::json::object;

/// A difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// Only the first list has the line.
    Removed(&'a Line),
    /// Only the second list has the line.
    Added(&'a Line),
    /// Both have a line about the same thing.
    Changed(&'a Line, &'a Line),
}

impl Plan {
    /// A line for each variable of the process and of the hooks.
    #[must_use]
    pub fn variables(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        if let Some(exec) = self.exec() {
            add_variables(&mut lines, &exec.env, "process.env");
        }
        let lists = [&self.hooks, &self.after_start, &self.after_delete];
        for planned in lists.into_iter().flat_map(|list| list.iter()) {
            let env = planned.step.env.as_deref().unwrap_or_default();
            add_variables(&mut lines, env, &planned.field);
        }
        for planned in self.init.iter().chain(self.start.iter()) {
            if let InitStep::Hook(hook) = &planned.step {
                let env = hook.env.as_deref().unwrap_or_default();
                add_variables(&mut lines, env, &planned.field);
            }
        }
        lines
    }
}

fn add_variables(lines: &mut Vec<Line>, env: &[std::ffi::CString], field: &str) {
    lines.extend(env.iter().map(|variable| {
        let what = lossy(variable);
        let name = what.split_once('=').map_or(&*what, |(name, _)| name);
        Line {
            phase: "variable",
            subject: format!("{name} of {field}"),
            field: field.to_owned(),
            what,
        }
    }));
}

impl Line {
    /// A property has another index in a list that has become longer, but the step is the same.
    fn is(&self, other: &Self) -> bool {
        (self.phase, &self.what) == (other.phase, &other.what)
    }

    fn is_about(&self, other: &Self) -> bool {
        (self.phase, &self.subject) == (other.phase, &other.subject)
    }
}

/// The differences between two lists of lines, in their order.
#[must_use]
pub fn changes<'a>(before: &'a [Line], after: &'a [Line]) -> Vec<Change<'a>> {
    let mut all = pair(before, after);
    let mut at = 0;
    while at < all.len() {
        let same = |other: &Change| match (&all[at], other) {
            (Change::Removed(one), Change::Added(other))
            | (Change::Added(one), Change::Removed(other)) => one.is_about(other),
            _ => false,
        };
        if let Some(later) = all[at + 1..].iter().position(same) {
            let later = all.remove(at + 1 + later);
            all[at] = match (all[at], later) {
                (Change::Removed(before), Change::Added(after))
                | (Change::Added(after), Change::Removed(before)) => Change::Changed(before, after),
                (other, _) => other,
            };
        }
        at += 1;
    }
    all
}

/// Leaves out a longest common subsequence.
fn pair<'a>(before: &'a [Line], after: &'a [Line]) -> Vec<Change<'a>> {
    let width = after.len() + 1;
    // The length of the longest one of the rests from each pair of positions.
    let mut longest = vec![0u32; (before.len() + 1) * width];
    for (i, one) in before.iter().enumerate().rev() {
        for (j, other) in after.iter().enumerate().rev() {
            longest[i * width + j] = if one.is(other) {
                longest[(i + 1) * width + j + 1] + 1
            } else {
                longest[(i + 1) * width + j].max(longest[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut out = Vec::new();
    loop {
        match (before.get(i), after.get(j)) {
            (Some(one), Some(other)) if one.is(other) => (i, j) = (i + 1, j + 1),
            (Some(one), other)
                if other.is_none()
                    || longest[(i + 1) * width + j] >= longest[i * width + j + 1] =>
            {
                out.push(Change::Removed(one));
                i += 1;
            }
            (_, Some(other)) => {
                out.push(Change::Added(other));
                j += 1;
            }
            _ => return out,
        }
    }
}

/// `-` removed, `+` added, `<` and `>` changed: before and after.
impl Display for Change<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Removed(line) => writeln!(f, "- {line}"),
            Self::Added(line) => writeln!(f, "+ {line}"),
            Self::Changed(before, after) => writeln!(f, "< {before}\n> {after}"),
        }
    }
}

impl Change<'_> {
    /// The same as a JSON object. `before` and `after` are null if there is none.
    #[must_use]
    pub fn json(&self) -> Value {
        let (word, before, after) = match self {
            Self::Removed(line) => ("removed", Some(line), None),
            Self::Added(line) => ("added", None, Some(line)),
            Self::Changed(before, after) => ("changed", Some(before), Some(after)),
        };
        let side = |line: Option<&&Line>| {
            line.map(|it| object! { "what": it.what.as_str(), "config": it.field.as_str() })
        };
        let phase = before.or(after).map(|line| line.phase);
        object! { "change": word, "phase": phase, "before": side(before), "after": side(after) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(phase: &'static str, subject: &str, what: &str, field: &str) -> Line {
        Line {
            phase,
            subject: subject.to_owned(),
            what: what.to_owned(),
            field: field.to_owned(),
        }
    }

    fn text(before: &[Line], after: &[Line]) -> String {
        let changes = changes(before, after);
        changes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn equal_lists_have_no_changes() {
        let one = [line("init", "mask", "mask /a", "linux.maskedPaths[0]")];
        assert_eq!(text(&one, &one), "");
        assert_eq!(text(&[], &[]), "");
    }

    #[test]
    fn a_step_is_removed_added_or_changed() {
        let mask = |path: &str, index: usize| {
            let field = format!("linux.maskedPaths[{index}]");
            line("init", &format!("mask of {field}"), path, &field)
        };
        let pids = |what| line("prepare", "pids", what, "linux.resources.pids.limit");
        let before = [
            pids("write 1 to pids.max"),
            mask("mask /a", 0),
            mask("mask /b", 1),
        ];
        let after = [
            pids("write 2 to pids.max"),
            mask("mask /b", 0),
            line("init", "hostname", "sethostname x", "hostname"),
        ];
        let expected = "\
< prepare  write 1 to pids.max  <- linux.resources.pids.limit
> prepare  write 2 to pids.max  <- linux.resources.pids.limit
- init     mask /a  <- linux.maskedPaths[0]
+ init     sethostname x  <- hostname
";
        assert_eq!(text(&before, &after), expected);
        let json = changes(&before, &after)[0].json();
        assert_eq!(json["change"], "changed");
        assert_eq!(json["after"]["what"], "write 2 to pids.max");
    }

    #[test]
    fn a_variable_is_found_by_its_name() {
        let lines = |variable: &std::ffi::CStr| {
            let mut lines = Vec::new();
            add_variables(&mut lines, &[variable.to_owned()], "process.env");
            lines
        };
        assert_eq!(
            text(&lines(c"A=1"), &lines(c"A=2")),
            "< variable A=1  <- process.env\n> variable A=2  <- process.env\n"
        );
        assert_eq!(
            text(&lines(c"A=1"), &lines(c"B=1")),
            "- variable A=1  <- process.env\n+ variable B=1  <- process.env\n"
        );
    }
}
