//! NATS JetStream: two streams of this site on a server, used from one thread.
//!
//! `REHOME_INBOX_<site>` holds the batches, `REHOME_ASIDE_<site>` those that could not be read. One
//! gate of a site owns the inbox: nobody else may write to the streams or remove from them, but a
//! process that kept the gate before and has yet to hear of it. What that one appends is found.
//!
//! ```text
//! open ──connected, streams right, all read──► serve ──breaks, no answer in time──┐
//!   ▲    (Loaded once; Back if it was away)                (Away)                 │
//!   └────────── appends are refused, removals are kept ◄──────────────────────────┘
//! ```
//!
//! - **An append that got no answer is in doubt**: the sender is told "refused", and the message
//!   may be in the stream all the same, or come there late. It is looked for when a connection
//!   stands and for some seconds after that, and removed. One that this process does not live to
//!   remove is loaded by the next one, and applied: that is harmless, as an older state of a call
//!   never replaces a newer one.
//! - **A server that lost the end of its stream gives the same sequence numbers again.** So each
//!   message names its append, and a new connection begins by asking for the last one that was
//!   acknowledged. If it is gone all is read anew. What is lost is in the gate's memory still, and
//!   is applied unless this process dies too.

mod message;
mod others;
mod session;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::IntoFuture;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use replica::gate::QueuedBatch;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Answer, Answers, Order, Settings, Told};
use crate::config;
use crate::config::file::Secret;
use message::Key;
use others::{ASK_EVERY, Ledger};
use session::{Failure, Found, Session, Streams};

/// Orders whose answers are waited for at a time, and payload bytes of them. A server that syncs
/// each message stores one after the other: with more of them the last ones would wait longer than
/// the timeout on a slow disk, and nothing would be stored sooner.
const WINDOW: usize = 32;
const WINDOW_BYTES: usize = 4 << 20;
const BACK_OFF_MIN: Duration = Duration::from_millis(50);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);
/// How often what is in doubt is looked for while a connection stands.
const LOOKS: u32 = 10;
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Appends in doubt that are remembered.
const DOUBTS_MAX: usize = 4_096;

/// How the server is reached and what it is to do.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(super) urls: Vec<String>,
    pub(super) login: Login,
    /// PEM; the system's certificates when absent.
    pub(super) ca_file: Option<PathBuf>,
    pub(super) replicas: usize,
    /// For one answer.
    pub(super) timeout: Duration,
}

/// Who we are to the server.
#[derive(Clone, Debug)]
pub(super) enum Login {
    Nobody,
    User(String, Secret),
    /// What a credentials file holds.
    Credentials(Secret),
}

impl Server {
    pub(super) fn of(queue: &config::queue::Queue) -> Self {
        let password = queue.password.clone().unwrap_or_default();
        let login = match (&queue.user, &queue.credentials) {
            (Some(user), _) => Login::User(user.clone(), password),
            (None, Some(credentials)) => Login::Credentials(credentials.clone()),
            (None, None) => Login::Nobody,
        };
        Self {
            urls: queue.url.0.clone(),
            login,
            ca_file: queue.ca_file.clone(),
            replicas: queue.replicas,
            timeout: Duration::from_millis(queue.timeout_ms),
        }
    }

    fn has_tls(&self) -> bool {
        self.urls.iter().any(|url| url.starts_with("tls://"))
    }
}

