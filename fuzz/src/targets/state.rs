//! `state.json`: a loaded state is saved unchanged; a refused one can still be deleted.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use sampan::error::Error;
use sampan::state::{Dir, Root, STATE, State, Status};

use crate::{Form, Target, check_error, scratch};

/// See the module.
pub const TARGET: Target = Target {
    name: "state",
    run,
    seeds,
    form: Form::Json,
    words: "/ /sys/fs/cgroup /a/docker-x.scope docker-x.scope x.scope ship .. 1.3.0 pid startTime
            cgroup unit user later process options notify rootfsMount rootfsMountNamespace annotations
            namespaces time number namespace",
    longest: 4 << 10,
    changes: 40_000,
};

const WHOLE: &str = r#"{"ociVersion":"1.3.0","id":"ship","pid":4711,"startTime":99,
    "namespaces":{"pid":4026531836,"time":4026531834},"bundle":"/b","rootfs":"/b/rootfs","created":"2024-02-29T23:59:59.25Z","owner":0,
    "annotations":{"a":"b"},
    "cgroup":{"mount":"/sys/fs/cgroup","path":"/a/docker-ship.scope/c",
              "unit":{"name":"docker-ship.scope","user":1000},
              "number":58355,"namespace":4026531835},
    "privatePidNamespace":true,"rootfsMount":77,"rootfsMountNamespace":4026531841,
    "options":{"systemdCgroup":true,"noPivot":false,"noNewKeyring":true,"noCgroup":false,
               "listenFds":1,"preservedFds":2,"notify":"/run/notify"},
    "later":{"process":true,"startContainerHooks":true,"poststartHooks":false,
             "poststopHooks":true}}"#;

fn seeds() -> Vec<Vec<u8>> {
    let bare = r#"{"ociVersion":"1.3.0","id":"ship","pid":0,"startTime":0,"bundle":"/b",
        "rootfs":"/b/rootfs","created":"","owner":0,"cgroup":null,"privatePidNamespace":false,
        "later":{"process":true,"startContainerHooks":true,"poststartHooks":false,
                 "poststopHooks":true}}"#;
    let old = r#"{"pid":4711,"startTime":99,"cgroup":{"mount":"/c","path":"/x"}}"#;
    [WHOLE, bare, old]
        .map(|text| text.as_bytes().to_vec())
        .into()
}

fn dir() -> &'static Dir {
    static DIR: OnceLock<Dir> = OnceLock::new();
    DIR.get_or_init(|| {
        let root = Root::choose(Some(&scratch::directory("state"))).expect("a root directory");
        drop(root.claim("ship", b"{}").expect("the id").keep());
        let place = root.container("ship").expect("the place");
        place.open().expect("open").expect("the directory")
    })
}

fn run(data: &[u8]) {
    let dir = dir();
    fs::write(dir.path_of(STATE), data).expect("write below TMPDIR");
    let base = State {
        id: dir.id.clone(),
        ..State::default()
    };
    let salvaged = State::salvage(&base, data).state;
    let state = match State::load(dir) {
        Ok(state) => state,
        Err(error) => {
            let error = Error::of_chain(error);
            check_error(&error);
            let text = error.to_string();
            let file = dir.path_of(STATE).display().to_string();
            assert!(text.starts_with(&file), "the file is not named: {text}");
            let ways = ["delete --force", "restore the directory's name"];
            assert!(
                ways.iter().any(|way| text.contains(way)),
                "no way out: {text}"
            );
            look(&salvaged);
            return;
        }
    };
    assert_eq!(salvaged, state, "what is sound is salvaged as it is");
    look(&state);
    // A path that is not text cannot come from JSON, so each state can be saved.
    state.save(dir).expect("save what was loaded");
    assert_eq!(State::load(dir).expect("load what was saved"), state);
}

/// Calls the functions that later verbs use and that do not touch the container.
fn look(state: &State) {
    for status in [Status::Running, Status::Stopped] {
        let view = state.view(status, "root".to_owned());
        serde_json::to_string(&view).expect("the state can be printed");
    }
    if let Some(cgroup) = &state.cgroup {
        let _: PathBuf = cgroup.dir();
        if let Some((unit, below)) = cgroup.unit_and_below() {
            assert!(cgroup.path.ends_with(below));
            let _ = unit.manager();
        }
    }
}
