//! One replica of one partition of a site's state tier, and the site's gate to other sites.
//!
//! A replica holds calls as opaque records: it locks them, hands them to engines when they are due
//! or broken, and lets them cross to other sites. It never decodes a call, and it has no clock, no
//! socket and no disk: see [`Replica::handle_input`] and [`gate::Gate::handle_input`].

// A new state or input must break every place that has to think about it; tests may look for one.
#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tier_protocol::{Command, Reply, Return, SiteState, Strike};
use vocab::{CallKey, EngineId, Instant, LockToken, SiteId, ViewNumber};

mod agenda;
mod bulk;
mod change;
mod compare;
pub mod config;
mod confirmed;
mod copy;
mod crossing;
pub mod database;
pub mod door;
mod follow;
pub mod gate;
mod given_up;
mod hand;
pub mod hint;
mod homing;
mod inbound;
mod keeper;
pub mod lag;
mod lock;
mod membership;
mod oldest_out;
mod ordered;
mod outbound;
mod pace;
mod planted;
mod put;
mod quarantine;
mod redundancy;
mod refill;
mod seats;
mod ship;
mod spill;
pub mod stats;
mod steering;
mod store;
mod sweep;
mod told;
mod tombs;

pub use config::{Config, Limits, Pace, Sender, Shared, Spill, SpillAfter};
pub use copy::CopyStats;
pub use database::{DatabaseAsk, DatabaseWord, FoundRow, Refused, SpillRow};
pub use door::{
    GateBound, Input, Lapse, Order, Output, PeerNews, Progress, Reason, SiteInput, SiteOrder,
    SiteStatus, Steering, StoreAsk, StoreWord,
};
pub use membership::outside;
#[doc(hidden)]
pub use planted::Planted;
pub use seats::Conflict;
pub use stats::{CallStory, CallSummary, Stats};

use agenda::Agenda;
use bulk::Bulk;
use change::Change;
use compare::Comparing;
use confirmed::Unconfirmed;
use copy::Copying;
use keeper::Heard;
use lock::Ending;
use membership::Membership;
use outbound::Outbound;
use pace::Pacer;
use quarantine::{Quarantine, Suspects};
use refill::Refill;
use spill::Spilling;
use stats::{BulkKind, Counts, InboundStats};
use store::Store;
use sweep::Sweeping;
use tombs::Tombs;

/// Removals remembered to answer a repeated `Delete` alike, and to refuse a put of a broken lock
/// that comes after them. Words of such a lock come within its lease and the silence of a link.
const REPEATS_MAX: usize = 65_536;

/// One replica of one partition.
#[derive(Debug)]
pub struct Replica {
    config: Config,
    began_at: Instant,
    /// The instant of the newest input.
    now: Instant,
    store: Store,
    /// Removals that other sites may need to hear of, or that forbid what may still come.
    tombs: Tombs,
    /// Removals of calls that nobody else ever heard of.
    repeats: Tombs,
    agenda: Agenda,
    /// Every lock, once, by when its lease is to be looked at.
    leases: BTreeSet<(Instant, CallKey)>,
    engines: BTreeSet<EngineId>,
    /// The engine that was handed a call last.
    last_engine: Option<EngineId>,
    tokens: u64,
    batches: u64,
    /// Until then the batches are built here, whoever is to build them.
    ships_again_at: Instant,
    handed: lock::Handed,
    waiters: usize,
    outbound: BTreeMap<SiteId, Outbound>,
    /// As many as there are sites.
    inbound: BTreeMap<SiteId, InboundStats>,
    sites: BTreeMap<SiteId, SiteStatus>,
    /// Newest start of every site ever heard.
    starts: BTreeMap<SiteId, u64>,
    /// Sites whose batches still wait on this site's queue.
    waiting: BTreeSet<SiteId>,
    /// The newest keeper of the gate that was heard, and what it says of this site.
    keeper: Heard,
    here: Option<SiteState>,
    refill: Refill,
    bulks: BTreeMap<(BulkKind, SiteId), Bulk>,
    activate_pacer: Pacer,
    hand_back_pacer: Pacer,
    bulk_pacer: Pacer,
    /// What operators ordered, as the gate told it.
    steering: Steering,
    /// The backup site of the configuration.
    configured_backup: Option<SiteId>,
    woken_since: given_up::WokenSince,
    /// Sites whose calls are woken although they answer.
    forced: BTreeSet<SiteId>,
    /// The last sweep that went through all calls, and when it had.
    swept: Option<(SiteId, Instant)>,
    counts: Counts,
    membership: Membership,
    /// Of a joiner: how far its copy is.
    copying: Option<Copying>,
    /// Locks, with older tokens, of calls that the copy of this replica did not have are over.
    copied_floor: LockToken,
    comparing: Comparing,
    spilling: Spilling,
    /// Turns that broke, of calls that may do so again.
    suspects: Suspects,
    /// Strikes that the other members have yet to hear of.
    struck: Vec<(CallKey, Strike)>,
    quarantine: Quarantine,
    unconfirmed: Unconfirmed,
    sweeping: Sweeping,
    planted: Option<Planted>,
    out: VecDeque<Output>,
}