pub(super) fn open<E>(
    server: &Server,
    settings: &Settings,
    answers: Answers<E>,
) -> io::Result<UnboundedSender<Order>>
where
    E: From<Told> + Send + 'static,
{
    let Settings { site, bytes_max, batches_max, .. } = *settings;
    let streams = Streams::new(site.0, server.replicas, bytes_max, batches_max);
    let (orders, inbox) = unbounded_channel();
    let mut worker = Worker {
        server: Arc::new(server.clone()),
        streams: Arc::new(streams),
        orders: inbox,
        is_closed: false,
        answers,
        life: RandomState::new().build_hasher().finish(),
        server_id: None,
        is_loaded: false,
        held: BTreeMap::new(),
        last_row: 0,
        ledger: Ledger::default(),
        last_sequence: 0,
        doubts: BTreeMap::new(),
        waiting: VecDeque::new(),
        back_off: Duration::ZERO,
        away: None,
        refusal: String::new(),
    };
    // A process that cannot make one has too few files, and is better told so at its start.
    let mut runtime = Some(runtime()?);
    let work = move || {
        while !worker.is_closed {
            // With its runtime ends all that belongs to a connection: nothing of it is sent later.
            let Some(current) = runtime.take().or_else(|| self::runtime().ok()) else {
                thread::sleep(BACK_OFF_MAX);
                continue;
            };
            current.block_on(worker.live());
            // A name that is still being looked up must not keep the thread.
            current.shutdown_background();
        }
    };
    thread::Builder::new().name("queue".into()).spawn(work)?;
    Ok(orders)
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build()
}

/// Where a row lies.
#[derive(Clone, Copy, Debug)]
struct Place {
    sequence: u64,
    key: Key,
}

/// What is to be done.
#[derive(Debug)]
enum Work {
    Append(QueuedBatch),
    Leave { what: Leaving, is_aside: bool },
}

/// What is to leave the inbox.
#[derive(Clone, Copy, Debug)]
enum Leaving {
    /// Its place is looked up when it is done: a new connection may have found it elsewhere.
    Row(u64),
    /// What the gate does not know. Found anew by each connection.
    Message(u64),
}

/// What is being done.
#[derive(Debug)]
enum Flight {
    Append {
        key: Key,
        bytes: usize,
        /// Above this number is the message, if it is anywhere.
        above: u64,
    },
    Leave {
        what: Leaving,
        is_aside: bool,
    },
}

enum Landed {
    Appended(u64, Result<u64, Failure>),
    Left(u64, Result<(), Failure>),
    Looked(Result<Vec<Found>, String>),
    Newest(Result<u64, String>),
    /// What lies on the stream up to a number, with its bytes.
    Read(Result<Vec<Found>, String>, u64),
}

/// What one connection is doing.
#[derive(Default)]
struct Flights {
    open: BTreeMap<u64, Flight>,
    bytes: usize,
    next: u64,
    tasks: JoinSet<Landed>,
}

impl Flights {
    fn has_room(&self) -> bool {
        self.open.len() < WINDOW && self.bytes < WINDOW_BYTES
    }

    fn begin(&mut self, flight: Flight) -> u64 {
        if let Flight::Append { bytes, .. } = flight {
            self.bytes += bytes;
        }
        self.next += 1;
        self.open.insert(self.next, flight);
        self.next
    }

    fn end(&mut self, id: u64) -> Option<Flight> {
        let flight = self.open.remove(&id)?;
        if let Flight::Append { bytes, .. } = flight {
            self.bytes -= bytes;
        }
        Some(flight)
    }
}

/// What is to be read when a connection stands.
#[derive(Clone, Copy, Debug)]
enum Plan {
    Load,
    /// Whether it is there, without the bytes.
    All,
    /// If the newest one is still where it was: what lies above that number. Else all.
    Above {
        newest: Place,
        above: u64,
    },
}

/// What a connection begins with.
struct Ready {
    session: Session,
    /// All that is held, or what lies above the point from which something is in doubt.
    found: Vec<Found>,
    is_all: bool,
}

struct Worker<E> {
    server: Arc<Server>,
    streams: Arc<Streams>,
    orders: UnboundedReceiver<Order>,
    is_closed: bool,
    answers: Answers<E>,
    life: u64,
    /// The life of the server that answered last.
    server_id: Option<String>,
    is_loaded: bool,
    held: BTreeMap<u64, Place>,
    /// Of those that were found on the stream; far below the gate's own.
    last_row: u64,
    ledger: Ledger,
    /// The highest that is known.
    last_sequence: u64,
    /// Rows of appends that got no answer, and the number above which each may be.
    doubts: BTreeMap<u64, u64>,
    /// In the order of the orders.
    waiting: VecDeque<Work>,
    back_off: Duration,
    /// Why it is away, as it was told last.
    away: Option<String>,
    /// Why a batch was refused last; told when it changes.
    refusal: String,
}

