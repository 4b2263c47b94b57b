//! `mounts`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use oci_spec::runtime as oci;

use super::check;
use super::mount_options::{self, Attrs, OPTIONS};
use super::namespaces::{IdMapping, NamespaceKind, Namespaces, one_map};
use crate::error::{Code, Error, Result, Warning};
use crate::lexical;
use crate::sorted::sorted_set;

/// One change of the propagation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Propagation {
    /// `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE` or `MS_UNBINDABLE`.
    pub flag: u64,
    /// The `r…` form, for the whole tree.
    pub recursive: bool,
}

/// File systems that show objects of the kernel, which no version maps. Of others the kernel decides.
fn is_kernel_view(fstype: &str) -> bool {
    matches!(
        fstype,
        "cgroup" | "cgroup2" | "devpts" | "mqueue" | "proc" | "sysfs"
    )
}

/// One element of `mounts`.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Its path in the config, such as `mounts[3]`.
    pub field: String,
    /// Absolute, lexically clean.
    pub destination: PathBuf,
    /// As written. The source of a bind mount is absolute: a relative one is joined to the path of
    /// the bundle.
    pub source: Option<OsString>,
    /// File system type; meaningless for a bind.
    pub fstype: String,
    /// `Some(recursive)` for a bind mount.
    pub bind: Option<bool>,
    /// Attributes of this mount alone.
    pub attrs: Attrs,
    /// Attributes of the whole tree (`rro` and similar options).
    pub recursive_attrs: Attrs,
    /// `MS_*` flags of the superblock: RDONLY, SYNCHRONOUS, DIRSYNC, MANDLOCK, LAZYTIME, I_VERSION,
    /// SILENT.
    pub super_flags: u64,
    /// Superblock flags that an option clears (`rw`, `async`, …). A remount needs them.
    pub super_clear: u64,
    /// Propagation changes, in order.
    pub propagation: Vec<Propagation>,
    /// File-system-specific options, joined by commas, for the data argument of mount(2).
    pub data: String,
    /// `idmap`, `ridmap`, or mappings.
    pub id_map: Option<MountIdMap>,
    /// `remount`.
    pub remount: bool,
    /// `tmpcopyup`.
    pub tmpcopyup: bool,
    /// `src-nofollow` and `copy-symlink`.
    pub source_link: SourceLink,
    /// `dest-nofollow`.
    pub target_link: TargetLink,
    /// The options as written, for messages.
    pub options: Vec<String>,
}

/// What becomes of the source of a bind mount if it is a symbolic link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceLink {
    /// What it leads to is mounted.
    #[default]
    Followed,
    /// `src-nofollow`: the link itself is mounted.
    Mounted,
    /// `copy-symlink`: the container gets the same link.
    Copied,
}

/// What becomes of the destination of a bind mount if it is a symbolic link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetLink {
    /// The mount is on what it leads to in the container.
    #[default]
    Followed,
    /// `dest-nofollow`: the mount is on the link itself.
    Covered,
}

/// The map of an id-mapped mount: the files have other owners in the mount than in the file system.
/// mount_setattr(2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountIdMap {
    /// `ridmap`: the mounts below are mapped too.
    pub recursive: bool,
    /// From the ids of the file system to those of the host. Both lists are empty when the mount
    /// uses the map of the container's user namespace.
    pub uid_mappings: Vec<IdMapping>,
    /// The same for groups.
    pub gid_mappings: Vec<IdMapping>,
}

/// The options for the propagation. Each also exists with the prefix `r`, for the whole tree.
const PROPAGATION_WORDS: &[(&str, u64)] = &[
    ("private", libc::MS_PRIVATE),
    ("shared", libc::MS_SHARED),
    ("slave", libc::MS_SLAVE),
    ("unbindable", libc::MS_UNBINDABLE),
];

