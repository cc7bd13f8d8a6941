//! A look at all replicas at once, taken every few seconds: what single events do not show.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use vocab::{CallKey, Instant, SiteId};

use crate::world::World;

/// More calls than any scenario makes.
const PAGE: usize = 10_000;

/// What the last look saw, and since when.
#[derive(Debug, Default)]
pub struct Survey {
    /// Calls that are active at both sites although the sites can talk, and since when.
    pub double_since: BTreeMap<CallKey, Instant>,
    /// Active calls whose deadline passed and that nobody works on, and since when.
    pub overdue_since: BTreeMap<(SiteId, CallKey), Instant>,
    /// Steady calls without a mark of which the other site has no copy, although the sites can
    /// talk, and since when.
    pub missing_since: BTreeMap<(SiteId, CallKey), Instant>,
    /// Sites at which some number was over its bound.
    pub over_bound: Vec<(Instant, SiteId, &'static str)>,
}

impl World {
    /// Looks at every replica.
    pub fn look(&mut self) {
        let mut active: BTreeMap<CallKey, u8> = BTreeMap::new();
        let mut overdue = BTreeSet::new();
        for site in self.sites.values() {
            let Some(state) = &site.state else { continue };
            let works = site
                .engines
                .iter()
                .flatten()
                .any(|process| process.paused_until + Duration::from_secs(1) < self.now);
            for line in state.replica.calls(None, PAGE) {
                if line.is_dormant || line.is_stub {
                    continue;
                }
                *active.entry(line.key).or_default() += 1;
                let Some(story) = state.replica.get(self.now, line.key) else { continue };
                let late = story.header.as_ref().is_some_and(|header| {
                    header.deadline.is_some_and(|deadline| header.age > deadline)
                });
                if late && works && story.lock.is_none() {
                    overdue.insert((site.id, line.key));
                }
            }
            let stats = state.replica.stats(self.now);
            if stats.waiters > 16 * PAGE as u64 {
                self.survey.over_bound.push((self.now, site.id, "waiters"));
            }
            for outbound in stats.outbound.values() {
                // Marks can only grow to the number of calls.
                let calls = stats.active + stats.dormant.values().sum::<u64>() + stats.stubs;
                if outbound.at_risk > calls {
                    self.survey.over_bound.push((self.now, site.id, "marks"));
                }
                if outbound.in_flight > 4 {
                    self.survey.over_bound.push((self.now, site.id, "batches in flight"));
                }
            }
        }
        let missing = self.missing_copies();
        self.survey.missing_since.retain(|slot, _| missing.contains(slot));
        for slot in missing {
            self.survey.missing_since.entry(slot).or_insert(self.now);
        }
        let talks = self.link.is_some() && self.sites.values().all(|site| site.state.is_some());
        let now = self.now;
        let survey = &mut self.survey;
        survey.double_since.retain(|key, _| talks && active.get(key) == Some(&2));
        if talks {
            for (key, count) in active {
                if count == 2 {
                    survey.double_since.entry(key).or_insert(now);
                }
            }
        }
        survey.overdue_since.retain(|slot, _| overdue.contains(slot));
        for slot in overdue {
            survey.overdue_since.entry(slot).or_insert(now);
        }
    }

    /// Calls that a site takes to have crossed, and of which the other has nothing.
    fn missing_copies(&self) -> BTreeSet<(SiteId, CallKey)> {
        let mut missing = BTreeSet::new();
        if self.link.is_none() {
            return missing;
        }
        for home in self.sites.values() {
            let keeper = &self.sites[&SiteId(3 - home.id.0)];
            let Some((ours, theirs)) = home.state.as_ref().zip(keeper.state.as_ref()) else {
                continue;
            };
            for line in ours.replica.calls(None, PAGE) {
                let is_active = !line.is_dormant && !line.is_stub && line.locked_by.is_none();
                let Some(story) = ours.replica.get(self.now, line.key).filter(|_| is_active) else {
                    continue;
                };
                // A copy may be older: puts that the other site need not hear of make nothing
                // dirty, and count as crossed.
                let kept = theirs.replica.get(self.now, line.key);
                let is_there = kept.is_some_and(|story| story.summary.stamp.is_some());
                let is_settled = story.marks.is_empty() && !story.has_ended && !story.is_set_aside;
                if is_settled && !is_there {
                    missing.insert((home.id, line.key));
                }
            }
        }
        missing
    }

    /// What is left at each site: calls of any kind, locks, turns. Empty when nothing is.
    #[must_use]
    pub fn leftovers(&self) -> Vec<String> {
        let mut left = Vec::new();
        for site in self.sites.values() {
            let Some(state) = &site.state else { continue };
            let stats = state.replica.stats(self.now);
            let dormant: u64 = stats.dormant.values().sum();
            if stats.active + dormant + stats.stubs + stats.locks > 0 {
                left.push(format!(
                    "site {}: {} active, {dormant} dormant, {} stubs, {} locks",
                    site.id, stats.active, stats.stubs, stats.locks
                ));
                for line in state.replica.calls(None, 5) {
                    left.push(format!("site {}: {line:?}", site.id));
                }
            }
            for process in site.engines.iter().flatten() {
                let turns = process.engine.stats().turns;
                if turns > 0 {
                    left.push(format!("engine {} of site {}: {turns} turns", process.id, site.id));
                }
            }
            if site.disk.values().any(|on_disk| !on_disk.is_set_aside) {
                left.push(format!("site {}: {} batches on the queue", site.id, site.disk.len()));
            }
        }
        left
    }
}
