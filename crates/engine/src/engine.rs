//! The engine's two doors, and what comes in through the first one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use call::Destination;
use sip_message::StatusCode;
use tier_protocol::{Cause, Command, ForwardedMessage, GateWord, Reply};
use vocab::{CallKey, Instant, PartitionId, ReplicaId, SiteId, ViewNumber};

use crate::arrival::{Arrival, Kind, Origin};
use crate::cache::Cache;
use crate::config::Config;
use crate::door::{Input, Output, Reason};
use crate::held::Grant;
use crate::ingress::{self, Ingress};
use crate::partition_map::PartitionMap;
use crate::planted::Planted;
use crate::registrations::Registrations;
use crate::site_inbox::SiteInbox;
use crate::sites::Sites;
use crate::stateless;
use crate::stats::Stats;
use crate::turn::{State, Turn};

/// One engine. After each [`handle_input`](Self::handle_input) its outputs are drained with
/// [`poll_output`](Self::poll_output) until [`Output::WakeAt`].
pub struct Engine {
    pub(crate) config: Config,
    pub(crate) map: PartitionMap,
    pub(crate) sites: Sites,
    pub(crate) inbox: SiteInbox,
    pub(crate) cache: Cache,
    pub(crate) stats: Stats,
    turns: BTreeMap<CallKey, Turn>,
    wakes: BTreeSet<(Instant, CallKey)>,
    room: Room,
    registrations: Registrations,
    draining: bool,
    last_number: u64,
    pub(crate) planted: Option<Planted>,
    out: VecDeque<Output>,
}

/// What waits in turns.
#[derive(Clone, Copy, Debug, Default)]
struct Room {
    inputs: usize,
    bytes: usize,
    registrations: usize,
}

