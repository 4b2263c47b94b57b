//! The command line: a subset of the standard test harness's options, and some of our own.

use std::path::PathBuf;

/// What `--help` prints.
pub const USAGE: &str = "\
usage: runtime-tests [OPTION…] [FILTER…]

Runs every case whose name contains one of the FILTERs (all cases without a filter).

  --exact              a FILTER is a case's whole name
  --skip TEXT          skip the cases whose name contains TEXT
  --only-needing[=TEXT[,TEXT]]  only cases with a requirement on the host
                       (one that contains one of the TEXTs)
  --list               list the cases and their requirements; run nothing
  --test-threads N     how many cases run at the same time (default: three for each CPU)
  --runtime PATH       the binary to test (default: $RUNTIME, otherwise the newest build in target/)
  --keep               keep the directories of failed cases and print their paths

environment:
  RUNTIME              the binary to test
  RUNTIME_FLAGS        global flags put before the verb, split at blanks
  BUSYBOX              a static busybox (default: /bin/busybox)
  RUNTIME_TESTS_DIR    the directory for bundles (default: $TMPDIR, otherwise /tmp)
  RUNTIME_TESTS_PATIENCE  seconds before a hanging command is killed (default: 30)
  RUNTIME_TESTS_SWEEP  kill the runtime at each system call of create, not at a sample of them";

/// The parsed command line.
#[derive(Debug, Default, PartialEq)]
pub struct Options {
    pub filters: Vec<String>,
    pub skip: Vec<String>,
    pub exact: bool,
    pub list: bool,
    /// `--format terse`: the list format that cargo-nextest reads.
    pub terse: bool,
    /// `--ignored`: there are no ignored cases, so nothing is listed or run.
    pub ignored: bool,
    /// `--only-needing`: `Some("")` without a text.
    pub only_needing: Option<String>,
    pub threads: Option<usize>,
    pub runtime: Option<PathBuf>,
    pub keep: bool,
    pub help: bool,
    /// Internal: run this one case in this process.
    pub run_one: Option<String>,
}

impl Options {
    /// Parses the arguments after the program's name.
    pub fn parse(args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        let mut args = args;
        while let Some(arg) = args.next() {
            let (flag, mut inline) = match arg.split_once('=') {
                Some((flag, value)) if flag.starts_with("--") => {
                    (flag.to_owned(), Some(value.to_owned()))
                }
                _ => (arg, None),
            };
            let mut value = || {
                inline
                    .take()
                    .or_else(|| args.next())
                    .ok_or(format!("{flag} needs a value"))
            };
            match flag.as_str() {
                "--exact" => options.exact = true,
                "--list" => options.list = true,
                "--ignored" => options.ignored = true,
                "--keep" => options.keep = true,
                "-h" | "--help" => options.help = true,
                // The output of a failed case is always shown; that of other cases never is.
                "--nocapture" | "--no-capture" | "--show-output" | "-q" | "--quiet" => {}
                "--format" => options.terse = value()? == "terse",
                "--color" => drop(value()?),
                "--skip" => options.skip.push(value()?),
                "--runtime" => options.runtime = Some(value()?.into()),
                "--run-one" => options.run_one = Some(value()?),
                "--only-needing" => options.only_needing = Some(inline.unwrap_or_default()),
                "-j" | "--test-threads" => {
                    let text = value()?;
                    let threads = text.parse().ok().filter(|n| *n > 0);
                    options.threads = Some(threads.ok_or(format!("{flag}: {text:?}"))?);
                }
                other if other.starts_with('-') => return Err(format!("unknown option {other}")),
                _ => options.filters.push(flag),
            }
        }
        Ok(options)
    }

    /// Whether the case `name` with the requirements `needs` is selected.
    pub fn wants(&self, name: &str, needs: &[String]) -> bool {
        let matches = |text: &String| {
            if self.exact {
                name == text
            } else {
                name.contains(text)
            }
        };
        !self.ignored
            && (self.filters.is_empty() || self.filters.iter().any(matches))
            && !self.skip.iter().any(|text| name.contains(text.as_str()))
            && self.only_needing.as_ref().is_none_or(|texts| {
                let needed = |text: &str| needs.iter().any(|need| need.contains(text));
                texts.split(',').any(needed)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options, String> {
        Options::parse(args.iter().map(|arg| (*arg).to_owned()))
    }

    #[test]
    fn flags_take_values_in_both_spellings() {
        let options = parse(&["--skip", "a", "--skip=b", "-j", "3", "kill"]).unwrap();
        assert_eq!(options.skip, ["a", "b"]);
        assert_eq!(options.threads, Some(3));
        assert_eq!(options.filters, ["kill"]);
    }

    #[test]
    fn wrong_arguments_are_refused() {
        assert!(parse(&["--skip"]).is_err());
        assert!(parse(&["--test-threads", "0"]).is_err());
        assert!(parse(&["--nonsense"]).unwrap_err().contains("--nonsense"));
    }

    #[test]
    fn filters_select_by_name_and_need() {
        let needs = ["cgroup v2 controller memory".to_owned()];
        assert!(
            parse(&["kill"])
                .unwrap()
                .wants("kill_delete::kill_twice", &[])
        );
        assert!(
            !parse(&["--exact", "kill"])
                .unwrap()
                .wants("kill_delete::kill_twice", &[])
        );
        assert!(
            !parse(&["--skip", "twice"])
                .unwrap()
                .wants("kill_delete::kill_twice", &[])
        );
        assert!(!parse(&["--only-needing"]).unwrap().wants("a::b", &[]));
        assert!(parse(&["--only-needing"]).unwrap().wants("a::b", &needs));
        assert!(
            parse(&["--only-needing=cpuset,memory"])
                .unwrap()
                .wants("a::b", &needs)
        );
        assert!(
            parse(&["--only-needing=memory"])
                .unwrap()
                .wants("a::b", &needs)
        );
        assert!(
            !parse(&["--only-needing=cpu"])
                .unwrap()
                .wants("a::b", &needs)
        );
    }
}
