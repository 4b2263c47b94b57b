//! The stored data of a container, and its status.
//!
//! ```text
//! ROOT/ID/config.json  the bytes of the config: later changes to the bundle have no effect.
//!                      The first file of the directory; `create` locks it to the end
//! ROOT/ID/state.json   the data for later verbs, on one line. `create` writes it before it makes
//!                      anything else, and replaces it as a whole when more is known
//! ROOT/ID/start.sock   init accepts a connection here, from the end of its setup until
//!                      `start`; `run` does not need it
//! ROOT/ID/init.lock    init holds the write lock until its execve(2)
//! ROOT/ID/record.sock  `exec` gives the listener of its process to the process that records the
//!                      container's system calls, from `start` to the end of the container
//! ```
//!
//! The status is computed, never stored: see [`Status`].

mod bytes;
mod contents;
mod dir;
mod init;
mod namespaces;
mod process;
mod replace;
mod root;
mod salvage;
mod status;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

pub use dir::{CONFIG, Dir, Locked, NOTIFY, Place, RECORD_SOCKET, START_SOCKET, STATE};
pub use namespaces::Namespaces;
pub use process::{Ended, how_ended, start_time};
pub use replace::Prepared;
pub use root::{Claim, Root, deleted};
pub use salvage::Salvaged;
pub use status::{Status, lock_init};

use crate::cgroup;
use crate::config::Config;
use crate::error::{Code, Context as _, Error, Kind};
use crate::plan;
use crate::plan::systemd::Manager;
use crate::spec::objects;

/// The content of `state.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// `ociVersion` of the config.
    pub oci_version: String,
    /// The container's id.
    pub id: String,
    /// The pid of init in the runtime's pid namespace; 0 while it is not known.
    pub pid: i32,
    /// The start time of init: field 22 of /proc/PID/stat, in clock ticks since boot. Together with
    /// the pid it identifies the process even after the pid is reused.
    pub start_time: u64,
    /// The namespaces that `pid` and `start_time` are relative to. `None` in a state of an older
    /// version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Namespaces>,
    /// Absolute.
    #[serde(with = "bytes::exact")]
    pub bundle: PathBuf,
    /// Absolute.
    #[serde(with = "bytes::exact")]
    pub rootfs: PathBuf,
    /// RFC 3339, UTC.
    pub created: String,
    /// Effective user id of the runtime that created the container.
    pub owner: u32,
    /// `annotations` of the config.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// `None` if the container stays in the cgroup of its caller.
    pub cgroup: Option<Cgroup>,
    /// Whether the container has its own pid namespace, so that killing init kills all its
    /// processes.
    pub private_pid_namespace: bool,
    /// The id of the mount on the rootfs that contains the container's mounts, if the container
    /// does not have its own mount namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rootfs_mount: Option<u64>,
    /// The inode of the mount namespace that contains that mount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rootfs_mount_namespace: Option<u64>,
    /// The inode number of the user namespace in which init began. `None` if the caller was not root,
    /// and in a state of an older version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_namespace: Option<u64>,
    /// The container's groups in the resctrl file system.
    #[serde(default, skip_serializing_if = "Resctrl::is_none")]
    pub resctrl: Resctrl,
    /// Flags of `create` that later verbs must respect.
    #[serde(default)]
    pub options: CreateOptions,
    /// The parts of the config that later verbs need. There is no default: a state without this
    /// field does not describe the process and the hooks.
    pub later: DeferredWork,
}

/// `linux.intelRdt`: groups of the resctrl file system, relative to its mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resctrl {
    /// Those of the container's processes.
    pub tasks: Vec<PathBuf>,
    /// Those that belong to the container alone. `delete` removes them.
    pub made: Vec<PathBuf>,
}

impl Resctrl {
    fn is_none(&self) -> bool {
        self.tasks.is_empty()
    }
}

