//! Command lines: the parser of a single verb must give the same result as the parser of all verbs.
//!
//! Input has one argument per line.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use sampan::cli::{self, Parsed, fuzzing};
use sampan::commands::{VERBS, Verb};

use crate::{Form, Target, check_error};

/// See the module.
pub const TARGET: Target = Target {
    name: "arguments",
    run,
    seeds,
    form: Form::Lines,
    words: WORDS,
    longest: 512,
    changes: 20_000,
};

const WORDS: &str = "
    create start run exec state kill delete list ps pause resume update mounts events spec
    features explain help box add remove KILL 9 sh -- - --help -h --version -v -V -help
    --root --root=/r -root -root=/r --root= --log --log=/l -log=/l --log-format json
    --log-format=text --log-level debug --log-level=error --debug --debug=true --debug=0
    --systemd-cgroup -systemd-cgroup=false --cgroup-manager disabled --cgroup-manager=systemd
    --rootless --rootless=auto --rootless=true -b --bundle --bundle=/b -b/b -f --config
    --config=c.json --no-pivot --no-new-keyring --preserve-fds --preserve-fds=3 3 -1
    --console-socket --console-socket=/c --pidfd-socket=/p --pid-file --pid-file=/p
    --no-subreaper -d --detach -t --tty -dt -td -dt=x --keep --cwd / --cwd=/ -e -eA=B --env
    --env=A=B -u -u1 --user=1:2 -g --additional-gids=5 -c --cap=CAP_KILL --no-new-privs
    --process-label=l --apparmor=p --ignore-paused --cgroup=/c --process -p --process=/p -p/p
    -a --all -r --regex --force -q --quiet --format --format=json -ftable -r- --resources=-
    --blkio-weight=10 --cpu-period=1000 --cpu-quota=-1 --cpu-burst=1 --cpu-share=2
    --cpu-idle=1 --cpuset-cpus=0-3 --memory=512m --memory -1 --memory-swap=-1 --pids-limit=5
    --kernel-memory=1 --l3-cache-schema=x --interval=5s --interval 1m30s --stats --json
    --file=/f --frob --ro --roo=x ---root --=x =
";

fn seeds() -> Vec<Vec<u8>> {
    let lines = [
        "state box",
        "--root /run/containerd/runc/k8s.io --debug --log /b/log.json --log-format json \
         --systemd-cgroup create --bundle /b --pid-file /b/init.pid --console-socket /s \
         --no-pivot --no-new-keyring abc",
        "--log-format=json --log=/l --cgroup-manager disabled --root=/r create --bundle /b \
         --pid-file /p --preserve-fds 3 --no-new-keyring ID",
        "--log /l --log-format json run --bundle /b --no-pivot --keep ID",
        "-root=/r -log /l --debug=true -systemd-cgroup=false --rootless=true run -no-subreaper \
         -d --keep=0 --console-socket= -bundle /b -f other.json --pidfd-socket=/p ID",
        "exec -t -e A=B -e C=D -u 1:2 --cap=X box sh -c --help",
        "exec --process=/p --detach --pid-file /f box",
        "kill --all box KILL",
        "delete --force box",
        "update --memory=1 --resources=- box",
        "update --memory 512m --memory-swap -1 --cpu-quota -1 --cpuset-cpus= -cpu-share=512 ID",
        "ps --format json ID -eo pid,args --format x",
        "list -format json -q",
        "events --interval=1m30s --stats box",
        "mounts add box /file",
        "spec --rootless -b /b -f /x",
        "features",
        "explain --json -b /b --no-pivot",
        "pause box",
        "--version",
        "create --help",
        "kill -- -all",
    ];
    let words = |line: &&str| line.split_whitespace().collect::<Vec<_>>().join("\n");
    lines.iter().map(|line| words(line).into_bytes()).collect()
}

fn run(data: &[u8]) {
    let argument = |line: &[u8]| OsString::from_vec(line.to_vec());
    let args: Vec<_> = data.split(|byte| *byte == b'\n').map(argument).collect();
    if args.iter().any(|arg| arg.as_encoded_bytes().contains(&0)) {
        return;
    }
    let parsed = cli::parse(VERBS, args.clone());
    let whole = fuzzing::parse_by_all(VERBS, args.clone());
    assert_eq!(text(&parsed), text(&whole), "{args:?}");
    match parsed {
        Ok(Parsed::Run(line)) => {
            // A valid line is parsed by the definition of its verb alone, without the slow way.
            assert!(fuzzing::is_read_by_one(VERBS, args.clone()), "{args:?}");
            // The log of a failure must not depend on whether the line is valid.
            let (log, found) = (&line.global.log, cli::log_flags(VERBS, &args));
            assert_eq!(log.log, found.log, "--log of {args:?}");
            assert_eq!(log.log_format, found.log_format, "--log-format of {args:?}");
        }
        Ok(Parsed::Print(_)) => {}
        Err(error) => check_error(&error),
    }
}

fn text(parsed: &Result<Parsed<Box<dyn Verb>>, sampan::error::Error>) -> String {
    match parsed {
        Ok(parsed) => format!("{parsed:?}"),
        Err(error) => format!("{error:?}"),
    }
}
