//! The completion for zsh: specifications for its `_arguments`.

use super::{Flag, NOTE, Value, Verb};

pub fn script(verbs: &[Verb]) -> String {
    let (root, named) = verbs.split_first().unwrap();
    let mut text = format!(
        "#compdef sampan
# Completion of sampan for zsh. {NOTE}

_sampan_containers() {{
  local -a containers
  containers=(${{(f)\"$(_call_program containers sampan list --quiet 2>/dev/null)\"}})
  _describe container containers
}}

_sampan_commands() {{
  local -a commands
  commands=(
"
    );
    for verb in named {
        text += &format!("    {}\n", quoted(&format!("{}:{}", verb.name, verb.help)));
    }
    text += "  )\n  _describe command commands\n}\n\n_sampan() {\n  local curcontext=$curcontext state line\n  typeset -A opt_args\n";
    text += "  _arguments -C";
    for flag in &root.flags {
        text += &format!(" \\\n    {}", specification(flag));
    }
    text += " \\\n    '1:command:_sampan_commands' \\\n    '*:: :->arguments'\n";
    text += "  [[ $state = arguments ]] || return\n  case $words[1] in\n";
    for verb in named {
        text += &format!("    {})\n      _arguments -s", verb.name);
        for flag in &verb.flags {
            text += &format!(" \\\n        {}", specification(flag));
        }
        for (place, argument) in verb.arguments.iter().enumerate() {
            let (name, action) = (&argument.name, action(&argument.value));
            let argument = format!("{}:{name}:{action}", place + 1);
            text += &format!(" \\\n        {}", quoted(&argument));
        }
        text += " ;;\n";
    }
    text + "  esac\n}\n\nif [ \"$funcstack[1]\" = _sampan ]; then _sampan \"$@\"; else compdef _sampan sampan; fi\n"
}

/// A flag, with both spellings if it has two. It may be repeated, as in the program.
fn specification(flag: &Flag) -> String {
    let help: String = flag
        .help
        .chars()
        .map(|letter| match letter {
            '[' => '(',
            ']' => ')',
            ':' => ' ',
            other => other,
        })
        .collect();
    let value = flag.value.as_ref().map(|value| {
        // The value may follow after a blank or, of a long flag, after `=`.
        format!(":value:{}", action(value))
    });
    let rest = quoted(&format!("[{help}]{}", value.unwrap_or_default()));
    let equals = |name: &String| match flag.value {
        Some(_) if name.starts_with("--") => format!("{name}="),
        _ => name.clone(),
    };
    let names: Vec<_> = flag.spellings().iter().map(equals).collect();
    match names.as_slice() {
        [one] => format!("'*'{one}{rest}"),
        several => format!("'*'{{{}}}{rest}", several.join(",")),
    }
}

fn action(value: &Value) -> String {
    match value {
        Value::Words(words) => format!("({})", words.join(" ")),
        Value::Commands => "_sampan_commands".to_owned(),
        Value::Containers => "_sampan_containers".to_owned(),
        Value::Files => "_files".to_owned(),
        Value::Directories => "_files -/".to_owned(),
        Value::Free => " ".to_owned(),
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
