//! PostgreSQL: a server that all replicas of a site share, used from one thread.
//!
//! One connection writes, the others of the pool read. When one of them breaks or gets no answer in
//! time, all are given up together, what is in flight is refused, and so is all that is ordered
//! until new connections stand:
//!
//! ```text
//! serve ──a connection breaks, a statement's time is over──► refuse_all ──connected anew──► serve
//!               (tells Away)                                                (tells Back)
//! ```
//!
//! There is no TLS: the server is reached on this machine or on a private network.

mod session;

use std::future::Future;
use std::sync::Arc;
use std::sync::mpsc as first;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::error::SendError;
use tokio::sync::mpsc::{Sender, UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use vocab::{CallKey, Stamp};

use super::work::{Backlog, Batch, Clearing, Job, Load, Taken, Write};
use super::{Answer, OpenError, Refusal, Refused, Settings, Why};
use crate::clock::wall_time;
use session::{Fetched, Server, Session, Trouble};

/// Fetches that one statement answers.
const FETCHES_MAX: usize = 64;
const BACK_OFF_MIN: Duration = Duration::from_millis(50);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);

/// The way to the server's thread. Its bound is the room of [`super::Database`].
#[derive(Debug)]
pub(super) struct Orders {
    writes: UnboundedSender<(Write, Taken)>,
    reads: UnboundedSender<(CallKey, Stamp, Taken)>,
}

impl Orders {
    pub(super) fn send(&self, (load, taken): (Load, Taken)) -> Result<(), Load> {
        match load {
            Load::Write(write) => {
                self.writes.send((write, taken)).map_err(|back| Load::Write(back.0.0))
            }
            Load::Read(key, stamp) => {
                let sent = self.reads.send((key, stamp, taken));
                sent.map_err(|SendError((key, stamp, _))| Load::Read(key, stamp))
            }
        }
    }
}

pub(super) fn open<E>(
    server: &tokio_postgres::Config,
    settings: &Settings,
    answers: Sender<E>,
) -> Result<Orders, OpenError>
where
    E: From<Answer> + Send + 'static,
{
    let refused = |error: std::io::Error| OpenError::Refused(error.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .map_err(refused)?;
    let server = Server::new(server, settings);
    let (writes, writes_inbox) = unbounded_channel();
    let (reads, reads_inbox) = unbounded_channel();
    let lanes = Lanes {
        writes: Mutex::new(writes_inbox),
        reads: Mutex::new(reads_inbox),
        answers,
        timeout: settings.timeout,
    };
    let (outcome, opened) = first::sync_channel(1);
    let work = move || {
        runtime.block_on(carry(server, Arc::new(lanes), outcome));
        // A name that is still being looked up must not keep the thread.
        runtime.shutdown_background();
    };
    thread::Builder::new().name("database".into()).spawn(work).map_err(refused)?;
    match opened.recv() {
        Ok(outcome) => outcome.map(|()| Orders { writes, reads }),
        Err(first::RecvError) => Err(OpenError::Refused("the database's thread ended".into())),
    }
}

/// Where orders wait and answers go, whichever connections there are.
struct Lanes<E> {
    writes: Mutex<UnboundedReceiver<(Write, Taken)>>,
    reads: Mutex<UnboundedReceiver<(CallKey, Stamp, Taken)>>,
    answers: Sender<E>,
    timeout: Duration,
}

impl<E: From<Answer>> Lanes<E> {
    /// The owner is gone only when the process ends.
    async fn tell(&self, answer: Answer) {
        drop(self.answers.send(answer.into()).await);
    }

    async fn refuse(&self, job: Job, why: Why) {
        for refusal in job.refused(why) {
            self.tell(Answer::Refused(refusal)).await;
        }
    }

    /// Refuses what is ordered until nobody orders any more. It may be dropped at any moment: an
    /// order is taken only when there is room for its answer.
    async fn refuse_all(&self) {
        let mut writes = self.writes.lock().await;
        let mut reads = self.reads.lock().await;
        while let Ok(room) = self.answers.reserve().await {
            let load = tokio::select! {
                Some((write, _)) = writes.recv() => Load::Write(write),
                Some((key, stamp, _)) = reads.recv() => Load::Read(key, stamp),
                else => return,
            };
            room.send(Answer::Refused(load.refused(Why::Away)).into());
        }
    }

    /// The reads that wait, or the next one; `None` when nobody orders any more.
    async fn next_reads(&self) -> Option<Vec<(CallKey, Stamp, Taken)>> {
        let mut inbox = self.reads.lock().await;
        let mut reads = vec![inbox.recv().await?];
        while reads.len() < FETCHES_MAX
            && let Ok(read) = inbox.try_recv()
        {
            reads.push(read);
        }
        Some(reads)
    }
}

async fn carry<E>(
    server: Server,
    lanes: Arc<Lanes<E>>,
    outcome: first::SyncSender<Result<(), OpenError>>,
) where
    E: From<Answer> + Send + 'static,
{
    let mut sessions = match server.connect().await {
        Ok(sessions) => Some(sessions),
        Err(Trouble::Refused(error)) => {
            drop(outcome.send(Err(error)));
            return;
        }
        Err(Trouble::Away(why)) => {
            tracing::error!(why, "the database of calls is away");
            None
        }
    };
    drop(outcome.send(Ok(())));
    loop {
        let standing = match sessions.take() {
            Some(sessions) => sessions,
            None => {
                lanes.tell(Answer::Away { since: wall_time() }).await;
                let standing = tokio::select! {
                    sessions = connect_again(&server) => sessions,
                    () = lanes.refuse_all() => return,
                };
                tracing::info!("the database of calls is back");
                lanes.tell(Answer::Back).await;
                standing
            }
        };
        if serve(standing, &lanes).await == Ended::Closed {
            return;
        }
    }
}

async fn connect_again(server: &Server) -> Vec<Session> {
    let mut back_off = BACK_OFF_MIN;
    loop {
        match server.connect().await {
            Ok(sessions) => return sessions,
            Err(Trouble::Refused(error)) => {
                tracing::error!(%error, "the database of calls stays away");
            }
            Err(Trouble::Away(why)) => tracing::debug!(why, "the database of calls is still away"),
        }
        tokio::time::sleep(back_off).await;
        back_off = (back_off * 2).min(BACK_OFF_MAX);
    }
}

/// Why the connections are not used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// Nobody orders any more.
    Closed,
    Broken,
}

