//! Host names of next hops, looked up in the background.
//!
//! What was found is kept for 30 s, and serves on while it is looked up again: strangers name hosts
//! too, and slow ones must not hold up the next hops of others. Datagrams for a name that is looked
//! up for the first time wait, a bounded number of them; SIP repeats the rest. RFC 3263 (NAPTR,
//! SRV) is deliberately absent: a next hop is a host and a port.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use vocab::Instant;

use crate::event::Event;

const KEPT_FOR: Duration = Duration::from_secs(30);
/// A name that was not found is asked for again after this.
const FAILED_FOR: Duration = Duration::from_secs(2);
const NAMES_MAX: usize = 1_024;
const WAITING_MAX: usize = 64;
/// Bytes that wait, for all names together.
const WAITING_BYTES_MAX: usize = 8 << 20;
/// Longest host name (RFC 1035 section 2.3.4).
const NAME_BYTES_MAX: usize = 255;

pub(crate) struct Names {
    known: BTreeMap<Bytes, Name>,
    events: mpsc::Sender<Event>,
    waiting_bytes: usize,
    dropped: u64,
}

enum Name {
    /// Being looked up; these wait for it.
    Asked { waiting: Vec<(u16, Bytes)> },
    /// Looked up; nothing was found when the list is empty.
    Known { found: Vec<IpAddr>, until: Instant, is_asked_again: bool },
}

impl Names {
    pub(crate) fn new(events: mpsc::Sender<Event>) -> Self {
        Self { known: BTreeMap::new(), events, waiting_bytes: 0, dropped: 0 }
    }

    /// The address of `name`, or nothing while it is looked up; then `bytes` is kept for it.
    pub(crate) fn find(
        &mut self,
        now: Instant,
        name: &Bytes,
        port: u16,
        bytes: &Bytes,
    ) -> Option<SocketAddr> {
        let text = std::str::from_utf8(name).ok().filter(|text| text.len() <= NAME_BYTES_MAX)?;
        let literal = text.trim_start_matches('[').trim_end_matches(']');
        if let Ok(ip) = literal.parse::<IpAddr>() {
            return Some(SocketAddr::new(ip, port));
        }
        match self.known.get_mut(name) {
            Some(Name::Known { found, until, is_asked_again })
                if now < *until || !found.is_empty() =>
            {
                let ip = found.first().copied();
                let asks = now >= *until && !std::mem::replace(is_asked_again, true);
                self.dropped += u64::from(ip.is_none());
                if asks {
                    self.look_up(name.clone(), text.to_owned());
                }
                return ip.map(|ip| SocketAddr::new(ip, port));
            }
            Some(Name::Asked { waiting }) => {
                let fits = self.waiting_bytes + bytes.len() <= WAITING_BYTES_MAX;
                if waiting.len() < WAITING_MAX && fits {
                    self.waiting_bytes += bytes.len();
                    waiting.push((port, bytes.clone()));
                } else {
                    self.dropped += 1;
                }
                return None;
            }
            Some(Name::Known { .. }) | None => {}
        }
        let fits = self.waiting_bytes + bytes.len() <= WAITING_BYTES_MAX;
        if !fits || !self.has_room(now) {
            self.dropped += 1;
            return None;
        }
        self.waiting_bytes += bytes.len();
        let waiting = vec![(port, bytes.clone())];
        self.known.insert(name.clone(), Name::Asked { waiting });
        self.look_up(name.clone(), text.to_owned());
        None
    }

    /// Takes what was found; returns what waited, ready to send.
    pub(crate) fn note(
        &mut self,
        now: Instant,
        name: Bytes,
        found: Vec<IpAddr>,
    ) -> Vec<(SocketAddr, Bytes)> {
        // It was let go while it was looked up again.
        if !self.known.contains_key(&name) {
            return Vec::new();
        }
        let until = now + if found.is_empty() { FAILED_FOR } else { KEPT_FOR };
        if found.is_empty()
            && let Some(Name::Known { found: _, until: before, is_asked_again }) =
                self.known.get_mut(&name)
        {
            // What was found before is the best that is known.
            (*before, *is_asked_again) = (until, false);
            return Vec::new();
        }
        let ip = found.first().copied();
        let known = Name::Known { found, until, is_asked_again: false };
        let Some(Name::Asked { waiting }) = self.known.insert(name, known) else {
            return Vec::new();
        };
        self.waiting_bytes -= waiting.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        let Some(ip) = ip else {
            self.dropped += waiting.len() as u64;
            return Vec::new();
        };
        waiting.into_iter().map(|(port, bytes)| (SocketAddr::new(ip, port), bytes)).collect()
    }