impl Replica {
    /// An empty replica.
    #[must_use]
    pub fn new(now: Instant, config: Config) -> Self {
        let pace = config.pace;
        let refill = Refill::new(pace, config.limits);
        let limits = &config.limits;
        let quarantine = Quarantine::new(limits.quarantine_calls_max, limits.quarantine_bytes_max);
        Self {
            began_at: now,
            now,
            store: Store::new(config.here),
            tombs: Tombs::new(config.limits.tombstones_max),
            repeats: Tombs::new(REPEATS_MAX),
            agenda: Agenda::default(),
            leases: BTreeSet::new(),
            engines: BTreeSet::new(),
            last_engine: None,
            tokens: 0,
            batches: 0,
            ships_again_at: Instant(0),
            handed: lock::Handed::default(),
            waiters: 0,
            outbound: BTreeMap::new(),
            inbound: BTreeMap::new(),
            sites: BTreeMap::new(),
            starts: BTreeMap::new(),
            waiting: BTreeSet::new(),
            keeper: Heard::default(),
            here: None,
            refill,
            bulks: BTreeMap::new(),
            activate_pacer: Pacer::new(pace.activate_per_s),
            hand_back_pacer: Pacer::new(pace.hand_back_per_s),
            bulk_pacer: Pacer::new(pace.refill_per_s),
            steering: Steering::default(),
            configured_backup: config.backup_to,
            woken_since: given_up::WokenSince::default(),
            forced: BTreeSet::new(),
            swept: None,
            counts: Counts::default(),
            membership: Membership::new(now),
            copying: None,
            copied_floor: LockToken::default(),
            comparing: Comparing::default(),
            spilling: Spilling::new(&config),
            suspects: Suspects::new(config.limits.suspects_max),
            struck: Vec::new(),
            quarantine,
            unconfirmed: Unconfirmed::default(),
            sweeping: Sweeping::default(),
            planted: None,
            out: VecDeque::new(),
            config,
        }
    }

    /// Puts a bug back, for the simulator's proof of itself.
    #[doc(hidden)]
    pub fn plant(&mut self, planted: Planted) {
        self.planted = Some(planted);
    }

