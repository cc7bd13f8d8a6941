//! What was seen of the cores from outside: evidence for the invariants, gathered at the links.
//!
//! Nothing here is told by a core about itself; a core that forgot what it did is exactly the bug
//! that this looks for.

use std::collections::{BTreeMap, BTreeSet};

use sip_message::{Bytes, Limits, Method, parse_datagram};
use tier_protocol::{Cause, Command, GateWord, Reply, SiteState, SiteWord};
use vocab::{CallKey, EngineId, Instant, LockToken, SiteId, Stamp, TokenKind};

use crate::holders::Holders;
use crate::ownership::Ownership;
use crate::site::secret;

/// Evidence.
#[derive(Debug, Default)]
pub struct Watch {
    /// An engine sent a message of a call while its put was not stored.
    pub sent_early: Vec<(Instant, EngineId, CallKey)>,
    /// Locks, and those that two engines had.
    pub holders: Holders<SiteId>,
    /// A put was stored under a token that was not the newest.
    pub old_token_stored: Vec<(Instant, SiteId, CallKey)>,
    /// A stamp was stored that is not above the one before.
    pub went_back: Vec<(Instant, SiteId, CallKey, Stamp, Stamp)>,
    /// A dormant record, or one that lives elsewhere, was handed because a deadline passed.
    pub dormant_due: Vec<(Instant, SiteId, CallKey)>,
    /// Whose the calls are. One may begin at two sites, as when the edge found no living engine at
    /// the site of an INVITE and took its repetition to another.
    pub owned: Ownership,
    /// When sites were killed.
    pub killed_at: Vec<(Instant, SiteId)>,
    /// How often the link between the sites was cut.
    pub links_cut: u64,
    /// Copies that a site lost, and nobody was told; when.
    pub copies_lost: BTreeMap<CallKey, Instant>,
    /// When the sites could not talk last.
    pub apart_at: Instant,
    /// Batches that could not be read.
    pub set_aside: u64,
    /// Datagrams that engines sent.
    pub transmits: u64,
    /// Batches that crossed.
    pub batches: u64,
    /// Grants by cause, for the summary: asked, due, resume, activate, hand-back.
    pub grants: [u64; 6],
    putting: BTreeMap<(EngineId, CallKey), Stamp>,
    newest_token: BTreeMap<(SiteId, CallKey), LockToken>,
    stored: BTreeMap<(SiteId, CallKey), Stamp>,
    serving: BTreeSet<EngineId>,
}

impl Watch {
    /// An engine sends a datagram.
    pub(crate) fn transmitted(&mut self, now: Instant, engine: EngineId, bytes: &Bytes) {
        self.transmits += 1;
        let Some(key) = key_of(bytes) else { return };
        if self.putting.contains_key(&(engine, key)) {
            self.sent_early.push((now, engine, key));
        }
    }

    /// An engine gives a command to its link.
    pub(crate) fn commanded(&mut self, _: Instant, _: SiteId, engine: EngineId, command: &Command) {
        match command {
            Command::Put { record, .. } => {
                let header = &record.header;
                self.putting.insert((engine, header.key), header.stamp);
            }
            Command::Delete { tombstone, .. } => {
                self.putting.insert((engine, tombstone.key), tombstone.stamp);
            }
            Command::LockAndGet { key, .. } => {
                // Asking again gives the put before up, with all that it explained.
                self.putting.remove(&(engine, *key));
            }
            Command::Get { .. }
            | Command::Confirm { .. }
            | Command::Unlock { .. }
            | Command::Renew { .. }
            | Command::StoreDormant { .. }
            | Command::StoreTombstone { .. }
            | Command::Poisoned { .. } => {}
        }
    }

    /// A command reaches the replica.
    pub(crate) fn delivered(&mut self, now: Instant, site: SiteId, command: &Command) {
        let slot = (site, command.key());
        match command {
            Command::Unlock { token, .. } => self.holders.let_go(slot, *token),
            Command::Delete { tombstone, .. } => {
                self.holders.let_go(slot, tombstone.stamp.token);
                self.owned.ended(slot.1);
            }
            Command::Put { record, .. } => {
                self.holders.prolong(now, slot, record.header.stamp.token);
            }
            Command::Renew { token, .. } => self.holders.prolong(now, slot, *token),
            // A higher epoch ends the lock of the copy that it replaces.
            Command::StoreDormant { .. } | Command::StoreTombstone { .. } => {
                self.holders.remove(slot);
                self.stored.remove(&slot);
                self.owned.given_up(site, slot.1);
            }
            Command::LockAndGet { .. }
            | Command::Get { .. }
            | Command::Confirm { .. }
            | Command::Poisoned { .. } => {}
        }
    }

