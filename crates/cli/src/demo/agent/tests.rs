//! A caller and a callee back to back, without a site between them, in time that stands still.

use super::*;

const RUN: u64 = 7;

struct World {
    caller: Agent,
    callee: Agent,
    now: Instant,
    /// The next datagrams that are lost.
    lose: u32,
}

fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

impl World {
    /// The callee is the caller's edge, and the other way round.
    fn new() -> Self {
        Self {
            caller: Agent::new(Side::Caller, addr(1), addr(2), RUN),
            callee: Agent::new(Side::Callee, addr(2), addr(1), RUN),
            now: Instant::now(),
            lose: 0,
        }
    }

    fn deliver(&mut self) {
        loop {
            let mut sent = self.caller.take_outputs();
            sent.extend(self.callee.take_outputs());
            if sent.is_empty() {
                return;
            }
            for (to, bytes) in sent {
                if self.lose > 0 {
                    self.lose -= 1;
                } else if to == addr(1) {
                    self.caller.receive(self.now, addr(2), &bytes);
                } else {
                    assert_eq!(to, addr(2));
                    self.callee.receive(self.now, addr(1), &bytes);
                }
            }
        }
    }

    fn pass(&mut self, duration: Duration) {
        let until = self.now + duration;
        while self.now < until {
            self.now += Duration::from_millis(10);
            self.caller.tick(self.now);
            self.callee.tick(self.now);
            self.deliver();
        }
    }

    fn call(&mut self, call: u32) {
        self.caller.invite(self.now, call);
        self.deliver();
        self.pass(Duration::from_millis(100));
    }

    fn facts(&self, call: u32) -> [&Facts; 2] {
        [&self.caller, &self.callee].map(|agent| agent.facts(call).expect("the call is known"))
    }
}

#[test]
fn a_call_is_answered_changed_and_ended_from_either_side() {
    let mut world = World::new();
    for call in 0..4 {
        world.call(call);
        assert!(world.facts(call).iter().all(|facts| facts.answered_at.is_some()));
        let agent = if call % 2 == 0 { &mut world.caller } else { &mut world.callee };
        agent.reinvite(world.now, call);
        world.deliver();
        let agent = if call < 2 { &mut world.caller } else { &mut world.callee };
        agent.bye(world.now, call);
        world.deliver();
        let [caller, callee] = world.facts(call);
        assert_eq!(caller.relayed + callee.relayed, 1);
        assert_eq!(caller.byes + callee.byes, 1);
        let overs = [caller.over, callee.over];
        assert!(overs.contains(&Some(Over::HungUp(Some(200)))), "{overs:?}");
        assert!(overs.contains(&Some(Over::PeerHungUp)), "{overs:?}");
        assert!(caller.refreshed_at.is_empty() && callee.refreshed_at.is_empty());
        assert_eq!(caller.cseq_back + callee.cseq_back, 0);
    }
    assert!(!world.caller.is_asking() && !world.callee.is_asking());
    assert_eq!((world.caller.strays, world.callee.strays), (0, 0));
}

#[test]
fn every_single_loss_is_made_good() {
    for lost in 0..6 {
        let mut world = World::new();
        world.caller.invite(world.now, 1);
        // Lets `lost` datagrams through, then loses one.
        for _ in 0..lost {
            world.step_one();
        }
        world.lose = 1;
        world.pass(Duration::from_secs(5));
        assert!(world.facts(1).iter().all(|facts| facts.answered_at.is_some()), "{lost}");
        world.lose = 1;
        world.caller.reinvite(world.now, 1);
        world.pass(Duration::from_secs(5));
        world.lose = 1;
        world.callee.bye(world.now, 1);
        world.pass(Duration::from_secs(5));
        let [caller, callee] = world.facts(1);
        assert_eq!(caller.over, Some(Over::PeerHungUp));
        assert_eq!(callee.over, Some(Over::HungUp(Some(200))));
        assert_eq!((callee.relayed, caller.byes, caller.no_ack + callee.no_ack), (1, 1, 0));
    }
}

impl World {
    fn step_one(&mut self) {
        self.now += Duration::from_millis(60);
        self.caller.tick(self.now);
        self.callee.tick(self.now);
        self.deliver();
    }
}

#[test]
fn silence_is_noted_after_64_t1() {
    let mut world = World::new();
    world.call(1);
    world.lose = u32::MAX;
    world.caller.bye(world.now, 1);
    world.pass(GIVE_UP + Duration::from_secs(1));
    assert_eq!(world.facts(1)[0].over, Some(Over::HungUp(None)));
    let outcome = world.facts(1)[0].outcomes.last().expect("a BYE");
    assert!(outcome.took >= GIVE_UP && outcome.status.is_none() && outcome.in_dialog);
}

#[test]
fn a_bye_of_a_call_that_nobody_knows_is_refused() {
    let mut world = World::new();
    world.call(1);
    world.callee.dialogs.clear();
    world.callee.by_call_id.clear();
    world.caller.bye(world.now, 1);
    world.deliver();
    assert_eq!(world.facts_of_caller(1).over, Some(Over::HungUp(Some(481))));
}

impl World {
    fn facts_of_caller(&self, call: u32) -> &Facts {
        self.caller.facts(call).expect("the caller knows its calls")
    }
}

/// A site's own UPDATE, and a CSeq number that goes back.
#[test]
fn refreshes_are_told_from_repetitions_and_disorder() {
    let mut world = World::new();
    world.call(1);
    let update = |cseq: u32, branch: u32| {
        let dialog = &world.callee.dialogs[&1];
        Bytes::from(format!(
            "UPDATE sip:caller-1@127.0.0.1:1 SIP/2.0\r\nMax-Forwards: 70\r\n\
             Via: SIP/2.0/UDP 127.0.0.1:2;branch=z9hG4bK{branch}\r\n\
             From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} UPDATE\r\n\r\n",
            String::from_utf8_lossy(&dialog.local),
            String::from_utf8_lossy(&dialog.remote),
            String::from_utf8_lossy(&dialog.call_id),
        ))
    };
    let updates = [update(65, 1), update(65, 1), update(66, 2), update(3, 3)];
    let mut statuses = Vec::new();
    for bytes in updates {
        world.caller.receive(world.now, addr(2), &bytes);
        for (_, answer) in world.caller.take_outputs() {
            statuses.push(String::from_utf8_lossy(&answer[8..11]).into_owned());
        }
    }
    assert_eq!(statuses, ["200", "200", "200", "500"]);
    let facts = world.facts_of_caller(1);
    assert_eq!((facts.refreshed_at.len(), facts.cseq_back), (2, 1));
}