    /// Takes one input; drain [`Self::poll_output`] after it.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        self.now = now;
        if self.membership.is_expelled {
            return;
        }
        match input {
            Input::EngineUp { engine } => {
                self.engines.insert(engine);
                self.suspects.acquit(engine);
            }
            Input::EngineDown { engine } => {
                self.forget_muted(engine);
                self.engine_down(now, engine);
            }
            Input::Command { engine, command } => {
                let view = command.view();
                self.command(now, engine, command);
                self.answer_in_old_view(view);
            }
            Input::Site(input) => self.site(now, input),
            Input::Order(order) => self.order(now, order),
            Input::Peer { replica, news } => self.peer(now, replica, news),
            Input::Store(word) => self.store_says(now, word),
            Input::Database(word) => self.database_says(now, word),
            Input::Wake => {}
        }
        self.run_membership(now);
        self.run_copy(now);
        if self.leads() && !self.is_mute() && !self.membership.is_expelled {
            self.end_leases(now);
            self.run_bulks(now);
            self.hand(now);
            self.settle(now);
            self.send_batches(now);
            self.ask_refills(now);
            self.run_compare(now);
            self.run_sweep(now);
        }
        self.run_spill(now);
        self.end_unconfirmed(now);
        self.tell_strikes();
    }

    /// The next output; [`Output::WakeAt`] ends the drain.
    pub fn poll_output(&mut self) -> Output {
        self.out.pop_front().unwrap_or_else(|| {
            let (at, reason) = self.next_wake();
            Output::WakeAt(at, reason)
        })
    }

    fn command(&mut self, now: Instant, engine: EngineId, command: Command) {
        if !self.engines.contains(&engine) {
            // A lock of an engine whose link is down would never break: late words are dropped.
            self.counts.unknown_engine += 1;
            return;
        }
        if self.is_mute() {
            return self.keep_muted(engine, command);
        }
        if !self.serves(&command) {
            let (key, current) = (command.key(), self.config.view.number);
            self.counts.stale_view += 1;
            return self.reply(engine, Reply::StaleView { key, current });
        }
        match command {
            Command::LockAndGet { view: _, key, turn, begins, cached } => {
                self.lock_and_get(now, key, store::Waiter { engine, turn, begins, cached });
            }
            Command::Get { view: _, key, turn } if self.store.is_spilled(key) => {
                self.read_row(now, key, engine, turn);
            }
            Command::Get { view: _, key, turn } => {
                let call = self.store.get(key);
                let record = call.and_then(|call| call.aged(now));
                let dormant = call.is_some_and(|call| call.is_dormant);
                self.reply(engine, Reply::Got { key, turn, record, dormant });
            }
            Command::Confirm { view: _, key, turn } => {
                self.reply(engine, Reply::Confirmed { key, turn });
            }
            Command::Put { view: _, record, base, flags } if self.leads() => {
                self.put(now, engine, record, base, flags);
            }
            Command::Put { view: _, record, base, flags } => {
                self.follow_put(now, engine, record, base, flags);
            }
            Command::Unlock { view: _, key, token } => {
                let call = self.store.get(key);
                if call.and_then(|call| call.lock).is_some_and(|lock| lock.token == token) {
                    let removal = call.and_then(|call| call.removal);
                    match removal.filter(|removal| removal.stamp.token == token) {
                        Some(removal) => self.remove_at_last(now, removal),
                        None => self.end_lock(now, key, Ending::Unlocked),
                    }
                } else if call.is_none() {
                    self.end_spilled(now, key, token);
                }
            }
            Command::Renew { view: _, key, token } => self.prolong(now, key, token),
            Command::Delete { view: _, tombstone, base } if self.leads() => {
                self.delete(now, engine, tombstone, base);
            }
            Command::Delete { view: _, tombstone, base: _ } => {
                self.follow_delete(now, engine, tombstone);
            }
            Command::StoreDormant { view: _, batch, record } => {
                let (key, stamp) = (record.header.key, record.header.stamp);
                let outcome = self.store_dormant(now, record);
                self.note_outcome(stamp, outcome);
                self.reply(engine, Reply::Dormant { key, batch, outcome });
            }
            Command::StoreTombstone { view: _, batch, tombstone } => {
                let key = tombstone.key;
                let outcome = self.store_tombstone(now, tombstone);
                self.note_outcome(tombstone.stamp, outcome);
                self.reply(engine, Reply::Dormant { key, batch, outcome });
            }
            Command::Poisoned { view: _, key, strike } => self.poisoned(now, engine, key, strike),
        }
    }

    /// Whether the command is for this replica, in its view.
    fn serves(&self, command: &Command) -> bool {
        let view = &self.config.view;
        let is_old_too = self.planted == Some(Planted::OldViewAccepted);
        let is_known = command.view() == view.number || is_old_too && command.view() < view.number;
        let is_current = is_known && view.names(self.config.replica);
        let is_owned = view.slots.contains(command.key().slot());
        match command {
            // What has left has left, in whatever view, and what has happened has happened.
            Command::Unlock { .. } | Command::Renew { .. } | Command::Poisoned { .. } => true,
            Command::LockAndGet { .. } => is_current && is_owned && self.leads(),
            Command::Get { .. } => is_current && is_owned && !self.is_joining(),
            Command::Confirm { .. }
            | Command::Put { .. }
            | Command::Delete { .. }
            | Command::StoreDormant { .. }
            | Command::StoreTombstone { .. } => is_current && is_owned,
        }
    }

    /// The simulator's planted bug: whatever the view, the engine hears what it hopes for.
    fn answer_in_old_view(&mut self, old: ViewNumber) {
        if self.planted != Some(Planted::OldViewAccepted) {
            return;
        }
        for output in &mut self.out {
            if let Output::Reply { view, .. } = output {
                *view = old;
            }
        }
    }

    fn site(&mut self, now: Instant, input: SiteInput) {
        match input {
            SiteInput::Status { view, .. } | SiteInput::LinkDown { view, .. }
                if !self.keeper.believes(view) =>
            {
                self.counts.old_keeper += 1;
            }
            SiteInput::Status { view: _, here, alive, waiting, steering } => {
                self.here = Some(here);
                self.status(now, &alive, &waiting);
                self.steer(steering);
            }
            SiteInput::BatchStored { site, id } => self.batch_stored(now, site, id),
            SiteInput::BatchRefused { site, id } => self.batch_refused(now, site, id),
            SiteInput::LinkDown { view: _, site } => self.link_down(now, site),
            SiteInput::Superseded(calls) => {
                for call in &calls {
                    self.note_away(now, call.key, call.epoch);
                }
                self.share(now, &calls.iter().map(|call| call.key).collect::<Vec<_>>());
            }
            SiteInput::KeysetAsk { site, cursor, ask } => self.keyset_ask(now, site, cursor, ask),
            SiteInput::Pull { site, key, ask } => self.pull(now, site, key, ask),
            SiteInput::KeysetPage { from: _, entries } => self.keyset_page(now, &entries),
            SiteInput::Pulled { from, key, answer } => self.pulled(now, from, key, answer),
            SiteInput::Settled { life } => self.membership.settles = Some(life),
            SiteInput::Order(order) => self.site_order(order),
            SiteInput::ProgressAsk => self.tell_gate(GateBound::Progress(self.progress())),
            SiteInput::Sweep { site, ask, word } => self.hear_sweep(now, site, ask, word),
            SiteInput::KeeperAsk { keeper, ask } => self.keeper_asked(now, keeper, ask),
        }
    }

    fn order(&mut self, now: Instant, order: Order) {
        match order {
            Order::Site(order) => self.site_order(order),
            Order::DropQuarantined(key) => self.drop_quarantined(key),
            Order::MoveSlots(slots) => self.order_change(now, order, Change::Plan(slots)),
            Order::CancelMove { from, to } => {
                self.order_change(now, order, Change::Cancel { from, to });
            }
            Order::Refound => self.order_change(now, order, Change::Refound),
        }
    }

    fn site_order(&mut self, order: SiteOrder) {
        match order {
            SiteOrder::ActivateAll { site, force } => {
                match force {
                    true => self.forced.insert(site),
                    false => self.forced.remove(&site),
                };
                self.begin_bulk(BulkKind::Activate, site);
            }
            SiteOrder::StopActivating { site } => {
                self.forced.remove(&site);
                self.end_bulk(BulkKind::Activate, site);
            }
            SiteOrder::DropBackup { site } => self.begin_bulk(BulkKind::Drop, site),
            SiteOrder::Replication { site, on } => self.outbound_mut(site).is_stopped = !on,
            SiteOrder::Sweep { site } => self.begin_bulk(BulkKind::Sweep, site),
            SiteOrder::Compare { site } => self.begin_sweep(site),
        }
    }

    fn reply(&mut self, engine: EngineId, reply: Reply) {
        let view = self.config.view.number;
        self.out.push_back(Output::Reply { engine, view, reply });
    }

    fn tell_gate(&mut self, words: GateBound) {
        self.out.push_back(Output::Gate(words));
    }

    /// What crosses to `site`; begun when it is first needed.
    fn outbound_mut(&mut self, site: SiteId) -> &mut Outbound {
        let is_alive = self.sites.contains_key(&site);
        self.outbound.entry(site).or_insert_with(|| Outbound::new(is_alive))
    }

    /// The site after `last` in the order of numbers, of those that something crosses to.
    fn next_outbound(&self, last: Option<SiteId>) -> Option<SiteId> {
        let from = last.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        self.outbound.range((from, std::ops::Bound::Unbounded)).next().map(|(site, _)| *site)
    }

    fn next_wake(&self) -> (Instant, Reason) {
        let mut next = (Instant::NEVER, Reason::Idle);
        let mut note = |at: Option<Instant>, reason| {
            if let Some(at) = at.filter(|at| *at < next.0) {
                next = (at, reason);
            }
        };
        note(self.membership_at(), Reason::Membership);
        note(self.copy_at(), Reason::Copy);
        note(self.unconfirmed.wake_at(), Reason::Wait);
        if self.is_mute() || self.membership.is_expelled {
            return (next.0.max(self.now), next.1);
        }
        note(self.spill_at(), Reason::Spill);
        if !self.leads() {
            return (next.0.max(self.now), next.1);
        }
        note(self.compare_at(), Reason::Copy);
        note(self.leases.first().map(|(at, _)| *at), Reason::Lease);
        note(self.hand_at(), Reason::Hand);
        let (limits, pace) = (&self.config.limits, &self.config.pace);
        for outbound in self.outbound.values() {
            note(outbound.first_settling().map(|(at, _)| at), Reason::Settle);
            let (bytes, flights) = (limits.batch_bytes_max, limits.batches_in_flight_max);
            note(outbound.batch_at(pace.batch_after, bytes, flights), Reason::Batch);
            note(outbound.overdue_at(), Reason::Batch);
        }
        note(self.bulk_at(), Reason::Pace);
        note(self.sweep_at(), Reason::Pace);
        let refill_at = self.refill.wake_at();
        note(refill_at.filter(|_| self.steering.returning == Return::Runs), Reason::Pace);
        (next.0.max(self.now), next.1)
    }
}

#[cfg(test)]
mod tests;
