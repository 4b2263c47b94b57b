//! Compares the text of the plan, or the error, of each config with the golden text beside this
//! file. `BLESS=1 cargo test --test plans` writes the golden texts again. Read the diff before you
//! commit it.

mod any;
mod case;
mod properties;
mod schema;

use case::Case;

/// Every case must have a golden text, and every golden text a case.
#[test]
fn plans_match_their_golden_texts() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = Vec::new();
    for case in Case::all() {
        let got = case.text();
        if bless {
            std::fs::write(case.golden(), &got).unwrap();
            continue;
        }
        let kept = std::fs::read_to_string(case.golden()).unwrap_or_default();
        if kept != got {
            wrong.push(format!("== {} ==\n{}", case.name, difference(&kept, &got)));
        }
    }
    let orphans = case::orphans();
    assert!(orphans.is_empty(), "texts without a case: {orphans:?}");
    let count = wrong.len();
    assert!(
        wrong.is_empty(),
        "{count} texts differ (BLESS=1 writes them again):\n{}",
        wrong.join("\n")
    );
}

/// The lines of one text that the other lacks.
fn difference(kept: &str, got: &str) -> String {
    let lacks = |text: &str, line: &str| !text.lines().any(|other| other == line);
    let gone = kept.lines().filter(|line| lacks(got, line));
    let new = got.lines().filter(|line| lacks(kept, line));
    let lines = gone
        .map(|line| format!("- {line}"))
        .chain(new.map(|line| format!("+ {line}")));
    lines.collect::<Vec<_>>().join("\n")
}

/// There are cases for valid configs and for errors.
#[test]
fn cases_cover_plans_and_errors() {
    let cases = Case::all();
    let errors = cases
        .iter()
        .filter(|case| case.text().starts_with("error "))
        .count();
    assert!(errors >= 20 && cases.len() - errors >= 40, "{errors}");
}

/// A config must not control the terminal that shows its plan.
#[test]
fn no_text_has_control_characters() {
    for case in Case::all() {
        let text = case.text();
        let odd = text.chars().find(|&c| c.is_control() && c != '\n');
        assert_eq!(odd, None, "{}: {text}", case.name);
    }
}
