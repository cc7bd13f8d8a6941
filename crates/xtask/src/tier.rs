//! A client of a site's state tier that speaks as an engine does: for loads and for benches.
//!
//! It dials the state processes that it is told of and those that they name, learns who serves
//! what, and goes on when one dies and another view comes. It takes no SIP and decodes no call, so
//! it declines what a replica hands to engines: a call that is due goes to another engine a second
//! later, one whose effects have not left goes there when the lock's lease is over, and a batch of
//! another site is put off. Beside real engines it therefore makes some deadlines late.

mod link;
pub(crate) mod turns;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::poll::{PollFd, PollFlags, PollTimeout};
use tier_protocol::{
    Cause, Command, EngineWord, GateWord, PROTOCOL_VERSION, PartitionView, Record, Reply, Seat,
    TierFrame, dictionary,
};
use vocab::{CallKey, EngineId, LockToken, PartitionId, ReplicaId, TokenSecret};

use link::Link;

/// Time between two signs of life.
const PING_EVERY: Duration = Duration::from_millis(250);
/// A link on which nothing came for so long is given up.
const SILENT_AFTER: Duration = Duration::from_secs(3);
/// Time between two tries to dial an address.
const DIAL_EVERY: Duration = Duration::from_millis(200);
/// A question to the tier is repeated after this.
const REPEAT_AFTER: Duration = Duration::from_secs(1);
const READ_BYTES: usize = 64 * 1024;

/// A replica's answer.
pub(crate) type Answer = (ReplicaId, Reply);

/// An address and the link to it, while it stands.
struct Door {
    link: Option<Link>,
    tried_at: Option<Instant>,
    /// Why the last try came to nothing.
    problem: String,
}

/// The links to one site's state processes.
pub(crate) struct Client {
    secret: TokenSecret,
    hello: TierFrame,
    doors: BTreeMap<SocketAddr, Door>,
    by_replica: BTreeMap<ReplicaId, SocketAddr>,
    views: Vec<PartitionView>,
    /// Since the last poll.
    is_changed: bool,
    pinged_at: Instant,
    area: Vec<u8>,
    numbers: u64,
}

impl Client {
    /// A client that knows `addresses`; it dials with its first [`Self::poll`].
    pub(crate) fn new(secret: TokenSecret, addresses: &[SocketAddr], name: &str) -> Self {
        // It gives batches back unread, and is not to change how they are written for engines.
        let (version, dictionary) = (PROTOCOL_VERSION, dictionary::NEWEST);
        let hello = TierFrame::Hello { role: engine_id(), name: name.into(), version, dictionary };
        let mut client = Self {
            secret,
            hello,
            doors: BTreeMap::new(),
            by_replica: BTreeMap::new(),
            views: Vec::new(),
            is_changed: false,
            pinged_at: Instant::now(),
            area: vec![0; READ_BYTES],
            numbers: 0,
        };
        addresses.iter().for_each(|address| client.note_address(*address));
        client
    }

    fn note_address(&mut self, address: SocketAddr) {
        let door = || Door { link: None, tried_at: None, problem: String::new() };
        self.doors.entry(address).or_insert_with(door);
    }

    /// The view of the partition that keeps a call.
    pub(crate) fn view(&self, key: CallKey) -> Option<&PartitionView> {
        let slot = key.slot();
        self.views.iter().find(|view| view.slots.contains(slot))
    }

    /// A number for a turn or a question.
    pub(crate) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Waits until `replicas` of every partition that owns slots are complete and linked.
    pub(crate) fn wait_whole(&mut self, replicas: usize, patience: Duration) -> Result<(), String> {
        let deadline = Instant::now() + patience;
        while !self.is_whole(replicas) {
            if Instant::now() >= deadline {
                return Err(format!("the state tier is not whole: {}", self.story()));
            }
            self.poll(Duration::from_millis(50), &mut Vec::new())?;
        }
        Ok(())
    }

    fn is_whole(&self, replicas: usize) -> bool {
        let is_linked = |replica| self.by_replica.contains_key(&replica);
        let is_whole = |view: &PartitionView| {
            view.members.len() >= replicas
                && view.joining.is_empty()
                && view.members.iter().all(|replica| is_linked(*replica))
        };
        !self.views.is_empty() && self.views.iter().all(is_whole)
    }

    /// What is known, for people.
    pub(crate) fn story(&self) -> String {
        let door = |(address, door): (&SocketAddr, &Door)| match &door.link {
            Some(_) => format!("{address} is linked"),
            None => format!("{address}: {}", door.problem),
        };
        let view = |view: &PartitionView| {
            let (members, joining) = (view.members.len(), view.joining.len());
            format!("partition {} has {members} replicas, {joining} joining", view.partition)
        };
        let doors = self.doors.iter().map(door);
        doors.chain(self.views.iter().map(view)).collect::<Vec<_>>().join("; ")
    }

