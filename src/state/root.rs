//! The root directory and the directory of one container in it.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use crate::error::{Error, Kind, Result};
use crate::host;
use crate::lexical;
use crate::sys::file;

/// Mode of a root directory below `XDG_RUNTIME_DIR`: the sticky bit tells the cleaners of that
/// directory (XDG Base Directory Specification) to leave it alone.
const XDG_MODE: u32 = 0o1700;

/// The directory that holds one directory per container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// Absolute.
    pub path: PathBuf,
    /// The user chose it with `--root`.
    pub explicit: bool,
    sticky: bool,
}

impl Root {
    /// The directory of `--root`, else the default one: `/run/sampan`, or
    /// `$XDG_RUNTIME_DIR/sampan` for a user other than root. Root of a user namespace counts as
    /// root only if `USER` says so, because unshare(1) leaves the variables of the real user.
    ///
    /// # Errors
    /// [`Kind::Usage`] if `--root` is `/`.
    pub fn choose(flag: Option<&Path>) -> Result<Self> {
        match flag {
            Some(path) => Self::explicit(path),
            None => Self::default_for(
                geteuid().as_raw(),
                std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from),
                || match std::env::var_os("USER") {
                    Some(user) if user == "root" => Ok(false),
                    _ => host::in_user_namespace(),
                },
            ),
        }
    }

    fn explicit(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path)
            .map_err(|error| Error::io(format!("--root: {}", path.display()), "getcwd", &error))?;
        let path = lexical::clean(&path);
        if path == Path::new("/") {
            return Err(Error::new(
                Kind::Usage,
                "--root: / cannot be the root directory",
            ));
        }
        Ok(Self {
            path,
            explicit: true,
            sticky: false,
        })
    }

    fn default_for(
        euid: u32,
        xdg: Option<PathBuf>,
        foreign_root: impl FnOnce() -> Result<bool>,
    ) -> Result<Self> {
        let xdg = match xdg.filter(|dir| dir.is_absolute()) {
            Some(dir) if euid != 0 || foreign_root()? => Some(dir),
            _ => None,
        };
        Ok(Self {
            sticky: xdg.is_some(),
            path: xdg.unwrap_or_else(|| "/run".into()).join("sampan"),
            explicit: false,
        })
    }

    /// Makes the directory, and those above it, where they are missing: mode 0700.
    ///
    /// # Errors
    /// mkdir(2) failed.
    pub fn make(&self) -> Result<()> {
        let failed = |error| {
            Error::io(
                format!("root directory {}", self.path.display()),
                "mkdir",
                &error,
            )
            .hint("choose another directory with --root")
        };
        let directory = |mode| {
            let mut builder = DirBuilder::new();
            builder.mode(mode);
            builder
        };
        if let Some(above) = self.path.parent() {
            let mut above_all = directory(0o700);
            above_all.recursive(true).create(above).map_err(failed)?;
        }
        let mode = if self.sticky { XDG_MODE } else { 0o700 };
        match directory(mode).create(&self.path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(failed(error)),
            _ => Ok(()),
        }
    }

    /// The directory of the container `id`, which need not exist.
    ///
    /// # Errors
    /// `invalid container ID format`.
    pub fn container(&self, id: &str) -> Result<Dir> {
        check_id(id)?;
        Ok(Dir {
            path: self.path.join(id),
            id: id.to_owned(),
        })
    }

    /// Directories of all containers, sorted by id. A default root directory that is missing holds
    /// none.
    ///
    /// # Errors
    /// The directory cannot be read, or the user chose it and it is missing.
    pub fn containers(&self) -> Result<Vec<Dir>> {
        let name = || format!("root directory {}", self.path.display());
        let entries = match std::fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound && !self.explicit => {
                return Ok(vec![]);
            }
            Err(error) => return Err(Error::io(name(), "open", &error)),
        };
        let mut containers = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| Error::io(name(), "getdents64", &error))?;
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let Some(id) = entry.file_name().to_str().map(str::to_owned) else {
                continue;
            };
            if is_dir && let Ok(dir) = self.container(&id) {
                containers.push(dir);
            }
        }
        containers.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        Ok(containers)
    }

    /// Takes the id: mkdir(2) is the lock.
    ///
    /// # Errors
    /// `invalid container ID format`, `container with given ID already exists`, or mkdir(2) failed.
    pub fn claim(&self, id: &str) -> Result<Claim> {
        let dir = self.container(id)?;
        let mkdir = || DirBuilder::new().mode(0o700).create(&dir.path);
        let made = match mkdir() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.make()?;
                mkdir()
            }
            made => made,
        };
        match made {
            Ok(()) => Ok(Claim {
                dir,
                disarmed: false,
            }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(Error::new(
                Kind::Exists,
                format!("container with given ID already exists: {id}"),
            )),
            Err(error) => Err(Error::io(dir.path.display().to_string(), "mkdir", &error)),
        }
    }
}

/// The id rule: `[A-Za-z0-9_+.-]+`, and neither `.` nor `..`.
fn check_id(id: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_+.-".contains(&byte);
    if id.is_empty() || id == "." || id == ".." || !id.bytes().all(plain) {
        let message = format!("invalid container ID format: {id:?}");
        return Err(
            Error::new(Kind::Usage, message).hint("letters, digits and _ + - . are allowed")
        );
    }
    Ok(())
}