    /// A replica gives a reply to its link.
    pub(crate) fn replied(&mut self, now: Instant, site: SiteId, engine: EngineId, reply: &Reply) {
        match reply {
            Reply::Granted { key, token, cause, record, dormant, .. } => {
                self.granted(now, (site, *key), engine, *token);
                let elsewhere = record.as_ref().is_some_and(|record| record.header.home() != site);
                let index = match cause {
                    Cause::Asked { .. } => 0,
                    Cause::Due => {
                        if *dormant || elsewhere {
                            self.dormant_due.push((now, site, *key));
                        }
                        1
                    }
                    Cause::Resume => 2,
                    Cause::Activate => 3,
                    Cause::HandBack { .. } => 4,
                    Cause::Quarantined => 5,
                };
                self.grants[index] += 1;
            }
            Reply::Unchanged { key, token, .. } => {
                self.granted(now, (site, *key), engine, *token);
                self.grants[0] += 1;
            }
            Reply::Stored { key, stamp } => self.stored(now, site, *key, *stamp),
            Reply::Refused { .. }
            | Reply::Queued { .. }
            | Reply::Busy { .. }
            | Reply::NotHere { .. }
            | Reply::Quarantined { .. }
            | Reply::StaleView { .. }
            | Reply::Got { .. }
            | Reply::Confirmed { .. }
            | Reply::Dormant { .. } => {}
        }
    }

    fn granted(
        &mut self,
        now: Instant,
        slot: (SiteId, CallKey),
        engine: EngineId,
        token: LockToken,
    ) {
        self.holders.granted(now, slot, engine, token);
        let newest = self.newest_token.entry(slot).or_default();
        *newest = (*newest).max(token);
    }

    fn stored(&mut self, now: Instant, site: SiteId, key: CallKey, stamp: Stamp) {
        let slot = (site, key);
        if self.newest_token.get(&slot).is_some_and(|newest| *newest > stamp.token) {
            self.old_token_stored.push((now, site, key));
        }
        if let Some(before) = self.stored.insert(slot, stamp)
            && before > stamp
        {
            self.went_back.push((now, site, key, before, stamp));
        }
        self.owned.stored(now, site, key, stamp);
    }

    /// A reply reaches an engine.
    pub(crate) fn heard(&mut self, _: Instant, engine: EngineId, reply: &Reply) {
        match reply {
            Reply::Stored { key, .. } | Reply::Refused { key, .. } => {
                self.putting.remove(&(engine, *key));
            }
            Reply::Granted { key, token, .. } | Reply::Unchanged { key, token, .. } => {
                // A newer lock: the put under the older one is given up, and what leaves from here
                // on is explained by the record that came with the grant.
                let slot = (engine, *key);
                if self.putting.get(&slot).is_some_and(|stamp| stamp.token < *token) {
                    self.putting.remove(&slot);
                }
            }
            Reply::Queued { .. }
            | Reply::Busy { .. }
            | Reply::NotHere { .. }
            | Reply::Quarantined { .. }
            | Reply::StaleView { .. }
            | Reply::Got { .. }
            | Reply::Confirmed { .. }
            | Reply::Dormant { .. } => {}
        }
    }

    /// The gate's word reaches an engine.
    pub(crate) fn told(&mut self, engine: EngineId, word: &GateWord) {
        if let GateWord::Sites { here, .. } = word {
            if *here == SiteState::Serving {
                self.serving.insert(engine);
            } else {
                self.serving.remove(&engine);
            }
        }
    }

    /// Whether the engine was told that its site serves: it answers the edge's pings so.
    pub(crate) fn is_serving(&self, engine: EngineId) -> bool {
        self.serving.contains(&engine)
    }

    /// An engine notices that its state process is gone.
    pub(crate) fn tier_gone(&mut self, engine: EngineId) {
        self.putting.retain(|(one, _), _| *one != engine);
    }

    /// A state process notices that an engine is gone.
    pub(crate) fn engine_gone(&mut self, site: SiteId, engine: EngineId) {
        self.holders.engine_gone(site, engine);
    }

    /// An engine process died.
    pub(crate) fn engine_died(&mut self, engine: EngineId) {
        self.tier_gone(engine);
        self.serving.remove(&engine);
    }

    /// A word leaves for another site.
    pub(crate) fn crossed(&mut self, _: Instant, _: SiteId, _: SiteId, word: &SiteWord) {
        if matches!(word, SiteWord::Batch { .. }) {
            self.batches += 1;
        }
    }

    /// A site's state process starts with nothing in memory.
    pub(crate) fn site_started(&mut self, site: SiteId) {
        self.holders.place_gone(site);
        self.stored.retain(|(at, _), _| *at != site);
        self.newest_token.retain(|(at, _), _| *at != site);
    }

    /// Every process of a site dies.
    pub(crate) fn site_killed(&mut self, now: Instant, site: SiteId) {
        self.killed_at.push((now, site));
        self.owned.lost(site);
        self.site_started(site);
    }
}

/// The call that a message of ours is about, by the tokens in it.
pub(crate) fn key_of(bytes: &Bytes) -> Option<CallKey> {
    let message = parse_datagram(bytes, &Limits::default()).ok()?;
    let secret = secret();
    let headers = message.headers();
    let tags = [headers.from().ok(), headers.to().ok()];
    for address in tags.iter().flatten() {
        if let Some(token) = address.tag().and_then(|tag| secret.read(tag)) {
            return Some(token.key);
        }
    }
    let branch = headers.via_top().ok()??.branch()?.clone();
    let token = secret.read(branch.strip_prefix(b"z9hG4bK")?)?;
    (token.kind == TokenKind::Branch).then_some(token.key)
}

/// Whether a method is one of a session timer's refreshes.
pub(crate) fn is_refresh(method: &Method) -> bool {
    matches!(method, Method::Invite | Method::Update)
}
