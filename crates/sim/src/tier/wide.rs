//! Two sites of many machines each: what they know of each other's calls, and one run of a seed.

mod scenario;
mod scenes;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use replica::{CallStory, Replica};
use tier_protocol::batch;
use vocab::{CallKey, Instant, PartitionId, SiteId, Stamp};

use super::event::Node;
use super::invariants;
use super::run::{QUIET_WITHIN, become_equal, become_whole, until};
use super::scenario::Scenario;
use super::world::World;
use crate::invariants::Violation;
use crate::planted::Planted;
use crate::rng::Rng;
use crate::trace::Trace;

pub use scenes::{SCENES, Scene};

/// More calls than any scenario makes.
const PAGE: usize = 10_000;
/// More than a batch of any scenario holds.
const BATCH_BYTES_MAX: usize = 1 << 24;
/// The longest time in which two whole sites that see each other must have told each other all: a
/// keyset whose site is waited for, a batch that is sent again, and what is refilled after both.
const SETTLED_WITHIN: Duration = Duration::from_secs(150);

/// What the last look saw of two sites, and since when.
#[derive(Debug, Default)]
pub(crate) struct Sites {
    /// Calls that are active at both.
    pub(crate) double_since: BTreeMap<CallKey, Instant>,
    /// Calls that sleep at a site, and of which their home knows nothing.
    pub(crate) orphan_since: BTreeMap<(SiteId, CallKey), Instant>,
    /// What a home takes to be kept at the other site, and is not.
    pub(crate) not_kept: Vec<(Instant, SiteId, CallKey, Stamp, String)>,
    /// The most marks that a site's primaries had at a time, and calls beside them.
    pub(crate) marks_over_calls: Vec<(Instant, SiteId, u64, u64)>,
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// The first invariant that did not hold.
    pub violation: Option<Violation>,
    /// What happened.
    pub trace: Trace,
    /// Calls of the scenario.
    pub calls: usize,
    /// Calls that both parties saw answered.
    pub answered: usize,
    /// Calls that had crossed when their site, or partition, was lost.
    pub survivors: usize,
    /// Calls that a loss took, or may have.
    pub unpromised: usize,
    /// Calls that both sites owned at a time, or that began at both.
    pub split: usize,
    /// Views that were written.
    pub views: u64,
    /// Batches that left a site.
    pub batches: u64,
    /// Grants to wake a call, and to give one back.
    pub moved: [u64; 2],
    /// Of a scene in which something gathers: how many marks, and how long they took to cross.
    pub drained: Option<(u64, Duration)>,
    /// Virtual time that passed.
    pub lasted: Duration,
}

/// Runs a seed to its end, or to the first violation.
#[must_use]
pub fn run(seed: u64, keep_trace: bool, planted: Option<Planted>) -> Outcome {
    let mut rng = Rng::new(seed);
    let scenario = Scenario::draw_wide(&mut rng);
    let mut world = World::new(&mut rng, &scenario, keep_trace, planted);
    let began = world.now;
    let violation = go(&mut world, &scenario).err();
    outcome(world, &scenario, began, violation)
}

pub(super) fn outcome(
    mut world: World,
    scenario: &Scenario,
    began: Instant,
    violation: Option<Violation>,
) -> Outcome {
    if let Some(violation) = &violation {
        world.trace.note(world.now, format_args!("VIOLATION {violation}"));
    }
    Outcome {
        violation,
        calls: scenario.calls.len(),
        answered: world.outside.answered(),
        survivors: world.survivors,
        unpromised: world.unpromised.len(),
        split: world.homes.owned.split.union(&world.homes.owned.begun_twice).count(),
        views: world.views.written.values().sum(),
        batches: world.wan.batches,
        moved: [world.homes.woken, world.homes.handed_back],
        drained: world.drained,
        lasted: world.now.since(began),
        trace: world.trace,
    }
}

pub(super) fn go(world: &mut World, scenario: &Scenario) -> Result<(), Violation> {
    until(world, scenario, scenario.heal_at)?;
    world.heal();
    let pauses_end = world.pauses_end();
    until(world, scenario, pauses_end)?;
    become_whole(world, scenario)?;
    become_settled(world, scenario)?;
    become_equal(world, scenario)?;
    // Calls that go on show what was lost before; each is refreshed once.
    let talks_until = world.now + scenario.sizes.session * 3 / 5;
    until(world, scenario, talks_until)?;
    hang_up_all(world, scenario)?;
    invariants::at_the_end(world, scenario)
}

