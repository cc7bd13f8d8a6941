//! A state process that waits for a partition which another one serves.

use replica::PeerNews;
use tier_protocol::{PartitionView, PeerWord, Seat, SiteMap};
use vocab::{PartitionId, ReplicaId, ViewNumber};

use super::*;
use crate::coordination::{Coordination, Current, Presence, Setting, Store, Stored, Told};
use crate::link::Links;

/// Serves partition 0 alone.
const OTHER: ReplicaId = ReplicaId(7);
const OWN: ReplicaId = ReplicaId(8);

/// A process for `partition`; it has to be in a runtime, for its links and its store.
fn waiting(scratch: &Scratch, partition: u16) -> Site {
    let text = format!(
        "role = \"state\"\n[site]\nid = 1\ndata_dir = \"{}\"\nsecret = \"{}\"\n\
         [tier]\nlisten = \"127.0.0.1:9000\"\nname = \"s2\"\npartition = {partition}\n\
         replicas = 2\n\
         [coordination]\nendpoints = [\"http://127.0.0.1:2379\"]\n",
        scratch.path().display(),
        "01".repeat(32),
    );
    let (config, _) = crate::config::parse("site.toml", &text, None).unwrap();
    let clock = Clock::start();
    let (events, _) = crate::event::channel();
    let (events_to, secret) = (events.clone(), setting::secret(&config));
    let doors = std::sync::Arc::default();
    let links = Links { events: events_to, secret, bytes_max: 1, tls: None, doors };
    let name = setting::name(&config);
    let partition = setting::partition(&config);
    let peers = Peers::new(links, Myself { replica: OWN, partition, name: name.clone() });
    let presence = Some(Presence { id: name, bytes: bytes::Bytes::new() });
    let store = Setting { store: Store::Fixed { revision: 1 }, presence };
    let shared = Shared::new(peers, Coordination::start(store, events.clone()));
    let settings = queue::Settings::of(&config).unwrap();
    let open_queue = move |opening| Queue::open(&settings, opening, events.clone());
    let sites = SiteLinks::new(&config, None);
    let tier = TierSeat::new(
        Replica::new(clock.now(), setting::replica(&config, 1, Some(OWN))),
        Gate::new(clock.now(), setting::gate(&config, 1)),
        Box::new(open_queue),
        Some(shared),
        None,
        sites,
    );
    let mut site = Site::new(config, clock, 1, None, Some(tier), None);
    site.begin();
    site.take(site.clock.now(), of_queue(queue::Answer::Loaded(Vec::new())));
    site.turn(site.clock.now());
    site
}

fn told(site: &mut Site, told: Told) -> Instant {
    let now = site.clock.now();
    site.take(now, Event::Coordination(told));
    site.turn(now);
    now
}

/// Partition 0 is served by [`OTHER`].
fn map() -> Told {
    let seat = |replica: ReplicaId, name: &str| Seat {
        replica,
        partition: PartitionId(0),
        name: name.into(),
        address: "127.0.0.1:9".into(),
        partitions: 0,
        replicas: 0,
    };
    let map = SiteMap {
        last: ViewNumber(3),
        partitions: vec![PartitionView::alone(PartitionId(0), ViewNumber(3), OTHER)],
        seats: vec![seat(OTHER, "s1"), seat(OWN, "s2")],
        moves: Vec::new(),
        settled: 0,
    };
    let stored = Some(Stored { revision: 5, bytes: map.encode() });
    Told::Document(Current { store_revision: 5, stored })
}

fn hear(site: &mut Site, news: PeerNews) {
    site.words.push_back(Word::Replica(replica::Input::Peer { replica: OTHER, news }));
    site.turn(site.clock.now());
}

#[tokio::test(flavor = "current_thread")]
async fn a_partition_is_begun_anew_only_when_nobody_has_its_calls() {
    let scratch = Scratch::new("refound");
    let mut site = waiting(&scratch, 0);
    told(&mut site, map());
    hear(&mut site, PeerNews::Up);
    hear(&mut site, PeerNews::Said(PeerWord::Pong { number: 1 }));
    let now = site.clock.now();
    let refusal = refused(&mut site, now, Ask::Refound);
    assert_eq!(refusal.status, 409);
    assert!(refusal.error.starts_with("s1 answers and has the calls"), "{}", refusal.error);
    hear(&mut site, PeerNews::Down);
    site.answer(now, Ask::Refound).expect("its last member is gone");
    assert!(site.has_words(), "the order was given");
    let view = |site: &Site| crate::status::of_site(site, now).view.expect("it has a tier");
    site.turn(now);
    assert_eq!(view(&site).order, "`refound`");
    // It is back before the store has answered.
    hear(&mut site, PeerNews::Up);
    let view = view(&site);
    assert_eq!(view.order, "");
    assert!(view.order_dropped.starts_with("`refound`: s1 answers"), "{}", view.order_dropped);
}

