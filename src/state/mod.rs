//! What is remembered of a container, and what is found out about it.
//!
//! ```text
//! ROOT/ID/config.json  the config's bytes, so that later changes to the bundle have no effect; the
//!                      first file
//! ROOT/ID/state.json   what later verbs must know; `create` writes it before it makes anything
//!                      else, and again as more is known, each time as a whole, of one line
//! ROOT/ID/start.sock   the init process accepts here, from when it is set up until `start`; `run`
//!                      needs none
//! ROOT/ID/init.lock    the init process has the write lock until its execve(2)
//! ```
//!
//! The status is computed, never stored: see [`Status`].

mod bytes;
mod dir;
mod process;
mod replace;
mod root;
mod salvage;
mod status;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use dir::{CONFIG, Dir, Locked, Place, START_SOCKET, STATE};
pub use process::{open_process, start_time};
pub use replace::Prepared;
pub use root::{Claim, Root};
pub use status::{Status, lock_init};

use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::plan;
use crate::plan::systemd::Manager;

/// The content of `state.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// `ociVersion` of the config.
    pub oci_version: String,
    pub id: String,
    /// The init process, as the runtime sees it; 0 while it is not known.
    pub pid: i32,
    /// When that process began: field 22 of /proc/PID/stat, in clock ticks since the boot. With
    /// the pid it names the process even after the pid is used again.
    pub start_time: u64,
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
    /// The container has a pid namespace of its own, so that killing init kills all.
    pub private_pid_namespace: bool,
    /// The number of the mount on the rootfs that holds the container's mounts, if it has no mount
    /// namespace of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rootfs_mount: Option<u64>,
    /// The flags of `create` that later verbs must follow.
    #[serde(default)]
    pub options: Options,
    /// What of the config later verbs carry out. It has no default: a state without it says nothing
    /// of the process and the hooks.
    pub later: Later,
}

/// What the config has for later verbs to carry out: where there is nothing, they need not read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Later {
    pub process: bool,
    pub start_container_hooks: bool,
    pub poststart_hooks: bool,
    pub poststop_hooks: bool,
}

impl From<&Config> for Later {
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
    /// The systemd unit that it belongs to, if systemd made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
}

/// A unit of systemd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// As in `docker-ID.scope`.
    pub name: String,
    /// The host user whose manager has it; PID 1 if there is none.
    pub user: Option<u32>,
}

impl Unit {
    /// The manager that has it.
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
    /// The unit and what the cgroup's path has behind the unit's, as in `/container`.
    pub fn unit_and_below(&self) -> Option<(&Unit, &str)> {
        let unit = self.unit.as_ref()?;
        let (_, below) = self.path.split_once(&unit.name)?;
        Some((unit, below))
    }

    /// Its directory.
    pub fn dir(&self) -> PathBuf {
        self.mount.join(self.path.trim_start_matches('/'))
    }
}

/// Flags of `create` that later verbs must follow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Options {
    pub systemd_cgroup: bool,
    pub no_pivot: bool,
    pub no_new_keyring: bool,
    /// The container stays in its caller's cgroup.
    pub no_cgroup: bool,
    pub listen_fds: u32,
    pub preserved_fds: u32,
    /// The directory with the container's NOTIFY_SOCKET.
    #[serde(with = "bytes::exact_option", skip_serializing_if = "Option::is_none")]
    pub notify: Option<PathBuf>,
}

impl From<&plan::Options> for Options {
    fn from(options: &plan::Options) -> Self {
        Self {
            systemd_cgroup: options.systemd,
            no_pivot: options.no_pivot,
            no_new_keyring: options.process.no_new_keyring,
            no_cgroup: options.no_cgroup,
            listen_fds: options.process.listen_fds,
            preserved_fds: options.process.preserved_fds,
            notify: options.notify.clone(),
        }
    }
}

/// What `state` prints. The keys are those of the specification and of other runtimes' output
/// that engines read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    pub oci_version: String,
    pub id: String,
    /// 0 when the container has stopped.
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

