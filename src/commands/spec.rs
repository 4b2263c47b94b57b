//! `spec`: writes a default config.json.

use std::fs::{OpenOptions, remove_file};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use nix::unistd::{getegid, geteuid};

use super::{Context, DONE, Verb};
use crate::cli::flags::flags;
use crate::error::{Call as _, Context as _, Error};
use crate::spec::{CONFIG_FILE, default_config};

flags! {
    /// Write a default config.json
    #[derive(Debug)]
    pub(super) struct Spec {
        /// Directory to write config.json to
        #[arg(short, long, value_name = "DIR", default_value = ".")]
        pub bundle: PathBuf,

        /// File to write instead; an existing file is replaced
        #[arg(short, long, value_name = "PATH")]
        pub file: Option<PathBuf>,

        /// Write a config that a user other than root can run
        #[arg(long)]
        pub rootless: bool,
    }
}

impl Verb for Spec {
    /// Writes the default config with mode 0666 minus the umask. The file is `config.json` in the
    /// bundle, which must not exist, or the file of `--file`, which is replaced.
    fn run(&self, _context: &Context) -> Result<u8> {
        let ids = (geteuid().as_raw(), getegid().as_raw());
        let text = default_config(self.rootless.then_some(ids));
        match &self.file {
            Some(file) => write(file, &text, true)?,
            None => write(&self.bundle.join(CONFIG_FILE), &text, false)?,
        }
        Ok(DONE)
    }
}

fn write(path: &Path, text: &str, replace: bool) -> Result<()> {
    let object = || path.display();
    let made = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(replace)
        .create_new(!replace)
        .open(path);
    match made {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!(
                Error::new(format!("{} already exists", object()))
                    .hint("remove it first, or name another file with --file")
            )
        }
        made => made
            .call("open")
            .and_then(|mut file| {
                let written = file.write_all(text.as_bytes()).call("write");
                // A part of a config would keep the next call from writing a whole one. What existed
                // before, such as a device or a link, is the caller's.
                written.inspect_err(|_| {
                    if !replace {
                        let _ = remove_file(path);
                    }
                })
            })
            .with_context(object),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_file_is_replaced_only_on_demand() {
        let path = std::env::temp_dir().join(format!("sampan-spec-{}", std::process::id()));
        write(&path, "a longer text", false).unwrap();
        let error = format!("{:#}", write(&path, "b", false).unwrap_err());
        assert!(error.contains("already exists"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a longer text");
        write(&path, "b", true).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "b");
        remove_file(&path).unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_written_stays() {
        let name = format!("sampan-spec-link-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let error = format!("{:#}", write(&path, "a text", true).unwrap_err());
        assert!(error.contains("no space left on device"), "{error}");
        remove_file(&path).expect("the link");
    }
}
