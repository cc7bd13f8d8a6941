//! A look at all replicas at once, taken every few seconds: what single events do not show.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use replica::Replica;
use tier_protocol::PartitionView;
use vocab::{CallKey, EngineId, Instant, PartitionId, ReplicaId, SiteId, Stamp};

use super::event::Node;
use super::world::World;

/// More calls than any scenario makes.
const PAGE: usize = 10_000;
/// Turns that an engine may have at a time: one a call.
const TURNS_MAX: u64 = 64;

/// Calls whose deadline passed.
type Overdue = BTreeSet<(SiteId, PartitionId, CallKey)>;
/// Turns that wait for a lock.
type Waiting = BTreeSet<(ReplicaId, CallKey, EngineId, u64)>;

/// What the last look saw, and since when.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// Calls whose deadline passed and that nobody works on, and since when.
    pub(crate) overdue_since: BTreeMap<(SiteId, PartitionId, CallKey), Instant>,
    /// Turns that wait for a lock, and since when.
    pub(crate) waiting_since: BTreeMap<(ReplicaId, CallKey, EngineId, u64), Instant>,
    /// An acknowledged put that a complete member of the newest view lacks.
    pub(crate) lacking: Vec<(Instant, ReplicaId, CallKey, Stamp)>,
    /// A call of which neither the memory of a complete member nor the database has the record.
    pub(crate) in_neither: Vec<(Instant, ReplicaId, CallKey, Stamp)>,
    /// A replica of the newest view asked the database for a row in vain.
    pub(crate) rows_lost: Vec<(Instant, ReplicaId, Option<CallKey>)>,
    /// Two replicas lead in the newest view of a partition.
    pub(crate) two_primaries: Vec<(Instant, SiteId, PartitionId)>,
    /// Some number was over its bound.
    pub(crate) over_bound: Vec<(Instant, String)>,
    /// What two sites know of each other's calls.
    pub(crate) sites: super::wide::Sites,
}

