//! The root directory, and the container ids that are in use in it.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Result, bail};
use nix::errno::Errno;
use nix::unistd::geteuid;

use super::dir::{self, CONFIG, Dir, Place};
use super::status;
use crate::error::{Call as _, Chain as _, Code, Context as _, Error, Kind, Named};
use crate::host;
use crate::lexical;
use crate::sorted::sorted;
use crate::sys::{file, io, stat, tree};

/// Mode of a root directory below `XDG_RUNTIME_DIR`. Programs that clean up that directory skip
/// entries with the sticky bit (XDG Base Directory Specification).
const XDG_MODE: u32 = 0o1700;

/// The directory that contains one directory per container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// Absolute.
    pub path: PathBuf,
    /// Whether the user chose it with `--root`.
    pub explicit: bool,
    sticky: bool,
}

/// The directory that systemd-logind makes for a user, which XDG_RUNTIME_DIR names in sessions only.
/// `None` for root, and if it does not exist or belongs to another user.
fn session_directory(euid: u32) -> Result<Option<PathBuf>> {
    if euid == 0 {
        return Ok(None);
    }
    let path = PathBuf::from(format!("/run/user/{euid}"));
    let found = stat::stat_of(&path).with_context(|| path.display())?;
    let own = found.is_some_and(|stat| stat.is(libc::S_IFDIR) && stat.uid == euid);
    Ok(own.then_some(path))
}

impl Root {
    /// The directory of `--root`, or the default: `/run/sampan`, or `$XDG_RUNTIME_DIR/sampan` for a
    /// user other than root. Without the variable it is `/run/user/UID/sampan`, if the user has that
    /// directory. Root of a user namespace counts as root only if `USER` is `root`,
    /// because unshare(1) keeps the environment of the real user.
    ///
    /// # Errors
    /// `--root` is `/`.
    pub fn choose(flag: Option<&Path>) -> Result<Self> {
        match flag {
            Some(path) => Self::explicit(path),
            None => Self::default_for(
                geteuid().as_raw(),
                match std::env::var_os("XDG_RUNTIME_DIR") {
                    Some(directory) => Some(directory.into()),
                    None => session_directory(geteuid().as_raw())?,
                },
                || match std::env::var_os("USER") {
                    Some(user) if user == "root" => Ok(false),
                    _ => host::in_user_namespace(),
                },
            ),
        }
    }

