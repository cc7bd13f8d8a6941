//! The engines behind a balancer and which of them are healthy.
//!
//! ```text
//! Unknown ──pong──► Up | NotServing, by its word ──silence, port unreachable──► Down
//!                             ▲────────────────────pong──────────────────────────┘
//! ```
//! An engine's word is a ping's answer, nothing else: traffic from an engine proves that it sends,
//! not that it receives.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use vocab::{EngineId, Instant, SiteId};

use crate::stats::{EngineStats, Health, SiteStats};

/// What is known of one engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It has not answered since this balancer started.
    Unknown,
    /// It answered a ping that was sent at this moment, and serves.
    Up { proven_at: Instant },
    /// It answered a ping that was sent at this moment, and does not serve.
    NotServing { proven_at: Instant },
    /// Silent or unreachable.
    Down,
}

#[derive(Debug)]
struct Engine {
    site: SiteId,
    addr: SocketAddr,
    state: State,
    id: Option<EngineId>,
    /// Answers to pings before this moment say nothing: the port was unreachable then.
    ignore_before: Instant,
    to_engine: u64,
    from_engine: u64,
}

/// The table of engines. Its length is fixed by the configuration.
#[derive(Debug)]
pub(crate) struct Engines {
    table: Vec<Engine>,
    /// Positions in the table, by site.
    by_site: BTreeMap<SiteId, Vec<usize>>,
    by_addr: BTreeMap<SocketAddr, usize>,
    /// Where the round goes on.
    next: usize,
    down_after: Duration,
}

impl Engines {
    pub(crate) fn new(sites: &BTreeMap<SiteId, Vec<SocketAddr>>, down_after: Duration) -> Self {
        let mut engines = Self {
            table: Vec::new(),
            by_site: BTreeMap::new(),
            by_addr: BTreeMap::new(),
            next: 0,
            down_after,
        };
        for (&site, addrs) in sites {
            for &addr in addrs {
                let position = engines.table.len();
                engines.table.push(Engine {
                    site,
                    addr,
                    state: State::Unknown,
                    id: None,
                    ignore_before: Instant(0),
                    to_engine: 0,
                    from_engine: 0,
                });
                engines.by_site.entry(site).or_default().push(position);
                engines.by_addr.insert(addr, position);
            }
        }
        engines
    }

    /// The next healthy engine of `site`, in turn.
    pub(crate) fn pick(&mut self, site: SiteId) -> Option<SocketAddr> {
        let here = self.by_site.get(&site)?;
        self.next = self.next.wrapping_add(1);
        let position = (0..here.len())
            .map(|step| here[self.next.wrapping_add(step) % here.len()])
            .find(|&position| matches!(self.table[position].state, State::Up { .. }))?;
        let engine = &mut self.table[position];
        engine.to_engine += 1;
        Some(engine.addr)
    }

    pub(crate) fn is_healthy(&self, site: SiteId) -> bool {
        self.by_site.get(&site).is_some_and(|here| {
            here.iter().any(|&position| matches!(self.table[position].state, State::Up { .. }))
        })
    }

    /// Counts a datagram from `addr`; false when no engine of ours has this address.
    pub(crate) fn note_from(&mut self, addr: SocketAddr) -> bool {
        let Some(&position) = self.by_addr.get(&addr) else { return false };
        self.table[position].from_engine += 1;
        true
    }

    pub(crate) fn knows(&self, addr: SocketAddr) -> bool {
        self.by_addr.contains_key(&addr)
    }

    /// Takes a pong to the ping that left at `pinged_at`; the site of its engine, unless it is too
    /// late.
    pub(crate) fn note_pong(
        &mut self,
        now: Instant,
        addr: SocketAddr,
        pinged_at: Instant,
        id: EngineId,
        serving: bool,
    ) -> Option<SiteId> {
        let position = *self.by_addr.get(&addr)?;
        let engine = &mut self.table[position];
        let late = pinged_at > now
            || now.since(pinged_at) >= self.down_after
            || pinged_at < engine.ignore_before;
        if late {
            return None;
        }
        engine.id = Some(id);
        engine.state = match engine.state {
            State::Up { proven_at } | State::NotServing { proven_at } if proven_at > pinged_at => {
                return None;
            }
            State::Unknown | State::Up { .. } | State::NotServing { .. } | State::Down => {
                if serving {
                    State::Up { proven_at: pinged_at }
                } else {
                    State::NotServing { proven_at: pinged_at }
                }
            }
        };
        Some(engine.site)
    }

    /// The operating system says that nobody listens there.
    pub(crate) fn note_unreachable(&mut self, now: Instant, addr: SocketAddr) {
        if let Some(&position) = self.by_addr.get(&addr) {
            self.table[position].state = State::Down;
            self.table[position].ignore_before = now;
        }
    }

    /// Declares the silent ones down.
    pub(crate) fn expire(&mut self, now: Instant) {
        for engine in &mut self.table {
            match engine.state {
                State::Up { proven_at } | State::NotServing { proven_at }
                    if now >= proven_at + self.down_after =>
                {
                    engine.state = State::Down;
                }
                State::Unknown | State::Up { .. } | State::NotServing { .. } | State::Down => {}
            }
        }
    }

    /// When the first of those that answered has been silent for too long.
    pub(crate) fn next_silence(&self) -> Option<Instant> {
        self.table
            .iter()
            .filter_map(|engine| match engine.state {
                State::Up { proven_at } | State::NotServing { proven_at } => {
                    Some(proven_at + self.down_after)
                }
                State::Unknown | State::Down => None,
            })
            .min()
    }

    pub(crate) fn addrs(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.table.iter().map(|engine| engine.addr)
    }

    pub(crate) fn sites(&self) -> impl Iterator<Item = SiteId> + '_ {
        self.by_site.keys().copied()
    }

    pub(crate) fn stats(&self) -> Vec<SiteStats> {
        let stats_of = |engine: &Engine| EngineStats {
            addr: engine.addr,
            engine: engine.id,
            health: match engine.state {
                State::Up { .. } => Health::Up,
                State::NotServing { .. } => Health::NotServing,
                State::Unknown | State::Down => Health::Down,
            },
            to_engine: engine.to_engine,
            from_engine: engine.from_engine,
        };
        self.by_site
            .iter()
            .map(|(&site, here)| SiteStats {
                site,
                engines: here
                    .iter()
                    .map(|&position| &self.table[position])
                    .inspect(|engine| debug_assert_eq!(engine.site, site))
                    .map(stats_of)
                    .collect(),
            })
            .collect()
    }
}
