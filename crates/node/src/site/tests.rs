//! What the owner of a site answers to an operator's orders.

mod shared;

use replica::Replica;
use replica::gate::Gate;
use tier_protocol::{Command, Course, Reply, SiteWord};
use vocab::{CallKey, EngineId, SiteId, ViewNumber};

use super::*;
use crate::admin::{Ask, Refusal};
use crate::queue::{self, Queue};
use crate::scratch::Scratch;
use crate::setting;

const PEER: SiteId = SiteId(2);

/// A state process of site 1 whose one peer is [`PEER`].
fn site(scratch: &Scratch, peer_words: &str) -> Site {
    site_with(scratch, peer_words, None)
}

fn site_with(scratch: &Scratch, peer_words: &str, own_engine: Option<EngineId>) -> Site {
    let text = format!(
        "role = \"state\"\n[site]\nid = 1\ndata_dir = \"{}\"\nsecret = \"{}\"\n\
         [tier]\nlisten = \"127.0.0.1:9000\"\n[sites]\nlisten = \"127.0.0.1:9100\"\n\
         backup_to = 2\n[[sites.peer]]\nid = 2\naddress = \"127.0.0.1:9200\"\n{peer_words}\n",
        scratch.path().display(),
        "01".repeat(32),
    );
    let (config, _) = crate::config::parse("site.toml", &text, None).unwrap();
    let clock = Clock::start();
    let settings = queue::Settings::of(&config).unwrap();
    let open_queue = move |opening| Queue::open(&settings, opening, crate::event::channel().0);
    let sites = SiteLinks::new(&config, None);
    let mut tier = TierSeat::new(
        Replica::new(clock.now(), setting::replica(&config, 1, None)),
        Gate::new(clock.now(), setting::gate(&config, 1)),
        Box::new(open_queue),
        None,
        own_engine,
        sites,
    );
    tier.open_gate().unwrap();
    let mut site = Site::new(config, clock, 1, None, Some(tier), None);
    site.begin();
    site.take(site.clock.now(), of_queue(queue::Answer::Loaded(Vec::new())));
    site.turn(site.clock.now());
    site
}

/// What the queue tells that was opened first.
fn of_queue(answer: queue::Answer) -> Event {
    Event::Queue(queue::Told { opening: 1, answer })
}

/// The peer's link comes up and it greets.
fn greet(site: &mut Site) -> Instant {
    let now = site.clock.now();
    let word = SiteWord::Hello {
        site: PEER,
        start: 1,
        state: SiteState::Serving,
        dictionary: 1,
        course: Course::default(),
    };
    site.words.push_back(Word::Gate(GateInput::LinkUp { site: PEER }));
    site.words.push_back(Word::Gate(GateInput::FromSite { site: PEER, word }));
    site.turn(now);
    now
}

fn activate(site: u16) -> admin_api::ActivateOrder {
    admin_api::ActivateOrder { site, force: false }
}

fn refused(site: &mut Site, now: Instant, ask: Ask) -> Refusal {
    site.answer(now, ask).expect_err("it is refused")
}

#[test]
fn calls_of_a_site_that_answers_are_not_woken_by_order() {
    let scratch = Scratch::new("order-alive");
    let mut site = site(&scratch, "");
    let now = greet(&mut site);
    let refusal = refused(&mut site, now, Ask::Activate(activate(PEER.0)));
    assert_eq!(refusal.status, 409);
    for word in ["site 2 answers", "its calls are its own", "a site that is gone", "silent"] {
        assert!(refusal.error.contains(word), "{word:?} is not in {:?}", refusal.error);
    }
    assert!(!site.has_words(), "no order was given");
    // The copies may be removed all the same: they are this site's.
    site.answer(now, Ask::Delete(admin_api::BackupOrder { site: PEER.0, force: true }))
        .expect("a removal is taken");

    site.words.push_back(Word::Gate(GateInput::LinkDown { site: PEER }));
    site.turn(now);
    site.answer(now, Ask::Activate(activate(PEER.0))).expect("the site is gone");
    assert!(site.has_words(), "the order was given");
    assert_eq!(refused(&mut site, now, Ask::Activate(activate(7))).status, 400);
}

