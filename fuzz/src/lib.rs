//! Feeds malformed and unusual input to everything that sampan parses.
//!
//! A [`Target`] is a function that takes bytes and panics if a property does not hold. Code that
//! reads the input must not panic, must end in time, and must answer with an error that names a
//! place. If there is a second way to the same result (a naive evaluator, the complete definition
//! of the command line, the kernel), both must agree.
//!
//! The same functions run in two ways. `fuzz-replay` (this package's binary) needs only the stable
//! toolchain: it runs each target on its seeds, its corpus and a fixed number of random changes of
//! these, the same ones at each run. libFuzzer (`fuzz_targets/`) is guided by the branches that an
//! input reaches, and finds the inputs of the corpora. `scripts/fuzz` builds and runs both.

#[path = "../../tests/seccomp/bpf.rs"]
mod bpf;
#[allow(dead_code, reason = "the tests use more of it")]
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

/// A part of sampan that reads input.
pub struct Target {
    /// The name on the command line, and in `corpus/NAME`.
    pub name: &'static str,
    /// Runs the target. Panics if a property does not hold.
    pub run: fn(&[u8]),
    /// Valid input, made from the tests' data.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Decides how input is changed.
    pub form: Form,
    /// Strings that input may contain, separated by blanks.
    pub words: &'static str,
    /// The maximum length of an input, in bytes.
    pub longest: usize,
    /// The number of random changes that `fuzz-replay` tries.
    pub changes: u32,
}

/// The format of the input, so that most changes of it are not refused at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One JSON document.
    Json,
    /// Lines of text.
    Lines,
    /// Anything.
    Bytes,
}

/// The error of an invalid config must name the property, and no error may write control
/// characters.
fn check_config_error(error: &Error) {
    let text = error.to_string();
    assert!(
        properties::names_a_place(&text),
        "no place is named: {text}"
    );
    check_error(error);
}

/// An error must be one line of text.
fn check_error(error: &Error) {
    let text = error.to_string();
    assert!(!text.is_empty(), "an empty error");
    let odd = text.chars().find(|c| c.is_control());
    assert_eq!(odd, None, "a control character in {text:?}");
}
