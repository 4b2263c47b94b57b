use super::*;
use crate::commands::{VERBS, Verb};

fn split(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

fn parsed(line: &str) -> Result<Parsed<Box<dyn Verb>>, Error> {
    parse(VERBS, split(line))
}

fn error(line: &str) -> String {
    match parsed(line) {
        Err(error) => error.to_string(),
        Ok(parsed) => panic!("{line}: {parsed:?}"),
    }
}

fn printed(line: &str) -> String {
    match parsed(line) {
        Ok(Parsed::Print(text)) => text,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn definitions_are_consistent() {
    definition(VERBS).debug_assert();
}

/// What `flags!` reads in the attributes is what clap makes of them.
#[test]
fn the_normaliser_knows_what_clap_knows() {
    let mut root = definition(VERBS);
    root.build();
    let global = <Global as flags::Flags>::FIELDS;
    check_flags(&root, global);
    for (command, verb) in root.get_subcommands().zip(VERBS) {
        assert_eq!(command.get_name(), verb.name);
        check_flags(command, verb.fields);
    }
}

fn check_flags(command: &clap::Command, fields: &'static [flags::Field]) {
    let mut rest = false;
    for arg in command.get_arguments() {
        let takes_value = arg.get_action().takes_values();
        rest |= arg.is_trailing_var_arg_set();
        if arg.get_long() == Some("help") {
            continue;
        }
        if let Some(name) = arg.get_long() {
            let known = flags::find(fields, &|arg| arg.is_long(name.as_bytes()));
            let known = known.unwrap_or_else(|| panic!("--{name}"));
            assert_eq!(known.takes_value, takes_value, "--{name}");
        }
        if let Some(letter) = arg.get_short() {
            let known = flags::find(fields, &|arg| arg.is_short_with_value(letter as u8));
            assert_eq!(known.is_some(), takes_value, "-{letter}");
        }
    }
    let known = flags::find(fields, &|arg| arg.takes_rest).is_some();
    assert_eq!(known, rest, "{}", command.get_name());
}

#[test]
fn a_missing_value_has_the_words_that_podman_looks_for() {
    for (line, flag) in [
        ("--root", "--root"),
        ("-log", "--log"),
        ("create --bundle", "--bundle"),
        ("create -b", "--bundle"),
        ("create --preserve-fds", "--preserve-fds"),
        ("list --format", "--format"),
    ] {
        let text = error(line);
        assert!(
            text.contains(&format!("flag needs an argument: {flag}")),
            "{line}: {text}"
        );
    }
}

#[test]
fn version_has_one_line_with_the_word() {
    for line in ["--version", "-v", "-V", "-version"] {
        let text = printed(line);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[0],
            concat!("sampan version ", env!("CARGO_PKG_VERSION"))
        );
        assert!(lines[1].starts_with("commit: "));
        assert_eq!(lines[2], format!("spec: {SPEC_VERSION}"));
        let args = normalise::normalise(VERBS, split(line)).unwrap();
        assert!(verbs::parse_by_one(VERBS, &args).is_some(), "{line}");
        assert_eq!(text.matches("version").count(), 1);
    }
}

#[test]
fn help_of_every_command() {
    assert!(printed("--help").contains("Usage: sampan"));
    let root = definition(VERBS);
    for command in root.get_subcommands() {
        let name = command.get_name();
        let about = command.get_about().unwrap().to_string();
        for help in ["--help", "-h", "-help"] {
            let text = printed(&format!("{name} {help}"));
            assert!(text.contains(&format!("Usage: sampan {name}")), "{text}");
            assert!(text.starts_with(&about), "{text}");
        }
    }
}

#[test]
fn one_definition_reads_what_all_of_them_read() {
    for line in [
        "state box",
        "--root=/r --log=/l --log-format=json --debug create --bundle=/b --pid-file=/p box",
        "--log-level=debug --rootless=auto --cgroup-manager=disabled state box",
        "--log=/a --root=/r --log=/b --root=/s state box",
        "--systemd-cgroup run -d -b /b --preserve-fds=2 --preserve-fds=3 box",
        "exec -t -e A=B -e C=D -u 1:2 --cap=X box sh -c --help",
        "exec --process=/p --detach box",
        "kill --all box KILL",
        "delete --force box",
        "update --memory=1 --resources=- box",
        "ps --format=json box -ef",
        "list -q",
        "events --stats box",
        "mounts add box /file",
        "create box",
        "create --no-pivot --preserve-fds=2 --console-socket=/c -b /b box",
        "run --keep --no-subreaper box",
        "exec box true",
        "exec --cwd=/ --user=1 --pid-file=/p box true --cwd=/x --tty",
        "exec --detach --process=/p --pid-file=/f box",
        "spec --rootless",
        "features",
        "explain --json",
    ] {
        let args = split(line);
        let all = verbs::parse_by_all(VERBS, &args).expect(line);
        let one = verbs::parse_by_one(VERBS, &args).expect(line);
        assert_eq!(
            format!("{one:?}"),
            format!("{:?}", Parsed::Run(all)),
            "{line}"
        );
    }
}

#[test]
fn wrong_lines_and_help_are_left_to_the_definition_of_all() {
    for line in [
        "",
        "-h",
        "-",
        "- state box",
        "state",
        "state --help",
        "state one two",
        "no-such-verb box",
        "--no-such-flag state box",
        "create --pid-file box",
        "run -x box",
    ] {
        assert!(verbs::parse_by_one(VERBS, &split(line)).is_none(), "{line}");
    }
}

#[test]
fn the_normaliser_stops_where_another_program_begins() {
    for (given, expected) in [
        (
            "-debug exec -detach ID ls -all --root=",
            "--debug exec --detach ID -- ls -all --root=",
        ),
        ("kill -- -all", "kill -- -all"),
    ] {
        let args = normalise::normalise(VERBS, split(given)).unwrap();
        assert_eq!(args, split(expected));
    }
}

/// Also those of other verbs, so that the error has the whole name of the flag.
#[test]
fn a_flag_is_known_wherever_it_stands() {
    for (given, expected) in [
        ("spec -rootless", "spec --rootless"),
        ("-rootless=auto spec", "--rootless=auto spec"),
        ("-pid-file /p create", "--pid-file=/p create"),
        ("state -all box", "state --all box"),
        ("no-such-verb -all box", "no-such-verb --all box"),
    ] {
        let args = normalise::normalise(VERBS, split(given)).unwrap();
        assert_eq!(args, split(expected));
    }
}

#[test]
fn wrong_lines_are_named_on_one_line() {
    for (line, word) in [
        ("--debug", "command"),
        ("suspend --help", "'suspend'"),
        ("state", "ID"),
        ("state --frob ID", "'--frob'"),
        ("state a b", "'b'"),
        ("create --preserve-fds x ID", "--preserve-fds"),
        ("list -f yaml", "yaml"),
        ("--debug=maybe list", "--debug"),
        ("--root= list", "--root"),
        ("--rootless=perhaps list", "--rootless"),
    ] {
        let text = error(line);
        assert!(
            text.contains(word) && !text.contains('\n'),
            "{line}: {text}"
        );
    }
}

#[test]
fn the_log_is_found_on_a_wrong_line() {
    let flags = log_flags(
        VERBS,
        &split("--root /r --frob -log=/l --log-format json create --nonsense"),
    );
    assert_eq!(flags.log.as_deref(), Some("/l".as_ref()));
    assert_eq!(flags.log_format.as_deref(), Some("json"));
    assert_eq!(log_flags(VERBS, &split("run --log /l ID")).log, None);
    let flags = log_flags(VERBS, &split("--log=/l --log= --log-format= list"));
    assert_eq!(flags.log.as_deref(), Some("/l".as_ref()));
    assert_eq!(flags.log_format, None);
}

#[test]
fn help_is_found_however_it_is_asked_for() {
    for line in ["", "help", "--debug help", "help --help", "-help"] {
        assert_eq!(printed(line), printed("--help"), "{line}");
    }
    for name in VERBS.iter().map(|verb| verb.name) {
        assert_eq!(
            printed(&format!("help {name}")),
            printed(&format!("{name} --help"))
        );
    }
    // Words after the verb are not executed.
    for line in [
        "help exec box sh",
        "help ps box -ef",
        "--debug help exec box sh",
    ] {
        let verb = line.split(' ').find(|word| ["exec", "ps"].contains(word));
        let help = format!("{} --help", verb.expect("a verb"));
        assert_eq!(printed(line), printed(&help), "{line}");
    }
    assert!(error("help strat").contains("did you mean start?"));
    assert!(parsed("state help").is_ok());
}

#[test]
fn a_wrong_line_is_answered_with_what_was_meant() {
    for (line, hint) in [
        ("strat box", "(did you mean start? see sampan --help)"),
        (
            "kill --al box",
            "(did you mean --all? see sampan kill --help)",
        ),
        (
            "create --bundel=/b box",
            "(did you mean --bundle? see sampan create --help)",
        ),
        (
            "--log-levle=debug state box",
            "(did you mean --log-level? see sampan state --help)",
        ),
        (
            "list --format=jsn",
            "[possible values: table, json] (see sampan list --help)",
        ),
        ("xyzzy box", "(see sampan --help)"),
        ("state --frob box", "(see sampan state --help)"),
        (
            "state",
            "(usage: sampan state <ID>; see sampan state --help)",
        ),
    ] {
        let text = error(line);
        assert!(text.ends_with(hint), "{line}: {text}");
    }
}

#[test]
fn a_signal_is_read_as_kill_reads_it() {
    for line in [
        "kill -9 box",
        "kill box -9",
        "kill -s 9 box",
        "kill -s9 box",
        "kill --signal 9 box",
        "kill --signal=9 box",
        "kill -signal 9 box",
    ] {
        let text = format!("{:?}", parsed(line).expect(line));
        assert!(text.contains("signal: Some(\"9\")"), "{line}: {text}");
        assert!(text.contains("id: \"box\""), "{line}: {text}");
    }
    for (given, expected) in [
        ("kill -KILL box", "kill --signal=KILL box"),
        (
            "kill -all -SIGRTMIN+3 box",
            "kill --all --signal=SIGRTMIN+3 box",
        ),
        ("kill -a box 9", "kill -a box 9"),
        ("exec box kill -9 1", "exec box -- kill -9 1"),
        ("delete -9 box", "delete -9 box"),
    ] {
        let args = normalise::normalise(VERBS, split(given)).unwrap();
        assert_eq!(args, split(expected));
    }
    assert!(error("kill -9 box TERM").contains("cannot be used with"));
    assert!(error("kill -99 box").contains("'-9'"));
}

#[test]
fn exec_accepts_the_flags_of_other_tools() {
    let text = format!("{:?}", parsed("exec -it box sh -it").unwrap());
    assert!(text.contains("tty: true"), "{text}");
    assert!(text.contains("command: [\"sh\", \"-it\"]"), "{text}");
}