#[test]
fn an_order_is_refused_where_the_configuration_refuses() {
    let scratch = Scratch::new("order-refused");
    let mut site = site(&scratch, "activation = \"refuse\"");
    let now = site.clock.now();
    let refusal = refused(&mut site, now, Ask::Activate(activate(PEER.0)));
    assert_eq!(refusal.status, 409);
    for word in ["activation = \"refuse\"", "[[sites.peer]] of site 2", "`operator`"] {
        assert!(refusal.error.contains(word), "{word:?} is not in {:?}", refusal.error);
    }
    assert!(!site.has_words(), "no order was given");
}

#[test]
fn an_order_wakes_what_messages_do_not() {
    let scratch = Scratch::new("order-operator");
    let mut site = site(&scratch, "activation = \"operator\"");
    let now = site.clock.now();
    site.answer(now, Ask::Activate(activate(PEER.0))).expect("that is what it is for");
    assert!(site.has_words(), "the order was given");
}

#[test]
fn calls_go_to_a_living_site_alone_and_a_forced_activation_holds_the_way_home() {
    let scratch = Scratch::new("order-steer");
    let mut site = site(&scratch, "");
    let now = site.clock.now();
    let evacuate = |from, to| Ask::Evacuate(admin_api::EvacuateOrder { from, to });
    let refusal = refused(&mut site, now, evacuate(1, Some(PEER.0)));
    assert!(refusal.status == 409 && refusal.error.contains("does not answer"), "{refusal:?}");
    let now = greet(&mut site);
    let refusal = refused(&mut site, now, evacuate(2, Some(1)));
    assert!(refusal.status == 400 && refusal.error.contains("ask site 2"), "{refusal:?}");
    assert_eq!(refused(&mut site, now, evacuate(1, Some(7))).status, 400);
    site.answer(now, evacuate(1, Some(PEER.0))).expect("it answers");
    site.turn(now);
    let told = site.steered(now).expect("it keeps the gate");
    let on = told.evacuation.expect("it is on");
    assert_eq!((on.to, on.left, on.wanted), (PEER.0, 0, true));
    site.answer(now, evacuate(1, None)).expect("it ends");
    let forced = admin_api::ActivateOrder { site: PEER.0, force: true };
    site.answer(now, Ask::Activate(forced)).expect("by force");
    site.turn(now);
    let told = site.steered(now).expect("it keeps the gate");
    assert_eq!((told.evacuation, told.returning.state.as_str()), (None, "paused"));
}

#[test]
fn a_stopped_sending_is_told() {
    let scratch = Scratch::new("order-stopped");
    let mut site = site(&scratch, "");
    let now = greet(&mut site);
    for on in [false, true] {
        site.answer(now, Ask::Replication(PEER, on)).expect("a peer");
        site.turn(now);
        let told = crate::status::of_site(&site, now);
        assert_eq!(told.at_risk[&PEER.0].stopped, !on);
        let page = crate::admin::metrics::print(&told, None);
        let line = format!("\nrehome_replication_stopped{{site=\"2\"}} {}\n", u8::from(!on));
        assert!(page.contains(&line), "{page}");
    }
}

#[test]
fn a_queue_that_is_away_is_told() {
    let scratch = Scratch::new("queue-away");
    let mut site = site(&scratch, "[queue]\nurl = \"nats://127.0.0.1:1\"");
    let mut told = |answer: queue::Answer| {
        let now = site.clock.now();
        site.take(now, of_queue(answer));
        site.turn(now);
        let told = crate::status::of_site(&site, now);
        assert_eq!(told.state, "serving");
        let page = crate::admin::metrics::print(&told, None);
        let queue = told.queue.expect("it is configured");
        let line = format!("\nrehome_queue_away {}\n", u8::from(queue.away));
        assert!(page.contains(&line), "{page}");
        queue.why
    };
    let why = told(queue::Answer::Away { why: "it is not there".into() });
    assert_eq!(why.as_deref(), Some("it is not there"));
    assert_eq!(told(queue::Answer::Back), None);
}