/// All options except those of file systems, for `features`.
pub fn option_words() -> Vec<String> {
    let attrs = OPTIONS.iter().filter(|option| option.is_attr());
    let attrs = attrs.flat_map(mount_options::MountOption::words);
    let both = attrs.chain(PROPAGATION_WORDS.iter().map(|(word, _)| *word));
    let mut words: Vec<String> = both
        .flat_map(|word| [word.to_owned(), format!("r{word}")])
        .collect();
    let of_superblock = OPTIONS.iter().filter(|option| option.is_of_superblock());
    words.extend(
        of_superblock
            .flat_map(mount_options::MountOption::words)
            .map(str::to_owned),
    );
    let rest = [
        "bind",
        "rbind",
        "defaults",
        "idmap",
        "remount",
        "ridmap",
        "tmpcopyup",
        "copy-symlink",
        "dest-nofollow",
        "src-nofollow",
    ];
    words.extend(rest.map(str::to_owned));
    sorted_set(words)
}

/// Checks `mounts`.
///
/// # Errors
/// A mount has no destination, or neither a type nor `bind`; a bind mount has no source, or file
/// system data; a destination would undermine the confinement of the container; a string has a
/// NUL byte; only one kind of id is mapped, or ids are mapped for a mount that is not a bind.
pub fn list(
    mounts: &[oci::Mount],
    bundle: &Path,
    warnings: &mut Vec<Warning>,
) -> Result<Vec<Mount>> {
    let mounts = mounts.iter().enumerate();
    mounts
        .map(|(index, mount)| Mount::new(index, mount, bundle, warnings))
        .collect()
}

/// Checks that the container has the namespaces that `mounts` need.
///
/// # Errors
/// A mount uses the map of the container's user namespace, but the container has none.
pub(super) fn check_namespaces(mounts: &[Mount], namespaces: &Namespaces) -> Result<()> {
    mounts
        .iter()
        .try_for_each(|mount| mount.check_id_map(namespaces))
}

/// A path in the container on which something is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountPoint {
    /// The path of its mount in the list, such as `mounts[3]`.
    pub field: String,
    /// Absolute, lexically clean.
    pub destination: PathBuf,
}

/// Reads the destinations of `mounts`. All other properties are ignored and may be missing.
///
/// # Errors
/// A destination is missing or has a NUL byte.
pub fn points(mounts: &[oci::Mount], warnings: &mut Vec<Warning>) -> Result<Vec<MountPoint>> {
    let mounts = mounts.iter().enumerate();
    mounts
        .map(|(index, mount)| {
            let field = format!("mounts[{index}]");
            Ok(MountPoint {
                destination: destination(&field, mount.destination(), warnings)?,
                field,
            })
        })
        .collect()
}

/// Files in /proc that describe the machine. Container engines mount replacements over them.
const PROC_FILES: &str = "cpuinfo, diskstats, meminfo, stat, swaps, uptime, loadavg, slabinfo, \
    sys/kernel/ns_last_pid, sys/crypto/fips_enabled";

impl Mount {
    /// Whether the mount shows the cgroup hierarchy and is not a bind mount.
    pub fn is_cgroup(&self) -> bool {
        self.bind.is_none() && matches!(self.fstype.as_str(), "cgroup" | "cgroup2")
    }

