//! What differs between two plans, by their text.
//!
//! The text names everything that a plan does. What it only counts, such as the variables of an
//! environment, has lines of its own here.

use std::fmt::{self, Display, Write};

use serde_json::{Value, json};

use super::text::words::lossy;
use super::{InitStep, Plan};

/// One line of a plan's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    phase: &'a str,
    what: &'a str,
    field: &'a str,
}

/// A difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// Only the first text has the line.
    Removed(Line<'a>),
    /// Only the second text has the line.
    Added(Line<'a>),
    /// Both have a line for the same thing.
    Changed(Line<'a>, Line<'a>),
}

/// How a line of one text finds the line of the other that is about the same thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// By property and first word: the steps of a plan.
    Field,
    /// By the first word: the answers of a filter, whose rules may be in another order.
    Word,
}

impl Plan {
    /// A line for each variable of the process and of the hooks.
    #[must_use]
    pub fn variables(&self) -> String {
        let mut text = String::new();
        if let Some(exec) = self.exec() {
            write_variables(&mut text, &exec.env, "process.env");
        }
        let lists = [&self.hooks, &self.after_start, &self.after_delete];
        for planned in lists.into_iter().flat_map(|list| list.iter()) {
            let env = planned.step.env.as_deref().unwrap_or_default();
            write_variables(&mut text, env, &planned.field);
        }
        for planned in self.init.iter().chain(self.start.iter()) {
            if let InitStep::Hook(hook) = &planned.step {
                let env = hook.env.as_deref().unwrap_or_default();
                write_variables(&mut text, env, &planned.field);
            }
        }
        text
    }
}

fn write_variables(text: &mut String, env: &[std::ffi::CString], field: &str) {
    for variable in env {
        let _ = writeln!(text, "variable {}  <- {field}", lossy(variable));
    }
}

fn lines(text: &str) -> Vec<Line<'_>> {
    let line = |line| {
        let (rest, field) = str::rsplit_once(line, "  <- ").unwrap_or((line, ""));
        let (phase, what) = rest.split_once(' ').unwrap_or((rest, ""));
        let what = what.trim_start();
        Line { phase, what, field }
    };
    text.lines().map(line).collect()
}

impl Line<'_> {
    /// A property has another index in a list that has become longer, but the step is the same.
    fn is(&self, other: &Line) -> bool {
        (self.phase, self.what) == (other.phase, other.what)
    }

    fn is_about(&self, other: &Line, by: Match) -> bool {
        let word = |line: &Line| line.what.split([' ', '=']).next().map(str::len);
        let (own, others) = (word(self), word(other));
        self.phase == other.phase
            && (by == Match::Word || self.field == other.field)
            && own.map(|end| &self.what[..end]) == others.map(|end| &other.what[..end])
    }
}

/// The differences between two texts, in the order of their lines.
#[must_use]
pub fn changes<'a>(before: &'a str, after: &'a str, by: Match) -> Vec<Change<'a>> {
    let mut all = pair(&lines(before), &lines(after));
    let mut at = 0;
    while at < all.len() {
        let same = |other: &Change| match (&all[at], other) {
            (Change::Removed(one), Change::Added(other))
            | (Change::Added(one), Change::Removed(other)) => one.is_about(other, by),
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
fn pair<'a>(before: &[Line<'a>], after: &[Line<'a>]) -> Vec<Change<'a>> {
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
                out.push(Change::Removed(*one));
                i += 1;
            }
            (_, Some(other)) => {
                out.push(Change::Added(*other));
                j += 1;
            }
            _ => return out,
        }
    }
}

impl Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<8} {}", self.phase, self.what)?;
        if !self.field.is_empty() {
            write!(f, "  <- {}", self.field)?;
        }
        Ok(())
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
        let side =
            |line: Option<&Line>| line.map(|it| json!({"what": it.what, "config": it.field}));
        let phase = before.or(after).map(|line| line.phase);
        json!({"change": word, "phase": phase, "before": side(before), "after": side(after)})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(before: &str, after: &str, by: Match) -> String {
        let changes = changes(before, after, by);
        changes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn equal_texts_have_no_changes() {
        let one = "init     mask /a, if it exists  <- linux.maskedPaths[0]\n";
        assert_eq!(text(one, one, Match::Field), "");
        assert_eq!(text("", "", Match::Field), "");
    }

    #[test]
    fn a_step_is_removed_added_or_changed() {
        let before = "\
prepare  write 1 to pids.max  <- linux.resources.pids.limit
init     mask /a  <- linux.maskedPaths[0]
init     mask /b  <- linux.maskedPaths[1]
";
        let after = "\
prepare  write 2 to pids.max  <- linux.resources.pids.limit
init     mask /b  <- linux.maskedPaths[0]
init     sethostname x  <- hostname
";
        let expected = "\
< prepare  write 1 to pids.max  <- linux.resources.pids.limit
> prepare  write 2 to pids.max  <- linux.resources.pids.limit
- init     mask /a  <- linux.maskedPaths[0]
+ init     sethostname x  <- hostname
";
        assert_eq!(text(before, after, Match::Field), expected);
        let json = changes(before, after, Match::Field)[0].json();
        assert_eq!(json["change"], "changed");
        assert_eq!(json["after"]["what"], "write 2 to pids.max");
    }

    #[test]
    fn variables_and_answers_are_found_by_their_name() {
        let text = |before, after, by| text(before, after, by);
        assert_eq!(
            text(
                "variable A=1  <- process.env",
                "variable A=2  <- process.env",
                Match::Field
            ),
            "< variable A=1  <- process.env\n> variable A=2  <- process.env\n"
        );
        assert_eq!(
            text(
                "x86_64   read is allowed  <- a[0]",
                "x86_64   read fails  <- a[1]",
                Match::Word
            ),
            "< x86_64   read is allowed  <- a[0]\n> x86_64   read fails  <- a[1]\n"
        );
    }
}
