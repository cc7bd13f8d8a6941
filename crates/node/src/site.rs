//! The owner of a site's cores in this process: engine, replica and gate, whichever the role has.
//!
//! One turn: take what came, let every core that was told something speak until all are quiet,
//! send. Between cores of this process words move by a queue in memory; to others, by links. No
//! decision is taken here.

mod answers;
mod database;
pub(crate) mod partitions;
mod peers;
mod quarantine;
mod shared;
mod site_links;
pub(crate) mod steer;
mod tier_seat;
mod uplinks;

use std::collections::VecDeque;

use call::Destination;
use engine::Engine;
use replica::gate::GateInput;
use tier_protocol::frame::TierFrame;
use tier_protocol::{GateWord, SiteState, dictionary};
use vocab::{EngineId, Instant};

use crate::accounting::Ledger;
use crate::clock::Clock;
use crate::config::Config;
use crate::edge::SipDoor;
use crate::event::Event;
use crate::link::LinkId;
use crate::names::Names;

pub(crate) use peers::{Myself, Peers};
pub(crate) use shared::{Shared, new_replica_id};
pub(crate) use site_links::SiteLinks;
pub(crate) use tier_seat::TierSeat;
use uplinks::News;
pub(crate) use uplinks::Uplinks;

/// A word on its way to a core of this process.
pub(crate) enum Word {
    Engine(engine::Input),
    Replica(replica::Input),
    Gate(GateInput),
}

/// An engine of this process.
pub(crate) struct EngineSeat {
    pub(crate) core: Engine,
    pub(crate) id: EngineId,
    pub(crate) name: String,
    pub(crate) door: SipDoor,
    pub(crate) names: Names,
    /// Where calls that ended are written down.
    pub(crate) ledger: Option<Ledger>,
    /// The gate said that this site serves, and the tier can be reached.
    pub(crate) is_serving: bool,
    pub(crate) transmitted: u64,
    wake_at: Instant,
}

impl EngineSeat {
    pub(crate) fn new(
        core: Engine,
        id: EngineId,
        name: String,
        door: SipDoor,
        names: Names,
        ledger: Option<Ledger>,
    ) -> Self {
        Self {
            core,
            id,
            name,
            door,
            names,
            ledger,
            is_serving: false,
            transmitted: 0,
            wake_at: Instant::NEVER,
        }
    }
}

/// The cores of one process and all that they are connected to.
pub(crate) struct Site {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) start: u64,
    pub(crate) engine: Option<EngineSeat>,
    pub(crate) tier: Option<TierSeat>,
    /// The links to the state tier, where that is other processes.
    pub(crate) uplinks: Option<Uplinks>,
    words: VecDeque<Word>,
    was_serving: bool,
    is_draining: bool,
}

impl Site {
    pub(crate) fn new(
        config: Config,
        clock: Clock,
        start: u64,
        engine: Option<EngineSeat>,
        tier: Option<TierSeat>,
        uplinks: Option<Uplinks>,
    ) -> Self {
        Self {
            config,
            clock,
            start,
            engine,
            tier,
            uplinks,
            words: VecDeque::new(),
            was_serving: false,
            is_draining: false,
        }
    }

    /// What every process says to its cores before anything else.
    pub(crate) fn begin(&mut self) {
        let engine = self.engine.as_ref().map(|seat| seat.id);
        if self.tier.is_some() {
            // Its first words say when it wants to be woken; the queue's may come late.
            self.words.push_back(Word::Gate(GateInput::Wake));
            if let Some(engine) = engine {
                let dictionary = dictionary::NEWEST;
                self.words.push_back(Word::Replica(replica::Input::EngineUp { engine }));
                self.words.push_back(Word::Gate(GateInput::EngineUp { engine, dictionary }));
            }
        }
        let now = self.clock.now();
        self.run(now);
        self.flush();
    }

    /// Completes when datagrams wait; never for a process without SIP.
    pub(crate) async fn datagrams(&self) {
        match &self.engine {
            Some(seat) => seat.door.ready().await,
            None => std::future::pending().await,
        }
    }

    /// Takes datagrams that wait; says how many.
    pub(crate) fn receive(&mut self, now: Instant) -> usize {
        let Some(seat) = &mut self.engine else { return 0 };
        let words = &mut self.words;
        let serving = seat.is_serving && !self.is_draining;
        seat.door.receive(now, serving, |input| words.push_back(Word::Engine(input)))
    }

