//! The table of mount options: their words, and the flags of mount_setattr(2) and mount(2).

/// Mount attributes for mount_setattr(2): `MOUNT_ATTR_*` bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attrs {
    /// Bits to set.
    pub set: u64,
    /// Bits to clear. Changing the atime mode clears `MOUNT_ATTR__ATIME` and sets the new mode.
    pub clear: u64,
}

/// What an option belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A mount.
    Attr,
    /// A mount, and its file system as well.
    AttrAndSuperblock,
    /// A mount, of whose access time modes one holds.
    AtimeMode,
    /// A file system.
    Superblock,
}

/// An option with a word for each of its two states. The words of attributes also stand with an `r`
/// in front, for the whole tree.
pub struct MountOption {
    /// Sets the flag.
    pub on: &'static str,
    /// Clears it; some have no such word.
    off: Option<&'static str>,
    kind: Kind,
    /// `MOUNT_ATTR_*`; zero for an option of the superblock, and for the mode relatime.
    pub attr: u64,
    /// `MS_*`.
    pub ms: u64,
}

impl MountOption {
    const fn new(on: &'static str, off: &'static str, kind: Kind, attr: u64, ms: u64) -> Self {
        let off = if off.is_empty() { None } else { Some(off) };
        Self {
            on,
            off,
            kind,
            attr,
            ms,
        }
    }

    const fn of_superblock(on: &'static str, off: &'static str, ms: u64) -> Self {
        Self::new(on, off, Kind::Superblock, 0, ms)
    }

    /// It is an attribute of a mount.
    pub fn is_attr(&self) -> bool {
        self.kind != Kind::Superblock
    }

    /// It is a flag of the file system.
    pub fn is_of_superblock(&self) -> bool {
        matches!(self.kind, Kind::Superblock | Kind::AttrAndSuperblock)
    }

    /// Its words.
    pub fn words(&self) -> impl Iterator<Item = &'static str> + use<> {
        [Some(self.on), self.off].into_iter().flatten()
    }
}

/// All of them, in the order in which they are shown.
#[rustfmt::skip]
pub const OPTIONS: &[MountOption] = &[
    MountOption::new("ro", "rw", Kind::AttrAndSuperblock, libc::MOUNT_ATTR_RDONLY, libc::MS_RDONLY),
    MountOption::new("nosuid", "suid", Kind::Attr, libc::MOUNT_ATTR_NOSUID, libc::MS_NOSUID),
    MountOption::new("nodev", "dev", Kind::Attr, libc::MOUNT_ATTR_NODEV, libc::MS_NODEV),
    MountOption::new("noexec", "exec", Kind::Attr, libc::MOUNT_ATTR_NOEXEC, libc::MS_NOEXEC),
    MountOption::of_superblock("sync", "async", libc::MS_SYNCHRONOUS),
    MountOption::of_superblock("dirsync", "", libc::MS_DIRSYNC),
    MountOption::of_superblock("mand", "nomand", libc::MS_MANDLOCK),
    MountOption::new("noatime", "atime", Kind::AtimeMode, libc::MOUNT_ATTR_NOATIME, libc::MS_NOATIME),
    MountOption::new("strictatime", "nostrictatime", Kind::AtimeMode, libc::MOUNT_ATTR_STRICTATIME, libc::MS_STRICTATIME),
    MountOption::new("relatime", "norelatime", Kind::AtimeMode, libc::MOUNT_ATTR_RELATIME, libc::MS_RELATIME),
    MountOption::new("nodiratime", "diratime", Kind::Attr, libc::MOUNT_ATTR_NODIRATIME, libc::MS_NODIRATIME),
    MountOption::new("nosymfollow", "symfollow", Kind::Attr, libc::MOUNT_ATTR_NOSYMFOLLOW, libc::MS_NOSYMFOLLOW),
    MountOption::of_superblock("iversion", "noiversion", libc::MS_I_VERSION),
    MountOption::of_superblock("lazytime", "nolazytime", libc::MS_LAZYTIME),
    MountOption::of_superblock("silent", "loud", libc::MS_SILENT),
];

/// The option with this word, and whether it sets or clears the flag.
pub fn find(word: &str) -> Option<(&'static MountOption, bool)> {
    OPTIONS.iter().find_map(|option| match () {
        () if option.on == word => Some((option, true)),
        () if option.off == Some(word) => Some((option, false)),
        () => None,
    })
}

/// The `MS_*` flags of mount(2) for `MOUNT_ATTR_*` bits.
pub fn mount_flags(attrs: u64) -> u64 {
    let set = OPTIONS.iter().filter(|option| attrs & option.attr != 0);
    set.fold(0, |flags, option| flags | option.ms)
}

impl Attrs {
    fn put(&mut self, bits: u64, on: bool) {
        if on {
            (self.set, self.clear) = (self.set | bits, self.clear & !bits);
        } else {
            (self.set, self.clear) = (self.set & !bits, self.clear | bits);
        }
    }

    /// The kernel accepts a new mode only together with a clear mask that covers the whole field.
    fn put_atime(&mut self, mode: u64, on: bool) {
        self.clear |= libc::MOUNT_ATTR__ATIME;
        match on {
            true => self.set = self.set & !libc::MOUNT_ATTR__ATIME | mode,
            false if self.set & libc::MOUNT_ATTR__ATIME == mode => {
                self.set &= !libc::MOUNT_ATTR__ATIME;
            }
            false => {}
        }
    }

    /// Applies `word` if it is the name of an attribute. Returns whether it is.
    pub fn word(&mut self, word: &str) -> bool {
        let Some((option, on)) = find(word).filter(|(option, _)| option.is_attr()) else {
            return false;
        };
        match option.kind {
            Kind::AtimeMode => self.put_atime(option.attr, on),
            Kind::Attr | Kind::AttrAndSuperblock | Kind::Superblock => self.put(option.attr, on),
        }
        true
    }

    /// Nothing is set or cleared.
    pub const fn is_none(self) -> bool {
        self.set | self.clear == 0
    }
}
