//! The options of `mounts`, as they appear in the mount table.

use nix::mount::MsFlags;
use serde_json::{Value, json};

use crate::mount_info::{self, MountInfo};
use crate::{Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    plain_options_set_flags,
    options_clear_earlier_ones,
    access_time_options,
    superblock_options,
    defaults_changes_nothing,
    nosymfollow_option,
    propagation_options_of_a_file_system,
    propagation_options_of_a_bind,
    recursive_propagation_reaches_submounts,
    rro_reaches_submounts,
    rro_applies_beside_plain_options,
    rnosuid_rnodev_rnoexec_reach_submounts,
    recursive_options_clear,
    recursive_access_time_options,
    rnosymfollow_reaches_submounts,
    plain_ro_of_an_rbind_leaves_submounts,
    rro_on_a_file_system,
    options_of_a_cgroup_mount_of_the_host,
    remount_changes_flags,
    remount_of_a_bind_changes_only_the_bind,
    file_system_data_is_passed,
    unknown_option_names_the_mount,
    unknown_option_gives_the_reason_of_the_kernel[Need::NotAPeer],
    bad_value_gives_the_reason_of_the_kernel[Need::NotAPeer],
    unknown_file_system_type_names_the_mount,
    file_system_data_on_a_bind_is_ignored[Need::NotAPeer],
    unknown_option_on_a_bind_is_refused[Need::NotAPeer],
    mount_without_type_is_refused[Need::NotAPeer],
];

/// Mounts a tmpfs for each list of options in one container. Returns the mount table's entry for
/// each.
#[track_caller]
fn tmpfs_with(t: &Sandbox, lists: &[&[&str]]) -> Vec<MountInfo> {
    let mut bundle = t.bundle().args(&["cat", "/proc/self/mountinfo"]);
    for (index, options) in lists.iter().enumerate() {
        bundle = bundle.mount(json!({"destination": format!("/m{index}"), "type": "tmpfs",
            "source": "tmpfs", "options": options}));
    }
    let output = bundle.container().run().ok();
    (0..lists.len())
        .map(|index| mount_info::at(&output.stdout, &format!("/m{index}")))
        .collect()
}

/// A directory of the host with another mount, `inner`, below it, with these flags.
#[track_caller]
fn tree(t: &Sandbox, top: MsFlags, inner: MsFlags) -> std::path::PathBuf {
    mount_info::leave_host();
    let path = t.path("tree");
    mount_info::tmpfs(&path, MsFlags::empty());
    mount_info::tmpfs(&path.join("inner"), inner);
    if !top.is_empty() {
        mount_info::change(&path, top | MsFlags::MS_REMOUNT);
    }
    path
}

/// Bind-mounts `tree` on /t. Returns the mount table's entries for its top and for `inner`.
#[track_caller]
fn bind_with(t: &Sandbox, tree: &std::path::Path, options: Value) -> (MountInfo, MountInfo) {
    let bind = json!({"destination": "/t", "source": tree, "options": options});
    let bundle = t
        .bundle()
        .mount(bind)
        .args(&["cat", "/proc/self/mountinfo"]);
    let output = bundle.container().run().ok();
    (
        mount_info::at(&output.stdout, "/t"),
        mount_info::at(&output.stdout, "/t/inner"),
    )
}

fn plain_options_set_flags(t: &Sandbox) {
    let words = ["ro", "nosuid", "nodev", "noexec"];
    let mounts = tmpfs_with(
        t,
        &[&["ro"], &["nosuid"], &["nodev"], &["noexec"], &words, &[]],
    );
    for (mount, word) in mounts.iter().zip(words) {
        assert!(mount.has(&[word]), "{word}: {mount:?}");
        let others = words.iter().filter(|other| **other != word);
        for other in others {
            assert!(!mount.has(&[other]), "{word}: {mount:?}");
        }
    }
    assert!(mounts[4].has(&words), "{mounts:?}");
    assert!(mounts[5].has(&["rw"]), "{mounts:?}");
}

fn options_clear_earlier_ones(t: &Sandbox) {
    let mounts = tmpfs_with(
        t,
        &[
            &[
                "ro", "nosuid", "nodev", "noexec", "rw", "suid", "dev", "exec",
            ],
            &[
                "rw", "suid", "dev", "exec", "ro", "nosuid", "nodev", "noexec",
            ],
        ],
    );
    assert_eq!(mounts[0].options, ["rw", "relatime"]);
    assert_eq!(
        mounts[1].options,
        ["ro", "nosuid", "nodev", "noexec", "relatime"]
    );
}

