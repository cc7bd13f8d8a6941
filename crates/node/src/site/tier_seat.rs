//! The replica and the gate of a process, with the links and the disk that are theirs.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use bytes::BytesMut;
use replica::gate::{Gate, GateInput, GateOutput};
use replica::{PeerNews, Replica, SiteInput};
use tier_protocol::frame::TierFrame;
use tier_protocol::{
    Command, GateBound, PROTOCOL_VERSION, PartitionView, Record, Reply, SiteMap, SiteState,
};
use vocab::{CallKey, EngineId, Instant, PartitionId, ReplicaId, SiteId, ViewNumber};

use super::partitions::{conflicts, dropped_text};
use super::peers::Myself;
use super::shared::{Shared, new_replica_id};
use super::site_links::SiteLinks;
use super::{Word, database};
use crate::config::Config;
use crate::coordination::{Coordination, Told};
use crate::database::Database;
use crate::link::{LinkWord, Outbox};
use crate::queue::{self, Order, Queue};
use crate::setting::PARTITION;

/// Opens the queue of batches from other sites, for the how manieth time.
pub(crate) type OpenQueue = dyn Fn(u64) -> io::Result<Queue>;

/// Replica, gate and queue of a site.
pub(crate) struct TierSeat {
    pub(crate) replica: Replica,
    pub(crate) gate: Gate,
    /// Of a site of several processes: while this one keeps the gate.
    queue: Option<Queue>,
    /// Opens it.
    open_queue: Box<OpenQueue>,
    /// How often it was opened.
    openings: u64,
    /// Why the queue cannot be used.
    queue_away: Option<String>,
    queue_damage: QueueDamage,
    /// Where calls go that are steady for long.
    database: Option<Database>,
    /// Of a state process among several.
    shared: Option<Shared>,
    /// The engine of this very process, to which words go by function call.
    own_engine: Option<EngineId>,
    engines: BTreeMap<u64, EngineLink>,
    engine_links: BTreeMap<EngineId, u64>,
    pub(crate) sites: SiteLinks,
    replica_wake_at: Instant,
    gate_wake_at: Instant,
    /// The call that [`Self::record`] asks for at this moment: its answer goes to no engine.
    asked: Option<CallKey>,
    got: Option<Record>,
    /// The last order about partitions that was dropped, and why.
    pub(super) order_dropped: String,
    /// What did not fit together when it was looked at last.
    conflicts: Vec<String>,
}

/// What of the queue was found to be damaged since the process started.
#[derive(Debug, Default)]
pub(crate) struct QueueDamage {
    pub(crate) times: u64,
    /// Batches that are known to be gone.
    pub(crate) lost: u64,
    /// The last time, in words.
    pub(crate) last: Option<String>,
}

impl QueueDamage {
    fn note(&mut self, damage: queue::Damage) {
        let queue::Damage { why, lost, kept } = damage;
        self.times += 1;
        self.lost += lost.unwrap_or(0);
        let lost = match lost {
            Some(0) => "nothing is lost".to_owned(),
            Some(lost) => format!("{lost} batches are lost"),
            None => "batches may be lost".to_owned(),
        };
        let kept = kept.map(|kept| format!("; it is kept as {}", kept.display()));
        self.last = Some(format!("{why}: {lost}{}", kept.unwrap_or_default()));
    }
}

/// A link that an engine, or another replica, dialled.
struct EngineLink {
    outbox: Outbox,
    /// Known once it said Hello.
    from: Option<Dialler>,
}

/// Who dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialler {
    Engine(EngineId),
    Replica(ReplicaId),
}

impl TierSeat {
    pub(crate) fn new(
        replica: Replica,
        gate: Gate,
        open_queue: Box<OpenQueue>,
        shared: Option<Shared>,
        own_engine: Option<EngineId>,
        sites: SiteLinks,
    ) -> Self {
        Self {
            replica,
            gate,
            queue: None,
            open_queue,
            openings: 0,
            queue_away: None,
            queue_damage: QueueDamage::default(),
            database: None,
            shared,
            own_engine,
            engines: BTreeMap::new(),
            engine_links: BTreeMap::new(),
            sites,
            replica_wake_at: Instant::NEVER,
            gate_wake_at: Instant::NEVER,
            asked: None,
            got: None,
            order_dropped: String::new(),
            conflicts: Vec::new(),
        }
    }

