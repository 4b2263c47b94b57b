//! `mounts`.

use super::*;
use crate::config::mounts::option_words;
use crate::config::{Attrs, Mount};

fn mount(options: &str) -> Mount {
    let options: Vec<&str> = options.split(' ').collect();
    let mount = serde_json::json!({
        "destination": "/x", "type": "tmpfs", "source": "y", "options": options,
    });
    accepted(&[("/mounts/0", &mount.to_string())])
        .mounts
        .remove(0)
}

#[test]
fn invalid_mounts() {
    refused(&[
        (
            "/mounts/0/destination",
            "",
            "mounts[0].destination: missing",
        ),
        (
            "/mounts/0/destination",
            r#""""#,
            "mounts[0].destination: missing",
        ),
        (
            "/mounts/0/destination",
            r#""/a\u0000""#,
            "mounts[0].destination: has a NUL byte",
        ),
        ("/mounts/0/type", "", "mounts[0].type: missing"),
        (
            "/mounts/0/type",
            r#""a\u0000""#,
            "mounts[0].type: has a NUL byte",
        ),
        (
            "/mounts/0/source",
            r#""a\u0000""#,
            "mounts[0].source: has a NUL byte",
        ),
        (
            "/mounts/0/options/1",
            r#""a\u0000""#,
            "mounts[0].options[1]: has a NUL byte",
        ),
        (
            "/mounts/0/options",
            "{}",
            "mounts[0].options: invalid type: map",
        ),
        (
            "/mounts/8/source",
            "",
            "mounts[8].source: missing; a bind mount needs one",
        ),
        (
            "/mounts/8/options/-",
            r#""siez""#,
            "mounts[8].options: \"siez\": a bind mount takes",
        ),
        (
            "/mounts/8/options/-",
            r#""idmap=uids=0-1-1""#,
            "mounts[8].options[4]: \"idmap=uids=0-1-1\": not supported",
        ),
        (
            "/mounts/8/options/-",
            r#""ridmap=x""#,
            "mounts[8].options[4]: \"ridmap=x\": not supp",
        ),
        (
            "/mounts/8/uidMappings",
            r#"[{"containerID": 0, "hostID": 1, "size": 1}]"#,
            "mounts[8].gidMappings: missing",
        ),
        (
            "/mounts/8/gidMappings",
            r#"[{"containerID": 0, "hostID": 1, "size": 1}]"#,
            "mounts[8].uidMappings: missing",
        ),
        (
            "/mounts/0/options/-",
            r#""idmap""#,
            "mounts[0]: proc cannot have mapped ids",
        ),
    ]);
    accepted(&[("/mounts/8/uidMappings", "[]")]);
}

