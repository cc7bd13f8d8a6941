//! Host names of next hops, looked up in the background.
//!
//! What was found is kept for 30 s. Datagrams for a name that is being looked up wait, a bounded
//! number of them; SIP repeats the rest. RFC 3263 (NAPTR, SRV) is deliberately absent: a next hop
//! is a host and a port.

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
/// Longest host name (RFC 1035 section 2.3.4).
const NAME_BYTES_MAX: usize = 255;

pub(crate) struct Names {
    known: BTreeMap<Bytes, Name>,
    events: mpsc::Sender<Event>,
    dropped: u64,
}

enum Name {
    /// Being looked up; these wait for it.
    Asked { waiting: Vec<(u16, Bytes)> },
    /// Looked up; nothing was found when the list is empty.
    Known { found: Vec<IpAddr>, until: Instant },
}

impl Names {
    pub(crate) fn new(events: mpsc::Sender<Event>) -> Self {
        Self { known: BTreeMap::new(), events, dropped: 0 }
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
            Some(Name::Known { found, until }) if now < *until => {
                let ip = found.first().copied();
                self.dropped += u64::from(ip.is_none());
                return ip.map(|ip| SocketAddr::new(ip, port));
            }
            Some(Name::Asked { waiting }) => {
                if waiting.len() < WAITING_MAX {
                    waiting.push((port, bytes.clone()));
                } else {
                    self.dropped += 1;
                }
                return None;
            }
            Some(Name::Known { .. }) | None => {}
        }
        if !self.has_room(now) {
            self.dropped += 1;
            return None;
        }
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
        let kept_for = if found.is_empty() { FAILED_FOR } else { KEPT_FOR };
        let ip = found.first().copied();
        let before = self.known.insert(name, Name::Known { found, until: now + kept_for });
        let Some(Name::Asked { waiting }) = before else { return Vec::new() };
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
                Name::Known { until, .. } => now < *until,
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
}