    fn explicit(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path)
            .call("getcwd")
            .with_context(|| Named("--root", path))?;
        let path = lexical::clean(&path);
        if path == Path::new("/") {
            bail!(Error::usage("--root: / cannot be the root directory"));
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

    /// Creates the directory and its missing parents with mode 0700.
    ///
    /// # Errors
    /// mkdir(2) failed.
    pub fn make(&self) -> Result<()> {
        let hint = if self.sticky || geteuid().is_root() {
            "choose another directory with --root"
        } else {
            "set XDG_RUNTIME_DIR to a directory of yours, or choose one with --root"
        };
        let named = |made: std::io::Result<()>| {
            made.call("mkdir")
                .map_err(|error| error.hint(hint))
                .with_context(|| self.object())
        };
        let directory = |mode| {
            let mut builder = DirBuilder::new();
            builder.mode(mode);
            builder
        };
        if let Some(above) = self.path.parent() {
            let mut above_all = directory(0o700);
            named(above_all.recursive(true).create(above))?;
        }
        let mode = if self.sticky { XDG_MODE } else { 0o700 };
        match directory(mode).create(&self.path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            made => named(made),
        }
    }

    /// The directory, for errors.
    fn object(&self) -> String {
        format!("root directory {}", self.path.display())
    }

    /// The place of the container `id`, which need not exist.
    ///
    /// # Errors
    /// `invalid container ID format`.
    pub fn container(&self, id: &str) -> Result<Place> {
        check_id(id)?;
        Ok(Place {
            path: self.path.join(id),
            id: id.to_owned(),
        })
    }

    /// The places of all containers, sorted by id. A missing default root directory contains none.
    ///
    /// # Errors
    /// The directory cannot be read, is missing although the user chose it, or can be changed by
    /// users other than the caller.
    pub fn containers(&self) -> Result<Vec<Place>> {
        let object = || self.object();
        let opened = match file::open(&self.path, libc::O_RDONLY | libc::O_DIRECTORY, 0) {
            Err(fail) if fail.errno == Errno::ENOENT && !self.explicit => return Ok(vec![]),
            opened => opened.with_context(object)?,
        };
        let stat = stat::stat(opened.as_fd()).with_context(object)?;
        dir::check_root(&self.path, &stat, geteuid().as_raw())?;
        let entries = tree::entries(opened.as_fd()).with_context(object)?;
        let directories = entries.iter().filter(|entry| entry.is_dir);
        let ids = sorted(directories.map(|entry| &entry.name).collect());
        let containers = ids.into_iter();
        Ok(containers
            .filter_map(|id| self.container(id.to_str().ok()?).ok())
            .collect())
    }

    /// Claims the id, and saves the config that the container will be created from. The id belongs
    /// to the caller that creates the first file in the directory: after mkdir(2) another process
    /// may have removed the directory and created it again.
    ///
    /// # Errors
    /// `invalid container ID format`, `container with given ID already exists`; a system call
    /// failed; or users other than the caller may change the root directory.
    pub fn claim(&self, id: &str, config: &[u8]) -> Result<Claim> {
        let place = self.container(id)?;
        self.make_container(&place)?;
        // It is empty as long as the id belongs to no caller. The error that led here is the one to
        // report.
        let give_back = || drop(std::fs::remove_dir(&place.path));
        let dir = place
            .open()
            .inspect_err(|_| give_back())?
            .ok_or_else(|| deleted(id))?;
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL;
        let file = match dir.open(CONFIG, flags, 0o600) {
            Err(fail) if fail.errno == Errno::EEXIST => bail!(exists(id)),
            Err(fail) if fail.errno == Errno::ENOENT => bail!(deleted(id)),
            file => file
                .inspect_err(|_| give_back())
                .with_context(|| dir.object(CONFIG))?,
        };
        let written = status::lock(file.as_fd())
            .and_then(|()| io::write_all(file.as_fd(), config))
            .with_context(|| dir.object(CONFIG));
        let claim = Claim {
            dir: Rc::new(dir),
            _lock: file,
            disarmed: false,
        };
        written.map(|()| claim)
    }

    /// mkdir(2) of the container's directory, and of the root directory if it is missing.
    fn make_container(&self, place: &Place) -> Result<()> {
        let mkdir = || DirBuilder::new().mode(0o700).create(&place.path);
        let made = match mkdir() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.make()?;
                mkdir()
            }
            made => made,
        };
        match made {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => bail!(exists(&place.id)),
            made => made.call("mkdir").with_context(|| place.path.display()),
        }
        .map_err(|error| match error.errno() {
            Some(Errno::EROFS) => error.hint("choose another directory with --root"),
            _ => error,
        })
    }
}

fn exists(id: &str) -> Error {
    Error::new(format!("container with given ID already exists: {id}"))
        .code_is(Code::ContainerExists)
}

/// The error of a create whose container another command has deleted.
pub fn deleted(id: &str) -> Error {
    let message = format!("container {id} was deleted while it was created");
    Error::of(Kind::Status, message)
}

/// The id rule: `[A-Za-z0-9_+.-]+`, and neither `.` nor `..`.
fn check_id(id: &str) -> Result<()> {
    let invalid = |message| Error::new(message).code_is(Code::ContainerInvalidId);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_+.-".contains(&byte);
    if id.is_empty() || id == "." || id == ".." || !id.bytes().all(plain) {
        let message = format!("invalid container ID format: {id:?}");
        bail!(invalid(message).hint("letters, digits and _ + - . are allowed"));
    }
    // It is the name of a directory.
    if id.len() > 255 {
        let message = format!("invalid container ID format: it has {} bytes", id.len());
        bail!(invalid(message).hint("the limit is 255"));
    }
    Ok(())
}

/// An id that was just claimed. Dropping the claim releases the id, unless [`Claim::keep`] was
/// called.
#[derive(Debug)]
#[must_use]
pub struct Claim {
    dir: Rc<Dir>,
    /// The config, whose write lock shows readers that the create has not been killed.
    _lock: OwnedFd,
    disarmed: bool,
}