/// Which parts of the config later verbs need. If there are none, they do not read the config.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeferredWork {
    /// `start` executes `process`.
    pub process: bool,
    /// `start` runs `hooks.startContainer`.
    pub start_container_hooks: bool,
    /// `start` runs `hooks.poststart`.
    pub poststart_hooks: bool,
    /// `delete` runs `hooks.poststop`.
    pub poststop_hooks: bool,
}

impl From<&Config> for DeferredWork {
    fn from(config: &Config) -> Self {
        Self {
            process: config.process.is_some(),
            start_container_hooks: !config.hooks.start_container.is_empty(),
            poststart_hooks: !config.hooks.poststart.is_empty(),
            poststop_hooks: !config.hooks.poststop.is_empty(),
        }
    }
}

/// The container's cgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroup {
    /// Where the cgroup2 hierarchy is mounted.
    pub mount: PathBuf,
    /// Absolute below `mount`, as in /proc/PID/cgroup.
    pub path: String,
    /// The systemd unit that the cgroup belongs to, if systemd created it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    /// The inode number, from when the cgroup has been made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// The inode of the cgroup namespace that `path` is relative to, for a user who cannot find the
    /// cgroup by its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<u64>,
}

/// A systemd unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// As in `docker-ID.scope`.
    pub name: String,
    /// The host user whose systemd manages the unit; `None` for PID 1.
    pub user: Option<u32>,
}

impl Unit {
    /// The systemd that manages the unit.
    pub fn manager(&self) -> Manager {
        match self.user {
            None => Manager::System,
            Some(uid) => Manager::User { uid },
        }
    }
}

impl From<&plan::systemd::Unit> for Unit {
    fn from(unit: &plan::systemd::Unit) -> Self {
        Self {
            name: unit.name.clone(),
            user: match unit.manager {
                Manager::System => None,
                Manager::User { uid } => Some(uid),
            },
        }
    }
}

impl Cgroup {
    /// The unit, and the part of the cgroup's path below the unit, as in `/container`.
    pub fn unit_and_below(&self) -> Option<(&Unit, &str)> {
        let unit = self.unit.as_ref()?;
        let (_, below) = self.path.split_once(&unit.name)?;
        Some((unit, below))
    }

    /// The cgroup's directory.
    pub fn dir(&self) -> PathBuf {
        self.place().dir()
    }

    /// Where to open the cgroup.
    pub fn place(&self) -> cgroup::Place<'_> {
        cgroup::Place {
            mount: &self.mount,
            path: Path::new(&self.path),
            number: self.number,
            namespace: self.namespace,
        }
    }
}

/// Flags of `create` that later verbs must respect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CreateOptions {
    /// `--systemd-cgroup`.
    pub systemd_cgroup: bool,
    /// `--no-pivot`.
    pub no_pivot: bool,
    /// `--no-new-keyring`.
    pub no_new_keyring: bool,
    /// Whether the container stays in its caller's cgroup.
    pub no_cgroup: bool,
    /// The number of sockets that the caller's LISTEN_FDS passes on.
    pub listen_fds: u32,
    /// `--preserve-fds`.
    pub preserved_fds: u32,
    /// `--seccomp-record`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub records: bool,
    /// The directory that contains the container's NOTIFY_SOCKET.
    #[serde(with = "bytes::exact_option", skip_serializing_if = "Option::is_none")]
    pub notify: Option<PathBuf>,
}

impl From<&plan::Options> for CreateOptions {
    fn from(options: &plan::Options) -> Self {
        Self {
            systemd_cgroup: options.systemd,
            no_pivot: options.no_pivot,
            no_new_keyring: options.process.no_new_keyring,
            no_cgroup: options.no_cgroup,
            listen_fds: options.process.listen_fds,
            preserved_fds: options.process.preserved_fds,
            records: options.record.is_some(),
            notify: options.notify.clone(),
        }
    }
}

/// The output of `state`. The keys are those of the specification and those of other runtimes that
/// engines read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the fields are named as the keys; see `State`")]
pub struct View {
    pub oci_version: String,
    pub id: String,
    /// 0 if the container has stopped.
    pub pid: i32,
    pub status: Status,
    #[serde(serialize_with = "bytes::shown")]
    pub bundle: PathBuf,
    #[serde(serialize_with = "bytes::shown")]
    pub rootfs: PathBuf,
    pub created: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    pub owner: String,
}

