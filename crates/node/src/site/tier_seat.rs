//! The replica and the gate of a process, with the links and the disk that are theirs.

use std::collections::{BTreeMap, VecDeque};

use replica::gate::{Gate, GateInput, GateOutput};
use replica::{Replica, SiteInput};
use tier_protocol::frame::{SiteFrame, TierFrame};
use tier_protocol::{Command, PROTOCOL_VERSION, PartitionView, Record, Reply, SiteState, SiteWord};
use vocab::{CallKey, EngineId, Instant, SiteId, ViewNumber};

use super::Word;
use crate::link::{LinkId, LinkWord, Outbox};
use crate::queue::{Order, Queue};
use crate::setting::PARTITION;

/// Replica, gate and queue of a site.
pub(crate) struct TierSeat {
    pub(crate) replica: Replica,
    pub(crate) gate: Gate,
    queue: Queue,
    view: PartitionView,
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
    /// Answer to the last `Get`, which only [`Self::record`] asks.
    got: Option<Record>,
}

struct EngineLink {
    outbox: Outbox,
    /// Known once it said Hello.
    engine: Option<EngineId>,
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
        view: PartitionView,
        own_engine: Option<EngineId>,
        peers: Vec<SiteId>,
    ) -> Self {
        Self {
            replica,
            gate,
            queue,
            view,
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
            got: None,
        }
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
        self.view.number
    }

    /// Reads one record, without its lock.
    pub(super) fn record(
        &mut self,
        now: Instant,
        key: CallKey,
        words: &mut VecDeque<Word>,
    ) -> Option<Record> {
        let (engine, view) = (self.any_engine()?, self.view.number);
        let command = Command::Get { view, key, turn: 0 };
        self.got = None;
        self.run_replica(now, replica::Input::Command { engine, command }, words);
        self.got.take()
    }

    pub(super) fn run_replica(
        &mut self,
        now: Instant,
        input: replica::Input,
        words: &mut VecDeque<Word>,
    ) {
        self.replica.handle_input(now, input);
        loop {
            match self.replica.poll_output() {
                replica::Output::Reply { reply: Reply::Got { record, .. }, .. } => {
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
                replica::Output::Peer { .. }
                | replica::Output::Store(_)
                | replica::Output::Database(_)
                | replica::Output::Map(_)
                | replica::Output::Expelled => {}
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

    /// Of a link that an engine dialled.
    pub(super) fn take_engine_link(
        &mut self,
        link: u64,
        word: LinkWord<TierFrame>,
        words: &mut VecDeque<Word>,
    ) {
        match word {
            LinkWord::Up(outbox) => {
                self.engines.insert(link, EngineLink { outbox, engine: None });
            }
            LinkWord::Frame(frame) => self.take_engine_word(link, frame, words),
            LinkWord::Writable => {
                if let Some(link) = self.engines.get_mut(&link) {
                    link.outbox.note_writable();
                }
            }
            LinkWord::Down => self.lose_engine(link, words),
        }
    }

    fn take_engine_word(&mut self, link: u64, frame: TierFrame, words: &mut VecDeque<Word>) {
        let Some(known) = self.engines.get(&link) else { return };
        match (known.engine, frame) {
            (None, TierFrame::Hello { role, name, version }) if version == PROTOCOL_VERSION => {
                self.admit_engine(link, role, &name, words);
            }
            (Some(engine), TierFrame::Command { partition: _, command }) => {
                words.push_back(Word::Replica(replica::Input::Command { engine, command }));
            }
            (Some(engine), TierFrame::Engine(word)) => {
                words.push_back(Word::Gate(GateInput::FromEngine { engine, word }));
            }
            (None, TierFrame::Hello { version, .. }) => {
                tracing::warn!(link, version, "an engine speaks another version of the protocol");
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
        engine: EngineId,
        name: &str,
        words: &mut VecDeque<Word>,
    ) {
        if let Some(before) = self.engine_links.get(&engine).copied() {
            self.lose_engine(before, words);
        }
        let Some(known) = self.engines.get_mut(&link) else { return };
        known.engine = Some(engine);
        // Its picture of the partition comes before any word that depends on it.
        TierFrame::View(self.view.clone()).encode_into(known.outbox.buffer());
        self.engine_links.insert(engine, link);
        tracing::info!(%engine, name, "an engine is linked");
        words.push_back(Word::Replica(replica::Input::EngineUp { engine }));
        words.push_back(Word::Gate(GateInput::EngineUp { engine }));
    }

    fn lose_engine(&mut self, link: u64, words: &mut VecDeque<Word>) {
        let Some(EngineLink { outbox: _, engine: Some(engine) }) = self.engines.remove(&link)
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
            },
            LinkId::FromSite(link) => match word {
                LinkWord::Up(outbox) => {
                    self.from_sites.insert(link, SiteLink { _open: outbox, site: None });
                }
                LinkWord::Frame(SiteFrame(word)) => self.take_site_word(link, word, words),
                LinkWord::Writable => {}
                LinkWord::Down => {
                    self.from_sites.remove(&link);
                }
            },
            LinkId::Engine(_) | LinkId::State => {
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
