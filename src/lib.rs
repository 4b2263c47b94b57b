//! sampan: a low-level OCI container runtime for Linux.
//!
//! [`spec`] parses `config.json` into a validated [`config::Config`]. A pure function turns the
//! config into a [`plan::Plan`], an explicit ordered list of steps. [`run`] then carries
//! out the steps on both sides of one clone3(2).
//!
//! ```text
//! argv ────────cli──▶ verb   ┐
//! config.json ─spec─▶ Config ├─▶ plan::build ─▶ Plan ─▶ runtime ──clone3──▶ init ──execve──▶ program
//! kernel ──────host─▶ Host   ┘     (pure)        │         ▲  one SEQPACKET  │
//!                                                └▶ explain └────pair: Failure┘
//! ```

// What says `pub` has a user outside the crate: a test, or fuzz/, whose feature is on in the workspace.
#![cfg_attr(feature = "fuzzing", warn(unreachable_pub))]
// A number from a config or a file that does not fit must become an error.
#![cfg_attr(not(test), warn(clippy::cast_possible_truncation))]
// Standard output is the answer of a verb. Only main writes it, because writing can fail.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod cgroup;
pub mod cli;
pub mod commands;
pub mod config;
mod criu;
pub mod error;
pub mod host;
mod json;
mod lexical;
pub mod log;
pub mod plan;
pub mod run;
pub mod signal;
mod sorted;
pub mod spec;
mod spelling;
pub mod state;
pub mod sys;
pub mod timestamp;
