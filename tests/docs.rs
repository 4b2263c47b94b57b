//! Keeps the documents and the tree consistent: every path that a document names exists.

use std::fs;
use std::path::Path;

const DOCUMENTS: &[&str] = &[
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "README.md",
    "SECURITY.md",
    "docs/comparison.md",
    "docs/engines.md",
    "docs/errors.md",
    "docs/performance.md",
    "docs/plan.md",
    "docs/properties.md",
    "docs/release.md",
    "docs/reliability.md",
];

/// The documents of this directory count too.
const RECORDS: &str = "docs/decisions";

/// The directories of the repository that documents name in backticks.
const DIRECTORIES: &[&str] = &[
    "src/",
    "tests/",
    "scripts/",
    "docs/",
    "runtime-tests/",
    "man/",
    "fuzz/",
    "chaos/",
    "bench/",
];

/// A placeholder such as `src/commands/VERB.rs`, a pattern, a command with arguments, or a test,
/// which `tests/security.rs` looks up.
fn is_pattern(path: &str) -> bool {
    path.contains(['*', ' ', '<', '…'])
        || path.contains("::")
        || path.contains("VERB")
        || path.contains("NAME")
}

#[test]
fn every_path_that_a_document_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut missing = Vec::new();
    let mut seen = 0;
    let records = fs::read_dir(root.join(RECORDS)).expect(RECORDS);
    let records = records.map(|entry| entry.expect(RECORDS).file_name());
    let records: Vec<_> = records
        .map(|name| format!("{RECORDS}/{}", name.display()))
        .collect();
    assert!(records.len() > 5, "{records:?}");
    let documents = DOCUMENTS.iter().copied();
    for document in documents.chain(records.iter().map(String::as_str)) {
        let text = fs::read_to_string(root.join(document)).expect(document);
        // Every second piece between backticks is code.
        let named = text.split('`').skip(1).step_by(2);
        for path in named.filter(|path| DIRECTORIES.iter().any(|it| path.starts_with(it))) {
            if is_pattern(path) {
                continue;
            }
            seen += 1;
            if !root.join(path).exists() {
                missing.push(format!("{document}: {path}"));
            }
        }
    }
    assert!(seen > 50, "{seen} paths");
    assert!(missing.is_empty(), "{missing:#?}");
}

/// The tables of README.md are excerpts: its rows of figures stand in the full tables too.
#[test]
fn figures_of_the_readme_are_those_of_the_documents() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| fs::read_to_string(root.join(name)).expect(name);
    let readme = read("README.md");
    let full = read("docs/performance.md") + &read("docs/comparison.md");
    let is_row = |line: &&str| line.starts_with("| ");
    let messages = readme.find("**Messages.**").expect("the table of messages");
    let rows: Vec<_> = readme[..messages].lines().filter(is_row).collect();
    assert!(rows.len() > 10, "{rows:?}");
    for row in rows {
        assert!(full.lines().any(|line| line == row), "{row}");
    }
    let errors = read("docs/errors.md");
    let answers: Vec<_> = readme[messages..]
        .lines()
        .filter(is_row)
        .skip(1)
        .flat_map(|row| row.trim_matches('|').split(" | ").skip(1))
        .collect();
    assert_eq!(answers.len(), 9, "{answers:?}");
    for answer in answers {
        let cell = format!(" | {} | ", answer.trim());
        assert!(errors.contains(&cell), "{answer}: scripts/errors writes it");
    }
}