fn access_time_options(t: &Sandbox) {
    let lists: [(&[&str], &[&str]); 8] = [
        (&[], &["rw", "relatime"]),
        (&["noatime"], &["rw", "noatime"]),
        (&["strictatime"], &["rw"]),
        (&["relatime"], &["rw", "relatime"]),
        (&["nodiratime"], &["rw", "nodiratime", "relatime"]),
        (&["noatime", "nodiratime"], &["rw", "noatime", "nodiratime"]),
        (&["noatime", "atime"], &["rw", "relatime"]),
        (&["noatime", "strictatime"], &["rw"]),
    ];
    let options: Vec<&[&str]> = lists.iter().map(|(options, _)| *options).collect();
    for (mount, (options, expected)) in tmpfs_with(t, &options).iter().zip(lists) {
        let mut found = mount.options.clone();
        found.sort();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(found, expected, "{options:?}");
    }
}

fn superblock_options(t: &Sandbox) {
    let mounts = tmpfs_with(
        t,
        &[
            &["sync"],
            &["dirsync"],
            &["lazytime"],
            &["sync", "async"],
            &["silent", "loud"],
            &["ro"],
        ],
    );
    for (mount, word) in mounts.iter().zip(["sync", "dirsync", "lazytime"]) {
        assert!(
            mount.fs_options.iter().any(|option| option == word),
            "{word}: {mount:?}"
        );
    }
    assert!(
        !mounts[3].fs_options.iter().any(|option| option == "sync"),
        "{mounts:?}"
    );
    assert_eq!(mounts[4].options, ["rw", "relatime"]);
}

fn defaults_changes_nothing(t: &Sandbox) {
    let mounts = tmpfs_with(t, &[&["defaults"], &["defaults", "nodev"]]);
    assert_eq!(mounts[0].options, ["rw", "relatime"]);
    assert_eq!(mounts[1].options, ["rw", "nodev", "relatime"]);
}

fn nosymfollow_option(t: &Sandbox) {
    let mounts = tmpfs_with(t, &[&["nosymfollow"], &["nosymfollow", "symfollow"]]);
    assert!(mounts[0].has(&["nosymfollow"]), "{mounts:?}");
    assert!(!mounts[1].has(&["nosymfollow"]), "{mounts:?}");
}

fn propagation_options_of_a_file_system(t: &Sandbox) {
    let words = [
        "private",
        "shared",
        "slave",
        "unbindable",
        "rprivate",
        "rshared",
        "runbindable",
    ];
    let lists: Vec<[&str; 1]> = words.iter().map(|word| [*word]).collect();
    let lists: Vec<&[&str]> = lists.iter().map(<[&str; 1]>::as_slice).collect();
    let expected = [
        "private",
        "shared",
        "private",
        "unbindable",
        "private",
        "shared",
        "unbindable",
    ];
    for ((mount, word), expected) in tmpfs_with(t, &lists).iter().zip(words).zip(expected) {
        assert_eq!(mount.propagation(), expected, "{word}");
    }
}

fn propagation_options_of_a_bind(t: &Sandbox) {
    let tree = tree(t, MsFlags::empty(), MsFlags::empty());
    mount_info::change(&tree, MsFlags::MS_SHARED);
    for (word, expected) in [
        ("private", "private"),
        ("slave", "slave"),
        ("rslave", "slave"),
        ("unbindable", "unbindable"),
    ] {
        let (top, _) = bind_with(t, &tree, json!(["rbind", word]));
        assert_eq!(top.propagation(), expected, "{word}");
    }
}

fn recursive_propagation_reaches_submounts(t: &Sandbox) {
    let tree = tree(t, MsFlags::empty(), MsFlags::empty());
    mount_info::change(&tree, MsFlags::MS_SHARED | MsFlags::MS_REC);
    let (_, inner) = bind_with(t, &tree, json!(["rbind", "rprivate"]));
    assert_eq!(inner.propagation(), "private");
    let (_, inner) = bind_with(t, &tree, json!(["rbind", "rslave"]));
    assert_eq!(inner.propagation(), "slave");
    let (top, inner) = bind_with(t, &tree, json!(["rbind", "private"]));
    assert_eq!(top.propagation(), "private");
    assert_ne!(inner.propagation(), "private");
}

