//! The links between this site and others: each dials every other and sends on what it dialled.
//!
//! Of a site of several processes only the one that keeps the gate dials and is spoken to. Which
//! one that is, other sites find out by dialling all of them: the keeper greets whoever dials, and
//! the others close the link. So a link to one of several addresses counts from the greeting on.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use replica::gate::GateInput;
use tier_protocol::frame::SiteFrame;
use tier_protocol::{Course, SiteState, SiteWord};
use vocab::SiteId;

use super::Word;
use crate::config::Config;
use crate::link::{Dialling, LinkId, LinkWord, Links, Outbox};

/// A link that another site dialled.
struct From {
    /// Nothing but a greeting is sent by it; the link is open as long as it is held.
    outbox: Outbox,
    /// Known once it said Hello.
    site: Option<SiteId>,
}

/// All links of this process with other sites.
pub(crate) struct SiteLinks {
    here: SiteId,
    /// `None` in tests that open no socket.
    links: Option<Links>,
    /// Where each other site is reached.
    peers: BTreeMap<SiteId, Vec<SocketAddr>>,
    /// Whether several processes share this site.
    is_shared: bool,
    is_open: bool,
    dialling: Vec<Dialling>,
    /// The link on which each site hears this one, and which of its addresses it goes to.
    to: BTreeMap<SiteId, (usize, Outbox)>,
    /// Links that nobody has greeted yet.
    ungreeted: BTreeMap<(SiteId, usize), Outbox>,
    from: BTreeMap<u64, From>,
    /// What each other site last said of itself.
    states: BTreeMap<SiteId, SiteState>,
    /// Links of sites that their certificate does not name.
    misnamed: u64,
}

impl SiteLinks {
    pub(crate) fn new(config: &Config, links: Option<Links>) -> Self {
        let peers = config.sites.iter().flat_map(|sites| &sites.peer);
        Self {
            here: SiteId(config.site.id),
            links,
            peers: peers.map(|peer| (SiteId(peer.id), peer.address.0.clone())).collect(),
            is_shared: config.coordination.is_some(),
            is_open: false,
            dialling: Vec::new(),
            to: BTreeMap::new(),
            ungreeted: BTreeMap::new(),
            from: BTreeMap::new(),
            states: BTreeMap::new(),
            misnamed: 0,
        }
    }

    /// Dials the other sites, and hears them, until [`Self::close`].
    pub(crate) fn open(&mut self) {
        self.is_open = true;
        let Some(links) = &self.links else { return };
        for (site, addresses) in &self.peers {
            for (index, address) in addresses.iter().enumerate() {
                let link = LinkId::ToSite(*site, index);
                self.dialling.push(links.dial::<SiteFrame>(*address, link));
            }
        }
    }

    pub(crate) fn close(&mut self) {
        self.is_open = false;
        self.dialling.clear();
        self.to.clear();
        self.ungreeted.clear();
        self.from.clear();
    }

    /// What `site` last said of itself; it may be dead since.
    pub(crate) fn state_of(&self, site: SiteId) -> Option<SiteState> {
        self.states.get(&site).copied()
    }

    /// Whether what is said to `site` is encrypted; `None` while there is no link.
    pub(crate) fn is_encrypted(&self, site: SiteId) -> Option<bool> {
        self.to.get(&site).map(|(_, outbox)| outbox.is_encrypted())
    }

    /// How long this site's certificate is valid still; `None` without TLS.
    pub(crate) fn certificate_ends_in(&self) -> Option<Duration> {
        self.links.as_ref()?.tls.as_ref()?.ends_in()
    }

    /// Links that did not come to stand, by the names of their counters.
    pub(crate) fn counters(&self) -> Vec<(&'static str, u64)> {
        let counts = self.links.iter().flat_map(|links| links.doors.counters());
        counts.chain([("links_misnamed", self.misnamed)]).collect()
    }

    pub(crate) fn send(&mut self, site: SiteId, word: SiteWord) {
        if let Some((_, outbox)) = self.to.get_mut(&site) {
            SiteFrame(word).encode_into(outbox.buffer());
        }
    }