    /// The site that is to have the copies of the calls that live here: what was ordered goes
    /// before what is configured.
    pub(crate) fn backup_to(&self, config: &Config, now: Instant) -> Option<u16> {
        let ordered = self.gate.stats(now).steering.backup_to;
        let configured = config.sites.as_ref().and_then(|sites| sites.backup_to);
        ordered.map(|site| site.0).or(configured)
    }

    /// Where the replica's calls go that are steady for long.
    pub(crate) fn with_database(self, database: Option<Database>) -> Self {
        Self { database, ..self }
    }

    pub(super) fn into_coordination(self) -> Option<Coordination> {
        self.shared.map(Shared::into_coordination)
    }

    /// Why the queue cannot be used, while it cannot.
    pub(crate) fn queue_away(&self) -> Option<&str> {
        self.queue_away.as_deref()
    }

    /// What of the queue was found to be damaged since the process started.
    pub(crate) fn queue_damage(&self) -> &QueueDamage {
        &self.queue_damage
    }

    /// What the gate hears of an answer of the queue.
    pub(super) fn take_queue(&mut self, told: queue::Told) -> Option<GateInput> {
        if told.opening != self.openings || self.queue.is_none() {
            return None;
        }
        match told.answer {
            queue::Answer::Loaded(held) | queue::Answer::Found(held) => {
                return Some(GateInput::QueueLoaded(held));
            }
            queue::Answer::Appended(row) => return Some(GateInput::QueueAppended { row }),
            queue::Answer::Refused(row) => return Some(GateInput::QueueRefused { row }),
            queue::Answer::Away { why } => self.queue_away = Some(why),
            queue::Answer::Back => self.queue_away = None,
            queue::Answer::Damaged(damage) => {
                self.queue_damage.note(damage);
                return Some(GateInput::QueueMayHaveLost);
            }
            queue::Answer::Restarted => return Some(GateInput::QueueMayHaveLost),
        }
        None
    }

    pub(crate) fn wake_at(&self) -> Instant {
        self.replica_wake_at.min(self.gate_wake_at)
    }

    pub(super) fn wake(&self, now: Instant, words: &mut VecDeque<Word>) {
        if self.gate_wake_at <= now {
            words.push_back(Word::Gate(GateInput::Wake));
        }
        if self.replica_wake_at <= now {
            words.push_back(Word::Replica(replica::Input::Wake));
        }
    }

    /// What the gate last said of this site.
    pub(crate) fn is_serving(&self) -> bool {
        self.replica.is_site_serving()
    }

    /// What `site` last said of itself; it may be dead since.
    pub(crate) fn state_of(&self, site: SiteId) -> Option<SiteState> {
        self.sites.state_of(site)
    }

    /// Reads the queue, and dials the other sites.
    pub(crate) fn open_gate(&mut self) -> io::Result<()> {
        self.openings += 1;
        self.queue = Some((self.open_queue)(self.openings)?);
        self.sites.open();
        Ok(())
    }

    /// Whether the site's map says that this process keeps the gate; one that is alone does.
    pub(crate) fn keeps_gate(&self) -> bool {
        self.shared.is_none() || self.replica.map().gatekeeper() == Some(self.replica.id())
    }

    fn order_queue(&self, order: Order) {
        if let Some(queue) = &self.queue {
            queue.order(order);
        }
    }

    /// An engine that may be told something: this process's own, or the first that is linked.
    pub(super) fn any_engine(&self) -> Option<EngineId> {
        self.own_engine.or_else(|| self.engine_links.keys().next().copied())
    }

    pub(super) fn view_number(&self) -> ViewNumber {
        self.replica.view().number
    }