    /// Says a command to one replica; nothing while it cannot be reached.
    pub(crate) fn command(&mut self, to: ReplicaId, partition: PartitionId, command: Command) {
        self.tell(to, &TierFrame::Command { partition, command });
    }

    fn tell(&mut self, to: ReplicaId, frame: &TierFrame) {
        let door = self.by_replica.get(&to).and_then(|address| self.doors.get_mut(address));
        if let Some(link) = door.and_then(|door| door.link.as_mut()) {
            link.tell(frame);
        }
    }

    /// Sends what waits, waits for at most `patience`, and takes what came. `true` when a view is
    /// another, or a link: what waits for an answer may have to be said again.
    pub(crate) fn poll(
        &mut self,
        patience: Duration,
        heard: &mut Vec<Answer>,
    ) -> Result<bool, String> {
        self.dial();
        self.ping();
        let (mut lost, mut ready) = (Vec::new(), Vec::new());
        for (address, door) in &mut self.doors {
            if let Some(Err(error)) = door.link.as_mut().map(Link::flush) {
                lost.push((*address, error.to_string()));
            }
        }
        self.wait(patience, &mut ready)?;
        let mut area = std::mem::take(&mut self.area);
        let mut frames = Vec::new();
        for address in ready {
            let link = self.doors.get_mut(&address).and_then(|door| door.link.as_mut());
            if let Some(Err(error)) = link.map(|link| link.read(&mut area, &mut frames)) {
                lost.push((address, error.to_string()));
            }
            for frame in frames.drain(..) {
                if let Err(problem) = self.take(address, frame, heard) {
                    lost.push((address, problem));
                }
            }
        }
        self.area = area;
        for (address, problem) in lost {
            self.lose(address, problem);
        }
        Ok(std::mem::take(&mut self.is_changed))
    }

    /// Sends what waits, until the kernel has it.
    pub(crate) fn flush(&mut self, patience: Duration) -> Result<(), String> {
        let deadline = Instant::now() + patience;
        loop {
            let mut has_words = false;
            for link in self.doors.values_mut().filter_map(|door| door.link.as_mut()) {
                link.flush().map_err(|error| format!("a state process: {error}"))?;
                has_words |= link.has_words();
            }
            if !has_words {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err("a state process does not take its words".to_owned());
            }
            std::thread::yield_now();
        }
    }

