//! Where datagrams go: by token, by policy, by health.

use vocab::{CallKey, EngineId, Token, TokenKind};

use super::*;
use crate::stats::Health;

const SITE1: SiteId = SiteId(1);
const SITE2: SiteId = SiteId(2);
const MS: u64 = 1_000_000;

/// A balancer before two sites of two engines, which answer pings unless they are dead.
struct World {
    balancer: Balancer,
    now: Instant,
    dead: Vec<SocketAddr>,
    not_serving: Vec<SocketAddr>,
    /// What every engine says of other sites.
    hears: Vec<(SiteId, bool)>,
    /// Orders to wake calls of the first at the second.
    ordered: Vec<(SiteId, SiteId)>,
}

fn secret() -> TokenSecret {
    TokenSecret::new(*b"0123456789abcdef0123456789ABCDEF")
}

fn engine(site: SiteId, ordinal: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, u8::try_from(site.0).expect("small"), 1], 7000 + ordinal))
}

fn caller() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 5060))
}

fn policy(version: u64, serves: [(SiteId, SiteId); 2], weights: [(SiteId, u32); 2]) -> Policy {
    Policy { version, serves: serves.into(), weights: weights.into() }
}

fn all_to(version: u64, site: SiteId) -> Policy {
    let weights = [(SITE1, u32::from(site == SITE1)), (SITE2, u32::from(site == SITE2))];
    policy(version, [(SITE1, site), (SITE2, site)], weights)
}

fn own(version: u64) -> Policy {
    policy(version, [(SITE1, SITE1), (SITE2, SITE2)], [(SITE1, 1), (SITE2, 0)])
}

/// What a test sees of an output.
#[derive(Debug, PartialEq, Eq)]
enum Sent {
    In(SiteId, Option<SiteId>),
    Out(SocketAddr, String),
}

impl World {
    fn new() -> Self {
        Self::with(health::Config::default())
    }

    fn with(health: health::Config) -> Self {
        let now = Instant(1_000_000 * MS);
        let sites = [SITE1, SITE2].map(|site| (site, vec![engine(site, 0), engine(site, 1)]));
        let mut config = Config::new(sites.into(), secret(), own(1));
        config.health = health;
        let mut world = Self {
            balancer: Balancer::new(now, config),
            now,
            dead: Vec::new(),
            not_serving: Vec::new(),
            hears: Vec::new(),
            ordered: Vec::new(),
        };
        world.drain();
        world
    }

    /// Answers pings, returns the rest and the engines it went to.
    fn drain(&mut self) -> Vec<(Sent, SocketAddr)> {
        let mut sent = Vec::new();
        loop {
            match self.balancer.poll_output() {
                Output::ToEngine { addr, bytes } => {
                    match EdgeFrame::decode(&bytes, &secret()).expect("a frame of ours") {
                        EdgeFrame::Ping { nonce } => self.answer_ping(addr, nonce),
                        EdgeFrame::Inbound { offered_by, source, .. } => {
                            assert_eq!(source, caller());
                            sent.push((Sent::In(site_of(addr), offered_by), addr));
                        }
                        other => panic!("not for an engine: {other:?}"),
                    }
                }
                Output::ToOutside { to, bytes } => {
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    sent.push((Sent::Out(to, text), to));
                }
                Output::Activate { home, at } => self.ordered.push((home, at)),
                Output::WakeAt(at, _) => {
                    assert!(at > self.now, "a wake in the past is a busy loop");
                    return sent;
                }
            }
        }
    }

    fn answer_ping(&mut self, addr: SocketAddr, nonce: u64) {
        if self.dead.contains(&addr) {
            return;
        }
        let serving = !self.not_serving.contains(&addr);
        let pong = EdgeFrame::Pong {
            nonce,
            engine: EngineId(addr.port().into()),
            serving,
            peers: self.hears.clone(),
        };
        let bytes = pong.encode(&secret());
        self.balancer.handle_input(self.now, Input::Engine { from: addr, bytes });
    }

    fn pass(&mut self, ms: u64) {
        let until = Instant(self.now.0 + ms * MS);
        loop {
            let at = match self.balancer.poll_output() {
                Output::WakeAt(at, _) => at,
                other => panic!("not drained: {other:?}"),
            };
            if at > until {
                break;
            }
            self.now = at;
            self.balancer.handle_input(at, Input::Wake);
            assert!(self.drain().is_empty());
        }
        self.now = until;
    }

