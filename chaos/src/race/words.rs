//! The meaning of the texts of an answer. An unknown text is an oddity: engines match messages, so
//! each must belong to a known class, and to the right one.

use serde_json::Value;

use super::calls::{has_right_descriptors, status};
use super::model::{Answer, Refusal, Verb};

/// An answer, and what is wrong with its text.
#[derive(Clone, Debug, PartialEq)]
pub struct Meaning {
    pub answer: Answer,
    pub oddity: Option<String>,
}

impl From<Answer> for Meaning {
    fn from(answer: Answer) -> Self {
        Self {
            answer,
            oddity: None,
        }
    }
}

/// The verb's name on the command line.
pub fn name(verb: Verb) -> &'static str {
    match verb {
        Verb::Create(_) => "create",
        Verb::Start => "start",
        Verb::Exec => "exec",
        Verb::Kill | Verb::Signal => "kill",
        Verb::State => "state",
        Verb::List => "list",
        Verb::Delete | Verb::DeleteForce => "delete",
        Verb::Pause => "pause",
        Verb::Resume => "resume",
        Verb::Update => "update",
        Verb::Ps => "ps",
    }
}

/// Whether a call with few descriptors reports them as the reason.
pub fn is_starved(out: &str, err: &str) -> bool {
    let text = format!("{out}{err}").to_lowercase();
    text.contains("too many open files") || text.contains("emfile")
}

/// The meaning of any answer except that of `list`.
pub fn meaning(verb: Verb, exit: i32, out: &str, err: &str) -> Meaning {
    if exit == 0 {
        return success(verb, out, err);
    }
    if verb == Verb::Exec && exit == 128 + 9 && err.is_empty() {
        return Answer::Died.into();
    }
    match refusal(verb, err) {
        Some(answer) => answer.into(),
        None => unknown(verb, err),
    }
}

fn unknown(verb: Verb, err: &str) -> Meaning {
    Meaning {
        answer: Answer::Cut,
        oddity: Some(format!(
            "{}: words of no known class: {}",
            name(verb),
            plain(err)
        )),
    }
}

fn success(verb: Verb, out: &str, err: &str) -> Meaning {
    let answer = match verb {
        Verb::State => serde_json::from_str(out)
            .ok()
            .and_then(|value| of_state(&value)),
        Verb::Ps => match serde_json::from_str::<Value>(out) {
            Ok(Value::Null) => Some(Answer::Processes(false)),
            Ok(Value::Array(list)) if !list.is_empty() => Some(Answer::Processes(true)),
            _ => None,
        },
        Verb::Exec => ran(out),
        _ => Some(Answer::Done),
    };
    let mut meaning = answer.map_or_else(|| unknown(verb, out), Meaning::from);
    if verb == Verb::Exec && answer.is_some() && !has_right_descriptors(out) {
        meaning.oddity = Some(format!(
            "exec: other descriptors than 0, 1 and 2: {}",
            plain(out)
        ));
    }
    if !err.is_empty() {
        meaning.oddity = Some(format!(
            "{}: success with text on stderr: {}",
            name(verb),
            plain(err)
        ));
    }
    meaning
}

/// The host name comes from the namespace, the variable from the saved config: both belong to one
/// container.
fn ran(out: &str) -> Option<Answer> {
    let mut words = out.split_whitespace();
    let (name, variable) = (words.next()?, words.next()?);
    (name == variable).then(|| name.parse().ok().map(Answer::Ran))?
}

fn of_state(value: &Value) -> Option<Answer> {
    let generation = value["annotations"]["generation"].as_str()?.parse().ok()?;
    Some(Answer::Status(
        status(value["status"].as_str()?)?,
        generation,
    ))
}

/// The answer of `list` about each of the ids.
pub fn listed(ids: &[String], exit: i32, out: &str, err: &str) -> Vec<(usize, Meaning)> {
    let rows: Option<Vec<Value>> = match serde_json::from_str::<Value>(out) {
        Ok(Value::Null) => Some(Vec::new()),
        Ok(Value::Array(rows)) => Some(rows),
        _ => None,
    };
    let (Some(rows), 0) = (rows, exit) else {
        return vec![(0, unknown(Verb::List, &format!("{out} {err}")))];
    };
    ids.iter()
        .enumerate()
        .map(|(index, id)| {
            let row = rows.iter().find(|row| row["id"] == id.as_str());
            let answer = match row.map(of_state) {
                None => Some(Answer::NotListed),
                Some(answer) => answer,
            };
            let mut meaning = answer.map_or_else(|| unknown(Verb::List, out), Meaning::from);
            // A warning is about a container that cannot be read. `list` must not print one about a
            // container that another process has just removed or only begun to create.
            let warning = err.lines().find(|line| line.contains(id.as_str()));
            if let Some(warning) = warning {
                meaning.oddity = Some(format!("list: a warning: {}", plain(warning)));
            }
            (index, meaning)
        })
        .collect()
}

/// The class of a message.
fn refusal(verb: Verb, text: &str) -> Option<Answer> {
    let has = |part: &str| text.contains(part);
    let refused = |why| Some(Answer::Refused(why));
    if has("belongs to a create") {
        return refused(Refusal::HalfMade);
    }
    if let Some((_, status_word)) = text.split_once("that is not stopped: ") {
        let word = status_word.split([' ', '\n', ';', '(']).next()?;
        return refused(Refusal::NotStopped(status(word)?));
    }
    if has("died while it was set up") || has("init died before it executed") {
        return Some(Answer::Died);
    }
    let overtaken = [
        "init died while it set the container up",
        "was deleted while it was created",
    ];
    if matches!(verb, Verb::Create(_)) && overtaken.into_iter().any(has) {
        return Some(Answer::Died);
    }
    let classes = [
        ("container does not exist", Refusal::NotThere),
        ("already exists", Refusal::Exists),
        (
            "cannot start an already running container",
            Refusal::AlreadyRunning,
        ),
        ("that has stopped", Refusal::HasStopped),
        ("in a stopped container", Refusal::HasStopped),
        ("that is being created", Refusal::BeingCreated),
        ("a paused container", Refusal::IsPaused),
        ("in the paused state", Refusal::IsPaused),
        ("it is paused", Refusal::IsPaused),
        ("container not running", Refusal::NotRunning),
        ("container not paused", Refusal::NotPaused),
    ];
    classes
        .into_iter()
        .find(|(part, _)| has(part))
        .and_then(|(_, why)| refused(why))
}

/// The message of a log line, without its time.
pub fn message(text: &str) -> &str {
    match text.split_once("msg=\"") {
        Some((_, message)) => message,
        None => text,
    }
}

/// The text without numbers, so that texts that differ only in numbers count as one kind.
pub fn plain(text: &str) -> String {
    let line = message(text).trim().replace('\n', " | ");
    let mut plain = String::new();
    for letter in line.chars() {
        match letter {
            '0'..='9' if plain.ends_with('N') => {}
            '0'..='9' => plain.push('N'),
            letter => plain.push(letter),
        }
    }
    plain
}