fn rro_reaches_submounts(t: &Sandbox) {
    let tree = tree(t, MsFlags::empty(), MsFlags::empty());
    let (top, inner) = bind_with(t, &tree, json!(["rbind", "rro"]));
    assert!(top.has(&["ro"]) && inner.has(&["ro"]), "{top:?} {inner:?}");
    std::fs::write(tree.join("inner/file"), "").expect("the host's mounts stay writable");
}

fn rro_applies_beside_plain_options(t: &Sandbox) {
    let tree = tree(t, MsFlags::empty(), MsFlags::empty());
    for words in [["rro", "nosuid"], ["rw", "rro"], ["rro", "noatime"]] {
        let (top, inner) = bind_with(t, &tree, json!(["rbind", words[0], words[1]]));
        let both = top.has(&["ro"]) && inner.has(&["ro"]);
        assert!(both, "{words:?}: {top:?} {inner:?}");
    }
}

fn rnosuid_rnodev_rnoexec_reach_submounts(t: &Sandbox) {
    let tree = tree(t, MsFlags::empty(), MsFlags::empty());
    for word in ["nosuid", "nodev", "noexec"] {
        let (top, inner) = bind_with(t, &tree, json!(["rbind", format!("r{word}")]));
        assert!(
            top.has(&[word, "rw"]) && inner.has(&[word, "rw"]),
            "{word}: {top:?} {inner:?}"
        );
    }
}

fn recursive_options_clear(t: &Sandbox) {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let tree = tree(t, MsFlags::empty(), flags);
    let (_, inner) = bind_with(t, &tree, json!(["rbind"]));
    assert!(inner.has(&["nosuid", "nodev", "noexec"]), "{inner:?}");
    let (_, inner) = bind_with(t, &tree, json!(["rbind", "rsuid", "rdev", "rexec"]));
    assert_eq!(inner.options, ["rw", "relatime"]);
}

fn recursive_access_time_options(t: &Sandbox) {
    let tree = tree(t, MsFlags::empty(), MsFlags::empty());
    for (word, has, lacks) in [
        ("rnoatime", "noatime", "relatime"),
        ("rnodiratime", "nodiratime", "noatime"),
        ("rstrictatime", "rw", "relatime"),
        ("rrelatime", "relatime", "noatime"),
    ] {
        let (top, inner) = bind_with(t, &tree, json!(["rbind", word]));
        for mount in [top, inner] {
            assert!(
                mount.has(&[has]) && !mount.has(&[lacks]),
                "{word}: {mount:?}"
            );
        }
    }
}

fn rnosymfollow_reaches_submounts(t: &Sandbox) {
    let tree = tree(t, MsFlags::empty(), MsFlags::empty());
    let (top, inner) = bind_with(t, &tree, json!(["rbind", "rnosymfollow"]));
    assert!(
        top.has(&["nosymfollow"]) && inner.has(&["nosymfollow"]),
        "{top:?} {inner:?}"
    );
}

fn plain_ro_of_an_rbind_leaves_submounts(t: &Sandbox) {
    let tree = tree(t, MsFlags::empty(), MsFlags::empty());
    let (top, inner) = bind_with(t, &tree, json!(["rbind", "ro"]));
    assert!(top.has(&["ro"]) && inner.has(&["rw"]), "{top:?} {inner:?}");
}

fn rro_on_a_file_system(t: &Sandbox) {
    let mounts = tmpfs_with(t, &[&["rro", "rnoexec"]]);
    assert!(mounts[0].has(&["ro", "noexec"]), "{mounts:?}");
}

fn options_of_a_cgroup_mount_of_the_host(t: &Sandbox) {
    let mount = json!({"destination": "/groups", "type": "cgroup", "source": "cgroup",
        "options": ["rro", "noatime", "nosuid"]});
    let bundle = t
        .bundle()
        .without_namespace("cgroup")
        .mount(mount)
        .args(&["cat", "/proc/self/mountinfo"]);
    let output = bundle.container().run().ok();
    let mount = mount_info::at(&output.stdout, "/groups");
    assert!(mount.has(&["ro", "noatime", "nosuid"]), "{mount:?}");
}

