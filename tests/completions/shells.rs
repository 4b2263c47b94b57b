//! The completions in the shells themselves, with a program that stands for sampan and has two
//! containers, `web` and `db`.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use super::{bash, fish, verbs, zsh};

/// A directory with the program.
struct Fixture(PathBuf);

impl Fixture {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sampan-{}-{name}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        let program = path.join("sampan");
        std::fs::write(
            &program,
            "#!/bin/sh\n[ \"$*\" = 'list --quiet' ] && echo web && echo db\n",
        )
        .unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self(path)
    }

    /// Writes the script that is to be tested, and returns its path.
    fn script(&self, text: String) -> PathBuf {
        let path = self.0.join("script");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// What the shell prints for `script`, sorted. `None`, with a message, without the shell.
    fn run(&self, shell: &str, script: &str) -> Option<Vec<String>> {
        let path = std::env::var("PATH").unwrap();
        let output = Command::new(shell)
            .args(["-c", script])
            .env("PATH", format!("{}:{path}", self.0.display()))
            .env("HOME", &self.0)
            .env("XDG_CONFIG_HOME", &self.0)
            .current_dir(&self.0)
            .output();
        if output
            .as_ref()
            .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
        {
            // Written directly, because the test harness captures eprintln!.
            _ = writeln!(
                std::io::stderr(),
                "skipped completions: {shell} is not installed"
            );
            return None;
        }
        let output = output.unwrap();
        assert!(output.status.success(), "{script}: {output:?}");
        assert!(output.stderr.is_empty(), "{script}: {output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let mut words: Vec<_> = text.lines().map(str::to_owned).collect();
        words.sort();
        Some(words)
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Command lines, the last word of which is being typed, and what completes it.
const LINES: &[(&str, &[&str])] = &[
    ("sampan sta", &["start", "state"]),
    ("sampan --debug sta", &["start", "state"]),
    ("sampan help ki", &["kill"]),
    ("sampan start ", &["db", "web"]),
    ("sampan kill web T", &["TERM"]),
    ("sampan kill w", &["web"]),
    ("sampan kill --si", &["--signal"]),
    ("sampan create --bun", &["--bundle"]),
    ("sampan list --format j", &["json"]),
    ("sampan run ", &[]),
];

#[test]
fn bash() {
    let fixture = Fixture::new("bash");
    let script = fixture.script(bash::script(&verbs()));
    for (line, expected) in LINES
        .iter()
        .chain(&[("sampan --root /r kill --signal = K", &["KILL"][..])])
    {
        let words: Vec<_> = line.split(' ').map(|word| format!("'{word}'")).collect();
        let found = fixture.run(
            "bash",
            &format!(
                "compopt() {{ :; }}; . {}; complete -p sampan >list || exit
                COMP_WORDS=({}); COMP_CWORD={}; _sampan
                if [ ${{#COMPREPLY[@]}} != 0 ]; then printf '%s\\n' \"${{COMPREPLY[@]}}\"; fi",
                script.display(),
                words.join(" "),
                words.len() - 1
            ),
        );
        assert_eq!(found.unwrap(), *expected, "{line}");
    }
}

#[test]
fn fish() {
    let fixture = Fixture::new("fish");
    let script = fixture.script(fish::script(&verbs()));
    for (line, expected) in LINES {
        let text = format!("source {}; complete -C '{line}'", script.display());
        let Some(found) = fixture.run("fish", &text) else {
            return;
        };
        let words = found.iter().map(|line| line.split('\t').next().unwrap());
        assert_eq!(words.collect::<Vec<_>>(), *expected, "{line}");
    }
}

/// What an interactive zsh does first. It writes into the file `offered` what the completion offers
/// to the shell, and the key ^X ends a line.
const INTERACTIVE: &str = "
    fpath=($PWD $fpath)
    autoload -Uz compinit && compinit -u -D
    compadd() {
        local -a offered
        # A call that fills arrays offers nothing.
        if [[ -z ${argv[(r)-[OAD]]} ]]; then
            builtin compadd -O offered \"$@\"
            print -rl -- $offered >>offered
        fi
        builtin compadd \"$@\"
    }
    finished() { BUFFER=; print -r -- '<FINISHED>' }
    zle -N finished
    bindkey '^X' finished
    print '<READY>'";

/// zsh completes only in a terminal: one zsh types to another.
#[test]
fn zsh() {
    let fixture = Fixture::new("zsh");
    std::fs::write(fixture.0.join("_sampan"), zsh::script(&verbs())).unwrap();
    let setup = fixture.script(INTERACTIVE.to_owned());
    let lines: Vec<_> = LINES.iter().map(|(line, _)| format!("'{line}'")).collect();
    let types = format!(
        "zmodload zsh/zpty && zpty typed 'TERM=xterm zsh -f -i'
        zpty -w typed 'source {}' && zpty -r typed out '*<READY>*'
        for line in {}; do
            : >offered
            zpty -w -n typed \"$line\"$'\\t\\x18' && zpty -r typed out '*<FINISHED>*'
            print -r -- \"$line=${{(j: :)${{(of)$(<offered)}}}}\"
        done",
        setup.display(),
        lines.join(" ")
    );
    let Some(found) = fixture.run("zsh", &types) else {
        return;
    };
    let expected = LINES
        .iter()
        .map(|(line, words)| format!("{line}={}", words.join(" ")));
    let mut expected: Vec<_> = expected.collect();
    expected.sort();
    assert_eq!(found, expected);
}
