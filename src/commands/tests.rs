//! Command lines in the spellings of engines, and what becomes of them.

use std::any::Any;
use std::ffi::OsString;
use std::path::PathBuf;

use super::*;
use crate::cli::{Line, Parsed, parse};

fn split(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

fn line(text: &str) -> Line<Box<dyn Verb>> {
    match parse(VERBS, split(text)) {
        Ok(Parsed::Run(line)) => line,
        other => panic!("{text}: {other:?}"),
    }
}

/// The flags of a verb.
fn of<V: 'static>(line: Line<Box<dyn Verb>>) -> V {
    let verb: Box<dyn Any> = line.verb;
    *verb.downcast().expect("the verb")
}

fn read<V: 'static>(text: &str) -> V {
    of(line(text))
}

fn error(text: &str) -> String {
    match parse(VERBS, split(text)) {
        Err(error) => error.to_string(),
        Ok(parsed) => panic!("{text}: {parsed:?}"),
    }
}

#[test]
fn containerd_create() {
    let line = line(
        "--root /run/containerd/runc/k8s.io --debug --log /b/log.json --log-format json \
         --systemd-cgroup create --bundle /b --pid-file /b/init.pid --console-socket /s \
         --no-pivot --no-new-keyring abc",
    );
    assert_eq!(
        line.global.state.root.as_deref(),
        Some("/run/containerd/runc/k8s.io".as_ref())
    );
    assert_eq!(line.global.log.log.as_deref(), Some("/b/log.json".as_ref()));
    assert_eq!(line.global.log.log_format.as_deref(), Some("json"));
    assert!(line.global.log.debug && line.global.cgroups.systemd_cgroup);
    let create: create::Create = of(line);
    let setup = create.setup;
    assert_eq!(setup.bundle.bundle, PathBuf::from("/b"));
    assert_eq!(setup.bundle.config, PathBuf::from("config.json"));
    assert_eq!(setup.caller.pid_file, Some("/b/init.pid".into()));
    assert_eq!(setup.caller.console_socket, Some("/s".into()));
    assert!(setup.container.no_pivot && setup.container.no_new_keyring);
    assert_eq!(
        (setup.descriptors.preserve_fds, setup.new.id.as_str()),
        (0, "abc")
    );
}

#[test]
fn conmon_create() {
    let line = line(
        "--log-format=json --log=/l --cgroup-manager disabled --root=/r create --bundle /b \
         --pid-file /p --preserve-fds 3 --no-new-keyring ID",
    );
    assert_eq!(
        line.global.cgroups.cgroup_manager.as_deref(),
        Some("disabled")
    );
    assert_eq!(line.global.state.root, Some("/r".into()));
    let create: create::Create = of(line);
    assert_eq!(create.setup.descriptors.preserve_fds, 3);
}

#[test]
fn buildkit_run() {
    let line = line("--log /l --log-format json run --bundle /b --no-pivot --keep ID");
    let run: run::Run = of(line);
    assert!(
        run.flags.keep
            && !run.flags.detach
            && run.setup.container.no_pivot
            && !run.setup.caller.no_subreaper
    );
}

#[test]
fn go_spellings() {
    let line = line(
        "-root=/r -log /l --debug=true -systemd-cgroup=false --rootless=true run -no-subreaper \
         -d --keep=0 --console-socket= -bundle /b -f other.json --pidfd-socket=/p ID",
    );
    assert_eq!(line.global.state.root, Some("/r".into()));
    assert_eq!(line.global.log.log.as_deref(), Some("/l".as_ref()));
    assert_eq!(line.global.privileges.rootless.as_deref(), Some("true"));
    assert!(line.global.log.debug && !line.global.cgroups.systemd_cgroup);
    let run: run::Run = of(line);
    assert!(run.setup.caller.no_subreaper && run.flags.detach && !run.flags.keep);
    assert_eq!(run.setup.caller.console_socket, None);
    assert_eq!(run.setup.caller.pidfd_socket, Some("/p".into()));
    assert_eq!(run.setup.bundle.bundle, PathBuf::from("/b"));
    assert_eq!(run.setup.bundle.config, PathBuf::from("other.json"));
}

#[test]
fn the_last_of_repeated_flags_wins() {
    let line = line("--root /a --debug --root /b --debug create -b /a --bundle /b ID");
    assert_eq!(line.global.state.root, Some("/b".into()));
    let create: create::Create = of(line);
    assert_eq!(create.setup.bundle.bundle, PathBuf::from("/b"));
}

