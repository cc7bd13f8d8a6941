//! What a network between hosts does to each packet: sans-IO, and decided by a seed.
//!
//! ```text
//! admit: gate open? ──no──► Drop(Cut)        arrive: gate still open? ──no──► lost after all
//!            │ yes                                       │ yes
//!        loss draws? ──yes──► Drop(Loss)             delivered
//!            │ no
//!        lane full? ──yes──► Drop(Full)
//!            │ no
//!        Deliver at now + delay + jitter, not before the packet in front;
//!        one that is held back (`reorder`) comes later still, and nobody waits for it
//! ```
//! Each direction has random numbers of its own, and as many are drawn for a packet whatever
//! becomes of it. So the fate of the n-th packet from `a` to `b` depends on the seed, on n and on
//! the settings of that direction, never on other traffic. Knows no clock, packet or address: the
//! time is an argument, counted from any fixed start. Lacks bandwidth, duplication and corruption.

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde_json::{Value, json};

/// Packets that one direction holds at most; at 1500 bytes each, some 30 MB.
const UNDER_WAY_MAX: u64 = 20_000;

/// A host by its place in the list of hosts.
pub(crate) type Host = usize;

/// One way between two hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Direction {
    /// Who sends.
    pub(crate) from: Host,
    /// Who is to receive.
    pub(crate) to: Host,
}

/// What becomes of a packet that a host sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is under way until this instant, at which `arrive` says whether it gets through.
    Deliver {
        /// Never before the packet in front of it, unless that one is held back.
        at: Duration,
    },
    /// It is gone.
    Drop(Cause),
}

/// Why a packet was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The direction is cut, or flapping and down.
    Cut,
    /// The seed said so.
    Loss,
    /// The direction holds as many packets as it may.
    Full,
}

/// The settings of one direction; all zero is clear weather.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Link {
    /// Every packet takes at least this long.
    pub(crate) delay: Duration,
    /// And up to this much more.
    pub(crate) jitter: Duration,
    /// Share of packets that are lost, 0 to 1.
    pub(crate) loss: f64,
    /// Share of packets that are held back, so that those behind overtake them, 0 to 1.
    pub(crate) reorder: f64,
    /// For how long they are held back.
    pub(crate) reorder_for: Duration,
}

/// New values for some settings of a direction; the others stay.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Change {
    /// See [`Link::delay`].
    pub(crate) delay: Option<Duration>,
    /// See [`Link::jitter`].
    pub(crate) jitter: Option<Duration>,
    /// See [`Link::loss`].
    pub(crate) loss: Option<f64>,
    /// See [`Link::reorder`].
    pub(crate) reorder: Option<f64>,
    /// See [`Link::reorder_for`].
    pub(crate) reorder_for: Option<Duration>,
}

/// Whether a direction passes packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Open,
    Cut,
    /// Up for `up`, then down for `down`, and so on from `since`.
    Flapping {
        since: Duration,
        up: Duration,
        down: Duration,
    },
}

impl Gate {
    fn is_open(self, now: Duration) -> bool {
        match self {
            Self::Open => true,
            Self::Cut => false,
            Self::Flapping { since, up, down } => {
                let period = (up + down).as_nanos().max(1);
                now.saturating_sub(since).as_nanos() % period < up.as_nanos()
            }
        }
    }
}

/// What one direction did so far. Sent is `forwarded + cut + lost + full + under_way`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counters {
    forwarded: u64,
    forwarded_bytes: u64,
    cut: u64,
    lost: u64,
    full: u64,
    /// Of all that were not dropped at once, those that did not arrive at once.
    delayed: u64,
    under_way: u64,
}

struct Lane {
    link: Link,
    gate: Gate,
    random: Random,
    /// When the last packet that was not held back arrives; no later one arrives before.
    last_at: Duration,
    counters: Counters,
}

impl Lane {
    fn admit(&mut self, now: Duration) -> Fate {
        // All draws are made for every packet, so that no setting shifts the numbers of another.
        let is_lost = self.random.share() < self.link.loss;
        let jitter = self.link.jitter.mul_f64(self.random.share());
        let is_held_back = self.random.share() < self.link.reorder;
        if !self.gate.is_open(now) {
            self.counters.cut += 1;
            return Fate::Drop(Cause::Cut);
        }
        if is_lost {
            self.counters.lost += 1;
            return Fate::Drop(Cause::Loss);
        }
        if self.counters.under_way >= UNDER_WAY_MAX {
            self.counters.full += 1;
            return Fate::Drop(Cause::Full);
        }
        let mut at = (now + self.link.delay + jitter).max(self.last_at);
        if is_held_back {
            at += self.link.reorder_for;
        } else {
            self.last_at = at;
        }
        self.counters.under_way += 1;
        if at > now {
            self.counters.delayed += 1;
        }
        Fate::Deliver { at }
    }
}

