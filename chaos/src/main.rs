//! `chaos COMMAND [OPTION…]` disturbs the runtime on real bundles and checks the results. Each
//! command is a file. They share [`world`] (a separate environment, and the search for what is left
//! in it), [`options`], [`figures`] and [`random`].

use std::process::ExitCode;

mod bundles;
mod disturbed;
mod fail;
mod figures;
mod kill;
mod names;
mod options;
mod race;
mod random;
mod swap;
mod verb;
mod world;

/// A command: its name, its usage text, and the function that runs it.
struct Command {
    name: &'static str,
    usage: &'static str,
    run: fn(&options::Options) -> ExitCode,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "kill",
        usage: kill::USAGE,
        run: kill::main,
    },
    Command {
        name: "fail",
        usage: fail::USAGE,
        run: fail::main,
    },
    Command {
        name: "race",
        usage: race::USAGE,
        run: race::main,
    },
    Command {
        name: "swap",
        usage: swap::USAGE,
        run: swap::main,
    },
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    // The roles of this program inside a container and as a hook.
    match words[..] {
        ["inside"] => return swap::inside::main(false),
        ["inside", "stay"] => return swap::inside::main(true),
        ["exchange", one, other] => return swap::attack::exchange_paths(one, other),
        _ => {}
    }
    let mut args = std::env::args().skip(1);
    let name = args.next().unwrap_or_default();
    if ["-h", "--help"].contains(&name.as_str()) {
        let usages: Vec<_> = COMMANDS.iter().map(|command| command.usage).collect();
        print!("{}\n{}", usages.join("\n"), options::USAGE);
        return ExitCode::SUCCESS;
    }
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        let names: Vec<_> = COMMANDS.iter().map(|command| command.name).collect();
        eprintln!("usage: scripts/chaos {} [OPTION...]", names.join("|"));
        return ExitCode::from(2);
    };
    match options::Options::parse(args) {
        Ok(options) if options.help => {
            print!("{}\n{}", command.usage, options::USAGE);
            ExitCode::SUCCESS
        }
        Ok(options) => (command.run)(&options),
        Err(message) => {
            eprintln!(
                "chaos {name}: {message}\n\n{}\n{}",
                command.usage,
                options::USAGE
            );
            ExitCode::from(2)
        }
    }
}
