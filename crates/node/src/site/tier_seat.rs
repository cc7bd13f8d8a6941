//! The replica and the gate of a process, with the links and the disk that are theirs.

use std::collections::{BTreeMap, VecDeque};

use bytes::BytesMut;
use replica::gate::{Gate, GateInput, GateOutput};
use replica::{PeerNews, Replica, SiteInput};
use tier_protocol::frame::{SiteFrame, TierFrame};
use tier_protocol::{Command, PROTOCOL_VERSION, Record, Reply, SiteMap, SiteState, SiteWord};
use vocab::{CallKey, EngineId, Instant, ReplicaId, SiteId, ViewNumber};

use super::partitions::{conflicts, dropped_text};
use super::peers::Myself;
use super::shared::{Shared, new_replica_id};
use super::{Word, database};
use crate::coordination::{Coordination, Told};
use crate::database::Database;
use crate::link::{LinkId, LinkWord, Outbox};
use crate::queue::{self, Order, Queue};
use crate::setting::PARTITION;

/// Replica, gate and queue of a site.
pub(crate) struct TierSeat {
    pub(crate) replica: Replica,
    pub(crate) gate: Gate,
    queue: Queue,
    /// Why the queue cannot be used.
    queue_away: Option<String>,
    /// Where calls go that are steady for long.
    database: Option<Database>,
    /// Of a state process among several.
    shared: Option<Shared>,
    /// The engine of this very process, to which words go by function call.
    own_engine: Option<EngineId>,
    engines: BTreeMap<u64, EngineLink>,
    engine_links: BTreeMap<EngineId, u64>,
    to_sites: BTreeMap<SiteId, Outbox>,
    from_sites: BTreeMap<u64, SiteLink>,
    peers: Vec<SiteId>,
    /// What each other site last said of itself.
    site_states: BTreeMap<SiteId, SiteState>,
    is_serving: bool,
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

struct SiteLink {
    /// Nothing is sent by it; the link is open as long as it is held.
    _open: Outbox,
    /// Known once it said Hello.
    site: Option<SiteId>,
}

impl TierSeat {
    pub(crate) fn new(
        replica: Replica,
        gate: Gate,
        queue: Queue,
        shared: Option<Shared>,
        own_engine: Option<EngineId>,
        peers: Vec<SiteId>,
    ) -> Self {
        Self {
            replica,
            gate,
            queue,
            queue_away: None,
            database: None,
            shared,
            own_engine,
            engines: BTreeMap::new(),
            engine_links: BTreeMap::new(),
            to_sites: BTreeMap::new(),
            from_sites: BTreeMap::new(),
            peers,
            site_states: BTreeMap::new(),
            is_serving: false,
            replica_wake_at: Instant::NEVER,
            gate_wake_at: Instant::NEVER,
            asked: None,
            got: None,
            order_dropped: String::new(),
            conflicts: Vec::new(),
        }
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

    /// What the gate hears of an answer of the queue.
    pub(super) fn take_queue(&mut self, answer: queue::Answer) -> Option<GateInput> {
        match answer {
            queue::Answer::Loaded(held) => return Some(GateInput::QueueLoaded(held)),
            queue::Answer::Appended(row) => return Some(GateInput::QueueAppended { row }),
            queue::Answer::Refused(row) => return Some(GateInput::QueueRefused { row }),
            queue::Answer::Away { why } => self.queue_away = Some(why),
            queue::Answer::Back => self.queue_away = None,
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
        self.is_serving
    }

    /// What `site` last said of itself; it may be dead since.
    pub(crate) fn state_of(&self, site: SiteId) -> Option<SiteState> {
        self.site_states.get(&site).copied()
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
                replica::Output::Map(map) => self.tell_map(&map),
                replica::Output::Expelled => self.begin_again(now, words),
                replica::Output::Database(ask) => {
                    let database = self.database.as_ref();
                    let refused = database.and_then(|database| database::ask(database, ask));
                    words.extend(refused.map(|w| Word::Replica(replica::Input::Database(w))));
                }
                replica::Output::Gate(output) => {
                    let input = GateInput::FromReplica { partition: PARTITION, output };
                    words.push_back(Word::Gate(input));
                }
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
                GateOutput::ToSite { site, word } => {
                    if let Some(outbox) = self.to_sites.get_mut(&site) {
                        SiteFrame(word).encode_into(outbox.buffer());
                    }
                }
                GateOutput::ToEngine { engine, word } if Some(engine) == self.own_engine => {
                    words.push_back(Word::Engine(engine::Input::Gate(word)));
                }
                GateOutput::ToEngine { engine, word } => {
                    self.tell_engine(engine, &TierFrame::Gate(word));
                }
                GateOutput::ToReplica { partition: _, input } => {
                    if let SiteInput::Status { here, .. } = &input {
                        self.is_serving = *here == SiteState::Serving;
                    }
                    words.push_back(Word::Replica(replica::Input::Site(input)));
                }
                GateOutput::QueueAppend { batch } => self.queue.order(Order::Append(batch)),
                GateOutput::QueueRemove { row } => self.queue.order(Order::Remove(row)),
                GateOutput::QueueSetAside { row } => self.queue.order(Order::SetAside(row)),
                GateOutput::WakeAt(at, _) => {
                    self.gate_wake_at = at;
                    return;
                }
            }
        }
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

    /// Of a link between sites, dialled by either.
    pub(super) fn take_site_link(
        &mut self,
        link: LinkId,
        word: LinkWord<SiteFrame>,
        words: &mut VecDeque<Word>,
    ) {
        match link {
            LinkId::ToSite(site) => match word {
                LinkWord::Up(outbox) => {
                    self.to_sites.insert(site, outbox);
                    tracing::info!(site = site.0, "linked to a site");
                    words.push_back(Word::Gate(GateInput::LinkUp { site }));
                }
                LinkWord::Writable => {
                    if let Some(outbox) = self.to_sites.get_mut(&site) {
                        outbox.note_writable();
                    }
                }
                // The other site sends its words on a link that it dials itself.
                LinkWord::Frame(_) | LinkWord::Down => self.lose_site(site, words),
                LinkWord::Refused => {}
            },
            LinkId::FromSite(link) => match word {
                LinkWord::Up(outbox) => {
                    self.from_sites.insert(link, SiteLink { _open: outbox, site: None });
                }
                LinkWord::Frame(SiteFrame(word)) => self.take_site_word(link, word, words),
                LinkWord::Writable | LinkWord::Refused => {}
                LinkWord::Down => {
                    self.from_sites.remove(&link);
                }
            },
            LinkId::Engine(_) | LinkId::State(_) | LinkId::Peer(_) => {
                debug_assert!(false, "tier links carry tier frames");
            }
        }
    }

    fn take_site_word(&mut self, link: u64, word: SiteWord, words: &mut VecDeque<Word>) {
        let Some(known) = self.from_sites.get_mut(&link) else { return };
        if let (None, SiteWord::Hello { site, .. }) = (known.site, &word) {
            known.site = Some(*site).filter(|site| self.peers.contains(site));
        }
        let Some(site) = known.site else {
            tracing::warn!(link, "a link of an unknown site is closed");
            self.from_sites.remove(&link);
            return;
        };
        if let SiteWord::Hello { state, .. } = &word {
            self.site_states.insert(site, *state);
        }
        words.push_back(Word::Gate(GateInput::FromSite { site, word }));
    }

    fn lose_site(&mut self, site: SiteId, words: &mut VecDeque<Word>) {
        if self.to_sites.remove(&site).is_some() {
            tracing::warn!(site = site.0, "the link to a site is lost");
            words.push_back(Word::Gate(GateInput::LinkDown { site }));
        }
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
            words.push_back(Word::Replica(replica::Input::Peer { replica, news }));
        }
        let mut broken = Vec::new();
        for (site, outbox) in &mut self.to_sites {
            if outbox.flush().is_err() {
                broken.push(*site);
            }
        }
        for site in broken {
            self.lose_site(site, words);
        }
    }
}

/// Who is where, and who serves what.
fn map_frames(map: &SiteMap) -> Vec<TierFrame> {
    let views = map.partitions.iter().filter(|view| !view.members.is_empty());
    let seats = TierFrame::Seats(map.seats.clone());
    std::iter::once(seats).chain(views.cloned().map(TierFrame::View)).collect()
}
