//! Any sequence of inputs: no step panics, the encoded twin decides alike, bounds hold, and once
//! everybody falls silent the call ends.

use proptest::prelude::*;
use sip_message::{HeaderName, Method};

use super::*;

#[derive(Clone, Debug)]
enum Move {
    Invite,
    Cancel,
    Answer { which: usize, status: u16, fork: u8 },
    Alice { method: usize, cseq: u32 },
    Bob { method: usize, cseq: u32 },
    Repeat { which: usize },
    Wait { millis: u64 },
    Activate,
    Due,
}

const METHODS: [Method; 6] =
    [Method::Bye, Method::Ack, Method::Invite, Method::Update, Method::Info, Method::Cancel];
const STATUSES: [u16; 12] = [100, 180, 183, 200, 200, 200, 302, 408, 422, 481, 486, 491];

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        2 => Just(Move::Invite),
        1 => Just(Move::Cancel),
        6 => (any::<usize>(), 0..STATUSES.len(), 0..3_u8).prop_map(|(which, status, fork)| {
            Move::Answer { which, status: STATUSES[status], fork }
        }),
        4 => (0..METHODS.len(), 0..9_u32).prop_map(|(method, cseq)| Move::Alice { method, cseq }),
        3 => (0..METHODS.len(), 0..9_u32).prop_map(|(method, cseq)| Move::Bob { method, cseq }),
        2 => any::<usize>().prop_map(|which| Move::Repeat { which }),
        3 => (0..2_000_000_u64).prop_map(|millis| Move::Wait { millis }),
        1 => Just(Move::Activate),
        1 => Just(Move::Due),
    ];
    proptest::collection::vec(one, 1..40)
}

/// An input that may come again.
#[derive(Clone)]
enum Kept {
    Request(Request),
    Response(Response),
    Activate,
    Due,
}

/// What the two phones have seen and may answer or repeat.
struct Seen {
    world: World,
    requests: Vec<Request>,
    tags: Vec<Bytes>,
    inputs: Vec<Kept>,
}

impl Seen {
    fn input(&mut self, kept: Kept) {
        let source = Source { addr: ALICE.parse().expect("an address") };
        let sent = self.world.input(match &kept {
            Kept::Request(request) => Input::Request { request, source },
            Kept::Response(response) => Input::Response { response, source },
            Kept::Activate => Input::Activate,
            Kept::Due => Input::Due,
        });
        self.inputs.push(kept);
        self.note(&sent);
    }

    fn note(&mut self, sent: &[Sent]) {
        self.requests.extend(requests(sent));
        for response in responses(sent) {
            self.tags.extend(response.headers.to().expect("a To").tag().cloned());
        }
        let world = &self.world;
        let limits = &world.setting.limits;
        // One request may add two transactions and an ending two more.
        assert!(world.call.local.transactions() <= limits.transactions_max + 8);
        assert!(world.call.crossing.legs.len() <= limits.legs_max);
        assert!(world.call.next_deadline().is_none_or(|at| at > Instant(0)));
    }

    fn take(&mut self, step: &Move) {
        match *step {
            Move::Invite => {
                self.world.cseq += 1;
                let request = self.world.invite();
                self.input(Kept::Request(request));
            }
            Move::Cancel => {
                if self.world.invite.is_some() {
                    let request = self.world.cancel();
                    self.input(Kept::Request(request));
                }
            }
            Move::Answer { which, status, fork } => {
                if self.requests.is_empty() {
                    return;
                }
                let request = &self.requests[which % self.requests.len()];
                let mut response = match status {
                    200 => ok(request),
                    status => tagged(request, status, &format!("bob{fork}")),
                };
                response.headers.push(HeaderName::MinSe, (fork as u32 * 1000).to_string());
                self.input(Kept::Response(response));
            }
            Move::Alice { method, cseq } => {
                let mut request = self.world.plain(METHODS[method].clone(), "sip:198.51.100.1");
                let tag = self.tags.last().map(|tag| String::from_utf8_lossy(tag).into_owned());
                let to = format!("<sip:bob@example.com>;tag={}", tag.unwrap_or("x".into()));
                request.headers.set(HeaderName::To, to);
                let number = self.world.cseq + cseq;
                request.headers.set(HeaderName::CSeq, format!("{number} {}", METHODS[method]));
                self.input(Kept::Request(request));
            }
            Move::Bob { method, cseq } => {
                let invite = self.requests.iter().rfind(|r| r.method == Method::Invite).cloned();
                if let Some(invite) = invite {
                    let request = self.world.bobs(METHODS[method].clone(), cseq, &invite);
                    self.input(Kept::Request(request));
                }
            }
            Move::Repeat { which } => {
                if !self.inputs.is_empty() {
                    let again = self.inputs[which % self.inputs.len()].clone();
                    self.input(again);
                }
            }
            Move::Wait { millis } => {
                let sent = self.world.after(Duration::from_millis(millis));
                self.note(&sent);
            }
            Move::Activate => self.input(Kept::Activate),
            Move::Due => self.input(Kept::Due),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_sequence_of_inputs_breaks_a_call(moves in moves()) {
        let world = World::new();
        let (requests, tags, inputs) = (Vec::new(), Vec::new(), Vec::new());
        let mut seen = Seen { world, requests, tags, inputs };
        for step in &moves {
            seen.take(step);
        }
        // Everybody falls silent: session timers and transactions run out.
        let _ = seen.world.after(secs(20_000));
        prop_assert!(seen.world.call.is_over(), "{:#?}", seen.world.call);
    }
}
