//! Compares the manual pages in `man/` with the definitions of the command line.
//! `BLESS=1 cargo test --test man` writes them again.
//!
//! A page begins with the name, the description and the flags from the definition. The hand-written
//! tail in `man/tails/` follows: exit status, files, environment, examples and references.
//! `runtime-tests` executes the examples.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Arg, Command};
use clap_mangen::Man;
use sampan::cli;
use sampan::commands::VERBS;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("man")
}

/// All pages: file name and text.
fn pages() -> BTreeMap<String, String> {
    let mut root = cli::definition(VERBS);
    root.build();
    let mut pages: BTreeMap<_, _> = root.get_subcommands().map(page).collect();
    pages.extend([page(&root)]);
    pages
}

fn page(command: &Command) -> (String, String) {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .section("8")
        .source("sampan")
        .manual("System Administration");
    let sections = [Man::render_description_section, Man::render_options_section];
    let mut text = part(&man, Man::render_title);
    text += &without_preamble(part(&man, Man::render_name_section));
    text += &synopsis(command);
    for section in sections {
        text += &without_preamble(part(&man, section));
    }
    if command.has_subcommands() {
        text += &without_preamble(part(&man, Man::render_subcommands_section));
    }
    text += &tail(name);
    (format!("{name}.8"), text)
}

fn part(man: &Man, render: impl Fn(&Man, &mut dyn Write) -> std::io::Result<()>) -> String {
    let mut text = Vec::new();
    render(man, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// The part without its preamble, the definition of quotes, which a page needs only once.
fn without_preamble(part: String) -> String {
    part[part.find(".SH").unwrap()..].to_owned()
}

/// The synopsis without flags, which have their own section.
fn synopsis(command: &Command) -> String {
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let mut line = format!(".SH SYNOPSIS\n\\fB{name}\\fR [\\fIOPTIONS\\fR]");
    for arg in command.get_positionals() {
        line += &positional(arg);
    }
    if command.has_subcommands() {
        line += " \\fICOMMAND\\fR";
    }
    line + "\n"
}

fn positional(arg: &Arg) -> String {
    let name = arg.get_value_names().unwrap()[0].replace('-', "\\-");
    let more = if arg.is_trailing_var_arg_set() {
        "..."
    } else {
        ""
    };
    if arg.is_required_set() {
        format!(" \\fI{name}\\fR{more}")
    } else {
        format!(" [\\fI{name}\\fR{more}]")
    }
}

fn tail(name: &str) -> String {
    let path = directory().join("tails").join(format!("{name}.roff"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn pages_are_current() {
    let dir = directory();
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
            "man/{name} is not current; BLESS=1 cargo test --test man writes it again"
        );
    }
    let tails = dir.join("tails");
    let mut names: Vec<_> = pages.keys().cloned().collect();
    names.extend([CONFIG_PAGE, ERRORS_PAGE].map(str::to_owned));
    names.sort();
    assert_eq!(files(&dir, &[".5", ".7", ".8"]), names);
    let tail_of = |page: &String| page.replace(".8", ".roff");
    assert_eq!(
        files(&tails, &[".roff"]),
        pages.keys().map(tail_of).collect::<Vec<_>>()
    );
}

/// The page without a command, which is written by hand.
const CONFIG_PAGE: &str = "sampan-config.5";

/// The same. `tests/errors.rs` compares it with the codes.
const ERRORS_PAGE: &str = "sampan-errors.7";

/// The names of the files in a directory. All must have one of these endings.
fn files(directory: &Path, endings: &[&str]) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    let mut names: Vec<_> = files
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    let is_page = |name: &String| endings.iter().any(|end| name.ends_with(end));
    assert!(names.iter().all(is_page), "{names:?}");
    names.sort();
    names
}

/// A page must have the sections that the definition of the command line does not provide.
#[test]
fn every_page_has_its_sections() {
    for (name, page) in pages() {
        for section in [
            "SYNOPSIS",
            "DESCRIPTION",
            "EXIT STATUS",
            "EXAMPLES",
            "SEE ALSO",
        ] {
            let heading = format!(".SH {}\n", section);
            let quoted = format!(".SH \"{section}\"\n");
            assert!(
                page.contains(&heading) || page.contains(&quoted),
                "{name}: {section}"
            );
        }
        let verb = name
            .strip_prefix("sampan-")
            .and_then(|name| name.strip_suffix(".8"));
        let call = verb.map_or("sampan ".to_owned(), |verb| format!("sampan {verb}"));
        let mut examples = page.lines().filter(|line| line.starts_with("# "));
        assert!(
            examples.any(|line| line.contains(&call)),
            "{name}: no example"
        );
    }
}

/// The manual page lists the properties, because that is where users look for them.
#[test]
fn properties_that_annotations_may_set_are_listed() {
    let page = &pages()["sampan.8"];
    for allowed in sampan::plan::systemd::properties::allowed() {
        assert!(page.contains(allowed.name), "{allowed:?}");
    }
}

/// What the code does with limits and annotations stands in the page about the config.
#[test]
fn the_page_of_the_config_is_complete() {
    let page = std::fs::read_to_string(directory().join(CONFIG_PAGE)).unwrap();
    // What the page says of a name, without its markup.
    let plain = page
        .replace("\\-", "-")
        .replace("property. NAME", "property.");
    for annotation in sampan::plan::annotations::HONOURED {
        assert!(plain.contains(annotation), "{annotation}");
    }
    let source = include_str!("../src/plan/cgroup/resources.rs");
    let written = source.split("write(\"").skip(1);
    let files: Vec<_> = written.filter_map(|rest| rest.split('"').next()).collect();
    assert!(files.len() > 10, "{files:?}");
    for file in files {
        assert!(plain.contains(file), "{file}");
    }
}
