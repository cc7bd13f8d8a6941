//! What stays in memory of calls whose records are in the database: 80 bytes, and a place among
//! those that are due.
//!
//! Calls stand in one ordered map for each [`Place`], so that pages by key, by home and by origin
//! need no sets of their own. There are as many places as there are pairs of other sites, and few
//! of them are ever used.

use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::ops::Bound;

use tier_protocol::CopiedState;
use vocab::{CallKey, Epoch, Instant, LockToken, SiteId, Stamp, Version, ViewNumber};

use crate::store::Place;

/// No site has this number.
const NO_SITE: SiteId = SiteId(0);

/// One call. The fields of its stamp stand apart, as together they would take more room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spilled {
    epoch_n: u64,
    token_view: u64,
    token_counter: u64,
    version: u64,
    /// The comparison's digest of the record.
    pub(crate) digest: u64,
    /// When it is to be handed; `NEVER` for not at all.
    due_at: Instant,
    from_n: u64,
    home: SiteId,
    origin: SiteId,
    from_site: SiteId,
    facts: u16,
}

/// What a spilled call is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    pub(crate) stamp: Stamp,
    pub(crate) digest: u64,
    pub(crate) due_at: Option<Instant>,
    pub(crate) origin: SiteId,
    pub(crate) activated_from: Option<Epoch>,
    pub(crate) state: CopiedState,
}

impl Spilled {
    pub(crate) fn new(parts: &Parts) -> Self {
        let Parts { stamp, digest, due_at, origin, activated_from, state } = *parts;
        let from = activated_from.unwrap_or(Epoch { n: 0, site: NO_SITE });
        Self {
            epoch_n: stamp.epoch.n,
            token_view: stamp.token.view.0,
            token_counter: stamp.token.counter,
            version: stamp.version.0,
            digest,
            due_at: due_at.unwrap_or(Instant::NEVER),
            from_n: from.n,
            home: stamp.epoch.site,
            origin,
            from_site: from.site,
            facts: u16::try_from(state.bits()).unwrap_or(u16::MAX),
        }
    }

    pub(crate) fn parts(&self) -> Parts {
        Parts {
            stamp: self.stamp(),
            digest: self.digest,
            due_at: self.due_at(),
            origin: self.origin,
            activated_from: self.activated_from(),
            state: self.state(),
        }
    }

    pub(crate) fn stamp(&self) -> Stamp {
        let epoch = Epoch { n: self.epoch_n, site: self.home };
        let token = LockToken { view: ViewNumber(self.token_view), counter: self.token_counter };
        Stamp { epoch, token, version: Version(self.version) }
    }

    pub(crate) fn state(&self) -> CopiedState {
        CopiedState::of_bits(u32::from(self.facts))
    }

    pub(crate) fn due_at(&self) -> Option<Instant> {
        (self.due_at != Instant::NEVER).then_some(self.due_at)
    }

    pub(crate) fn activated_from(&self) -> Option<Epoch> {
        let from = Epoch { n: self.from_n, site: self.from_site };
        (from.site != NO_SITE).then_some(from)
    }

    /// As [`crate::store::Call`] has it of a call in memory.
    fn place(&self, here: SiteId) -> Place {
        if self.state().is_dormant {
            return Place::Dormant { home: self.home };
        }
        let elsewhere = |site: SiteId| (site != here && site != NO_SITE).then_some(site);
        Place::Active { origin: elsewhere(self.origin), from: elsewhere(self.from_site) }
    }
}

/// All calls whose records are in the database.
#[derive(Debug, Default)]
pub(crate) struct Table {
    places: BTreeMap<Place, BTreeMap<CallKey, Spilled>>,
    due: BTreeSet<(Instant, CallKey)>,
    len: usize,
}

