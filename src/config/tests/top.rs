//! The top level, hooks, and what the loader repairs.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::config::default::default_config;

#[test]
fn the_engine_config_is_accepted_without_a_warning() {
    let config = load(&json(ENGINE)).expect("valid");
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    assert_eq!(config.oci_version, "1.2.1");
    assert_eq!(config.hostname.as_deref(), Some("af0d"));
    assert_eq!(config.domainname.as_deref(), Some("example.org"));
    assert_eq!(config.annotations["com.example.key"], "value");
    assert_eq!(
        config.root.path,
        Path::new("/var/lib/docker/overlay2/0f/merged")
    );
    assert!(!config.root.readonly);
}

#[test]
fn versions() {
    refused(&[
        ("/ociVersion", "", "ociVersion: missing"),
        (
            "/ociVersion",
            r#""invalid""#,
            "ociVersion: \"invalid\" is not a semantic version",
        ),
        (
            "/ociVersion",
            r#""1.0""#,
            "ociVersion: \"1.0\" is not a semantic version",
        ),
        (
            "/ociVersion",
            r#""1.02.0""#,
            "ociVersion: \"1.02.0\" is not",
        ),
        (
            "/ociVersion",
            r#""1.0.0-""#,
            "ociVersion: \"1.0.0-\" is not",
        ),
        (
            "/ociVersion",
            r#""1.0.0-ä""#,
            "ociVersion: \"1.0.0-ä\" is not",
        ),
        ("/ociVersion", "1", "ociVersion: invalid type: integer `1`"),
    ]);
    accepted(&[
        ("/ociVersion", r#""1.0.0""#),
        ("/ociVersion", r#""1.0.2-dev""#),
        ("/ociVersion", r#""1.3.0+dev""#),
        ("/ociVersion", r#""1.99.0-rc.1+x""#),
    ]);
    for version in ["2.0.0", "0.9.0", "0.5.0-dev"] {
        let message = format!("ociVersion: {version:?} is not a 1.x version");
        warned("/ociVersion", &format!("{version:?}"), &message);
    }
}

#[test]
fn root_and_names() {
    refused(&[
        ("/root", "", "root: missing"),
        ("/root/path", "", "root.path: missing"),
        ("/root/path", r#""a\u0000b""#, "root.path: has a NUL byte"),
        (
            "/root/readonly",
            r#""yes""#,
            "root.readonly: invalid type: string \"yes\"",
        ),
        ("/hostname", r#""a\u0000b""#, "hostname: has a NUL byte"),
        (
            "/linux/namespaces",
            "[]",
            "linux.uidMappings: needs a user namespace",
        ),
        (
            "/annotations",
            r#"{"": "x"}"#,
            "annotations: has an empty key",
        ),
        (
            "/annotations",
            r#"{"a.b": 1}"#,
            "annotations[\"a.b\"]: invalid type: integer `1`",
        ),
        ("/vm", r#"{"kernel": {"path": "/k"}}"#, "vm: not supported"),
    ]);
    let long = format!("\"{}\"", "x".repeat(65));
    refused(&[
        ("/hostname", &long, "hostname: is longer than 64 bytes"),
        ("/domainname", &long, "domainname: is longer than 64 bytes"),
    ]);
    let config = accepted(&[("/root/path", r#""./rootfs/""#)]);
    assert_eq!(config.root.path, Path::new("/bundle/rootfs"));
    assert_eq!(accepted(&[("/hostname", r#""""#)]).hostname, None);
}

#[test]
fn names_need_a_uts_namespace() {
    for name in ["hostname", "domainname"] {
        let mut config = json(&default_config(None));
        patch(&mut config, "/hostname", "");
        patch(&mut config, "/linux/namespaces", r#"[{"type": "mount"}]"#);
        patch(&mut config, &format!("/{name}"), r#""x""#);
        let error = load(&config).expect_err("no uts namespace").to_string();
        assert!(
            error.starts_with(&format!("{name}: needs a uts namespace")),
            "{error}"
        );
    }
}

#[test]
fn hooks() {
    refused(&[
        (
            "/hooks/prestart/0/path",
            r#""true""#,
            "hooks.prestart[0].path: \"true\" is not an absolute",
        ),
        (
            "/hooks/prestart/0/path",
            "",
            "hooks.prestart[0].path: missing",
        ),
        (
            "/hooks/poststop/0/timeout",
            "0",
            "hooks.poststop[0].timeout: 0 is not a positive",
        ),
        (
            "/hooks/poststop/0/timeout",
            "-1",
            "hooks.poststop[0].timeout: -1 is not a positive",
        ),
        (
            "/hooks/poststop/0/env",
            r#"["a\u0000"]"#,
            "hooks.poststop[0].env[0]: has a NUL byte",
        ),
        (
            "/hooks/createRuntime",
            r#"[{"path": "x"}]"#,
            "hooks.createRuntime[0].path: \"x\" is not",
        ),
        (
            "/hooks/createContainer",
            "[1]",
            "hooks.createContainer[0]: invalid type",
        ),
    ]);
    let config = load(&json(ENGINE)).expect("valid");
    let poststop = &config.hooks.poststop[0];
    assert_eq!(poststop.field, "hooks.poststop[0]");
    assert_eq!(poststop.args, ["/bin/true"]);
    assert_eq!(poststop.env.as_deref(), Some(&["A=b".to_owned()][..]));
    assert_eq!(poststop.timeout, Some(Duration::from_secs(5)));
    let prestart = &config.hooks.prestart[0];
    assert_eq!(prestart.args[0], "libnetwork-setkey");
    assert_eq!((&prestart.env, prestart.timeout), (&None, None));
}

#[test]
fn unknown_properties_are_ignored_and_other_platforms_give_a_warning() {
    accepted(&[
        ("/com.example.new", r#"{"a": [1, 2, {"b": null}]}"#),
        ("/linux/new", "1"),
        ("/process/user/new", "1"),
    ]);
    for name in ["windows", "solaris", "zos"] {
        warned(
            &format!("/{name}"),
            "{}",
            &format!("{name}: for another platform"),
        );
    }
}

#[test]
fn arrays_are_not_accepted_as_objects() {
    refused(&[
        (
            "/root",
            r#"["/"]"#,
            "root: invalid type: array, expected an object",
        ),
        (
            "/process/user",
            "[1000, 1000]",
            "process.user: invalid type: array",
        ),
        ("/mounts/1", r#"["/x"]"#, "mounts[1]: invalid type: array"),
        (
            "/linux/timeOffsets/monotonic",
            "[1]",
            "linux.timeOffsets.monotonic: invalid type",
        ),
    ]);
    accepted(&[("/new", r#"[["x"]]"#)]);
}

#[test]
fn process_and_linux_may_be_absent() {
    assert!(accepted(&[("/process", "")]).process.is_none());
    let mut config = json(&default_config(None));
    for pointer in ["/linux", "/hostname", "/process", "/mounts"] {
        patch(&mut config, pointer, "");
    }
    let config = load(&config).expect("none of these is required");
    assert!(config.mounts.is_empty());
}

#[test]
fn nulls_duplicates_and_lone_surrogates_are_read_as_engines_write_them() {
    accepted(&[
        ("/mounts", "null"),
        ("/process/user", "null"),
        ("/process/user/uid", "null"),
        ("/process/capabilities/bounding", "null"),
        ("/linux/resources/pids/limit", "null"),
        ("/linux/seccomp/syscalls/0/args", "null"),
        ("/hooks", "null"),
    ]);
    let text = r#"{"ociVersion": "x", "ociVersion": "1.0.0", "root": {"path": "/a"},
        "annotations": {"k": "\ud800"}}"#;
    let config = spec::config(text.as_bytes(), Path::new(BUNDLE)).expect("valid for Go");
    assert_eq!(config.oci_version, "1.0.0");
    assert_eq!(config.annotations["k"], "\u{fffd}");
}

#[test]
fn syntax_errors_have_a_line_and_a_column() {
    for (text, expected) in [
        ("", "line 1, column 0: EOF while parsing a value"),
        (
            "{\n\t\"ociVersion\": ,\n}",
            "line 2, column 16: expected value",
        ),
        ("{} {}", "line 1, column 4: trailing characters"),
        ("[]", "line 1, the document: invalid type: array"),
        ("3", "line 1, the document: invalid type: integer `3`"),
    ] {
        let error = spec::config(text.as_bytes(), Path::new(BUNDLE))
            .expect_err(text)
            .to_string();
        assert!(error.starts_with(expected), "{text:?}: {error}");
    }
}

#[test]
fn default_configs_are_valid() {
    let config = load(&json(&default_config(None))).expect("valid");
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    assert_eq!(
        (config.mounts.len(), config.hostname.as_deref()),
        (7, Some("sampan"))
    );
    assert_eq!(config.root.path, Path::new("/bundle/rootfs"));
    let text = default_config(None);
    let start = "{\n\t\"ociVersion\": \"1.3.0\",\n\t\"process\": {\n\t\t\"terminal\": true,\n";
    assert!(
        text.starts_with(start) && text.ends_with("]\n\t}\n}\n"),
        "{text}"
    );

    let text = default_config(Some((1000, 100)));
    let config = load(&json(&text)).expect("valid");
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    assert_eq!(config.linux.uid_mappings[0].host_id, 1000);
    assert_eq!(config.linux.gid_mappings[0].host_id, 100);
    assert!(!text.contains("gid=") && !text.contains("network") && !text.contains("resources"));
    let sys = config
        .mounts
        .iter()
        .find(|mount| mount.destination == Path::new("/sys"));
    assert_eq!(sys.expect("/sys").bind, Some(true));
}