    fn input(&mut self, input: Input) -> Vec<Sent> {
        self.balancer.handle_input(self.now, input);
        self.drain().into_iter().map(|(sent, _)| sent).collect()
    }

    fn outside(&mut self, text: &str) -> Vec<Sent> {
        self.input(Input::Outside { source: caller(), bytes: Bytes::from(text.to_owned()) })
    }

    fn set(&mut self, policy: Policy) {
        assert!(self.input(Input::SetPolicy(policy)).is_empty());
    }

    fn kill(&mut self, site: SiteId) {
        self.dead.extend([engine(site, 0), engine(site, 1)]);
        self.pass(1_000);
    }

    fn start(&mut self, site: SiteId) {
        self.dead.retain(|addr| site_of(*addr) != site);
        self.pass(200);
    }
}

fn site_of(addr: SocketAddr) -> SiteId {
    match addr.ip() {
        std::net::IpAddr::V4(ip) => SiteId(ip.octets()[2].into()),
        std::net::IpAddr::V6(_) => panic!("no such engine"),
    }
}

fn token(site: SiteId) -> String {
    secret().mint(&Token { key: CallKey([3; 16]), site, kind: TokenKind::Tag, salt: 5, ordinal: 1 })
}

fn request(method: &str, call: u32, to_tag: Option<&str>) -> String {
    let tag = to_tag.map(|tag| format!(";tag={tag}")).unwrap_or_default();
    format!(
        "{method} sip:b@x SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK{call}\r\n\
         From: <sip:a@x>;tag=1\r\n\
         To: <sip:b@x>{tag}\r\nCall-ID: {call}\r\nCSeq: 1 {method}\r\n\r\n"
    )
}

fn bye(site: SiteId) -> String {
    request("BYE", 1, Some(&token(site)))
}

#[test]
fn a_token_leads_to_the_site_that_serves_its_home() {
    let mut world = World::new();
    assert_eq!(world.outside(&bye(SITE2)), [Sent::In(SITE2, None)]);
    assert_eq!(world.outside(&bye(SITE1)), [Sent::In(SITE1, None)]);
    world.set(all_to(2, SITE2));
    assert_eq!(world.outside(&bye(SITE1)), [Sent::In(SITE2, None)]);
    world.set(own(3));
    assert_eq!(world.outside(&bye(SITE1)), [Sent::In(SITE1, None)]);
}

#[test]
fn a_response_goes_back_by_its_branch() {
    let mut world = World::new();
    let branch = token(SITE2);
    let response =
        format!("SIP/2.0 180 Ringing\r\nVia: SIP/2.0/UDP e;branch=z9hG4bK{branch}\r\n\r\n");
    assert_eq!(world.outside(&response), [Sent::In(SITE2, None)]);
    assert!(
        world.outside("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKq\r\n\r\n").is_empty()
    );
    assert_eq!(world.balancer.stats().drops.strange_responses, 1);
}

#[test]
fn engines_of_a_site_take_turns() {
    let mut world = World::new();
    let mut met = Vec::new();
    for _ in 0..4 {
        let bytes = Bytes::from(bye(SITE1));
        world.balancer.handle_input(world.now, Input::Outside { source: caller(), bytes });
        met.extend(world.drain().into_iter().map(|(_, addr)| addr));
    }
    assert_ne!(met[0], met[1]);
    assert_eq!(met[..2], met[2..]);
}

#[test]
fn nothing_goes_to_a_silent_engine() {
    let mut world = World::new();
    world.dead.push(engine(SITE1, 0));
    world.pass(500);
    for _ in 0..4 {
        let bytes = Bytes::from(bye(SITE1));
        world.balancer.handle_input(world.now, Input::Outside { source: caller(), bytes });
        let sent = world.drain();
        assert_eq!(sent, [(Sent::In(SITE1, None), engine(SITE1, 1))]);
    }
}

#[test]
fn silence_shows_within_its_time_and_unreachable_at_once() {
    let mut world = World::new();
    let healthy = |world: &World| {
        let stats = world.balancer.stats();
        stats.sites[0].engines.iter().map(|engine| engine.health == Health::Up).collect::<Vec<_>>()
    };
    assert_eq!(healthy(&world), [true, true]);
    world.balancer.handle_input(world.now, Input::EngineUnreachable { addr: engine(SITE1, 1) });
    assert_eq!(healthy(&world), [true, false]);
    world.dead.push(engine(SITE1, 0));
    world.pass(349);
    assert!(healthy(&world)[0]);
    world.pass(1);
    assert_eq!(healthy(&world), [false, true], "the other one answered again");
}

