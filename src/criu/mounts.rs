//! Which mounts of a container belong to the host. CRIU neither saves nor makes them: a dump gives
//! each of them a name, and a restore says what the name means. The name is the path in the config,
//! so that a container can be restored from another config, as on another machine.

use std::ffi::{CStr, CString};

use crate::error::{Error, Result};
use crate::plan::{IfDenied, InitStep, Plan};
use crate::sys::mountinfo::Mounted;

/// A mount that a step of the plan has made, or may have made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The place of the step in [`Plan::init`].
    pub step: usize,
    /// The path in the container, as in the plan.
    pub target: CString,
    pub kind: Kind,
}

/// What kind of mount it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A bind mount of this path of the host, with its submounts if `recursive`.
    Bind { source: CString, recursive: bool },
    /// A file that the host's /dev/null covers, or a directory that a tmpfs covers.
    Mask,
    /// A file system of its own. If the kernel has refused to make it, a bind mount of this path.
    FileSystem { or_bind: Option<CString> },
}

/// The pair of names that CRIU asks for.
pub(crate) type Named = (Vec<u8>, Vec<u8>);

/// The mounts of a plan, in their order. A bind mount of a path of the rootfs is left out: it
/// belongs to the container.
pub(crate) fn candidates(plan: &Plan) -> Vec<Candidate> {
    use crate::plan::BindSource::Rootfs;
    let steps = plan.init.iter().map(|planned| &planned.step);
    let found = steps.enumerate().filter_map(|(step, made)| {
        let (target, kind) = match made {
            InitStep::Bind(bind) if !matches!(bind.source, Rootfs(_)) => {
                let source = bind.source.path().clone();
                let recursive = bind.recursive;
                (&bind.target, Kind::Bind { source, recursive })
            }
            InitStep::Node(node) if node.bind => {
                let source = node.path.clone();
                let recursive = false;
                (&node.path, Kind::Bind { source, recursive })
            }
            InitStep::MaskPath { path } => (path, Kind::Mask),
            InitStep::Filesystem(fs) => {
                let or_bind = match &fs.if_denied {
                    IfDenied::Fail => None,
                    // Bind mounts of the one cgroup2 file system look like mounts of it.
                    _ if fs.fstype.as_bytes() == b"cgroup2" => None,
                    IfDenied::Bind(source) | IfDenied::BindOrMask(source) => Some(source.clone()),
                };
                (&fs.target, Kind::FileSystem { or_bind })
            }
            _ => return None,
        };
        let target = target.clone();
        Some(Candidate { step, target, kind })
    });
    found.collect()
}

impl Candidate {
    /// The name for CRIU.
    pub(crate) fn name(&self) -> Vec<u8> {
        encoded(self.target.as_bytes())
    }

    /// The path of the host that is mounted.
    pub(crate) fn source(&self) -> Option<&CStr> {
        match &self.kind {
            Kind::Bind { source, .. } => Some(source),
            Kind::Mask => Some(c"/dev/null"),
            Kind::FileSystem { or_bind } => or_bind.as_deref(),
        }
    }
}

/// A path as a name. CRIU puts name and value together as `mnt[NAME]:VALUE` and looks for the name
/// by its beginning, so a name with `]:` would be taken for another one with another value.
fn encoded(path: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(path.len());
    for &byte in path {
        match byte {
            b'[' | b']' | b':' | b'%' => name.extend(format!("%{byte:02x}").into_bytes()),
            _ => name.push(byte),
        }
    }
    name
}

/// The mount points of a running container and their names. `found` has the mounts that the
/// candidates have turned out to be, and whether each belongs to the host; `table` has all mounts.
///
/// # Errors
/// CRIU would take a mount point for another one.
pub(crate) fn to_dump(found: &[(&Candidate, u64, bool)], table: &[Mounted]) -> Result<Vec<Named>> {
    let mut named: Vec<Named> = Vec::new();
    for (candidate, id, external) in found {
        let Some(mounted) = table.iter().find(|mounted| mounted.id == *id) else {
            continue;
        };
        if !external || named.iter().any(|(point, _)| *point == mounted.point) {
            continue;
        }
        named.push((mounted.point.clone(), candidate.name()));
        if let Kind::Bind {
            recursive: true, ..
        } = candidate.kind
        {
            let other = |mounted: &&Mounted| found.iter().all(|(_, id, _)| *id != mounted.id);
            let below = below(&mounted.point, table).filter(|(it, _)| other(it));
            named.extend(below.map(|(submount, rest)| {
                let name = [candidate.name(), encoded(rest)].concat();
                (submount.point.clone(), name)
            }));
        }
    }
    let confused = |point: &[u8]| point.windows(2).any(|two| two == b"]:");
    match named.iter().find(|(point, _)| confused(point)) {
        Some((point, _)) => {
            let point = String::from_utf8_lossy(point);
            let message = format!("mount point {point:?}: CRIU ends a mount point at \"]:\"");
            Err(Error::new(message).hint("choose another destination for the mount"))
        }
        None => Ok(named),
    }
}

