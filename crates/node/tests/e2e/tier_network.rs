//! The state tier on hosts of its own, with a network between them that cuts, loses and flaps: one
//! partition of three replicas, two engines, an etcd, and SIPp beside the balancer.
//!
//! A host is a network namespace; `xtask wan` is the network. Wanted as in `state_tier`: no
//! answered call is lost, and only calls invited around a fault may fail, one in a hundred.

use std::time::Duration;

use crate::harness::many::{Many, Places, Shape};
use crate::harness::netns::Wan;
use crate::harness::stage::Stage;
use crate::harness::{let_pass, sized, try_wait_for};
use crate::state_tier::Storm;

const HOSTS: [&str; 7] = ["etcd", "s0", "s1", "s2", "e0", "e1", "edge"];

/// A network and a stage on its edge.
fn stage(name: &'static str) -> (Stage, Wan, Shape) {
    let mut stage = Stage::new(name);
    let wan = Wan::start(&HOSTS);
    stage.move_to(wan.host("edge"));
    let hosts = |names: &[&str]| names.iter().map(|name| wan.host(name)).collect();
    let places = Places {
        etcd: Some(wan.host("etcd")),
        states: hosts(&["s0", "s1", "s2"]),
        engines: hosts(&["e0", "e1"]),
        edge: Some(wan.host("edge")),
    };
    (stage, wan, Shape { partitions: 1, places, ..Shape::default() })
}

fn half_way(seconds: u32) {
    let_pass(Duration::from_secs(u64::from(seconds) / 2));
}

/// Views that there have been, by the number of the newest.
fn view_number(many: &Many) -> u64 {
    many.partitions().iter().map(|one| one.view).max().unwrap_or_default()
}

#[test]
fn d11_a_primary_is_cut_off_from_everybody() {
    let (stage, mut wan, shape) = stage("tier_partition");
    let seconds = sized(16, 40);
    let (mut many, mut storm) = Storm::start_on(&stage, seconds, shape);
    half_way(seconds);
    let primary = many.primary(0);
    let before = many.view(primary).expect("it answers").number;
    storm.note_kill();
    wan.say(&format!("isolate s{primary}"));
    let others = try_wait_for(Duration::from_secs(4), || {
        let views: Vec<_> = (0..3).filter(|index| *index != primary).collect();
        let views = views.into_iter().filter_map(|index| many.view(index));
        let went_on: Vec<_> = views.filter(|view| view.number > before).collect();
        (went_on.len() == 2 && went_on.iter().any(|view| view.role == "primary")).then_some(())
    });
    assert!(others.is_some(), "the others did not go on: {:#?}", many.partitions());
    let alone = many.view(primary).expect("its own host reaches it");
    assert_eq!(alone.number, before, "no store answers it: it may not make a view of its own");
    let_pass(Duration::from_secs(3));
    wan.say("heal all");
    storm.note_kill();
    many.wait_whole(1);
    storm.judge(&stage, &mut many, "the primary cut off for some seconds, back and whole");
}

#[test]
fn d12_a_one_way_cut_between_two_replicas_makes_no_view_after_view() {
    let (stage, mut wan, shape) = stage("tier_one_way");
    let seconds = sized(20, 60);
    let (mut many, mut storm) = Storm::start_on(&stage, seconds, shape);
    half_way(seconds);
    let (primary, follower) = (many.primary(0), many.follower(0));
    let before = view_number(&many);
    storm.note_kill();
    wan.say(&format!("cut s{primary}>s{follower}"));
    let_pass(Duration::from_secs(u64::from(seconds) / 3));
    let during = view_number(&many) - before;
    wan.say("heal all");
    storm.note_kill();
    many.wait_whole(1);
    storm.judge(&stage, &mut many, &format!("a one-way cut, {during} views meanwhile"));
    // Who is removed does not come back while one of them does not hear the other.
    assert!(during <= 3, "{during} views within {} s", seconds / 3);
}

#[test]
fn d13_a_flapping_link_makes_few_views() {
    let (stage, mut wan, shape) = stage("tier_flapping");
    let flaps = sized(16, 60);
    let (mut many, mut storm) = Storm::start_on(&stage, flaps + 10, shape);
    let_pass(Duration::from_secs(4));
    let (primary, follower) = (many.primary(0), many.follower(0));
    let before = view_number(&many);
    wan.say(&format!("flap s{primary} s{follower} up_ms=1000 down_ms=1000"));
    for _ in 0..flaps / 4 {
        storm.note_kill();
        let_pass(Duration::from_secs(4));
    }
    let during = view_number(&many) - before;
    wan.say("heal all");
    storm.note_kill();
    many.wait_whole(1);
    storm.judge(&stage, &mut many, &format!("a link flapped for {flaps} s, {during} views"));
    assert!(during <= 8, "{during} views within {flaps} s");
}

#[test]
fn d14_loss_delay_and_disorder_between_all_hosts() {
    let (stage, mut wan, shape) = stage("tier_weather");
    let seconds = sized(12, 40);
    let tier = ["s0", "s1", "s2", "e0", "e1"];
    let (mut many, storm) = Storm::start_on(&stage, seconds, shape);
    let_pass(Duration::from_secs(3));
    // 200 ms there and back.
    for (index, one) in tier.iter().enumerate() {
        for other in &tier[index + 1..] {
            wan.say(&format!(
                "link {one} {other} delay_ms=100 jitter_ms=10 loss=0.01 reorder=0.01"
            ));
        }
    }
    half_way(seconds);
    storm.judge(&stage, &mut many, "1 % lost, 200 ms round trip, jitter and disorder in the tier");
    wan.say("heal all");
}
