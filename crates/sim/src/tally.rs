//! Sums over many seeds, for the last line.

use std::time::Duration;

use sim::{Outcome, World, tier};

/// What many runs came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) lasted: Duration,
    calls: usize,
    answered: usize,
    survivors: usize,
    split: usize,
    grants: [u64; 6],
    views: u64,
    acknowledged: u64,
    resumed: u64,
    lost: usize,
    spilled: [u64; 2],
    unpromised: usize,
    batches: u64,
    moved: [u64; 2],
}

impl Tally {
    pub(crate) fn add_sites(&mut self, outcome: &Outcome) {
        self.lasted += outcome.lasted;
        self.calls += outcome.calls;
        self.answered += outcome.answered;
        self.survivors += outcome.survivors;
        self.split += outcome.split;
        for (sum, one) in self.grants.iter_mut().zip(outcome.grants) {
            *sum += one;
        }
    }

    pub(crate) fn add_tier(&mut self, outcome: &tier::Outcome) {
        self.lasted += outcome.lasted;
        self.calls += outcome.calls;
        self.answered += outcome.answered;
        self.views += outcome.views;
        self.acknowledged += outcome.acknowledged;
        self.resumed += outcome.resumed;
        self.lost += outcome.lost;
        self.add_spilled(outcome.spilled);
    }

    pub(crate) fn add_wide(&mut self, outcome: &tier::WideOutcome) {
        self.lasted += outcome.lasted;
        self.calls += outcome.calls;
        self.answered += outcome.answered;
        self.survivors += outcome.survivors;
        self.unpromised += outcome.unpromised;
        self.split += outcome.split;
        self.views += outcome.views;
        self.batches += outcome.batches;
        self.moved = [self.moved[0] + outcome.moved[0], self.moved[1] + outcome.moved[1]];
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.lasted += other.lasted;
        self.calls += other.calls;
        self.answered += other.answered;
        self.survivors += other.survivors;
        self.split += other.split;
        for (sum, one) in self.grants.iter_mut().zip(other.grants) {
            *sum += one;
        }
        self.views += other.views;
        self.acknowledged += other.acknowledged;
        self.resumed += other.resumed;
        self.lost += other.lost;
        self.unpromised += other.unpromised;
        self.batches += other.batches;
        self.moved = [self.moved[0] + other.moved[0], self.moved[1] + other.moved[1]];
        self.add_spilled(other.spilled);
    }

    fn add_spilled(&mut self, spilled: [u64; 2]) {
        for (sum, one) in self.spilled.iter_mut().zip(spilled) {
            *sum += one;
        }
    }

    /// One line.
    pub(crate) fn told(&self, world: World) -> String {
        let Self { calls, answered, survivors, split, views, acknowledged, resumed, lost, .. } =
            self;
        match world {
            World::Wide => {
                let (unpromised, batches, [woken, back]) =
                    (self.unpromised, self.batches, self.moved);
                format!(
                    "{calls} calls, {answered} answered; {survivors} had crossed when their site \
                     was lost, {unpromised} had not; {split} owned twice (behind a cut, or begun \
                     at both); {views} views, {batches} batches, {woken} woken, {back} given back"
                )
            }
            World::Sites => {
                let [asked, due, resume, activate, hand_back, quarantined] = self.grants;
                format!(
                    "{calls} calls, {answered} answered, {survivors} crossed when their site was \
                     killed, {split} owned twice (behind a cut, or begun at both); grants: \
                     {asked} asked, {due} due, {resume} resumed, {activate} activated, \
                     {hand_back} handed back, {quarantined} quarantined"
                )
            }
            World::Tier => {
                let [out, back] = self.spilled;
                format!(
                    "{calls} calls, {answered} answered; {views} views, {acknowledged} puts \
                 acknowledged, {resumed} grants resumed, {lost} partitions lost whole; {out} \
                     records left memory, {back} came back"
                )
            }
        }
    }
}