async fn serve<E>(sessions: Vec<Session>, lanes: &Arc<Lanes<E>>) -> Ended
where
    E: From<Answer> + Send + 'static,
{
    let alarm = Alarm(Arc::new(watch::Sender::new(false)));
    let mut workers = JoinSet::new();
    for (index, session) in sessions.into_iter().enumerate() {
        let worker = Worker { session, lanes: Arc::clone(lanes), alarm: alarm.clone() };
        if index == 0 {
            workers.spawn(worker.write());
        } else {
            workers.spawn(worker.read());
        }
    }
    while workers.join_next().await.is_some() {}
    if alarm.is_rung() { Ended::Broken } else { Ended::Closed }
}

/// Rung once by the first connection that breaks.
#[derive(Clone)]
struct Alarm(Arc<watch::Sender<bool>>);

impl Alarm {
    fn ring(&self, why: &str) {
        if !self.0.send_replace(true) {
            tracing::error!(why, "the database of calls is away");
        }
    }

    fn is_rung(&self) -> bool {
        *self.0.borrow()
    }

    async fn rung(&self) {
        // The sender lives as long as `self`.
        drop(self.0.subscribe().wait_for(|is_rung| *is_rung).await);
    }
}

/// One connection at its work.
struct Worker<E> {
    session: Session,
    lanes: Arc<Lanes<E>>,
    alarm: Alarm,
}