/// The result of [`State::find`].
#[derive(Debug)]
pub enum Found {
    /// The state as saved.
    State(Box<State>),
    /// There is no `state.json`: a create has not written it yet, or was killed before it did.
    /// Nothing exists that it would refer to.
    Nothing,
    /// The text does not have the format of [`State::save`]: another version wrote it, or it is
    /// damaged.
    Broken {
        /// The content of the file.
        text: Vec<u8>,
        /// Why it cannot be read.
        error: Error,
    },
}

impl State {
    /// Writes `state.json` with mode 0600. Readers see either the old file or the new one.
    ///
    /// # Errors
    /// A system call failed.
    pub fn save(&self, dir: &Dir) -> Result<()> {
        self.prepare(dir)?.put()
    }

    /// Does everything that [`State::save`] does except making the file visible.
    ///
    /// # Errors
    /// As [`State::save`].
    pub fn prepare<'d>(&self, dir: &'d Dir) -> Result<Prepared<'d>> {
        let mut text = serde_json::to_vec(self)
            .map_err(Error::from)
            .with_context(|| format!("state of container {}", self.id))?;
        text.push(b'\n');
        dir.prepare(STATE, &text)
    }

    /// Reads `state.json`.
    ///
    /// # Errors
    /// The file cannot be read, or belongs to another container, so nothing is known.
    pub fn find(dir: &Dir) -> Result<Found> {
        let Some(text) = dir.read_line(STATE)? else {
            return Ok(Found::Nothing);
        };
        // As the config is read, so that serde's generic code is compiled only once. Bytes that are not
        // text would change a path, and the state would be that of something else.
        let read = match std::str::from_utf8(&text) {
            Ok(text) => objects::read::<Self>(text).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match read {
            Ok(state) if state.id != dir.id => {
                let path = dir.path_of(STATE);
                let message = format!(
                    "{}: it belongs to the container {:?}",
                    path.display(),
                    state.id
                );
                bail!(
                    Error::new(message)
                        .code_is(Code::StateBroken)
                        .hint("restore the directory's name")
                )
            }
            Ok(state) => Ok(Found::State(Box::new(state))),
            Err(error) => {
                let path = dir.path_of(STATE);
                let error =
                    Error::new(format!("{}: {error}", path.display())).code_is(Code::StateBroken);
                Ok(Found::Broken { text, error })
            }
        }
    }

    /// Loads `state.json`.
    ///
    /// # Errors
    /// [`NotFound`], `container does not exist`, including when a create that was killed left the
    /// directory without the file. The file cannot be read, or does not have the format of [`save`].
    ///
    /// [`NotFound`]: crate::error::Kind::NotFound
    ///
    /// [`save`]: State::save
    pub fn load(dir: &Dir) -> Result<Self> {
        match Self::find(dir)? {
            Found::State(state) => Ok(*state),
            Found::Broken { error, .. } => bail!(error.hint(TO_REMOVE)),
            Found::Nothing => Err(dir.without_file(dir.half_made())),
        }
    }

    /// The output of `state`, with `owner` in the form that the caller wants.
    pub fn view(&self, status: Status, owner: String) -> View {
        View {
            oci_version: self.oci_version.clone(),
            id: self.id.clone(),
            pid: if status == Status::Stopped {
                0
            } else {
                self.pid
            },
            status,
            bundle: self.bundle.clone(),
            rootfs: self.rootfs.clone(),
            created: self.created.clone(),
            annotations: self.annotations.clone(),
            owner,
        }
    }
}

/// What to do with a container whose state cannot be read.
pub const TO_REMOVE: &str = "sampan delete --force removes the container";

/// The error of a verb that needs a process, for a container without one.
pub fn not_running(state: &State) -> Error {
    Error::of(Kind::Status, format!("container not running: {}", state.id))
        .code_is(Code::ContainerNotRunning)
}