/// What a container's directory has for a `state.json`.
#[derive(Debug)]
pub enum Found {
    State(Box<State>),
    /// There is none: a create has not come so far, or was killed before it did, and has made
    /// nothing that it would name.
    Nothing,
    /// It is not what [`State::save`] writes: of another version, or damaged.
    Broken {
        text: Vec<u8>,
        error: Error,
    },
}

impl State {
    /// Writes `state.json`, mode 0600: a reader sees the old file or the new one, never a part.
    ///
    /// # Errors
    /// A system call failed.
    pub fn save(&self, dir: &Dir) -> Result<()> {
        self.prepare(dir)?.put()
    }

    /// Does all of [`State::save`] but for what makes readers see it.
    ///
    /// # Errors
    /// As [`State::save`].
    pub fn prepare<'d>(&self, dir: &'d Dir) -> Result<Prepared<'d>> {
        let mut text = serde_json::to_vec(self).map_err(|error| {
            Error::new(
                Kind::Setup,
                format!("state of container {}: {error}", self.id),
            )
        })?;
        text.push(b'\n');
        dir.prepare(STATE, &text)
    }

    /// Looks for `state.json`.
    ///
    /// # Errors
    /// It cannot be read, or it is another container's: then nothing is known.
    pub fn find(dir: &Dir) -> Result<Found> {
        let Some(text) = dir.read_line(STATE)? else {
            return Ok(Found::Nothing);
        };
        match serde_json::from_slice::<Self>(&text) {
            Ok(state) if state.id != dir.id => {
                let path = dir.path_of(STATE);
                let message = format!("{}: it is of the container {:?}", path.display(), state.id);
                Err(Error::new(Kind::Setup, message).hint("give the directory its name back"))
            }
            Ok(state) => Ok(Found::State(Box::new(state))),
            Err(error) => {
                let path = dir.path_of(STATE);
                let error = Error::new(Kind::Setup, format!("{}: {error}", path.display()))
                    .hint("sampan delete --force removes the container");
                Ok(Found::Broken { text, error })
            }
        }
    }

    /// Reads `state.json`.
    ///
    /// # Errors
    /// [`Kind::NotFound`], `container does not exist`, also when a create that was killed left the
    /// directory without the file; [`Kind::Setup`] if it cannot be read or is not what [`save`]
    /// writes.
    ///
    /// [`save`]: State::save
    pub fn load(dir: &Dir) -> Result<Self> {
        match Self::find(dir)? {
            Found::State(state) => Ok(*state),
            Found::Broken { error, .. } => Err(error),
            // Whether it is there without a state is known when no delete is at work.
            Found::Nothing => Err(match dir.lock()? {
                Some(_) => dir.half_made(),
                None => dir.missing(),
            }),
        }
    }

    /// What `state` prints, with `owner` as the caller wants it shown.
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn sample() -> State {
        State {
            oci_version: "1.3.0".to_owned(),
            id: "one".to_owned(),
            pid: 42,
            start_time: 99,
            bundle: "/b".into(),
            rootfs: "/b/rootfs".into(),
            created: "2024-02-29T23:59:59.25Z".to_owned(),
            annotations: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
            cgroup: Some(Cgroup {
                mount: "/sys/fs/cgroup".into(),
                path: "/a/one".to_owned(),
                unit: None,
            }),
            private_pid_namespace: true,
            ..State::default()
        }
    }

    fn in_root(name: &str, test: impl FnOnce(&Root)) {
        let path = std::env::temp_dir().join(format!("sampan-{name}-{}", std::process::id()));
        test(&Root::choose(Some(&path)).unwrap());
        std::fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn round_trip_through_a_private_file() {
        in_root("state", |root| {
            let dir = root.claim("one", b"{}").unwrap().keep();
            sample().save(&dir).unwrap();
            assert_eq!(State::load(&dir).unwrap(), sample());
            let mode = std::fs::metadata(dir.path_of(STATE))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
            let files = std::fs::read_dir(&dir.path).unwrap().count();
            assert_eq!(files, 2, "no temporary file stays");
        });
    }

    #[test]
    fn paths_that_are_not_utf8_are_kept_and_shown() {
        use std::os::unix::ffi::OsStrExt;
        let path = |bytes: &[u8]| PathBuf::from(std::ffi::OsStr::from_bytes(bytes));
        in_root("bytes", |root| {
            let dir = root.claim("one", b"{}").unwrap().keep();
            let state = State {
                bundle: path(b"/b/\xff\xc3("),
                rootfs: path(b"/b/\xff\xc3(/rootfs"),
                options: Options {
                    notify: Some(path(b"/\xfe/notify")),
                    ..Options::default()
                },
                ..sample()
            };
            state.save(&dir).unwrap();
            assert_eq!(State::load(&dir).unwrap(), state);
            let view = state.view(Status::Created, String::new());
            let text = serde_json::to_string(&view).unwrap();
            assert!(
                text.contains("\"bundle\":\"/b/\u{fffd}\u{fffd}(\""),
                "{text}"
            );
        });
    }

    #[test]
    fn load_tells_missing_from_half_made_from_broken() {
        in_root("load", |root| {
            let claim = root.claim("one", b"{}").unwrap();
            assert!(root.container("two").unwrap().open().unwrap().is_none());
            let half = State::load(claim.dir()).unwrap_err();
            assert_eq!(half.kind, Kind::NotFound);
            assert!(half.to_string().contains("delete --force"), "{half}");
            for broken in ["{\"id\":", "", "\0\0", "\n"] {
                std::fs::write(claim.dir().path_of(STATE), broken).unwrap();
                assert_eq!(State::load(claim.dir()).unwrap_err().kind, Kind::Setup);
                assert_eq!(State::salvage("one", broken.as_bytes()), None);
            }
            sample().save(claim.dir()).unwrap();
            let gone = claim.dir().clone();
            drop(claim);
            let gone = State::load(&gone).unwrap_err();
            assert_eq!(gone.to_string(), "container does not exist: one");
        });
    }

    #[test]
    fn a_state_of_another_container_is_refused() {
        in_root("renamed", |root| {
            let claim = root.claim("two", b"{}").unwrap();
            sample().save(claim.dir()).unwrap();
            let text = State::load(claim.dir()).unwrap_err().to_string();
            assert!(text.contains("it is of the container \"one\""), "{text}");
        });
    }

    #[test]
    fn state_that_does_not_say_what_comes_later_is_broken_and_salvaged() {
        in_root("salvage", |root| {
            let claim = root.claim("one", b"{}").unwrap();
            let mut old = serde_json::to_value(sample()).unwrap();
            old.as_object_mut().unwrap().remove("later").unwrap();
            let old = old.to_string();
            std::fs::write(claim.dir().path_of(STATE), &old).unwrap();
            let error = State::load(claim.dir()).unwrap_err();
            let told = error.to_string();
            assert!(
                told.contains("later") && told.contains("delete --force"),
                "{told}"
            );
            let salvaged = State::salvage("one", old.as_bytes()).unwrap();
            assert!(salvaged.later.process && salvaged.later.poststop_hooks);
            let later = sample().later;
            assert_eq!(State { later, ..salvaged }, sample());
        });
    }

    #[test]
    fn view_has_the_keys_that_engines_read() {
        let json = |state: &State, status| {
            serde_json::to_string(&state.view(status, String::new())).unwrap()
        };
        assert_eq!(
            json(&sample(), Status::Created),
            r#"{"ociVersion":"1.3.0","id":"one","pid":42,"status":"created","bundle":"/b","rootfs":"/b/rootfs","created":"2024-02-29T23:59:59.25Z","annotations":{"k":"v"},"owner":""}"#
        );
        let mut plain = sample();
        plain.annotations.clear();
        let text = json(&plain, Status::Stopped);
        assert!(text.contains(r#""pid":0,"status":"stopped""#) && !text.contains("annotations"));
    }
}