#[test]
fn values_may_begin_with_a_dash() {
    let line = line("--root -odd --log -log list");
    assert_eq!(line.global.state.root, Some("-odd".into()));
    assert_eq!(line.global.log.log.as_deref(), Some("-log".as_ref()));
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
        ("kill -9 ID", false, "9"),
        ("kill -a -KILL ID", true, "KILL"),
        ("kill ID -s USR1", false, "USR1"),
        ("kill -s=USR1 ID", false, "USR1"),
        ("kill --signal=USR1 ID", false, "USR1"),
    ] {
        let kill: kill::Kill = read(line);
        assert_eq!(
            (kill.all, kill.signal(), kill.container.id.as_str()),
            (all, signal, "ID"),
            "{line}"
        );
    }
    let kill: kill::Kill = read("kill --regex ^a 9");
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
        let delete: delete::Delete = read(line);
        assert_eq!(delete.force, line != "delete ID");
    }
    for (line, format) in [
        ("list", "table"),
        ("list --format=json", "json"),
        ("list -f json", "json"),
        ("list -format json -q", "json"),
    ] {
        let list: list::List = read(line);
        assert_eq!((&*list.format, list.quiet), (format, line.ends_with("-q")));
    }
    let spec: spec::Spec = read("spec --rootless -b /b -f /x");
    assert!(spec.rootless);
    assert_eq!((spec.bundle, spec.file), ("/b".into(), Some("/x".into())));
    assert_eq!(read::<state::State>("state ID").container.id, "ID");
    assert_eq!(read::<start::Start>("start ID").container.id, "ID");
    read::<features::Features>("features");
    let explain: explain::Explain = read("explain --json -b /b --no-pivot");
    assert!(explain.json && explain.new.no_pivot);
}

#[test]
fn ps_leaves_what_follows_the_id_to_ps() {
    let ps: ps::Ps = read("ps -format json ID");
    assert_eq!(
        (ps.format.as_str(), ps.container.id.as_str()),
        ("json", "ID")
    );
    let ps: ps::Ps = read("ps --format table ID -eo pid,args --format x");
    assert_eq!(ps.format, "table");
    assert_eq!(ps.args, split("-eo pid,args --format x"));
}

#[test]
fn events_with_go_durations() {
    for (line, milliseconds) in [
        ("events ID", 5_000),
        ("events --interval=1m30s ID", 90_000),
        ("events -interval 500ms ID", 500),
    ] {
        let events: events::Events = read(line);
        assert_eq!(events.interval.as_millis(), milliseconds, "{line}");
        assert!(!events.stats);
    }
    assert!(read::<events::Events>("events --stats ID").stats);
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
        let update: update::Update = read(line);
        assert_eq!(update.resources, Some("-".into()), "{line}");
        assert_eq!(update.container.id, "ID");
    }
    let line = "update --memory 512m --memory-swap -1 --cpu-quota -1 --pids-limit -1 \
                --cpuset-cpus= -cpu-share=512 --kernel-memory 5m ID";
    let update: update::Update = read(line);
    assert_eq!(
        (update.memory, update.memory_swap),
        (Some(512 << 20), Some(-1))
    );
    assert_eq!((update.cpu_quota, update.pids_limit), (Some(-1), Some(-1)));
    assert_eq!((update.cpuset_cpus, update.cpu_share), (None, Some(512)));
    assert!(error("update --memory 1x ID").contains("--memory"));
}

#[test]
fn arguments_of_another_program_are_left_alone() {
    for line in [
        "exec box --help",
        "exec box -h --tty",
        "exec -e A=B box --process=/p",
        "exec -te A=B -u 1 box -d",
        "exec -e --help -detach box -x",
        "exec box -- -e",
    ] {
        let exec: exec::Exec = read(line);
        let (_, command) = line.split_once("box ").unwrap();
        let expected = split(command.strip_prefix("-- ").unwrap_or(command));
        assert_eq!(exec.command, expected, "{line}");
        assert_eq!(exec.container.id, "box");
        assert_eq!(exec.process, None, "{line}");
    }
    let exec: exec::Exec = read("exec - -h");
    assert_eq!(
        (exec.container.id.as_str(), exec.command),
        ("-", split("-h"))
    );
    let ps: ps::Ps = read("ps -f json box --format=table --help");
    assert_eq!(ps.format, "json");
    assert_eq!(ps.args, split("--format=table --help"));
}

#[test]
fn a_pattern_picks_ids_and_failures_are_warnings() {
    let path = std::env::temp_dir().join(format!("sampan-each-{}", std::process::id()));
    let log = Log::default();
    let context = Context {
        root: Root::choose(Some(&path)).unwrap(),
        cgroup_manager: CgroupManager::default(),
        log: &log,
        own_mount: RefCell::default(),
    };
    for id in ["web-1", "web-2", "db"] {
        context.root.claim(id, b"{}").unwrap().keep();
    }
    assert_eq!(context.matching("^web-[0-9]$").unwrap(), ["web-1", "web-2"]);
    assert_eq!(context.matching("b").unwrap(), ["db", "web-1", "web-2"]);
    let seen = RefCell::new(Vec::new());
    let fail = |id: &str| {
        seen.borrow_mut().push(id.to_owned());
        Err(Error::of(Kind::Status, "no").into())
    };
    context.each("web", true, fail).unwrap();
    assert!(context.each("db", false, fail).is_err());
    assert_eq!(seen.take(), ["web-1", "web-2", "db"]);
    std::fs::remove_dir_all(&path).unwrap();
}
