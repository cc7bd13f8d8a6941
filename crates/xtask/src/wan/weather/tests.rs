//! Weather without a network: a packet a millisecond, and what became of each.

use super::*;

const AB: Direction = Direction { from: 0, to: 1 };
const BA: Direction = Direction { from: 1, to: 0 };

#[test]
fn clear_weather_delivers_at_once() {
    let mut weather = Weather::new(2, 1);
    assert_eq!(weather.admit(ms(5), AB), Fate::Deliver { at: ms(5) });
    assert!(weather.arrive(ms(5), AB, 100));
    let stats = weather.stats(&names());
    assert_eq!(stats["a>b"]["forwarded"], 1);
    assert_eq!(stats["a>b"]["forwarded_bytes"], 100);
    assert_eq!(stats["a>b"]["delayed"], 0);
    assert_eq!(stats["b>a"]["forwarded"], 0);
}

#[test]
fn a_delay_is_exact_and_of_one_direction() {
    let mut weather = with(Change { delay: Some(ms(40)), ..Change::default() });
    assert_eq!(weather.admit(ms(1), AB), Fate::Deliver { at: ms(41) });
    assert_eq!(weather.admit(ms(1), BA), Fate::Deliver { at: ms(1) });
    assert_eq!(weather.stats(&names())["a>b"]["delayed"], 1);
    assert_eq!(weather.stats(&names())["a>b"]["under_way"], 1);
}

#[test]
fn jitter_stays_within_its_bounds_and_nobody_overtakes() {
    let mut weather =
        with(Change { delay: Some(ms(40)), jitter: Some(ms(15)), ..Change::default() });
    let fates = fates(&mut weather, 1000);
    let arrivals: Vec<Duration> = fates.iter().map(|fate| arrival(*fate).unwrap()).collect();
    assert!(arrivals.is_sorted(), "{arrivals:?}");
    for (sent, at) in arrivals.iter().enumerate() {
        let took = *at - ms(sent as u64);
        assert!(took >= ms(40) && took <= ms(55), "packet {sent} took {took:?}");
    }
    let distinct: std::collections::BTreeSet<_> = arrivals.iter().collect();
    assert!(distinct.len() > 100, "hardly any jitter: {distinct:?}");
}

#[test]
fn a_shorter_delay_lets_nobody_overtake_either() {
    let mut weather = with(Change { delay: Some(ms(40)), ..Change::default() });
    assert_eq!(weather.admit(ms(0), AB), Fate::Deliver { at: ms(40) });
    weather.change(AB, Change { delay: Some(ms(1)), ..Change::default() });
    assert_eq!(weather.admit(ms(10), AB), Fate::Deliver { at: ms(40) });
    assert_eq!(weather.admit(ms(50), AB), Fate::Deliver { at: ms(51) });
}

#[test]
fn a_packet_that_is_held_back_is_overtaken() {
    let mut weather = with(Change {
        delay: Some(ms(5)),
        reorder: Some(0.1),
        reorder_for: Some(ms(3)),
        ..Change::default()
    });
    let fates = fates(&mut weather, 1000);
    let late: Vec<usize> =
        (0..1000).filter(|sent| arrival(fates[*sent]) != Some(ms(*sent as u64 + 5))).collect();
    assert!((60..=140).contains(&late.len()), "{} of 1000 held back", late.len());
    for sent in late {
        assert_eq!(arrival(fates[sent]), Some(ms(sent as u64 + 8)));
    }
}

#[test]
fn loss_is_about_the_share_that_was_asked_for() {
    for (loss, expect) in
        [(0.0, 0..=0), (0.01, 60..=140), (0.5, 4800..=5200), (1.0, 10_000..=10_000)]
    {
        let mut weather = with(Change { loss: Some(loss), ..Change::default() });
        let lost = fates(&mut weather, 10_000)
            .iter()
            .filter(|fate| **fate == Fate::Drop(Cause::Loss))
            .count();
        assert!(expect.contains(&lost), "{lost} of 10000 at {loss}");
    }
}