pub(super) fn hang_up_all(world: &mut World, scenario: &Scenario) -> Result<(), Violation> {
    let give_up_at = world.now + QUIET_WITHIN;
    while world.now < give_up_at {
        for call in 0..scenario.calls.len() {
            world.outside.hang_up(world.now, &mut world.agenda, call);
        }
        let next = world.now + Duration::from_secs(5);
        until(world, scenario, next)?;
        if world.outside.is_quiet() && world.leftovers().is_empty() {
            break;
        }
    }
    Ok(())
}

/// Both sites serve, see each other, have applied what was sent, and have sent what is to cross:
/// each of these at some moment, as calls go on.
pub(super) fn become_settled(world: &mut World, scenario: &Scenario) -> Result<(), Violation> {
    let give_up_at = world.now + SETTLED_WITHIN;
    let mut unsettled = world.unsettled();
    while !unsettled.is_empty() {
        if world.now >= give_up_at {
            let seen: Vec<String> = unsettled.values().cloned().collect();
            return Err(Violation { invariant: "sites_settle", seen: seen.join("; ") });
        }
        let next = world.now + Duration::from_millis(97);
        until(world, scenario, next)?;
        let now = world.unsettled();
        unsettled = now.into_iter().filter(|(what, _)| unsettled.contains_key(what)).collect();
    }
    Ok(())
}

impl World {
    /// The primaries that serve in the newest views, know it, and run.
    pub(super) fn primaries(&self) -> impl Iterator<Item = (SiteId, PartitionId, usize, &Replica)> {
        self.views.all_newest().flat_map(|(site, view)| {
            let leading = self.serving(view).filter(|(place, replica)| {
                replica.leads() && self.paused_until(Node::State(*place)).is_none()
            });
            leading.map(move |(place, replica)| (site, view.partition, place, replica))
        })
    }

    /// What two sites have yet to tell each other, by what it is.
    pub(crate) fn unsettled(&self) -> BTreeMap<String, String> {
        let mut unsettled = BTreeMap::new();
        for site in self.sizes.all_sites() {
            let mut note = |what: &str, seen: String| {
                unsettled.insert(format!("site {site}: {what}"), format!("site {site}: {seen}"));
            };
            let [keeper] = self.keepers(site)[..] else {
                note("keeper", format!("{} keepers", self.keepers(site).len()));
                continue;
            };
            let gate = self.places[keeper].process.as_ref().and_then(|one| one.gate.as_ref());
            let Some(stats) = gate.map(|gate| gate.stats(self.shown_at(keeper))) else { continue };
            if !stats.is_serving || !stats.keyset_awaited.is_empty() {
                note("return", format!("is to hear of {:?}", stats.keyset_awaited));
            }
            if stats.alive.is_empty() {
                note("link", "hears no other site".to_owned());
            }
            let waiting = stats.inbox_waiting + stats.inbox_offered;
            if waiting > 0 {
                note("inbox", format!("{waiting} batches wait"));
            }
        }
        for (site, partition, place, replica) in self.primaries() {
            let stats = replica.stats(self.shown_at(place));
            let at_risk: u64 = stats.outbound.values().map(|outbound| outbound.at_risk).sum();
            for (what, left) in [("marks", at_risk), ("refills", stats.refills_left)] {
                if left > 0 {
                    let at = format!("site {site}, partition {partition}");
                    unsettled.insert(format!("{at}: {what}"), format!("{at}: {left} {what}"));
                }
            }
        }
        for key in self.survey.sites.double_since.keys() {
            unsettled.insert(format!("{key} twice"), format!("{key} is active at both sites"));
        }
        for (site, key) in self.survey.sites.orphan_since.keys() {
            let seen = format!("{key} sleeps at site {site}, and its home knows nothing of it");
            unsettled.insert(format!("{key} alone at site {site}"), seen);
        }
        unsettled
    }

