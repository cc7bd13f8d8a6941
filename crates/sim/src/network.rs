//! The network between cores: datagrams may be lost, doubled and late; streams are late but in
//! order.

use std::collections::BTreeMap;
use std::time::Duration;

use vocab::Instant;

use crate::rng::Rng;

/// How bad the network is; drawn from the seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// Datagrams lost, of 1,000.
    pub(crate) lost: u64,
    /// Datagrams that arrive twice, of 1,000.
    pub(crate) doubled: u64,
    /// Longest way of a datagram, milliseconds; different ways reorder.
    pub(crate) way_ms: u64,
    /// Longest way between sites, milliseconds.
    pub(crate) wan_ms: u64,
}

impl Weather {
    /// Nothing is lost, doubled or reordered much.
    pub(crate) const FAIR: Self = Self { lost: 0, doubled: 0, way_ms: 2, wan_ms: 20 };

    /// Whether no datagram is lost or overtaken.
    pub(crate) fn is_fair(&self) -> bool {
        self.lost == 0 && self.way_ms <= 2
    }

    /// The weather of a seed: fair in one of three.
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        if rng.chance(333) {
            return Self::FAIR;
        }
        Self {
            lost: rng.below(50),
            doubled: rng.below(50),
            way_ms: 1 + rng.below(80),
            wan_ms: 5 + rng.below(60),
        }
    }
}

/// The network's state: its weather, its dice, and when each stream's last word arrives.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) weather: Weather,
    rng: Rng,
    streams: BTreeMap<(u64, u64), Instant>,
}

impl Network {
    pub(crate) fn new(weather: Weather, rng: Rng) -> Self {
        Self { weather, rng, streams: BTreeMap::new() }
    }

    /// When copies of a datagram arrive: none, one, or two.
    pub(crate) fn datagram(&mut self) -> Vec<Duration> {
        let weather = self.weather;
        if self.rng.chance(weather.lost) {
            return Vec::new();
        }
        let copies = if self.rng.chance(weather.doubled) { 2 } else { 1 };
        (0..copies).map(|_| self.rng.between_us(50, weather.way_ms * 1_000)).collect()
    }

    /// When a word on the stream from one party to another arrives; never before its predecessor.
    pub(crate) fn stream(&mut self, from: u64, to: u64, now: Instant, way: (u64, u64)) -> Instant {
        let at = now + self.rng.between_us(way.0, way.1);
        let last = self.streams.entry((from, to)).or_default();
        *last = (*last).max(at);
        *last
    }
}