#[test]
fn mapped_ids() {
    let bind =
        |more: &str| format!(r#"{{"destination": "/x", "source": "/y", "type": "bind", {more}}}"#);
    let of = |more: &str| {
        accepted(&[("/mounts/0", &bind(more))])
            .mounts
            .remove(0)
            .id_map
    };
    let maps = |size: u32| {
        let map = format!(r#"[{{"containerID": 0, "hostID": 7, "size": {size}}}]"#);
        format!(r#""uidMappings": {map}, "gidMappings": {map}"#)
    };
    assert_eq!(of(r#""options": ["bind"]"#), None);
    let plain = of(r#""options": ["bind", "idmap"]"#).unwrap();
    assert!(!plain.recursive && plain.uid_mappings.is_empty() && plain.gid_mappings.is_empty());
    let all = of(&format!(r#""options": ["ridmap"], {}"#, maps(2))).unwrap();
    assert!(all.recursive && all.gid_mappings == all.uid_mappings);
    assert_eq!(
        (all.uid_mappings[0].host_id, all.uid_mappings[0].size),
        (7, 2)
    );
    refused(&[(
        "/mounts/0",
        &bind(&maps(0)),
        "mounts[0].uidMappings[0].size",
    )]);
}

#[test]
fn destinations_are_absolute_and_clean() {
    let config = warned(
        "/mounts/0/destination",
        r#""a/../b//c/""#,
        "mounts[0].destination: ",
    );
    assert_eq!(config.mounts[0].destination, Path::new("/b/c"));
    let config = accepted(&[("/mounts/0/destination", r#""/../../a""#)]);
    assert_eq!(config.mounts[0].destination, Path::new("/a"));
}

#[test]
fn binds() {
    let config = accepted(&[("/mounts/8/source", r#""data""#)]);
    let bind = &config.mounts[8];
    assert_eq!((bind.field.as_str(), bind.bind), ("mounts[8]", Some(true)));
    assert_eq!(bind.source.as_deref(), Some("/bundle/data".as_ref()));
    assert_eq!(bind.attrs, Attrs { set: 1, clear: 0 });
    assert_eq!(bind.recursive_attrs, Attrs { set: 1, clear: 0 });
    assert_eq!(bind.propagation.len(), 1);
    assert!(bind.propagation[0].recursive);
    assert_eq!(bind.propagation[0].flag, libc::MS_SLAVE);

    assert_eq!(
        accepted(&[("/mounts/8/options", r#"["bind"]"#)]).mounts[8].bind,
        Some(false)
    );
    assert_eq!(
        accepted(&[("/mounts/8/options", "[]")]).mounts[8].bind,
        Some(false)
    );
    let both = accepted(&[("/mounts/8/options", r#"["rbind", "bind"]"#)]);
    assert_eq!(both.mounts[8].bind, Some(true));
}

#[test]
fn attribute_options() {
    for (options, set, clear) in [
        ("ro nosuid nodev noexec", 0xf, 0),
        ("ro rw", 0, 1),
        ("rw ro", 1, 0),
        ("suid dev exec", 0, 0xe),
        ("noatime", 0x10, 0x70),
        ("noatime strictatime", 0x20, 0x70),
        ("noatime relatime", 0, 0x70),
        ("noatime norelatime", 0x10, 0x70),
        ("noatime atime", 0, 0x70),
        ("strictatime nostrictatime", 0, 0x70),
        ("nodiratime", 0x80, 0),
        ("diratime", 0, 0x80),
        ("nosymfollow", 0x20_0000, 0),
        ("symfollow", 0, 0x20_0000),
        ("defaults", 0, 0),
    ] {
        assert_eq!(mount(options).attrs, Attrs { set, clear }, "{options}");
        if options == "defaults" {
            continue;
        }
        let recursive: Vec<_> = options.split(' ').map(|word| format!("r{word}")).collect();
        let recursive = mount(&recursive.join(" "));
        assert_eq!(
            recursive.recursive_attrs,
            Attrs { set, clear },
            "r: {options}"
        );
        assert_eq!(recursive.attrs, Attrs::default(), "r: {options}");
    }
}

#[test]
fn superblock_options_data_and_propagation() {
    let this = mount("ro sync dirsync mand lazytime iversion silent");
    let flags = libc::MS_RDONLY
        | libc::MS_SYNCHRONOUS
        | libc::MS_DIRSYNC
        | libc::MS_MANDLOCK
        | libc::MS_LAZYTIME
        | libc::MS_I_VERSION
        | libc::MS_SILENT;
    assert_eq!((this.super_flags, this.super_clear), (flags, 0));
    let this = mount("ro rw async nomand nolazytime noiversion loud");
    let flags = flags & !libc::MS_DIRSYNC;
    assert_eq!((this.super_flags, this.super_clear), (0, flags));

    let this = mount("mode=755 ro size=1k,nr_inodes=3 tmpcopyup remount rsync");
    assert_eq!(this.data, "mode=755,size=1k,nr_inodes=3,rsync");
    assert!(this.tmpcopyup && this.remount);
    assert_eq!(this.options.len(), 6);

    let this = mount("private rshared unbindable");
    let changes: Vec<_> = this
        .propagation
        .iter()
        .map(|it| (it.flag, it.recursive))
        .collect();
    let expected = [
        (libc::MS_PRIVATE, false),
        (libc::MS_SHARED, true),
        (libc::MS_UNBINDABLE, false),
    ];
    assert_eq!(changes, expected);
}

#[test]
fn every_listed_option_is_known() {
    let words = option_words();
    assert!(words.len() > 50, "{words:?}");
    // Those for mapped ids and for links are not for every file system.
    let for_binds = |word: &str| {
        ["idmap", "symlink", "nofollow"]
            .iter()
            .any(|it| word.ends_with(it))
    };
    let for_all = |word: &&String| !for_binds(word) || word.ends_with("nosymfollow");
    for word in words.iter().filter(for_all) {
        assert_eq!(mount(word).data, "", "{word}");
    }
    assert_eq!(mount("nonsense").data, "nonsense");
}

#[test]
fn tmpcopyup_is_only_for_tmpfs() {
    let config = warned(
        "/mounts/0/options/0",
        r#""tmpcopyup""#,
        "mounts[0].options: tmpcopyup",
    );
    assert!(!config.mounts[0].tmpcopyup);
}

#[test]
fn data_of_a_bind_is_ignored_unless_it_looks_like_a_flag() {
    let bind = |options: &str| {
        format!(r#"{{"destination": "/x", "source": "/y", "options": ["bind", {options}]}}"#)
    };
    let config = warned(
        "/mounts/0",
        &bind(r#""mode=755", "size=1k""#),
        "mounts[0].options: \"mode=755,size=1k\": a bind mount takes no",
    );
    assert_eq!(config.mounts[0].data, "");
    refused(&[(
        "/mounts/0",
        &bind(r#""mode=755", "nosiud""#),
        "mounts[0].options: \"mode=755,nosiud\": a bind mount takes no",
    )]);
}
