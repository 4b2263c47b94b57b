//! Lists of numbers such as `0-3,7`, of CPUs or of memory nodes.

use std::fmt::{self, Display};
use std::ops::RangeInclusive;

use crate::error::{Error, Result};

/// A list that is not empty, for a system call with a bit mask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberList {
    text: String,
    /// Bit n % 64 of word n / 64 for the number n.
    pub mask: Vec<u64>,
}

/// The numbers of CPUs that a kernel can be built for.
pub(super) const CPUS: u32 = 8192;

impl NumberList {
    /// Checks a list of numbers below `limit`. An empty list counts as absent.
    pub(super) fn new(field: &str, text: &str, limit: u32) -> Result<Option<Self>> {
        if text.is_empty() {
            return Ok(None);
        }
        let ranges = checked(field, text)?;
        let mut mask = Vec::new();
        for range in ranges {
            if *range.end() >= limit {
                let (number, last) = (range.end(), limit - 1);
                let message = format!("{number} is above {last}, the highest number of Linux");
                return Err(Error::config(field, message));
            }
            for number in range {
                let word = number as usize / 64;
                mask.resize(mask.len().max(word + 1), 0);
                mask[word] |= 1 << (number % 64);
            }
        }
        let text = text.to_owned();
        Ok(Some(Self { text, mask }))
    }
}

impl Display for NumberList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The ranges of a list in a property.
///
/// # Errors
/// The text is not a list.
pub fn checked(field: &str, text: &str) -> Result<Vec<RangeInclusive<u32>>> {
    ranges(text).ok_or_else(|| {
        let message = format!("{text:?} is not a list such as 0-3,5");
        Error::config(field, message)
    })
}

/// The ranges of a list. `None` if the text is not one.
pub fn ranges(text: &str) -> Option<Vec<RangeInclusive<u32>>> {
    let number = |text: &str| text.trim().parse::<u32>().ok();
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let range = number(first)?..=number(last)?;
        (!range.is_empty()).then_some(range)
    };
    text.split(',').map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_become_masks() {
        let list = |text| NumberList::new("cpus", text, CPUS);
        assert_eq!(list("").unwrap(), None);
        assert_eq!(list("0-3,7").unwrap().unwrap().mask, [0x8f]);
        assert_eq!(list("64,1,8191").unwrap().unwrap().mask.len(), 128);
        for (text, message) in [
            ("a", "cpus: \"a\" is not a list such as 0-3,5"),
            ("3-0", "cpus: \"3-0\" is not a list such as 0-3,5"),
            ("1,", "cpus: \"1,\" is not a list such as 0-3,5"),
            ("0-8192", "cpus: 8192 is above 8191"),
        ] {
            let error = list(text).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
