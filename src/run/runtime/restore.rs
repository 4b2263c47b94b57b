//! Restores the processes of a container.

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Result, bail};

use super::checkpoint::EXTERNAL;
use super::create::{
    claim, executor, first_state, give_up, prepare, refuse_used_cgroup, remember_cgroup,
};
use super::serve_init::{self, CONNECTION, Sockets};
use super::teardown::Undo;
use super::{Request, confined, entrance, hooks, relay, sources, staged};
use crate::config::{Config, Namespace, NamespaceKind, host_id};
use crate::criu::mounts::{self, Candidate};
use crate::criu::{
    BEFORE_RUNNING, CgroupMode, Criu, Kind, Launch, Notice, Options, Own, Switch, cgroup_options,
    container, images, streams,
};
use crate::error::{Context as _, Error};
use crate::plan::{AnyStep, EntryStep, Plan, RestoreSteps};
use crate::state::{self, Dir, State, Status};
use crate::sys::{Sys, path as syspath, pidfd, socket, stat};

/// Everything that is needed to restore a container.
pub struct Restore<'a> {
    /// The container, as for `create`.
    pub request: Request<'a>,
    /// What the command line says.
    pub options: Options,
    /// The directory of the images.
    pub images: &'a OwnedFd,
    /// The directory of CRIU's log.
    pub work: &'a OwnedFd,
    /// The path of CRIU's log, for errors.
    pub log: &'a Path,
}

/// A container that runs.
pub struct Restored {
    /// Its directory.
    pub dir: Rc<Dir>,
    /// What is saved of it.
    pub state: State,
    /// Its init.
    pub pidfd: Rc<OwnedFd>,
    /// The master of its terminal, unless it was sent to the console socket.
    pub terminal: Option<OwnedFd>,
}

/// Restores the container. After an error nothing is left of it.
///
/// # Errors
/// CRIU is missing or has failed, and the error quotes its log; or a step of the runtime.
pub fn restore(mut restore: Restore) -> Result<Restored> {
    let options = std::mem::take(&mut restore.options);
    let request = &restore.request;
    let namespaces = open_namespaces(request.plan)?;
    let (sockets, pid_file, claim) = claim(request)?;
    let dir = claim.dir().clone();
    let mut restoring = Restoring {
        request,
        dir: dir.clone(),
        undo: Undo::new(claim),
        state: first_state(request)?,
        sockets,
        terminal: None,
        steps: request.plan.restore_steps(),
        compared: false,
    };
    let restored = restoring
        .run(&restore, options, &namespaces)
        .and_then(|pidfd| {
            restoring.sockets.send_pidfd("standard", pidfd.as_fd())?;
            pid_file.map_or(Ok(()), |file| file.write(restoring.state.pid))?;
            Ok(pidfd)
        });
    let Restoring {
        undo,
        state,
        terminal,
        ..
    } = restoring;
    match super::interrupt::instead(restored) {
        Ok(pidfd) => {
            drop(dir);
            Ok(Restored {
                dir: undo.disarm(),
                state,
                pidfd,
                terminal,
            })
        }
        Err(error) => Err(give_up(request, undo, dir, &state, error)),
    }
}

/// The namespaces that were not dumped: each with its name in the images. Those that CRIU joins by
/// their path are checked only.
fn open_namespaces(plan: &Plan) -> Result<Vec<(&'static str, OwnedFd)>> {
    let mut opened = Vec::new();
    for (_, found) in plan.entry_steps() {
        let AnyStep::Entry(EntryStep::JoinNamespace { kind, .. }) = found.step else {
            continue;
        };
        let namespace = sources::open_namespace(found)?;
        let external = EXTERNAL.iter().find(|(external, ..)| external == kind);
        opened.extend(external.map(|(_, _, name)| *name).zip(namespace));
    }
    Ok(opened)
}

/// The other namespaces that CRIU can join.
fn joined_by_path(config: &Config) -> Vec<(&'static str, Vec<u8>)> {
    let kinds = [NamespaceKind::Ipc, NamespaceKind::Uts];
    let joined = kinds.into_iter().filter_map(|kind| {
        let Namespace::Join { path, .. } = config.linux.namespaces.get(kind) else {
            return None;
        };
        Some((kind.name(), path.as_os_str().as_bytes().to_owned()))
    });
    joined.collect()
}

