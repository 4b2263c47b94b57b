//! A target as a libFuzzer program.

use std::sync::OnceLock;

use crate::{Mutator, Random, Target};

/// Defines a target's program: the function that it runs, and how its input is changed.
#[macro_export]
macro_rules! libfuzzer {
    ($target:path) => {
        libfuzzer_sys::fuzz_target!(|data: &[u8]| ($target.run)(data));
        libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
            sampan_fuzz::libfuzzer::mutate(&$target, data, size, max_size, seed)
        });
    };
}

/// Changes the first `size` bytes of `data`: half of the time according to the target's format, and
/// otherwise as libFuzzer does.
pub fn mutate(
    target: &'static Target,
    data: &mut [u8],
    size: usize,
    max_size: usize,
    seed: u32,
) -> usize {
    static MUTATOR: OnceLock<Mutator> = OnceLock::new();
    if seed.is_multiple_of(2) {
        return libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    }
    let mutator = MUTATOR.get_or_init(|| Mutator::new(target));
    let mut random = Random((u64::from(seed) << 32) | 0x9e37_79b9);
    let mut changed = mutator.change(&data[..size], &mut random);
    changed.truncate(max_size);
    data[..changed.len()].copy_from_slice(&changed);
    changed.len()
}