fn remount_changes_flags(t: &Sandbox) {
    let first =
        json!({"destination": "/m", "type": "tmpfs", "source": "tmpfs", "options": ["nodev"]});
    let again = json!({"destination": "/m", "type": "tmpfs", "source": "tmpfs",
        "options": ["remount", "ro", "noexec"]});
    let bundle = t.bundle().mount(first).mount(again);
    let output = bundle
        .args(&["cat", "/proc/self/mountinfo"])
        .container()
        .run()
        .ok();
    let mount = mount_info::at(&output.stdout, "/m");
    assert!(mount.has(&["ro", "noexec"]), "{mount:?}");
    assert_eq!(
        mount_info::table(&output.stdout)
            .iter()
            .filter(|m| m.point == "/m")
            .count(),
        1
    );
}

fn remount_of_a_bind_changes_only_the_bind(t: &Sandbox) {
    let source = t.path("source");
    std::fs::create_dir(&source).expect("the source");
    let bind = json!({"destination": "/m", "source": source, "options": ["bind"]});
    let again = json!({"destination": "/m", "source": source,
        "options": ["bind", "remount", "ro", "nosuid"]});
    let bundle = t.bundle().mount(bind).mount(again);
    let output = bundle
        .args(&["cat", "/proc/self/mountinfo"])
        .container()
        .run()
        .ok();
    let mount = mount_info::at(&output.stdout, "/m");
    assert!(mount.has(&["ro", "nosuid"]), "{mount:?}");
    std::fs::write(source.join("file"), "").expect("the host's directory stays writable");
}

fn file_system_data_is_passed(t: &Sandbox) {
    let mounts = tmpfs_with(t, &[&["size=64k", "nr_inodes=77", "mode=0711"]]);
    for option in ["size=64k", "nr_inodes=77", "mode=711"] {
        assert!(
            mounts[0].fs_options.iter().any(|one| one == option),
            "{option}: {mounts:?}"
        );
    }
}

/// A container with these options for a tmpfs, which is mount 6, because the default config has
/// six.
fn refused_tmpfs<'t>(t: &'t Sandbox, options: &[&str]) -> crate::Container<'t> {
    let mount =
        json!({"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": options});
    t.bundle().mount(mount).container()
}

fn unknown_option_names_the_mount(t: &Sandbox) {
    let output = refused_tmpfs(t, &["nosuid", "huhu=3"]).create().fails();
    assert!(output.stderr.contains("/mnt"), "{output}");
}

fn unknown_option_gives_the_reason_of_the_kernel(t: &Sandbox) {
    let output = refused_tmpfs(t, &["size=1m", "huhu=3"])
        .create()
        .fails_with("mounts[6]");
    assert!(
        output.stderr.contains("Unknown parameter 'huhu'"),
        "{output}"
    );
}

fn bad_value_gives_the_reason_of_the_kernel(t: &Sandbox) {
    let output = refused_tmpfs(t, &["size=much"])
        .create()
        .fails_with("mounts[6]");
    assert!(output.stderr.contains("Bad value for 'size'"), "{output}");
}

fn unknown_file_system_type_names_the_mount(t: &Sandbox) {
    let mount = json!({"destination": "/mnt", "type": "nosuchfs", "source": "none"});
    t.bundle()
        .mount(mount)
        .container()
        .create()
        .fails_with("nosuchfs");
}

fn file_system_data_on_a_bind_is_ignored(t: &Sandbox) {
    let mount = json!({"destination": "/mnt", "source": "/etc", "options": ["bind", "size=1m"]});
    let container = t.bundle().mount(mount).container();
    let output = container.create().ok();
    assert!(output.stderr.contains("mounts[6].options"), "{output}");
}

fn unknown_option_on_a_bind_is_refused(t: &Sandbox) {
    let mount = json!({"destination": "/mnt", "source": "/etc", "options": ["bind", "nosiud"]});
    t.bundle()
        .mount(mount)
        .container()
        .create()
        .fails_with("mounts[6].options");
}

fn mount_without_type_is_refused(t: &Sandbox) {
    let mount = json!({"destination": "/mnt", "source": "none"});
    t.bundle()
        .mount(mount)
        .container()
        .create()
        .fails_with("mounts[6].type");
}
