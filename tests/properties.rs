//! `docs/properties.md` has each property of the schema once, with tests that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use sampan::spec::properties::{UNREAD, objects};

const TABLE: &str = include_str!("../docs/properties.md");

/// The cells of each row, without backticks.
fn rows() -> Vec<Vec<String>> {
    let lines = TABLE.lines().filter(|line| line.starts_with('|'));
    let cells = |line: &str| {
        let cells = line.trim_matches('|').split('|');
        cells
            .map(|cell| cell.replace('`', "").trim().to_owned())
            .collect()
    };
    lines.skip(2).map(cells).collect()
}

fn joined(object: &str, name: &str) -> String {
    if object.is_empty() {
        name.to_owned()
    } else {
        format!("{object}.{name}")
    }
}

#[test]
fn each_property_has_one_row() {
    let mut listed = BTreeSet::new();
    for row in rows() {
        for name in row[1].split(' ') {
            let property = joined(&row[0], name);
            assert!(listed.insert(property.clone()), "{property} has two rows");
            let unread = UNREAD.iter().any(|(unread, _)| *unread == property);
            assert_eq!(row[2] == "named", unread, "{property}");
        }
    }
    let known: BTreeSet<_> = objects()
        .flat_map(|(object, names)| names.into_iter().map(move |name| joined(object, name)))
        .collect();
    assert_eq!(listed, known);
}

#[test]
fn each_row_has_an_outcome_and_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for row in rows() {
        let outcomes = ["works", "warns", "refused", "named"];
        assert!(outcomes.contains(&row[2].as_str()), "{row:?}");
        for test in row[3].split(' ') {
            let (file, name) = test.rsplit_once("::").expect("FILE::NAME");
            let file = match file.strip_prefix("config::") {
                Some(file) => format!("src/config/tests/{file}.rs"),
                None if file == "properties" => "src/spec/properties.rs".to_owned(),
                None => format!("runtime-tests/src/cases/{file}.rs"),
            };
            let text = fs::read_to_string(root.join(&file)).expect(&file);
            assert!(
                text.contains(&format!("fn {name}(")),
                "{test} is not in {file}"
            );
        }
    }
}
