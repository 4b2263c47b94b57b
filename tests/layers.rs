//! Checks the layers of the design: which file may name which path. Reads the source in `src/`,
//! without comments, strings and test modules.

#[path = "layers/circles.rs"]
mod circles;
#[path = "layers/source.rs"]
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use source::{Mention, mentions};

/// A rule: in the files that it applies to, a mention that it forbids is an error.
struct Rule {
    name: &'static str,
    applies_to: fn(&str) -> bool,
    forbids: fn(&Mention) -> bool,
}

/// Source: the crate's documentation, `src/lib.rs`.
const RULES: &[Rule] = &[
    Rule {
        name: "plan and config are pure",
        applies_to: is_pure,
        forbids: is_impure,
    },
    Rule {
        name: "plan and config do not use an executor",
        applies_to: is_pure,
        forbids: is_executor,
    },
    Rule {
        name: "init uses only sys, the plan, the sync messages and the hook runner",
        applies_to: |file| {
            ["run/init", "run/protocol", "run/hook"]
                .iter()
                .any(|module| in_module(file, module))
        },
        forbids: |mention| {
            let allowed = ["sys", "plan", "run::protocol", "run::init", "run::hook"]
                .map(|module| format!("crate::{module}"));
            (mention.is_in("crate") && !allowed.iter().any(|path| mention.is_in(path)))
                || ["std::fs", "std::env", "std::process", "serde_json"]
                    .iter()
                    .any(|path| mention.is_in(path))
        },
    },
    Rule {
        name: "what checks, plans or is init has typed errors",
        applies_to: |file| {
            is_pure(file)
                || ["spec", "cli", "sys", "run/init", "run/protocol", "run/hook"]
                    .iter()
                    .any(|module| in_module(file, module))
        },
        forbids: |mention| mention.is_in("anyhow"),
    },
    Rule {
        name: "sys uses nothing of the other modules",
        applies_to: |file| in_module(file, "sys"),
        forbids: |mention| mention.is_in("crate") && !mention.is_in("crate::sys"),
    },
    Rule {
        name: "unsafe stays in sys",
        applies_to: |file| !in_module(file, "sys"),
        forbids: |mention| mention.path == "unsafe",
    },
    Rule {
        name: "oci_spec stays in spec and config",
        applies_to: |file| !in_module(file, "spec") && !in_module(file, "config"),
        forbids: |mention| mention.is_in("oci_spec"),
    },
    Rule {
        name: "clap stays in cli",
        applies_to: |file| !in_module(file, "cli"),
        forbids: |mention| mention.is_in("clap"),
    },
    Rule {
        name: "cli is given its verbs and does not use them by name",
        // Its tests use the real ones.
        applies_to: |file| in_module(file, "cli") && file != "cli/tests.rs",
        forbids: |mention| mention.is_in("crate::commands"),
    },
    Rule {
        name: "log does not use cli",
        applies_to: |file| in_module(file, "log"),
        forbids: |mention| mention.is_in("crate::cli"),
    },
];

/// Whether `file`, relative to `src/`, is the module `name` or in it.
fn in_module(file: &str, name: &str) -> bool {
    file.strip_prefix(name)
        .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

fn is_pure(file: &str) -> bool {
    in_module(file, "plan") || in_module(file, "config")
}

/// Whether a mention reads or changes the machine: files, environment, clock, processes, system
/// calls.
fn is_impure(mention: &Mention) -> bool {
    const OUTSIDE: &[&str] = &[
        "std::fs",
        "std::env",
        "std::process",
        "std::net",
        "std::thread",
        "std::io::stdin",
        "std::io::stdout",
        "std::io::stderr",
        "std::os::unix::fs",
        "std::os::unix::net",
        "std::os::unix::process",
        "std::time::Instant",
        "std::time::SystemTime",
    ];
    // Methods of Path that read the file system.
    const METHODS: &[&str] = &[
        ".canonicalize",
        ".exists",
        ".is_dir",
        ".is_file",
        ".is_symlink",
        ".metadata",
        ".read_dir",
        ".read_link",
        ".symlink_metadata",
        ".try_exists",
    ];
    (OUTSIDE.iter().any(|path| mention.is_in(path)) && !mention.is_in("std::env::consts"))
        || METHODS.contains(&mention.path.as_str())
        || (mention.is_in("nix") && !mention.is_in("nix::errno"))
        || (mention.is_in("libc") && is_function(mention))
        || (mention.is_in("crate::sys")
            && (is_function(mention) || mention.imported && mention.ends_in_lower_case()))
}

fn is_executor(mention: &Mention) -> bool {
    ["run", "commands", "state", "cli", "log", "cgroup"]
        .iter()
        .any(|module| mention.is_in(&format!("crate::{module}")))
}

/// Whether a mention is a function: a name in lower case that is called. Constants and types are
/// data.
fn is_function(mention: &Mention) -> bool {
    mention.called && mention.ends_in_lower_case()
}

/// Every broken rule in one file: `file:line: path: rule`.
fn violations(file: &str, text: &str) -> Vec<String> {
    let mentions = mentions(file, text);
    let rules = RULES.iter().filter(|rule| (rule.applies_to)(file));
    rules
        .flat_map(|rule| {
            mentions
                .iter()
                .filter(|mention| (rule.forbids)(mention))
                .map(move |m| (m, rule))
        })
        .map(|(mention, rule)| {
            format!(
                "src/{file}:{}: {}: {}",
                mention.line, mention.path, rule.name
            )
        })
        .collect()
}

fn rust_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("read the source") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every file in `src/`, with its text.
fn sources() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    rust_files(&src, &mut paths);
    let read = |path: &PathBuf| {
        let name = path.strip_prefix(&src).expect("below src").to_str();
        let text = fs::read_to_string(path).expect("source file");
        (name.expect("UTF-8").to_owned(), text)
    };
    let files: Vec<_> = paths.iter().map(read).collect();
    assert!(
        files.iter().any(|(file, _)| file == "config/mod.rs"),
        "the source was not found"
    );
    files
}

