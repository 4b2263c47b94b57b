//! The entry of libFuzzer into the target of this name.
#![no_main]

sampan_fuzz::libfuzzer!(sampan_fuzz::targets::seccomp::TARGET);
