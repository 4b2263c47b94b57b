//! The paths that a source file names. Imports are split into single paths, and `super` and `self`
//! are resolved.

/// One path, method or keyword in the source.
#[derive(Debug)]
pub struct Mention {
    /// `crate::sys::mount`, `.exists` for a method call, or `unsafe`.
    pub path: String,
    /// Its line, from 1.
    pub line: usize,
    /// Whether it is called: a parenthesis follows it or, for an import, follows its name somewhere
    /// in the file.
    pub called: bool,
    /// Whether it is part of a `use`.
    pub imported: bool,
}

impl Mention {
    /// Whether its last part begins like the name of a function or module.
    pub fn ends_in_lower_case(&self) -> bool {
        let last = self.path.rsplit("::").next().unwrap_or_default();
        !last.starts_with(|c: char| c.is_ascii_uppercase())
    }

    /// Whether the path is `prefix` or below it.
    pub fn is_in(&self, prefix: &str) -> bool {
        let rest = self.path.strip_prefix(prefix);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    }
}

/// Everything that `file`, relative to `src/`, names outside its test modules.
pub fn mentions(file: &str, text: &str) -> Vec<Mention> {
    let tokens = without_tests(tokens(&blank_out(text)));
    let mut reader = Reader {
        module: module_of(file),
        tokens: &tokens,
        at: 0,
        found: Vec::new(),
    };
    reader.read();
    reader.found
}

/// `plan/mounts.rs` is `crate::plan::mounts`, `plan/mod.rs` and `plan.rs` are `crate::plan`.
pub fn module_of(file: &str) -> Vec<String> {
    let name = file.trim_end_matches(".rs").trim_end_matches("/mod");
    let inner = name
        .split('/')
        .filter(|part| !["lib", "main"].contains(part));
    std::iter::once("crate")
        .chain(inner)
        .map(str::to_owned)
        .collect()
}

/// Replaces comments and the content of strings and characters by blanks; keeps the lines.
fn blank_out(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
            continue;
        }
        let lines = chars[at..end].iter().filter(|c| **c == '\n').count();
        out.push(' ');
        out.extend(std::iter::repeat_n('\n', lines));
        at = end;
    }
    out
}

/// The end of the comment, string or character that begins at `at`. `at` if none begins there.
fn literal_end(chars: &[char], at: usize) -> usize {
    let rest = &chars[at..];
    let after_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match rest {
        ['/', '/', ..] => at + rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
        ['/', '*', ..] => at + block_comment(rest),
        ['r', '#' | '"', ..] if !after_word => raw_string(rest).map_or(at, |length| at + length),
        ['"', ..] => at + quoted(rest, '"'),
        // A character, not a lifetime: `'x'` or an escape.
        ['\'', '\\', ..] | ['\'', _, '\'', ..] => at + quoted(rest, '\''),
        _ => at,
    }
}

fn block_comment(rest: &[char]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// `None` for a raw identifier, `r#type`.
fn raw_string(rest: &[char]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
    if rest.get(1 + hashes) != Some(&'"') {
        return None;
    }
    let body = 2 + hashes;
    let closes = |at: &usize| {
        rest[*at] == '"'
            && rest[at + 1..].len() >= hashes
            && rest[at + 1..at + 1 + hashes].iter().all(|c| *c == '#')
    };
    let end = (body..rest.len()).find(closes);
    Some(end.map_or(rest.len(), |end| end + 1 + hashes))
}

fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// A word, `::` or a single character, with its line.
type Token = (String, usize);

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut line = 1;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        line += usize::from(c == '\n');
        if c.is_whitespace() {
            continue;
        }
        let mut token = c.to_string();
        if c.is_alphanumeric() || c == '_' {
            while let Some(next) = chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
                token.push(next);
            }
        } else if c == ':' && chars.next_if_eq(&':').is_some() {
            token.push(':');
        }
        tokens.push((token, line));
    }
    tokens
}