impl Engine {
    /// An engine that has taken nothing in yet.
    #[must_use]
    pub fn new(now: Instant, config: Config) -> Self {
        let _ = now;
        Self {
            map: PartitionMap::new(&config.views, config.limits.tier_patience),
            sites: Sites::new(config.here, config.start),
            inbox: SiteInbox::default(),
            cache: Cache::new(config.limits.cache_calls_max),
            stats: Stats::default(),
            turns: BTreeMap::new(),
            wakes: BTreeSet::new(),
            room: Room::default(),
            registrations: Registrations::new(config.limits.registrations_per_s),
            draining: false,
            last_number: 0,
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

    /// Takes one input in.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Datagram { source, bytes, offered_by } => {
                let origin = offered_by.map_or(Origin::Outside, Origin::Offered);
                self.on_datagram(now, source, bytes, origin);
            }
            Input::Reply { from, view, reply } => self.on_reply(now, from, view, reply),
            Input::TierUp { replica } => {
                for partition in self.map.set_up(now, replica, true) {
                    self.repeat_in_view(now, partition);
                }
            }
            Input::TierDown { replica } => self.on_tier_down(now, replica),
            Input::NewView(view) => {
                let partition = view.partition;
                if self.map.adopt(view) {
                    self.repeat_in_view(now, partition);
                }
            }
            Input::Gate(word) => self.on_gate(now, word),
            Input::Drain(draining) => self.draining = draining,
            Input::Wake => self.on_wake(now),
        }
    }

    /// Gives the next output; [`Output::WakeAt`] ends the drain.
    #[must_use]
    pub fn poll_output(&mut self) -> Output {
        if let Some(output) = self.out.pop_front() {
            return output;
        }
        match self.wakes.first() {
            None => Output::WakeAt(Instant::NEVER, Reason::Idle),
            Some((at, key)) => {
                let turn = self.turns.get(key);
                Output::WakeAt(*at, turn.map_or(Reason::Idle, Turn::reason))
            }
        }
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            turns: self.turns.len() as u64,
            cached: self.cache.len() as u64,
            inputs: self.room.inputs as u64,
            inputs_bytes: self.room.bytes as u64,
            ..self.stats
        }
    }

    fn on_gate(&mut self, now: Instant, word: GateWord) {
        match word {
            GateWord::Sites { .. } => self.sites.note(word),
            GateWord::Pulled { key, turn, answer } => self.on_pulled(now, key, turn, answer),
            GateWord::Forwarded { from, message } => {
                let ForwardedMessage { source, bytes, key: _, epoch: _ } = message;
                self.stats.forwarded_in += 1;
                self.on_datagram(now, source, bytes, Origin::Forwarded(from));
            }
            GateWord::Batch { id, from: _, bytes, waited_ms } => {
                self.on_batch(id, &bytes, Duration::from_millis(waited_ms));
            }
        }
    }

    fn on_datagram(&mut self, now: Instant, source: SocketAddr, bytes: Bytes, origin: Origin) {
        self.stats.datagrams += 1;
        let limits = &self.config.limits.message;
        match ingress::take(source, bytes, origin, &self.config.setting, limits) {
            Ingress::For(key, arrival) => self.admit(now, key, arrival),
            Ingress::Malformed(answer) => {
                self.stats.malformed += 1;
                if let Some(bytes) = answer {
                    self.send(Destination::Addr(source), bytes);
                }
            }
            Ingress::Through(to, bytes) => {
                self.stats.forwarded_responses += 1;
                self.send(to, bytes);
            }
            Ingress::Stray => self.stats.strays += 1,
            Ingress::Panicked => self.stats.panics += 1,
            Ingress::Nothing => {}
        }
    }

    /// Lets a message wait for its call, within the bounds.
    fn admit(&mut self, now: Instant, key: CallKey, arrival: Arrival) {
        if !self.map.is_up(key, now) {
            return self.refuse_closed(&arrival);
        }
        if !self.has_room(&arrival, !self.turns.contains_key(&key)) {
            return self.refuse_overload(&arrival);
        }
        if arrival.registers()
            && let Some(away) = self.sends_away(now, key, &arrival)
        {
            self.stats.refused_registrations += 1;
            return self.refuse_until(&arrival, StatusCode::SERVICE_UNAVAILABLE, away);
        }
        let Some(mut turn) = self.take_turn(key) else {
            return self.ask(now, key, Turn::new(vec![arrival]));
        };
        if turn.has(arrival.identity) {
            self.stats.repeated += 1;
        } else if turn.all().count() >= self.config.limits.inputs_per_call_max {
            self.refuse_overload(&arrival);
        } else {
            turn.arrivals.push(arrival);
        }
        self.keep_turn(key, turn);
    }

    /// Requests that begin calls find the last quarter of every bound closed: old calls go first.
    fn has_room(&self, arrival: &Arrival, needs_turn: bool) -> bool {
        let limits = &self.config.limits;
        let share = |max: usize| if arrival.begins() { max / 4 * 3 } else { max };
        (!needs_turn || self.turns.len() < share(limits.turns_max))
            && self.room.inputs < share(limits.inputs_max)
            && self.room.bytes + arrival.bytes() <= share(limits.inputs_bytes_max)
    }

    /// For how long a REGISTER that is not taken is sent away, before anything is asked of the
    /// state tier: calls go first. One that waits here already is no other.
    fn sends_away(
        &mut self,
        now: Instant,
        key: CallKey,
        arrival: &Arrival,
    ) -> Option<RangeInclusive<Duration>> {
        if self.turns.get(&key).is_some_and(|turn| turn.has(arrival.identity)) {
            return None;
        }
        let least = self.config.limits.retry_after;
        if self.room.registrations >= self.config.limits.registrations_max || self.is_pressed() {
            return Some(least..=least * 2);
        }
        self.registrations.come(now, least).err().map(|most| least..=most)
    }

    /// Half of a bound on SIP is used: other sites' batches yield, before any call is refused.
    pub(crate) fn is_pressed(&self) -> bool {
        let limits = &self.config.limits;
        self.turns.len() >= limits.turns_max.div_ceil(2)
            || self.room.inputs >= limits.inputs_max.div_ceil(2)
            || self.room.bytes >= limits.inputs_bytes_max.div_ceil(2)
    }

    /// Whether calls may begin here.
    pub(crate) fn is_open(&self) -> bool {
        self.sites.is_serving() && !self.draining
    }

    /// Asks for the lock of the turn's call.
    pub(crate) fn ask(&mut self, now: Instant, key: CallKey, mut turn: Turn) {
        // A call that another site may hold is never begun here by mistake: it is asked for first.
        turn.begins = turn.seek.pulled.is_some()
            || turn.seek.ghost
            || turn.arrivals.iter().any(|arrival| self.may_begin(arrival))
                && !turn.arrivals.iter().any(Arrival::is_sought);
        turn.number = self.next_number();
        self.ask_again(now, key, turn);
    }

    /// Asks under the number that the turn has: the primary takes it for the same ask.
    pub(crate) fn ask_again(&mut self, now: Instant, key: CallKey, mut turn: Turn) {
        turn.is_confirmed = false;
        turn.state = State::Lock;
        turn.until = now + self.config.limits.lock_wait;
        turn.wake_at = turn.until;
        self.command_lock(key, &turn);
        self.keep_turn(key, turn);
    }

    pub(crate) fn command_lock(&mut self, key: CallKey, turn: &Turn) {
        let Turn { number, begins, .. } = *turn;
        let cached = self.cache.stamp(key);
        self.tell_primary(key, |view| Command::LockAndGet {
            view,
            key,
            turn: number,
            begins,
            cached,
        });
    }

    /// Sends a command to the primary of the call's partition, if there is one.
    pub(crate) fn tell_primary(&mut self, key: CallKey, command: impl Fn(ViewNumber) -> Command) {
        let view = self.map.view(key);
        let Some((view, to)) = view.and_then(|view| Some((view, view.primary()?))) else { return };
        let (partition, command) = (view.partition, command(view.number));
        self.push(Output::Command { to, partition, command });
    }

    /// Sends a command to all that take the puts of the call.
    pub(crate) fn tell_everybody(&mut self, key: CallKey, command: impl Fn(ViewNumber) -> Command) {
        self.tell_lacking(key, &BTreeSet::new(), command);
    }

    /// The same, but for those that have the put.
    pub(crate) fn tell_lacking(
        &mut self,
        key: CallKey,
        have: &BTreeSet<ReplicaId>,
        command: impl Fn(ViewNumber) -> Command,
    ) {
        let Some(view) = self.map.view(key) else { return };
        let (partition, number) = (view.partition, view.number);
        for to in view.everybody().filter(|to| !have.contains(to)).collect::<Vec<_>>() {
            self.push(Output::Command { to, partition, command: command(number) });
        }
    }

    fn on_reply(&mut self, now: Instant, from: ReplicaId, view: ViewNumber, reply: Reply) {
        if let Reply::StaleView { key, current } = reply {
            return self.on_stale_view(now, from, key, current);
        }
        let Some(believed) = self.map.view(reply.key()) else { return };
        let (is_primary, is_named) = (believed.primary() == Some(from), believed.names(from));
        if view != believed.number || !is_named {
            self.stats.other_view += 1;
            return;
        }
        match reply {
            Reply::Granted { .. }
            | Reply::Unchanged { .. }
            | Reply::Busy { .. }
            | Reply::Quarantined { .. }
            | Reply::NotHere { .. }
                if !is_primary =>
            {
                self.stats.other_view += 1;
            }
            Reply::Granted { key, token, cause, record, dormant, resume, floor } => {
                let base = record.as_ref().map(|record| record.header.stamp);
                let grant = Grant { token, cause, dormant, resume, base, floor };
                self.on_granted(now, key, grant, record);
            }
            Reply::Unchanged { key, token, turn, stamp, age: _ } => {
                let (cause, base) = (Cause::Asked { turn }, Some(stamp));
                let (dormant, resume, floor) = (false, false, None);
                let grant = Grant { token, cause, dormant, resume, base, floor };
                self.on_unchanged(now, key, grant);
            }
            Reply::Queued { .. } | Reply::Got { .. } => {}
            Reply::Busy { key, turn } => self.on_busy(key, turn),
            Reply::Quarantined { key, turn } => self.on_quarantined(key, turn),
            Reply::NotHere { key, turn } => self.on_not_here(now, key, turn),
            Reply::StaleView { key, current } => self.on_stale_view(now, from, key, current),
            Reply::Confirmed { key, turn } => self.on_confirmed(now, from, key, turn),
            Reply::Stored { key, stamp } => self.on_stored(now, from, key, stamp),
            Reply::Refused { key, stamp, why } => {
                self.on_refused(now, key, stamp, why, is_primary);
            }
            Reply::Dormant { key, batch, outcome } => {
                self.on_dormant(from, is_primary, key, batch, outcome);
            }
        }
    }

    fn on_busy(&mut self, key: CallKey, number: u64) {
        if let Some(turn) = self.take_asking(key, number) {
            for arrival in &turn.arrivals {
                self.refuse_overload(arrival);
            }
        }
    }

    /// The link is gone, and the locks with it. Where there is no other replica, nothing that was
    /// held may leave any more.
    fn on_tier_down(&mut self, now: Instant, replica: ReplicaId) {
        for partition in self.map.set_up(now, replica, false) {
            if !self.map.is_only(partition, replica) {
                continue;
            }
            for key in self.keys_of(partition) {
                if let Some(turn) = self.take_turn(key) {
                    self.stats.dropped_tier += turn.all().count() as u64;
                }
            }
            self.defer_batches(partition);
        }
    }

    pub(crate) fn on_wake(&mut self, now: Instant) {
        while let Some((at, key)) = self.wakes.first().copied() {
            if at > now {
                return;
            }
            match self.take_turn(key) {
                Some(turn) => self.on_turn_wake(now, key, turn),
                None => {
                    self.wakes.remove(&(at, key));
                }
            }
        }
    }

    /// Refuses what cannot be taken for lack of room.
    pub(crate) fn refuse_overload(&mut self, arrival: &Arrival) {
        if arrival.begins() {
            self.stats.refused_overload += 1;
            self.refuse(arrival, StatusCode::SERVICE_UNAVAILABLE);
        } else {
            self.stats.dropped_overload += 1;
        }
    }

    /// Refuses what cannot be taken at the moment. Messages of calls are dropped: over UDP they
    /// come again, and a 503 would end a transaction that can still succeed.
    pub(crate) fn refuse_closed(&mut self, arrival: &Arrival) {
        if arrival.begins() {
            self.stats.refused_closed += 1;
            self.refuse(arrival, StatusCode::SERVICE_UNAVAILABLE);
        } else {
            self.stats.dropped_tier += 1;
        }
    }

    /// Answers without a state, if the message is one that is answered.
    pub(crate) fn refuse(&mut self, arrival: &Arrival, status: StatusCode) {
        let least = self.config.limits.retry_after;
        self.refuse_until(arrival, status, least..=least * 2);
    }

    /// The same, where a 503 says a time of this range to come back in.
    fn refuse_until(
        &mut self,
        arrival: &Arrival,
        status: StatusCode,
        away: RangeInclusive<Duration>,
    ) {
        match arrival.kind {
            Kind::Begins | Kind::Request => {}
            Kind::Ack | Kind::Answer | Kind::Response => return,
        }
        let retry_after = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(away);
        let secret = &self.config.setting.secret;
        let Arrival { message, source, .. } = arrival;
        if let Some((to, bytes)) = stateless::refuse(message, *source, status, retry_after, secret)
        {
            self.send(to, bytes);
        }
    }

    pub(crate) fn bounce(&mut self, arrival: Arrival, to: SiteId) {
        self.stats.bounced += 1;
        self.push(Output::Bounce { source: arrival.source, bytes: arrival.raw, to });
    }

    pub(crate) fn send(&mut self, to: Destination, bytes: Bytes) {
        self.push(Output::Transmit { to, bytes });
    }

    /// Gives back a lock under which nothing was put.
    pub(crate) fn unlock(&mut self, key: CallKey, token: vocab::LockToken) {
        self.tell_primary(key, |view| Command::Unlock { view, key, token });
    }

    pub(crate) fn push(&mut self, output: Output) {
        self.out.push_back(output);
    }

    pub(crate) fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    pub(crate) fn keys_of(&self, partition: PartitionId) -> Vec<CallKey> {
        let of = |key: &CallKey| self.map.find(*key).0 == partition;
        self.turns.keys().copied().filter(of).collect()
    }

    /// The turn that waits for the answer to this ask.
    pub(crate) fn take_asking(&mut self, key: CallKey, number: u64) -> Option<Turn> {
        let turn = self.turns.get(&key)?;
        let asking = match &turn.state {
            State::Lock | State::Pull => turn.number == number,
            State::Pause | State::Confirm(_) | State::Store(_) => false,
        };
        if asking { self.take_turn(key) } else { None }
    }

    /// Takes the turn of a call out, and its share of the bounds back.
    pub(crate) fn take_turn(&mut self, key: CallKey) -> Option<Turn> {
        let turn = self.turns.remove(&key)?;
        self.wakes.remove(&(turn.wake_at, key));
        for arrival in turn.all() {
            self.room.inputs -= 1;
            self.room.registrations -= usize::from(arrival.registers());
            self.room.bytes -= arrival.bytes();
        }
        Some(turn)
    }

    pub(crate) fn keep_turn(&mut self, key: CallKey, turn: Turn) {
        for arrival in turn.all() {
            self.room.inputs += 1;
            self.room.registrations += usize::from(arrival.registers());
            self.room.bytes += arrival.bytes();
        }
        self.wakes.insert((turn.wake_at, key));
        self.turns.insert(key, turn);
    }
}
