//! The text of options, flags and sets.

use std::ffi::{CStr, CString};
use std::fmt;

use crate::config::Propagation;
use crate::config::mount_options::OPTIONS;
use crate::error::printable;
use crate::plan::{Capabilities, MountAttrs};

/// Text of the config, with control characters escaped.
pub(crate) fn lossy(text: &CStr) -> String {
    printable(&text.to_string_lossy())
}

pub(crate) fn join(strings: &[CString], separator: &str) -> String {
    strings
        .iter()
        .map(|text| lossy(text))
        .collect::<Vec<_>>()
        .join(separator)
}

pub(crate) fn limit(value: u64) -> String {
    if value == u64::MAX {
        "unlimited".to_owned()
    } else {
        value.to_string()
    }
}

/// Writes the parts that are not empty as ` (a,b)`.
pub(crate) fn write_words(f: &mut fmt::Formatter<'_>, parts: &[String]) -> fmt::Result {
    let words: Vec<_> = parts
        .iter()
        .filter(|part| !part.is_empty())
        .map(String::as_str)
        .collect();
    if words.is_empty() {
        Ok(())
    } else {
        write!(f, " ({})", words.join(","))
    }
}

pub(crate) fn propagation_word(propagation: Propagation) -> String {
    let word = match propagation.flag {
        libc::MS_SHARED => "shared",
        libc::MS_SLAVE => "slave",
        libc::MS_PRIVATE => "private",
        _ => "unbindable",
    };
    if propagation.recursive {
        format!("r{word}")
    } else {
        word.to_owned()
    }
}

pub(crate) fn propagation_words(list: &[Propagation]) -> String {
    list.iter()
        .copied()
        .map(propagation_word)
        .collect::<Vec<_>>()
        .join(",")
}

fn words(bits: u64, table: impl Iterator<Item = (u64, &'static str)>) -> String {
    let named = table.filter(|(bit, _)| bits & bit != 0);
    named.map(|(_, word)| word).collect::<Vec<_>>().join(",")
}

pub(crate) fn mount_words(flags: u64) -> String {
    words(flags, OPTIONS.iter().map(|option| (option.ms, option.on)))
}

pub(crate) fn attr_words(attrs: MountAttrs) -> String {
    let attr_words = |bits| words(bits, OPTIONS.iter().map(|option| (option.attr, option.on)));
    let mut all = vec![attr_words(attrs.top.set)];
    let lists = [
        (attrs.top.clear & !libc::MOUNT_ATTR__ATIME, "-", ""),
        (attrs.tree.set, "", "r"),
        (attrs.tree.clear & !libc::MOUNT_ATTR__ATIME, "-", "r"),
    ];
    for (bits, sign, prefix) in lists {
        let list = attr_words(bits);
        all.extend(
            list.split(',')
                .filter(|w| !w.is_empty())
                .map(|w| format!("{sign}{prefix}{w}")),
        );
    }
    // The mode relatime is zero, so it is the mode when all others are cleared.
    for (attrs, word) in [(attrs.top, "relatime"), (attrs.tree, "rrelatime")] {
        if attrs.clear & libc::MOUNT_ATTR__ATIME != 0 && attrs.set & libc::MOUNT_ATTR__ATIME == 0 {
            all.push(word.to_owned());
        }
    }
    all.retain(|part| !part.is_empty());
    all.join(",")
}

/// A list of arguments, quoted so that the boundaries of each are visible.
pub(crate) fn quoted(strings: &[CString]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+:,./@%".contains(c);
    let quote = |text: &CString| {
        let text = text.to_string_lossy();
        if !text.is_empty() && text.chars().all(plain) {
            text.into_owned()
        } else {
            format!("{text:?}")
        }
    };
    strings.iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// The sets in a form such as `chown,kill (bounding permitted), none (effective inheritable
/// ambient)`. Equal sets are listed once.
pub(crate) fn capability_words(sets: &Capabilities) -> String {
    let named = [
        ("bounding", sets.bounding),
        ("permitted", sets.permitted),
        ("effective", sets.effective),
        ("inheritable", sets.inheritable),
        ("ambient", sets.ambient),
    ];
    let mut groups: Vec<(u64, Vec<&str>)> = Vec::new();
    for (name, set) in named {
        match groups.iter_mut().find(|(other, _)| *other == set) {
            Some((_, names)) => names.push(name),
            None => groups.push((set, vec![name])),
        }
    }
    let groups: Vec<_> = groups
        .iter()
        .map(|(set, names)| format!("{} ({})", capability_names(*set), names.join(", ")))
        .collect();
    groups.join("; ")
}

fn capability_names(set: u64) -> String {
    let mut names = crate::config::process::capability_names(set);
    for name in &mut names {
        *name = name.trim_start_matches("CAP_").to_ascii_lowercase();
    }
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(",")
    }
}

/// The flags of seccomp(2), without SECCOMP_FILTER_FLAG_.
pub(crate) fn filter_flag_words(flags: u64) -> String {
    let table = [
        (libc::SECCOMP_FILTER_FLAG_TSYNC, "TSYNC"),
        (libc::SECCOMP_FILTER_FLAG_LOG, "LOG"),
        (libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW, "SPEC_ALLOW"),
        (libc::SECCOMP_FILTER_FLAG_NEW_LISTENER, "NEW_LISTENER"),
        (libc::SECCOMP_FILTER_FLAG_TSYNC_ESRCH, "TSYNC_ESRCH"),
        (
            libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
            "WAIT_KILLABLE_RECV",
        ),
    ];
    words(flags, table.into_iter())
}

/// personality(2).
pub(crate) fn personality_word(persona: u64) -> String {
    match persona {
        0 => "linux".to_owned(),
        8 => "linux32".to_owned(),
        other => format!("{other:#x}"),
    }
}
