//! Storms: peers that say anything in any order, from a seed, on the bench of the flows.
//!
//! Nothing is compared with a script. What must hold: no step panics, what is printed parses, a
//! deadline that fires moves on, an encoded call decodes to what it was, and once the peers fall
//! silent the call ends by itself.

use crate::bench::{Bench, Carrying};

/// A generator of numbers that differ little from chance and not at all from run to run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap_or(0) % sides
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }
}

const REQUESTS: [&str; 12] = [
    "ACK", "ACK", "ACK", "CANCEL", "BYE", "INFO", "UPDATE", "INVITE", "INVITE", "OPTIONS", "WINK",
    "PRACK",
];
const ANSWERS: [&str; 16] = [
    "100", "180", "183", "200", "200", "200", "200", "200", "302", "408", "422", "481", "486",
    "487", "491", "503",
];
const OPTIONS: [&str; 20] = [
    "",
    "",
    "",
    "",
    "",
    "",
    "sdp=1",
    "sdp=2",
    "cseq=1",
    "cseq=2",
    "cseq=400",
    "branch=b1",
    "branch=b2",
    "branch=b3",
    "rawbranch=7",
    "rr=proxy",
    "mf=0",
    "new",
    "sdp=18446744073709551615",
    "tag=",
];
const HEADERS: [&str; 18] = [
    "",
    "",
    "",
    "",
    " | Session-Expires: 90;refresher=uac | Supported: timer",
    " | Session-Expires: 1000;refresher=uas | Require: timer",
    " | Session-Expires: 3",
    " | Allow: INVITE, UPDATE, ACK, BYE",
    " | Min-SE: 4000000000",
    " | Require: none-such",
    " | Record-Route: <nonsense, <sip:192.0.2.9;lr>",
    " | Record-Route: <sip:192.0.2.9;lr>, <sip:elsewhere.example>",
    " | Contact: <tel:+15550100>",
    " | Contact: *",
    " | Session-Expires: soon | Min-SE: never",
    " | Allow: | Supported: ,,timer | Session-Expires: 0",
    " | Route: <sip:edge.example;lr> | Via: SIP/2.0/UDP 192.0.2.77;branch=z9hG4bKfar",
    " | Reason: SIP;cause=200 | X-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

fn line(dice: &mut Dice) -> String {
    let who = dice.pick(&["alice", "alice", "alice", "bob", "bob", "bob", "carol"]);
    match dice.roll(12) {
        0..=3 => {
            let method = dice.pick(&REQUESTS);
            let (one, two) = (dice.pick(&OPTIONS), dice.pick(&OPTIONS));
            format!("{who} {method} bob {one} {two}{}", dice.pick(&HEADERS))
        }
        4..=8 => {
            let code = dice.pick(&ANSWERS);
            let to = dice.pick(&["", "", "to=INVITE", "to=INVITE", "to=CANCEL", "to=BYE"]);
            let of = if who == "carol" { "of=bob" } else { "" };
            let tag = dice.pick(&["", "", "", "tag=other"]);
            let (one, headers) = (dice.pick(&OPTIONS), dice.pick(&HEADERS));
            format!("{who} {code} {to} {of} {tag} {one}{headers}")
        }
        9..=10 => format!("after {}", dice.pick(&["1ms", "400ms", "3s", "17s", "40s", "20m"])),
        _ => dice.pick(&["cross", "cross", "activate", "activate after=70s"]).into(),
    }
}

fn rage(seed: u64, carrying: Carrying) {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut bench = Bench::new(carrying);
    let mut said = vec!["alice INVITE bob branch=b1 sdp=1".to_owned()];
    if dice.roll(3) > 0 {
        // Most storms that begin with an INVITE end before an answer.
        let answered = ["bob 180 Ringing", "bob 200 OK sdp=1", "alice ACK"];
        said.extend(answered.map(str::to_owned));
    }
    said.extend((0..30).map(|_| line(&mut dice)));
    said.push("after 300m".to_owned());
    for (index, line) in said.iter().enumerate() {
        let run = std::panic::AssertUnwindSafe(|| bench.run(line));
        let Ok(told) = std::panic::catch_unwind(run) else {
            panic!("seed {seed}, line {index} panicked:\n{}", said[..=index].join("\n"));
        };
        assert!(told.len() < 5000, "seed {seed} talks without an end:\n{}", said.join("\n"));
    }
    assert!(bench.is_over(), "seed {seed} never ends:\n{}", said.join("\n"));
}

#[test]
fn any_order_of_events_ends() {
    for seed in 0..400 {
        rage(seed, Carrying::InPlace);
    }
}

#[test]
fn any_order_of_events_ends_across_encodings() {
    for seed in 400..600 {
        rage(seed, Carrying::Encoded);
    }
}
