//! What `scripts/bench` and the runtime tests measure with.

pub mod count;
