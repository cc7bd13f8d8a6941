//! What may wake the calls of another site: a site that lives keeps its own, and its neighbour may
//! be told to wait for an order (`activation = "operator"`), or to wake none (`"refuse"`).

use std::time::Duration;

use admin_api::{ActivateOrder, OrderReply};
use sip_message::Method;

use crate::harness::config::{self, Door};
use crate::harness::pair::{End, Pair, Talk};
use crate::harness::sized;
use crate::harness::stage::Stage;
use crate::harness::two_sites::{TwoSites, whole_site};

const SOON: Duration = Duration::from_secs(20);

/// Two sites, and calls of site 1 that have crossed to site 2.
struct Crossed {
    sites: TwoSites,
    pair: Pair,
    talks: Vec<Talk>,
}

/// `activation`: what wakes calls of site 1 at site 2.
fn crossed(stage: &Stage, activation: &str, calls: usize) -> Crossed {
    let [callee_at, inner, edge_2, admin_2] = [(); 4].map(|()| stage.address());
    let mut sites = TwoSites::start_with(stage, callee_at, inner, edge_2, str::to_owned, |links| {
        let door = Door::Edge { listen: edge_2, balancer: inner };
        let sip = config::sip(links.edge, &door, callee_at, 500);
        let peer = config::sites_waking(links.two, 1, links.one, activation);
        whole_site(stage, 2, admin_2, &sip, &peer)
    });
    sites.wait_ready();
    let mut pair = Pair::new(stage, callee_at, sites.edge, Duration::from_millis(500));
    let talks = (0..calls).map(|_| pair.call().expect("the call is answered")).collect();
    sites.wait_crossed(calls as u64);
    Crossed { sites, pair, talks }
}

impl Crossed {
    fn all(&self) -> u64 {
        self.talks.len() as u64
    }

    /// `backup activate --site SITE` at the other site.
    fn order(&self, site: u16, force: bool) -> Result<OrderReply, String> {
        let asked = if site == 1 { &self.sites.two } else { &self.sites.one };
        asked.admin().post("/v1/backup/activate", &ActivateOrder { site, force })
    }

    /// Site 1 dies, site 2 knows it, and is sent its calls.
    fn lose_site_1(&mut self) {
        self.sites.one.kill();
        self.sites.two.wait_until("finds it dead", SOON, |status| !status.peers[&1].alive);
        self.sites.balancer.admin().route(1, 2, &[(1, 0), (2, 1)]);
    }

    /// Each caller says something, is told that it cannot be done now, and wakes nothing.
    fn nothing_wakes(&mut self) {
        for talk in &mut self.talks {
            let update = talk.caller.request(&mut self.pair.caller, Method::Update);
            self.pair.caller.ask(&update);
            let answer = self.pair.response(End::Caller, &Method::Update, &[503]);
            answer.expect("the phone is told");
        }
        let status = self.sites.two.try_status().expect("it lives");
        assert_eq!(status.activated, 0, "a message woke a call");
        assert_eq!(status.calls_dormant.get(&1), Some(&self.all()), "a copy is gone");
        let heard = self.pair.requests(End::Callee);
        assert!(heard.is_empty(), "a message went on to the peer: {heard:?}");
    }

    fn hang_up(&mut self) {
        self.pair.hang_up_all(&mut self.talks);
    }
}

#[test]
fn calls_of_a_dead_site_wake_by_order_alone() {
    let stage = Stage::new("activation_operator");
    let mut held = crossed(&stage, "operator", sized(6, 60));
    let all = held.all();
    held.lose_site_1();
    held.nothing_wakes();
    let order = held.order(1, false).expect("site 1 is dead");
    assert_eq!(order.calls, all, "{order:?}");
    held.sites.two.wait_until("has woken them", SOON, |status| {
        status.activated == all && status.calls_dormant.get(&1).is_none_or(|calls| *calls == 0)
    });
    held.hang_up();
    stage.say(&format!(
        "activation = \"operator\": site 1 killed; {all} messages got 503 and woke nothing; the \
         order woke {all} calls, {all} BYEs answered"
    ));
}

#[test]
fn calls_of_a_dead_site_wake_for_nobody_and_come_home() {
    let stage = Stage::new("activation_refuse");
    let mut held = crossed(&stage, "refuse", sized(6, 60));
    let all = held.all();
    held.lose_site_1();
    held.nothing_wakes();
    for force in [false, true] {
        let told = held.order(1, force).expect_err("the configuration refuses it");
        assert!(told.contains("409") && told.contains("do not wake here"), "{told}");
    }
    held.nothing_wakes();
    held.sites.one.start_again();
    held.sites.one.wait_until("has its calls again", SOON, |status| status.calls_active == all);
    held.sites.wait_engines_of(&[1, 2]);
    held.sites.balancer.admin().route(1, 1, &[(1, 1), (2, 0)]);
    held.hang_up();
    let woken = held.sites.two.try_status().expect("it lives").activated;
    assert_eq!(woken, 0, "a call woke at site 2");
    stage.say(&format!(
        "activation = \"refuse\": site 1 killed; {} messages got 503, two orders 409, nothing \
         woke; site 1 back with {all} of {all} calls, {all} BYEs answered",
        2 * all
    ));
}

/// D57: what a living site owns is not taken over without force; with it the calls move, once,
/// however often it is ordered; and the other site, ordered too, takes nothing back.
#[test]
fn d57_an_order_to_wake_is_refused_while_the_home_lives_and_changes_nothing_twice() {
    let stage = Stage::new("d57_ordered_twice");
    let mut held = crossed(&stage, "on_message", sized(6, 60));
    let all = held.all();
    for (asked, site) in [(2, 1), (1, 2)] {
        let told = held.order(site, false).expect_err("the other site lives");
        assert!(told.contains("409") && told.contains("its calls are its own"), "{asked}: {told}");
    }
    let [one, two] = [&mut held.sites.one, &mut held.sites.two].map(|site| site.try_status());
    assert_eq!(one.map(|status| status.calls_active), Some(all), "a refused order took calls");
    assert_eq!(two.map(|status| status.activated), Some(0), "a refused order woke calls");

    let first = held.order(1, true).expect("it is forced");
    assert_eq!(first.calls, all, "{first:?}");
    held.order(1, true).expect("an order may be given while it runs");
    held.sites.two.wait_until("has taken them", SOON, |status| status.calls_active == all);
    held.sites.one.wait_until("has given them up", SOON, |status| status.calls_active == 0);
    let again = held.order(1, true).expect("an order may be given when it is done");
    let told = held.order(2, false).expect_err("site 2 lives, and owns them now");
    assert!(told.contains("409"), "{told}");
    held.hang_up();
    let [one, two] = [&mut held.sites.one, &mut held.sites.two].map(|site| site.try_status());
    let woken = [one, two].map(|status| status.expect("both live").activated);
    stage.say(&format!(
        "{all} calls of a living site: an order without force refused at both sites; forced, {all} \
         moved; given three times, {woken:?} calls woke at sites 1 and 2, {all} BYEs answered"
    ));
    assert_eq!((again.calls, woken), (0, [0, all]), "an order that was repeated did something");
}
