//! The command line and the environment, as other processes see them in /proc.

use super::exec;
use super::rt::mm_map::MmMap;

/// What is shown again when this is dropped.
#[must_use]
pub struct Hidden(Option<MmMap>);

/// Shows the name of the program only, as the first word of the command line, until the result is
/// dropped. A process that is made meanwhile shows no more than that until it executes a program.
///
/// Every process may read /proc/PID/cmdline of the processes that it sees. Those of a container see
/// init, and the process of `exec` while it enters: copies of the runtime, on whose command line are
/// values for the program's environment and paths of the host. The runtime shows everything again,
/// so that ps(1) on the host tells what it does. Where the kernel refuses the change, everything
/// stays visible.
pub fn hide() -> Hidden {
    let Some(args) = exec::arguments() else {
        return Hidden(None);
    };
    let Some(name) = args.iter().next() else {
        return Hidden(None);
    };
    let whole = MmMap::own(&args, &exec::environment());
    let hidden = whole.cut(exec::length(name)).tell();
    Hidden(hidden.is_ok().then_some(whole))
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(whole) = self.0 {
            // A kernel that has accepted the former accepts this.
            let _ = whole.tell();
        }
    }
}
