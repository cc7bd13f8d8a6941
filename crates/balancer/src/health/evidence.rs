//! What observers say of one site, for as long as it is worth anything.

use std::collections::BTreeMap;
use std::time::Duration;

use vocab::{Instant, SiteId};

/// Observers of one site that are kept. More would be witnesses, and more than any deployment has.
const OBSERVERS_MAX: usize = 64;
/// No word is worth anything for longer.
const VALID_MAX: Duration = Duration::from_secs(60);

/// Who says it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Observer {
    /// A site that hears the other's gate, or does not.
    Peer(SiteId),
    /// This balancer, which pings the site's engines.
    Balancer,
    /// A witness, by its name: it probes with SIP from outside.
    Witness(String),
}

/// The kinds of observers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Other sites.
    Peer,
    /// The balancer.
    Balancer,
    /// Witnesses.
    Witness,
}

impl Observer {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Peer(_) => Kind::Peer,
            Self::Balancer => Kind::Balancer,
            Self::Witness(_) => Kind::Witness,
        }
    }
}

/// One observer's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Who says it.
    pub observer: Observer,
    /// Whether the site answers.
    pub answers: bool,
    /// For how long it has said the same.
    pub since: Duration,
    /// It has not said it for too long: it does not count.
    pub is_silent: bool,
}

/// What all words of one site come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    /// All that speak hear it.
    Heard,
    /// All that speak miss it: the balancer, and one more at least.
    Missed,
    /// All that speak miss it, and they are too few.
    Unconfirmed,
    /// Some hear it.
    Divided,
    /// Nobody speaks.
    Nothing,
}

#[derive(Clone, Copy, Debug)]
struct Said {
    answers: bool,
    since: Instant,
    valid_until: Instant,
}

/// The observers of one site.
#[derive(Debug, Default)]
pub(super) struct Observers(BTreeMap<Observer, Said>);

impl Observers {
    pub(super) fn note(
        &mut self,
        now: Instant,
        observer: Observer,
        answers: bool,
        valid_for: Duration,
    ) {
        let before = self.0.get(&observer).copied();
        if before.is_none() && self.0.len() >= OBSERVERS_MAX {
            self.0.retain(|_, said| said.valid_until > now);
            if self.0.len() >= OBSERVERS_MAX {
                return;
            }
        }
        let goes_on = |said: &Said| said.answers == answers && said.valid_until > now;
        let since = before.filter(goes_on).map_or(now, |said| said.since);
        let valid_until = now + valid_for.min(VALID_MAX);
        self.0.insert(observer, Said { answers, since, valid_until });
    }

    pub(super) fn evidence(&self, now: Instant) -> Evidence {
        let speak = || self.0.iter().filter(|(_, said)| said.valid_until > now);
        let (all, hear) = (speak().count(), speak().filter(|(_, said)| said.answers).count());
        let balancer = speak().any(|(observer, _)| *observer == Observer::Balancer);
        match (all, hear) {
            (0, _) => Evidence::Nothing,
            (_, 0) if balancer && all > 1 => Evidence::Missed,
            (_, 0) => Evidence::Unconfirmed,
            _ if hear == all => Evidence::Heard,
            _ => Evidence::Divided,
        }
    }

    /// When the first of those that speak will have been silent for too long. One that has fallen
    /// silent is past it.
    pub(super) fn next_silence(&self, now: Instant) -> Option<Instant> {
        self.0.values().map(|said| said.valid_until).filter(|until| *until > now).min()
    }

    pub(super) fn picture(&self, now: Instant) -> Vec<Observed> {
        let of = |(observer, said): (&Observer, &Said)| Observed {
            observer: observer.clone(),
            answers: said.answers,
            since: now.since(said.since),
            is_silent: said.valid_until <= now,
        };
        self.0.iter().map(of).collect()
    }
}