    pub(crate) fn take(
        &mut self,
        link: LinkId,
        word: LinkWord<SiteFrame>,
        words: &mut VecDeque<Word>,
    ) {
        match link {
            LinkId::ToSite(site, index) => self.take_to(site, index, word, words),
            LinkId::FromSite(link) => match word {
                LinkWord::Up(outbox) => self.admit(link, outbox),
                LinkWord::Frame(SiteFrame(word)) => self.take_from(link, word, words),
                LinkWord::Writable | LinkWord::Refused => {}
                LinkWord::Down => {
                    self.from.remove(&link);
                }
            },
            LinkId::Engine(_) | LinkId::State(_) | LinkId::Peer(_) => {
                debug_assert!(false, "tier links carry tier frames");
            }
        }
    }

    /// Of a link that this process dialled.
    fn take_to(
        &mut self,
        site: SiteId,
        index: usize,
        word: LinkWord<SiteFrame>,
        words: &mut VecDeque<Word>,
    ) {
        let is_only = self.peers.get(&site).is_none_or(|addresses| addresses.len() == 1);
        let is_used = self.to.get(&site).is_some_and(|(used, _)| *used == index);
        match word {
            // A dialling that was given up may still say that it stands.
            LinkWord::Up(_) if !self.is_open => {}
            LinkWord::Up(outbox) if is_only => self.use_link(site, index, outbox, words),
            LinkWord::Up(outbox) => {
                self.ungreeted.insert((site, index), outbox);
            }
            LinkWord::Frame(SiteFrame(SiteWord::Hello { .. })) if is_used => {}
            LinkWord::Frame(SiteFrame(SiteWord::Hello { .. })) => {
                if let Some(outbox) = self.ungreeted.remove(&(site, index)) {
                    self.use_link(site, index, outbox, words);
                }
            }
            LinkWord::Writable => {
                if let Some((_, outbox)) = self.to.get_mut(&site).filter(|_| is_used) {
                    outbox.note_writable();
                }
            }
            // The other site sends its words on a link that it dials itself.
            LinkWord::Frame(_) | LinkWord::Down => {
                self.ungreeted.remove(&(site, index));
                if is_used {
                    self.lose(site, words);
                }
            }
            LinkWord::Refused => {}
        }
    }

    fn use_link(&mut self, site: SiteId, index: usize, outbox: Outbox, words: &mut VecDeque<Word>) {
        self.to.insert(site, (index, outbox));
        tracing::info!(site = site.0, "linked to a site");
        words.push_back(Word::Gate(GateInput::LinkUp { site }));
    }

    fn admit(&mut self, link: u64, mut outbox: Outbox) {
        if !self.is_open {
            return;
        }
        if self.is_shared {
            // What this site is and does it says on the link that it dials.
            let (site, state) = (self.here, SiteState::Serving);
            let word =
                SiteWord::Hello { site, start: 0, state, dictionary: 0, course: Course::default() };
            SiteFrame(word).encode_into(outbox.buffer());
        }
        self.from.insert(link, From { outbox, site: None });
    }

    fn take_from(&mut self, link: u64, word: SiteWord, words: &mut VecDeque<Word>) {
        let Some(known) = self.from.get_mut(&link) else { return };
        if let (None, SiteWord::Hello { site, .. }) = (known.site, &word) {
            let is_named = known.outbox.may_be(*site);
            known.site = Some(*site).filter(|site| is_named && self.peers.contains_key(site));
            if !is_named {
                tracing::warn!(link, site = site.0, "a site's certificate does not name it");
                self.misnamed += 1;
            }
        }
        let Some(site) = known.site else {
            tracing::warn!(link, "a link of an unknown site is closed");
            self.from.remove(&link);
            return;
        };
        if let SiteWord::Hello { state, .. } = &word {
            self.states.insert(site, *state);
        }
        words.push_back(Word::Gate(GateInput::FromSite { site, word }));
    }

    fn lose(&mut self, site: SiteId, words: &mut VecDeque<Word>) {
        if self.to.remove(&site).is_some() {
            tracing::warn!(site = site.0, "the link to a site is lost");
            words.push_back(Word::Gate(GateInput::LinkDown { site }));
        }
    }

    /// Writes what waits.
    pub(crate) fn flush(&mut self, words: &mut VecDeque<Word>) {
        let flushed = self.to.iter_mut().map(|(site, (_, out))| (*site, out.flush().is_err()));
        let broken: Vec<SiteId> =
            flushed.filter(|(_, is_broken)| *is_broken).map(|(site, _)| site).collect();
        for site in broken {
            self.lose(site, words);
        }
        self.from.retain(|_, from| from.outbox.flush().is_ok());
    }
}

#[cfg(test)]
mod tests;
