use super::*;
use crate::error::{Chain as _, Kind};
use std::os::unix::fs::PermissionsExt;

fn sample() -> State {
    State {
        oci_version: "1.3.0".to_owned(),
        id: "one".to_owned(),
        pid: 42,
        start_time: 99,
        bundle: "/b".into(),
        rootfs: "/b/rootfs".into(),
        created: "2024-02-29T23:59:59.25Z".to_owned(),
        annotations: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
        cgroup: Some(Cgroup {
            mount: "/sys/fs/cgroup".into(),
            path: "/a/one".to_owned(),
            ..Cgroup::default()
        }),
        private_pid_namespace: true,
        ..State::default()
    }
}

fn in_root(name: &str, test: impl FnOnce(&Root)) {
    let path = std::env::temp_dir().join(format!("sampan-{name}-{}", std::process::id()));
    test(&Root::choose(Some(&path)).unwrap());
    std::fs::remove_dir_all(&path).unwrap();
}

#[test]
fn round_trip_through_a_private_file() {
    in_root("state", |root| {
        let dir = root.claim("one", b"{}").unwrap().keep();
        sample().save(&dir).unwrap();
        assert_eq!(State::load(&dir).unwrap(), sample());
        let mode = std::fs::metadata(dir.path_of(STATE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let files = std::fs::read_dir(&dir.path).unwrap().count();
        assert_eq!(files, 2, "no temporary file stays");
    });
}

#[test]
fn paths_that_are_not_utf8_are_kept_and_shown() {
    use std::os::unix::ffi::OsStrExt;
    let path = |bytes: &[u8]| PathBuf::from(std::ffi::OsStr::from_bytes(bytes));
    in_root("bytes", |root| {
        let dir = root.claim("one", b"{}").unwrap().keep();
        let state = State {
            bundle: path(b"/b/\xff\xc3("),
            rootfs: path(b"/b/\xff\xc3(/rootfs"),
            options: CreateOptions {
                notify: Some(path(b"/\xfe/notify")),
                ..CreateOptions::default()
            },
            ..sample()
        };
        state.save(&dir).unwrap();
        assert_eq!(State::load(&dir).unwrap(), state);
        let view = state.view(Status::Created, String::new());
        let text = serde_json::to_string(&view).unwrap();
        assert!(
            text.contains("\"bundle\":\"/b/\u{fffd}\u{fffd}(\""),
            "{text}"
        );
    });
}

#[test]
fn load_distinguishes_missing_incomplete_and_broken() {
    in_root("load", |root| {
        let claim = root.claim("one", b"{}").unwrap();
        assert!(root.container("two").unwrap().open().unwrap().is_none());
        let half = State::load(claim.dir()).unwrap_err();
        assert_eq!(half.kind(), Kind::NotFound);
        let half = format!("{half:#}");
        assert!(half.contains("delete --force"), "{half}");
        for broken in ["{\"id\":", "", "\0\0", "\n"] {
            std::fs::write(claim.dir().path_of(STATE), broken).unwrap();
            assert_eq!(State::load(claim.dir()).unwrap_err().kind(), Kind::Other);
            assert_eq!(salvage(broken.as_bytes()), base());
        }
        sample().save(claim.dir()).unwrap();
        let path = claim.dir().path_of(STATE);
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.windows(2).position(|two| two == b"/b").unwrap();
        bytes[at + 1] = 0x81;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(State::load(claim.dir()).unwrap_err().kind(), Kind::Other);
        let salvaged = salvage(&bytes);
        assert_eq!(salvaged.bundle, PathBuf::new());
        assert_eq!((salvaged.pid, salvaged.cgroup), (42, sample().cgroup));
        let gone = claim.dir().clone();
        drop(claim);
        let gone = State::load(&gone).unwrap_err();
        assert_eq!(format!("{gone:#}"), "container does not exist: one");
    });
}

#[test]
fn a_state_of_another_container_is_refused() {
    in_root("renamed", |root| {
        let claim = root.claim("two", b"{}").unwrap();
        sample().save(claim.dir()).unwrap();
        let text = format!("{:#}", State::load(claim.dir()).unwrap_err());
        assert!(
            text.contains("it belongs to the container \"one\""),
            "{text}"
        );
    });
}

#[test]
fn a_state_without_later_is_broken_and_salvaged() {
    in_root("salvage", |root| {
        let claim = root.claim("one", b"{}").unwrap();
        let mut old = serde_json::to_value(sample()).unwrap();
        old.as_object_mut().unwrap().remove("later").unwrap();
        let old = old.to_string();
        std::fs::write(claim.dir().path_of(STATE), &old).unwrap();
        let error = State::load(claim.dir()).unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.contains("later") && text.contains("delete --force"),
            "{text}"
        );
        assert_eq!(salvage(old.as_bytes()), sample());
    });
}

fn base() -> State {
    State {
        id: "one".to_owned(),
        ..State::default()
    }
}

fn salvage(text: &[u8]) -> State {
    State::salvage(&base(), text).state
}

#[test]
fn each_field_is_salvaged_alone() {
    let whole = serde_json::to_string(&sample()).unwrap();
    let wrong = [
        ("\"/b\"", "7"),
        ("{\"k\":\"v\"}", "[]"),
        ("\"1.3.0\"", "null"),
    ];
    for (part, wrong) in wrong {
        let salvaged = salvage(whole.replacen(part, wrong, 1).as_bytes());
        assert_eq!((salvaged.pid, salvaged.start_time), (42, 99), "{wrong}");
        assert_eq!(salvaged.cgroup, sample().cgroup, "{wrong}");
    }
    for length in 0..whole.len() {
        let text = &whole[..length];
        let salvaged = State::salvage(&base(), text.as_bytes());
        let state = salvaged.state;
        assert_eq!(
            state.pid == 42,
            text.contains("\"startTime\":99,"),
            "{text}"
        );
        assert_eq!(state.cgroup.is_some(), salvaged.has_cgroup, "{text}");
        assert_eq!(
            state.cgroup.is_some(),
            text.contains("/a/one\"},"),
            "{text}"
        );
    }
    // A pid alone may be that of any process.
    assert_eq!(salvage(br#"{"pid":42,"startTime":"x"}"#).pid, 0);
}

#[test]
fn view_has_the_keys_that_engines_read() {
    let json =
        |state: &State, status| serde_json::to_string(&state.view(status, String::new())).unwrap();
    assert_eq!(
        json(&sample(), Status::Created),
        r#"{"ociVersion":"1.3.0","id":"one","pid":42,"status":"created","bundle":"/b","rootfs":"/b/rootfs","created":"2024-02-29T23:59:59.25Z","annotations":{"k":"v"},"owner":""}"#
    );
    let mut plain = sample();
    plain.annotations.clear();
    let text = json(&plain, Status::Stopped);
    assert!(text.contains(r#""pid":0,"status":"stopped""#) && !text.contains("annotations"));
}
