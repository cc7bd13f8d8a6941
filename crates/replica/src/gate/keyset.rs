//! The keyset: which of a returning site's calls other sites hold.
//!
//! A site that starts again holds nothing. Before it serves it asks every other site for the keys
//! that it may miss, page by page, and deals them to its partitions. It serves when it has all of
//! them, or when it waited long enough for a site that stays silent; that site's keyset is fetched
//! when it answers after all, and until then nobody is told that a call does not exist. The other
//! half is the answer to a site that asks: the partitions' pages, merged by rising key.

use std::collections::BTreeMap;
use std::time::Duration;

use tier_protocol::{KeysetEntry, SiteState, SiteWord};
use vocab::{CallKey, Instant, PartitionId, SiteId};

use crate::door::SiteInput;
use crate::gate::confirm::{Held, To};
use crate::gate::{Gate, GateConfig};

/// A site that puts us off is waited for this many times longer than a silent one.
const PATIENCE: u32 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fetch {
    ToAsk { cursor: Option<CallKey>, at: Instant },
    Asked { cursor: Option<CallKey>, until: Instant },
    Done,
}

/// A question of a returning site, on its way through our partitions.
#[derive(Debug)]
struct Asked {
    site: SiteId,
    until: Instant,
    pages: BTreeMap<PartitionId, (Vec<KeysetEntry>, Option<CallKey>)>,
}

#[derive(Debug)]
pub(super) struct Keyset {
    began_at: Instant,
    return_wait: Duration,
    fetches: BTreeMap<SiteId, Fetch>,
    /// At most one a site: a newer question takes the older one's place.
    asked: BTreeMap<u64, Asked>,
    asks: u64,
}

impl Keyset {
    /// `knows`: there is nothing elsewhere, or all of it is known.
    pub(super) fn new(now: Instant, config: &GateConfig, knows: bool) -> Self {
        let first = if knows { Fetch::Done } else { Fetch::ToAsk { cursor: None, at: now } };
        Self {
            began_at: now,
            return_wait: config.return_wait,
            fetches: config.peers.iter().map(|site| (*site, first)).collect(),
            asked: BTreeMap::new(),
            asks: 0,
        }
    }

    /// Whether every other site has said which of our calls it holds.
    pub(super) fn is_known(&self) -> bool {
        self.fetches.values().all(|fetch| *fetch == Fetch::Done)
    }

    /// The link broke, or the site started anew: an open question of either side is void.
    pub(super) fn forget(&mut self, now: Instant, site: SiteId) {
        if let Some(fetch) = self.fetches.get_mut(&site) {
            *fetch = match *fetch {
                Fetch::Asked { cursor, until: _ } => Fetch::ToAsk { cursor, at: now },
                other @ (Fetch::ToAsk { .. } | Fetch::Done) => other,
            };
        }
        self.asked.retain(|_, asked| asked.site != site);
    }

    /// Sites whose keyset is not fetched to its end.
    pub(super) fn awaited(&self) -> Vec<SiteId> {
        let awaited = self.fetches.iter().filter(|(_, fetch)| **fetch != Fetch::Done);
        awaited.map(|(site, _)| *site).collect()
    }

    /// After a pause: a site that is silent is waited for anew.
    pub(super) fn go_on(&mut self, now: Instant) {
        self.began_at = now;
    }

    /// `runs`: the return is not paused.
    pub(super) fn wake_at(&self, now: Instant, state: SiteState, runs: bool) -> Option<Instant> {
        let answers = self.asked.values().map(|asked| asked.until);
        let fetches = self.fetches.values().filter_map(|fetch| match fetch {
            // What is overdue waits for a site to answer, not for time.
            Fetch::ToAsk { at, .. } => Some(*at).filter(|at| *at > now),
            Fetch::Asked { until, .. } => Some(*until),
            Fetch::Done => None,
        });
        let ends = [self.return_wait, self.return_wait * PATIENCE];
        let ends = ends.into_iter().map(|wait| self.began_at + wait).filter(|at| *at > now);
        if !runs {
            return answers.min();
        }
        match state {
            SiteState::Returning => answers.chain(fetches).chain(ends).min(),
            SiteState::Serving => answers.chain(fetches).min(),
        }
    }
}

impl Gate {
    /// Goes on with the return, until every keyset is here.
    pub(super) fn return_home(&mut self, now: Instant) {
        if !self.returns() || (self.state == SiteState::Serving && self.keyset.is_known()) {
            return;
        }
        let silent_after = self.config.silent_after;
        let waited = now.since(self.keyset.began_at);
        let wait = self.config.return_wait;
        // A queue that cannot be read must not keep a site from its own calls: what waits there is
        // of others.
        let mut is_complete = self.is_loaded || waited >= wait;
        let may_ask = self.hears_primaries();
        let mut questions = Vec::new();
        for (site, fetch) in &mut self.keyset.fetches {
            let is_alive = self.peers.is_alive(now, silent_after, *site);
            match *fetch {
                Fetch::Done => continue,
                Fetch::ToAsk { cursor, at } if is_alive && at <= now && may_ask => {
                    *fetch = Fetch::Asked { cursor, until: now + self.config.pull_wait };
                    questions.push((*site, cursor));
                }
                Fetch::Asked { cursor, until } if until <= now => {
                    *fetch = Fetch::ToAsk { cursor, at: now + self.config.retry_after };
                }
                Fetch::ToAsk { .. } | Fetch::Asked { .. } => {}
            }
            let patience = if is_alive { wait * PATIENCE } else { wait };
            is_complete &= waited >= patience;
        }
        for (site, cursor) in questions {
            self.tell_site(site, SiteWord::KeysetAsk { cursor });
        }
        if is_complete && self.state == SiteState::Returning {
            self.state = SiteState::Serving;
            self.greet_all();
        }
    }

