//! Keeps SECURITY.md and the tests consistent: every test that it names exists, and it names every
//! attack that a test replays.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Files of cases that contain only attacks. Files named `cve_…` do too.
const ATTACKS: [&str; 9] = [
    "attacks",
    "exchanged",
    "hardening",
    "keyring",
    "nested_cgroups",
    "own_binary",
    "own_mount",
    "own_namespaces",
    "root_switch",
];

/// The beginning of the last cell of an advisory that no test replays.
const CANNOT: &str = "Cannot apply: ";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of every table whose header begins with the cell `title`.
fn rows(page: &str, title: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        let Some(line) = line.strip_prefix('|') else {
            inside = false;
            continue;
        };
        let cells: Vec<_> = line
            .trim_end_matches('|')
            .split('|')
            .map(str::trim)
            .collect();
        if inside && !cells[0].starts_with("---") {
            rows.push(cells.iter().map(ToString::to_string).collect());
        }
        inside |= cells[0] == title;
    }
    assert!(!rows.is_empty(), "no table of {title}");
    rows
}

fn advisories(page: &str) -> Vec<Vec<String>> {
    let rows = rows(page, "Advisory");
    for row in &rows {
        assert_eq!(row.len(), 3, "{row:?}");
    }
    rows
}

/// The names of tests between backticks.
fn tests_in(text: &str) -> Vec<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|name| name.contains("::")).collect()
}

/// The tests that the tables name.
fn tests_of(page: &str) -> BTreeSet<&str> {
    let rows = page.lines().filter(|line| line.starts_with('|'));
    rows.flat_map(tests_in).collect()
}

/// The cases for the real binary, as `area::name`, from the lists in their files.
fn cases() -> BTreeSet<String> {
    let mut cases = BTreeSet::new();
    for entry in fs::read_dir(root().join("runtime-tests/src/cases")).unwrap() {
        let path = entry.unwrap().path();
        let area = path.file_stem().unwrap().to_str().unwrap();
        let text = read(&path);
        let Some((_, list)) = text.split_once("TESTS: &[Test] = tests![") else {
            continue;
        };
        let list = list.split("];").next().unwrap();
        for line in list.split([',', '[', '\n']).map(str::trim) {
            let is_name =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            if !line.is_empty() && line.bytes().all(is_name) {
                cases.insert(format!("{area}::{line}"));
            }
        }
    }
    assert!(cases.len() > 500, "{} cases", cases.len());
    cases
}

/// Whether the case calls `exec`, as far as its own function shows.
fn calls_exec(case: &str) -> bool {
    let Some((area, name)) = case
        .split_once("::")
        .filter(|(area, _)| !area.contains('/'))
    else {
        return false;
    };
    let text = read(&root().join(format!("runtime-tests/src/cases/{area}.rs")));
    let body = text.split_once(&format!("\nfn {name}(")).expect(case).1;
    let body = body.split("\n}\n").next().unwrap_or(body);
    let calls = [".exec(", ".exec_with(", ".exec_process(", "\"exec\""];
    calls.iter().any(|call| body.contains(call))
}

/// Whether a test exists: a case, or a test function in a file in `src/`.
fn exists(name: &str, cases: &BTreeSet<String>) -> bool {
    match name.split_once(".rs::") {
        None => cases.contains(name),
        Some((file, function)) => {
            let text = read(&root().join(format!("{file}.rs")));
            text.contains(&format!("#[test]\n    fn {function}()"))
                || text.contains(&format!("#[test]\nfn {function}()"))
        }
    }
}

#[test]
fn every_named_test_exists() {
    let (page, cases) = (read(&root().join("SECURITY.md")), cases());
    let missing: Vec<_> = tests_of(&page)
        .into_iter()
        .filter(|name| !exists(name, &cases))
        .collect();
    assert!(
        missing.is_empty(),
        "SECURITY.md names tests that do not exist: {missing:#?}"
    );
}

#[test]
fn every_replayed_attack_is_named() {
    let page = read(&root().join("SECURITY.md"));
    let named = tests_of(&page);
    let is_attack = |case: &str| {
        let (area, name) = case.split_once("::").unwrap();
        ATTACKS.contains(&area) || area.starts_with("cve_") || name.starts_with("cve_")
    };
    let cases = cases();
    let unnamed: Vec<_> = cases
        .iter()
        .filter(|case| is_attack(case) && !named.contains(case.as_str()))
        .collect();
    assert!(
        unnamed.is_empty(),
        "SECURITY.md has no row for {unnamed:#?}"
    );
}

#[test]
fn each_advisory_appears_once_and_is_replayed_or_cannot_apply() {
    let page = read(&root().join("SECURITY.md"));
    let mut seen = BTreeSet::new();
    for row in advisories(&page) {
        for id in row[0].split(", ") {
            let known = ["CVE-", "GHSA-"].iter().any(|kind| id.starts_with(kind));
            assert!(known, "{id:?} is not an advisory");
            assert!(seen.insert(id.to_owned()), "{id} appears twice");
        }
        assert!(!row[1].is_empty(), "{row:?} does not say what happened");
        let names = tests_in(&row[2]);
        match row[2].strip_prefix(CANNOT) {
            Some(why) => assert!(!why.is_empty() && names.is_empty(), "{row:?}"),
            None => {
                let listed: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
                assert!(
                    !names.is_empty(),
                    "{row:?} has neither a test nor {CANNOT:?}"
                );
                assert_eq!(row[2], listed.join(", "), "tests and nothing else");
            }
        }
    }
}

#[test]
fn a_case_with_a_cve_number_is_in_its_row() {
    let page = read(&root().join("SECURITY.md"));
    let rows = advisories(&page);
    let mut by_id = BTreeMap::new();
    for row in &rows {
        for id in row[0].split(", ") {
            by_id.insert(id, tests_in(&row[2]));
        }
    }
    for case in cases() {
        let (_, name) = case.split_once("::").unwrap();
        let mut words = name.split('_');
        if words.next() != Some("cve") {
            continue;
        }
        let id = format!("CVE-{}-{}", words.next().unwrap(), words.next().unwrap());
        let row = by_id.get(id.as_str());
        let named = row.is_some_and(|tests| tests.contains(&case.as_str()));
        assert!(named, "the row of {id} does not name {case}");
    }
}

#[test]
fn an_advisory_about_exec_is_replayed_by_exec() {
    let page = read(&root().join("SECURITY.md"));
    let about = |row: &Vec<String>| row[1].contains("`exec") && !row[2].starts_with(CANNOT);
    let rows: Vec<_> = advisories(&page).into_iter().filter(about).collect();
    assert!(rows.len() > 4, "{rows:#?}");
    for row in rows {
        let replayed = tests_in(&row[2]).into_iter().any(calls_exec);
        assert!(replayed, "no case of {} calls exec", row[0]);
    }
}