    /// When a core wants to be woken.
    pub(crate) fn wake_at(&self) -> Instant {
        let engine = self.engine.as_ref().map_or(Instant::NEVER, |seat| seat.wake_at);
        let tier = self.tier.as_ref().map_or(Instant::NEVER, TierSeat::wake_at);
        let uplinks = self.uplinks.as_ref().map_or(Instant::NEVER, Uplinks::wake_at);
        engine.min(tier).min(uplinks)
    }

    /// Wakes the cores whose moment has come, and lets all speak until they are quiet.
    pub(crate) fn turn(&mut self, now: Instant) {
        let silent = self.uplinks.as_mut().map(|uplinks| uplinks.ping(now)).unwrap_or_default();
        silent.into_iter().for_each(|news| self.take_uplink_news(news));
        if self.engine.as_ref().is_some_and(|seat| seat.wake_at <= now) {
            self.words.push_back(Word::Engine(engine::Input::Wake));
        }
        if let Some(seat) = &self.tier {
            seat.wake(now, &mut self.words);
        }
        self.run(now);
        self.flush();
        self.tell_serving();
    }

    fn run(&mut self, now: Instant) {
        while let Some(word) = self.words.pop_front() {
            match word {
                Word::Engine(input) => self.run_engine(now, input),
                Word::Replica(input) => {
                    if let Some(seat) = &mut self.tier {
                        seat.run_replica(now, input, &mut self.words);
                    }
                }
                Word::Gate(input) => {
                    if let Some(seat) = &mut self.tier {
                        seat.run_gate(now, input, &mut self.words);
                    }
                }
            }
        }
    }

    fn run_engine(&mut self, now: Instant, input: engine::Input) {
        let Some(seat) = &mut self.engine else { return };
        if let engine::Input::Gate(GateWord::Sites { here, .. }) = &input {
            seat.is_serving = *here == SiteState::Serving;
        }
        seat.core.handle_input(now, input);
        loop {
            match seat.core.poll_output() {
                engine::Output::Transmit { to, bytes } => {
                    let to = match to {
                        Destination::Addr(to) => Some(to),
                        Destination::Host { name, port } => {
                            seat.names.find(now, &name, port, &bytes)
                        }
                    };
                    if let Some(to) = to {
                        seat.transmitted += 1;
                        seat.door.transmit(now, to, bytes);
                    }
                }
                engine::Output::Account { account, epoch } => {
                    if let Some(ledger) = &seat.ledger {
                        ledger.write(&account, epoch, now);
                    }
                }
                engine::Output::Bounce { source, bytes, to } => {
                    seat.door.bounce(now, source, to, bytes);
                }
                engine::Output::Command { to, partition, command } => {
                    if self.tier.is_some() {
                        let input = replica::Input::Command { engine: seat.id, command };
                        self.words.push_back(Word::Replica(input));
                    } else if let Some(uplinks) = &mut self.uplinks {
                        uplinks.tell(to, &TierFrame::Command { partition, command });
                    }
                }
                engine::Output::Gate(word) => {
                    if self.tier.is_some() {
                        let input = GateInput::FromEngine { engine: seat.id, word };
                        self.words.push_back(Word::Gate(input));
                    } else if let Some(uplinks) = &mut self.uplinks {
                        uplinks.tell_gate(&TierFrame::Engine(word));
                    }
                }
                engine::Output::WakeAt(at, _) => {
                    seat.wake_at = at;
                    return;
                }
            }
        }
    }

    /// Carries an event to the cores. What it causes happens in the next [`Self::turn`].
    pub(crate) fn take(&mut self, now: Instant, event: Event) {
        match event {
            Event::Tier(LinkId::State(link), word) => {
                let news = self.uplinks.as_mut().and_then(|up| up.take(now, link, word));
                news.into_iter().for_each(|news| self.take_uplink_news(news));
            }
            Event::Tier(LinkId::Peer(replica), word) => {
                if let Some(seat) = &mut self.tier {
                    seat.take_peer_link(replica, word, &mut self.words);
                }
            }
            Event::Coordination(told) => {
                if let Some(seat) = &mut self.tier {
                    seat.take_told(told, &mut self.words);
                }
            }
            Event::Tier(LinkId::Engine(link), word) => {
                if let Some(seat) = &mut self.tier {
                    seat.take_engine_link(link, word, &mut self.words);
                }
            }
            Event::Site(link, word) => {
                if let Some(seat) = &mut self.tier {
                    seat.sites.take(link, word, &mut self.words);
                }
            }
            Event::Tier(LinkId::ToSite(..) | LinkId::FromSite(_), _) => {
                debug_assert!(false, "site links carry site frames");
            }
            Event::Queue(told) => {
                let input = self.tier.as_mut().and_then(|seat| seat.take_queue(told));
                self.words.extend(input.map(Word::Gate));
            }
            Event::Database(answer) => {
                let word = database::word_of(answer).map(replica::Input::Database);
                self.words.extend(word.map(Word::Replica));
            }
            Event::Resolved { name, found } => {
                if let Some(seat) = &mut self.engine {
                    for (to, bytes) in seat.names.note(now, name, found) {
                        seat.transmitted += 1;
                        seat.door.transmit(now, to, bytes);
                    }
                }
            }
            Event::Admin(ask, answer) => {
                let said = self.answer(now, ask);
                // A client that went away needs no answer.
                drop(answer.send(said));
            }
        }
    }