    /// Looks at both sites' calls.
    pub(crate) fn look_at_sites(&self, sites: &mut Sites) {
        if self.sizes.sites == 1 {
            return;
        }
        let mut active: BTreeMap<CallKey, BTreeSet<SiteId>> = BTreeMap::new();
        let mut orphans = BTreeSet::new();
        for (site, _, place, replica) in self.primaries() {
            let now = self.shown_at(place);
            let Some(other) = self.sizes.other(site) else { continue };
            for line in replica.calls(None, PAGE) {
                let Some(story) = replica.get(now, line.key) else { continue };
                if !line.is_dormant && !line.is_stub {
                    active.entry(line.key).or_default().insert(site);
                    self.look_for_kept(site, line.key, &story, sites);
                }
                let home = story.header.as_ref().map(|header| header.home());
                let is_alone = home == Some(other) && self.knows(other, line.key) == Some(false);
                if line.is_dormant && !line.is_stub && is_alone {
                    orphans.insert((site, line.key));
                }
            }
            let stats = replica.stats(now);
            let calls = stats.active + stats.dormant.values().sum::<u64>() + stats.stubs;
            for outbound in stats.outbound.values().filter(|one| one.at_risk > calls) {
                sites.marks_over_calls.push((self.now, site, outbound.at_risk, calls));
            }
        }
        active.retain(|_, at| at.len() > 1);
        sites.double_since.retain(|key, _| active.contains_key(key));
        for key in active.into_keys() {
            sites.double_since.entry(key).or_insert(self.now);
        }
        sites.orphan_since.retain(|slot, _| orphans.contains(slot));
        for slot in orphans {
            sites.orphan_since.entry(slot).or_insert(self.now);
        }
    }

    /// Whether the primary of a site that serves knows of a call; `None` without one.
    fn knows(&self, site: SiteId, key: CallKey) -> Option<bool> {
        let view = self.views.newest(site, key)?;
        let place = self.place_of(view.primary()?)?;
        let process = self.places[place].process.as_ref()?;
        let leads = process.replica.view() == view && process.replica.leads();
        leads.then(|| process.replica.get(self.shown_at(place), key).is_some())
    }

    /// What a call's home takes to be kept at the other site is there.
    fn look_for_kept(&self, site: SiteId, key: CallKey, story: &CallStory, sites: &mut Sites) {
        let (Some(header), Some(other)) = (&story.header, self.sizes.other(site)) else { return };
        let held = header.stamp;
        let is_lost = self.homes.lost_at.iter().any(|(_, lost)| *lost == other);
        if is_lost || story.has_ended || self.homes.owned.split.contains(&key) {
            return;
        }
        let crossed = header.crossed.iter().find(|(at, _)| *at == other).map(|(_, stamp)| *stamp);
        let Some(crossed) = crossed.filter(|stamp| stamp.epoch == held.epoch) else { return };
        if let Err(why) = self.is_kept_at(other, key, crossed) {
            sites.not_kept.push((self.now, site, key, crossed, why));
        }
    }

    /// Whether a site has a call as new as that: in all complete members that serve, or on its
    /// queue.
    pub(crate) fn is_kept_at(
        &self,
        site: SiteId,
        key: CallKey,
        stamp: Stamp,
    ) -> Result<(), String> {
        let Some(view) = self.views.newest(site, key) else { return Ok(()) };
        let members = self.serving(view).filter(|(_, one)| view.members.contains(&one.id()));
        let lacking = members.filter_map(|(place, replica)| {
            let held = replica.get(self.shown_at(place), key).and_then(|call| call.summary.stamp);
            let is_new = held.is_some_and(|held| self.homes.is_as_new(key, held, stamp));
            (!is_new).then_some((replica.id(), held))
        });
        let lacking: Vec<_> = lacking.collect();
        if lacking.is_empty() || self.is_queued_at(site, key, stamp) {
            return Ok(());
        }
        Err(format!("{lacking:?}, and nothing on the queue"))
    }

    fn is_queued_at(&self, site: SiteId, key: CallKey, stamp: Stamp) -> bool {
        let Some(queue) = self.queues.get(&site) else { return false };
        let mut entries = queue.batches().flat_map(|batch| {
            let read = batch::decode_each(&batch.bytes, BATCH_BYTES_MAX);
            read.map(|(entries, _)| entries).unwrap_or_default()
        });
        entries.any(|entry| entry.key() == key && self.homes.is_as_new(key, entry.stamp(), stamp))
    }
}
