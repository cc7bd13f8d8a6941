//! Who serves the partition: what a replica believes of its view and of the others in it.
//!
//! ```text
//!             read map          it names me not          my copy is complete
//!  (unknown) ─────────► outside ───────────────► joining ───────────────────► member
//!                        ▲   └─ nobody serves: found ──────────────────────────►  │
//!                        └───────── reborn ◄─── expelled ◄── a view without me ───┘
//!
//!  a change:  Idle ──wanted──► Reading ──the map still wants it──► Deciding ──► Idle
//!                                                  ▲ may have happened ▼
//!                                                  └────── Unsure ◄────┘
//! ```
//! While it decides a replica answers no engine: the view in which it would answer may be over. It
//! reads the map first, and a store that falls silent makes it answer again, so that a store that
//! is away mutes nobody. After a compare-and-set that may or may not have been carried out only
//! another one, or a later map, brings certainty.
//!
//! Safety rests on view numbers alone. Signs of life decide when a change is proposed, never
//! whether it is safe.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tier_protocol::{Command, PartitionView, PeerWord, Seat, SiteMap};
use vocab::{EngineId, Instant, PartitionId, ReplicaId, ViewNumber};

use crate::Replica;
use crate::change::{self, Change};
use crate::config::{Pace, Shared};
use crate::door::{Output, PeerNews, StoreAsk, StoreWord};
use crate::lock::Ending;
use crate::ordered::Ordered;

/// Signs of life that must have stayed out, however much time has passed: a process that stood
/// still itself has not been listening.
const UNANSWERED_MIN: u32 = 4;
/// Pauses in the own clock beyond so many pings mean that this process stood still.
const PINGS_MISSED_MAX: u32 = 3;
/// Pause before a change is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(200);
/// A life of this length as a member was no failure: the next one joins after the least pause.
const GOOD_LIFE: Duration = Duration::from_secs(30);
const JOIN_AFTER_MIN: Duration = Duration::from_secs(1);
/// Pings within which a member has to answer one who wants to join.
const HEARD_WITHIN: u32 = 3;
const JOIN_AFTER_MAX: Duration = Duration::from_secs(60);

/// How far a change is.
#[derive(Debug)]
enum Step {
    /// None is under way.
    Idle,
    /// The newest map is asked for, to see whether it still wants this change, if any.
    Reading(Option<Change>),
    /// The store decides about `next`, which replaces the map of the revision; without a change it
    /// is the same map.
    Deciding { change: Option<Change>, expected: u64, next: SiteMap },
    /// It may have decided; `is_asked` when the newest map is asked for.
    Unsure { change: Option<Change>, expected: u64, is_asked: bool },
}

/// Another replica, as this one sees it.
#[derive(Debug)]
pub(crate) struct Other {
    pub(crate) is_up: bool,
    /// Since when its address refuses connections, or answers as another.
    gone_since: Option<Instant>,
    is_replaced: bool,
    /// Pings without any word since.
    unanswered: u32,
    /// When the first of them was sent.
    silent_since: Instant,
    heard_at: Option<Instant>,
}

/// What a replica knows of its site's map and of those in it.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) map: SiteMap,
    revision: u64,
    store_revision: u64,
    is_known: bool,
    /// The store did not answer the last ask.
    pub(crate) is_away: bool,
    /// It did not answer the last write, which is still to be made: it may answer reads.
    writes_fail: bool,
    step: Step,
    /// What an operator ordered.
    pub(crate) ordered: Option<Ordered>,
    pub(crate) others: BTreeMap<ReplicaId, Other>,
    pinged_at: Instant,
    pings: u64,
    retry_at: Instant,
    /// Since when every member answers this replica, which is not in their view.
    heard_all_since: Option<Instant>,
    member_since: Option<Instant>,
    pub(crate) is_expelled: bool,
    /// Words of engines that wait until the view is certain.
    muted: VecDeque<(EngineId, Command)>,
    /// Since when the view has fewer members than it should.
    pub(crate) short_since: Option<Instant>,
    /// How long it took the last time to have all of them again.
    pub(crate) healed_after: Option<Duration>,
    /// The life up to which other sites have said what they hold, as the gate knows it.
    pub(crate) settles: Option<u64>,
}

