//! `spec`: a config.json to start from.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use nix::unistd::{getegid, geteuid};

use super::Context;
use crate::cli::Spec;
use crate::error::{Error, Kind, Result};
use crate::spec::{CONFIG_FILE, default_config};

/// Writes the default config: `config.json` of the bundle, which must not exist, or the file of
/// `--file`, which is replaced. Mode 0666 without the umask's bits.
pub fn spec(_context: &Context, args: &Spec) -> Result<()> {
    let ids = (geteuid().as_raw(), getegid().as_raw());
    let text = default_config(args.rootless.then_some(ids));
    match &args.file {
        Some(file) => write(file, &text, true),
        None => write(&args.bundle.join(CONFIG_FILE), &text, false),
    }
}

fn write(path: &Path, text: &str, replace: bool) -> Result<()> {
    let name = path.display().to_string();
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(replace)
        .create_new(!replace)
        .open(path)
        .map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => Error::new(Kind::Usage, format!("{name} already exists"))
                .hint("remove it first, or name another file with --file"),
            _ => Error::io(name.clone(), "open", &error),
        })?;
    file.write_all(text.as_bytes())
        .map_err(|error| Error::io(name, "write", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_file_is_replaced_only_on_demand() {
        let path = std::env::temp_dir().join(format!("sampan-spec-{}", std::process::id()));
        write(&path, "a longer text", false).unwrap();
        let error = write(&path, "b", false).unwrap_err().to_string();
        assert!(error.contains("already exists"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a longer text");
        write(&path, "b", true).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "b");
        std::fs::remove_file(&path).unwrap();
    }
}