#[test]
fn one_seed_is_one_weather() {
    let change =
        Change { jitter: Some(ms(9)), loss: Some(0.2), reorder: Some(0.2), ..Change::default() };
    let run = |seed: u64| {
        let mut weather = Weather::new(2, seed);
        weather.change(AB, change);
        fates(&mut weather, 500)
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn other_traffic_and_other_settings_do_not_change_who_is_lost() {
    let lost = |delay: Duration, others: bool| {
        let mut weather = with(Change { loss: Some(0.3), ..Change::default() });
        weather.change(BA, Change { loss: Some(0.3), ..Change::default() });
        weather.change(AB, Change { delay: Some(delay), ..Change::default() });
        let mut lost = Vec::new();
        for sent in 0..500 {
            if others {
                let _ = weather.admit(ms(sent), BA);
            }
            lost.push(arrival(weather.admit(ms(sent), AB)).is_none());
        }
        lost
    };
    assert_eq!(lost(ms(0), false), lost(ms(0), true));
    assert_eq!(lost(ms(0), false), lost(ms(30), true));
}

#[test]
fn the_two_ways_of_a_link_have_different_weather() {
    let mut weather = with(Change { loss: Some(0.5), ..Change::default() });
    weather.change(BA, Change { loss: Some(0.5), ..Change::default() });
    let there: Vec<Fate> = (0..100).map(|sent| weather.admit(ms(sent), AB)).collect();
    let back: Vec<Fate> = (0..100).map(|sent| weather.admit(ms(sent), BA)).collect();
    assert_ne!(there, back);
}

#[test]
fn a_cut_is_one_way_until_it_is_healed() {
    let mut weather = Weather::new(2, 1);
    weather.cut(AB);
    assert_eq!(weather.admit(ms(1), AB), Fate::Drop(Cause::Cut));
    assert_eq!(weather.admit(ms(1), BA), Fate::Deliver { at: ms(1) });
    weather.heal(AB);
    assert_eq!(weather.admit(ms(2), AB), Fate::Deliver { at: ms(2) });
    assert_eq!(weather.stats(&names())["a>b"]["cut"], 1);
    assert_eq!(weather.stats(&names())["a>b"]["dropped"], 1);
}

#[test]
fn a_cut_stops_what_is_under_way() {
    let mut weather = with(Change { delay: Some(ms(40)), ..Change::default() });
    assert_eq!(weather.admit(ms(0), AB), Fate::Deliver { at: ms(40) });
    weather.cut(AB);
    assert!(!weather.arrive(ms(40), AB, 100));
    let stats = weather.stats(&names());
    assert_eq!(stats["a>b"]["cut"], 1);
    assert_eq!(stats["a>b"]["under_way"], 0);
    assert_eq!(stats["a>b"]["forwarded"], 0);
}

#[test]
fn flapping_is_a_function_of_time() {
    let mut weather = Weather::new(2, 1);
    weather.flap(ms(100), AB, ms(30), ms(20));
    let passes = |weather: &mut Weather, at: u64| arrival(weather.admit(ms(at), AB)).is_some();
    for (at, expect) in
        [(100, true), (129, true), (130, false), (149, false), (150, true), (180, false)]
    {
        assert_eq!(passes(&mut weather, at), expect, "at {at} ms");
    }
    assert!(!weather.arrive(ms(10_135), AB, 1), "down in the 200th period too");
    weather.heal(AB);
    assert!(passes(&mut weather, 10_136));
}

#[test]
fn a_direction_holds_a_bounded_number_of_packets() {
    let mut weather = with(Change { delay: Some(ms(60_000)), ..Change::default() });
    for _ in 0..UNDER_WAY_MAX {
        assert!(arrival(weather.admit(ms(0), AB)).is_some());
    }
    assert_eq!(weather.admit(ms(0), AB), Fate::Drop(Cause::Full));
    assert!(weather.arrive(ms(60_000), AB, 1));
    assert!(arrival(weather.admit(ms(60_000), AB)).is_some());
}

fn with(change: Change) -> Weather {
    let mut weather = Weather::new(2, 1);
    weather.change(AB, change);
    weather
}

/// A packet a millisecond from `a` to `b`.
fn fates(weather: &mut Weather, packets: u64) -> Vec<Fate> {
    (0..packets).map(|sent| weather.admit(ms(sent), AB)).collect()
}

fn arrival(fate: Fate) -> Option<Duration> {
    match fate {
        Fate::Deliver { at } => Some(at),
        Fate::Drop(_) => None,
    }
}

fn names() -> Vec<String> {
    vec!["a".to_owned(), "b".to_owned()]
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
