//! What stands in for the start and the library parts of Rust that the static binary leaves out.
//! Each is justified by a figure in `docs/decisions/`.

pub mod entry;
pub mod heap;
pub mod image;
pub mod mm_map;
pub mod relro;
pub mod remap;
// With other panics or another C library std has its unwinder.
#[cfg(all(panic = "abort", target_env = "musl", not(debug_assertions)))]
mod unwind;
