//! Links between sites: dialled by whoever keeps a gate, to every process of the other site, and
//! used once greeted.
//!
//! As in `node`: the sender dials, and sends on what it dialled. A process that keeps no gate
//! closes what is dialled to it. A word on an old link may come after one on the link that follows
//! it. A way that is cut keeps what is said on it, as TCP does, until an end gives the link up.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use replica::gate::GateInput;
use tier_protocol::SiteWord;
use vocab::{Instant, SiteId};

use super::event::{Event, Node};
use super::world::World;
use crate::words;

/// A link whose other end is not heard is given up after this: what the kernel's keep-alives take.
const SILENCE: Duration = Duration::from_secs(6);
const DIAL_EVERY: Duration = Duration::from_millis(400);
/// Shortest way of a word, microseconds.
const WAY_MIN: u64 = 5_000;
/// A packet that is lost comes again after this, microseconds.
const AGAIN: (u64, u64) = (200_000, 900_000);

/// What is said on a link between sites.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "moved once, and most are the large one")]
pub(crate) enum WanWord {
    /// The link is set up.
    Dial,
    /// Whoever was dialled keeps the gate of its site.
    Greeting,
    Site(SiteWord),
    /// The other end is closed.
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not greeted, or not heard of yet.
    New,
    /// In use.
    Open,
    Closed,
}

#[derive(Debug)]
struct WanLink {
    from: usize,
    from_process: u64,
    to: usize,
    to_process: Option<u64>,
    dialler: State,
    acceptor: State,
    /// The site that its first word named.
    said: Option<SiteId>,
    /// What waits on a way that is cut: to the acceptor, to the dialler.
    waiting: [VecDeque<WanWord>; 2],
    made_at: Instant,
}

/// A gate takes a site that says nothing for so long for gone, less a greeting.
const NOT_HEARD: Duration = Duration::from_millis(1_400);

/// All links between sites, and the ways that are cut.
#[derive(Debug, Default)]
pub(crate) struct Wan {
    links: BTreeMap<u64, WanLink>,
    made: u64,
    cut: BTreeMap<(SiteId, SiteId), (Instant, u64)>,
    pub(crate) cuts: u64,
    /// Batches that left a site.
    pub(crate) batches: u64,
}

impl Wan {
    fn live_between(&self, from: usize, process: u64, to: usize) -> bool {
        self.links.values().any(|link| {
            (link.from, link.from_process, link.to) == (from, process, to)
                && link.dialler != State::Closed
        })
    }
}

impl World {
    /// Dials what is not dialled, and gives up what is silent.
    pub(crate) fn wan_tick(&mut self) {
        if self.sizes.sites == 1 {
            return;
        }
        self.close_silent_wan();
        let closed =
            |link: &WanLink| link.dialler == State::Closed && link.acceptor == State::Closed;
        self.wan.links.retain(|_, link| !closed(link));
        for place in 0..self.places.len() {
            if self.keeps_gate(place) && self.paused_until(Node::State(place)).is_none() {
                self.dial_site(place);
            }
        }
    }

    fn dial_site(&mut self, place: usize) {
        let (now, site) = (self.now, self.places[place].site);
        for target in 0..self.places.len() {
            let other = self.places[target].site;
            let Some(process) = self.places[place].process.as_mut() else { return };
            if other == site || self.wan.live_between(place, process.process, target) {
                continue;
            }
            let dialled = process.dialled_at.entry((Node::State(target), None)).or_default();
            let is_cut =
                [(site, other), (other, site)].iter().any(|way| self.wan.cut.contains_key(way));
            if now.since(*dialled) < DIAL_EVERY || is_cut {
                continue;
            }
            *dialled = now;
            self.wan.made += 1;
            let link = WanLink {
                from: place,
                from_process: process.process,
                to: target,
                to_process: self.places[target].process.as_ref().map(|one| one.process),
                dialler: State::New,
                acceptor: State::New,
                said: None,
                waiting: [VecDeque::new(), VecDeque::new()],
                made_at: now,
            };
            let id = self.wan.made;
            self.wan.links.insert(id, link);
            self.wan_say(id, false, WanWord::Dial);
        }
    }

