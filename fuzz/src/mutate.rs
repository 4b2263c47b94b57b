//! Random changes of input.

use serde_json::{Number, Value};

use crate::mutator::{Random, mutate, pointers};
use crate::{Form, Target};

/// Changes the input of one target.
pub struct Mutator {
    target: &'static Target,
    /// The seeds, whose parts are inserted into other input.
    seeds: Vec<Vec<u8>>,
    /// The seeds that are JSON.
    donors: Vec<Value>,
    words: Vec<&'static str>,
}

/// Numbers at the limits of fields and loops.
const NUMBERS: [u64; 16] = [
    0,
    1,
    2,
    7,
    8,
    64,
    127,
    255,
    256,
    4096,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    i64::MAX as u64,
    u64::MAX,
];

/// Characters with a meaning for parsers.
const CHARACTERS: &str = "/.:,=-_+@%*\\\"' \t\n\0\u{7f}\u{e9}\u{2028}0aZ";

impl Mutator {
    /// Begins with the seeds of the target.
    pub fn new(target: &'static Target) -> Self {
        let seeds = (target.seeds)();
        let json = |seed: &Vec<u8>| serde_json::from_slice(seed).ok();
        Self {
            target,
            donors: seeds.iter().filter_map(json).collect(),
            words: target.words.split_whitespace().chain([""]).collect(),
            seeds,
        }
    }

    /// `input` with one or a few changes.
    pub fn change(&self, input: &[u8], random: &mut Random) -> Vec<u8> {
        let mut out = input.to_vec();
        for _ in 0..=random.below(4) {
            // One change in eight ignores the format.
            let form = match random.below(8) {
                0 => Form::Bytes,
                _ => self.target.form,
            };
            let changed = match form {
                Form::Json => self.json(&out, random),
                Form::Lines => self.lines(&out, random),
                Form::Bytes => None,
            };
            let changed = changed.filter(|changed| changed.len() <= self.target.longest);
            out = changed.unwrap_or_else(|| self.bytes(&out, random));
        }
        out.truncate(self.target.longest);
        out
    }