    fn wait(&self, patience: Duration, ready: &mut Vec<SocketAddr>) -> Result<(), String> {
        let (mut addresses, mut fds) = (Vec::new(), Vec::new());
        for (address, door) in &self.doors {
            let Some(link) = &door.link else { continue };
            let write = if link.has_words() { PollFlags::POLLOUT } else { PollFlags::empty() };
            addresses.push(*address);
            fds.push(PollFd::new(link.as_fd(), PollFlags::POLLIN | write));
        }
        let patience = patience.min(PING_EVERY);
        let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::ZERO);
        match nix::poll::poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(format!("poll: {error}")),
        }
        let is_ready = |fd: &PollFd<'_>| {
            fd.revents().is_some_and(|events| events.intersects(!PollFlags::POLLOUT))
        };
        ready.extend(addresses.iter().zip(&fds).filter(|(_, fd)| is_ready(fd)).map(|(a, _)| *a));
        Ok(())
    }

    fn dial(&mut self) {
        let now = Instant::now();
        for (address, door) in &mut self.doors {
            let is_due = door.tried_at.is_none_or(|at| now.duration_since(at) >= DIAL_EVERY);
            if door.link.is_some() || !is_due {
                continue;
            }
            door.tried_at = Some(now);
            match Link::dial(*address, &self.secret, &self.hello) {
                Ok(link) => door.link = Some(link),
                Err(error) => door.problem = error.to_string(),
            }
        }
    }

    fn ping(&mut self) {
        let now = Instant::now();
        let passed = now.duration_since(self.pinged_at);
        if passed < PING_EVERY {
            return;
        }
        self.pinged_at = now;
        let mut silent = Vec::new();
        for (address, door) in &mut self.doors {
            let Some(link) = &mut door.link else { continue };
            if passed > 3 * PING_EVERY {
                // This process was busy itself: what it should have heard may lie in its sockets.
                link.heard_at = now;
            }
            if now.duration_since(link.heard_at) >= SILENT_AFTER {
                silent.push(*address);
            } else if link.replica.is_some() {
                link.tell(&TierFrame::Ping);
            }
        }
        for address in silent {
            self.lose(address, "it is silent".to_owned());
        }
    }

    fn lose(&mut self, address: SocketAddr, problem: String) {
        let Some(door) = self.doors.get_mut(&address) else { return };
        self.is_changed = true;
        door.problem = problem;
        door.tried_at = Some(Instant::now());
        if let Some(replica) = door.link.take().and_then(|link| link.replica)
            && self.by_replica.get(&replica) == Some(&address)
        {
            self.by_replica.remove(&replica);
        }
    }

    fn take(
        &mut self,
        address: SocketAddr,
        frame: TierFrame,
        heard: &mut Vec<Answer>,
    ) -> Result<(), String> {
        let link = self.doors.get_mut(&address).and_then(|door| door.link.as_mut());
        let Some(link) = link else { return Ok(()) };
        match (link.replica, frame) {
            (None, TierFrame::Replica { replica, version: PROTOCOL_VERSION, .. }) => {
                link.replica = Some(replica);
                self.by_replica.insert(replica, address);
                self.is_changed = true;
            }
            (None, _) => return Err("it did not say who it is, or speaks otherwise".to_owned()),
            (Some(_), TierFrame::View(view)) => self.adopt(view),
            (Some(_), TierFrame::Seats(seats)) => self.note_seats(&seats),
            (Some(replica), TierFrame::Reply { reply, .. }) => match reply {
                Reply::Granted { key, token, cause, resume, .. } if is_handed(cause) => {
                    self.give_back(replica, key, token, resume);
                }
                reply => heard.push((replica, reply)),
            },
            (Some(replica), TierFrame::Gate(GateWord::Batch { id, .. })) => {
                self.tell(replica, &TierFrame::Engine(EngineWord::BatchDeferred { id }));
            }
            (Some(_), TierFrame::Gate(_) | TierFrame::Pong) => {}
            (Some(_), _) => return Err("it sent a word that is not for engines".to_owned()),
        }
        Ok(())
    }

    fn adopt(&mut self, new: PartitionView) {
        match self.views.iter_mut().find(|view| view.partition == new.partition) {
            // A process that is alone may come back with another replica: it says the next number.
            Some(view) if view.number < new.number => *view = new,
            Some(_) => return,
            None => self.views.push(new),
        }
        self.is_changed = true;
    }

    fn note_seats(&mut self, seats: &[Seat]) {
        let addresses = seats.iter().filter_map(|seat| seat.address.parse().ok());
        addresses.for_each(|address| self.note_address(address));
    }

    /// Reads one record from its primary. It takes the call's lock and gives it back at once, so it
    /// waits for whoever has it.
    pub(crate) fn get(
        &mut self,
        key: CallKey,
        patience: Duration,
    ) -> Result<Option<Record>, String> {
        let (deadline, turn) = (Instant::now() + patience, self.number());
        let (mut asked_at, mut heard) = (None::<Instant>, Vec::new());
        loop {
            let now = Instant::now();
            if now >= deadline {
                return Err(format!("call {key} cannot be read: {}", self.story()));
            }
            let seen = self.view(key).map(|view| (view.partition, view.number, view.primary()));
            if let Some((partition, view, Some(primary))) = seen
                && asked_at.is_none_or(|at| now.duration_since(at) >= REPEAT_AFTER)
            {
                let (begins, cached) = (false, None);
                let command = Command::LockAndGet { view, key, turn, begins, cached };
                self.command(primary, partition, command);
                asked_at = Some(now);
            }
            if self.poll(Duration::from_millis(20), &mut heard)? {
                asked_at = None;
            }
            for (from, reply) in heard.drain(..) {
                match reply {
                    Reply::NotHere { turn: of, .. } if of == turn => return Ok(None),
                    Reply::Granted { key: of, token, record, resume, .. } if of == key => {
                        self.give_back(from, key, token, resume);
                        return Ok(record);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Ends a lock under which nothing was put, unless effects have to leave under it: an `Unlock`
    /// would say that they have.
    fn give_back(&mut self, from: ReplicaId, key: CallKey, token: LockToken, resume: bool) {
        let seen = self.view(key).map(|view| (view.partition, view.number));
        if let Some((partition, view)) = seen.filter(|_| !resume) {
            self.command(from, partition, Command::Unlock { view, key, token });
        }
    }
}

/// Whether the lock was not asked for.
fn is_handed(cause: Cause) -> bool {
    !matches!(cause, Cause::Asked { .. })
}

/// Unlike that of any engine or other client: by the moment and the process, as engines do it.
fn engine_id() -> EngineId {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let moment = u64::try_from(now.as_micros() / 64).unwrap_or_default();
    EngineId(1 << 63 | moment << 16 | u64::from(std::process::id() & 0xffff))
}