    /// Reads one record, without its lock.
    pub(super) fn record(
        &mut self,
        now: Instant,
        key: CallKey,
        words: &mut VecDeque<Word>,
    ) -> Option<Record> {
        let (engine, view) = (self.any_engine()?, self.view_number());
        let command = Command::Get { view, key, turn: 0 };
        self.asked = Some(key);
        self.run_replica(now, replica::Input::Command { engine, command }, words);
        self.asked = None;
        self.got.take()
    }

    pub(super) fn run_replica(
        &mut self,
        now: Instant,
        input: replica::Input,
        words: &mut VecDeque<Word>,
    ) {
        if let replica::Input::Order(_) = input {
            self.order_dropped.clear();
        }
        let may_conflict = matches!(
            &input,
            replica::Input::Store(_)
                | replica::Input::Peer {
                    news: PeerNews::Up | PeerNews::Down | PeerNews::Gone { .. },
                    ..
                }
        );
        self.replica.handle_input(now, input);
        if may_conflict {
            self.note_conflicts();
        }
        loop {
            match self.replica.poll_output() {
                replica::Output::Reply { reply: Reply::Got { key, record, .. }, .. }
                    if self.asked == Some(key) =>
                {
                    self.got = record;
                }
                replica::Output::Reply { engine, view, reply }
                    if Some(engine) == self.own_engine =>
                {
                    let input = engine::Input::Reply { from: self.replica.id(), view, reply };
                    words.push_back(Word::Engine(input));
                }
                replica::Output::Reply { engine, view, reply } => {
                    let frame = TierFrame::Reply { partition: PARTITION, view, reply };
                    self.tell_engine(engine, &frame);
                }
                replica::Output::Peer { replica, word } => {
                    if let Some(shared) = &mut self.shared {
                        shared.peers.tell(replica, word);
                    }
                }
                replica::Output::Store(ask) => {
                    let refused = self.shared.as_mut().and_then(|shared| shared.ask(ask));
                    words.extend(refused.map(|w| Word::Replica(replica::Input::Store(w))));
                }
                replica::Output::Dropped { order, why } => {
                    self.order_dropped = dropped_text(self.replica.map(), order, why);
                    tracing::warn!(order = self.order_dropped, "an order was dropped");
                }
                replica::Output::Map(map) => {
                    self.tell_map(&map);
                    let replica = self.replica.id();
                    words.push_back(Word::Gate(GateInput::Map { replica, map }));
                }
                replica::Output::Expelled => self.begin_again(now, words),
                replica::Output::Database(ask) => {
                    let database = self.database.as_ref();
                    let refused = database.and_then(|database| database::ask(database, ask));
                    words.extend(refused.map(|w| Word::Replica(replica::Input::Database(w))));
                }
                replica::Output::Gate(output) => self.tell_gate(output, words),
                replica::Output::WakeAt(at, _) => {
                    self.replica_wake_at = at;
                    return;
                }
            }
        }
    }

    pub(super) fn run_gate(&mut self, now: Instant, input: GateInput, words: &mut VecDeque<Word>) {
        self.gate.handle_input(now, input);
        loop {
            match self.gate.poll_output() {
                GateOutput::ToSite { site, word } => self.sites.send(site, word),
                GateOutput::ToEngine { engine, word } if Some(engine) == self.own_engine => {
                    words.push_back(Word::Engine(engine::Input::Gate(word)));
                }
                GateOutput::ToEngine { engine, word } => {
                    self.tell_engine(engine, &TierFrame::Gate(word));
                }
                GateOutput::ToReplica { partition, input } => {
                    self.tell_primary(partition, input, words);
                }
                GateOutput::ToReplicas(input) => {
                    if let Some(shared) = &mut self.shared {
                        shared.peers.send_all(&TierFrame::ToPartition(input.clone()));
                    }
                    self.take_from_gate(input, words);
                }
                GateOutput::Open => {
                    tracing::info!("this process keeps the site's gate");
                    if let Err(error) = self.open_gate() {
                        tracing::error!(%error, "the queue cannot be opened");
                    }
                }
                GateOutput::Close => {
                    tracing::info!("this process keeps the site's gate no more");
                    self.queue = None;
                    self.queue_away = None;
                    self.sites.close();
                }
                GateOutput::QueueAppend { batch } => self.order_queue(Order::Append(batch)),
                GateOutput::QueueRemove { row } => self.order_queue(Order::Remove(row)),
                GateOutput::QueueSetAside { row } => self.order_queue(Order::SetAside(row)),
                GateOutput::WakeAt(at, _) => {
                    self.gate_wake_at = at;
                    return;
                }
            }
        }
    }

