//! Ranges of a table's blocks, which the readers of one scan share.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::scan::Shared;

/// What a range adds to the statement, for people.
const PART: &str = "ctid >= '(first,0)' AND ctid < '(end,0)'";
/// A table of fewer blocks a reader is read as fast by one: 16 MiB of the usual size
/// take less than two connections and a snapshot.
const BLOCKS_A_READER: u32 = 2048;
/// Each range is a statement of its own, two round trips.
const LEAST_RANGE: u32 = 1024;
/// Bytes of a statement that takes longer to parse, with its list of keys, than the readers gain by short ranges: each
/// gets one range alone.
const LONG_STATEMENT: usize = 64 << 10;

/// In `TableDescription::facts`: the estimated blocks of a table that can be read by
/// ranges of them.
const FACT: &str = "blocks";

/// The facts of a table that can be read by ranges; none where it is too small.
pub(super) fn facts(blocks: u32) -> BTreeMap<String, String> {
    if blocks < 2 * BLOCKS_A_READER {
        return BTreeMap::new();
    }
    BTreeMap::from([(FACT.to_owned(), blocks.to_string())])
}

/// What [`facts`] said, none if nothing.
pub(super) fn of(facts: &BTreeMap<String, String>) -> Option<u32> {
    facts.get(FACT)?.parse().ok()
}

/// How up to this many readers share a table of so many blocks.
pub(super) fn shared(blocks: u32, readers: usize) -> Option<Shared> {
    let readers = readers.min((blocks / BLOCKS_A_READER) as usize);
    (readers > 1).then_some(Shared { readers, part: PART })
}

/// A range of blocks, as a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Blocks {
    first: u32,
    /// The first block behind the range; none where the table ends.
    end: Option<u32>,
}

impl fmt::Display for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(ctid >= '({},0)'::pg_catalog.tid", self.first)?;
        if let Some(end) = self.end {
            write!(f, " AND ctid < '({end},0)'::pg_catalog.tid")?;
        }
        f.write_str(")")
    }
}

/// The ranges of a table that nobody has taken yet.
#[derive(Debug)]
pub(super) struct Ranges {
    /// The first block of them; none once all are taken.
    next: Mutex<Option<u32>>,
    blocks: u32,
    readers: u32,
    least: u32,
}

impl Ranges {
    /// Of a table of so many blocks. Rows in later ones, of which there are none in the
    /// readers' snapshot, would be in the last range. The server parses a statement of so
    /// many bytes anew for each range.
    pub(super) fn new(blocks: u32, readers: usize, statement: usize) -> Self {
        let readers = u32::try_from(readers).unwrap_or(u32::MAX).max(1);
        Self {
            next: Mutex::new(Some(0)),
            blocks,
            readers,
            least: if statement > LONG_STATEMENT {
                blocks.div_ceil(readers).max(LEAST_RANGE)
            } else {
                LEAST_RANGE
            },
        }
    }

    /// The next range for whoever is free: long ones first, so that there are few, and
    /// short ones last, so that all readers end at about the same time.
    pub(super) fn take(&self) -> Option<Blocks> {
        // One number is whole whatever panicked beside it.
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let first = (*next)?;
        let left = self.blocks.saturating_sub(first);
        let length = (left / self.readers.saturating_mul(2)).max(self.least);
        *next = (left > length).then(|| first + length);
        Some(Blocks { first, end: *next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_the_table() {
        for blocks in [0, 1, 1023, 1024, 1025, 5000, 121_487, u32::MAX] {
            for readers in [1, 2, 7] {
                let ranges = Ranges::new(blocks, readers, 100);
                let mut expected = 0;
                let mut count = 0;
                while let Some(range) = ranges.take() {
                    assert_eq!(range.first, expected);
                    count += 1;
                    let Some(end) = range.end else {
                        break;
                    };
                    assert!(end > range.first && end < blocks);
                    expected = end;
                }
                assert_eq!(ranges.take(), None);
                assert!(count < 300, "{blocks} blocks make {count} ranges for {readers}");
            }
        }
    }

    #[test]
    fn a_long_statement_is_sent_once_a_reader() {
        for (blocks, readers) in [(121_487, 2), (121_487, 3), (5000, 2), (4096, 7)] {
            let ranges = Ranges::new(blocks, readers, LONG_STATEMENT + 1);
            let count = std::iter::from_fn(|| ranges.take()).count();
            assert!(count <= readers, "{blocks} blocks: {count} ranges for {readers}");
        }
    }

    #[test]
    fn small_tables_are_not_shared() {
        assert_eq!(of(&facts(4095)), None);
        assert_eq!(of(&facts(4096)), Some(4096));
        assert_eq!(shared(4096, 1), None);
        assert_eq!(shared(4096, 8).map(|shared| shared.readers), Some(2));
        assert_eq!(shared(121_487, 2).map(|shared| shared.readers), Some(2));
    }

    #[test]
    fn conditions() {
        let ranges = Ranges::new(1500, 1, 100);
        let conditions: Vec<String> = std::iter::from_fn(|| ranges.take())
            .map(|range| range.to_string())
            .collect();
        assert_eq!(
            conditions,
            [
                "(ctid >= '(0,0)'::pg_catalog.tid AND ctid < '(1024,0)'::pg_catalog.tid)",
                "(ctid >= '(1024,0)'::pg_catalog.tid)",
            ]
        );
    }
}