impl<E: From<Told>> Worker<E> {
    /// The owner is gone only when the process ends.
    async fn tell(&self, answer: Answer) {
        drop(self.answers.owner.send(self.answers.told(answer)).await);
    }

    /// From one attempt to connect to the end of the connection.
    async fn live(&mut self) {
        let opening = open_session(
            Arc::clone(&self.server),
            Arc::clone(&self.streams),
            self.back_off,
            self.plan(),
        );
        let opened = tokio::select! {
            opened = opening => opened,
            () = self.refuse_all() => return,
        };
        let why = match opened {
            Err(why) => {
                let why = format!("{}: {why}", self.server.urls.join(", "));
                self.back_off = (self.back_off * 2).clamp(BACK_OFF_MIN, BACK_OFF_MAX);
                why
            }
            Ok(Ready { session, found, is_all }) => {
                self.note_server(session.server_id()).await;
                self.take_found(found, is_all).await;
                let began = Instant::now();
                let Some(why) = self.serve(Arc::new(session)).await else { return };
                // One that breaks at once, again and again, is not to be the server's main work.
                let is_steady = began.elapsed() > BACK_OFF_MAX;
                let again = if is_steady { BACK_OFF_MIN } else { self.back_off * 2 };
                self.back_off = again.clamp(BACK_OFF_MIN, BACK_OFF_MAX);
                why
            }
        };
        if self.away.as_ref() != Some(&why) {
            tracing::error!(why, "the queue is away: batches of other sites are not taken");
            self.away = Some(why.clone());
            self.tell(Answer::Away { why }).await;
        }
    }

    fn plan(&self) -> Plan {
        if !self.is_loaded {
            return Plan::Load;
        }
        let newest = self.held.values().max_by_key(|place| place.sequence);
        let above = self.doubts.values().min().copied().unwrap_or(self.last_sequence);
        newest.map_or(Plan::All, |newest| Plan::Above { newest: *newest, above })
    }

    /// Refuses what is ordered until nobody orders any more. It may be dropped at any moment: an
    /// order is taken only when there is room for its answer.
    async fn refuse_all(&mut self) {
        while let Ok(room) = self.answers.owner.reserve().await {
            match self.orders.recv().await {
                Some(Order::Append(batch)) => {
                    room.send(self.answers.told(Answer::Refused(batch.row)));
                }
                Some(Order::Remove(row)) => self.waiting.push_back(leave(row, false)),
                Some(Order::SetAside(row)) => self.waiting.push_back(leave(row, true)),
                None => break,
            }
        }
        self.is_closed = true;
    }

    /// A server that was started again may have lost the end of what it had acknowledged.
    async fn note_server(&mut self, id: String) {
        let before = self.server_id.replace(id);
        if before.is_some() && before != self.server_id {
            tracing::warn!("another life of the queue's server answers: sweeps are asked for");
            self.tell(Answer::Restarted).await;
        }
    }

    async fn take_found(&mut self, found: Vec<Found>, is_all: bool) {
        let highest = found.iter().map(|found| found.sequence).max();
        self.last_sequence = if is_all {
            highest.unwrap_or(0)
        } else {
            self.last_sequence.max(highest.unwrap_or(0))
        };
        if !self.is_loaded {
            let batches = self.load(found);
            self.is_loaded = true;
            self.ledger.begin(self.last_sequence);
            self.tell(Answer::Loaded(batches)).await;
        } else if is_all {
            // The numbers that it lost are given again.
            self.ledger.begin(0);
            self.find_again(found);
        } else {
            self.weed(found);
        }
        if self.away.take().is_some() {
            tracing::info!("the queue is back");
            self.tell(Answer::Back).await;
        }
    }

