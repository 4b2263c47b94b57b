//! The options of the cgroup2 file system, which apply to the whole host. CRIU mounts the file
//! system without any, and in the initial cgroup namespace each mount sets them anew: `nsdelegate`
//! and `memory_recursiveprot`, which systemd sets, would be off from then on.

use std::ffi::CString;

use anyhow::Result;

use super::container;
use crate::sys::mount;

/// The options before CRIU runs. They are given back when the value is dropped.
pub(crate) struct Kept(Option<CString>);

impl Kept {
    /// Reads the options.
    ///
    /// # Errors
    /// The mount table cannot be read.
    pub(crate) fn look() -> Result<Self> {
        Ok(Self(options()?))
    }
}

fn options() -> Result<Option<CString>> {
    let table = container::table("self")?;
    let found = table.iter().find(|mounted| mounted.fstype == b"cgroup2");
    Ok(found.and_then(|mounted| CString::new(without_generic(&mounted.options)).ok()))
}

/// The options apart from those that every file system has.
fn without_generic(options: &[u8]) -> Vec<u8> {
    let words = options.split(|&byte| byte == b',');
    let own = words.filter(|word| ![b"rw".as_slice(), b"ro", b"seclabel"].contains(word));
    own.collect::<Vec<_>>().join(&b',')
}

impl Drop for Kept {
    fn drop(&mut self) {
        let Some(before) = &self.0 else { return };
        if matches!(options(), Ok(Some(now)) if now == *before) {
            return;
        }
        // A mount that is attached nowhere sets the options too. If it fails, CRIU's result still
        // is what the caller has asked for.
        let _ = mount::make(c"cgroup2", c"cgroup2", before, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_options_of_cgroup2_are_set_again() {
        let options = b"rw,seclabel,nsdelegate,memory_recursiveprot";
        assert_eq!(without_generic(options), b"nsdelegate,memory_recursiveprot");
        assert_eq!(without_generic(b"rw"), b"");
    }
}