    /// A page of our calls.
    pub(super) fn keyset_page(
        &mut self,
        now: Instant,
        site: SiteId,
        entries: &[KeysetEntry],
        next: Option<CallKey>,
        ask_later: bool,
    ) {
        let Some(fetch) = self.keyset.fetches.get_mut(&site) else {
            return;
        };
        let Fetch::Asked { cursor, until: _ } = *fetch else {
            self.stats.words_dropped += 1;
            return;
        };
        if ask_later {
            *fetch = Fetch::ToAsk { cursor, at: now + self.config.retry_after };
            return;
        }
        // A page that does not advance would be asked for for ever.
        let next = next.filter(|next| cursor.is_none_or(|cursor| *next > cursor));
        *fetch = match next {
            Some(next) => Fetch::ToAsk { cursor: Some(next), at: now },
            None => Fetch::Done,
        };
        self.stats.keyset_fetched += entries.len() as u64;
        let mut dealt: BTreeMap<PartitionId, Vec<KeysetEntry>> = BTreeMap::new();
        for entry in entries {
            dealt.entry(self.partition_of(entry.key)).or_default().push(*entry);
        }
        for (partition, entries) in dealt {
            self.tell_replica(partition, SiteInput::KeysetPage { from: site, entries });
        }
    }

    /// A returning site asks for a page.
    pub(super) fn keyset_asked(&mut self, now: Instant, site: SiteId, cursor: Option<CallKey>) {
        // What the site said last before it fell may still lie on the queue.
        if !self.is_loaded || self.inbox.has_from(site) {
            return self.put_off_page(site);
        }
        self.keyset.asks += 1;
        let ask = self.keyset.asks;
        self.keyset.asked.retain(|_, asked| asked.site != site);
        let until = now + self.config.pull_wait / 2;
        self.keyset.asked.insert(ask, Asked { site, until, pages: BTreeMap::new() });
        self.tell_primaries(&SiteInput::KeysetAsk { site, cursor, ask });
    }

    fn put_off_page(&mut self, site: SiteId) {
        let (entries, next, ask_later) = (Vec::new(), None, true);
        self.tell_site(site, SiteWord::KeysetPage { entries, next, ask_later });
    }

    /// One partition's part of a page.
    pub(super) fn partition_page(
        &mut self,
        ask: u64,
        partition: PartitionId,
        entries: Vec<KeysetEntry>,
        next: Option<CallKey>,
    ) {
        let partitions = self.partitions.len();
        let Some(asked) = self.keyset.asked.get_mut(&ask) else {
            return;
        };
        asked.pages.insert(partition, (entries, next));
        if asked.pages.len() < partitions {
            return;
        }
        if let Some(asked) = self.keyset.asked.remove(&ask) {
            let (entries, next) = merge(asked.pages, self.config.keyset_page_max);
            self.say_as_keeper(To::Site(asked.site), Held::Page { entries, next });
        }
    }

    /// Partitions that stay silent put a page off.
    pub(super) fn end_asked_pages(&mut self, now: Instant) {
        let late = |asked: &Asked| (asked.until <= now).then_some(asked.site);
        let sites: Vec<SiteId> = self.keyset.asked.values().filter_map(late).collect();
        if sites.is_empty() {
            return;
        }
        self.keyset.asked.retain(|_, asked| asked.until > now);
        for site in sites {
            self.put_off_page(site);
        }
    }
}

/// The first entries of all pages by key, up to where every partition's page reaches.
fn merge(
    pages: BTreeMap<PartitionId, (Vec<KeysetEntry>, Option<CallKey>)>,
    page_max: usize,
) -> (Vec<KeysetEntry>, Option<CallKey>) {
    let reach = pages.values().filter_map(|(_, next)| *next).min();
    let mut entries: Vec<KeysetEntry> = pages.into_values().flat_map(|(page, _)| page).collect();
    entries.sort_unstable_by_key(|entry| entry.key);
    let all = entries.len();
    if let Some(reach) = reach {
        entries.retain(|entry| entry.key <= reach);
    }
    entries.truncate(page_max.max(1));
    let is_last = reach.is_none() && entries.len() == all;
    let next = if is_last { None } else { entries.last().map(|entry| entry.key) };
    (entries, next)
}
