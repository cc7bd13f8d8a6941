//! What reaches the owner of the cores, other than datagrams: one channel, bounded.

use std::net::IpAddr;

use bytes::Bytes;
use tier_protocol::frame::{SiteFrame, TierFrame};
use tokio::sync::{mpsc, oneshot};
use vocab::SiteId;

use crate::admin::Ask;
use crate::coordination::Told;
use crate::database;
use crate::link::{Carried, LinkId, LinkWord};
use crate::queue;

/// Events that may wait for the owner. Links stop reading, and so their peers stop sending, when
/// it is full.
pub(crate) const EVENTS_MAX: usize = 4_096;

pub(crate) enum Event {
    /// Of a link between an engine and the state tier.
    Tier(LinkId, LinkWord<TierFrame>),
    /// Of a link between sites.
    Site(LinkId, LinkWord<SiteFrame>),
    /// From the coordination store.
    Coordination(Told),
    /// From the database of calls.
    Database(database::Answer),
    /// From the queue of other sites' batches.
    Queue(queue::Told),
    /// A host name was looked up; nothing was found when the list is empty.
    Resolved { name: Bytes, found: Vec<IpAddr> },
    /// What a site said to a balancer's order to wake the calls of `home`.
    Ordered { home: SiteId, answer: Result<u64, String> },
    /// The admin API asks.
    Admin(Ask, oneshot::Sender<crate::admin::Answer>),
}

pub(crate) fn channel() -> (mpsc::Sender<Event>, mpsc::Receiver<Event>) {
    mpsc::channel(EVENTS_MAX)
}

impl From<Told> for Event {
    fn from(told: Told) -> Self {
        Self::Coordination(told)
    }
}

impl From<database::Answer> for Event {
    fn from(answer: database::Answer) -> Self {
        Self::Database(answer)
    }
}

impl From<queue::Told> for Event {
    fn from(told: queue::Told) -> Self {
        Self::Queue(told)
    }
}

impl Carried for TierFrame {
    fn event(link: LinkId, word: LinkWord<Self>) -> Event {
        Event::Tier(link, word)
    }
}

impl Carried for SiteFrame {
    fn event(link: LinkId, word: LinkWord<Self>) -> Event {
        Event::Site(link, word)
    }
}