    /// Carries a word of this replica to the gate, wherever it is kept.
    fn tell_gate(&mut self, output: GateBound, words: &mut VecDeque<Word>) {
        let partition = self.replica.view().partition;
        if self.keeps_gate() {
            words.push_back(Word::Gate(GateInput::FromReplica { partition, output }));
        } else if let (Some(keeper), Some(shared)) =
            (self.replica.map().gatekeeper(), &mut self.shared)
        {
            shared.peers.send(keeper, &TierFrame::ToGate { partition, word: output });
        }
    }

    /// Carries a word of this gate to the primary of a partition.
    fn tell_primary(
        &mut self,
        partition: PartitionId,
        word: SiteInput,
        words: &mut VecDeque<Word>,
    ) {
        let view = self.replica.map().view(partition);
        let primary = view.and_then(PartitionView::primary);
        match &mut self.shared {
            Some(shared) if primary != Some(self.replica.id()) => {
                if let Some(primary) = primary {
                    shared.peers.send(primary, &TierFrame::ToPartition(word));
                }
            }
            Some(_) | None => self.take_from_gate(word, words),
        }
    }

    /// Takes a word of the gate to this process's replica.
    fn take_from_gate(&mut self, input: SiteInput, words: &mut VecDeque<Word>) {
        if let (SiteInput::Status { view, steering, .. }, Some(_)) = (&input, &self.shared) {
            // If the gate comes to this process it goes on with that.
            let (view, steering) = (*view, steering.clone());
            words.push_back(Word::Gate(GateInput::Steered { view, steering }));
        }
        words.push_back(Word::Replica(replica::Input::Site(input)));
    }

    /// Whether it is one process of several.
    pub(super) fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    fn tell_engine(&mut self, engine: EngineId, frame: &TierFrame) {
        let link = self.engine_links.get(&engine).and_then(|link| self.engines.get_mut(link));
        if let Some(link) = link {
            frame.encode_into(link.outbox.buffer());
        }
    }

    /// The others went on without this replica: it goes on as another one, empty, and every link is
    /// made anew.
    fn begin_again(&mut self, now: Instant, words: &mut VecDeque<Word>) {
        let replica = new_replica_id();
        tracing::warn!(%replica, "this replica was left out of its view; it joins anew, empty");
        self.replica = self.replica.reborn(now, replica);
        self.replica_wake_at = now;
        self.engines.clear();
        for engine in std::mem::take(&mut self.engine_links).into_keys() {
            words.push_back(Word::Gate(GateInput::EngineDown { engine }));
        }
        if let Some(shared) = &mut self.shared {
            shared.peers.begin_again(replica);
        }
        words.push_back(Word::Replica(replica::Input::Wake));
    }

    /// Tells every engine who serves what, and dials the replicas that are new.
    fn tell_map(&mut self, map: &SiteMap) {
        let frames = map_frames(map);
        for link in self.engine_links.values() {
            if let Some(link) = self.engines.get_mut(link) {
                frames.iter().for_each(|frame| frame.encode_into(link.outbox.buffer()));
            }
        }
        if let Some(shared) = &mut self.shared {
            shared.peers.note_seats(&map.seats);
        }
        let view = self.replica.view();
        let (number, leads) = (view.number.0, self.replica.leads());
        let (members, joining) = (view.members.len(), view.joining.len());
        tracing::info!(partition = view.partition.0, number, leads, members, joining, "a new map");
    }