#[test]
fn an_engine_that_does_not_serve_gets_nothing() {
    let mut world = World::new();
    world.not_serving.extend([engine(SITE1, 0), engine(SITE1, 1)]);
    world.pass(200);
    assert_eq!(world.balancer.stats().sites[0].engines[0].health, Health::NotServing);
    assert!(world.outside(&bye(SITE1)).is_empty());
    assert_eq!(world.balancer.stats().drops.no_engine, 1);
    assert_eq!(world.outside(&request("INVITE", 1, None)), [Sent::In(SITE2, None)]);
}

#[test]
fn a_late_or_early_pong_proves_nothing() {
    let mut world = World::new();
    world.kill(SITE1);
    for nonce in [world.now.0 - 400 * MS, world.now.0 + MS, 0, u64::MAX] {
        let pong = EdgeFrame::Pong { nonce, engine: EngineId(1), serving: true, peers: Vec::new() };
        let bytes = pong.encode(&secret());
        assert!(world.input(Input::Engine { from: engine(SITE1, 0), bytes }).is_empty());
        assert_eq!(world.balancer.stats().sites[0].engines[0].health, Health::Down);
    }
}

#[test]
fn a_cancel_follows_its_invite() {
    let mut world = World::new();
    world.set(policy(2, [(SITE1, SITE1), (SITE2, SITE2)], [(SITE1, 1), (SITE2, 1)]));
    world.pass(33_000);
    let mut seen = [0; 3];
    for call in 0..64 {
        let invite = world.outside(&request("INVITE", call, None));
        assert_eq!(world.outside(&request("CANCEL", call, None)), invite);
        assert_eq!(world.outside(&request("INVITE", call, None)), invite);
        let [Sent::In(site, None)] = invite[..] else { panic!("{invite:?}") };
        seen[usize::from(site.0)] += 1;
    }
    assert!(seen[1] > 10 && seen[2] > 10, "{seen:?}");
}

#[test]
fn for_a_while_after_a_change_the_site_before_is_asked_first() {
    let mut world = World::new();
    world.set(all_to(2, SITE2));
    let cancel = request("CANCEL", 1, None);
    assert_eq!(world.outside(&cancel), [Sent::In(SITE1, Some(SITE2))]);
    let bounce =
        EdgeFrame::Bounce { source: caller(), to: SITE2, bytes: Bytes::from(cancel.clone()) };
    let bytes = bounce.encode(&secret());
    let delivered = world.input(Input::Engine { from: engine(SITE1, 0), bytes });
    assert_eq!(delivered, [Sent::In(SITE2, None)], "a bounced message is not offered again");
    assert_eq!((world.balancer.stats().offered, world.balancer.stats().bounced), (1, 1));
    world.pass(31_999);
    assert_eq!(world.outside(&cancel), [Sent::In(SITE1, Some(SITE2))]);
    world.pass(1);
    assert_eq!(world.outside(&cancel), [Sent::In(SITE2, None)]);
    assert!(!world.balancer.stats().remembers_policy);
}

#[test]
fn a_dead_site_is_not_asked_first() {
    let mut world = World::new();
    world.kill(SITE1);
    world.set(all_to(2, SITE2));
    assert_eq!(world.outside(&request("CANCEL", 1, None)), [Sent::In(SITE2, None)]);
}

#[test]
fn a_bounce_to_a_dead_site_finds_another() {
    let mut world = World::new();
    world.set(policy(2, [(SITE1, SITE1), (SITE2, SITE2)], [(SITE1, 1), (SITE2, 1)]));
    world.kill(SITE2);
    let invite = Bytes::from(request("INVITE", 1, None));
    let bounce = EdgeFrame::Bounce { source: caller(), to: SITE2, bytes: invite };
    let bytes = bounce.encode(&secret());
    let delivered = world.input(Input::Engine { from: engine(SITE1, 0), bytes });
    assert_eq!(delivered, [Sent::In(SITE1, None)]);
}

#[test]
fn new_calls_avoid_a_dead_site_before_the_route_changes() {
    let mut world = World::new();
    world.kill(SITE1);
    assert_eq!(world.outside(&request("INVITE", 1, None)), [Sent::In(SITE2, None)]);
    assert!(world.outside(&bye(SITE1)).is_empty(), "whose calls move is the operator's decision");
    world.start(SITE1);
    assert_eq!(world.outside(&bye(SITE1)), [Sent::In(SITE1, None)]);
}

