//! Holds the manual pages under `man/` to the definitions of the command line.
//! `BLESS=1 cargo test --test man` renews them.

use std::collections::BTreeMap;
use std::path::Path;

use clap_mangen::Man;
use sampan::cli;
use sampan::commands::VERBS;

/// Every page: file name and text.
fn pages() -> BTreeMap<String, String> {
    let mut root = cli::definition(VERBS);
    root.build();
    let mut pages = BTreeMap::new();
    let mut add = |command: &clap::Command| {
        let name = command
            .get_display_name()
            .unwrap_or(command.get_name())
            .to_owned();
        let page = Man::new(command.clone())
            .title(name.to_uppercase())
            .section("8")
            .source("sampan")
            .manual("System Administration");
        let mut text = Vec::new();
        page.render(&mut text).unwrap();
        pages.insert(format!("{name}.8"), String::from_utf8(text).unwrap());
    };
    root.get_subcommands().for_each(&mut add);
    add(&root);
    pages
}

#[test]
fn pages_are_current() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    let pages = pages();
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(&dir).unwrap();
        for (name, text) in &pages {
            std::fs::write(dir.join(name), text).unwrap();
        }
    }
    for (name, text) in &pages {
        let found = std::fs::read_to_string(dir.join(name)).unwrap_or_default();
        assert!(
            found == *text,
            "man/{name} is not current; BLESS=1 cargo test --test man renews it"
        );
    }
    let mut found: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, pages.into_keys().collect::<Vec<_>>());
}

/// What an annotation may do is told where its reader looks.
#[test]
fn properties_that_annotations_may_set_are_listed() {
    let page = &pages()["sampan.8"];
    for allowed in sampan::plan::systemd::properties::ALLOWED {
        assert!(page.contains(allowed.name), "{allowed:?}");
    }
}
