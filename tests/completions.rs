//! Compares the completions in `completions/` with the definitions of the command line, and tries
//! them in the shells. `BLESS=1 cargo test --test completions` writes them again.

#[path = "completions/bash.rs"]
mod bash;
#[path = "completions/fish.rs"]
mod fish;
#[path = "completions/shells.rs"]
mod shells;
#[path = "completions/zsh.rs"]
mod zsh;

use std::path::{Path, PathBuf};

use clap::{Arg, Command};
use sampan::cli;
use sampan::commands::VERBS;

/// What is completed in the place of a value.
#[derive(Clone, PartialEq)]
enum Value {
    Words(Vec<String>),
    Containers,
    Commands,
    Files,
    Directories,
    /// Anything, for which nothing is offered.
    Free,
}

struct Flag {
    short: Option<char>,
    long: Option<String>,
    help: String,
    /// `None` for a switch.
    value: Option<Value>,
}

impl Flag {
    /// `-s` and `--long`.
    fn spellings(&self) -> Vec<String> {
        let short = self.short.map(|letter| format!("-{letter}"));
        let long = self.long.as_ref().map(|name| format!("--{name}"));
        short.into_iter().chain(long).collect()
    }
}

struct Argument {
    name: String,
    value: Value,
}

/// A verb; the first one is empty and has the flags before the verb.
struct Verb {
    name: String,
    help: String,
    flags: Vec<Flag>,
    arguments: Vec<Argument>,
}

const SIGNALS: &[&str] = &[
    "HUP", "INT", "QUIT", "KILL", "USR1", "USR2", "TERM", "CONT", "STOP", "WINCH",
];

fn verbs() -> Vec<Verb> {
    let mut root = cli::definition(VERBS);
    root.build();
    let mut help = verb("help", &Command::new("help").about("Print help"));
    help.arguments.push(Argument {
        name: "COMMAND".to_owned(),
        value: Value::Commands,
    });
    let named = root
        .get_subcommands()
        .map(|command| verb(command.get_name(), command));
    std::iter::once(verb("", &root))
        .chain(named)
        .chain([help])
        .collect()
}

fn verb(name: &str, command: &Command) -> Verb {
    let flags = command.get_arguments().filter(|arg| !arg.is_positional());
    Verb {
        name: name.to_owned(),
        help: command
            .get_about()
            .map(ToString::to_string)
            .unwrap_or_default(),
        flags: flags.map(flag).collect(),
        arguments: command
            .get_positionals()
            .map(|arg| Argument {
                name: value_name(arg),
                value: value(name, arg),
            })
            .collect(),
    }
}

fn flag(arg: &Arg) -> Flag {
    let takes_value = arg.get_action().takes_values();
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    Flag {
        short: arg.get_short(),
        long: arg.get_long().map(str::to_owned),
        help: help
            .split(['\n', ';'])
            .next()
            .unwrap_or_default()
            .to_owned(),
        value: takes_value.then(|| value("", arg)),
    }
}

fn value_name(arg: &Arg) -> String {
    arg.get_value_names().unwrap()[0].to_string()
}

/// What the name of a value in the help says about it.
fn value(verb: &str, arg: &Arg) -> Value {
    let choices = arg.get_possible_values();
    if !choices.is_empty() {
        let words = choices.iter().map(|choice| choice.get_name().to_owned());
        return Value::Words(words.collect());
    }
    let words = |words: &[&str]| Value::Words(words.iter().map(ToString::to_string).collect());
    match value_name(arg).as_str() {
        // The name of a new container is the user's to choose.
        "ID" if ["create", "run", "explain"].contains(&verb) => Value::Free,
        "ID" => Value::Containers,
        "SIGNAL" => words(SIGNALS),
        "FORMAT" => words(&["text", "json"]),
        "BOOL" => words(&["true", "false", "auto"]),
        "DIR" => Value::Directories,
        "FILE" | "PATH" | "TARGET" => Value::Files,
        _ => Value::Free,
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("completions")
}

const NOTE: &str =
    "Generated from the definition of the command line: BLESS=1 cargo test --test completions";

#[test]
fn completions_are_current() {
    let verbs = verbs();
    for (name, text) in [
        ("sampan.bash", bash::script(&verbs)),
        ("_sampan", zsh::script(&verbs)),
        ("sampan.fish", fish::script(&verbs)),
    ] {
        let path = directory().join(name);
        if std::env::var_os("BLESS").is_some() {
            std::fs::create_dir_all(directory()).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == text,
            "completions/{name} is not current; BLESS=1 cargo test --test completions writes it"
        );
    }
}
