#![no_main]

sampan_fuzz::libfuzzer!(sampan_fuzz::targets::process::TARGET);
