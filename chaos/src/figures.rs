//! The counters and findings of a command.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde_json::{Value, json};

/// Counters by name, and findings: by their kind and by the place where they were provoked, with
/// the ways in which they were provoked there and the result of the first.
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

    /// Records a finding: its kind, and everything that is needed to repeat it.
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

    /// Adds the figures that a worker has sent.
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

    /// The figures in the form that a worker sends.
    pub fn to_json(&self) -> Value {
        json!({"counts": self.counts, "findings": self.findings})
    }

    /// Prints the counters, and `show` places of each kind of finding in full. The exit status
    /// tells whether there were findings.
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

/// A place where findings are provoked. See [`Figures::at`].
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

    /// Records a finding at this place. The text is kept for the first way only.
    pub fn found(&mut self, kind: &str, text: impl Into<String>) {
        let (place, way) = (&self.place, &self.way);
        self.figures.found_at(kind, place, way, text.into());
    }
}