/// In a new user namespace the processes open the images themselves, as its root: the group of this
/// root gets the right to search their directory, and to open those of the dumps before. The images
/// are as open as CRIU has made them.
fn let_root_search(images: &OwnedFd, config: &Config) -> Result<()> {
    let linux = &config.linux;
    let group = match linux.namespaces.user {
        Namespace::New => host_id(&linux.gid_mappings, 0),
        _ => None,
    };
    let Some(group) = group else {
        return Ok(());
    };
    let mut rights = libc::S_IXGRP;
    let mut parent = None;
    for _ in 0..images::DEEPEST {
        let directory = parent.as_ref().unwrap_or(images).as_fd();
        let_in(directory, group, rights).context("--image-path")?;
        rights |= libc::S_IRGRP;
        match images::parent(directory).context("--image-path")? {
            None => break,
            found => parent = found,
        }
    }
    Ok(())
}

/// Gives the group these rights, unless all users have them.
fn let_in(directory: BorrowedFd, group: u32, rights: u32) -> Sys<()> {
    let stat = stat::stat(directory)?;
    let of_others = rights >> 3;
    if stat.mode & of_others == of_others {
        return Ok(());
    }
    syspath::chown(directory, u32::MAX, group)?;
    syspath::chmod(directory, stat.mode & !libc::S_IFMT | rights)
}

/// What the names of the host's mounts mean.
fn named_mounts(candidates: &[Candidate], staging: &Path) -> Result<Vec<mounts::Named>> {
    let real = |source: &CStr| {
        let path = std::fs::canonicalize(OsStr::from_bytes(source.to_bytes()));
        syspath::c_string(path.ok()?).ok()
    };
    let table = container::table("self")?;
    let staging = staging.as_os_str().as_bytes();
    Ok(mounts::to_restore(candidates, &table, real, staging))
}

/// A container that is being restored.
struct Restoring<'a> {
    request: &'a Request<'a>,
    dir: Rc<Dir>,
    undo: Undo,
    state: State,
    sockets: Sockets,
    terminal: Option<OwnedFd>,
    steps: RestoreSteps,
    /// Whether the restored processes have been compared with the config.
    compared: bool,
}