    /// Says aloud what does not fit together, once.
    fn note_conflicts(&mut self) {
        let seen = conflicts(self);
        for conflict in seen.iter().filter(|conflict| !self.conflicts.contains(conflict)) {
            tracing::error!(conflict, "the configurations of two state processes do not fit");
        }
        self.conflicts = seen;
    }

    /// Whether the coordination store does not answer, or takes no write.
    pub(super) fn is_store_away(&self) -> bool {
        self.shared.as_ref().is_some_and(Shared::is_away) || self.replica.is_store_unwritable()
    }

    /// What the coordination store told.
    pub(super) fn take_told(&mut self, told: Told, words: &mut VecDeque<Word>) {
        if let Some(shared) = &mut self.shared {
            let said = shared.told(told).into_iter();
            words.extend(said.map(|word| Word::Replica(replica::Input::Store(word))));
        }
    }

    /// Of a link that this process dialled to another replica.
    pub(super) fn take_peer_link(
        &mut self,
        replica: ReplicaId,
        word: LinkWord<TierFrame>,
        words: &mut VecDeque<Word>,
    ) {
        let news = self.shared.as_mut().and_then(|shared| shared.peers.take(replica, word));
        words.extend(news.as_ref().and_then(|news| link_news(replica, news)).map(Word::Gate));
        words.extend(news.map(|news| Word::Replica(replica::Input::Peer { replica, news })));
    }

    /// Of a link that an engine, or another replica, dialled.
    pub(super) fn take_engine_link(
        &mut self,
        link: u64,
        word: LinkWord<TierFrame>,
        words: &mut VecDeque<Word>,
    ) {
        match word {
            LinkWord::Up(outbox) => {
                self.engines.insert(link, EngineLink { outbox, from: None });
            }
            LinkWord::Frame(frame) => self.take_engine_word(link, frame, words),
            LinkWord::Writable => {
                if let Some(link) = self.engines.get_mut(&link) {
                    link.outbox.note_writable();
                }
            }
            LinkWord::Down => self.lose_engine(link, words),
            LinkWord::Refused => debug_assert!(false, "nobody dialled"),
        }
    }

    fn take_engine_word(&mut self, link: u64, frame: TierFrame, words: &mut VecDeque<Word>) {
        let Some(known) = self.engines.get_mut(&link) else { return };
        match (known.from, frame) {
            (Some(_), TierFrame::Ping) => TierFrame::Pong.encode_into(known.outbox.buffer()),
            (None, TierFrame::Replica { replica, version, name, .. })
                if version == PROTOCOL_VERSION && self.shared.is_some() =>
            {
                let own = self.shared.as_ref().map(|shared| shared.peers.myself());
                if own.is_some_and(|own| own.name == name && own.replica != replica) {
                    tracing::error!(name, %replica, "another state process has this one's name");
                }
                known.from = Some(Dialler::Replica(replica));
                self.myself().encode_into(self.link_buffer(link));
            }
            (Some(Dialler::Replica(replica)), TierFrame::Peer(word)) => {
                let news = PeerNews::Said(word);
                words.push_back(Word::Replica(replica::Input::Peer { replica, news }));
            }
            (Some(Dialler::Replica(_)), TierFrame::ToPartition(word)) => {
                self.take_from_gate(word, words);
            }
            (Some(Dialler::Replica(_)), TierFrame::ToGate { partition, word: output }) => {
                words.push_back(Word::Gate(GateInput::FromReplica { partition, output }));
            }
            (None, TierFrame::Hello { role, name, version, dictionary })
                if version == PROTOCOL_VERSION =>
            {
                self.admit_engine(link, (role, dictionary), &name, words);
            }
            (Some(Dialler::Engine(engine)), TierFrame::Command { partition: _, command }) => {
                words.push_back(Word::Replica(replica::Input::Command { engine, command }));
            }
            (Some(Dialler::Engine(engine)), TierFrame::Engine(word)) => {
                words.push_back(Word::Gate(GateInput::FromEngine { engine, word }));
            }
            (None, TierFrame::Hello { version, .. } | TierFrame::Replica { version, .. }) => {
                tracing::warn!(link, version, "a link speaks another version of the protocol");
                self.lose_engine(link, words);
            }
            (_, _) => {
                tracing::warn!(link, "an engine sent a word that is not due");
                self.lose_engine(link, words);
            }
        }
    }

