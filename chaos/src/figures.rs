//! What a command has counted and found.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde_json::{Value, json};

/// Counters by name, and what should not have happened: by its kind and by the place where it was
/// provoked, with the ways in which it was provoked there and what came of the first.
#[derive(Debug, Default)]
pub struct Figures {
    counts: BTreeMap<String, u64>,
    findings: BTreeMap<String, BTreeMap<String, (Vec<String>, String)>>,
}

impl Figures {
    /// Adds to a counter.
    pub fn add(&mut self, name: &str, count: u64) {
        *self.counts.entry(name.to_owned()).or_default() += count;
    }

    /// Something that should not have happened: its kind, and all that is needed to repeat it.
    pub fn found(&mut self, kind: &str, text: String) {
        self.found_at(kind, &text, "", String::new());
    }

    /// A place where findings are provoked, and the way in which that is done this time.
    pub fn at(&mut self, place: String, way: String) -> Place<'_> {
        Place {
            figures: self,
            place,
            way,
        }
    }

    fn found_at(&mut self, kind: &str, place: &str, way: &str, text: String) {
        let places = self.findings.entry(kind.to_owned()).or_default();
        let (ways, _) = places
            .entry(place.to_owned())
            .or_insert_with(|| (Vec::new(), text));
        ways.push(way.to_owned());
    }

    /// Takes over what a worker has sent.
    pub fn merge(&mut self, sent: &Value) {
        for (name, count) in members(&sent["counts"]) {
            self.add(name, count.as_u64().unwrap_or_default());
        }
        for (kind, places) in members(&sent["findings"]) {
            for (place, found) in members(places) {
                for way in found[0].as_array().into_iter().flatten() {
                    let text = found[1].as_str().unwrap_or_default().to_owned();
                    self.found_at(kind, place, way.as_str().unwrap_or_default(), text);
                }
            }
        }
    }

    /// What a worker sends.
    pub fn to_json(&self) -> Value {
        json!({"counts": self.counts, "findings": self.findings})
    }

    /// Prints the counters and, in full, so many places of each kind of finding; the exit status
    /// says whether there were any.
    pub fn report(&self, command: &str, show: usize) -> ExitCode {
        let mut findings = 0;
        for (kind, places) in &self.findings {
            let count: usize = places.values().map(|(ways, _)| ways.len()).sum();
            findings += count;
            println!("FOUND {count} times at {} places: {kind}", places.len());
            for (place, (ways, text)) in places.iter().take(show) {
                let text = format!("{place}: {}\n{}", ways.join(", "), text.trim());
                println!(
                    "    {}",
                    text.trim_end_matches([' ', ':', '\n'])
                        .replace('\n', "\n      ")
                );
            }
            if places.len() > show {
                println!("    and {} more places", places.len() - show);
            }
        }
        for (name, count) in &self.counts {
            println!("{command}: {name}: {count}");
        }
        println!("{command}: findings: {findings}");
        ExitCode::from(u8::from(findings > 0))
    }
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// Where something is provoked. See [`Figures::at`].
pub struct Place<'f> {
    figures: &'f mut Figures,
    place: String,
    way: String,
}

impl Place<'_> {
    /// Adds 1 to a counter.
    pub fn count(&mut self, name: &str) {
        self.figures.add(name, 1);
    }

    /// Something that should not have happened here. The text is kept for the first way only.
    pub fn found(&mut self, kind: &str, text: impl Into<String>) {
        let (place, way) = (&self.place, &self.way);
        self.figures.found_at(kind, place, way, text.into());
    }
}
