//! Executes the examples of the manual pages as they are printed.

use std::path::Path;

use crate::{Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    examples_that_make_containers [Need::NotAPeer],
    examples_for_running_containers [Need::NotAPeer, Need::Program("ps")],
    examples_of_update [Need::NotAPeer, Need::Controller("pids")],
];

/// The directory of the bundle in the examples.
const DIRECTORY: &str = "/srv";

fn examples_that_make_containers(t: &Sandbox) {
    for page in [
        "sampan",
        "sampan-create",
        "sampan-run",
        "sampan-start",
        "sampan-spec",
    ] {
        execute(t, page, "");
    }
    for page in ["sampan-explain", "sampan-features"] {
        execute(t, page, "");
    }
}

fn examples_for_running_containers(t: &Sandbox) {
    for verb in [
        "exec", "state", "kill", "delete", "list", "ps", "pause", "resume", "mounts", "events",
    ] {
        execute(t, &format!("sampan-{verb}"), RUNNING);
    }
}

fn examples_of_update(t: &Sandbox) {
    execute(t, "sampan-update", RUNNING);
}

const RUNNING: &str = "sampan run --detach --bundle /srv/web web";

/// Executes the examples of a page in one shell, after `before`. `sampan` becomes the runtime with
/// the case's root directory, `/srv` a directory of the case that contains the bundle, and `web` a
/// name that is unique to the case.
fn execute(t: &Sandbox, page: &str, before: &str) {
    let directory = t.path(page);
    let container = t.bundle().args(&["sleep", "1000"]).container();
    std::fs::create_dir(&directory).expect("directory of the page");
    std::os::unix::fs::symlink(&container.bundle, directory.join("web")).expect("the bundle");
    let examples = examples(page);
    assert!(!examples.is_empty(), "{page}: no example");
    let script = format!("{before}\n{}", examples.join("\n"));
    let script = script
        .replace(" web", &format!(" {}", container.id))
        .replace(DIRECTORY, directory.to_str().expect("UTF-8"));
    t.call("sh")
        .args([
            "-euc",
            &format!("sampan() {{ \"$RUNTIME\" --root \"$ROOT\" \"$@\"; }}\n{script}"),
        ])
        .env("RUNTIME", &t.runtime)
        .env("ROOT", &t.root)
        .run()
        .ok();
    container.delete_force().ok();
}

/// The lines of the page that are shell commands.
fn examples(page: &str) -> Vec<String> {
    let tails = Path::new(env!("CARGO_MANIFEST_DIR")).join("../man/tails");
    let path = tails.join(format!("{page}.roff"));
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines = text.lines().filter_map(|line| line.strip_prefix("# "));
    lines
        .map(|line| {
            line.replace("\\-", "-")
                .replace("\\(aq", "'")
                .replace("\\e", "\\")
        })
        .collect()
}