    /// Datagrams whose name was not found or had no room to wait.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    fn has_room(&mut self, now: Instant) -> bool {
        if self.known.len() >= NAMES_MAX {
            self.known.retain(|_, name| match name {
                Name::Asked { .. } => true,
                // Longer than its time: a next hop in use is not to make room for a flood.
                Name::Known { found, until, .. } if found.is_empty() => now < *until,
                Name::Known { until, .. } => now < *until + KEPT_FOR,
            });
        }
        self.known.len() < NAMES_MAX
    }

    fn look_up(&self, name: Bytes, text: String) {
        let events = self.events.clone();
        tokio::spawn(async move {
            let found = match tokio::net::lookup_host((text.as_str(), 0)).await {
                Ok(found) => found.map(|address| address.ip()).collect(),
                Err(error) => {
                    tracing::warn!(name = text, %error, "a host name is not found");
                    Vec::new()
                }
            };
            // The owner is gone only when the process ends.
            drop(events.send(Event::Resolved { name, found }).await);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn what_waited_for_a_name_leaves_when_it_is_found() {
        let (events, mut inbox) = crate::event::channel();
        let mut names = Names::new(events);
        let (name, bytes) = (Bytes::from_static(b"localhost"), Bytes::from_static(b"INVITE"));
        assert_eq!(names.find(Instant(1), &name, 5060, &bytes), None);
        assert_eq!(names.find(Instant(1), &name, 5070, &bytes), None);
        let Some(Event::Resolved { name, found }) = inbox.recv().await else { panic!("no answer") };
        assert!(found.iter().all(IpAddr::is_loopback) && !found.is_empty());
        let ready = names.note(Instant(2), name.clone(), found);
        assert_eq!(ready.iter().map(|(to, _)| to.port()).collect::<Vec<_>>(), [5060, 5070]);
        assert!(names.find(Instant(3), &name, 5060, &bytes).is_some());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_address_needs_no_look_up_and_a_flood_of_names_is_bounded() {
        let (events, _inbox) = crate::event::channel();
        let mut names = Names::new(events);
        let bytes = Bytes::from_static(b"INVITE");
        let v6 = names.find(Instant(1), &Bytes::from_static(b"[::1]"), 5060, &bytes);
        assert_eq!(v6, Some("[::1]:5060".parse().unwrap()));
        for n in 0..2 * NAMES_MAX {
            names.find(Instant(1), &Bytes::from(format!("host{n}.invalid")), 5060, &bytes);
        }
        assert_eq!(names.known.len(), NAMES_MAX);
        assert_eq!(names.dropped(), NAMES_MAX as u64);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_name_that_was_found_waits_for_no_other_look_up() {
        let (events, mut inbox) = crate::event::channel();
        let mut names = Names::new(events);
        let (name, bytes) = (Bytes::from_static(b"localhost"), Bytes::from_static(b"INVITE"));
        assert_eq!(names.find(Instant(1), &name, 5060, &bytes), None);
        assert!(matches!(inbox.recv().await, Some(Event::Resolved { .. })));
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        let _ = names.note(Instant(1), name.clone(), vec![ip]);
        let later = Instant(1) + KEPT_FOR;
        for n in 0..2 * NAMES_MAX {
            names.find(later, &Bytes::from(format!("host{n}.invalid")), 5060, &bytes);
        }
        let to = Some(SocketAddr::new(ip, 5060));
        assert_eq!(names.find(later, &name, 5060, &bytes), to, "and is looked up beside");
        assert!(names.note(later, name.clone(), Vec::new()).is_empty());
        assert_eq!(names.find(later, &name, 5060, &bytes), to, "until it is found anew");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_waits_for_names_is_bounded_in_bytes() {
        let (events, _inbox) = crate::event::channel();
        let mut names = Names::new(events);
        let bytes = Bytes::from(vec![b'x'; 60_000]);
        for n in 0..200 {
            let name = Bytes::from(format!("host{n}.invalid"));
            names.find(Instant(1), &name, 5060, &bytes);
            names.find(Instant(1), &name, 5060, &bytes);
        }
        let held = names.known.values().map(|name| match name {
            Name::Asked { waiting } => waiting.iter().map(|(_, bytes)| bytes.len()).sum(),
            Name::Known { .. } => 0,
        });
        assert!(held.sum::<usize>() <= WAITING_BYTES_MAX);
        assert_eq!(names.dropped(), 400 - (WAITING_BYTES_MAX / 60_000) as u64);
        for n in 0..200 {
            let name = Bytes::from(format!("host{n}.invalid"));
            let _ = names.note(Instant(2), name, Vec::new());
        }
        assert_eq!(names.waiting_bytes, 0);
    }
}
