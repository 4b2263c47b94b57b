//! The files that the runtime has opened for the steps of other processes.

use std::os::fd::OwnedFd;

use crate::plan::{List, Plan, Position};

/// Descriptors by the position of their step in the plan.
pub(crate) struct Opened {
    leave: Vec<Option<OwnedFd>>,
    between: Vec<Option<OwnedFd>>,
    init: Vec<Option<OwnedFd>>,
}

impl Opened {
    /// An empty slot for each step of a plan.
    pub(crate) fn none(plan: &Plan) -> Self {
        let none = |count| std::iter::repeat_with(|| None).take(count).collect();
        Self {
            leave: none(plan.leave.len()),
            between: none(plan.between.len()),
            init: none(plan.init.len()),
        }
    }

    /// The slots of a list. There are none for the steps after `start`.
    const fn list(&self, list: List) -> Option<&Vec<Option<OwnedFd>>> {
        match list {
            List::Leave => Some(&self.leave),
            List::Between => Some(&self.between),
            List::Init => Some(&self.init),
            List::Start => None,
        }
    }

    fn place(&mut self, at: Position) -> Option<&mut Option<OwnedFd>> {
        let list = match at.list {
            List::Leave => &mut self.leave,
            List::Between => &mut self.between,
            List::Init => &mut self.init,
            List::Start => return None,
        };
        list.get_mut(at.index)
    }

    /// The descriptor of a step.
    pub(crate) fn get(&self, at: Position) -> Option<&OwnedFd> {
        self.list(at.list)?.get(at.index)?.as_ref()
    }

    /// Removes and returns the descriptor of a step.
    pub(crate) fn take(&mut self, at: Position) -> Option<OwnedFd> {
        self.place(at)?.take()
    }

    /// Stores a descriptor for a step.
    pub(crate) fn put(&mut self, at: Position, descriptor: OwnedFd) {
        if let Some(place) = self.place(at) {
            *place = Some(descriptor);
        }
    }

    /// All descriptors.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &OwnedFd> {
        let lists = [&self.leave, &self.between, &self.init];
        lists.into_iter().flatten().flatten()
    }

    /// Closes all descriptors.
    pub(crate) fn clear(&mut self) {
        (self.leave, self.between, self.init) = (Vec::new(), Vec::new(), Vec::new());
    }
}
