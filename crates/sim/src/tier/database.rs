//! The database of long-lived call state as replicas meet it: one for the site, one row a key, and
//! at times slow, away, or unwilling.
//!
//! What it keeps to is written at the words themselves, in `replica`. It outlives every replica. An
//! ask whose process is dead by the time it arrives may be carried out all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use replica::{DatabaseAsk, DatabaseWord, FoundRow, Refused, SpillRow};
use sip_message::Bytes;
use vocab::{CallKey, Instant, Stamp, ViewNumber};

use super::event::{Event, Node};
use super::world::World;
use crate::rng::Rng;

/// Way of an ask or of an answer, microseconds.
const WAY: (u64, u64) = (200, 12_000);
/// The same of a slow one.
const SLOW_WAY: (u64, u64) = (100_000, 5_000_000);
/// When a replica hears that the database is away, or back.
const NEWS_WAY: (u64, u64) = (100, 200_000);
/// Ways that are slow, of 1,000; and while the database is slow.
const SLOW: [u64; 2] = [10, 500];
/// Asks, or rows of one, that are refused although the database is there, of 1,000.
const REFUSED: u64 = 25;
/// Of those that are refused, carried out all the same.
const REFUSED_AND_DONE: u64 = 400;
/// Of those whose process is dead.
const LATE_AND_DONE: u64 = 500;

/// A row.
#[derive(Debug)]
struct Row {
    stamp: Stamp,
    /// The highest of its writers.
    view: ViewNumber,
    record: Bytes,
    put_at: Instant,
}

/// The database.
#[derive(Debug)]
pub(crate) struct Database {
    rows: BTreeMap<CallKey, Row>,
    /// For one client's place, or for all.
    away: BTreeMap<Option<usize>, Instant>,
    /// Processes that were told so.
    told_away: BTreeSet<u64>,
    slow_until: Instant,
    /// Nothing fails any more.
    is_fair: bool,
    /// When the last write of each process arrives: later ones do not overtake it.
    writes: BTreeMap<u64, Instant>,
    rng: Rng,
}

impl Database {
    pub(crate) fn new(rng: Rng) -> Self {
        Self {
            rows: BTreeMap::new(),
            away: BTreeMap::new(),
            told_away: BTreeSet::new(),
            slow_until: Instant(0),
            is_fair: false,
            writes: BTreeMap::new(),
            rng,
        }
    }

    /// The stamp of a call's row.
    pub(crate) fn stamp(&self, key: CallKey) -> Option<Stamp> {
        self.rows.get(&key).map(|row| row.stamp)
    }

    fn is_away(&self, now: Instant, client: usize) -> bool {
        let away = [None, Some(client)].into_iter().filter_map(|of| self.away.get(&of));
        away.into_iter().any(|until| *until > now)
    }

    fn way(&mut self, now: Instant) -> Duration {
        let slow = SLOW[usize::from(self.slow_until > now)];
        let (low, high) = if !self.is_fair && self.rng.chance(slow) { SLOW_WAY } else { WAY };
        self.rng.between_us(low, high)
    }

    /// When an ask is carried out. Reads overtake; writes of one process do not.
    fn arrives_at(&mut self, now: Instant, process: u64, ask: &DatabaseAsk) -> Instant {
        let at = now + self.way(now);
        match ask {
            DatabaseAsk::Fetch { .. } => at,
            DatabaseAsk::Store { .. } | DatabaseAsk::Remove { .. } | DatabaseAsk::Clear { .. } => {
                let last = self.writes.entry(process).or_default();
                *last = at.max(*last);
                *last
            }
        }
    }

    /// Whether an ask is carried out, and whether it is answered with a refusal.
    fn fate(&mut self, is_away: bool, is_alive: bool) -> (bool, bool) {
        if !is_alive {
            return (self.rng.chance(LATE_AND_DONE), true);
        }
        let refuses = is_away || !self.is_fair && self.rng.chance(REFUSED);
        (!refuses || self.rng.chance(REFUSED_AND_DONE), refuses)
    }

