//! The completion for bash: a function that finds the verb and the place of the word.

use super::{NOTE, Value, Verb};

pub fn script(verbs: &[Verb]) -> String {
    let with_value = cases(verbs, |verb| {
        let flags = verb.flags.iter().filter(|flag| flag.value.is_some());
        let names = flags.flat_map(super::Flag::spellings);
        names
            .map(|name| (format!("{}:{name}", verb.name), String::new()))
            .collect()
    });
    let with_value: Vec<_> = with_value.into_iter().map(|(pattern, _)| pattern).collect();
    let mut text = format!(
        "# Completion of sampan for bash. {NOTE}

_sampan_words() {{ COMPREPLY=($(compgen -W \"$1\" -- \"$cur\")); }}

_sampan_files() {{
  compopt -o filenames
  COMPREPLY=($(compgen \"$@\" -- \"$cur\"))
}}

_sampan() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} before='' verb='' place=0 i word
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${{COMP_WORDS[i]}}
    case $word in
      =) continue ;;
      -*) before=$word; continue ;;
    esac
    case $verb:$before in
      {})
        before=''; continue ;;
    esac
    before=''
    if [ -z \"$verb\" ]; then verb=$word; else place=$((place + 1)); fi
  done
  if [ \"$cur\" = = ]; then cur=''; fi
  case $verb:$before in
",
        with_value.join("|")
    );
    for (pattern, action) in flag_values(verbs) {
        text += &format!("    {pattern}) {action}; return ;;\n");
    }
    text += "  esac\n  case $verb:$place:$cur in\n";
    for verb in verbs {
        let names: Vec<_> = verb.flags.iter().flat_map(super::Flag::spellings).collect();
        let names = names.join(" ");
        text += &format!("    {}:0:-*) _sampan_words '{names}' ;;\n", verb.name);
        for (place, argument) in verb.arguments.iter().enumerate() {
            if let Some(action) = action(&argument.value, verbs) {
                text += &format!("    {}:{place}:*) {action} ;;\n", verb.name);
            }
        }
    }
    let commands = action(&Value::Commands, verbs).unwrap();
    text += &format!("    :0:*) {commands} ;;\n  esac\n}}\n\ncomplete -F _sampan sampan\n");
    text
}

fn cases<T>(verbs: &[Verb], of: impl Fn(&Verb) -> Vec<T>) -> Vec<T> {
    verbs.iter().flat_map(of).collect()
}

/// The patterns of the flags that take a value, with what completes it.
fn flag_values(verbs: &[Verb]) -> Vec<(String, String)> {
    cases(verbs, |verb| {
        let flags = verb.flags.iter().filter_map(|flag| {
            let action = action(flag.value.as_ref()?, verbs).unwrap_or_else(|| ":".to_owned());
            let names = flag.spellings();
            let names = names.iter().map(|name| format!("{}:{name}", verb.name));
            Some((names.collect::<Vec<_>>().join("|"), action))
        });
        flags.collect()
    })
}

fn action(value: &Value, verbs: &[Verb]) -> Option<String> {
    let words = |words: Vec<&str>| format!("_sampan_words '{}'", words.join(" "));
    Some(match value {
        Value::Words(given) => words(given.iter().map(String::as_str).collect()),
        Value::Commands => words(verbs[1..].iter().map(|verb| verb.name.as_str()).collect()),
        Value::Containers => {
            "_sampan_words \"$(\"${COMP_WORDS[0]}\" list --quiet 2>/dev/null)\"".to_owned()
        }
        Value::Files => "_sampan_files -f".to_owned(),
        Value::Directories => "_sampan_files -d".to_owned(),
        Value::Free => return None,
    })
}