    /// Gives rows in the order of the stream; the gate's own ones are above any of these.
    fn load(&mut self, found: Vec<Found>) -> Vec<QueuedBatch> {
        let mut batches = Vec::with_capacity(found.len());
        for Found { sequence, batch } in found {
            let Some((key, batch)) = batch else {
                self.unreadable(sequence);
                continue;
            };
            self.last_row += 1;
            let row = self.last_row;
            self.held.insert(row, Place { sequence, key });
            batches.push(QueuedBatch { row, ..batch });
        }
        batches
    }

    /// What somebody else appended is held from here on.
    async fn take_others(&mut self, mut found: Vec<Found>, up_to: u64) {
        self.ledger.note_read(up_to);
        let known: BTreeSet<Key> = self.held.values().map(|place| place.key).collect();
        let is_ours = |key: &Key| key.life == self.life || known.contains(key);
        found.retain(|found| !found.batch.as_ref().is_some_and(|(key, _)| is_ours(key)));
        let batches = self.load(found);
        if !batches.is_empty() {
            let count = batches.len();
            tracing::warn!(count, "another process took batches for this site: they are applied");
            self.tell(Answer::Found(batches)).await;
        }
    }

    fn unreadable(&mut self, sequence: u64) {
        tracing::error!(sequence, "a message of the queue is no batch that can be read: set aside");
        let what = Leaving::Message(sequence);
        self.waiting.push_back(Work::Leave { what, is_aside: true });
    }

    /// The stream lost what was acknowledged: the rows get the places that they have now.
    fn find_again(&mut self, found: Vec<Found>) {
        let mut rows: BTreeMap<Key, u64> =
            self.held.iter().map(|(row, place)| (place.key, *row)).collect();
        let mut others = Vec::new();
        self.held.clear();
        for found in found {
            let row = found.batch.as_ref().and_then(|(key, _)| Some((*key, rows.remove(key)?)));
            match row {
                Some((key, row)) => {
                    self.held.insert(row, Place { sequence: found.sequence, key });
                }
                None => others.push(found),
            }
        }
        if !rows.is_empty() {
            tracing::error!(
                batches = rows.len(),
                "the server lost batches that it had acknowledged; they are applied from memory"
            );
        }
        self.weed(others);
    }

    /// What is in doubt and is there after all leaves.
    fn weed(&mut self, found: Vec<Found>) {
        for Found { sequence, batch } in found {
            let Some((key, _)) = batch else {
                self.unreadable(sequence);
                continue;
            };
            if key.life == self.life && self.doubts.remove(&key.row).is_some() {
                let what = Leaving::Message(sequence);
                self.waiting.push_back(Work::Leave { what, is_aside: false });
            }
        }
    }

    fn doubt(&mut self, row: u64, above: u64) {
        self.doubts.insert(row, above);
        if self.doubts.len() > DOUBTS_MAX {
            // The next start of the process finds it.
            self.doubts.pop_first();
        }
    }

    /// Uses a connection until it breaks, and says why; `None` when nobody orders any more.
    async fn serve(&mut self, session: Arc<Session>) -> Option<String> {
        let mut flights = Flights::default();
        let (mut looks, mut look_at) = (0, Instant::now() + LOOK_EVERY);
        let mut ask_at = Instant::now() + ASK_EVERY;
        let why = loop {
            if let Err(why) = self.launch(&session, &mut flights).await {
                break why;
            }
            if self.is_closed && self.waiting.is_empty() && flights.open.is_empty() {
                return None;
            }
            tokio::select! {
                biased;
                why = session.broken() => break why,
                Some(landed) = flights.tasks.join_next() => {
                    let Ok(landed) = landed else { break "a task of it panicked".into() };
                    if let Err(why) = self.land(landed, &session, &mut flights).await {
                        break session.last_words(&why);
                    }
                }
                order = self.orders.recv(), if !self.is_closed => match order {
                    Some(order) => self.waiting.push_back(work_of(order)),
                    None => self.is_closed = true,
                },
                () = sleep_until(look_at), if !self.doubts.is_empty() => {
                    looks += 1;
                    look_at = Instant::now() + LOOK_EVERY;
                    self.look(&session, &mut flights, looks);
                }
                () = sleep_until(ask_at) => {
                    ask_at = Instant::now() + ASK_EVERY;
                    let session = Arc::clone(&session);
                    let asking = async move { Landed::Newest(session.newest().await) };
                    flights.tasks.spawn(asking);
                }
            }
        };
        self.abandon(flights).await;
        Some(why)
    }