    /// An ask arrives.
    fn asked(&mut self, now: Instant, client: usize, alive: bool, ask: DatabaseAsk) -> Answer {
        let away = self.is_away(now, client);
        match ask {
            DatabaseAsk::Store { view, rows } => self.store(now, (away, alive), view, rows),
            DatabaseAsk::Fetch { key, stamp: asked } => {
                let (_, refuses) = self.fate(away, alive);
                let row = self.rows.get(&key).map(|row| FoundRow {
                    stamp: row.stamp,
                    record: row.record.clone(),
                    age: now.since(row.put_at),
                });
                let word = match refuses {
                    true => DatabaseWord::Refused(Refused::Fetch { key }),
                    false => DatabaseWord::Fetched { key, asked, row },
                };
                vec![word]
            }
            DatabaseAsk::Remove { view, rows } => {
                let (does, refuses) = self.fate(away, alive);
                for (key, stamp) in rows.into_iter().filter(|_| does) {
                    self.rows.retain(|of, row| *of != key || row.stamp > stamp || row.view > view);
                }
                Vec::from_iter(refuses.then_some(DatabaseWord::Refused(Refused::Remove)))
            }
            DatabaseAsk::Clear { slots, view } => {
                let (does, refuses) = self.fate(away, alive);
                if does {
                    self.rows.retain(|key, row| !slots.contains(key.slot()) || row.view >= view);
                }
                vec![match refuses {
                    true => DatabaseWord::Refused(Refused::Clear),
                    false => DatabaseWord::Cleared { view },
                }]
            }
        }
    }

    /// Each row has a fate of its own.
    fn store(
        &mut self,
        now: Instant,
        (away, alive): (bool, bool),
        view: ViewNumber,
        rows: Vec<SpillRow>,
    ) -> Answer {
        let (mut stored, mut keys) = (Vec::new(), Vec::new());
        for SpillRow { key, stamp, record, age, deadline: _ } in rows {
            let (does, refuses) = self.fate(away, alive);
            if does {
                let put_at = now - age;
                let new = Row { stamp, view, record, put_at };
                let view = self.rows.get(&key).map_or(view, |held| held.view.max(view));
                if self.rows.get(&key).is_none_or(|held| held.stamp <= stamp) {
                    self.rows.insert(key, Row { view, ..new });
                }
            }
            match refuses {
                true => keys.push(key),
                false => stored.push((key, stamp)),
            }
        }
        let stored = (!stored.is_empty()).then_some(DatabaseWord::Stored { rows: stored });
        let refused = Refused::Store { keys: keys.clone() };
        let refused = (!keys.is_empty()).then_some(DatabaseWord::Refused(refused));
        stored.into_iter().chain(refused).collect()
    }
}

/// What is said to an ask, if anything.
type Answer = Vec<DatabaseWord>;

impl World {
    /// A replica asks.
    pub(crate) fn ask_database(&mut self, place: usize, ask: DatabaseAsk) {
        let process =
            self.places[place].process.as_ref().map(|one| (one.process, one.replica.id()));
        let (Some(database), Some((process, id))) = (&mut self.database, process) else { return };
        self.trace.note(self.now, format_args!("  r{id} -> database  {}", told(&ask)));
        let at = database.arrives_at(self.now, process, &ask);
        self.agenda.add(at, Event::DatabaseAsk { place, process, ask });
    }

    pub(crate) fn has_process(&self, place: usize, process: u64) -> bool {
        self.places[place].process.as_ref().is_some_and(|one| one.process == process)
    }

    pub(crate) fn database_asked(&mut self, place: usize, process: u64, ask: DatabaseAsk) {
        let is_alive = self.has_process(place, process);
        let Some(database) = &mut self.database else { return };
        let words = database.asked(self.now, place, is_alive, ask);
        for word in words.into_iter().filter(|_| is_alive) {
            let at = self.now + database.way(self.now);
            self.agenda.add(at, Event::DatabaseWord { place, process, word });
        }
    }

    /// Whoever lives in the process by now hears it: one that was born again hears what was said to
    /// the one before.
    pub(crate) fn database_says(&mut self, place: usize, process: u64, word: DatabaseWord) {
        if let Some(at) = self.paused_until(Node::State(place)) {
            return self.agenda.add(at, Event::DatabaseWord { place, process, word });
        }
        if self.has_process(place, process) {
            self.trace.note(self.now, format_args!("  place {place} <- database  {}", said(&word)));
            self.replica(place, replica::Input::Database(word));
        }
    }