impl Membership {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            map: SiteMap::default(),
            revision: 0,
            store_revision: 0,
            is_known: false,
            is_away: false,
            writes_fail: false,
            step: Step::Idle,
            ordered: None,
            others: BTreeMap::new(),
            pinged_at: now,
            pings: 0,
            retry_at: now,
            heard_all_since: None,
            member_since: None,
            is_expelled: false,
            muted: VecDeque::new(),
            short_since: None,
            healed_after: None,
            settles: None,
        }
    }

    fn is_mute(&self) -> bool {
        match self.step {
            // Unsure of its change it is as good as one that has not heard of it: whoever has
            // refuses the view that is over, and so nothing is stored or confirmed in it.
            Step::Idle | Step::Reading(_) | Step::Unsure { .. } => false,
            // Once a later map is known, what was proposed is in it, or never will be written.
            Step::Deciding { expected, .. } => expected == self.revision,
        }
    }

    /// Since when the replica is taken to be dead; `None` while it is not.
    pub(crate) fn dead_since(&self, replica: ReplicaId, pace: &Pace) -> Option<Instant> {
        let other = self.others.get(&replica)?;
        if other.gone_since.is_some() {
            return other.gone_since;
        }
        let is_silent = other.unanswered >= UNANSWERED_MIN;
        is_silent.then_some(other.silent_since + pace.silent_after)
    }
}

impl Replica {
    /// The next life of a replica that the others went on without: empty, under another id.
    #[must_use]
    pub fn reborn(&self, now: Instant, replica: ReplicaId) -> Self {
        let mut config = self.config.clone();
        config.replica = replica;
        config.view = outside(config.partition);
        let lived = self.membership.member_since.map(|since| now.since(since));
        if let Some(shared) = &mut config.shared {
            shared.join_after = match lived {
                Some(lived) if lived >= GOOD_LIFE => JOIN_AFTER_MIN,
                Some(_) | None => (shared.join_after * 2).clamp(JOIN_AFTER_MIN, JOIN_AFTER_MAX),
            };
        }
        Self { here: self.here, keeper: self.keeper, ..Self::new(now, config) }
    }

