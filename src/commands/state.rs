//! `state`: prints the state of a container as JSON.

use anyhow::Result;

use super::{Context, DONE, Verb, pretty, print};
use crate::cli::flags::flags;
use crate::cli::groups::Container;

flags! {
    /// Print the state of a container as JSON.
    ///
    /// In paths, U+FFFD replaces bytes that are not UTF-8. The other commands use the exact bytes.
    #[derive(Debug)]
    pub(super) struct State {
        #[command(flatten)]
        pub container: Container,
    }
}

impl Verb for State {
    fn container(&self) -> Option<&str> {
        Some(&self.container.id)
    }

    /// Prints the container's state. `owner` is empty, as in the output of other runtimes; only
    /// `list` fills it in.
    fn run(&self, context: &Context) -> Result<u8> {
        let (dir, state) = context.load(&self.container.id)?;
        let status = state.status(&dir)?;
        print(&pretty(&state.view(status, String::new()))?)?;
        Ok(DONE)
    }
}
