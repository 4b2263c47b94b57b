//! Sorting with little code.

use std::collections::BinaryHeap;

/// The list in ascending order. Equal elements may change places.
///
/// The standard library's sorts are 3 to 5 kB of code for each type, which is more than they save
/// here: the lists are short.
#[must_use]
pub(crate) fn sorted<T: Ord>(list: Vec<T>) -> Vec<T> {
    BinaryHeap::from(list).into_sorted_vec()
}

/// The list in ascending order, with equal elements once.
#[must_use]
pub(crate) fn sorted_set<T: Ord>(list: Vec<T>) -> Vec<T> {
    let mut list = sorted(list);
    list.dedup();
    list
}
