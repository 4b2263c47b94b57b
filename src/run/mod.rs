//! Executes a plan, on both sides of one clone3(2).

pub(crate) mod failure;
mod hook;
mod init;
pub mod program;
mod protocol;
mod runtime;

pub(crate) use init::inherit::perform as perform_inherited;
pub use runtime::*;

/// For fuzz/.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing {
    pub use super::failure::executable::{check_found, explain};
    pub use super::protocol::{receive_go, receive_opened};
    pub use super::runtime::fuzzing::{await_execve, receive, serve};
}