/// The directory of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dir {
    /// Absolute.
    pub path: PathBuf,
    pub id: String,
}

impl Dir {
    /// What later verbs must know: [`super::State`].
    pub fn state_file(&self) -> PathBuf {
        self.path.join("state.json")
    }

    /// The bytes of the config that the container was created from.
    pub fn config_file(&self) -> PathBuf {
        self.path.join("config.json")
    }

    /// The SEQPACKET socket on which the init process waits for `start`.
    pub fn start_socket(&self) -> PathBuf {
        self.path.join("start.sock")
    }

    /// The file whose write lock the init process holds until its execve(2).
    pub fn init_lock(&self) -> PathBuf {
        self.path.join("init.lock")
    }

    /// Removes the directory and what is in it; one that is missing is no error.
    ///
    /// # Errors
    /// unlink(2) or rmdir(2) failed.
    pub fn remove(&self) -> Result<()> {
        let known = [
            self.state_file(),
            self.config_file(),
            self.init_lock(),
            self.start_socket(),
        ];
        for file in known {
            // What cannot be removed here is told below.
            let _ = file::remove(&file);
        }
        if std::fs::remove_dir(&self.path).is_ok() {
            return Ok(());
        }
        match std::fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::io(self.path.display().to_string(), "remove", &error))
            }
            _ => Ok(()),
        }
    }
}

/// An id that was just taken. Dropping it gives the id back, unless [`Claim::keep`] was called.
#[derive(Debug)]
#[must_use]
pub struct Claim {
    dir: Dir,
    disarmed: bool,
}

impl Claim {
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// The container exists from now on.
    pub fn keep(mut self) -> Dir {
        self.disarmed = true;
        self.dir.clone()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.disarmed {
            // The failure that led here is the one to report; `delete --force` removes the rest.
            drop(self.dir.remove());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn ids() {
        let root = Root::explicit(Path::new("/run/x")).unwrap();
        for id in ["a", "A-b_c+d.9", "...", "-", ".hidden"] {
            assert_eq!(
                root.container(id).unwrap().path,
                Path::new("/run/x").join(id)
            );
        }
        for id in ["", ".", "..", "a/b", "/", "a b", "é", "a\n", "a\0"] {
            let text = root.container(id).unwrap_err().to_string();
            assert!(
                text.starts_with("invalid container ID format"),
                "{id:?}: {text}"
            );
        }
    }

    #[test]
    fn default_root_follows_the_user() {
        let xdg = || Some(PathBuf::from("/run/user/7"));
        for (euid, dir, foreign, expected) in [
            (0, xdg(), false, "/run/sampan"),
            (0, xdg(), true, "/run/user/7/sampan"),
            (7, xdg(), false, "/run/user/7/sampan"),
            (7, None, false, "/run/sampan"),
            (7, Some(PathBuf::from("relative")), false, "/run/sampan"),
        ] {
            let root = Root::default_for(euid, dir, || Ok(foreign)).unwrap();
            assert_eq!(root.path, Path::new(expected));
            assert_eq!(root.sticky, expected != "/run/sampan");
        }
    }

    #[test]
    fn a_root_below_xdg_runtime_dir_is_sticky() {
        let above = std::env::temp_dir().join(format!("sampan-sticky-{}", std::process::id()));
        let root = Root::default_for(7, Some(above.join("run")), || Ok(false)).unwrap();
        root.make().unwrap();
        root.make().unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&root.path), mode(&above)), (XDG_MODE, 0o700));
        std::fs::remove_dir_all(&above).unwrap();
    }

    #[test]
    fn explicit_root_is_absolute_and_not_slash() {
        assert_eq!(
            Root::choose(Some(Path::new("/a/../b/./c"))).unwrap().path,
            Path::new("/b/c")
        );
        let here = std::env::current_dir().unwrap();
        assert_eq!(
            Root::choose(Some(Path::new("x"))).unwrap().path,
            here.join("x")
        );
        for path in ["/", "//", "/.", "/a/.."] {
            assert!(Root::choose(Some(Path::new(path))).is_err(), "{path}");
        }
    }

    #[test]
    fn a_claim_is_exclusive_and_gives_the_id_back() {
        let path = std::env::temp_dir().join(format!("sampan-claim-{}", std::process::id()));
        let root = Root::choose(Some(&path)).unwrap();
        let claim = root.claim("one").unwrap();
        std::fs::write(claim.dir().config_file(), "{}").unwrap();
        let error = root.claim("one").unwrap_err();
        assert_eq!(error.kind, Kind::Exists);
        assert!(
            error
                .to_string()
                .starts_with("container with given ID already exists")
        );
        drop(claim);
        let dir = root.claim("one").unwrap().keep();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&path), mode(&dir.path)), (0o700, 0o700));
        let ids: Vec<_> = root
            .containers()
            .unwrap()
            .into_iter()
            .map(|dir| dir.id)
            .collect();
        assert_eq!(ids, ["one"]);
        std::fs::remove_dir_all(&path).unwrap();
        assert!(root.containers().is_err());
        assert_eq!(
            Root {
                explicit: false,
                ..root
            }
            .containers()
            .unwrap(),
            []
        );
    }
}
