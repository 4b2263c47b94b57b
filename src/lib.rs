//! sampan: a low-level OCI container runtime for Linux.
//!
//! `config.json` becomes a validated [`config::Config`]; a pure function turns it into a
//! [`plan::Plan`], an explicit ordered list of steps; a short executor carries the steps out on
//! both sides of one clone3(2).
//!
//! ```text
//! argv ────────cli──▶ Options ┐
//! config.json ─spec─▶ Config  ├─▶ plan::build ─▶ Plan ─▶ run::create ──clone3──▶ run::init ──execve──▶ process
//! kernel ──────host─▶ Host    ┘     (pure)        │           ▲     one SEQPACKET pair │
//!                                                └▶ explain  └── Failure{step, errno} ┘
//! ```

pub mod cgroup;
pub mod cli;
pub mod commands;
pub mod config;
pub mod error;
pub mod host;
mod lexical;
pub mod log;
pub mod plan;
pub mod run;
pub mod signal;
pub mod spec;
pub mod state;
pub mod sys;
pub mod timestamp;
