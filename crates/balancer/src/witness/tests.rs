//! When a witness probes, repeats, gives up and reports.

use vocab::{CallKey, Token, TokenKind};

use super::*;
use crate::scan::Scan;

const MS: u64 = 1_000_000;
const S1: SiteId = SiteId(1);
const S2: SiteId = SiteId(2);

fn secret() -> TokenSecret {
    TokenSecret::new(*b"0123456789abcdef0123456789ABCDEF")
}

fn at(last: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], port))
}

struct World {
    witness: Witness,
    now: Instant,
    /// Sites that answer after a moment.
    living: Vec<SiteId>,
    probes: Vec<(SocketAddr, String)>,
    reports: Vec<Report>,
}

impl World {
    fn new(living: &[SiteId]) -> Self {
        let config = Config {
            name: "w1".into(),
            life: 3,
            listen: at(5, 5070),
            targets: vec![(S1, vec![at(1, 5060), at(2, 5060)]), (S2, vec![at(3, 5060)])],
            report_to: vec![at(9, 6060)],
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(2),
            secret: secret(),
        };
        let now = Instant(1_000 * MS);
        let witness = Witness::new(now, config);
        let living = living.to_vec();
        let mut world = Self { witness, now, living, probes: Vec::new(), reports: Vec::new() };
        world.drain();
        world
    }

    fn drain(&mut self) {
        let mut answers = Vec::new();
        loop {
            match self.witness.poll_output() {
                Output::Send { to, bytes } if to == at(9, 6060) => {
                    match EdgeFrame::decode(&bytes, &secret()) {
                        Ok(EdgeFrame::Report(report)) => self.reports.push(report),
                        other => panic!("no report: {other:?}"),
                    }
                }
                Output::Send { to, bytes } => {
                    let text = String::from_utf8(bytes.to_vec()).expect("a probe is text");
                    let site = Scan::of(&bytes).token(&secret()).expect("it is aimed").site;
                    self.probes.push((to, text.clone()));
                    if self.living.contains(&site) {
                        answers.push(answer(&text, site));
                    }
                }
                Output::WakeAt(_) => break,
            }
        }
        for bytes in answers {
            self.now = self.now + Duration::from_millis(3);
            self.witness.handle_input(self.now, Input::Datagram { bytes });
            self.drain();
        }
    }

    fn pass(&mut self, ms: u64) {
        let until = Instant(self.now.0 + ms * MS);
        for wakes in 0.. {
            assert!(wakes < ms, "a busy loop");
            match self.witness.poll_output() {
                Output::WakeAt(wake_at) if wake_at <= until => {
                    self.now = self.now.max(wake_at);
                    self.witness.handle_input(self.now, Input::Wake);
                    self.drain();
                }
                Output::WakeAt(_) => break,
                other => panic!("not drained: {other:?}"),
            }
        }
        self.now = until;
    }

    fn seen(&self, site: SiteId) -> Seen {
        let picture = self.witness.picture(self.now);
        picture.into_iter().find(|seen| seen.site == site).expect("a target")
    }
}

fn answer(probe: &str, site: SiteId) -> Bytes {
    let line = |name: &str| probe.lines().find(|line| line.starts_with(name)).expect("it has it");
    let key = CallKey([1; 16]);
    let token = Token { key, site, kind: TokenKind::Tag, salt: 0, ordinal: 1 };
    let (via, to, call_id) = (line("Via"), line("To"), line("Call-ID"));
    let tag = secret().mint(&token);
    Bytes::from(format!("SIP/2.0 200 OK\r\n{via}\r\n{to};tag={tag}\r\n{call_id}\r\n\r\n"))
}

#[test]
fn every_site_is_probed_at_the_interval_and_told() {
    let mut world = World::new(&[S1, S2]);
    world.pass(9_500);
    assert_eq!((world.seen(S1).probes, world.seen(S1).missed), (10, 0));
    assert_eq!(world.seen(S1).answers, Some(true));
    assert_eq!(world.seen(S1).took, Some(Duration::from_millis(3)));
    assert_eq!(world.probes.len(), 20);
    let newest = world.reports.last().expect("it reports");
    assert_eq!(newest.sites, [(S1, true), (S2, true)]);
    assert!(newest.valid_for > Duration::from_secs(3));
    let grows = world.reports.windows(2).all(|two| two[0].number < two[1].number);
    assert!(grows && world.reports.len() >= 10, "{:?}", world.reports);
}

#[test]
fn a_silent_site_is_asked_again_at_its_other_address_and_missed() {
    let mut world = World::new(&[S2]);
    world.pass(1_990);
    assert_eq!(world.seen(S1).answers, None, "it has two seconds");
    let asked: Vec<_> = world.probes.iter().filter(|(to, _)| *to != at(3, 5060)).cloned().collect();
    let whom: Vec<_> = asked.iter().map(|(to, _)| *to).collect();
    assert_eq!(whom, [at(1, 5060), at(2, 5060), at(1, 5060)]);
    assert!(asked.iter().all(|(_, text)| *text == asked[0].1), "a repetition is the same bytes");
    world.pass(20);
    let seen = world.seen(S1);
    assert_eq!((seen.answers, seen.why.as_deref()), (Some(false), Some("no answer")));
    let newest = world.reports.last().expect("it reports at once");
    assert_eq!(newest.sites, [(S1, false), (S2, true)]);
    world.living.push(S1);
    world.pass(1_000);
    assert_eq!(world.seen(S1).answers, Some(true));
    assert_eq!(world.reports.last().expect("at once").sites, [(S1, true), (S2, true)]);
}

#[test]
fn an_answer_of_another_site_is_none() {
    let mut world = World::new(&[S2]);
    let probe = world.probes[0].1.clone();
    world.witness.handle_input(world.now, Input::Datagram { bytes: answer(&probe, S2) });
    world.drain();
    let seen = world.seen(S1);
    assert_eq!((seen.answers, seen.why.as_deref()), (Some(false), Some("site 2 answered 200")));
}