    /// Begins what waits, as far as there is room.
    async fn launch(
        &mut self,
        session: &Arc<Session>,
        flights: &mut Flights,
    ) -> Result<(), String> {
        while flights.has_room()
            && let Some(work) = self.waiting.pop_front()
        {
            match work {
                Work::Append(batch) => self.launch_append(session, flights, batch).await?,
                Work::Leave { what, is_aside } => {
                    let sequence = match what {
                        Leaving::Message(sequence) => sequence,
                        Leaving::Row(row) => match self.held.get(&row) {
                            Some(place) => place.sequence,
                            // The server lost it, which was told.
                            None => continue,
                        },
                    };
                    let id = flights.begin(Flight::Leave { what, is_aside });
                    let session = Arc::clone(session);
                    flights.tasks.spawn(async move {
                        let outcome = if is_aside {
                            session.set_aside(sequence).await
                        } else {
                            session.remove(sequence).await
                        };
                        Landed::Left(id, outcome)
                    });
                }
            }
        }
        Ok(())
    }

    async fn launch_append(
        &mut self,
        session: &Arc<Session>,
        flights: &mut Flights,
        batch: QueuedBatch,
    ) -> Result<(), String> {
        let key = Key { life: self.life, row: batch.row };
        let (bytes, above) = (batch.bytes.len(), self.last_sequence);
        let id = flights.begin(Flight::Append { key, bytes, above });
        match session.append(key, batch).await {
            Ok(sent) => {
                flights.tasks.spawn(async move {
                    let stored = sent.into_future().await;
                    let stored = stored.map(|stored| stored.sequence);
                    Landed::Appended(id, stored.map_err(session::publish_failure))
                });
                Ok(())
            }
            Err(failure) => self.land_append(id, Err(failure), flights).await,
        }
    }

    /// Takes the outcome of something; the error says that the connection is broken.
    async fn land(
        &mut self,
        landed: Landed,
        session: &Arc<Session>,
        flights: &mut Flights,
    ) -> Result<(), String> {
        match landed {
            Landed::Looked(outcome) => self.weed(outcome?),
            Landed::Newest(Ok(newest)) => {
                if let Some((first, last)) = self.ledger.note_newest(newest) {
                    let session = Arc::clone(session);
                    flights.tasks.spawn(async move {
                        Landed::Read(session.read_from(first, true).await, last)
                    });
                }
            }
            Landed::Read(Ok(found), last) => self.take_others(found, last).await,
            // It is asked for again; whether the connection can be used, appends find out.
            Landed::Newest(Err(_)) | Landed::Read(Err(_), _) => {}
            Landed::Appended(id, outcome) => self.land_append(id, outcome, flights).await?,
            Landed::Left(id, outcome) => self.land_leave(id, outcome, flights)?,
        }
        Ok(())
    }