impl Claim {
    /// The new directory of the container.
    pub fn dir(&self) -> &Rc<Dir> {
        &self.dir
    }

    /// Keeps the id: the container exists from now on.
    pub fn keep(mut self) -> Rc<Dir> {
        self.disarmed = true;
        self.dir.clone()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.disarmed {
            return;
        }
        // The error that led here is the one to report, and `delete --force` removes what is left.
        // If another process has removed the directory meanwhile, `lock` returns `None`.
        if let Ok(Some(locked)) = self.dir.lock() {
            let _ = locked.remove();
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
            let text = format!("{:#}", root.container(id).unwrap_err());
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
        let claim = root.claim("one", b"{}").unwrap();
        let config = std::fs::read(claim.dir().path_of(CONFIG)).unwrap();
        assert_eq!(config, b"{}");
        let error = format!("{:#}", root.claim("one", b"").unwrap_err());
        assert!(error.starts_with("container with given ID already exists"));
        drop(claim);
        let dir = root.claim("one", b"").unwrap().keep();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&path), mode(&dir.path)), (0o700, 0o700));
        let ids: Vec<_> = root
            .containers()
            .unwrap()
            .into_iter()
            .map(|place| place.id)
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

    /// The first claim's directory was removed, and the second claim owns the id.
    #[test]
    fn a_claim_that_was_overtaken_leaves_the_other_alone() {
        let path = std::env::temp_dir().join(format!("sampan-overtaken-{}", std::process::id()));
        let root = Root::choose(Some(&path)).unwrap();
        let first = root.claim("one", b"first").unwrap();
        let place = root.container("one").unwrap();
        assert!(first.dir().is_current().unwrap());
        std::fs::remove_dir_all(&place.path).unwrap();
        assert!(!first.dir().is_current().unwrap());
        let second = root.claim("one", b"second").unwrap().keep();
        assert!(first.dir().lock().unwrap().is_none());
        drop(first);
        assert!(second.is_current().unwrap());
        assert_eq!(second.read(CONFIG).unwrap().unwrap(), b"second");
        second.lock().unwrap().unwrap().remove().unwrap();
        assert!(place.open().unwrap().is_none());
        std::fs::remove_dir(&path).unwrap();
    }

    #[test]
    fn a_claim_is_abandoned_when_its_create_has_ended_without_a_state() {
        let path = std::env::temp_dir().join(format!("sampan-abandoned-{}", std::process::id()));
        let root = Root::choose(Some(&path)).unwrap();
        let is_abandoned = |dir: &Dir| dir.lock().unwrap().unwrap().is_abandoned().unwrap();
        let claim = root.claim("one", b"{}").unwrap();
        let other = root.container("one").unwrap().open().unwrap().unwrap();
        assert!(!is_abandoned(&other), "the create holds the config's lock");
        drop(claim.keep());
        assert!(is_abandoned(&other));
        super::super::State {
            id: "one".to_owned(),
            ..Default::default()
        }
        .save(&other)
        .unwrap();
        assert!(!is_abandoned(&other), "there is a state");
        std::fs::remove_file(other.path_of(super::super::STATE)).unwrap();
        std::fs::write(other.path_of(CONFIG), "").unwrap();
        assert!(!is_abandoned(&other), "nothing was created yet");
        std::fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn an_empty_directory_claims_the_id() {
        let path = std::env::temp_dir().join(format!("sampan-empty-{}", std::process::id()));
        let root = Root::choose(Some(&path)).unwrap();
        root.make().unwrap();
        std::fs::create_dir_all(path.join("one/notify/deep")).unwrap();
        std::fs::write(path.join("one/notify/file"), "").unwrap();
        let error = format!("{:#}", root.claim("one", b"").unwrap_err());
        assert!(error.starts_with("container with given ID already exists"));
        let left = root.container("one").unwrap().open().unwrap().unwrap();
        left.lock().unwrap().unwrap().remove().unwrap();
        assert_eq!(root.containers().unwrap(), []);
        std::fs::remove_dir(&path).unwrap();
    }
}
