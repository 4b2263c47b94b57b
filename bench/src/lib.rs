//! The measuring tools of `scripts/bench` and the runtime tests, and the tracer of `scripts/chaos`.

pub mod count;
pub mod trace;
