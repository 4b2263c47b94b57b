//! Executes the examples of the manual pages as they are printed.

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
    for page in ["sampan-check", "sampan-explain", "sampan-features"] {
        execute(t, page, "");
    }
}

fn examples_for_running_containers(t: &Sandbox) {
    for verb in [
        "exec", "state", "kill", "wait", "delete", "list", "ps", "pause", "resume", "mounts",
        "events",
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
    t.end_processes(&container.id);
    container.delete_force().ok();
}

/// The hand-written ends of the pages, compiled into this program: the lab VM has no repository.
const TAILS: &[(&str, &str)] = &[
    ("sampan", include_str!("../../../man/tails/sampan.roff")),
    (
        "sampan-check",
        include_str!("../../../man/tails/sampan-check.roff"),
    ),
    (
        "sampan-create",
        include_str!("../../../man/tails/sampan-create.roff"),
    ),
    (
        "sampan-delete",
        include_str!("../../../man/tails/sampan-delete.roff"),
    ),
    (
        "sampan-events",
        include_str!("../../../man/tails/sampan-events.roff"),
    ),
    (
        "sampan-exec",
        include_str!("../../../man/tails/sampan-exec.roff"),
    ),
    (
        "sampan-explain",
        include_str!("../../../man/tails/sampan-explain.roff"),
    ),
    (
        "sampan-features",
        include_str!("../../../man/tails/sampan-features.roff"),
    ),
    (
        "sampan-kill",
        include_str!("../../../man/tails/sampan-kill.roff"),
    ),
    (
        "sampan-list",
        include_str!("../../../man/tails/sampan-list.roff"),
    ),
    (
        "sampan-mounts",
        include_str!("../../../man/tails/sampan-mounts.roff"),
    ),
    (
        "sampan-pause",
        include_str!("../../../man/tails/sampan-pause.roff"),
    ),
    (
        "sampan-ps",
        include_str!("../../../man/tails/sampan-ps.roff"),
    ),
    (
        "sampan-resume",
        include_str!("../../../man/tails/sampan-resume.roff"),
    ),
    (
        "sampan-run",
        include_str!("../../../man/tails/sampan-run.roff"),
    ),
    (
        "sampan-spec",
        include_str!("../../../man/tails/sampan-spec.roff"),
    ),
    (
        "sampan-start",
        include_str!("../../../man/tails/sampan-start.roff"),
    ),
    (
        "sampan-state",
        include_str!("../../../man/tails/sampan-state.roff"),
    ),
    (
        "sampan-update",
        include_str!("../../../man/tails/sampan-update.roff"),
    ),
    (
        "sampan-wait",
        include_str!("../../../man/tails/sampan-wait.roff"),
    ),
];

/// The lines of the page that are shell commands.
fn examples(page: &str) -> Vec<String> {
    let (_, text) = TAILS
        .iter()
        .find(|(name, _)| *name == page)
        .unwrap_or_else(|| panic!("no page {page}"));
    let lines = text.lines().filter_map(|line| line.strip_prefix("# "));
    lines
        .map(|line| {
            line.replace("\\-", "-")
                .replace("\\(aq", "'")
                .replace("\\e", "\\")
        })
        .collect()
}
