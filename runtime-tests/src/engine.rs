//! A place in which a container engine runs beside the host's own. The case's process gets a mount
//! namespace with its own `/run`, `/var/lib` and `/dev/shm`, and with its own files over `/etc`.
//! The engine keeps its usual paths, and everything that it leaves there is removed with the case.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, chown};
use serde_json::{Value, json};

use crate::console::callers;
use crate::host::{cgroup_mounts, peer_name};
use crate::{Call, Output, Sandbox};

/// The image of [`Place::image`].
pub const IMAGE: &str = "localhost/busybox:1";

/// The ordinary user in the place: id and name.
pub const USER: (u32, &str) = (1000, "ordinary");

/// See the module's documentation.
pub struct Place<'t> {
    t: &'t Sandbox,
    /// An OCI archive of [`IMAGE`].
    pub image: PathBuf,
    /// An empty home directory.
    pub home: PathBuf,
    /// The runtime's name in the engine's configuration.
    pub runtime: String,
    /// The directory for an ordinary user's sockets and pid files; `None` for root.
    pub user: Option<PathBuf>,
}

impl<'t> Place<'t> {
    /// Moves this process into the place. Skips the case if the host does not allow it.
    pub fn new(t: &'t Sandbox) -> Self {
        let home = directory(t, "home");
        let place = Self {
            image: make_image(t),
            runtime: peer_name(&t.runtime).unwrap_or("sampan".into()),
            home,
            user: None,
            t,
        };
        if let Err(error) = place.enter() {
            t.skip(&format!(
                "the host cannot run an engine beside its own: {error}"
            ));
        }
        place
    }

    fn enter(&self) -> Result<(), String> {
        unshare(CloneFlags::CLONE_NEWNS).map_err(|error| format!("unshare(2): {error}"))?;
        mount_at("none", "/", "", MsFlags::MS_REC | MsFlags::MS_PRIVATE, "")?;
        for path in ["/run", "/var/lib", "/dev/shm"] {
            let own = directory(self.t, &path.trim_start_matches('/').replace('/', "-"));
            let mode = if path == "/dev/shm" { 0o1777 } else { 0o755 };
            let done = fs::set_permissions(&own, fs::Permissions::from_mode(mode));
            done.map_err(|error| format!("{path}: {error}"))?;
            mount_at(&own.to_string_lossy(), path, "", MsFlags::MS_BIND, "")?;
        }
        let etc = directory(self.t, "etc");
        let (id, name) = USER;
        for (file, line) in [
            (
                "passwd",
                format!("root:x:0:0::/root:/bin/sh\n{name}:x:{id}:{id}::/:/bin/sh\n"),
            ),
            ("group", format!("root:x:0:\n{name}:x:{id}:\n")),
            ("subuid", format!("{name}:200000:65536\n")),
            ("subgid", format!("{name}:200000:65536\n")),
        ] {
            fs::write(etc.join(file), line).map_err(|error| format!("{file}: {error}"))?;
        }
        let layers = format!("lowerdir={}:/etc", etc.display());
        mount_at("overlay", "/etc", "overlay", MsFlags::empty(), &layers)
    }

    /// Mounts the cgroup v2 hierarchy at `/sys/fs/cgroup`, so that engines use it as the only one.
    pub fn unify_cgroups(&self) {
        let done = mount_at("cgroup2", "/sys/fs/cgroup", "cgroup2", MsFlags::empty(), "");
        done.expect("mount cgroup v2");
    }

    /// Makes all further calls as [`USER`].
    #[must_use]
    pub fn of_user(mut self) -> Self {
        let directory = Path::new("/run/user").join(USER.0.to_string());
        fs::create_dir_all(&directory).expect("/run/user");
        for path in [&directory, &self.home] {
            chown(
                path,
                Some(Uid::from_raw(USER.0)),
                Some(Gid::from_raw(USER.0)),
            )
            .expect("chown");
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("mode");
        }
        self.user = Some(directory);
        let runtime = self.t.runtime.display();
        if !self
            .call("test")
            .arg("-x")
            .arg(&self.t.runtime)
            .run()
            .status
            .success()
        {
            self.t
                .skip(&format!("an ordinary user cannot reach {runtime}"));
        }
        self
    }

    /// A call of a program, with an environment that contains no session but this one.
    pub fn call(&self, program: &str) -> Call {
        let session = [
            "XDG_RUNTIME_DIR",
            "XDG_CONFIG_HOME",
            "XDG_DATA_HOME",
            "NOTIFY_SOCKET",
        ];
        let mut words = vec!["env".to_owned()];
        words.extend(session.map(|name| format!("--unset={name}")));
        if let Some(directory) = &self.user {
            words.push(format!("XDG_RUNTIME_DIR={}", directory.display()));
            let (id, _) = USER;
            let ids = [
                format!("--reuid={id}"),
                format!("--regid={id}"),
                "--clear-groups".into(),
            ];
            words.splice(0..0, ["setpriv".to_owned()].into_iter().chain(ids));
        }
        let call = self.t.call(program).prefix(words);
        call.env("HOME", &self.home)
            .env("TMPDIR", &self.home)
            .cwd(&self.home)
    }

