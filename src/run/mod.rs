//! The executor of a plan, on both sides of one clone3(2).

pub mod hooks;
pub mod init;
pub mod sync;