    async fn land_append(
        &mut self,
        id: u64,
        outcome: Result<u64, Failure>,
        flights: &mut Flights,
    ) -> Result<(), String> {
        match (flights.end(id), outcome) {
            (Some(Flight::Append { key, .. }), Ok(sequence)) => {
                self.held.insert(key.row, Place { sequence, key });
                self.last_sequence = self.last_sequence.max(sequence);
                self.ledger.note_ours(sequence);
                self.refusal.clear();
                self.tell(Answer::Appended(key.row)).await;
                Ok(())
            }
            (Some(Flight::Append { key, .. }), Err(Failure::Refused(why))) => {
                if self.refusal != why {
                    tracing::error!(why, "the queue's server refuses batches of other sites");
                    self.refusal = why;
                }
                self.tell(Answer::Refused(key.row)).await;
                Ok(())
            }
            (Some(Flight::Append { key, above, .. }), Err(Failure::Broken(why))) => {
                self.doubt(key.row, above);
                self.tell(Answer::Refused(key.row)).await;
                Err(why)
            }
            (Some(Flight::Leave { .. }) | None, _) => Ok(()),
        }
    }

    fn land_leave(
        &mut self,
        id: u64,
        outcome: Result<(), Failure>,
        flights: &mut Flights,
    ) -> Result<(), String> {
        match (flights.end(id), outcome) {
            (Some(Flight::Leave { what: Leaving::Row(row), .. }), Ok(())) => {
                self.held.remove(&row);
                Ok(())
            }
            (Some(Flight::Leave { what, is_aside }), Err(failure)) => {
                if let Leaving::Row(_) = what {
                    self.waiting.push_front(Work::Leave { what, is_aside });
                }
                Err(failure.into_words())
            }
            (Some(Flight::Leave { .. } | Flight::Append { .. }) | None, _) => Ok(()),
        }
    }

    /// Looks for what is in doubt; the last look ends the doubts.
    fn look(&mut self, session: &Arc<Session>, flights: &mut Flights, looks: u32) {
        let above = self.doubts.values().min().copied().unwrap_or(self.last_sequence);
        if looks > LOOKS {
            self.doubts.clear();
            return;
        }
        let session = Arc::clone(session);
        flights
            .tasks
            .spawn(async move { Landed::Looked(session.read_from(above + 1, false).await) });
    }

    /// A broken connection: appends are refused, removals wait for the next one.
    async fn abandon(&mut self, flights: Flights) {
        let mut refused = Vec::new();
        let mut kept = VecDeque::new();
        for flight in flights.open.into_values() {
            match flight {
                Flight::Append { key, above, .. } => {
                    self.doubt(key.row, above);
                    refused.push(key.row);
                }
                Flight::Leave { what: what @ Leaving::Row(_), is_aside } => {
                    kept.push_back(Work::Leave { what, is_aside });
                }
                Flight::Leave { what: Leaving::Message(_), .. } => {}
            }
        }
        for work in std::mem::take(&mut self.waiting) {
            match work {
                Work::Append(batch) => refused.push(batch.row),
                work @ Work::Leave { what: Leaving::Row(_), .. } => kept.push_back(work),
                Work::Leave { what: Leaving::Message(_), .. } => {}
            }
        }
        self.waiting = kept;
        for row in refused {
            self.tell(Answer::Refused(row)).await;
        }
    }
}

fn leave(row: u64, is_aside: bool) -> Work {
    Work::Leave { what: Leaving::Row(row), is_aside }
}

fn work_of(order: Order) -> Work {
    match order {
        Order::Append(batch) => Work::Append(batch),
        Order::Remove(row) => leave(row, false),
        Order::SetAside(row) => leave(row, true),
    }
}

/// Connects, and reads what is planned.
async fn open_session(
    server: Arc<Server>,
    streams: Arc<Streams>,
    back_off: Duration,
    plan: Plan,
) -> Result<Ready, String> {
    sleep(back_off).await;
    let session = Session::open(&server, &streams).await?;
    if let Plan::Above { newest, above } = plan
        && session.has(newest.sequence, newest.key).await?
    {
        let found = session.read_from(above + 1, false).await?;
        return Ok(Ready { session, found, is_all: false });
    }
    let found = session.read_all(matches!(plan, Plan::Load)).await?;
    Ok(Ready { session, found, is_all: true })
}
