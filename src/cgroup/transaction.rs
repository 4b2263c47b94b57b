//! A sequence of writes that takes effect as a whole or not at all.

use anyhow::Result;
use nix::errno::Errno;

use super::{Cgroup, file};
use crate::error::{Chain as _, Context as _};
use crate::plan::cgroup::{Fallback, Write};

/// The writes that took effect, and the files' previous values.
#[derive(Debug)]
#[must_use]
pub struct Applied<'a> {
    cgroup: &'a Cgroup,
    /// File and previous value, in the order of the writes.
    old: Vec<(String, String)>,
}

impl Cgroup {
    /// Executes `writes` in order. If one fails, the previous ones are undone.
    ///
    /// # Errors
    /// The first write that failed. The hint lists files that could not be restored.
    pub fn write_all(&self, writes: &[Write]) -> Result<Applied<'_>> {
        let mut applied = Applied {
            cgroup: self,
            old: Vec::new(),
        };
        for write in writes {
            let old = match self.old_value(write) {
                Ok(old) => old,
                Err(error) => return Err(applied.take_back(error)),
            };
            if let Err(error) = self.write(write) {
                return Err(applied.take_back(error));
            }
            applied.old.extend(old);
        }
        Ok(applied)
    }

    /// The file that `write` changes, and the value that restores it. `None` if there is nothing to
    /// restore, as for a file that only accepts commands.
    ///
    /// # Errors
    /// The value cannot be read, so the write could not be undone.
    fn old_value(&self, write: &Write) -> Result<Option<(String, String)>> {
        if let Some(text) = self.read_value(&write.file)? {
            let old = undo(&write.file, &write.value, &text);
            return Ok(Some((write.file.clone(), old)));
        }
        let Fallback::IfAbsent { file, value } = &write.fallback else {
            return Ok(None);
        };
        let text = self.read_value(file)?;
        Ok(text.map(|text| (file.clone(), undo(file, value, &text))))
    }

    /// `None` if the file is missing, or cannot be read at all (EINVAL).
    fn read_value(&self, name: &str) -> Result<Option<String>> {
        match file::read(self.fd(), name) {
            Ok(text) => Ok(Some(text)),
            Err(fail) if [Errno::ENOENT, Errno::EINVAL].contains(&fail.errno) => Ok(None),
            Err(fail) => Err(fail).with_context(|| self.object(name)),
        }
    }
}

impl Applied<'_> {
    /// Restores the files, the last write first. Returns `error`, the reason for undoing them.
    pub fn take_back(self, error: anyhow::Error) -> anyhow::Error {
        let mut failed: Vec<&str> = Vec::new();
        for (name, value) in self.old.iter().rev() {
            // If a file was written twice, the last attempt counts: it restores the oldest value.
            failed.retain(|file| file != name);
            if file::write(self.cgroup.fd(), name, value).is_err() {
                failed.push(name);
            }
        }
        if failed.is_empty() {
            return error;
        }
        let path = self.cgroup.path().display();
        error.hint(format!(
            "and these files in {path} could not be restored: {}",
            failed.join(", ")
        ))
    }
}

/// The text that undoes a write of `value` to the file `name`, whose content was `text`.
fn undo(name: &str, value: &str, text: &str) -> String {
    let key = value.split_once(' ').map(|(key, _)| key);
    let unset = match name {
        "io.max" => Some("rbps=max wbps=max riops=max wiops=max"),
        "io.weight" | "io.bfq.weight" => Some("default"),
        "rdma.max" => Some("hca_handle=max hca_object=max"),
        _ => None,
    };
    match (key, unset) {
        // A file with a line for each device, and a write for one device.
        (Some(key), Some(unset)) => line_of(text, key)
            .map(str::to_owned)
            .unwrap_or(format!("{key} {unset}")),
        // A weight for all devices, on the line that begins with `default`.
        (None, Some(_)) => line_of(text, "default")
            .unwrap_or(text.trim_end())
            .to_owned(),
        // A write of zero bytes would have no effect.
        _ if text.trim_end().is_empty() => "\n".to_owned(),
        _ => text.trim_end().to_owned(),
    }
}

fn line_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find(|line| {
        line.strip_prefix(key)
            .is_some_and(|rest| rest.starts_with(' '))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_value_has_the_format_of_each_file() {
        for (name, value, text, expected) in [
            ("memory.max", "5", "max\n", "max"),
            ("cpu.max", "5000 10000", "max 100000\n", "max 100000"),
            ("cpuset.cpus", "0", "\n", "\n"),
            (
                "io.max",
                "8:0 rbps=5",
                "8:16 rbps=1 wbps=max riops=max wiops=max\n",
                "8:0 rbps=max wbps=max riops=max wiops=max",
            ),
            (
                "io.max",
                "8:1 rbps=5",
                "8:16 rbps=2\n8:1 rbps=1 wbps=max\n",
                "8:1 rbps=1 wbps=max",
            ),
            ("io.weight", "50", "default 100\n8:0 7\n", "default 100"),
            ("io.weight", "8:0 50", "default 100\n8:0 7\n", "8:0 7"),
            ("io.weight", "8:1 50", "default 100\n8:0 7\n", "8:1 default"),
            ("io.bfq.weight", "50", "100\n", "100"),
        ] {
            assert_eq!(undo(name, value, text), expected, "{name} {value}");
        }
    }
}
