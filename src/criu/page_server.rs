//! The connection to a page server, which receives the memory of a dump.
//!
//! CRIU moves pages into the connection by splice(2), which for TCP copies nothing: what arrives is
//! what the page contains when the server reads it. Meanwhile CRIU writes code into one of the pages
//! again. Multipath TCP copies what it is given, and is plain TCP for a server that speaks only
//! that. `docs/decisions/page-server.md` has the proof.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::Result;
use nix::errno::Errno;

use super::message::{Options, Switch};
use crate::error::{Context as _, Error};
use crate::sys::{file, socket};

/// CRIU's own configuration file.
const GLOBAL: &[u8] = b"/etc/criu/default.conf";

/// Connects to the page server of the options. `None` if CRIU has to do that: there is none, CRIU
/// is the server, the address is a name, the kernel has no Multipath TCP, or TLS is configured, for
/// which CRIU copies the pages itself.
///
/// # Errors
/// The server does not listen, or a configuration file cannot be read.
pub(crate) fn connect(options: &Options) -> Result<Option<OwnedFd>> {
    let Some((address, port)) = &options.page_server else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(address);
    let Ok(address) = text.parse() else {
        return Ok(None);
    };
    let server = SocketAddr::new(address, *port);
    if options.switches.contains(&Switch::LazyPages) || has_tls(options)? {
        return Ok(None);
    }
    Ok(socket::connect_copying(server).map_err(|fail| {
        let error = Error::failed(format!("--page-server: {text}:{port}"), fail);
        error.hint("criu page-server must run there")
    })?)
}

/// Whether a configuration file of CRIU's speaks of TLS.
fn has_tls(options: &Options) -> Result<bool> {
    for path in [Some(GLOBAL), options.config_file.as_deref()]
        .into_iter()
        .flatten()
    {
        let path = Path::new(OsStr::from_bytes(path));
        match file::read(path) {
            Err(fail) if fail.errno == Errno::ENOENT => {}
            text => {
                let text = text.with_context(|| path.display().to_string())?;
                if text.windows(3).any(|word| word == b"tls") {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}
