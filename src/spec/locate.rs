//! Finds the path of the property at a position in JSON text.

/// One open array or object on the way down to the position.
enum Frame {
    /// The key whose value is being read, if any was read.
    Object(Option<String>),
    Array(usize),
}

/// The path of the last value that begins or ends within the first `end` bytes of `json`, such as
/// `linux.devices[2].type`. Empty for the document itself.
///
/// `json` must be well formed up to `end`.
pub(super) fn path_at(json: &str, end: usize) -> String {
    let bytes = &json.as_bytes()[..end.min(json.len())];
    let mut frames = Vec::new();
    let mut just_opened = false;
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        at += 1;
        match byte {
            b'{' => frames.push(Frame::Object(None)),
            b'[' => frames.push(Frame::Array(0)),
            b'}' | b']' => {
                frames.pop();
            }
            b',' => {
                if let Some(Frame::Array(index)) = frames.last_mut() {
                    *index += 1;
                }
            }
            b'"' => {
                let start = at;
                at = string_end(bytes, start);
                if is_key(json.as_bytes(), at)
                    && let Some(Frame::Object(key)) = frames.last_mut()
                {
                    *key = Some(unquote(&json[start - 1..at]));
                }
            }
            _ => {}
        }
        if !byte.is_ascii_whitespace() {
            just_opened = matches!(byte, b'{' | b'[');
        }
    }
    if just_opened {
        frames.pop();
    }
    render(&frames)
}

/// The position after the closing quote of the string whose content begins at `at`.
pub(super) fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn is_key(bytes: &[u8], end: usize) -> bool {
    bytes[end..].iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':')
}

fn unquote(quoted: &str) -> String {
    serde_json::from_str(quoted).unwrap_or_else(|_| quoted.to_owned())
}

fn render(frames: &[Frame]) -> String {
    let mut path = String::new();
    for frame in frames {
        match frame {
            Frame::Array(index) => path.push_str(&format!("[{index}]")),
            Frame::Object(None) => {}
            Frame::Object(Some(key)) => path = join(&path, key),
        }
    }
    path
}

/// `path.key`, or `path["key"]` if the key is not a plain identifier.
pub(super) fn join(path: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    match (path, plain) {
        ("", _) => key.to_owned(),
        (path, true) => format!("{path}.{key}"),
        (path, false) => format!("{path}[{key:?}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The path at the mark `^`, which is removed from the text.
    fn path(marked: &str) -> String {
        let end = marked.find('^').expect("a mark");
        path_at(&marked.replace('^', ""), end)
    }

    #[test]
    fn the_last_value_is_named() {
        for (marked, expected) in [
            (r#"{"a": 1^}"#, "a"),
            (r#"{"a": 1, "b": "x"^}"#, "b"),
            (r#"{"a": {"b": [1, {"c": "x]},{"^}]}}"#, "a.b[1].c"),
            (r#"{"a": {"b": [1, {"c": 2}^]}}"#, "a.b[1]"),
            (r#"{"a": {"b": [1, 2]^}}"#, "a.b"),
            (r#"{"a": [^1]}"#, "a"),
            (r#"{"a": {^"b": 1}}"#, "a"),
            (r#"{"a": 1}^"#, ""),
            (r#"{"a" : {"b c\u0021" : "q\"" ^}}"#, r#"a["b c!"]"#),
        ] {
            assert_eq!(path(marked), expected, "{marked}");
        }
    }
}