/// The weather between all hosts.
pub(crate) struct Weather {
    hosts: usize,
    /// By `from * hosts + to`; a host has a lane to itself, which nothing uses.
    lanes: Vec<Lane>,
}

impl Weather {
    /// Clear weather between so many hosts.
    pub(crate) fn new(hosts: usize, seed: u64) -> Self {
        let lane = |index: usize| Lane {
            link: Link { reorder_for: Duration::from_millis(10), ..Link::default() },
            gate: Gate::Open,
            random: Random::new(seed, index as u64),
            last_at: Duration::ZERO,
            counters: Counters::default(),
        };
        Self { hosts, lanes: (0..hosts * hosts).map(lane).collect() }
    }

    /// Every way between two different hosts.
    pub(crate) fn directions(hosts: usize) -> impl Iterator<Item = Direction> {
        (0..hosts * hosts)
            .map(move |index| Direction { from: index / hosts, to: index % hosts })
            .filter(|direction| direction.from != direction.to)
    }

    /// Decides about a packet that was just sent.
    #[must_use]
    pub(crate) fn admit(&mut self, now: Duration, direction: Direction) -> Fate {
        self.lane(direction).admit(now)
    }

    /// Says whether a packet that was under way until now gets through: it does not when its
    /// direction has been cut meanwhile, or is down.
    #[must_use]
    pub(crate) fn arrive(&mut self, now: Duration, direction: Direction, bytes_len: usize) -> bool {
        let lane = self.lane(direction);
        lane.counters.under_way = lane.counters.under_way.saturating_sub(1);
        let is_open = lane.gate.is_open(now);
        if is_open {
            lane.counters.forwarded += 1;
            lane.counters.forwarded_bytes += bytes_len as u64;
        } else {
            lane.counters.cut += 1;
        }
        is_open
    }

    /// Changes settings; packets that are under way keep their time.
    pub(crate) fn change(&mut self, direction: Direction, change: Change) {
        let link = &mut self.lane(direction).link;
        *link = Link {
            delay: change.delay.unwrap_or(link.delay),
            jitter: change.jitter.unwrap_or(link.jitter),
            loss: change.loss.unwrap_or(link.loss),
            reorder: change.reorder.unwrap_or(link.reorder),
            reorder_for: change.reorder_for.unwrap_or(link.reorder_for),
        };
    }

    /// Lets nothing pass, nor arrive of what is under way.
    pub(crate) fn cut(&mut self, direction: Direction) {
        self.lane(direction).gate = Gate::Cut;
    }

    /// Ends a cut or flapping.
    pub(crate) fn heal(&mut self, direction: Direction) {
        self.lane(direction).gate = Gate::Open;
    }

    /// Passes everything for `up`, nothing for `down`, and so on, beginning now.
    pub(crate) fn flap(&mut self, now: Duration, way: Direction, up: Duration, down: Duration) {
        self.lane(way).gate = Gate::Flapping { since: now, up, down };
    }

    /// The counters of every direction, under `a>b`, with `dropped` as the sum of its causes.
    pub(crate) fn stats(&self, names: &[String]) -> Value {
        let one = |way: Direction| {
            let Counters { forwarded, forwarded_bytes, cut, lost, full, delayed, under_way } =
                self.lanes[way.from * self.hosts + way.to].counters;
            let value = json!({
                "forwarded": forwarded,
                "forwarded_bytes": forwarded_bytes,
                "dropped": cut + lost + full,
                "cut": cut,
                "lost": lost,
                "full": full,
                "delayed": delayed,
                "under_way": under_way,
            });
            (format!("{}>{}", names[way.from], names[way.to]), value)
        };
        Self::directions(self.hosts).map(one).collect::<serde_json::Map<_, _>>().into()
    }

    fn lane(&mut self, direction: Direction) -> &mut Lane {
        &mut self.lanes[direction.from * self.hosts + direction.to]
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): one addition and a mix, enough for weather.
struct Random(u64);

impl Random {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

    /// Numbers of one direction, unlike those of the others under the same seed.
    fn new(seed: u64, lane: u64) -> Self {
        let start = Self(seed).next();
        Self(start ^ Self(lane).next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(Self::STEP);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to 1, without 1: so a share of 0 never happens and a share of 1 always does.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
