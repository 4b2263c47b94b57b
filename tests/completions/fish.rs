//! The completion for fish: a line for each flag and argument, with its condition.

use super::{NOTE, Value, Verb};

pub fn script(verbs: &[Verb]) -> String {
    let (root, named) = verbs.split_first().unwrap();
    let mut text = format!(
        "# Completion of sampan for fish. {NOTE}

# Whether VERB and PLACE arguments after it have been typed. Flags do not count.
function __sampan_at --argument-names verb place
    set -l words (string match --invert -- '-*' (commandline -opc))
    test (count $words) -eq (math 2 + $place); and test $words[2] = $verb
end

complete -c sampan -f
"
    );
    for verb in named {
        text += &format!(
            "complete -c sampan -n __fish_use_subcommand -a {} -d {}\n",
            verb.name,
            quoted(&verb.help)
        );
    }
    add_flags(&mut text, "__fish_use_subcommand", root);
    for verb in named {
        let condition = quoted(&format!("__fish_seen_subcommand_from {}", verb.name));
        add_flags(&mut text, &condition, verb);
        for (place, argument) in verb.arguments.iter().enumerate() {
            if let Some(action) = action(&argument.value, named) {
                let name = &verb.name;
                text += &format!("complete -c sampan -n '__sampan_at {name} {place}' {action}\n");
            }
        }
    }
    text
}

fn add_flags(text: &mut String, condition: &str, verb: &Verb) {
    for flag in &verb.flags {
        *text += &format!("complete -c sampan -n {condition}");
        if let Some(letter) = flag.short {
            *text += &format!(" -s {letter}");
        }
        if let Some(name) = &flag.long {
            *text += &format!(" -l {name}");
        }
        *text += &format!(" -d {}", quoted(&flag.help));
        if let Some(value) = &flag.value {
            let action = action(value, &[]).map(|action| format!(" {action}"));
            *text += &format!(" -r{}", action.unwrap_or_default());
        }
        text.push('\n');
    }
}

fn action(value: &Value, named: &[Verb]) -> Option<String> {
    Some(match value {
        Value::Words(words) => format!("-a {}", quoted(&words.join(" "))),
        Value::Commands => {
            let names: Vec<_> = named.iter().map(|verb| verb.name.as_str()).collect();
            format!("-a {}", quoted(&names.join(" ")))
        }
        Value::Containers => "-a '(sampan list --quiet 2>/dev/null)'".to_owned(),
        Value::Files => "-F".to_owned(),
        Value::Directories => "-a '(__fish_complete_directories)'".to_owned(),
        Value::Free => return None,
    })
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