#[test]
fn the_source_follows_the_rules() {
    let broken: Vec<_> = sources()
        .iter()
        .flat_map(|(file, text)| violations(file, text))
        .collect();
    assert!(
        broken.is_empty(),
        "{} broken:\n{}",
        broken.len(),
        broken.join("\n")
    );
}

#[test]
fn bad_code_is_reported() {
    let bad = [
        ("plan/mounts.rs", "use std::fs;"),
        ("plan/mounts.rs", "use std::{path::Path, fs::{self, File}};"),
        (
            "plan/mounts.rs",
            "fn f() { let now = std::time::Instant::now(); }",
        ),
        ("config/mod.rs", "fn f(p: &Path) -> bool { p.exists() }"),
        ("config/mod.rs", "use nix::{errno::Errno, unistd};"),
        (
            "plan/mod.rs",
            "fn f() { let pid = unwrap(libc::getpid()); }",
        ),
        (
            "plan/mod.rs",
            "use libc::{c_int, mount}; fn f() { mount() }",
        ),
        ("plan/mod.rs", "use crate::sys::path::open_in_root;"),
        ("plan/mounts.rs", "use super::super::run::parent;"),
        ("run/init.rs", "use crate::{sys, config::Config};"),
        ("run/init/mounts.rs", "use super::super::runtime::Runtime;"),
        ("run/init.rs", "use crate::commands::create;"),
        ("sys/mount.rs", "use crate::plan::Mount;"),
        ("run/runtime/create.rs", "fn f() { unsafe { call() } }"),
        ("plan/mod.rs", "use oci_spec::runtime::Spec;"),
        ("plan/mod.rs", "fn f() -> anyhow::Result<()> { Ok(()) }"),
        ("run/init/mounts.rs", "use anyhow::Context as _;"),
        ("commands/run.rs", "#[derive(clap::Args)] struct Run;"),
        ("cli/mod.rs", "use crate::commands::VERBS;"),
        ("log.rs", "use crate::cli::groups::LogFlags;"),
    ];
    for (file, text) in bad {
        assert!(
            !violations(file, text).is_empty(),
            "not reported in {file}: {text}"
        );
    }
}

#[test]
fn good_code_is_accepted() {
    let good = [
        (
            "plan/mod.rs",
            "use libc::{mode_t, sock_filter, MS_BIND}; const A: mode_t = libc::S_ISUID;",
        ),
        (
            "plan/mod.rs",
            "use nix::errno::Errno; use crate::config::Config; use super::Step;",
        ),
        (
            "plan/mod.rs",
            "// std::fs\nfn f() { log(\"std::env \\\" clap\"); /* unsafe */ }",
        ),
        (
            "plan/mod.rs",
            "#[cfg(test)]\nmod tests { use std::fs; fn f() { if true {} } }\nfn g() {}",
        ),
        (
            "plan/mod.rs",
            "fn f<'a>(c: char) -> bool { c == '\"' || c == '\\'' } // std::env",
        ),
        (
            "run/init.rs",
            "use crate::{plan::Step, sys}; use super::protocol::Report;",
        ),
        (
            "sys/mount.rs",
            "fn f() { unsafe { libc::sync() } } use super::path;",
        ),
        ("config/mounts.rs", "use oci_spec::runtime::Mount;"),
        ("cli.rs", "use clap::Parser;"),
    ];
    for (file, text) in good {
        assert_eq!(
            violations(file, text),
            Vec::<String>::new(),
            "{file}: {text}"
        );
    }
}