    /// The database cannot be used, by one client or by all.
    pub(crate) fn database_away(&mut self, client: Option<usize>, for_: Duration) {
        let until = self.now + for_;
        let Some(database) = &mut self.database else { return };
        self.trace.note(self.now, format_args!("the database is away for {for_:?}: {client:?}"));
        database.away.insert(client, until);
        let all = 0..self.places.len();
        for place in all.filter(|place| client.is_none_or(|client| client == *place)) {
            self.tell_database_away(place);
            self.agenda.add(until, Event::DatabaseBack { place });
        }
    }

    pub(crate) fn database_slow(&mut self, for_: Duration) {
        let Some(database) = &mut self.database else { return };
        self.trace.note(self.now, format_args!("the database is slow for {for_:?}"));
        database.slow_until = self.now + for_;
    }

    /// A process hears it once until the database is back.
    pub(crate) fn tell_database_away(&mut self, place: usize) {
        let process = self.places[place].process.as_ref().map(|one| one.process);
        let (Some(database), Some(process)) = (&mut self.database, process) else { return };
        if database.is_away(self.now, place) && database.told_away.insert(process) {
            self.tell_database_news(place, process, DatabaseWord::Away);
        }
    }

    pub(crate) fn database_back(&mut self, place: usize) {
        let process = self.places[place].process.as_ref().map(|one| one.process);
        let (Some(database), Some(process)) = (&mut self.database, process) else { return };
        if !database.is_away(self.now, place) && database.told_away.remove(&process) {
            self.tell_database_news(place, process, DatabaseWord::Back);
        }
    }

    fn tell_database_news(&mut self, place: usize, process: u64, word: DatabaseWord) {
        let at = self.outside.network.stream(u64::MAX - 2, process, self.now, NEWS_WAY);
        self.agenda.add(at, Event::DatabaseWord { place, process, word });
    }

    /// Nothing fails any more; what is under way may still be late.
    pub(crate) fn heal_database(&mut self) {
        let Some(database) = &mut self.database else { return };
        database.is_fair = true;
        database.away.clear();
        for place in 0..self.places.len() {
            self.database_back(place);
        }
    }
}

fn short(key: &CallKey) -> String {
    key.to_string()[..6].to_owned()
}

fn told(ask: &DatabaseAsk) -> String {
    match ask {
        DatabaseAsk::Store { view, rows } => {
            let keys: Vec<String> = rows.iter().map(|row| short(&row.key)).collect();
            format!("Store [{}] {keys:?}", view.0)
        }
        DatabaseAsk::Fetch { key, stamp } => format!("Fetch {} {stamp:?}", short(key)),
        DatabaseAsk::Remove { view, rows } => {
            let keys: Vec<String> = rows.iter().map(|(key, _)| short(key)).collect();
            format!("Remove [{}] {keys:?}", view.0)
        }
        DatabaseAsk::Clear { view, .. } => format!("Clear [{}]", view.0),
    }
}

fn said(word: &DatabaseWord) -> String {
    match word {
        DatabaseWord::Stored { rows } => {
            let keys: Vec<String> = rows.iter().map(|(key, _)| short(key)).collect();
            format!("Stored {keys:?}")
        }
        DatabaseWord::Fetched { key, asked, row } => {
            let found = row.as_ref().map(|row| row.stamp);
            format!("Fetched {} {asked:?}: {found:?}", short(key))
        }
        DatabaseWord::Refused(Refused::Store { keys }) => {
            let keys: Vec<String> = keys.iter().map(short).collect();
            format!("refuses Store {keys:?}")
        }
        DatabaseWord::Refused(Refused::Fetch { key }) => format!("refuses Fetch {}", short(key)),
        DatabaseWord::Refused(Refused::Remove) => "refuses Remove".to_owned(),
        DatabaseWord::Refused(Refused::Clear) => "refuses Clear".to_owned(),
        DatabaseWord::Cleared { view } => format!("Cleared [{}]", view.0),
        DatabaseWord::Away => "Away".to_owned(),
        DatabaseWord::Back => "Back".to_owned(),
    }
}
