//! The position of a step in a plan. With it, one process reports a step and another one finds its
//! text.

use super::{
    EntryStep, HookStep, InheritedStep, InitStep, Plan, Planned, Rlimit, RuntimeStep, Steps,
};

/// The lists whose steps are executed by processes other than the runtime, and [`Plan::leave`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// [`Plan::leave`].
    Leave,
    /// [`Plan::between`].
    Between,
    /// [`Plan::init`].
    Init,
    /// [`Plan::start`].
    Start,
}

impl List {
    /// The phase of its steps, in the words of `explain`.
    pub const fn phase(self) -> &'static str {
        match self {
            Self::Leave | Self::Between => "clone",
            Self::Init => "init",
            Self::Start => "start",
        }
    }
}

/// The position of a step in a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The list that has the step.
    pub list: List,
    /// Its place in the list, from 0.
    pub index: usize,
}

const LISTS: [List; 4] = [List::Leave, List::Between, List::Init, List::Start];
/// The number of low bits that hold the index.
const INDEX_BITS: u32 = 28;

impl Position {
    /// A step of [`Plan::init`].
    pub const fn init(index: usize) -> Self {
        let list = List::Init;
        Self { list, index }
    }

    /// The position as one number.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a plan has far fewer steps than INDEX_BITS can count"
    )]
    pub const fn number(self) -> u32 {
        (self.list as u32) << INDEX_BITS | self.index as u32
    }

    /// The position with this number.
    pub fn from_number(number: u32) -> Option<Self> {
        let list = *LISTS.get((number >> INDEX_BITS) as usize)?;
        let index = (number & ((1 << INDEX_BITS) - 1)) as usize;
        Some(Self { list, index })
    }
}

/// A step of any list, for its text.
#[derive(Clone, Copy)]
#[allow(missing_docs, reason = "the variants are named as the types")]
pub enum AnyStep<'a> {
    Runtime(&'a RuntimeStep),
    Entry(&'a EntryStep),
    Inherited(&'a InheritedStep),
    Init(&'a InitStep),
    Hook(&'a HookStep),
    Rlimit(&'a Rlimit),
}

impl<'a> From<&'a RuntimeStep> for AnyStep<'a> {
    fn from(step: &'a RuntimeStep) -> Self {
        Self::Runtime(step)
    }
}

impl<'a> From<&'a EntryStep> for AnyStep<'a> {
    fn from(step: &'a EntryStep) -> Self {
        Self::Entry(step)
    }
}

impl<'a> From<&'a InheritedStep> for AnyStep<'a> {
    fn from(step: &'a InheritedStep) -> Self {
        Self::Inherited(step)
    }
}

impl<'a> From<&'a InitStep> for AnyStep<'a> {
    fn from(step: &'a InitStep) -> Self {
        match step {
            InitStep::Enter(step) => Self::Entry(step),
            InitStep::Inherited(step) => Self::Inherited(step),
            InitStep::Hook(hook) => Self::Hook(hook),
            InitStep::Rlimit(limit) => Self::Rlimit(limit),
            step => Self::Init(step),
        }
    }
}

impl<'a> From<&'a HookStep> for AnyStep<'a> {
    fn from(hook: &'a HookStep) -> Self {
        Self::Hook(hook)
    }
}

impl<'a> From<&'a Rlimit> for AnyStep<'a> {
    fn from(limit: &'a Rlimit) -> Self {
        Self::Rlimit(limit)
    }
}

/// A step of any list, with its origin.
#[derive(Clone, Copy)]
pub struct Found<'a> {
    /// See [`Planned::field`].
    pub field: &'a str,
    /// The step.
    pub step: AnyStep<'a>,
}

impl<S> Planned<S> {
    /// The step with its origin, for its text.
    pub fn found<'a>(&'a self) -> Found<'a>
    where
        AnyStep<'a>: From<&'a S>,
    {
        Found {
            field: &self.field,
            step: AnyStep::from(&self.step),
        }
    }
}

impl Plan {
    /// The steps of all processes that enter other namespaces.
    pub fn entry_steps(&self) -> impl Iterator<Item = (Position, Found<'_>)> {
        fn list<S>(steps: &Steps<S>, list: List) -> impl Iterator<Item = (Position, Found<'_>)>
        where
            for<'a> AnyStep<'a>: From<&'a S>,
        {
            let steps = steps.iter().enumerate();
            steps.map(move |(index, planned)| (Position { list, index }, planned.found()))
        }
        list(&self.leave, List::Leave)
            .chain(list(&self.between, List::Between))
            .chain(list(&self.init, List::Init))
            .filter(|(_, found)| matches!(found.step, AnyStep::Entry(_)))
    }

    /// The step at a position. `None` if there is none: the position may come from a process that
    /// cannot be trusted.
    pub fn at(&self, position: Position) -> Option<Found<'_>> {
        fn get<'a, S>(steps: &'a Steps<S>, index: usize) -> Option<Found<'a>>
        where
            AnyStep<'a>: From<&'a S>,
        {
            steps.get(index).map(Planned::found)
        }
        let index = position.index;
        match position.list {
            List::Leave => get(&self.leave, index),
            List::Between => get(&self.between, index),
            List::Init => get(&self.init, index),
            List::Start => get(&self.start, index),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_survive_the_conversion_to_numbers() {
        for list in LISTS {
            for index in [0, 7, (1 << INDEX_BITS) - 1] {
                let position = Position { list, index };
                assert_eq!(Position::from_number(position.number()), Some(position));
            }
        }
        assert_eq!(Position::from_number(u32::MAX), None);
    }
}
