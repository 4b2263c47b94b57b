//! Stands in for the `regex` crate: `oci-spec` uses it to check one CPU list,
//! and `regex-lite` does that in a twentieth of the code size.
pub use regex_lite::*;