#[test]
fn with_all_dead_a_request_is_refused_and_an_ack_is_not() {
    let mut world = World::new();
    world.kill(SITE1);
    world.kill(SITE2);
    let refused = world.outside(&request("INVITE", 1, None));
    let [Sent::Out(to, text)] = &refused[..] else { panic!("{refused:?}") };
    assert_eq!(*to, caller());
    assert!(text.starts_with("SIP/2.0 503 "), "{text}");
    assert!(world.outside(&request("ACK", 1, None)).is_empty());
    assert_eq!(world.balancer.stats().refused, 1);
}

#[test]
fn an_older_policy_is_ignored() {
    let mut world = World::new();
    world.set(all_to(5, SITE2));
    world.set(all_to(5, SITE1));
    world.set(all_to(4, SITE1));
    assert_eq!(world.balancer.stats().policy_version, 5);
    assert_eq!(world.outside(&bye(SITE1)), [Sent::In(SITE2, None)]);
}

#[test]
fn what_engines_send_goes_out_untouched() {
    let mut world = World::new();
    let to = SocketAddr::from(([198, 51, 100, 7], 5080));
    let frame = EdgeFrame::Outbound { to, bytes: Bytes::from_static(b"SIP/2.0 200 OK\r\n\r\n") };
    let bytes = frame.encode(&secret());
    let sent = world.input(Input::Engine { from: engine(SITE2, 1), bytes: bytes.clone() });
    assert_eq!(sent, [Sent::Out(to, "SIP/2.0 200 OK\r\n\r\n".to_owned())]);
    let stranger = SocketAddr::from(([10, 9, 9, 9], 7000));
    assert!(world.input(Input::Engine { from: stranger, bytes }).is_empty());
    let forged = frame.encode(&TokenSecret::new([1; 32]));
    assert!(world.input(Input::Engine { from: engine(SITE2, 1), bytes: forged }).is_empty());
    assert_eq!(world.balancer.stats().drops.bad_frames, 2);
}

#[test]
fn keep_alives_and_floods_of_rubbish_stop_here() {
    let mut world = World::new();
    assert!(world.outside("\r\n\r\n").is_empty());
    assert!(world.outside("").is_empty());
    assert_eq!(world.balancer.stats().drops.keep_alives, 2);
    let passed = (0..300).filter(|_| !world.outside("rubbish").is_empty()).count();
    assert_eq!(passed, 200);
    assert_eq!(world.balancer.stats().drops.not_sip, 100);
    world.pass(1_000);
    assert_eq!(world.outside("rubbish"), [Sent::In(SITE1, None)]);
}

#[test]
fn what_no_frame_can_hold_stops_here() {
    let mut world = World::new();
    let mut message = bye(SITE1);
    message.push_str(&"x".repeat(MESSAGE_BYTES_MAX - message.len()));
    assert_eq!(world.outside(&message), [Sent::In(SITE1, None)]);
    message.push('x');
    assert!(world.outside(&message).is_empty());
    assert_eq!(world.balancer.stats().drops.too_long, 1);
}

#[test]
fn an_unproven_engine_gets_nothing() {
    let now = Instant(5);
    let sites = BTreeMap::from([(SITE1, vec![engine(SITE1, 0)])]);
    let mut balancer = Balancer::new(now, Config::new(sites, secret(), own(1)));
    assert!(matches!(balancer.poll_output(), Output::ToEngine { .. }), "a ping");
    let bytes = Bytes::from(bye(SITE1));
    balancer.handle_input(now, Input::Outside { source: caller(), bytes });
    assert_eq!(balancer.stats().drops.no_engine, 1);
    assert!(matches!(balancer.poll_output(), Output::WakeAt(_, Reason::Ping)));
}

fn probe(site: SiteId) -> String {
    let from = SocketAddr::from(([192, 0, 2, 9], 5070));
    probe::Probe::new(&secret(), site, caller(), from, ("w1", 1, 1)).text
}

#[test]
fn a_probe_reaches_its_site_whoever_serves_its_calls() {
    let mut world = World::new();
    world.set(all_to(2, SITE2));
    assert_eq!(world.outside(&bye(SITE1)), [Sent::In(SITE2, None)]);
    assert_eq!(world.outside(&probe(SITE1)), [Sent::In(SITE1, None)]);
    assert_eq!(world.outside(&probe(SITE2)), [Sent::In(SITE2, None)]);
    assert_eq!(world.balancer.stats().probes, 2);
    world.kill(SITE1);
    assert!(world.outside(&probe(SITE1)).is_empty(), "no other site may answer for it");
    assert_eq!(world.balancer.stats().drops.probes, 1);
    assert_eq!(world.balancer.stats().drops.no_engine, 0);
}

