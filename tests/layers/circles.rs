//! No files of `src/` may use each other in a circle. A module and the modules in it may: the outer
//! one presents them, and they share its types.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{mentions, module_of};
use crate::sources;

/// From each module to the modules that it names.
type Uses = BTreeMap<String, BTreeSet<String>>;

/// `plan/mounts.rs` is `crate::plan::mounts`.
fn module(file: &str) -> String {
    module_of(file).join("::")
}

fn contains(outer: &str, inner: &str) -> bool {
    let rest = inner.strip_prefix(outer);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// What each file uses outside the modules that contain it and those that it contains.
fn uses(files: &[(String, String)]) -> Uses {
    let modules: Vec<String> = files.iter().map(|(file, _)| module(file)).collect();
    let owner = |path: &str| {
        let above = modules.iter().filter(|module| contains(module, path));
        above.max_by_key(|module| module.len()).cloned()
    };
    let used = |own: &str, file: &str, text: &str| {
        let mentioned = mentions(file, text);
        let used = mentioned.iter().filter_map(|mention| owner(&mention.path));
        used.filter(|other| !contains(other, own) && !contains(own, other))
            .collect()
    };
    files
        .iter()
        .map(|(file, text)| (module(file), used(&module(file), file, text)))
        .collect()
}

/// The modules that can be reached from `start`.
fn reached(uses: &Uses, start: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut next = vec![start];
    while let Some(module) = next.pop() {
        for other in uses.get(module).into_iter().flatten() {
            if found.insert(other.clone()) {
                next.push(other);
            }
        }
    }
    found
}

/// Every module that reaches itself, with the modules of its circle that it uses.
fn circles(files: &[(String, String)]) -> Vec<String> {
    let uses = uses(files);
    let reach = |module: &str| reached(&uses, module);
    let in_circle = uses.keys().filter(|module| reach(module).contains(*module));
    let lines = in_circle.map(|module| {
        let back = uses[module].iter();
        let back: Vec<_> = back
            .filter(|other| reach(other).contains(module))
            .map(String::as_str)
            .collect();
        format!("{module} uses {}", back.join(", "))
    });
    lines.collect()
}

/// Whether a file is a module of tests.
fn is_test(file: &str) -> bool {
    file.ends_with("/tests.rs") || file.contains("/tests/")
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let mut files = sources();
    files.retain(|(file, _)| !is_test(file));
    assert!(files.len() > 100, "{} files", files.len());
    let circles = circles(&files);
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

#[test]
fn a_circle_is_found_and_an_outer_module_is_none() {
    let files = |texts: &[(&str, &str)]| -> Vec<(String, String)> {
        let owned = |(file, text): &(&str, &str)| ((*file).to_owned(), (*text).to_owned());
        texts.iter().map(owned).collect()
    };
    let circle = [
        ("a.rs", "use crate::b::f;"),
        ("b.rs", "fn f() { crate::c::d::g() }"),
        ("c/mod.rs", ""),
        ("c/d.rs", "use super::super::a::X;"),
        ("e.rs", "use crate::a::X;"),
    ];
    assert_eq!(
        circles(&files(&circle)),
        [
            "crate::a uses crate::b",
            "crate::b uses crate::c::d",
            "crate::c::d uses crate::a",
        ]
    );
    let outer = [
        ("a/mod.rs", "mod b; pub use b::X;"),
        ("a/b.rs", "use super::Y; use crate::a::Z;"),
    ];
    assert_eq!(circles(&files(&outer)), Vec::<String>::new());
}
