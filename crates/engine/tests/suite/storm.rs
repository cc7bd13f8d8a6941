//! Random calls, repetitions, losses and deaths of engines, from seeds: nothing panics, every
//! message and every turn comes to an end, and so does every call.

use std::time::Duration;

use bytes::Bytes;
use engine::Limits;
use sip_message::{Message, Method, Request, Response};
use vocab::{EngineId, SiteId};

use crate::ua::Ua;
use crate::world::{ALICE, BOB, World, b2bua};

const SEEDS: u64 = 40;
const STEPS: usize = 120;

#[test]
fn every_storm_passes() {
    let (mut ended, mut resumed, mut cache_hits) = (0, 0, 0);
    for seed in 1..=SEEDS {
        let mut storm = Storm::new(seed);
        for _ in 0..STEPS {
            storm.step();
        }
        storm.calm();
        ended += storm.world.deletes.len();
        resumed += storm.world.count(|stats| stats.resumed);
        cache_hits += storm.world.count(|stats| stats.cache_hits);
    }
    // A storm in which nothing happens proves nothing.
    assert!(ended > 200 && resumed > 10 && cache_hits > 10, "{ended} {resumed} {cache_hits}");
}

struct Storm {
    seed: u64,
    random: u64,
    world: World,
    callers: Vec<Ua>,
    callees: Vec<(Ua, Request)>,
    /// Messages that were sent to the engines, for repetition.
    said: Vec<(std::net::SocketAddr, Bytes)>,
    last_engine: u64,
}

impl Storm {
    fn new(seed: u64) -> Self {
        let cache_calls_max = if seed.is_multiple_of(2) { 0 } else { 4 };
        let limits = Limits { cache_calls_max, ..Limits::default() };
        Self {
            seed,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            world: World::of_site(SiteId(1), limits, vec![b2bua()]),
            callers: Vec::new(),
            callees: Vec::new(),
            said: Vec::new(),
            last_engine: 2,
        }
    }

    /// The next of a xorshift sequence, below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random % bound as u64).expect("below a usize")
    }

    fn step(&mut self) {
        match self.below(12) {
            0 | 1 => {
                let name = format!("storm-{}-{}", self.seed, self.callers.len());
                let mut caller = Ua::caller("alice", ALICE, &name);
                let invite = caller.request("INVITE");
                self.callers.push(caller);
                self.say(ALICE, invite);
            }
            2..=4 => self.answer(),
            5 => self.ask_as_caller(),
            6 => self.ask_as_callee(),
            7 => {
                if !self.said.is_empty() {
                    let index = self.below(self.said.len());
                    let (from, bytes) = self.said[index].clone();
                    self.say(from, bytes);
                }
            }
            8 => {
                let engine = self.engine();
                self.world.dies_after_put = Some(EngineId(engine));
                let fresh = self.last_engine + 1;
                self.last_engine = fresh;
                self.world.add_engine(fresh);
            }
            _ => {
                let ms = self.below(1_500) as u64;
                self.world.advance(Duration::from_millis(ms));
            }
        }
        self.hear();
    }

    /// Some engine that is alive; there is always one.
    fn engine(&mut self) -> u64 {
        if self.world.engines.is_empty() {
            self.last_engine += 1;
            self.world.add_engine(self.last_engine);
        }
        let alive: Vec<u64> = self.world.engines.keys().map(|id| id.0).collect();
        alive[self.below(alive.len())]
    }

    fn say(&mut self, from: std::net::SocketAddr, bytes: Bytes) {
        let engine = self.engine();
        self.said.push((from, bytes.clone()));
        // One in eight is lost on the way.
        if self.below(8) > 0 {
            self.world.deliver(engine, from, bytes);
        }
    }

    fn answer(&mut self) {
        if self.callees.is_empty() {
            return;
        }
        let index = self.below(self.callees.len());
        let status = match self.below(6) {
            0 | 1 => 180,
            2 => 486,
            _ => 200,
        };
        let (callee, request) = &self.callees[index];
        let bytes = callee.answer(request, status);
        let from = callee.addr;
        self.say(from, bytes);
    }

    fn ask_as_caller(&mut self) {
        if self.callers.is_empty() {
            return;
        }
        let index = self.below(self.callers.len());
        let method = ["BYE", "INFO", "CANCEL", "ACK", "INVITE", "UPDATE"][self.below(6)];
        let caller = &mut self.callers[index];
        let bytes = match method {
            "CANCEL" => caller.cancel(),
            "ACK" => caller.ack(),
            _ => caller.request(method),
        };
        self.say(ALICE, bytes);
    }

    fn ask_as_callee(&mut self) {
        if self.callees.is_empty() {
            return;
        }
        let index = self.below(self.callees.len());
        let method = ["BYE", "INFO", "UPDATE"][self.below(3)];
        let (callee, _) = &mut self.callees[index];
        let bytes = callee.request(method);
        self.say(BOB, bytes);
    }

    fn hear(&mut self) {
        for (to, message) in std::mem::take(&mut self.world.sent) {
            match message {
                Message::Request(request) => self.hear_request(to, request),
                Message::Response(response) => self.hear_response(&response),
            }
        }
        assert_eq!(self.world.count(|stats| stats.panics), 0, "seed {}", self.seed);
        assert_eq!(self.world.count(|stats| stats.undecodable), 0, "seed {}", self.seed);
    }

    fn hear_request(&mut self, to: std::net::SocketAddr, request: Request) {
        let has_contact = matches!(request.headers.contact(), Ok(Some(_)));
        if request.method != Method::Ack && has_contact {
            self.callees.push((Ua::callee("bob", to, &request), request));
        }
        let half = self.callees.len().saturating_sub(20);
        self.callees.drain(..half);
    }

    fn hear_response(&mut self, response: &Response) {
        let call_id = response.headers.call_id().cloned().unwrap_or_default();
        let to_invite = response.headers.cseq().is_ok_and(|cseq| cseq.method == Method::Invite);
        if !response.status.is_success() || !to_invite {
            return;
        }
        let caller = self.callers.iter_mut().find(|ua| ua.call_id().as_bytes() == &call_id[..]);
        if let Some(caller) = caller {
            caller.learn(response);
            let ack = caller.ack();
            self.say(ALICE, ack);
        }
    }

    /// Nobody says anything any more: timers end every turn and every call.
    fn calm(&mut self) {
        self.engine();
        self.world.dies_after_put = None;
        self.world.advance(Duration::from_secs(2 * 3_600));
        let seed = self.seed;
        assert_eq!(self.world.count(|stats| stats.turns), 0, "seed {seed}");
        assert_eq!(self.world.count(|stats| stats.inputs), 0, "seed {seed}");
        assert_eq!(self.world.count(|stats| stats.inputs_bytes), 0, "seed {seed}");
        assert_eq!(self.world.count(|stats| stats.panics), 0, "seed {seed}");
        assert_eq!(self.world.calls(), 0, "seed {seed}: a call does not end");
    }
}
