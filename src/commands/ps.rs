//! `ps`: lists the processes of a container, with process ids as the caller sees them.

use std::ffi::OsString;

use anyhow::{Result, bail};
use nix::errno::Errno;

use super::{Context, DONE, Verb, open_cgroup, print, terminal};
use crate::cli::flags::flags;
use crate::cli::groups::{Container, ListFormat};
use crate::cli::units;
use crate::error::{Context as _, Error};
use crate::plan::c_string;
use crate::run::program;
use crate::state::{State, start_time};
use crate::sys::Fail;
use crate::sys::exec::environment;

flags! {
    /// List the processes of a container
    #[derive(Debug)]
    pub(super) struct Ps {
        /// Output format; json has only the process ids, as the caller sees them
        #[arg(short, long, value_name = "FORMAT", value_parser = units::choice::<ListFormat>(), default_value = "table")]
        pub format: String,

        #[command(flatten)]
        pub container: Container,

        /// Arguments of ps(1) for the table, by default -ef; its output must have a column PID
        #[arg(value_name = "PS-ARGUMENT", trailing_var_arg = true, allow_hyphen_values = true)]
        pub args: Vec<OsString>,
    }
}

impl Verb for Ps {
    fn container(&self) -> Option<&str> {
        Some(&self.container.id)
    }

    /// Prints the process ids in the cgroup and the cgroups below it, or the rows of ps(1) for them.
    /// In a stopped container these are the processes that its init left behind.
    fn run(&self, context: &Context) -> Result<u8> {
        let (dir, state) = context.load(&self.container.id)?;
        let mut pids = match open_cgroup(&dir, &state)? {
            Some(cgroup) => cgroup.processes()?,
            None => Vec::new(),
        };
        without_ended_init(&mut pids, &state)?;
        match units::chosen(&self.format) {
            ListFormat::Json => print(&json(&pids))?,
            ListFormat::Table => {
                let table = rows(&run_ps(&self.args)?, &pids)?;
                print(&match terminal::columns() {
                    Some(columns) => terminal::cut(&table, columns),
                    None => table,
                })?;
            }
        }
        Ok(DONE)
    }
}

/// Removes init from `pids` if it is exiting. The kernel removes a process from its cgroup late in
/// its exit, after `state` already reports that the container has stopped.
fn without_ended_init(pids: &mut Vec<i32>, state: &State) -> Result<()> {
    if pids.contains(&state.pid) && start_time(state.pid)?.is_none() {
        pids.retain(|pid| *pid != state.pid);
    }
    Ok(())
}

/// Formats the ids as `[1,2]`. It is `null` if there are none, because engines expect that from
/// other runtimes.
fn json(pids: &[i32]) -> String {
    if pids.is_empty() {
        return "null\n".to_owned();
    }
    let numbers: Vec<_> = pids.iter().map(ToString::to_string).collect();
    format!("[{}]\n", numbers.join(","))
}

