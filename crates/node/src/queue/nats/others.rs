//! What somebody else appended to the stream after it was loaded.
//!
//! A process that kept the gate and was replaced may not have heard of it, and takes batches for
//! some time: their senders count them as safe, so whoever keeps the gate now has to apply them.
//! Each message has a number, and those of our own appends are known. A number that stays
//! unaccounted for is read.
//!
//! ```text
//!   numbers      1 ... up_to │ ours │  ?  │ ours │ ... newest
//!                accounted for        └ ours, on its way to us; somebody else's; or removed
//! ```

use std::collections::BTreeSet;
use std::time::Duration;

/// How often the stream's newest number is asked for. What is unaccounted for at two of these is
/// read.
pub(super) const ASK_EVERY: Duration = Duration::from_secs(1);

/// Which numbers of the stream are accounted for.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// All up to this one.
    up_to: u64,
    /// Our own above it. Not more than were appended since the last reading.
    ours: BTreeSet<u64>,
    /// The newest number of the stream when it was last asked for.
    newest: u64,
}

impl Ledger {
    /// All up to `sequence`, and nothing else.
    pub(super) fn begin(&mut self, sequence: u64) {
        *self = Self { up_to: sequence, ours: BTreeSet::new(), newest: sequence };
    }

    /// We appended this one.
    pub(super) fn note_ours(&mut self, sequence: u64) {
        if sequence > self.up_to {
            self.ours.insert(sequence);
            self.advance();
        }
    }

    /// All up to this one were read.
    pub(super) fn note_read(&mut self, sequence: u64) {
        self.up_to = self.up_to.max(sequence);
        self.ours = self.ours.split_off(&self.up_to.saturating_add(1));
        self.advance();
    }

    /// The stream's newest number is this. Gives the numbers that are to be read, first and last:
    /// what was unaccounted for when it was asked for before, and is so still.
    pub(super) fn note_newest(&mut self, sequence: u64) -> Option<(u64, u64)> {
        let before = std::mem::replace(&mut self.newest, sequence);
        // A server that lost the end of its stream has a lower number than before.
        (self.up_to < before.min(sequence)).then_some((self.up_to + 1, sequence))
    }

    fn advance(&mut self) {
        while self.ours.first().is_some_and(|first| *first == self.up_to + 1) {
            self.ours.pop_first();
            self.up_to += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Ledger;

    #[test]
    fn our_own_numbers_are_never_read() {
        let mut ledger = Ledger::default();
        ledger.begin(7);
        // Acknowledgements may overtake one another.
        [9, 8, 11, 10].into_iter().for_each(|sequence| ledger.note_ours(sequence));
        assert_eq!(ledger.note_newest(11), None);
        assert_eq!(ledger.note_newest(11), None);
        assert!(ledger.ours.is_empty());
    }

    #[test]
    fn what_is_on_its_way_to_us_has_time_until_the_next_question() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.note_newest(3), None);
        (1..=3).for_each(|sequence| ledger.note_ours(sequence));
        assert_eq!(ledger.note_newest(5), None);
        assert_eq!(ledger.note_newest(6), Some((4, 6)), "4 and 5 are somebody else's");
        ledger.note_ours(7);
        ledger.note_read(6);
        assert_eq!(ledger.note_newest(7), None);
        assert_eq!(ledger.note_newest(7), None);
    }

    #[test]
    fn a_stream_that_lost_its_end_is_not_read_for_ever() {
        let mut ledger = Ledger::default();
        ledger.begin(10);
        assert_eq!(ledger.note_newest(6), None);
        assert_eq!(ledger.note_newest(6), None);
    }
}