/// What the names mean on this host, whose mounts `table` has. Each source stands in the directory
/// `staging` with the place of its candidate as name. `real` resolves symbolic links in a path of
/// the host.
pub(crate) fn to_restore(
    candidates: &[Candidate],
    table: &[Mounted],
    real: impl Fn(&CStr) -> Option<CString>,
    staging: &[u8],
) -> Vec<Named> {
    let mut named: Vec<Named> = Vec::new();
    for (place, candidate) in candidates.iter().enumerate() {
        let Some(source) = candidate.source() else {
            continue;
        };
        let staged = [staging, format!("/{place}").as_bytes()].concat();
        let recursive = matches!(
            candidate.kind,
            Kind::Bind {
                recursive: true,
                ..
            }
        );
        let real = recursive.then(|| real(source)).flatten();
        let submounts = real.iter().flat_map(|real| below(real.as_bytes(), table));
        named.extend(submounts.map(|(_, rest)| {
            let name = [candidate.name(), encoded(rest)].concat();
            (name, [staged.as_slice(), rest].concat())
        }));
        named.push((candidate.name(), staged));
    }
    named
}

/// The mounts below the path `top`, with the rest of their path.
fn below<'t>(top: &[u8], table: &'t [Mounted]) -> impl Iterator<Item = (&'t Mounted, &'t [u8])> {
    table.iter().filter_map(move |mounted| {
        let rest = mounted.point.strip_prefix(top)?;
        rest.starts_with(b"/").then_some((mounted, rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(target: &str, source: &str, recursive: bool) -> Candidate {
        let source = CString::new(source).unwrap();
        Candidate {
            step: 0,
            target: CString::new(target).unwrap(),
            kind: Kind::Bind { source, recursive },
        }
    }

    fn own(target: &str, or_bind: Option<&str>) -> Candidate {
        let or_bind = or_bind.map(|path| CString::new(path).unwrap());
        Candidate {
            step: 0,
            target: CString::new(target).unwrap(),
            kind: Kind::FileSystem { or_bind },
        }
    }

    fn mask(target: &str) -> Candidate {
        Candidate {
            step: 0,
            target: CString::new(target).unwrap(),
            kind: Kind::Mask,
        }
    }

    fn table(points: &[&str]) -> Vec<Mounted> {
        let points = points.iter().zip(1..);
        let mounted = points.map(|(point, id)| Mounted {
            id,
            parent: 1,
            root: b"/".to_vec(),
            point: point.as_bytes().to_vec(),
            fstype: b"tmpfs".to_vec(),
            options: b"rw".to_vec(),
        });
        mounted.collect()
    }

    fn shown(named: &[Named]) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let shown = named.iter();
        shown
            .map(|(one, two)| format!("{} {}", text(one), text(two)))
            .collect()
    }

    #[test]
    fn a_dump_names_mount_points_by_the_config() {
        let data = bind("/var/run/data", "/srv", true);
        let inside = own("/var/run/data/tmp", None);
        let masked = mask("/proc/keys");
        let dir = mask("/proc/acpi");
        let table = table(&[
            "/",
            "/run/data",
            "/run/data/tmp",
            "/run/data/a/b",
            "/proc/keys",
            "/proc/acpi",
            "/run/database",
        ]);
        let found = [
            (&data, 2, true),
            (&inside, 3, false),
            (&masked, 5, true),
            (&dir, 6, false),
        ];
        assert_eq!(
            shown(&to_dump(&found, &table).unwrap()),
            [
                "/run/data /var/run/data",
                "/run/data/a/b /var/run/data/a/b",
                "/proc/keys /proc/keys",
            ]
        );
    }

    #[test]
    fn two_names_for_one_mount_point_are_one() {
        let (one, two) = (bind("/a", "/x", false), bind("/b", "/y", false));
        let table = table(&["/", "/a"]);
        let found = [(&one, 2, true), (&two, 2, true)];
        assert_eq!(shown(&to_dump(&found, &table).unwrap()), ["/a /a"]);
    }

    #[test]
    fn a_restore_says_what_the_names_mean_here() {
        let candidates = [
            bind("/data", "/link", true),
            bind("/etc/hosts", "/srv/hosts", false),
            mask("/proc/keys"),
            own("/sys", Some("/sys")),
            own("/tmp", None),
        ];
        let table = table(&["/", "/srv/real", "/srv/real/a", "/srv/hosts/b"]);
        let real = |_: &CStr| Some(c"/srv/real".to_owned());
        assert_eq!(
            shown(&to_restore(&candidates, &table, real, b"/run/s")),
            [
                "/data/a /run/s/0/a",
                "/data /run/s/0",
                "/etc/hosts /run/s/1",
                "/proc/keys /run/s/2",
                "/sys /run/s/3",
            ]
        );
    }

    #[test]
    fn a_name_is_never_the_beginning_of_another() {
        let candidates = [bind("/a]:/etc", "/src", false), bind("/a", "/other", false)];
        let named = to_restore(&candidates, &[], |_| None, b"/s");
        assert_eq!(shown(&named), ["/a%5d%3a/etc /s/0", "/a /s/1"]);
        let table = table(&["/", "/a]:/etc"]);
        let error = to_dump(&[(&candidates[0], 2, true)], &table).unwrap_err();
        assert!(error.to_string().contains("/a]:/etc"), "{error}");
    }
}