#[tokio::test(flavor = "current_thread")]
async fn a_partition_that_is_not_made_is_not_begun_anew() {
    let scratch = Scratch::new("refound-early");
    let mut site = waiting(&scratch, 2);
    let now = told(&mut site, map());
    let refusal = refused(&mut site, now, Ask::Refound);
    assert!(refusal.error.contains("not made yet"), "{}", refusal.error);
    let order = admin_api::MoveOrder { from: 0, to: 2, replicas: 1, ..Default::default() };
    let refusal = refused(&mut site, now, Ask::MoveSlots(order));
    assert!(refusal.error.ends_with("partition 0, which are s1"), "{}", refusal.error);
    let order = admin_api::CancelOrder { from: 0, to: 2 };
    let refusal = refused(&mut site, now, Ask::CancelMove(order));
    assert!(refusal.error.ends_with("partition 0, which are s1"), "{}", refusal.error);
}

/// A map on which this process, too, serves partition 0, with a move for the process `s5`.
fn moving(number: u64, members: &[ReplicaId]) -> Told {
    let seat = |replica: ReplicaId, name: &str, partition: u16| Seat {
        replica,
        partition: PartitionId(partition),
        name: name.into(),
        address: "127.0.0.1:9".into(),
        partitions: 0,
        replicas: 0,
    };
    let view = PartitionView {
        members: members.to_vec(),
        ..PartitionView::alone(PartitionId(0), ViewNumber(number), OTHER)
    };
    let (from, to) = (PartitionId(0), PartitionId(2));
    let slots = tier_protocol::SlotSet::ALL.upper_half();
    let map = SiteMap {
        last: ViewNumber(number),
        partitions: vec![view],
        seats: vec![seat(OTHER, "s1", 0), seat(OWN, "s2", 2)],
        moves: vec![tier_protocol::SlotMove { from, to, slots, replicas: 1 }],
        settled: 0,
    };
    let stored = Some(Stored { revision: number, bytes: map.encode() });
    Told::Document(Current { store_revision: number, stored })
}

#[tokio::test(flavor = "current_thread")]
async fn a_move_is_taken_back_only_while_another_member_has_the_calls() {
    let scratch = Scratch::new("cancel");
    let mut site = waiting(&scratch, 2);
    let cancel = |to: u16| Ask::CancelMove(admin_api::CancelOrder { from: 0, to });
    let now = told(&mut site, moving(6, &[OTHER, OWN]));
    let refusal = refused(&mut site, now, cancel(3));
    assert!(refusal.error.starts_with("no move from partition 0 to 3 is"), "{}", refusal.error);
    site.answer(now, cancel(2)).expect("s1 has the calls too");
    assert!(site.has_words(), "the order was given");
    let now = told(&mut site, moving(7, &[OWN]));
    let refusal = refused(&mut site, now, cancel(2));
    let error = refusal.error;
    assert!(error.contains("start a state process with `partition = 0`"), "{error}");
}

#[tokio::test(flavor = "current_thread")]
async fn a_second_process_of_one_name_is_told_and_waits() {
    let scratch = Scratch::new("namesake");
    let mut site = waiting(&scratch, 0);
    let mut map = SiteMap {
        last: ViewNumber(3),
        partitions: vec![PartitionView::alone(PartitionId(0), ViewNumber(3), OTHER)],
        seats: Vec::new(),
        moves: Vec::new(),
        settled: 0,
    };
    map.seats.push(Seat {
        replica: OTHER,
        partition: PartitionId(0),
        name: "s2".into(),
        address: "127.0.0.1:9".into(),
        partitions: 1,
        replicas: 3,
    });
    let stored = Some(Stored { revision: 5, bytes: map.encode() });
    let now = told(&mut site, Told::Document(Current { store_revision: 5, stored }));
    hear(&mut site, PeerNews::Up);
    let status = crate::status::of_site(&site, now);
    let view = status.view.clone().expect("it has a tier");
    let told = view.conflicts;
    assert!(told[0].contains("127.0.0.1:9 is named `s2` too"), "{told:?}");
    assert!(told[1].contains("`replicas` in [tier] is 2 here and 3 at s2"), "{told:?}");
    assert_eq!((told.len(), view.role.as_str()), (2, "waiting"));
    let page = crate::admin::metrics::print(&status, None);
    assert!(page.contains("\nrehome_tier_conflicts 2\n"), "{page}");
}

#[tokio::test(flavor = "current_thread")]
async fn a_store_that_is_away_is_told_before_anything_is_asked_of_it() {
    let scratch = Scratch::new("store-away");
    let mut site = waiting(&scratch, 0);
    let is_away = |site: &Site, now| {
        let status = crate::status::of_site(site, now);
        let page = crate::admin::metrics::print(&status, None);
        let is_away = status.view.expect("it has a tier").store_away;
        assert_eq!(page.contains("\nrehome_coordination_away 1\n"), is_away, "{page}");
        is_away
    };
    let now = told(&mut site, map());
    assert!(!is_away(&site, now));
    let now = told(&mut site, Told::Away { why: "refused".into() });
    assert!(is_away(&site, now));
    let now = told(&mut site, Told::Back);
    assert!(!is_away(&site, now));
}