    fn admit_engine(
        &mut self,
        link: u64,
        (engine, dictionary): (EngineId, u16),
        name: &str,
        words: &mut VecDeque<Word>,
    ) {
        if let Some(before) = self.engine_links.get(&engine).copied() {
            self.lose_engine(before, words);
        }
        let Some(known) = self.engines.get_mut(&link) else { return };
        known.from = Some(Dialler::Engine(engine));
        // Its picture of the site comes before any word that depends on it.
        let frames = match self.shared.is_some() {
            true => map_frames(self.replica.map()),
            false => vec![TierFrame::View(self.replica.view().clone())],
        };
        let hello = self.myself();
        let buffer = self.link_buffer(link);
        [hello].iter().chain(&frames).for_each(|frame| frame.encode_into(buffer));
        self.engine_links.insert(engine, link);
        tracing::info!(%engine, name, "an engine is linked");
        words.push_back(Word::Replica(replica::Input::EngineUp { engine }));
        words.push_back(Word::Gate(GateInput::EngineUp { engine, dictionary }));
    }

    fn link_buffer(&mut self, link: u64) -> &mut BytesMut {
        let link = self.engines.get_mut(&link).expect("the caller found it");
        link.outbox.buffer()
    }

    /// How this process says hello.
    fn myself(&self) -> TierFrame {
        let own = || Myself {
            replica: self.replica.id(),
            partition: self.replica.view().partition,
            name: String::new(),
        };
        let shared = self.shared.as_ref().map(|shared| shared.peers.myself().clone());
        shared.unwrap_or_else(own).hello()
    }

    fn lose_engine(&mut self, link: u64, words: &mut VecDeque<Word>) {
        let Some(EngineLink { outbox: _, from: Some(Dialler::Engine(engine)) }) =
            self.engines.remove(&link)
        else {
            return;
        };
        self.engine_links.remove(&engine);
        tracing::warn!(%engine, "an engine is lost");
        words.push_back(Word::Replica(replica::Input::EngineDown { engine }));
        words.push_back(Word::Gate(GateInput::EngineDown { engine }));
    }

    pub(super) fn flush(&mut self, words: &mut VecDeque<Word>) {
        let mut broken = Vec::new();
        for (number, link) in &mut self.engines {
            if link.outbox.flush().is_err() {
                broken.push(*number);
            }
        }
        for link in broken {
            self.lose_engine(link, words);
        }
        let lost = self.shared.as_mut().map(|shared| shared.peers.flush()).unwrap_or_default();
        for (replica, news) in lost {
            words.extend(link_news(replica, &news).map(Word::Gate));
            words.push_back(Word::Replica(replica::Input::Peer { replica, news }));
        }
        self.sites.flush(words);
    }
}

/// What the gate hears of a link between two processes of the site.
fn link_news(replica: ReplicaId, news: &PeerNews) -> Option<GateInput> {
    match news {
        PeerNews::Up => Some(GateInput::ReplicaUp { replica }),
        PeerNews::Down | PeerNews::Gone { .. } => Some(GateInput::ReplicaDown { replica }),
        PeerNews::Said(_) => None,
    }
}

/// Who is where, and who serves what.
fn map_frames(map: &SiteMap) -> Vec<TierFrame> {
    let views = map.partitions.iter().filter(|view| !view.members.is_empty());
    let seats = TierFrame::Seats(map.seats.clone());
    std::iter::once(seats).chain(views.cloned().map(TierFrame::View)).collect()
}