    /// Whether this replica answers reads and keeps the locks.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.config.view.primary() == Some(self.config.replica)
    }

    /// The view that it serves in.
    #[must_use]
    pub fn view(&self) -> &PartitionView {
        &self.config.view
    }

    /// The site's map as last heard; empty for a replica of its own.
    #[must_use]
    pub fn map(&self) -> &SiteMap {
        &self.membership.map
    }

    /// Its own name among the replicas.
    #[must_use]
    pub fn id(&self) -> ReplicaId {
        self.config.replica
    }

    pub(crate) fn is_mute(&self) -> bool {
        self.membership.is_mute()
    }

    /// Whether others have to hold what is put here.
    pub(crate) fn is_alone(&self) -> bool {
        self.config.view.members.len() + self.config.view.joining.len() <= 1
    }

    /// Everybody in the view but this replica.
    pub(crate) fn others_in_view(&self) -> BTreeSet<ReplicaId> {
        let me = self.config.replica;
        self.config.view.everybody().filter(|other| *other != me).collect()
    }

    pub(crate) fn is_joining(&self) -> bool {
        self.config.view.joining.contains(&self.config.replica)
    }

    /// Keeps an engine's word until it is certain in which view it is answered.
    pub(crate) fn keep_muted(&mut self, engine: EngineId, command: Command) {
        if self.membership.muted.len() >= self.config.limits.muted_max {
            self.counts.muted_lost += 1;
            return;
        }
        self.membership.muted.push_back((engine, command));
    }

    pub(crate) fn forget_muted(&mut self, engine: EngineId) {
        self.membership.muted.retain(|(of, _)| *of != engine);
    }

    fn hear_muted(&mut self, now: Instant) {
        while !self.is_mute()
            && let Some((engine, command)) = self.membership.muted.pop_front()
        {
            self.command(now, engine, command);
        }
    }

    pub(crate) fn peer(&mut self, now: Instant, replica: ReplicaId, news: PeerNews) {
        let other = self.membership.others.entry(replica).or_insert_with(|| Other::new(now));
        match news {
            PeerNews::Up => {
                other.is_up = true;
                other.gone_since = None;
                other.is_replaced = false;
                self.note_life(replica);
                self.tell_news(replica);
            }
            PeerNews::Down => other.is_up = false,
            PeerNews::Gone { is_replaced } => {
                other.is_up = false;
                other.is_replaced |= is_replaced;
                other.gone_since.get_or_insert(now);
            }
            PeerNews::Said(word) => {
                other.unanswered = 0;
                other.heard_at = Some(now);
                other.gone_since = None;
                self.note_life(replica);
                self.peer_says(now, replica, word);
            }
        }
    }

    fn peer_says(&mut self, now: Instant, replica: ReplicaId, word: PeerWord) {
        let current = self.config.view.number;
        let is_named = self.config.view.names(replica);
        match word {
            PeerWord::Ping { number } => self.tell_peer(replica, PeerWord::Pong { number }),
            PeerWord::Pong { number: _ } => {}
            PeerWord::News { revision, store_revision, map } => {
                self.note_store_revision(store_revision);
                self.learn(now, revision, map);
                self.hear_muted(now);
            }
            PeerWord::Crossed { site, calls } => self.peer_crossed(site, &calls),
            PeerWord::CopyAsk { view, .. }
            | PeerWord::CopyPage { view, .. }
            | PeerWord::Compare { view, .. }
            | PeerWord::CompareAsk { view, .. }
            | PeerWord::CompareKeys { view, .. }
            | PeerWord::Repair { view, .. }
            | PeerWord::Repaired { view, .. }
            | PeerWord::Spilled { view, .. }
            | PeerWord::SpilledAsk { view, .. }
            | PeerWord::RowsAsk { view, .. }
            | PeerWord::RowsFree { view, .. }
            | PeerWord::ViewAsk { view, .. }
            | PeerWord::ViewSame { view, .. }
            | PeerWord::Ship { view, .. }
            | PeerWord::Shipped { view, .. }
                if view != current || !is_named || self.is_mute() =>
            {
                self.counts.peer_stale += 1;
            }
            // A primary that has just come to lead says them in a view that others have yet to
            // hear of.
            PeerWord::Struck { view, .. }
            | PeerWord::Quarantined { view, .. }
            | PeerWord::Removed { view, .. }
            | PeerWord::QuarantineDropped { view, .. }
                if view < current || !is_named =>
            {
                self.counts.peer_stale += 1;
            }
            PeerWord::CopyAsk { view: _, after, calls_max } => {
                self.copy_asked(now, replica, after, calls_max);
            }
            PeerWord::CopyPage { view: _, after, run, next, total, floor } => {
                self.copy_page(now, after, run, next, (total, floor));
            }
            PeerWord::Compare { view: _, range, digest } => self.compare(replica, range, digest),
            PeerWord::CompareAsk { view: _, range } => self.compare_asked(replica, range),
            PeerWord::CompareKeys { view: _, range, calls } => {
                self.compare_keys(replica, range, &calls);
            }
            PeerWord::Repair { view: _, keys } => self.repair_asked(now, replica, &keys),
            PeerWord::Repaired { view: _, calls, spilled, gone, floor } => {
                self.repaired(now, (calls, spilled), &gone, floor);
            }
            PeerWord::Spilled { view: _, calls } => self.peer_spilled(replica, &calls),
            PeerWord::SpilledAsk { view: _, calls } => self.spilled_asked(replica, calls),
            PeerWord::RowsAsk { view: _, calls } => self.rows_asked(replica, calls),
            PeerWord::RowsFree { view: _, calls } => self.rows_free(now, replica, &calls),
            PeerWord::ViewAsk { view, ask } => {
                self.tell_peer(replica, PeerWord::ViewSame { view, ask });
            }
            PeerWord::ViewSame { view: _, ask } => self.view_confirmed(replica, ask),
            PeerWord::Ship { view: _, site, id, calls, removals } => {
                self.ship_asked(now, replica, (site, id), &calls, &removals);
            }
            PeerWord::Shipped { view: _, site, id, missing, bytes, raw_bytes } => {
                self.shipped(now, replica, (site, id), &missing, (bytes, raw_bytes));
            }
            PeerWord::Struck { view: _, strikes } => self.peer_struck(now, strikes),
            PeerWord::Quarantined { view: _, aside } => {
                self.on_spilled(aside.key, |replica| replica.peer_quarantined(now, aside));
            }
            PeerWord::Removed { view: _, tombstone } => {
                self.on_spilled(tombstone.key, |replica| replica.peer_removed(now, tombstone));
            }
            PeerWord::QuarantineDropped { view: _, keys } => self.peer_dropped(&keys),
        }
    }

    pub(crate) fn tell_peer(&mut self, replica: ReplicaId, word: PeerWord) {
        self.out.push_back(Output::Peer { replica, word });
    }

    /// Pings, and proposes what is to be changed.
    pub(crate) fn run_membership(&mut self, now: Instant) {
        if self.config.shared.is_none() || self.membership.is_expelled {
            return;
        }
        self.ping(now);
        if now < self.membership.retry_at {
            return;
        }
        match &mut self.membership.step {
            Step::Idle => {
                let change = self.wanted(now);
                self.membership.writes_fail &= change.is_some();
                if change.is_some() || !self.membership.is_known {
                    self.membership.step = Step::Reading(change);
                    self.out.push_back(Output::Store(StoreAsk::Read));
                }
            }
            Step::Unsure { is_asked, .. } if !*is_asked => {
                *is_asked = true;
                self.out.push_back(Output::Store(StoreAsk::Read));
            }
            Step::Reading(_) | Step::Deciding { .. } | Step::Unsure { .. } => {}
        }
    }

    fn ping(&mut self, now: Instant) {
        let every = self.config.pace.ping_every;
        let passed = now.since(self.membership.pinged_at);
        if passed < every {
            return;
        }
        let stood_still = passed > every * PINGS_MISSED_MAX;
        self.membership.pinged_at = now;
        self.membership.heard_all_since = match self.hears_all(now) && !stood_still {
            true => self.membership.heard_all_since.or(Some(now)),
            false => None,
        };
        self.membership.pings += 1;
        let number = self.membership.pings;
        let heard = self.listened_to();
        self.membership.others.retain(|replica, other| other.is_up || heard.contains(replica));
        for replica in heard {
            let other = self.membership.others.entry(replica).or_insert_with(|| Other::new(now));
            if stood_still {
                other.unanswered = 0;
            }
            if other.unanswered == 0 {
                other.silent_since = now;
            }
            other.unanswered = other.unanswered.saturating_add(1);
            if other.is_up {
                self.tell_peer(replica, PeerWord::Ping { number });
            }
        }
    }

    /// Whether another replica has answered so lately that it is not taken to be dead.
    #[must_use]
    pub fn hears(&self, now: Instant, replica: ReplicaId) -> bool {
        self.was_heard(now, replica, self.config.pace.silent_after)
    }

    fn was_heard(&self, now: Instant, replica: ReplicaId, within: Duration) -> bool {
        let other = self.membership.others.get(&replica).filter(|other| other.is_up);
        other.and_then(|other| other.heard_at).is_some_and(|at| now.since(at) < within)
    }

    /// The view on the map that this replica serves in, joins, or waits for; `None` while its
    /// partition is not made.
    #[must_use]
    pub fn acting_view(&self) -> Option<&PartitionView> {
        let membership = &self.membership;
        membership.map.view(membership.acting(self.config.partition))
    }

    /// The change that the map, as known, should see next.
    fn wanted(&self, now: Instant) -> Option<Change> {
        let membership = &self.membership;
        if let Some(ordered) = membership.ordered {
            return Some(ordered.change);
        }
        if !membership.is_known {
            return None;
        }
        let (me, shared) = (self.config.replica, self.config.shared.as_ref()?);
        if !membership.map.names(me) && self.may_have_namesake(now) {
            return None;
        }
        let Some(view) = self.acting_view() else {
            let deals =
                membership.map.partitions.is_empty() && self.config.partition.0 < shared.partitions;
            let sits = membership.map.seat(me).is_some();
            return if deals { Some(Change::Found) } else { (!sits).then_some(Change::Sit) };
        };
        if view.members.is_empty() {
            return Some(Change::Found);
        }
        if view.members.contains(&me) {
            return self.wanted_by_member(now, view);
        }
        if view.joining.contains(&me) {
            return self.is_copied().then_some(Change::Complete);
        }
        let is_replaced = |member: &ReplicaId| {
            let seat = membership.map.seat(*member);
            // Nobody dials itself: an earlier life of this very process is known by its name.
            seat.is_some_and(|seat| seat.name == shared.name)
                || membership.others.get(member).is_some_and(|other| other.is_replaced)
        };
        if view.members.iter().all(is_replaced) {
            return Some(Change::Refound);
        }
        if membership.map.seat(me).is_none() {
            // The others dial only who is on the map: without it none would answer.
            return Some(Change::Sit);
        }
        // A member that does not hear this replica would have it removed again.
        let heard_for = membership.heard_all_since.map(|since| now.since(since));
        heard_for.is_some_and(|heard| heard >= shared.join_after).then_some(Change::Join)
    }

    /// Whether every member of the view has answered this replica a moment ago.
    fn hears_all(&self, now: Instant) -> bool {
        let within = self.config.pace.ping_every * HEARD_WITHIN;
        let is_heard = |member: &ReplicaId| self.was_heard(now, *member, within);
        let view = self.acting_view().filter(|view| !view.members.is_empty());
        view.is_some_and(|view| view.members.iter().all(is_heard))
    }

    fn wanted_by_member(&self, now: Instant, view: &PartitionView) -> Option<Change> {
        let (me, pace) = (self.config.replica, &self.config.pace);
        let dead = |replica: ReplicaId| {
            let since = self.membership.dead_since(replica, pace);
            since.filter(|since| *since <= now)
        };
        let alive = view.members.iter().filter(|member| dead(**member).is_none());
        let rank = alive.take_while(|member| **member != me).count();
        let patience = pace.propose_after * u32::try_from(rank).unwrap_or(u32::MAX);
        let others = view.everybody().filter(|other| *other != me);
        let remove = others
            .filter(|other| dead(*other).is_some_and(|since| since + patience <= now))
            .find(|other| view.members != [*other]);
        if let Some(replica) = remove {
            return Some(Change::Remove(replica));
        }
        if let Some(replica) = self.silent_seat(now, view, patience) {
            return Some(Change::Unseat(replica));
        }
        let map = &self.membership.map;
        let settles = self.membership.settles;
        if let Some(life) = settles.filter(|life| *life > map.settled && *life <= map.life()) {
            return Some(Change::Settle(life));
        }
        let of = map.moves.iter().find(|of| of.from == view.partition)?;
        let is_ready = change::ready(map, of).len() >= usize::from(of.replicas.max(1));
        (is_ready && self.leads()).then_some(Change::Divide)
    }

    /// When time alone may bring a change, or a ping.
    pub(crate) fn membership_at(&self) -> Option<Instant> {
        let membership = &self.membership;
        if self.config.shared.is_none() || membership.is_expelled {
            return None;
        }
        let ping_at = membership.pinged_at + self.config.pace.ping_every;
        let waits = match membership.step {
            Step::Idle => {
                !membership.is_known || self.wanted(membership.retry_at.max(self.now)).is_some()
            }
            Step::Unsure { is_asked, .. } => !is_asked,
            Step::Reading(_) | Step::Deciding { .. } => false,
        };
        Some(if waits { ping_at.min(membership.retry_at) } else { ping_at })
    }

    pub(crate) fn store_says(&mut self, now: Instant, word: StoreWord) {
        match word {
            StoreWord::Map { is_answer, revision, store_revision, map } => {
                self.membership.is_away = false;
                self.note_store_revision(store_revision);
                self.learn(now, revision, map);
                if is_answer && !self.membership.is_expelled {
                    self.go_on_with_change(now);
                }
            }
            StoreWord::Written { revision } => {
                self.membership.is_away = false;
                self.membership.writes_fail = false;
                let step = std::mem::replace(&mut self.membership.step, Step::Idle);
                if let Step::Deciding { change, expected: _, next } = step {
                    change.into_iter().for_each(|change| self.forget_order(change));
                    self.counts.views_proposed += 1;
                    self.learn(now, revision, next);
                }
            }
            StoreWord::Lost => {
                self.membership.writes_fail = false;
                self.membership.step = Step::Idle;
                self.membership.retry_at = now + RETRY_AFTER / 4;
            }
            StoreWord::Away { may_have_happened } => {
                self.membership.is_away = true;
                self.membership.writes_fail |=
                    matches!(self.membership.step, Step::Deciding { .. });
                self.store_away(now, may_have_happened);
            }
        }
        self.hear_muted(now);
    }

    fn store_away(&mut self, now: Instant, may_have_happened: bool) {
        self.membership.retry_at = now + RETRY_AFTER;
        let step = std::mem::replace(&mut self.membership.step, Step::Idle);
        self.membership.step = match step {
            Step::Deciding { change, expected, .. } if may_have_happened => {
                Step::Unsure { change, expected, is_asked: false }
            }
            Step::Unsure { change, expected, is_asked: _ } => {
                Step::Unsure { change, expected, is_asked: false }
            }
            Step::Idle | Step::Reading(_) | Step::Deciding { .. } => Step::Idle,
        };
    }

    /// The newest map is known: the change is proposed if it still makes sense.
    fn go_on_with_change(&mut self, now: Instant) {
        let step = std::mem::replace(&mut self.membership.step, Step::Idle);
        let (change, must_write) = match step {
            Step::Reading(change) => {
                let wanted = self.wanted(now);
                (change.or(wanted).filter(|change| Some(*change) == wanted), false)
            }
            // Another map was written since: the one that was proposed was, or never will be.
            Step::Unsure { expected, .. } if expected != self.membership.revision => (None, false),
            // Its reason may be over by now, and what it loses is lost for good.
            Step::Unsure { change, .. } => {
                let is_over = |change| self.wanted(now) != Some(change);
                (change.filter(|change| *change != Change::Refound || !is_over(*change)), true)
            }
            step @ (Step::Idle | Step::Deciding { .. }) => {
                self.membership.step = step;
                return;
            }
        };
        if change.is_none() && !must_write {
            return;
        }
        let membership = &self.membership;
        let shared = self.config.shared.as_ref();
        let partitions = shared.map_or(1, |shared| shared.partitions);
        let acting = membership.acting(self.config.partition);
        let (map, revision) = (&membership.map, membership.store_revision);
        let next = change.and_then(|change| {
            change::apply(change, map, revision, &self.seat(), acting, partitions)
        });
        // The same map at a later revision settles what became of the write before.
        let next = next.or_else(|| must_write.then(|| map.clone()));
        let Some(next) = next else {
            change.into_iter().for_each(|change| self.give_order_up(change));
            self.membership.retry_at = now + RETRY_AFTER;
            return;
        };
        let expected = membership.revision;
        self.out.push_back(Output::Store(StoreAsk::CompareAndSet { expected, map: next.clone() }));
        self.membership.step = Step::Deciding { change, expected, next };
    }

    fn seat(&self) -> Seat {
        let shared = self.config.shared.as_ref();
        let told = |of: fn(&Shared) -> &String| shared.map(of).cloned().unwrap_or_default();
        Seat {
            replica: self.config.replica,
            partition: self.config.partition,
            name: told(|shared| &shared.name),
            address: told(|shared| &shared.address),
            partitions: shared.map_or(0, |shared| shared.partitions),
            replicas: shared.map_or(0, |shared| shared.replicas),
        }
    }

    fn note_store_revision(&mut self, revision: u64) {
        let known = &mut self.membership.store_revision;
        *known = revision.max(*known);
    }

    /// Tells another replica the newest map: it may not reach the coordination store, and until it
    /// knows the view that names it nothing can be put.
    fn tell_news(&mut self, replica: ReplicaId) {
        let Membership { is_known, revision, store_revision, map, .. } = &self.membership;
        if *is_known && *revision > 0 {
            let (revision, store_revision, map) = (*revision, *store_revision, map.clone());
            self.tell_peer(replica, PeerWord::News { revision, store_revision, map });
        }
    }

    fn tell_everybody_news(&mut self) {
        let others = self.membership.others.iter().filter(|(_, other)| other.is_up);
        for replica in others.map(|(replica, _)| *replica).collect::<Vec<_>>() {
            self.tell_news(replica);
        }
    }

    /// Takes a newer map in.
    fn learn(&mut self, now: Instant, revision: u64, map: SiteMap) {
        let membership = &mut self.membership;
        if membership.is_known && revision <= membership.revision {
            return;
        }
        membership.is_known = true;
        membership.writes_fail = false;
        membership.revision = revision;
        membership.map = map;
        self.note_view();
        let (me, was_named) = (self.config.replica, self.config.view.names(self.config.replica));
        let view = self.acting_view().filter(|view| view.names(me)).cloned();
        match view {
            Some(view) => {
                self.out.push_back(Output::Map(self.membership.map.clone()));
                if view.number != self.config.view.number {
                    self.serve(now, view);
                }
            }
            None if was_named => {
                self.membership.is_expelled = true;
                self.out.clear();
                return self.out.push_back(Output::Expelled);
            }
            None => self.out.push_back(Output::Map(self.membership.map.clone())),
        }
        self.tell_everybody_news();
        self.note_redundancy(now);
    }

    /// Serves in a view that names this replica.
    fn serve(&mut self, now: Instant, view: PartitionView) {
        let led = self.leads();
        // Whoever joins others is a joiner first.
        let founds =
            !self.config.view.names(self.config.replica) && view.members == [self.config.replica];
        let loses_slots = !self.config.view.slots.without(&view.slots).is_empty();
        let gains_slots = !view.slots.without(&self.config.view.slots).is_empty();
        self.config.view = view;
        if founds {
            self.found_rows();
        }
        self.counts.views += 1;
        if self.is_joining() {
            self.begin_copy();
        } else {
            self.end_copy();
            self.membership.member_since.get_or_insert(now);
        }
        if loses_slots {
            self.shed();
        }
        self.restart_compare(now);
        if self.leads() && !led {
            self.lead(now);
        }
        if self.leads() && (!led || gains_slots) {
            self.take_up_orders();
        }
    }

    /// This replica has become primary. Locks that it knows are real from here on; of those that
    /// it does not know no put is accepted any more.
    fn lead(&mut self, now: Instant) {
        self.counts.promoted += 1;
        let expires_at = now + self.config.pace.lock_lease;
        let locked: Vec<_> = self.leases.iter().map(|(_, key)| *key).collect();
        for key in locked {
            let Some(lock) = self.store.get_mut(key).and_then(|call| call.lock.as_mut()) else {
                continue;
            };
            lock.expires_at = expires_at;
            if !self.engines.contains(&lock.engine) {
                self.end_lock(now, key, Ending::Broken);
            }
        }
        self.judge_all(now);
        self.evaluate_all_busy(now);
    }

    /// Forgets the calls of slots that are not this partition's any more.
    fn shed(&mut self) {
        let slots = self.config.view.slots;
        let gone: Vec<_> =
            self.store.keys_after(None).filter(|key| !slots.contains(key.slot())).collect();
        self.counts.shed += gone.len() as u64;
        for key in gone {
            self.forget(key);
        }
        self.forget_fetches_of_others();
    }

    /// Forgets a call as if it had never been here: lock, waiters, marks and all.
    pub(crate) fn forget(&mut self, key: vocab::CallKey) {
        self.unpack(key);
        self.drop_record(key);
        let Some(call) = self.store.get_mut(key) else { return };
        self.waiters -= call.waiters.len();
        if let Some(lock) = call.lock.take() {
            self.leases.remove(&(lock.listed_at, key));
            self.handed.back(lock.cause);
        }
        self.agenda.clear_all(&mut call.armed, key);
        self.store.remove(key);
    }

    /// Whether the coordination store cannot be written to, as far as this replica had to: it may
    /// answer reads all the same.
    #[must_use]
    pub fn is_store_unwritable(&self) -> bool {
        self.membership.writes_fail
    }
}

impl Membership {
    /// The partition in whose view a replica of `home` acts: that, or the one that it is to be
    /// divided from.
    pub(crate) fn acting(&self, home: PartitionId) -> PartitionId {
        if self.map.view(home).is_some() {
            return home;
        }
        self.map.moves.iter().find(|of| of.to == home).map_or(home, |of| of.from)
    }
}

impl Other {
    fn new(now: Instant) -> Self {
        Self {
            is_up: false,
            gone_since: None,
            is_replaced: false,
            unanswered: 0,
            silent_since: now,
            heard_at: None,
        }
    }
}

/// The view of a replica that nobody has named yet.
#[must_use]
pub fn outside(partition: PartitionId) -> PartitionView {
    PartitionView {
        members: Vec::new(),
        ..PartitionView::alone(partition, ViewNumber(0), ReplicaId(0))
    }
}