impl<E: From<Answer>> Worker<E> {
    /// Waits for what comes next; `None` when this connection is not to be used any more.
    async fn wait<T>(&mut self, next: impl Future<Output = Option<T>>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.alarm.rung() => None,
            () = self.session.ended() => {
                self.alarm.ring("the server ended the connection");
                None
            }
            next = next => next,
        }
    }

    /// Waits for the server, within the bound.
    async fn attempt<T>(
        &self,
        statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Why> {
        let outcome = tokio::select! {
            biased;
            outcome = tokio::time::timeout(self.lanes.timeout, statement) => outcome,
            () = self.alarm.rung() => return Err(Why::Away),
        };
        match outcome {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => {
                let why = session::why(&error);
                let error = session::told(&error);
                match why {
                    Why::Away => self.alarm.ring(&error),
                    Why::Failed | Why::Full => {
                        tracing::error!(error, "the database of calls refuses an order");
                    }
                }
                Err(why)
            }
            Err(_) => {
                self.alarm.ring("no answer in time");
                Err(Why::Away)
            }
        }
    }

    async fn write(mut self) {
        let lanes = Arc::clone(&self.lanes);
        let mut inbox = lanes.writes.lock().await;
        let mut backlog = Backlog::default();
        loop {
            if backlog.is_empty() {
                let Some((write, taken)) = self.wait(inbox.recv()).await else { return };
                backlog.push(write, taken);
            }
            while !backlog.is_plenty()
                && let Ok((write, taken)) = inbox.try_recv()
            {
                backlog.push(write, taken);
            }
            let outcome = match backlog.next_job() {
                Some(Job::Batch(batch)) => self.write_batch(batch).await,
                Some(Job::Clear(clearing)) => self.clear(clearing).await,
                None => Ok(()),
            };
            if outcome == Err(Why::Away) {
                break;
            }
        }
        while let Some(job) = backlog.next_job() {
            lanes.refuse(job, Why::Away).await;
        }
    }

    async fn clear(&self, clearing: Clearing) -> Result<(), Why> {
        loop {
            match self.attempt(self.session.clear(&clearing)).await {
                Ok(true) => {}
                Ok(false) => {
                    let view = clearing.view;
                    drop(clearing);
                    self.lanes.tell(Answer::Cleared { view }).await;
                    return Ok(());
                }
                Err(why) => {
                    self.lanes.refuse(Job::Clear(clearing), why).await;
                    return Err(why);
                }
            }
        }
    }

    async fn write_batch(&self, mut batch: Batch) -> Result<(), Why> {
        if !batch.stores.is_empty() {
            match self.attempt(self.session.store(&batch.stores)).await {
                Ok(_) => {
                    let stored = batch.take_stored();
                    self.lanes.tell(Answer::Stored(stored)).await;
                }
                Err(why) => {
                    // The removals of this batch may be of rows that it was to store.
                    self.lanes.refuse(Job::Batch(batch), why).await;
                    return Err(why);
                }
            }
        }
        if !batch.removals.is_empty() {
            match self.attempt(self.session.remove(&batch.removals)).await {
                Ok(_) => {
                    let removed = batch.take_removed();
                    self.lanes.tell(Answer::Removed(removed)).await;
                }
                Err(why) => {
                    self.lanes.refuse(Job::Batch(batch), why).await;
                    return Err(why);
                }
            }
        }
        Ok(())
    }

    async fn read(mut self) {
        let lanes = Arc::clone(&self.lanes);
        while let Some(asks) = self.wait(lanes.next_reads()).await {
            self.fetch(asks).await;
        }
    }

    async fn fetch(&self, asks: Vec<(CallKey, Stamp, Taken)>) {
        let mut keys: Vec<CallKey> = asks.iter().map(|(key, _, _)| *key).collect();
        keys.sort_unstable();
        keys.dedup();
        let outcome = self.attempt(self.session.fetch(&keys)).await;
        // The room is free before the answers.
        let asks: Vec<(CallKey, Stamp)> =
            asks.into_iter().map(|(key, asked, _)| (key, asked)).collect();
        match outcome {
            Ok(Fetched { rows, corrupt }) => {
                for row in corrupt.values() {
                    // It is not served in any case; the log has the reason.
                    let _ = self.attempt(self.session.set_aside(row)).await;
                }
                for (key, asked) in asks {
                    let answer = match corrupt.get(&key) {
                        Some(_) => Answer::Corrupt { key, asked },
                        None => Answer::Fetched { key, asked, row: rows.get(&key).cloned() },
                    };
                    self.lanes.tell(answer).await;
                }
            }
            Err(why) => {
                for (key, _) in asks {
                    let refusal = Refusal { what: Refused::Fetch { key }, why };
                    self.lanes.tell(Answer::Refused(refusal)).await;
                }
            }
        }
    }
}
