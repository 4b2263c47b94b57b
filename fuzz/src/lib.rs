//! What sampan reads, fed with input that nobody would write.
//!
//! A [`Target`] is a function of bytes that panics when a property does not hold: what is read must
//! never panic, end in time, and answer with an error that names a place; and where there is a
//! second way to the same answer (a naive evaluator, the whole definition of the command line, the
//! kernel), both must agree.
//!
//! The same functions run in two ways. `fuzz-replay` (this package's binary) needs no more than the
//! stable toolchain: it feeds each target with its seeds and its corpus and then with a fixed number
//! of random changes of these, the same ones at each run. libFuzzer (`fuzz_targets/`) is guided by
//! the branches that an input reaches, and finds what goes into the corpora. `scripts/fuzz` builds
//! and runs both.

#[path = "../../tests/seccomp/bpf.rs"]
mod bpf;
#[allow(dead_code)]
#[path = "../../tests/plans/case.rs"]
mod case;
#[cfg(feature = "libfuzzer")]
pub mod libfuzzer;
mod mutate;
#[path = "../../src/config/tests/mutator.rs"]
mod mutator;
#[path = "../../tests/seccomp/naive.rs"]
mod naive;
#[path = "../../tests/plans/properties.rs"]
mod properties;
mod scratch;
pub mod targets;

use sampan::error::Error;

pub use mutate::Mutator;
pub use mutator::Random;

/// Something that reads input.
pub struct Target {
    /// As on the command line, and in `corpus/NAME`.
    pub name: &'static str,
    /// Feeds it. Panics when a property does not hold.
    pub run: fn(&[u8]),
    /// Input as it is meant to be, made from what the tests have.
    pub seeds: fn() -> Vec<Vec<u8>>,
    pub form: Form,
    /// Words that input may have, with blanks between.
    pub words: &'static str,
    /// The longest input, in bytes.
    pub longest: usize,
    /// How many random changes `fuzz-replay` tries.
    pub changes: u32,
}

/// What input looks like, so that most changes of it are not refused at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Json,
    /// Lines of text.
    Lines,
    Bytes,
}

/// The error of a wrong config names the property; no error writes to a terminal.
fn check_config_error(error: &Error) {
    let text = error.to_string();
    assert!(
        properties::names_a_place(&text),
        "no place is named: {text}"
    );
    check_error(error);
}

/// An error is one line of text.
fn check_error(error: &Error) {
    let text = error.to_string();
    assert!(!text.is_empty(), "an empty error");
    let odd = text.chars().find(|c| c.is_control());
    assert_eq!(odd, None, "a control character in {text:?}");
}
