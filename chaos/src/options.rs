//! The options, which all commands share.

use std::path::PathBuf;

/// The part of `--help` below a command's own text.
pub const USAGE: &str = "\
options:
  --long           try everything once, instead of a sample that ends after --seconds
  --seconds N      the duration of the sample (default: 30)
  --seed N         choose the sample by this number (default: the time; it is printed)
  --jobs N         the number of workers, each in its own namespaces (default: one for each CPU)
  --only TEXT      only items with TEXT in their name; may be repeated
  --systemd        let systemd manage the cgroups, on a host where it is init
  --show N         the number of findings of each kind to print in full (default: 10)
  --runtime PATH   the binary to disturb (default: $RUNTIME, otherwise the newest build in target/)
";

/// The parsed options.
#[derive(Clone, Debug)]
pub struct Options {
    pub long: bool,
    pub seconds: u64,
    pub seed: u64,
    pub jobs: usize,
    pub only: Vec<String>,
    pub runtime: Option<PathBuf>,
    pub systemd: bool,
    pub show: usize,
    pub help: bool,
}

impl Options {
    /// Parses the arguments after the command's name.
    pub fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let mut options = Self {
            long: false,
            seconds: 30,
            seed: now.map_or(0, |now| now.as_secs()),
            jobs: std::thread::available_parallelism().map_or(1, usize::from),
            only: Vec::new(),
            runtime: None,
            systemd: false,
            show: 10,
            help: false,
        };
        while let Some(flag) = args.next() {
            let mut value = || args.next().ok_or(format!("{flag} needs a value"));
            match flag.as_str() {
                "-h" | "--help" => options.help = true,
                "--systemd" => options.systemd = true,
                "--show" => options.show = number(&flag, &value()?)? as usize,
                "--long" => options.long = true,
                "--seconds" => options.seconds = number(&flag, &value()?)?,
                "--seed" => options.seed = number(&flag, &value()?)?,
                "--jobs" => options.jobs = number(&flag, &value()?)?.max(1) as usize,
                "--only" => options.only.push(value()?),
                "--runtime" => options.runtime = Some(value()?.into()),
                _ => return Err(format!("unknown option {flag}")),
            }
        }
        Ok(options)
    }

    /// Whether any part of the named item is selected. `--only` may give a whole place, such as
    /// `plain/create write number 2 of child 1`, whose first part is the item's name.
    pub fn wants_some(&self, name: &str) -> bool {
        let first = |text: &String| text.split(' ').next().unwrap_or_default().to_owned();
        self.only.is_empty() || self.only.iter().any(|text| name.contains(&first(text)))
    }

    /// Whether the named item is selected.
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|text| name.contains(text.as_str()))
    }
}

fn number(flag: &str, text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| format!("{flag}: {text:?} is not a number"))
}
