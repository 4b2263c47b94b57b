//! What a command has counted and found.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde_json::{Value, json};

/// How many findings of one kind are printed in full.
const SHOWN: usize = 10;

/// Counters by name, and what should not have happened.
#[derive(Debug, Default)]
pub struct Figures {
    counts: BTreeMap<String, u64>,
    findings: BTreeMap<String, Vec<String>>,
}

impl Figures {
    /// Adds to a counter.
    pub fn add(&mut self, name: &str, count: u64) {
        *self.counts.entry(name.to_owned()).or_default() += count;
    }

    /// Something that should not have happened: its kind, and all that is needed to repeat it.
    pub fn found(&mut self, kind: &str, text: String) {
        self.findings.entry(kind.to_owned()).or_default().push(text);
    }

    /// Takes over what a worker has sent.
    pub fn merge(&mut self, sent: &Value) {
        for (name, count) in sent["counts"].as_object().into_iter().flatten() {
            self.add(name, count.as_u64().unwrap_or_default());
        }
        for (kind, texts) in sent["findings"].as_object().into_iter().flatten() {
            for text in texts.as_array().into_iter().flatten() {
                self.found(kind, text.as_str().unwrap_or_default().to_owned());
            }
        }
    }

    /// What a worker sends.
    pub fn to_json(&self) -> Value {
        json!({"counts": self.counts, "findings": self.findings})
    }

    /// Prints the counters and the findings; the exit status says whether there were any.
    pub fn report(&self, command: &str) -> ExitCode {
        for (kind, texts) in &self.findings {
            println!("FOUND {} times: {kind}", texts.len());
            for text in texts.iter().take(SHOWN) {
                println!("    {}", text.trim_end().replace('\n', "\n    "));
            }
            if texts.len() > SHOWN {
                println!("    and {} more", texts.len() - SHOWN);
            }
        }
        for (name, count) in &self.counts {
            println!("{command}: {name}: {count}");
        }
        let found: usize = self.findings.values().map(Vec::len).sum();
        println!("{command}: findings: {found}");
        ExitCode::from(u8::from(found > 0))
    }
}
