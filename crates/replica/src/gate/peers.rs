//! The other sites: links, greetings, and who answers.
//!
//! A site answers while its link is up, it greeted, and it said anything at all within
//! `silent_after`. A broken link ends that at once; a site that is merely slow gets the time.

use std::collections::BTreeMap;
use std::time::Duration;

use tier_protocol::{Course, SiteState, SiteWord};
use vocab::{Instant, SiteId};

use crate::door::{SiteInput, SiteStatus};
use crate::gate::{Gate, GateConfig};

#[derive(Clone, Copy, Debug, Default)]
struct Peer {
    is_linked: bool,
    heard_at: Instant,
    /// What it said of itself in its greeting on this link.
    greeting: Option<Greeting>,
    /// The start it last named on any link.
    last_start: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Greeting {
    pub(super) start: u64,
    pub(super) state: SiteState,
    pub(super) dictionary: u16,
    pub(super) course: Course,
}

/// The other sites.
#[derive(Debug)]
pub(super) struct Peers {
    peers: BTreeMap<SiteId, Peer>,
    greet_at: Instant,
    /// The dictionary in our newest greeting.
    said: u16,
}

impl Peers {
    pub(super) fn new(now: Instant, config: &GateConfig) -> Self {
        let peers = config.peers.iter().map(|site| (*site, Peer::default()));
        Self { peers: peers.collect(), greet_at: now + config.heartbeat_every, said: 0 }
    }

    pub(super) fn is_linked(&self, site: SiteId) -> bool {
        self.peers.get(&site).is_some_and(|peer| peer.is_linked)
    }

    pub(super) fn hear(&mut self, now: Instant, site: SiteId) {
        if let Some(peer) = self.peers.get_mut(&site) {
            peer.heard_at = now;
        }
    }

    /// Takes a greeting. True when the site has started anew since the last one.
    pub(super) fn greeted(&mut self, site: SiteId, greeting: Greeting) -> bool {
        let Some(peer) = self.peers.get_mut(&site) else {
            return false;
        };
        let start = greeting.start;
        peer.greeting = Some(greeting);
        peer.last_start.replace(start).is_some_and(|last| last != start)
    }

    /// The newest start of a site that was ever heard.
    pub(super) fn start_of(&self, site: SiteId) -> Option<u64> {
        self.peers.get(&site)?.last_start
    }

    fn set_link(&mut self, site: SiteId, is_linked: bool) -> bool {
        let Some(peer) = self.peers.get_mut(&site) else {
            return false;
        };
        peer.is_linked = is_linked;
        peer.greeting = None;
        true
    }

    fn linked(&self) -> Vec<SiteId> {
        let linked = self.peers.iter().filter(|(_, peer)| peer.is_linked);
        linked.map(|(site, _)| *site).collect()
    }

    pub(super) fn is_alive(&self, now: Instant, silent_after: Duration, site: SiteId) -> bool {
        self.peers.get(&site).is_some_and(|peer| {
            let heard = now.since(peer.heard_at) < silent_after;
            peer.is_linked && peer.greeting.is_some() && heard
        })
    }

    /// Whether a site that does not answer did so a moment ago: its link broke, and may be back
    /// before it would have been taken for silent.
    pub(super) fn may_be_back(&self, now: Instant, silent_after: Duration) -> bool {
        self.peers.iter().any(|(site, peer)| {
            let was_heard = peer.last_start.is_some() && now.since(peer.heard_at) < silent_after;
            was_heard && !self.is_alive(now, silent_after, *site)
        })
    }

    /// Whether the site is linked and knows the words of a sweep.
    pub(super) fn sweeps(&self, site: SiteId) -> bool {
        let peer = self.peers.get(&site).filter(|peer| peer.is_linked);
        peer.and_then(|peer| peer.greeting).is_some_and(|said| said.course.sweeps)
    }

    /// The sites that answer.
    pub(super) fn alive(&self, now: Instant, silent_after: Duration) -> Vec<SiteStatus> {
        let all = self.peers.iter().filter_map(|(site, peer)| {
            let Greeting { start, state, dictionary, course } = peer.greeting?;
            let is_alive = self.is_alive(now, silent_after, *site);
            let site = *site;
            is_alive.then_some(SiteStatus { site, state, start, dictionary, course })
        });
        all.collect()
    }

    /// When the next site falls silent, if it says nothing more.
    pub(super) fn silent_at(&self, now: Instant, silent_after: Duration) -> Option<Instant> {
        let greeted = self.peers.values().filter(|peer| peer.is_linked && peer.greeting.is_some());
        greeted.map(|peer| peer.heard_at + silent_after).filter(|at| *at > now).min()
    }

    fn is_any_linked(&self) -> bool {
        self.peers.values().any(|peer| peer.is_linked)
    }
}

impl Gate {
    pub(super) fn link_up(&mut self, now: Instant, site: SiteId) {
        if self.peers.is_linked(site) {
            // A new link takes the old one's place: what was on its way is lost.
            self.link_down(now, site);
        }
        if !self.peers.set_link(site, true) {
            self.stats.words_dropped += 1;
            return;
        }
        self.peers.hear(now, site);
        self.say_hello(site);
    }

    pub(super) fn link_down(&mut self, now: Instant, site: SiteId) {
        if !self.peers.set_link(site, false) {
            return;
        }
        self.keyset.forget(now, site);
        self.pull_link_down(site);
        self.confirming.forget(site);
        self.tell_primaries(&SiteInput::LinkDown { view: self.view, site });
    }

    fn say_hello(&mut self, site: SiteId) {
        let (here, start, state) = (self.config.here, self.config.start, self.state);
        let (dictionary, course) = (self.peers.said, self.course());
        self.tell_site(site, SiteWord::Hello { site: here, start, state, dictionary, course });
    }

    /// Takes note of which dictionaries all engines read: any of them may be offered a batch. What
    /// they do not read any more is said at once.
    pub(super) fn note_dictionary(&mut self) {
        let dictionary = self.engines.all_read();
        if dictionary != std::mem::replace(&mut self.peers.said, dictionary) {
            self.greet_all();
        }
    }

    /// When there is somebody to be greeted, or asked how far it is.
    pub(super) fn greet_at(&self) -> Option<Instant> {
        let wants = self.peers.is_any_linked() || self.asks_progress();
        wants.then_some(self.peers.greet_at)
    }

    /// Greets every linked site when it is time to.
    pub(super) fn greet(&mut self, now: Instant) {
        if self.peers.greet_at > now {
            return;
        }
        self.peers.greet_at = now + self.config.heartbeat_every;
        self.greet_all();
        self.ask_progress();
    }

    pub(super) fn greet_all(&mut self) {
        for site in self.peers.linked() {
            self.say_hello(site);
        }
    }
}
