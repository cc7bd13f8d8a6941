//! The durable queue of batches from other sites, at the site that receives them.
//!
//! A batch is acknowledged to its sender once the queue has it durably: then it survives a
//! `kill -9`, and a power cut as far as the queue's own disk does. It takes no decision: which
//! batch goes where, and when it leaves, is the gate's.
//!
//! ```text
//! open ─► Loaded: what is held, once, before anything else is answered
//!         Found: what another process appended since, on a server that several reach
//! Append ─► Appended or Refused, one of them, once
//! Remove, SetAside ─► carried out as soon as the queue can; no answer
//! ```
//!
//! The owner never waits here. A queue on a server may be away: `Away` is told, appends are refused
//! and removals kept until it is `Back`. At the start that means that `Loaded` comes late, and the
//! process serves without it.

mod nats;
mod sqlite;

use std::io;
use std::path::PathBuf;

use replica::gate::QueuedBatch;
use tokio::sync::mpsc;
use vocab::SiteId;

use crate::config::Config;
use crate::setting;

/// What the gate wants of the queue.
#[derive(Debug)]
pub(crate) enum Order {
    Append(QueuedBatch),
    /// Of a row that was loaded or appended, as is the next one.
    Remove(u64),
    SetAside(u64),
}

/// What the queue says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// All that is held, in its order. Rows that were appended in this life of the process are
    /// above these.
    Loaded(Vec<QueuedBatch>),
    /// The same of what another process has appended since, and was told to be held: one that kept
    /// the site's gate before this one and had not heard that it does no more.
    Found(Vec<QueuedBatch>),
    Appended(u64),
    /// It is not held, or will not be for long: the sender has it, and sends it again.
    Refused(u64),
    /// The queue cannot be used since now, or for another reason than was told before.
    Away {
        why: String,
    },
    Back,
    /// Another life of the server answers than before: the one before may have held less on its
    /// disk than it had acknowledged.
    Restarted,
}

/// An answer, and which opening of the queue it is of. Who keeps the site's gate again opens the
/// queue again, and gives its rows again: an answer of before is none of the rows of now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) opening: u64,
    pub(crate) answer: Answer,
}

/// Which queue, and its bounds.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) site: SiteId,
    pub(crate) place: Place,
    /// Payload bytes and batches that the gate lets be held; the gate sees to it. A server has
    /// them too, as others may write to it.
    pub(crate) bytes_max: usize,
    pub(crate) batches_max: usize,
}

/// Where the batches are.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// A file of this process alone.
    Sqlite(PathBuf),
    /// Streams on a server.
    Nats(Box<nats::Server>),
}

impl Settings {
    /// What the configuration says; `None` for a process that keeps no calls.
    pub(crate) fn of(config: &Config) -> Option<Self> {
        let data_dir = config.site.data_dir.as_ref().filter(|_| config.role.has_tier())?;
        let place = match &config.queue {
            Some(queue) => Place::Nats(Box::new(nats::Server::of(queue))),
            None => Place::Sqlite(data_dir.join("queue.sqlite")),
        };
        let bounds = setting::gate(config, 1);
        Some(Self {
            site: setting::here(config),
            place,
            bytes_max: bounds.inbox_bytes_max,
            batches_max: bounds.inbox_batches_max,
        })
    }

    /// Words for a log and for what cannot be opened.
    pub(crate) fn named(&self) -> String {
        match &self.place {
            Place::Sqlite(file) => format!("the queue {}", file.display()),
            Place::Nats(server) => format!("the queue at {}", server.urls.join(", ")),
        }
    }
}

/// The way to the queue's thread.
#[derive(Debug)]
pub(crate) struct Queue(Way);

/// The bound of either is the gate's: one append and one end for each batch of the inbox. The
/// owner must never wait here, as the thread may be waiting for the owner.
#[derive(Debug)]
enum Way {
    Sqlite(std::sync::mpsc::Sender<Order>),
    Nats(mpsc::UnboundedSender<Order>),
}

impl Queue {
    /// Opens the queue and starts the thread that uses it. A server is not waited for: it is
    /// `Away` until it is there.
    ///
    /// The thread ends when this is dropped and every append is answered.
    pub(crate) fn open<E>(
        settings: &Settings,
        opening: u64,
        answers: mpsc::Sender<E>,
    ) -> io::Result<Self>
    where
        E: From<Told> + Send + 'static,
    {
        let answers = Answers { opening, owner: answers };
        Ok(Self(match &settings.place {
            Place::Sqlite(file) => Way::Sqlite(sqlite::open(file, answers)?),
            Place::Nats(server) => Way::Nats(nats::open(server, settings, answers)?),
        }))
    }

    pub(crate) fn order(&self, order: Order) {
        let is_sent = match &self.0 {
            Way::Sqlite(orders) => orders.send(order).is_ok(),
            Way::Nats(orders) => orders.send(order).is_ok(),
        };
        if !is_sent {
            tracing::error!("the queue's thread is gone; batches of other sites are not taken");
        }
    }
}

/// Where the thread tells its answers.
#[derive(Debug)]
struct Answers<E> {
    opening: u64,
    owner: mpsc::Sender<E>,
}

impl<E: From<Told>> Answers<E> {
    fn told(&self, answer: Answer) -> E {
        Told { opening: self.opening, answer }.into()
    }
}

#[cfg(test)]
mod tests;