    /// Checks one element of `mounts`.
    ///
    /// # Errors
    /// As [`list`].
    fn new(
        index: usize,
        mount: &oci::Mount,
        bundle: &Path,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self> {
        let field = format!("mounts[{index}]");
        let fstype = mount.typ().clone().unwrap_or_default();
        check::no_nul(format_args!("{field}.type"), &fstype)?;
        let mut this = Self {
            destination: destination(&field, mount.destination(), warnings)?,
            source: mount.source().clone().map(PathBuf::into_os_string),
            fstype,
            bind: None,
            attrs: Attrs::default(),
            recursive_attrs: Attrs::default(),
            super_flags: 0,
            super_clear: 0,
            propagation: Vec::new(),
            data: String::new(),
            id_map: id_map(&field, mount)?,
            remount: false,
            tmpcopyup: false,
            source_link: SourceLink::default(),
            target_link: TargetLink::default(),
            options: check::list(mount.options()).to_vec(),
            field,
        };
        this.read_options()?;
        this.check_source(bundle)?;
        this.check_kind(warnings)?;
        this.check_place()?;
        Ok(this)
    }

    /// Refuses destinations that would undermine the confinement of the container.
    ///
    /// A mount on / would not change the root of the process, which would stay below it. But `/..`
    /// would lead into the mount, where no path is masked. A mount in /proc could fake the files
    /// through which init confines the process (CVE-2019-16884).
    fn check_place(&self) -> Result<()> {
        let field = format_args!("{}.destination", self.field);
        if self.remount {
            return Ok(());
        }
        if self.destination == Path::new("/") {
            let message = "a mount on / would cover the root filesystem, not replace it";
            return Err(
                Error::config(field, message).hint("root.path names the directory that becomes /")
            );
        }
        let Ok(below) = self.destination.strip_prefix("/proc") else {
            return Ok(());
        };
        let place = self.destination.display();
        let is_proc = below.as_os_str().is_empty();
        if self.bind.is_none() {
            if is_proc && self.fstype == "proc" {
                return Ok(());
            }
            let message = format!("{place}: a {} cannot be mounted in /proc", self.fstype);
            return Err(Error::config(field, message));
        }
        if is_proc || PROC_FILES.split(", ").any(|file| below == Path::new(file)) {
            return Ok(());
        }
        let message = format!("{place} lies inside /proc and cannot be mounted over");
        let hint = format!("only these files may: {}", PROC_FILES);
        Err(Error::config(field, message).hint(hint))
    }

    /// A mount without its own mappings uses those of the container's user namespace.
    fn check_id_map(&self, namespaces: &Namespaces) -> Result<()> {
        let inherits = |map: &MountIdMap| map.uid_mappings.is_empty();
        if !self.id_map.as_ref().is_some_and(inherits) || namespaces.has(NamespaceKind::User) {
            return Ok(());
        }
        let message = "idmap without mappings needs a user namespace, whose map it uses";
        let hint = "add uidMappings and gidMappings to the mount";
        Err(Error::config(&self.field, message)
            .code_is(Code::ConfigNamespaceMissing)
            .hint(hint))
    }

    fn read_options(&mut self) -> Result<()> {
        let options = std::mem::take(&mut self.options);
        for (index, word) in options.iter().enumerate() {
            let field = format_args!("{}.options[{index}]", self.field);
            check::no_nul(field, word)?;
            if word.starts_with("idmap=") || word.starts_with("ridmap=") {
                let error = Error::config(field, format!("{word:?}: not supported"));
                return Err(
                    error.hint("use the properties uidMappings and gidMappings for such a map")
                );
            }
            self.read_option(word);
        }
        self.options = options;
        // No file system is called `bind`, so the type alone is enough to ask for a bind mount.
        if self.bind.is_none() {
            self.bind = match self.fstype.as_str() {
                "bind" => Some(false),
                "rbind" => Some(true),
                _ => None,
            };
        }
        Ok(())
    }

    fn read_option(&mut self, word: &str) {
        let superblock = mount_options::find(word).filter(|(option, _)| option.is_of_superblock());
        if let Some((option, on)) = superblock {
            let (add, remove) = if on {
                (&mut self.super_flags, &mut self.super_clear)
            } else {
                (&mut self.super_clear, &mut self.super_flags)
            };
            *add |= option.ms;
            *remove &= !option.ms;
        }
        if self.attrs.word(word) || superblock.is_some() {
            return;
        }
        let tree = word.strip_prefix('r').unwrap_or_default();
        if self.recursive_attrs.word(tree) {
            return;
        }
        let propagation = |word: &str, recursive| {
            let found = PROPAGATION_WORDS.iter().find(|(name, _)| *name == word);
            found.map(|(_, flag)| Propagation {
                flag: *flag,
                recursive,
            })
        };
        if let Some(change) = propagation(word, false).or_else(|| propagation(tree, true)) {
            self.propagation.push(change);
            return;
        }
        match word {
            "" | "defaults" => {}
            "bind" => self.bind = Some(self.bind.unwrap_or(false)),
            "rbind" => self.bind = Some(true),
            "remount" => self.remount = true,
            "tmpcopyup" => self.tmpcopyup = true,
            "copy-symlink" => self.source_link = SourceLink::Copied,
            "src-nofollow" => self.source_link = SourceLink::Mounted,
            "dest-nofollow" => self.target_link = TargetLink::Covered,
            "idmap" => _ = self.id_map.get_or_insert_default(),
            "ridmap" => self.id_map.get_or_insert_default().recursive = true,
            data => {
                if !self.data.is_empty() {
                    self.data.push(',');
                }
                self.data.push_str(data);
            }
        }
    }

    fn check_source(&mut self, bundle: &Path) -> Result<()> {
        let field = format_args!("{}.source", self.field);
        check::no_nul(field, self.source.as_deref().unwrap_or_default())?;
        if self.bind.is_none() {
            return Ok(());
        }
        match self.source.as_deref().filter(|source| !source.is_empty()) {
            None if self.remount => {}
            None => return Err(Error::config(field, "missing; a bind mount needs one")),
            Some(source) => self.source = Some(bundle.join(source).into_os_string()),
        }
        Ok(())
    }

    /// Drops the file system data of a bind mount, which has the file system of its source:
    /// mount(2) ignores the data. Options with a value belong to a file system, so dropping them is
    /// harmless. Any other option could be a misspelt flag on which the caller relies, so it is an
    /// error.
    fn drop_data(&mut self, warnings: &mut Vec<Warning>) -> Result<()> {
        let field = format!("{}.options", self.field);
        let data = std::mem::take(&mut self.data);
        let message = format!("{data:?}: a bind mount takes no file system specific options");
        if data.split(',').all(|option| option.contains('=')) {
            warnings.push(Error::no_effect(field, format!("{message}, ignored")));
            return Ok(());
        }
        Err(Error::config(field, message))
    }

    fn check_kind(&mut self, warnings: &mut Vec<Warning>) -> Result<()> {
        if self.bind.is_some() && !self.data.is_empty() {
            self.drop_data(warnings)?;
        }
        if self.bind.is_none() && self.fstype.is_empty() && !self.remount {
            let error = Error::missing(format_args!("{}.type", self.field));
            return Err(
                error.hint("only a bind mount, with the option bind or rbind, needs no type")
            );
        }
        if self.id_map.is_some() && self.remount {
            let message = "only a new mount can have mapped ids";
            return Err(Error::config(&self.field, message));
        }
        let shows_kernel = self.bind.is_none() && is_kernel_view(&self.fstype);
        if self.id_map.is_some() && shows_kernel {
            let message = format!("{} cannot have mapped ids", self.fstype);
            return Err(Error::config(&self.field, message));
        }
        let follows = (self.source_link, self.target_link) == Default::default();
        if !follows && (self.bind.is_none() || self.remount) {
            let message = "copy-symlink, src-nofollow and dest-nofollow are for new bind mounts";
            return Err(Error::config(
                format_args!("{}.options", self.field),
                message,
            ));
        }
        if self.tmpcopyup && (self.bind.is_some() || self.fstype != "tmpfs") {
            let field = format!("{}.options", self.field);
            warnings.push(Error::no_effect(field, "tmpcopyup is for tmpfs, ignored"));
            self.tmpcopyup = false;
        }
        Ok(())
    }
}

fn id_map(field: &str, mount: &oci::Mount) -> Result<Option<MountIdMap>> {
    let (uids, gids) = (
        check::list(mount.uid_mappings()),
        check::list(mount.gid_mappings()),
    );
    if uids.is_empty() && gids.is_empty() {
        return Ok(None);
    }
    let one = |name: &str, mappings: &[oci::LinuxIdMapping]| {
        let field = format!("{field}.{name}");
        if mappings.is_empty() {
            return Err(Error::config(
                field,
                "missing; uidMappings and gidMappings are needed together",
            ));
        }
        one_map(&field, mappings)
    };
    Ok(Some(MountIdMap {
        recursive: false,
        uid_mappings: one("uidMappings", uids)?,
        gid_mappings: one("gidMappings", gids)?,
    }))
}

fn destination(field: &str, path: &Path, warnings: &mut Vec<Warning>) -> Result<PathBuf> {
    let field = format_args!("{field}.destination");
    check::no_nul(field, path)?;
    if path.as_os_str().is_empty() {
        return Err(Error::missing(field));
    }
    if !path.is_absolute() {
        let text = path.to_string_lossy();
        let message = format!("{text:?} is not absolute, taken relative to /");
        warnings.push(Error::config(field, message).code_is(Code::WarningReadAs));
    }
    Ok(lexical::clean(path))
}