    fn take_uplink_news(&mut self, news: News) {
        let input = match news {
            News::Up(replica) => engine::Input::TierUp { replica },
            News::Down(replica) => {
                let any_up = self.uplinks.as_ref().is_some_and(Uplinks::any_up);
                if let Some(seat) = self.engine.as_mut().filter(|_| !any_up) {
                    seat.is_serving = false;
                }
                engine::Input::TierDown { replica }
            }
            News::Said(from, TierFrame::Reply { partition: _, view, reply }) => {
                engine::Input::Reply { from, view, reply }
            }
            News::Said(from, TierFrame::Gate(word)) => {
                // One that keeps the gate no more may not have heard of it.
                if self.uplinks.as_ref().and_then(Uplinks::gatekeeper) != Some(from) {
                    return;
                }
                engine::Input::Gate(word)
            }
            News::Said(_, TierFrame::View(view)) => {
                if let Some(uplinks) = &mut self.uplinks {
                    uplinks.note_view(&view);
                }
                engine::Input::NewView(view)
            }
            News::Said(from, TierFrame::Seats(seats)) => {
                let uplinks = self.uplinks.as_mut();
                let lost = uplinks.map(|uplinks| uplinks.note_seats(from, &seats));
                lost.into_iter().flatten().for_each(|news| self.take_uplink_news(news));
                return;
            }
            News::Said(
                replica,
                TierFrame::Hello { .. }
                | TierFrame::Command { .. }
                | TierFrame::Engine(_)
                | TierFrame::Replica { .. }
                | TierFrame::Peer(_)
                | TierFrame::Ping
                | TierFrame::Pong
                | TierFrame::ToPartition(_)
                | TierFrame::ToGate { .. },
            ) => {
                tracing::warn!(%replica, "the state tier sent a word that is not for engines");
                return;
            }
        };
        self.words.push_back(Word::Engine(input));
    }

    fn flush(&mut self) {
        if let Some(seat) = &mut self.engine {
            seat.door.flush();
        }
        let lost = self.uplinks.as_mut().map(Uplinks::flush).unwrap_or_default();
        lost.into_iter().for_each(|news| self.take_uplink_news(news));
        if let Some(seat) = &mut self.tier {
            seat.flush(&mut self.words);
        }
    }

    /// This process is about to end: balancers hear that it takes no traffic. What they send until
    /// they have heard is served like any other; without a balancer, calls that begin are refused.
    pub(crate) fn drain(&mut self) {
        self.is_draining = true;
        if self.engine.as_ref().is_some_and(|seat| !seat.door.is_framed()) {
            self.words.push_back(Word::Engine(engine::Input::Drain(true)));
        }
    }

    /// The process ends: others need not wait for its lease to lapse.
    pub(crate) async fn leave(self) {
        if let Some(coordination) = self.tier.and_then(TierSeat::into_coordination) {
            coordination.end().await;
        }
    }

    /// Whether words wait for the next turn: a link that broke while it was written to.
    pub(crate) fn has_words(&self) -> bool {
        !self.words.is_empty()
    }

    /// Says `ready` whenever this process begins to serve.
    fn tell_serving(&mut self) {
        let is_serving = match (&self.engine, &self.tier) {
            (Some(seat), _) => seat.is_serving,
            (None, Some(seat)) => seat.is_serving(),
            (None, None) => false,
        };
        if is_serving && !self.was_serving {
            tracing::info!(
                site = self.config.site.id,
                role = self.config.role.as_str(),
                start = self.start,
                "ready"
            );
        }
        self.was_serving = is_serving;
    }
}

#[cfg(test)]
mod tests;