#[test]
fn a_queue_that_was_damaged_is_told_as_long_as_the_process_lives() {
    let scratch = Scratch::new("queue-damaged");
    let mut site = site(&scratch, "");
    let now = site.clock.now();
    let told = crate::status::of_site(&site, now).queue.expect("there are other sites");
    assert_eq!((told.damaged, told.damage), (0, None));
    for (lost, said) in [(Some(3), "3 batches are lost"), (None, "batches may be lost")] {
        let damage =
            queue::Damage { why: "bad".into(), lost, kept: Some("/data/queue.sqlite".into()) };
        site.take(now, of_queue(queue::Answer::Damaged(damage)));
        let told = crate::status::of_site(&site, now).queue.expect("there are other sites");
        let words = told.damage.expect("it was told");
        assert_eq!(words, format!("bad: {said}; it is kept as /data/queue.sqlite"));
    }
    let told = crate::status::of_site(&site, now);
    let page = crate::admin::metrics::print(&told, None);
    for line in ["\nrehome_queue_damaged_total 2\n", "\nrehome_queue_lost_batches_total 3\n"] {
        assert!(page.contains(line), "{page}");
    }
}

#[test]
fn an_engine_that_reads_a_call_is_answered() {
    let scratch = Scratch::new("get");
    let engine = EngineId(4);
    let mut site = site_with(&scratch, "", Some(engine));
    let (now, mut words) = (site.clock.now(), VecDeque::new());
    let seat = site.tier.as_mut().expect("it has a tier");
    let (key, view, turn): (_, ViewNumber, _) = (CallKey([1; 16]), seat.view_number(), 9);
    seat.run_replica(now, replica::Input::EngineUp { engine }, &mut words);
    words.clear();
    assert_eq!(seat.record(now, key, &mut words), None, "there is no such call");
    assert!(words.is_empty(), "no engine asked");
    let command = Command::Get { view, key, turn };
    seat.run_replica(now, replica::Input::Command { engine, command }, &mut words);
    let got = Reply::Got { key, turn, record: None, dormant: false };
    let said = words.pop_front();
    assert!(
        matches!(&said, Some(Word::Engine(engine::Input::Reply { reply, .. })) if *reply == got),
        "the engine is told"
    );
}

#[test]
fn an_answer_of_an_earlier_opening_of_the_queue_is_not_taken() {
    let scratch = Scratch::new("queue-opened-again");
    let mut site = site(&scratch, "[queue]\nurl = \"nats://127.0.0.1:1\"");
    let seat = site.tier.as_mut().expect("it keeps calls");
    seat.open_gate().unwrap();
    let answer = || queue::Answer::Appended(1 << 32);
    assert!(seat.take_queue(queue::Told { opening: 1, answer: answer() }).is_none());
    assert!(seat.take_queue(queue::Told { opening: 2, answer: answer() }).is_some());
}

#[test]
fn what_crosses_is_told_by_site() {
    let scratch = Scratch::new("statistics");
    let mut site = site(&scratch, "");
    let now = greet(&mut site);
    site.answer(now, Ask::Replication(PEER, false)).expect("a peer");
    site.turn(now);
    let seat = site.tier.as_ref().expect("it keeps calls");
    let told = crate::status::statistics(&site.config, seat, now);
    assert_eq!((told.here, told.backup_to, told.gate_counted), (1, Some(2), true));
    assert!(told.partitions == [0] && told.counted == [0], "{told:?}");
    assert!(told.outbound[&2].stopped, "{told:?}");
    let status = crate::status::of_site(&site, now);
    let page = crate::admin::metrics::print(&status, Some(&told));
    let line = "\nrehome_outbound_batches_total{site=\"2\",outcome=\"acknowledged\"} 0\n";
    assert!(page.contains(line), "{page}");
}