    /// Brings a word to one end of a link.
    fn wan_say(&mut self, id: u64, to_dialler: bool, word: WanWord) {
        let Some(link) = self.wan.links.get_mut(&id) else { return };
        let (from, to) = (self.places[link.from].site, self.places[link.to].site);
        let way = if to_dialler { (to, from) } else { (from, to) };
        if self.wan.cut.contains_key(&way) {
            link.waiting[usize::from(to_dialler)].push_back(word);
            return;
        }
        let weather = self.outside.network.weather;
        let mut longest = (WAY_MIN, (weather.wan_ms * 1_000).max(WAY_MIN));
        if self.rng.chance(weather.lost) {
            longest = (longest.0 + AGAIN.0, longest.1 + AGAIN.1);
        }
        let stream = id * 2 + u64::from(to_dialler);
        let at = self.outside.network.stream(u64::MAX - 3, stream, self.now, longest);
        self.agenda.add(at, Event::Wan { link: id, to_dialler, word });
    }

    /// A gate speaks to another site.
    pub(crate) fn tell_site(&mut self, place: usize, site: SiteId, word: SiteWord) {
        let Some(process) = &self.places[place].process else { return };
        let Some(link) = process.wan_to.get(&site).copied() else { return };
        if let SiteWord::Batch { .. } = word {
            self.wan.batches += 1;
        }
        if let Some(text) = words::site(&word) {
            let from = self.places[place].site;
            self.trace.note(self.now, format_args!("  gate {from} => gate {site}  {text}"));
        }
        self.wan_say(link, false, WanWord::Site(word));
    }

    /// A word arrives at one end of a link.
    pub(crate) fn hear_wan(&mut self, id: u64, to_dialler: bool, word: WanWord) {
        let Some(link) = self.wan.links.get(&id) else { return };
        let place = if to_dialler { link.from } else { link.to };
        let (process, state) = match to_dialler {
            true => (Some(link.from_process), link.dialler),
            false => (link.to_process, link.acceptor),
        };
        if state == State::Closed {
            return;
        }
        let is_there = process.is_some_and(|process| self.has_process(place, process));
        if !is_there {
            return self.close_wan(id, to_dialler);
        }
        if let Some(at) = self.paused_until(Node::State(place)) {
            return self.agenda.add(at, Event::Wan { link: id, to_dialler, word });
        }
        match word {
            WanWord::Dial if self.keeps_gate(place) => {
                self.wan_link(id).acceptor = State::Open;
                self.wan_say(id, true, WanWord::Greeting);
            }
            WanWord::Dial => self.close_wan(id, false),
            WanWord::Greeting if state == State::New && self.keeps_gate(place) => self.use_wan(id),
            WanWord::Greeting => {}
            WanWord::Site(word) => self.site_says(id, place, word),
            WanWord::Close => self.close_wan(id, to_dialler),
        }
    }

    fn wan_link(&mut self, id: u64) -> &mut WanLink {
        self.wan.links.get_mut(&id).expect("the caller found it")
    }

    fn use_wan(&mut self, id: u64) {
        let link = self.wan_link(id);
        link.dialler = State::Open;
        let (from, to) = (link.from, link.to);
        let (here, site) = (self.places[from].site, self.places[to].site);
        self.trace.note(self.now, format_args!("  site {here} is linked to site {site}"));
        let Some(process) = self.places[from].process.as_mut() else { return };
        let before = process.wan_to.insert(site, id);
        if let Some(before) = before {
            self.close_wan(before, true);
        }
        self.gate(from, GateInput::LinkUp { site });
    }

    fn site_says(&mut self, id: u64, place: usize, word: SiteWord) {
        let link = self.wan_link(id);
        if let (None, SiteWord::Hello { site, .. }) = (link.said, &word) {
            link.said = Some(*site);
        }
        match link.said {
            Some(site) => self.gate(place, GateInput::FromSite { site, word }),
            None => self.close_wan(id, false),
        }
    }

