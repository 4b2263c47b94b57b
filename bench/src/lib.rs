//! What `scripts/bench` and the runtime tests measure with, and `scripts/chaos` disturbs with.

pub mod count;
pub mod trace;
