//! What the owner of a site answers to an operator's orders.

mod shared;

use replica::Replica;
use replica::gate::Gate;
use tier_protocol::SiteWord;
use vocab::SiteId;

use super::*;
use crate::admin::{Ask, Refusal};
use crate::queue::Queue;
use crate::scratch::Scratch;
use crate::setting;

const PEER: SiteId = SiteId(2);

/// A state process of site 1 whose one peer is [`PEER`].
fn site(scratch: &Scratch, peer_words: &str) -> Site {
    let text = format!(
        "role = \"state\"\n[site]\nid = 1\ndata_dir = \"{}\"\nsecret = \"{}\"\n\
         [tier]\nlisten = \"127.0.0.1:9000\"\n[sites]\nlisten = \"127.0.0.1:9100\"\n\
         backup_to = 2\n[[sites.peer]]\nid = 2\naddress = \"127.0.0.1:9200\"\n{peer_words}\n",
        scratch.path().display(),
        "01".repeat(32),
    );
    let (config, _) = crate::config::parse("site.toml", &text, None).unwrap();
    let clock = Clock::start();
    let (queue, held) = Queue::open(scratch.path(), drop).unwrap();
    let tier = TierSeat::new(
        Replica::new(clock.now(), setting::replica(&config, 1, None)),
        Gate::new(clock.now(), setting::gate(&config, 1)),
        queue,
        None,
        None,
        vec![PEER],
    );
    let mut site = Site::new(config, clock, 1, None, Some(tier), None);
    site.begin(held);
    site
}

/// The peer's link comes up and it greets.
fn greet(site: &mut Site) -> Instant {
    let now = site.clock.now();
    let word = SiteWord::Hello { site: PEER, start: 1, state: SiteState::Serving };
    site.words.push_back(Word::Gate(GateInput::LinkUp { site: PEER }));
    site.words.push_back(Word::Gate(GateInput::FromSite { site: PEER, word }));
    site.turn(now);
    now
}

fn refused(site: &mut Site, now: Instant, ask: Ask) -> Refusal {
    site.answer(now, ask).expect_err("it is refused")
}

#[test]
fn calls_of_a_site_that_answers_are_not_woken_by_order() {
    let scratch = Scratch::new("order-alive");
    let mut site = site(&scratch, "");
    let now = greet(&mut site);
    let refusal = refused(&mut site, now, Ask::Activate(PEER));
    assert_eq!(refusal.status, 409);
    for word in ["site 2 answers", "its calls are its own", "a site that is gone", "silent"] {
        assert!(refusal.error.contains(word), "{word:?} is not in {:?}", refusal.error);
    }
    assert!(!site.has_words(), "no order was given");
    // The copies may be removed all the same: they are this site's.
    site.answer(now, Ask::Delete(PEER)).expect("a removal is taken");

    site.words.push_back(Word::Gate(GateInput::LinkDown { site: PEER }));
    site.turn(now);
    site.answer(now, Ask::Activate(PEER)).expect("the site is gone");
    assert!(site.has_words(), "the order was given");
    assert_eq!(refused(&mut site, now, Ask::Activate(SiteId(7))).status, 400);
}

#[test]
fn an_order_is_refused_where_the_configuration_refuses() {
    let scratch = Scratch::new("order-refused");
    let mut site = site(&scratch, "activation = \"refuse\"");
    let now = site.clock.now();
    let refusal = refused(&mut site, now, Ask::Activate(PEER));
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
    site.answer(now, Ask::Activate(PEER)).expect("that is what it is for");
    assert!(site.has_words(), "the order was given");
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
        let page = crate::admin::metrics::print(&told);
        let line = format!("\nrehome_replication_stopped{{site=\"2\"}} {}\n", u8::from(!on));
        assert!(page.contains(&line), "{page}");
    }
}
