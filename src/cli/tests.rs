use clap::CommandFactory;

use super::*;

fn split(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

fn cli(line: &str) -> Cli {
    match parse(split(line)) {
        Ok(Parsed::Run(cli)) => *cli,
        other => panic!("{line}: {other:?}"),
    }
}

fn error(line: &str) -> String {
    match parse(split(line)) {
        Err(error) => error.to_string(),
        Ok(parsed) => panic!("{line}: {parsed:?}"),
    }
}

fn printed(line: &str) -> String {
    match parse(split(line)) {
        Ok(Parsed::Print(text)) => text,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn definitions_are_consistent() {
    Cli::command().debug_assert();
}

/// The table of `go` must know what the definitions know.
#[test]
fn long_flags_match_the_definitions() {
    let mut root = Cli::command();
    root.build();
    let mut flags = std::collections::BTreeMap::new();
    for (command, global) in
        std::iter::once((&root, true)).chain(root.get_subcommands().map(|c| (c, false)))
    {
        for arg in command.get_arguments() {
            let takes_value = arg.get_action().takes_values();
            let Some(name) = arg.get_long() else { continue };
            if name == "rootless" && !global {
                assert!(!takes_value);
                continue;
            }
            let known = flags.insert(name.to_owned(), takes_value);
            assert!(
                known.is_none_or(|known| known == takes_value),
                "--{name} differs"
            );
        }
    }
    let expected: Vec<_> = go::LONG_FLAGS
        .iter()
        .map(|(name, value)| ((*name).to_owned(), *value))
        .collect();
    assert_eq!(flags.into_iter().collect::<Vec<_>>(), expected);
}

/// So must the short flags with a value.
#[test]
fn short_flags_match_the_definitions() {
    let mut root = Cli::command();
    root.build();
    for (name, expected) in go::PASS_ARGUMENTS_ON {
        let command = root.find_subcommand(name).expect("a command");
        let with_value = command
            .get_arguments()
            .filter(|arg| arg.get_action().takes_values());
        let mut flags: Vec<_> = with_value.filter_map(clap::Arg::get_short).collect();
        flags.sort_unstable();
        assert_eq!(flags.into_iter().collect::<String>(), *expected, "{name}");
    }
}

#[test]
fn containerd_create() {
    let cli = cli(
        "--root /run/containerd/runc/k8s.io --debug --log /b/log.json --log-format json \
         --systemd-cgroup create --bundle /b --pid-file /b/init.pid --console-socket /s \
         --no-pivot --no-new-keyring abc",
    );
    assert_eq!(
        cli.global.state.root.as_deref(),
        Some("/run/containerd/runc/k8s.io".as_ref())
    );
    assert_eq!(cli.global.log.log.as_deref(), Some("/b/log.json".as_ref()));
    assert_eq!(cli.global.log.log_format.as_deref(), Some("json"));
    assert!(cli.global.log.debug && cli.global.cgroups.systemd_cgroup);
    let Command::Create(create) = cli.command else {
        panic!()
    };
    let setup = create.setup;
    assert_eq!(setup.bundle.bundle, PathBuf::from("/b"));
    assert_eq!(setup.bundle.config, PathBuf::from("config.json"));
    assert_eq!(setup.handover.pid_file, Some("/b/init.pid".into()));
    assert_eq!(setup.handover.console_socket, Some("/s".into()));
    assert!(setup.shape.no_pivot && setup.shape.no_new_keyring);
    assert_eq!((setup.shape.preserve_fds, setup.id.id.as_str()), (0, "abc"));
}

#[test]
fn conmon_create() {
    let cli = cli(
        "--log-format=json --log=/l --cgroup-manager disabled --root=/r create --bundle /b \
         --pid-file /p --preserve-fds 3 --no-new-keyring ID",
    );
    assert_eq!(
        cli.global.cgroups.cgroup_manager,
        Some(CgroupManager::Disabled)
    );
    assert_eq!(cli.global.state.root, Some("/r".into()));
    let Command::Create(create) = cli.command else {
        panic!()
    };
    assert_eq!(create.setup.shape.preserve_fds, 3);
}

#[test]
fn buildkit_run() {
    let cli = cli("--log /l --log-format json run --bundle /b --no-pivot --keep ID");
    let Command::Run(run) = cli.command else {
        panic!()
    };
    assert!(
        run.until.keep
            && !run.until.detach
            && run.setup.shape.no_pivot
            && !run.setup.handover.no_subreaper
    );
}

#[test]
fn go_spellings() {
    let cli = cli(
        "-root=/r -log /l --debug=true -systemd-cgroup=false --rootless=true run -no-subreaper \
         -d --keep=0 --console-socket= -bundle /b -f other.json --pidfd-socket=/p ID",
    );
    assert_eq!(cli.global.state.root, Some("/r".into()));
    assert_eq!(cli.global.log.log.as_deref(), Some("/l".as_ref()));
    assert_eq!(cli.global.privileges.rootless, Some(Rootless::Yes));
    assert!(cli.global.log.debug && !cli.global.cgroups.systemd_cgroup);
    let Command::Run(run) = cli.command else {
        panic!()
    };
    assert!(run.setup.handover.no_subreaper && run.until.detach && !run.until.keep);
    assert_eq!(run.setup.handover.console_socket, None);
    assert_eq!(run.setup.handover.pidfd_socket, Some("/p".into()));
    assert_eq!(run.setup.bundle.bundle, PathBuf::from("/b"));
    assert_eq!(run.setup.bundle.config, PathBuf::from("other.json"));
}

#[test]
fn the_last_of_repeated_flags_wins() {
    let cli = cli("--root /a --debug --root /b --debug create -b /a --bundle /b ID");
    assert_eq!(cli.global.state.root, Some("/b".into()));
    let Command::Create(create) = cli.command else {
        panic!()
    };
    assert_eq!(create.setup.bundle.bundle, PathBuf::from("/b"));
}

#[test]
fn values_may_begin_with_a_dash() {
    let cli = cli("--root -odd --log -log list");
    assert_eq!(cli.global.state.root, Some("-odd".into()));
    assert_eq!(cli.global.log.log.as_deref(), Some("-log".as_ref()));
}

#[test]
fn kill_in_all_spellings() {
    for (line, all, signal) in [
        ("kill ID 9", false, "9"),
        ("kill ID", false, "SIGTERM"),
        ("kill ID SIGKILL", false, "SIGKILL"),
        ("kill --all ID 9", true, "9"),
        ("kill -a ID TERM", true, "TERM"),
        ("kill -all ID KILL", true, "KILL"),
        ("--systemd-cgroup kill -a ID 15", true, "15"),
    ] {
        let Command::Kill(kill) = cli(line).command else {
            panic!()
        };
        assert_eq!(
            (kill.all, kill.signal.as_str(), kill.id.as_str()),
            (all, signal, "ID"),
            "{line}"
        );
    }
    let Command::Kill(kill) = cli("kill --regex ^a 9").command else {
        panic!()
    };
    assert!(kill.regex);
}

#[test]
fn the_other_verbs() {
    for line in [
        "delete ID",
        "delete --force ID",
        "delete -f ID",
        "delete -force=true ID",
    ] {
        let Command::Delete(delete) = cli(line).command else {
            panic!()
        };
        assert_eq!(delete.force, line != "delete ID");
    }
    for (line, format) in [
        ("list", ListFormat::Table),
        ("list --format=json", ListFormat::Json),
        ("list -f json", ListFormat::Json),
        ("list -format json -q", ListFormat::Json),
    ] {
        let Command::List(list) = cli(line).command else {
            panic!()
        };
        assert_eq!((list.format, list.quiet), (format, line.ends_with("-q")));
    }
    let Command::Spec(spec) = cli("spec --rootless -b /b -f /x").command else {
        panic!()
    };
    assert!(spec.rootless);
    assert_eq!((spec.bundle, spec.file), ("/b".into(), Some("/x".into())));
    assert!(matches!(cli("state ID").command, Command::State(Id { id }) if id == "ID"));
    assert!(matches!(cli("start ID").command, Command::Start(Id { id }) if id == "ID"));
    assert!(matches!(cli("features").command, Command::Features(_)));
    let Command::Explain(explain) = cli("explain --json -b /b --no-pivot").command else {
        panic!()
    };
    assert!(explain.json && explain.shape.no_pivot);
}

#[test]
fn ps_leaves_what_follows_the_id_to_ps() {
    let Command::Ps(ps) = cli("ps -format json ID").command else {
        panic!()
    };
    assert_eq!((ps.format, ps.id.as_str()), (ListFormat::Json, "ID"));
    let Command::Ps(ps) = cli("ps --format table ID -eo pid,args --format x").command else {
        panic!()
    };
    assert_eq!(ps.format, ListFormat::Table);
    assert_eq!(ps.args, split("-eo pid,args --format x"));
}

#[test]
fn events_with_go_durations() {
    for (line, milliseconds) in [
        ("events ID", 5_000),
        ("events --interval=1m30s ID", 90_000),
        ("events -interval 500ms ID", 500),
    ] {
        let Command::Events(events) = cli(line).command else {
            panic!()
        };
        assert_eq!(events.interval.as_millis(), milliseconds, "{line}");
        assert!(!events.stats);
    }
    assert!(matches!(cli("events --stats ID").command, Command::Events(events) if events.stats));
    assert!(error("events --interval 0s ID").contains("--interval"));
}

#[test]
fn update_in_the_spellings_of_engines() {
    for line in [
        "update --resources=- ID",
        "update --resources - ID",
        "update -r - ID",
        "update -r=- ID",
    ] {
        let Command::Update(update) = cli(line).command else {
            panic!()
        };
        assert_eq!(update.resources, Some("-".into()), "{line}");
        assert_eq!(update.id, "ID");
    }
    let line = "update --memory 512m --memory-swap -1 --cpu-quota -1 --pids-limit -1 \
                --cpuset-cpus= -cpu-share=512 --kernel-memory 5m ID";
    let Command::Update(update) = cli(line).command else {
        panic!()
    };
    assert_eq!(
        (update.memory, update.memory_swap),
        (Some(512 << 20), Some(-1))
    );
    assert_eq!((update.cpu_quota, update.pids_limit), (Some(-1), Some(-1)));
    assert_eq!((update.cpuset_cpus, update.cpu_share), (None, Some(512)));
    assert!(error("update --memory 1x ID").contains("--memory"));
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
fn wrong_lines_are_named_on_one_line() {
    for (line, word) in [
        ("", "command"),
        ("checkpoint --help", "'checkpoint'"),
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
    let flags = log_flags(&split(
        "--root /r --frob -log=/l --log-format json create --nonsense",
    ));
    assert_eq!(flags.log.as_deref(), Some("/l".as_ref()));
    assert_eq!(flags.log_format.as_deref(), Some("json"));
    assert_eq!(log_flags(&split("run --log /l ID")).log, None);
    let flags = log_flags(&split("--log=/l --log= --log-format= list"));
    assert_eq!(flags.log.as_deref(), Some("/l".as_ref()));
    assert_eq!(flags.log_format, None);
}

#[test]
fn arguments_of_another_program_are_left_alone() {
    let args = split("-debug exec -detach ID ls -all --root=");
    let expected = split("--debug exec --detach ID -- ls -all --root=");
    assert_eq!(go::normalise(args).unwrap(), expected);
    for line in [
        "exec box --help",
        "exec box -h --tty",
        "exec -e A=B box --process=/p",
        "exec -te A=B -u 1 box -d",
        "exec -e --help -detach box -x",
        "exec box -- -e",
    ] {
        let Command::Exec(exec) = cli(line).command else {
            panic!()
        };
        let (_, command) = line.split_once("box ").unwrap();
        let expected = split(command.strip_prefix("-- ").unwrap_or(command));
        assert_eq!(exec.what.command, expected, "{line}");
        assert_eq!(exec.what.id, "box");
        assert_eq!(exec.what.process, None, "{line}");
    }
    let Command::Exec(exec) = cli("exec - -h").command else {
        panic!()
    };
    assert_eq!(
        (exec.what.id.as_str(), exec.what.command),
        ("-", split("-h"))
    );
    let Command::Ps(ps) = cli("ps -f json box --format=table --help").command else {
        panic!()
    };
    assert_eq!(ps.format, ListFormat::Json);
    assert_eq!(ps.args, split("--format=table --help"));
    assert_eq!(
        go::normalise(split("kill -- -all")).unwrap(),
        split("kill -- -all")
    );
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
        assert_eq!(text.matches("version").count(), 1);
    }
}

#[test]
fn help_of_every_command() {
    assert!(printed("--help").contains("Usage: sampan"));
    let root = Cli::command();
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