/// Runs ps(1), which lists every process of the host.
fn run_ps(args: &[OsString]) -> Result<String> {
    let program = program::find("ps")?.ok_or_else(|| {
        let missing = Fail::new("execve", Errno::ENOENT);
        Error::failed("ps", missing).hint("install ps, of procps, or use --format json")
    })?;
    let default = [OsString::from("-ef")];
    let args = if args.is_empty() { &default } else { args };
    let words: Vec<_> = std::iter::once(c"ps".into())
        .chain(args.iter().map(c_string))
        .collect();
    let output = program::run(&program, &words, &environment()).context("ps")?;
    if output.status != 0 {
        let text = String::from_utf8_lossy(&output.stderr);
        let text = text.lines().find(|line| !line.trim().is_empty());
        let text = text.unwrap_or_default().trim();
        bail!("ps: exit status: {}: {text}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Selects the heading, and the lines whose `PID` column is one of `pids`.
fn rows(text: &str, pids: &[i32]) -> Result<String> {
    let heading = text.lines().next().unwrap_or_default();
    let column = Column::under("PID", heading).ok_or_else(|| {
        Error::new(format!("ps: no column PID in {heading:?}"))
            .hint("ask for the column, as in -eo pid,args")
    })?;
    let wanted = |line: &&str| column.number(line).is_some_and(|pid| pids.contains(&pid));
    let lines = text.lines().skip(1).filter(wanted);
    Ok(std::iter::once(heading)
        .chain(lines)
        .map(|line| format!("{line}\n"))
        .collect())
}

/// A column of numbers, which ps(1) aligns to the right.
struct Column {
    /// The number of words before it in the heading.
    index: usize,
    /// The byte offset of the end of its name in the heading.
    end: usize,
}

impl Column {
    fn under(name: &str, heading: &str) -> Option<Self> {
        let index = heading.split_whitespace().position(|word| word == name)?;
        let word = heading.split_whitespace().nth(index)?;
        let start = word.as_ptr().addr() - heading.as_ptr().addr();
        Some(Self {
            index,
            end: start + name.len(),
        })
    }

    /// Reads the number of this column in `line`. The number normally ends at the offset where the
    /// heading's name ends, even if earlier cells contain several words. A cell that is wider than
    /// its column shifts the rest of the line; then the number is found by counting words.
    fn number(&self, line: &str) -> Option<i32> {
        let aligned = line.split_at_checked(self.end).and_then(|(start, rest)| {
            let ends = rest.is_empty() || rest.starts_with(' ');
            ends.then(|| start.split(' ').next_back()?.parse().ok())?
        });
        aligned.or_else(|| line.split_whitespace().nth(self.index)?.parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
UID          PID    PPID CMD
root           7       1 sleep 8
root           8       1 sleep 7

root          17       8 a  b
";

    #[test]
    fn rows_are_picked_by_the_column_of_the_heading() {
        assert_eq!(
            rows(TEXT, &[7, 17]).unwrap(),
            "\
UID          PID    PPID CMD
root           7       1 sleep 8
root          17       8 a  b
"
        );
        assert_eq!(rows(TEXT, &[]).unwrap(), "UID          PID    PPID CMD\n");
    }

    #[test]
    fn cells_of_several_words_and_cells_that_are_too_long() {
        let text = "\
COMMAND            PID STAT
sleep 1001          17 S
sleep 17          1001 S
";
        assert_eq!(
            rows(text, &[17, 18]).unwrap(),
            "\
COMMAND            PID STAT
sleep 1001          17 S
"
        );
        let text = "USER   PID\nlong-name 18\nroot    19\n";
        assert_eq!(rows(text, &[18]).unwrap(), "USER   PID\nlong-name 18\n");
    }

    #[test]
    fn a_table_without_pids_is_refused() {
        let error = format!("{:#}", rows("UID CMD\nroot 7\n", &[7]).unwrap_err());
        assert!(error.contains("no column PID"), "{error}");
        assert!(rows("", &[7]).is_err());
    }

    #[test]
    fn an_init_that_has_ended_is_left_out() {
        let own = std::process::id() as i32;
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let ended = child.id() as i32;
        let no_reap = nix::sys::wait::WaitPidFlag::WEXITED | nix::sys::wait::WaitPidFlag::WNOWAIT;
        let id = nix::sys::wait::Id::Pid(nix::unistd::Pid::from_raw(ended));
        nix::sys::wait::waitid(id, no_reap).unwrap();
        for (pid, left) in [(ended, vec![own]), (own, vec![own, ended])] {
            let state = State {
                pid,
                ..State::default()
            };
            let mut pids = vec![own, ended];
            without_ended_init(&mut pids, &state).unwrap();
            assert_eq!(pids, left);
        }
        child.wait().unwrap();
    }

    #[test]
    fn json_is_a_list_or_null() {
        assert_eq!(json(&[3, 14]), "[3,14]\n");
        assert_eq!(json(&[]), "null\n");
    }
}