impl Restoring<'_> {
    /// Makes the cgroup, and lets CRIU make the processes. Returns the pidfd of init.
    fn run(
        &mut self,
        restore: &Restore,
        mut options: Options,
        namespaces: &[(&'static str, OwnedFd)],
    ) -> Result<Rc<OwnedFd>> {
        let dir = self.dir.clone();
        refuse_used_cgroup(&self.state, self.request.host)?;
        self.state.save(&dir)?;
        let mut criu = self.start(restore, namespaces, &mut options)?;
        let_root_search(restore.images, self.request.config)?;
        let images = criu.reopen(restore.images.as_fd())?;
        let work = criu.reopen(restore.work.as_fd())?;
        (options.images, options.work) = (images.as_raw_fd(), work.as_raw_fd());
        // The steps for CRIU send no messages.
        let (connection, _) = socket::pair().context(CONNECTION)?;
        let before = &self.steps.before;
        prepare(self.request, &dir, &mut self.undo, &connection, before)?;
        let mut runtime = executor(self.request, &mut self.undo, &connection);
        runtime.run(&self.steps.on_criu, criu.pid)?;
        remember_cgroup(&mut self.state, &self.undo)?;
        self.place(&criu, &mut options)?;
        let kept = cgroup_options::Kept::look()?;
        let aim = criu.aim();
        criu.perform(Kind::Restore, &options, restore.log, &mut |notice, fd| {
            self.answer(notice, fd)
        })?;
        drop((aim, kept));
        match self.undo.process.clone() {
            Some(pidfd) if self.compared => Ok(pidfd),
            Some(_) => bail!("criu did not let the restored processes be looked at"),
            None => bail!("criu has restored no process"),
        }
    }

    /// Executes CRIU with the mounts that it needs, and completes the options with what the
    /// container and this host have.
    fn start(
        &self,
        restore: &Restore,
        namespaces: &[(&'static str, OwnedFd)],
        options: &mut Options,
    ) -> Result<Criu> {
        let Request { config, plan, .. } = *self.request;
        let candidates = mounts::candidates(plan);
        let staged = staged::copy(plan, config, &candidates)?;
        let root_tree = staged::root_tree(&config.root.path)?;
        let in_images = images::mounts(restore.images.as_fd())?;
        staged::check_mount_points(&in_images, &candidates, &staged, root_tree.as_fd())?;
        // CRIU's newer code takes the group of all these mounts from one source, which must have all
        // others in it, or makes a new one. The older code keeps that of the copies.
        let old = images::has_events_of_the_host(&in_images);
        options.switch(Switch::OldMountEngine, old);
        options.mounts = named_mounts(&candidates, &self.dir.path)?;
        options.root = config.root.path.as_os_str().as_bytes().to_owned();
        options.joined = joined_by_path(config);
        let named = namespaces.iter();
        let named = named.map(|(name, file)| (name.as_bytes().to_owned(), file.as_raw_fd()));
        let streams = streams::load(restore.images.as_fd())?;
        options.inherited = named.chain(streams::inherited(&streams)).collect();
        let numbers = namespaces.iter().map(|(_, file)| file.as_raw_fd());
        Criu::start(&Launch {
            descriptors: numbers.collect(),
            steps: Some(&self.steps),
            own: Some(&Own {
                root: syspath::c_string(&config.root.path).context("root.path")?,
                root_tree: &root_tree,
                staging: syspath::c_string(&self.dir.path).context("--root")?,
                staged: &staged,
            }),
        })
    }

    /// Says in which cgroup the processes are. CRIU replaces the path of the cgroup in the images,
    /// or leaves the processes where it is itself.
    fn place(&self, criu: &Criu, options: &mut Options) -> Result<()> {
        let (Some(cgroup), Some(place)) = (&self.undo.made.cgroup, &self.state.cgroup) else {
            options.cgroups = Some(CgroupMode::Ignore);
            return Ok(());
        };
        match options.cgroups {
            Some(CgroupMode::Ignore) if place.unit.is_none() => cgroup.add(criu.pid)?,
            Some(CgroupMode::Strict) if place.unit.is_none() && !cgroup.is_new() => {
                let object = format!("--manage-cgroups-mode strict: {}", place.dir().display());
                let error = Error::new(format!("{object}: the cgroup exists already"));
                bail!(error.hint("remove it, or choose another linux.cgroupsPath"));
            }
            // CRIU would refuse the container's own cgroup, which the runtime has just made.
            Some(CgroupMode::Strict) => options.cgroups = Some(CgroupMode::Full),
            _ => {}
        }
        options.cgroup_root = Some(place.path.clone().into_bytes());
        Ok(())
    }

    fn answer(&mut self, notice: &Notice, fd: Option<OwnedFd>) -> Result<()> {
        match (notice.script.as_str(), notice.pid, fd) {
            ("setup-namespaces", Some(pid), _) => {
                let state = State {
                    pid,
                    ..self.state.clone()
                };
                hooks::run_hooks(&self.request.plan.hooks, &state, Status::Creating)
            }
            ("orphan-pts-master", _, Some(master)) => self.keep_terminal(master),
            ("post-restore", Some(pid), _) => self.publish(pid),
            (BEFORE_RUNNING, ..) => self.compare(),
            _ => Ok(()),
        }
    }

    fn keep_terminal(&mut self, master: OwnedFd) -> Result<()> {
        if let Some(console) = &self.sockets.console {
            return serve_init::send_terminal(console, master.as_fd());
        }
        relay::prepare(master.as_fd())?;
        self.terminal = Some(master);
        Ok(())
    }

    /// Records init, which exists and is stopped until CRIU's last step.
    fn publish(&mut self, pid: i32) -> Result<()> {
        let pidfd = pidfd::open(pid).with_context(|| format!("process {pid}"))?;
        self.undo.process = Some(Rc::new(pidfd));
        self.state.pid = pid;
        self.state.start_time = state::start_time(pid)?.unwrap_or_default();
        self.state.user_namespace = entrance::user_namespace(pid, self.request.host)?;
        let (connection, _) = socket::pair().context(CONNECTION)?;
        let mut runtime = executor(self.request, &mut self.undo, &connection);
        runtime.run(&self.steps.on_init, pid)?;
        self.state.save(&self.dir)
    }

    /// Compares the processes with the config. They have all of their attributes, and are stopped
    /// until CRIU gets its answer.
    fn compare(&mut self) -> Result<()> {
        let checked = confined::check(self.state.pid, self.request.config, &self.steps.confinement);
        if checked.is_err() {
            self.kill_restored();
        }
        self.compared = true;
        checked
    }

    /// See [`BEFORE_RUNNING`].
    fn kill_restored(&self) {
        if let Some(cgroup) = &self.undo.made.cgroup {
            let _ = cgroup.kill();
        }
        // Parents first, so that init of a pid namespace takes the others with it.
        for pid in confined::processes(self.state.pid).unwrap_or_default() {
            let _ = pidfd::open(pid).and_then(|it| pidfd::send_signal(it.as_fd(), libc::SIGKILL));
        }
        if let Some(init) = &self.undo.process {
            let _ = pidfd::send_signal(init.as_fd(), libc::SIGKILL);
        }
    }
}