#[test]
fn a_probe_that_was_tampered_with_is_a_request_like_any_other() {
    let mut world = World::new();
    world.set(all_to(2, SITE2));
    world.pass(40_000);
    let text = probe(SITE1).replacen("Call-ID: ", "Call-ID: x", 1);
    assert_eq!(world.outside(&text), [Sent::In(SITE2, None)]);
}

fn standing(world: &World, site: SiteId) -> health::Standing {
    let health = world.balancer.health(world.now);
    health.iter().find(|one| one.site == site).expect("a site of ours").standing
}

fn acting() -> health::Config {
    health::Config {
        backups: [(SITE1, SITE2), (SITE2, SITE1)].into(),
        orderable: [SITE1, SITE2].into(),
        auto_failover: true,
        ..health::Config::default()
    }
}

#[test]
fn a_death_that_a_peer_confirms_moves_the_calls_when_that_is_allowed() {
    for auto_failover in [false, true] {
        let mut world = World::with(health::Config { auto_failover, ..acting() });
        world.hears = vec![(SITE1, true), (SITE2, true)];
        world.pass(6_000);
        world.kill(SITE1);
        world.hears = vec![(SITE1, false)];
        world.pass(9_000);
        assert_eq!(standing(&world, SITE1), health::Standing::Dead);
        assert_eq!(standing(&world, SITE2), health::Standing::Healthy);
        if auto_failover {
            assert_eq!(world.outside(&bye(SITE1)), [Sent::In(SITE2, None)]);
            assert_eq!(world.ordered, [(SITE1, SITE2)]);
            assert_eq!(world.balancer.policy().version, 2);
        } else {
            assert!(world.outside(&bye(SITE1)).is_empty());
            assert!(world.ordered.is_empty());
            assert_eq!(world.balancer.policy().version, 1);
        }
    }
}

#[test]
fn a_death_that_nobody_confirms_moves_nothing() {
    let mut world = World::with(acting());
    world.pass(6_000);
    world.kill(SITE1);
    world.pass(60_000);
    assert_eq!(standing(&world, SITE1), health::Standing::Suspected);
    // The peer hears its gate: its engines alone are gone.
    world.hears = vec![(SITE1, true)];
    world.pass(60_000);
    assert_eq!(standing(&world, SITE1), health::Standing::Suspected);
    assert!(world.ordered.is_empty());
}

fn report(witness: &str, number: u64, sites: &[(SiteId, bool)]) -> Input {
    let (witness, sites) = (witness.to_owned(), sites.to_vec());
    let valid_for = Duration::from_secs(5);
    let report = Report { witness, life: 1, number, valid_for, sites };
    let from = SocketAddr::from(([192, 0, 2, 9], 5070));
    Input::Engine { from, bytes: EdgeFrame::Report(report).encode(&secret()) }
}

#[test]
fn a_witness_is_heard_from_anywhere_and_an_old_report_is_not() {
    let mut world = World::new();
    let told = |world: &World| {
        let health = world.balancer.health(world.now);
        let mut observers = health[0].observers.iter();
        observers.find(|one| one.observer == Observer::Witness("w1".into())).map(|one| one.answers)
    };
    assert!(world.input(report("w1", 2, &[(SITE1, true)])).is_empty());
    assert_eq!(told(&world), Some(true));
    for number in [1, 2] {
        assert!(world.input(report("w1", number, &[(SITE1, false)])).is_empty());
        assert_eq!(told(&world), Some(true));
    }
    assert!(world.input(report("w1", 3, &[(SITE1, false), (SiteId(77), false)])).is_empty());
    assert_eq!(told(&world), Some(false));
    for witness in 2..100 {
        assert!(world.input(report(&format!("w{witness}"), 1, &[(SITE1, false)])).is_empty());
    }
    let heard = world.balancer.health(world.now)[0].observers.len();
    assert_eq!(heard, 1 + WITNESSES_MAX);
    assert_eq!(world.balancer.stats().drops.old_reports, 2 + 98 - 15);
    for number in 4..60 {
        assert!(world.input(report("w1", number, &[(SITE1, false)])).is_empty());
        world.pass(1_000);
    }
    assert_eq!(standing(&world, SITE1), health::Standing::Suspected, "witnesses kill nobody");
}
