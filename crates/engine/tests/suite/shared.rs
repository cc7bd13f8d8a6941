//! One engine and a view of two replicas, whose words are written by hand.

use std::time::Duration;

use engine::{Config, Engine, Input, Limits, Output};
use tier_protocol::{Cause, Command, PartitionView, Reply};
use vocab::{EngineId, Instant, LockToken, ReplicaId, SiteId, ViewNumber};

use crate::ua::Ua;
use crate::world::{ALICE, PARTITION, b2bua, setting};

const ONE: ReplicaId = ReplicaId(1);
const TWO: ReplicaId = ReplicaId(2);
const VIEW: ViewNumber = ViewNumber(5);

struct Pair {
    engine: Engine,
    now: Instant,
}

impl Pair {
    fn new() -> Self {
        let now = Instant(1_000_000_000);
        let view =
            PartitionView { members: vec![ONE, TWO], ..PartitionView::alone(PARTITION, VIEW, ONE) };
        let config = Config {
            here: SiteId(1),
            engine: EngineId(1),
            start: 1,
            backup: None,
            views: vec![view],
            setting: setting(SiteId(1), vec![b2bua()]),
            limits: Limits::default(),
        };
        Self { engine: Engine::new(now, config), now }
    }

    /// The commands that come of an input, and to whom; datagrams are counted.
    fn input(&mut self, input: Input) -> (Vec<(ReplicaId, Command)>, usize) {
        self.engine.handle_input(self.now, input);
        let (mut commands, mut sent) = (Vec::new(), 0);
        loop {
            match self.engine.poll_output() {
                Output::WakeAt(..) => return (commands, sent),
                Output::Command { to, command, .. } => commands.push((to, command)),
                Output::Transmit { .. } => sent += 1,
                Output::Account { .. } | Output::Gate(_) | Output::Bounce { .. } => {}
            }
        }
    }

    fn reply(&mut self, from: ReplicaId, reply: Reply) -> (Vec<(ReplicaId, Command)>, usize) {
        self.input(Input::Reply { from, view: VIEW, reply })
    }
}

fn puts(commands: &[(ReplicaId, Command)]) -> Vec<ReplicaId> {
    let puts = commands.iter().filter(|(_, command)| matches!(command, Command::Put { .. }));
    puts.map(|(to, _)| *to).collect()
}

#[test]
fn a_put_is_said_again_to_whoever_does_not_answer() {
    let mut pair = Pair::new();
    let bytes = Ua::caller("alice", ALICE, "shared").request("INVITE");
    let (asked, _) = pair.input(Input::Datagram { source: ALICE, bytes, offered_by: None });
    let [(ONE, Command::LockAndGet { key, turn, .. })] = asked[..] else { panic!("{asked:?}") };
    let token = LockToken { view: VIEW, counter: 1 };
    let cause = Cause::Asked { turn };
    let (record, dormant, resume, floor) = (None, false, false, None);
    let granted = Reply::Granted { key, token, cause, record, dormant, resume, floor };
    let (put, sent) = pair.reply(ONE, granted);
    assert_eq!((puts(&put), sent), (vec![ONE, TWO], 0));
    let Command::Put { record, .. } = &put[0].1 else { panic!("{put:?}") };
    let stored = Reply::Stored { key, stamp: record.header.stamp };
    assert_eq!(pair.reply(ONE, stored.clone()).1, 0, "the other has yet to store it");
    // The other had no room for the put: it was being decided who serves.
    pair.now = pair.now + Duration::from_secs(1);
    assert_eq!(puts(&pair.input(Input::Wake).0), [TWO]);
    assert!(pair.reply(TWO, stored).1 > 0, "everybody has it");
}