impl World {
    /// The replicas that serve in the newest view of a partition, and know it.
    pub(crate) fn serving<'a>(
        &'a self,
        view: &'a PartitionView,
    ) -> impl Iterator<Item = (usize, &'a Replica)> + 'a {
        self.places.iter().enumerate().filter_map(move |(index, place)| {
            let replica = &place.process.as_ref()?.replica;
            (replica.view() == view).then_some((index, replica))
        })
    }

    /// Looks at every replica.
    pub(crate) fn look(&mut self) {
        let mut overdue = BTreeSet::new();
        let mut waiting = BTreeSet::new();
        let mut survey = std::mem::take(&mut self.survey);
        for (site, view) in self.views.all_newest() {
            let leads = self.serving(view).filter(|(_, replica)| replica.leads());
            let leads: Vec<_> = leads.collect();
            if leads.len() > 1 {
                survey.two_primaries.push((self.now, site, view.partition));
            }
            for (index, replica) in leads {
                if self.paused_until(Node::State(index)).is_none() {
                    let shard = (site, view.partition);
                    self.look_at_primary(index, replica, shard, (&mut overdue, &mut waiting));
                }
            }
        }
        survey.overdue_since.retain(|slot, _| overdue.contains(slot));
        survey.waiting_since.retain(|slot, _| waiting.contains(slot));
        for slot in overdue {
            survey.overdue_since.entry(slot).or_insert(self.now);
        }
        for slot in waiting {
            survey.waiting_since.entry(slot).or_insert(self.now);
        }
        self.look_for_lacking(&mut survey);
        self.look_for_rows(&mut survey);
        self.look_at_bounds(&mut survey);
        self.look_at_sites(&mut survey.sites);
        self.survey = survey;
    }

    fn look_at_primary(
        &self,
        index: usize,
        replica: &Replica,
        (site, partition): (SiteId, PartitionId),
        (overdue, waiting): (&mut Overdue, &mut Waiting),
    ) {
        let now = self.shown_at(index);
        for line in replica.calls(None, PAGE) {
            let Some(story) = replica.get(now, line.key) else { continue };
            let late = match &story.header {
                Some(header) => header.deadline.is_some_and(|deadline| header.age > deadline),
                // Its timer is armed, or it has passed and the record is on its way back.
                None => line.is_spilled && story.due_in.is_none_or(|left| left.is_zero()),
            };
            let sleeps = line.is_dormant || line.is_stub;
            if late && !sleeps && story.lock.is_none() {
                overdue.insert((site, partition, line.key));
            }
            for (engine, turn) in story.waiters {
                waiting.insert((replica.id(), line.key, engine, turn));
            }
        }
    }

    /// Every complete member of a view holds what was acknowledged.
    fn look_for_lacking(&self, survey: &mut Survey) {
        for (site, key, stamp) in self.watch.held() {
            let Some(view) = self.views.newest(site, key) else { continue };
            for (index, replica) in self.serving(view) {
                if !view.members.contains(&replica.id()) {
                    continue;
                }
                let now = self.shown_at(index);
                let held = replica.get(now, key).and_then(|story| story.summary.stamp);
                if held.is_none_or(|held| held < stamp) {
                    survey.lacking.push((self.now, replica.id(), key, stamp));
                }
            }
        }
    }

    /// What a complete member let go of is in the database, and what it asked for was there.
    fn look_for_rows(&self, survey: &mut Survey) {
        let Some(database) = &self.database else { return };
        for (_, view) in self.views.all_newest() {
            let serving = self.serving(view).map(|(_, replica)| replica);
            for replica in serving.filter(|replica| view.members.contains(&replica.id())) {
                let id = replica.id();
                let stats = replica.stats(self.now);
                if stats.counts.rows_lost > 0 {
                    survey.rows_lost.push((self.now, id, stats.spill.lost_last));
                }
                for line in replica.calls(None, PAGE).iter().filter(|line| line.is_spilled) {
                    if let Some(stamp) = line.stamp
                        && database.stamp(line.key).is_none_or(|row| row < stamp)
                    {
                        survey.in_neither.push((self.now, id, line.key, stamp));
                    }
                }
            }
        }
    }

    /// Records that left memory for the database, and records that came back.
    pub(crate) fn spilled(&self) -> [u64; 2] {
        let living = self.places.iter().filter_map(|place| place.process.as_ref());
        let counts = living.map(|process| process.replica.stats(self.now).counts);
        counts.fold(self.spilled_before, |[out, back], counts| {
            [out + counts.spilled, back + counts.fetched]
        })
    }

    /// A replica is no more; what it counted stays.
    pub(crate) fn keep_counts(&mut self, place: usize) {
        let Some(process) = &self.places[place].process else { return };
        let counts = process.replica.stats(self.now).counts;
        let [out, back] = &mut self.spilled_before;
        *out += counts.spilled;
        *back += counts.fetched;
    }

    fn look_at_bounds(&self, survey: &mut Survey) {
        for process in self.engines.iter().flatten() {
            let turns = process.engine.stats().turns;
            if turns > TURNS_MAX {
                survey.over_bound.push((self.now, format!("e{} has {turns} turns", process.id)));
            }
        }
        for process in self.places.iter().filter_map(|place| place.process.as_ref()) {
            let stats = process.replica.stats(self.now);
            let dormant: u64 = stats.dormant.values().sum();
            let locks_max = stats.active + dormant + stats.stubs + TURNS_MAX;
            if stats.locks > locks_max || stats.handed > stats.locks {
                let (id, locks, handed) = (process.replica.id(), stats.locks, stats.handed);
                let seen = format!("r{id} has {locks} locks, {handed} of them handed");
                survey.over_bound.push((self.now, seen));
            }
        }
    }

    /// Why the views are not whole yet; `None` when they are.
    pub(crate) fn not_whole(&self) -> Option<String> {
        if self.wanted_move.is_some() {
            return Some("slots are to be moved".to_owned());
        }
        self.sizes.all_sites().find_map(|site| self.not_whole_at(site))
    }

    fn not_whole_at(&self, site: SiteId) -> Option<String> {
        let map = self.store(site).map();
        if !map.moves.is_empty() {
            return Some("slots are on the move".to_owned());
        }
        for view in &map.partitions {
            let is_its = |place: &&super::process::StatePlace| {
                place.site == site && place.partition == view.partition
            };
            let wanted = self.places.iter().filter(is_its).count();
            let serving = self.serving(view).count();
            if view.members.len() < wanted || !view.joining.is_empty() || serving < wanted {
                return Some(format!("{view:?}, of which {serving} know, wants {wanted}"));
            }
        }
        map.partitions.is_empty().then(|| "no partition".to_owned())
    }

    /// Partitions whose replicas do not all hold the same.
    pub(crate) fn unequal(&self) -> BTreeSet<(SiteId, PartitionId)> {
        let differs = |(_, view): &(SiteId, &PartitionView)| {
            let mut digests = self.serving(view).map(|(_, replica)| replica.digest());
            let first = digests.next();
            !digests.all(|digest| Some(digest) == first)
        };
        let unequal = self.views.all_newest().filter(differs);
        unequal.map(|(site, view)| (site, view.partition)).collect()
    }

    /// What the clock of a state process shows.
    pub(crate) fn shown_at(&self, place: usize) -> Instant {
        let process = self.places[place].process.as_ref();
        process.map_or(self.now, |process| process.clock.shows(self.now))
    }

    /// The longest for which the tier may go on as it does now: a healed world alone is judged.
    pub(crate) fn healed_for(&self) -> Duration {
        self.healed_at.map_or(Duration::ZERO, |at| self.now.since(at))
    }

    /// What is left of any call. Empty when nothing is.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let mut left = Vec::new();
        for process in self.places.iter().filter_map(|place| place.process.as_ref()) {
            let (replica, id) = (&process.replica, process.replica.id());
            let stats = replica.stats(self.now);
            let dormant: u64 = stats.dormant.values().sum();
            if stats.active + dormant + stats.stubs + stats.locks > 0 {
                left.push(format!(
                    "r{id}: {} active, {dormant} dormant, {} stubs, {} locks",
                    stats.active, stats.stubs, stats.locks
                ));
                left.extend(replica.calls(None, 5).iter().map(|line| format!("r{id}: {line:?}")));
            }
        }
        for process in self.engines.iter().flatten() {
            let turns = process.engine.stats().turns;
            if turns > 0 {
                left.push(format!("e{}: {turns} turns", process.id));
            }
        }
        for (site, queue) in self.queues.iter().filter(|(_, queue)| queue.len() > 0) {
            left.push(format!("site {site}: {} batches on the queue", queue.len()));
        }
        left
    }
}
