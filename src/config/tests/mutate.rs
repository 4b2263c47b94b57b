//! Random changes of a valid config: loading must not panic, and its errors must name a place.

use super::mutator::{Random, mutate};
use super::*;
use crate::config::default::default_config;

/// An error begins with a line or with a property of the top level.
fn names_a_place(error: &str) -> bool {
    const TOP: [&str; 14] = [
        "line ",
        "ociVersion",
        "root",
        "mounts",
        "process",
        "hostname",
        "domainname",
        "hooks",
        "annotations",
        "linux",
        "vm",
        "windows",
        "solaris",
        "zos",
    ];
    TOP.iter().any(|name| error.starts_with(name)) && error.contains(": ")
}

fn check(text: &[u8], tally: &mut [usize; 2]) {
    match spec::config(text, Path::new(BUNDLE)) {
        Ok(config) => {
            tally[0] += 1;
            assert!(config.root.path.is_absolute());
        }
        Err(error) => {
            tally[1] += 1;
            let error = error.to_string();
            let text = String::from_utf8_lossy(text);
            assert!(names_a_place(&error), "{error}\n{text}");
        }
    }
}

#[test]
fn mutated_configs_never_panic_and_errors_name_a_place() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut tally = [0; 2];
    for base in [
        ENGINE.to_owned(),
        default_config(None),
        default_config(Some((1000, 1000))),
    ] {
        let base = json(&base);
        for _ in 0..600 {
            let mut config = base.clone();
            for _ in 0..=random.below(3) {
                mutate(&mut config, &mut random);
            }
            check(config.to_string().as_bytes(), &mut tally);
        }
    }
    // Both outcomes must be common; otherwise the mutations test nothing.
    assert!(tally[0] > 200 && tally[1] > 200, "{tally:?}");
}

#[test]
fn cut_and_corrupted_text_never_panics() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut tally = [0; 2];
    for _ in 0..500 {
        let mut text = ENGINE.as_bytes().to_vec();
        text.truncate(random.below(text.len()));
        check(&text, &mut tally);
        let mut text = ENGINE.as_bytes().to_vec();
        let at = random.below(text.len());
        text[at] = b"\"\\{}[],:0\xff\x00u"[random.below(12)];
        check(&text, &mut tally);
    }
    assert!(tally[0] > 20 && tally[1] > 500, "{tally:?}");
}
