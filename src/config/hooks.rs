//! `hooks`.

use std::path::PathBuf;
use std::time::Duration;

use oci_spec::runtime as oci;

use super::check;
use crate::error::{Error, Result};

/// The hooks of each of the six points in the lifecycle. Source: runtime-spec 1.3, config.md,
/// POSIX-platform hooks.
#[derive(Clone, Debug, Default)]
pub struct Hooks {
    /// Runtime namespaces, after the mounts and before pivot_root (deprecated).
    pub prestart: Vec<Hook>,
    /// Runtime namespaces, after `prestart`.
    pub create_runtime: Vec<Hook>,
    /// Container namespaces, host paths, before pivot_root.
    pub create_container: Vec<Hook>,
    /// Container namespaces and paths, just before the user process.
    pub start_container: Vec<Hook>,
    /// Runtime namespaces, after the user process has executed.
    pub poststart: Vec<Hook>,
    /// Runtime namespaces, after the container is gone.
    pub poststop: Vec<Hook>,
}

/// One hook.
#[derive(Clone, Debug)]
pub struct Hook {
    /// Its path in the config, such as `hooks.poststop[0]`.
    pub field: String,
    /// Absolute path of the program.
    pub path: PathBuf,
    /// argv, including the program's name.
    pub args: Vec<String>,
    /// Its environment; `None` inherits that of the caller.
    pub env: Option<Vec<String>>,
    /// The runtime kills the hook after this time, and the hook counts as failed.
    pub timeout: Option<Duration>,
}

impl Hooks {
    /// Checks `hooks`.
    ///
    /// # Errors
    /// A path is not absolute, a timeout is not positive, or a string has a NUL byte.
    pub(super) fn new(hooks: Option<&oci::Hooks>) -> Result<Self> {
        let Some(hooks) = hooks else {
            return Ok(Self::default());
        };
        // The property is deprecated, but engines still use it.
        #[allow(deprecated, reason = "engines still write it")]
        let prestart = hooks.prestart();
        Ok(Self {
            prestart: phase("prestart", prestart)?,
            create_runtime: phase("createRuntime", hooks.create_runtime())?,
            create_container: phase("createContainer", hooks.create_container())?,
            start_container: phase("startContainer", hooks.start_container())?,
            poststart: phase("poststart", hooks.poststart())?,
            poststop: phase("poststop", hooks.poststop())?,
        })
    }
}

fn phase(name: &str, hooks: &Option<Vec<oci::Hook>>) -> Result<Vec<Hook>> {
    let hooks = check::list(hooks).iter().enumerate();
    hooks
        .map(|(index, hook)| Hook::new(format!("hooks.{name}[{index}]"), hook))
        .collect()
}

impl Hook {
    fn new(field: String, hook: &oci::Hook) -> Result<Self> {
        check::absolute(format_args!("{field}.path"), hook.path())?;
        let path = hook.path().clone();
        let args = match hook.args() {
            Some(args) if !args.is_empty() => args.clone(),
            _ => vec![path.to_string_lossy().into_owned()],
        };
        let lists = [("args", Some(&args)), ("env", hook.env().as_ref())];
        for (name, list) in lists {
            for (index, text) in list.into_iter().flatten().enumerate() {
                check::no_nul(format_args!("{field}.{name}[{index}]"), text)?;
            }
        }
        let timeout = match hook.timeout() {
            None => None,
            Some(seconds) => Some(positive(&field, seconds)?),
        };
        Ok(Self {
            path,
            args,
            env: hook.env().clone(),
            timeout,
            field,
        })
    }
}

fn positive(field: &str, seconds: i64) -> Result<Duration> {
    match u64::try_from(seconds) {
        Ok(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err(Error::config(
            format_args!("{field}.timeout"),
            format!("{seconds} is not a positive number of seconds"),
        )),
    }
}