    /// The directories in which runtimes keep their state when engines call them.
    fn runtime_roots(&self) -> Vec<PathBuf> {
        let names = ["sampan", "runc", "crun", "youki"];
        let parents = [Path::new("/run")].into_iter().chain(self.user.as_deref());
        let mut roots: Vec<_> = parents
            .flat_map(|dir| names.map(|name| dir.join(name)))
            .collect();
        roots.push(Path::new("/run/containerd/runc").join(&self.t.id));
        roots
    }

    /// Asserts that nothing is left of the containers. Removes what an engine always leaves: its
    /// own cgroups, whose names are in `engines`, and their common parent.
    pub fn nothing_is_left(&self, engines: &[&str]) {
        for root in self.runtime_roots() {
            for entry in fs::read_dir(&root).into_iter().flatten().flatten() {
                let hidden = entry.file_name().as_bytes().starts_with(b".");
                assert!(hidden, "{} is left", entry.path().display());
            }
        }
        for (_, mount) in cgroup_mounts() {
            let parent = mount.join(&self.t.id);
            for engine in engines {
                let cgroup = parent.join(engine);
                self.t.eventually("the engine's own cgroup is empty", || {
                    !cgroup.exists() || fs::remove_dir(&cgroup).is_ok()
                });
            }
            let left: Vec<_> = directories(&parent);
            assert!(left.is_empty(), "left in {}: {left:?}", parent.display());
            let _ = fs::remove_dir(&parent);
        }
    }
}

fn directories(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

/// Skips the case, with the engine's message as the reason, unless the call succeeded. Only for
/// calls in which the engine checks the host without calling the runtime.
pub fn accepted(t: &Sandbox, output: Output) -> Output {
    if output.status.success() {
        return output;
    }
    let words = output
        .stderr
        .trim()
        .lines()
        .last()
        .unwrap_or("no reason given")
        .to_owned();
    t.skip(&format!("the engine does not accept the host: {words}"));
}

/// The script that runs on the terminal of [`type_into_a_shell`].
pub const TERMINAL_SCRIPT: &str = "tty; read line; echo \"got $line\"; read line; exit 4";

/// Runs an engine's call, which ends with [`TERMINAL_SCRIPT`], on a terminal and types into it.
#[track_caller]
pub fn type_into_a_shell(t: &Sandbox, call: Call) {
    let (mut master, slave) = callers();
    let running = call.terminal(slave).spawn();
    master.wait(t, "/dev/pts/");
    master.write("words\r");
    // Without the end of the line, because ctr prints more there than Podman.
    master.wait(t, "got words");
    master.write("\r");
    running.finish().exits(4);
}

fn directory(t: &Sandbox, name: &str) -> PathBuf {
    let path = t.path(name);
    fs::create_dir_all(&path).expect("directory of the place");
    path
}

fn mount_at(
    source: &str,
    target: &str,
    kind: &str,
    flags: MsFlags,
    data: &str,
) -> Result<(), String> {
    mount(Some(source), target, Some(kind), flags, Some(data))
        .map_err(|error| format!("mount(2) of {source} on {target}: {error}"))
}

/// Creates an image of busybox as an OCI archive, which both Podman and containerd can read.
fn make_image(t: &Sandbox) -> PathBuf {
    let blobs = directory(t, "image/blobs/sha256");
    let image = t.path("image");
    let tar = |from: &Path, to: &Path| {
        let flags = ["--owner=0", "--group=0", "--numeric-owner", "-C"];
        let call = t
            .call("tar")
            .args(flags)
            .arg(from)
            .arg("-cf")
            .arg(to)
            .arg(".");
        call.run().ok();
    };
    let bundle = t.bundle();
    // A copy, because other cases link to the shared file, which changes its link count while tar
    // reads it.
    let busybox = bundle.rootfs().join("bin/busybox");
    fs::remove_file(&busybox)
        .and_then(|()| fs::copy(t.template().join("busybox"), &busybox).map(drop))
        .expect("busybox");
    let layer = t.path("layer.tar");
    tar(&bundle.rootfs(), &layer);
    let store = |file: &Path, media: &str| {
        let sum = t.call("sha256sum").arg(file).run().ok().stdout;
        let sum = sum.split(' ').next().expect("a sum").to_owned();
        let size = fs::metadata(file).expect("blob").len();
        fs::rename(file, blobs.join(&sum)).expect("store the blob");
        json!({"mediaType": format!("application/vnd.oci.image.{media}"),
            "digest": format!("sha256:{sum}"), "size": size})
    };
    let store_json = |value: Value, media: &str| {
        let file = t.path("blob.json");
        fs::write(&file, value.to_string()).expect("blob");
        store(&file, media)
    };
    let layer = store(&layer, "layer.v1.tar");
    let config = store_json(
        json!({"architecture": architecture(), "os": "linux", "config": {"Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}}),
        "config.v1+json",
    );
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
    let mut manifest = store_json(manifest, "manifest.v1+json");
    manifest["annotations"] = json!({
        "io.containerd.image.name": IMAGE, "org.opencontainers.image.ref.name": IMAGE});
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    fs::write(image.join("index.json"), index.to_string()).expect("index");
    fs::write(
        image.join("oci-layout"),
        r#"{"imageLayoutVersion": "1.0.0"}"#,
    )
    .expect("layout");
    let archive = t.path("image.tar");
    tar(&image, &archive);
    archive
}

/// The name of the architecture in images.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
