//! Links that did not come to stand, by reason: counted always, told now and then.
//!
//! A stranger may try as often as it likes, so the log has one line for each reason within ten
//! seconds, and the counts have them all.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// At most one line of the log for each reason within so long.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// Which end this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It was dialled from here.
    Dialled,
    /// Somebody dialled this end.
    Taken,
}

/// Why a link did not come to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// TLS is wanted here, and the other end speaks none, or says nothing.
    Plain,
    /// TLS was spoken, and none is wanted here.
    Tls,
    /// The certificate of either end was not taken: unknown CA, ended, none at all.
    Certificate,
    /// A certificate names another site.
    Name,
    /// The other end does not know the secret.
    Secret,
    /// The other end was too slow.
    Slow,
    /// It was given up for others that came while it had not proven itself.
    Crowded,
    /// All links are taken.
    Full,
    /// Bytes that are no TLS of a version that is spoken here.
    Broken,
}

const WHYS: [(Why, &str, &str); 9] = [
    (Why::Plain, "links_refused_plain", "links_failed_plain"),
    (Why::Tls, "links_refused_tls", "links_failed_tls"),
    (Why::Certificate, "links_refused_certificate", "links_failed_certificate"),
    (Why::Name, "links_refused_name", "links_failed_name"),
    (Why::Secret, "links_refused_secret", "links_failed_secret"),
    (Why::Slow, "links_refused_slow", "links_failed_slow"),
    (Why::Crowded, "links_refused_crowded", "links_failed_crowded"),
    (Why::Full, "links_refused_full", "links_failed_full"),
    (Why::Broken, "links_refused_broken", "links_failed_broken"),
];

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    count: u64,
    told_at: Option<Instant>,
}

/// The counts of a process.
#[derive(Debug, Default)]
pub(crate) struct Doors(Mutex<[[Count; WHYS.len()]; 2]>);

impl Doors {
    /// Counts it, and says whether it is to be told.
    fn count(&self, way: Way, why: Why) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let index = WHYS.iter().position(|(one, ..)| *one == why).unwrap_or_default();
        let count = &mut counts[usize::from(way == Way::Dialled)][index];
        count.count += 1;
        let is_due = count.told_at.is_none_or(|told| told.elapsed() >= TOLD_EVERY);
        if is_due {
            count.told_at = Some(Instant::now());
        }
        is_due
    }

    /// A link to or from `address` did not come to stand.
    pub(crate) fn note(&self, way: Way, address: SocketAddr, why: Why, what: &str) {
        let is_due = self.count(way, why);
        match (is_due, way) {
            (true, Way::Taken) => tracing::warn!(%address, ?why, "a link is refused: {what}"),
            (true, Way::Dialled) => tracing::warn!(%address, ?why, "a link fails: {what}"),
            (false, _) => tracing::debug!(%address, ?why, ?way, "no link: {what}"),
        }
    }

    /// Every count under its name.
    pub(crate) fn counters(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        WHYS.into_iter().enumerate().flat_map(move |(index, (_, refused, failed))| {
            [(refused, counts[0][index].count), (failed, counts[1][index].count)]
        })
    }

    #[cfg(test)]
    pub(crate) fn of(&self, way: Way, why: Why) -> u64 {
        let index = WHYS.iter().position(|(one, ..)| *one == why).unwrap_or_default();
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts[usize::from(way == Way::Dialled)][index].count
    }
}