/// Drops every item after `#[cfg(test)]`, up to its closing brace or semicolon.
fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    let marker = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let here = tokens[at..].iter().map(|(token, _)| token.as_str());
        if !here.take(marker.len()).eq(marker) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let mut depth = 0;
        at += marker.len();
        while at < tokens.len() {
            let token = tokens[at].0.as_str();
            depth += i32::from(token == "{") - i32::from(token == "}");
            at += 1;
            if depth == 0 && (token == "}" || token == ";") {
                break;
            }
        }
    }
    kept
}

struct Reader<'t> {
    module: Vec<String>,
    tokens: &'t [Token],
    at: usize,
    found: Vec<Mention>,
}

impl Reader<'_> {
    fn token(&self, ahead: usize) -> &str {
        self.tokens
            .get(self.at + ahead)
            .map_or("", |(token, _)| token)
    }

    fn is_word(&self, ahead: usize) -> bool {
        self.token(ahead)
            .starts_with(|c: char| c.is_alphabetic() || c == '_')
    }

    fn read(&mut self) {
        while self.at < self.tokens.len() {
            match self.token(0) {
                "use" => {
                    self.at += 1;
                    self.read_import(&[]);
                }
                "." if self.is_word(1) && self.token(2) == "(" => {
                    let method = format!(".{}", self.token(1));
                    self.mention(method, true, false);
                    self.at += 2;
                }
                "unsafe" => {
                    self.mention("unsafe".into(), false, false);
                    self.at += 1;
                }
                _ if self.is_word(0) && self.token(1) == "::" => self.read_path(),
                _ => self.at += 1,
            }
        }
    }

    /// `a::b::c` outside an import.
    fn read_path(&mut self) {
        let start = self.at;
        let mut path = vec![self.token(0).to_owned()];
        self.at += 1;
        while self.token(0) == "::" && self.is_word(1) {
            path.push(self.token(1).to_owned());
            self.at += 2;
        }
        let (called, end) = (self.token(0) == "(", self.at);
        self.at = start;
        self.mention(self.resolve(&path), called, false);
        self.at = end.max(start + 1);
    }

    /// Reads the tree after `use`, below `prefix`, and moves past it.
    fn read_import(&mut self, prefix: &[String]) {
        let mut path = prefix.to_vec();
        loop {
            match self.token(0) {
                "::" => self.at += 1,
                "{" => {
                    self.at += 1;
                    while !matches!(self.token(0), "}" | "") {
                        self.read_import(&path);
                        self.at += usize::from(self.token(0) == ",");
                    }
                    self.at += 1;
                    return;
                }
                "as" => self.at += 2,
                "," | "}" | ";" | "" => {
                    let called = path.last().is_some_and(|name| self.calls(name));
                    let path = self.resolve(&path);
                    self.mention(path, called, true);
                    return;
                }
                "self" if !path.is_empty() => self.at += 1,
                word => {
                    path.push(word.to_owned());
                    self.at += 1;
                }
            }
        }
    }

    /// Whether the file calls `name` without a path or receiver.
    fn calls(&self, name: &str) -> bool {
        self.tokens.windows(3).any(|three| {
            let [before, word, after] = three else {
                return false;
            };
            word.0 == name && after.0 == "(" && !["fn", ".", "::"].contains(&before.0.as_str())
        })
    }

    /// Makes a path that starts with `self` or `super` start with `crate`.
    fn resolve(&self, path: &[String]) -> String {
        let supers = path.iter().take_while(|part| *part == "super").count();
        let own = path.first().is_some_and(|part| part == "self");
        if supers == 0 && !own {
            return path.join("::");
        }
        let base = self.module.len().saturating_sub(supers).max(1);
        let rest = &path[supers + usize::from(own)..];
        [&self.module[..base], rest].concat().join("::")
    }

    fn mention(&mut self, path: String, called: bool, imported: bool) {
        let line = self
            .tokens
            .get(self.at)
            .or(self.tokens.last())
            .map_or(0, |(_, line)| *line);
        self.found.push(Mention {
            path,
            line,
            called,
            imported,
        });
    }
}
