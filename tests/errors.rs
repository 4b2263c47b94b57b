//! Keeps the codes of failures, their manual page and their tests consistent.

use std::path::Path;

use sampan::error::Code;

const PAGE: &str = include_str!("../man/sampan-errors.7");

/// How the code of a warning begins, at the start of its entry.
const WARNING: &str = ".B warning.";

fn is_warning(entry: &str) -> bool {
    entry.starts_with(&WARNING[3..])
}

/// The parts of an entry behind the code: cause, message and remedy.
fn parts(entry: &str) -> Vec<&str> {
    let (_, text) = entry.split_once('\n').expect("a line with the code");
    text.split(".IP\n").map(str::trim_end).collect()
}

#[test]
fn every_code_has_an_entry() {
    let (_, codes) = PAGE.split_once(".SH CODES\n").expect("the list");
    let (codes, _) = codes.split_once(".SH EXAMPLES\n").expect("its end");
    let (failures, warnings) = codes.split_once(".SH WARNINGS\n").expect("the warnings");
    assert!(warnings.split(".TP\n.B ").skip(1).all(is_warning) && !failures.contains(WARNING));
    let entries: Vec<&str> = [failures, warnings]
        .into_iter()
        .flat_map(|list| list.split(".TP\n.B ").skip(1))
        .collect();
    let named: Vec<&str> = entries
        .iter()
        .filter_map(|entry| entry.lines().next())
        .collect();
    let words: Vec<&str> = Code::ALL.iter().map(|code| code.word()).collect();
    assert_eq!(named, words);
    for entry in entries {
        let [cause, message, remedy] = parts(entry)[..] else {
            panic!("not cause, message and remedy: {entry}");
        };
        assert!(
            message.starts_with("\\fI") && message.ends_with("\\fR"),
            "{entry}"
        );
        assert!(cause.ends_with('.') && remedy.ends_with('.'), "{entry}");
    }
}

/// A test that provokes a failure names its code, and compares its message with the page.
#[test]
fn every_code_has_a_test() {
    let mut tests = String::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in [
        "runtime-tests/src/cases/codes.rs",
        "runtime-tests/src/cases/warnings.rs",
        "src/cgroup/dbus.rs",
        "src/host.rs",
        "src/plan/cgroup/tests.rs",
        "src/plan/labels.rs",
        "src/run/failure/code.rs",
        "src/run/runtime/clone.rs",
        "src/run/runtime/confined/status.rs",
        "src/run/runtime/serve_init.rs",
    ] {
        tests += &std::fs::read_to_string(root.join(file)).expect(file);
    }
    let own = std::fs::read_to_string(root.join("src/error/code.rs")).expect("the codes");
    let (_, own) = own.split_once("mod tests {").expect("their tests");
    tests += own;
    for code in Code::ALL {
        let word = format!("\"{}\"", code.word());
        assert!(tests.contains(&word), "no test of {word}");
    }
}