impl Table {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, key: CallKey) -> Option<&Spilled> {
        self.places.values().find_map(|calls| calls.get(&key))
    }

    pub(crate) fn insert(&mut self, here: SiteId, key: CallKey, spilled: Spilled) {
        self.remove(key);
        if let Some(at) = spilled.due_at() {
            self.due.insert((at, key));
        }
        self.places.entry(spilled.place(here)).or_default().insert(key, spilled);
        self.len += 1;
    }

    pub(crate) fn remove(&mut self, key: CallKey) -> Option<Spilled> {
        let (place, spilled) = self
            .places
            .iter_mut()
            .find_map(|(place, calls)| Some((*place, calls.remove(&key)?)))?;
        if self.places.get(&place).is_some_and(BTreeMap::is_empty) {
            self.places.remove(&place);
        }
        self.due.remove(&(spilled.due_at, key));
        self.len -= 1;
        Some(spilled)
    }

    /// The call that is due first. It stays; see [`Self::take_due`].
    pub(crate) fn first_due(&self) -> Option<(Instant, CallKey)> {
        self.due.first().copied()
    }

    /// Takes the call out of the queue of those that are due, and keeps its time.
    pub(crate) fn take_due(&mut self, at: Instant, key: CallKey) {
        self.due.remove(&(at, key));
    }

    pub(crate) fn set_due(&mut self, key: CallKey, at: Instant) {
        if let Some(spilled) = self.places.values_mut().find_map(|calls| calls.get_mut(&key)) {
            self.due.remove(&(spilled.due_at, key));
            spilled.due_at = at;
            self.due.insert((at, key));
        }
    }

    /// By rising key, those after `cursor` whose place is `wanted`.
    fn after(
        &self,
        cursor: Option<CallKey>,
        wanted: impl Fn(&Place) -> bool,
    ) -> impl Iterator<Item = CallKey> {
        let from = cursor.map_or(Bound::Unbounded, Bound::Excluded);
        let places = self.places.iter().filter(move |(place, _)| wanted(place));
        Merged::new(places.map(move |(_, calls)| calls.range((from, Bound::Unbounded))))
    }

    pub(crate) fn keys_after(&self, cursor: Option<CallKey>) -> impl Iterator<Item = CallKey> {
        self.after(cursor, |_| true)
    }

    pub(crate) fn dormant_after(
        &self,
        of: SiteId,
        cursor: Option<CallKey>,
    ) -> impl Iterator<Item = CallKey> {
        self.after(cursor, move |place| is_dormant_of(place, of))
    }

    pub(crate) fn moved_after(
        &self,
        of: SiteId,
        cursor: Option<CallKey>,
    ) -> impl Iterator<Item = CallKey> {
        self.after(cursor, move |place| is_moved_from(place, of))
    }

    fn count(&self, wanted: impl Fn(&Place) -> bool) -> usize {
        let places = self.places.iter().filter(|(place, _)| wanted(place));
        places.map(|(_, calls)| calls.len()).sum()
    }

    pub(crate) fn active_len(&self) -> usize {
        self.len - self.dormant_by_home().map(|(_, count)| count).sum::<usize>()
    }

    pub(crate) fn dormant_len(&self, of: SiteId) -> usize {
        self.count(|place| is_dormant_of(place, of))
    }

    pub(crate) fn moved_len(&self, of: SiteId) -> usize {
        self.count(|place| is_moved_from(place, of))
    }

    pub(crate) fn dormant_by_home(&self) -> impl Iterator<Item = (SiteId, usize)> {
        self.places.iter().filter_map(|(place, calls)| match place {
            Place::Dormant { home } => Some((*home, calls.len())),
            Place::Active { .. } | Place::Beginning | Place::Stub { .. } => None,
        })
    }
}

fn is_dormant_of(place: &Place, of: SiteId) -> bool {
    *place == Place::Dormant { home: of }
}

fn is_moved_from(place: &Place, of: SiteId) -> bool {
    match place {
        Place::Active { origin, from } => [origin, from].contains(&&Some(of)),
        Place::Dormant { .. } | Place::Beginning | Place::Stub { .. } => false,
    }
}

/// Runs of keys, each rising, as one; of each its first key is taken out already.
struct Merged<'a>(Vec<(CallKey, Run<'a>)>);

type Run<'a> = btree_map::Range<'a, CallKey, Spilled>;

impl<'a> Merged<'a> {
    fn new(runs: impl Iterator<Item = Run<'a>>) -> Self {
        let first = |mut run: Run<'a>| run.next().map(|(key, _)| (*key, run));
        Self(runs.filter_map(first).collect())
    }
}

impl Iterator for Merged<'_> {
    type Item = CallKey;

    fn next(&mut self) -> Option<CallKey> {
        let index = (0..self.0.len()).min_by_key(|index| self.0[*index].0)?;
        let (first, run) = &mut self.0[index];
        let key = *first;
        match run.next() {
            Some((next, _)) => *first = *next,
            None => {
                drop(self.0.swap_remove(index));
            }
        }
        Some(key)
    }
}

#[cfg(test)]
mod tests;