    /// One end closes, and the other hears of it.
    fn close_wan(&mut self, id: u64, at_dialler: bool) {
        let Some(link) = self.wan.links.get_mut(&id) else { return };
        let end = if at_dialler { &mut link.dialler } else { &mut link.acceptor };
        let was = std::mem::replace(end, State::Closed);
        if was == State::Closed {
            return;
        }
        let (from, from_process) = (link.from, link.from_process);
        let site = self.places[link.to].site;
        self.wan_say(id, !at_dialler, WanWord::Close);
        if !at_dialler || !self.has_process(from, from_process) {
            return;
        }
        let Some(process) = self.places[from].process.as_mut() else { return };
        if process.wan_to.get(&site) == Some(&id) {
            process.wan_to.remove(&site);
            let here = self.places[from].site;
            self.trace.note(self.now, format_args!("  site {here} lost its link to site {site}"));
            self.gate(from, GateInput::LinkDown { site });
        }
    }

    /// A process dies, or keeps the gate no more.
    pub(crate) fn drop_wan(&mut self, place: usize) {
        if let Some(process) = self.places[place].process.as_mut() {
            process.wan_to.clear();
        }
        let ends = self.wan.links.iter().flat_map(|(id, link)| {
            let ends = [(link.from == place).then_some(true), (link.to == place).then_some(false)];
            ends.into_iter().flatten().map(|at_dialler| (*id, at_dialler))
        });
        for (id, at_dialler) in ends.collect::<Vec<_>>() {
            self.close_wan(id, at_dialler);
        }
    }

    /// Whether a site takes another one for alive, as far as the link between them decides it.
    pub(crate) fn hears_site(&self, site: SiteId, other: SiteId) -> bool {
        let is_silent = |way: (SiteId, SiteId)| {
            let cut = self.wan.cut.get(&way);
            cut.is_some_and(|(since, _)| self.now.since(*since) >= NOT_HEARD)
        };
        let mut gates = self.places.iter().filter(|place| place.site == site);
        gates.any(|place| place.process.as_ref().is_some_and(|one| one.wan_to.contains_key(&other)))
            && !is_silent((other, site))
            && !is_silent((site, other))
    }

    fn close_silent_wan(&mut self) {
        let mut silent = Vec::new();
        for (id, link) in &self.wan.links {
            let (from, to) = (self.places[link.from].site, self.places[link.to].site);
            for (at_dialler, way) in [(true, (to, from)), (false, (from, to))] {
                let place = if at_dialler { link.from } else { link.to };
                let since = self.wan.cut.get(&way).map(|(since, _)| (*since).max(link.made_at));
                if since.is_some_and(|since| self.now.since(since) >= SILENCE)
                    && self.paused_until(Node::State(place)).is_none()
                {
                    silent.push((*id, at_dialler));
                }
            }
        }
        for (id, at_dialler) in silent {
            self.close_wan(id, at_dialler);
        }
    }

    /// Nothing passes from one site to another, for a while or until it is healed.
    pub(crate) fn cut_wan(&mut self, from: SiteId, to: SiteId, for_: Option<Duration>) {
        self.trace.note(self.now, format_args!("site {from} -> site {to} is cut for {for_:?}"));
        self.wan.cuts += 1;
        let number = self.wan.cuts;
        let cut = self.wan.cut.entry((from, to)).or_insert((self.now, number));
        cut.1 = number;
        if let Some(for_) = for_ {
            self.agenda.add(self.now + for_, Event::WanHeal { from, to, cut: number });
        }
    }

    /// Heals a way, unless it was cut again since.
    pub(crate) fn heal_wan(&mut self, from: SiteId, to: SiteId, cut: Option<u64>) {
        let Some((_, number)) = self.wan.cut.get(&(from, to)) else { return };
        if cut.is_some_and(|cut| cut != *number) {
            return;
        }
        self.wan.cut.remove(&(from, to));
        self.trace.note(self.now, format_args!("site {from} -> site {to} is healed"));
        let ids: Vec<u64> = self.wan.links.keys().copied().collect();
        for id in ids {
            let acceptor = self.wan_link(id).to;
            let goes_back = self.places[acceptor].site == from;
            let waiting = std::mem::take(&mut self.wan_link(id).waiting[usize::from(goes_back)]);
            for word in waiting {
                self.wan_say(id, goes_back, word);
            }
        }
    }
}