    fn word(&self, random: &mut Random) -> &'static str {
        self.words[random.below(self.words.len())]
    }

    fn bytes(&self, input: &[u8], random: &mut Random) -> Vec<u8> {
        let mut out = input.to_vec();
        let at = random.below(out.len() + 1);
        let end = at + random.below((out.len() - at).min(64) + 1);
        match random.below(8) {
            0 => drop(out.drain(at..end)),
            1 => {
                let copy = out[at..end].to_vec();
                let to = random.below(out.len() + 1);
                out.splice(to..to, copy);
            }
            2 => drop(out.splice(at..at, self.word(random).bytes())),
            3 => {
                let number = NUMBERS[random.below(NUMBERS.len())].to_le_bytes();
                let mut bytes = number[..1 << random.below(4)].to_vec();
                if random.below(2) == 0 {
                    bytes.reverse();
                }
                let end = (at + bytes.len()).min(out.len());
                out.splice(at..end, bytes);
            }
            4 => out.truncate(at),
            5 if !self.seeds.is_empty() => {
                let other = &self.seeds[random.below(self.seeds.len())];
                let from = random.below(other.len() + 1);
                let length = random.below((other.len() - from).min(256) + 1);
                out.splice(at..end, other[from..from + length].iter().copied());
            }
            6 if at < out.len() => out[at] ^= 1 << random.below(8),
            _ if at < out.len() => out[at] = random.below(256) as u8,
            _ => out.push(random.below(256) as u8),
        }
        out
    }

    fn lines(&self, input: &[u8], random: &mut Random) -> Option<Vec<u8>> {
        let text = std::str::from_utf8(input).ok()?;
        let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
        let at = random.below(lines.len());
        match random.below(8) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, self.word(random).to_owned()),
            2 => lines[at] = self.word(random).to_owned(),
            3 => {
                let other = random.below(lines.len());
                lines.swap(at, other);
            }
            4 => {
                let copy = lines[random.below(lines.len())].clone();
                lines.insert(at, copy);
            }
            5 => {
                let value = self.word(random);
                lines[at] = format!("{}={value}", lines[at]);
            }
            _ => lines[at] = self.string(&lines[at], random),
        }
        Some(lines.join("\n").into_bytes())
    }

    fn string(&self, text: &str, random: &mut Random) -> String {
        let mut chars: Vec<char> = text.chars().collect();
        let at = random.below(chars.len() + 1);
        let odd = || CHARACTERS.chars();
        match random.below(6) {
            0 => chars.insert(at, odd().nth(random.below(odd().count())).unwrap_or('/')),
            1 => drop(chars.drain(at..)),
            2 => drop(chars.drain(..at)),
            3 => drop(chars.splice(at..at, self.word(random).chars())),
            4 => chars = self.word(random).chars().collect(),
            _ => chars.extend(text.chars().chain("x".chars())),
        }
        chars.into_iter().collect()
    }

    fn json(&self, input: &[u8], random: &mut Random) -> Option<Vec<u8>> {
        let mut value: Value = serde_json::from_slice(input).ok()?;
        match random.below(4) {
            0 => mutate(&mut value, random),
            1 => self.graft(&mut value, random),
            _ => self.adjust(&mut value, random),
        }
        serde_json::to_vec(&value).ok()
    }

    /// Copies a part of a seed to the same place.
    fn graft(&self, value: &mut Value, random: &mut Random) {
        if self.donors.is_empty() {
            return;
        }
        let donor = &self.donors[random.below(self.donors.len())];
        let mut all = Vec::new();
        pointers(donor, "", &mut all);
        if all.is_empty() {
            return;
        }
        let wanted = &all[random.below(all.len())];
        let mut at = String::new();
        // Follows the path as far as the value has it. The part brings what is missing below.
        for key in wanted.split('/').skip(1) {
            let Some(parent) = value.pointer_mut(&at) else {
                return;
            };
            let below = format!("{at}/{key}");
            let part = donor.pointer(&below).cloned().unwrap_or_default();
            let name = key.replace("~1", "/").replace("~0", "~");
            match parent {
                Value::Object(members) if !members.contains_key(&name) => {
                    members.insert(name, part);
                    return;
                }
                Value::Array(elements) if value_index(&name) >= elements.len() => {
                    elements.push(part);
                    return;
                }
                Value::Object(_) | Value::Array(_) => at = below,
                scalar => {
                    *scalar = donor.pointer(&at).cloned().unwrap_or_default();
                    return;
                }
            }
        }
        if let (Some(place), Some(part)) = (value.pointer_mut(wanted), donor.pointer(wanted)) {
            *place = part.clone();
        }
    }

    /// Changes one value slightly.
    fn adjust(&self, value: &mut Value, random: &mut Random) {
        let mut all = Vec::new();
        pointers(value, "", &mut all);
        if all.is_empty() {
            return;
        }
        let at = &all[random.below(all.len())];
        let Some(place) = value.pointer_mut(at) else {
            return;
        };
        match place {
            Value::Null => *place = Value::Bool(true),
            Value::Bool(on) => *on = !*on,
            Value::Number(number) => *place = Value::Number(near(number, random)),
            Value::String(text) => *text = self.string(text, random),
            Value::Array(elements) if !elements.is_empty() => {
                let one = random.below(elements.len());
                let other = random.below(elements.len());
                match random.below(3) {
                    0 => elements.push(elements[one].clone()),
                    1 => elements.swap(one, other),
                    _ => drop(elements.remove(one)),
                }
            }
            Value::Array(elements) => elements.push(Value::String(self.word(random).to_owned())),
            Value::Object(members) => {
                let word = self.word(random).to_owned();
                members.insert(word, Value::String(self.word(random).to_owned()));
            }
        }
    }
}

fn value_index(name: &str) -> usize {
    name.parse().unwrap_or(usize::MAX)
}

fn near(number: &Number, random: &mut Random) -> Number {
    let value = number.as_i64().unwrap_or(i64::MAX);
    match random.below(6) {
        0 => value.wrapping_add(1).into(),
        1 => value.wrapping_sub(1).into(),
        2 => value.wrapping_mul(2).into(),
        3 => value.wrapping_neg().into(),
        _ => NUMBERS[random.below(NUMBERS.len())].into(),
    }
}
