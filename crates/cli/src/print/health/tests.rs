//! What an operator reads of a site's health.

use super::*;

fn observation(kind: &str, name: &str, answers: bool, silent: bool) -> Observation {
    Observation { kind: kind.into(), name: name.into(), answers, for_ms: 6_400, silent }
}

#[test]
fn a_dead_site_is_told_with_who_says_so_and_what_to_do() {
    let dead = SiteHealth {
        state: HealthState::Dead,
        for_ms: 1_500,
        observers: vec![
            observation("peer", "site 2", false, false),
            observation("balancer", "balancer", false, false),
            observation("witness", "w1", false, false),
            observation("witness", "w2", true, true),
        ],
        advice: Some("site 1 is dead".into()),
        commands: vec!["rehome route set 1=2".into(), "rehome backup activate --site 1".into()],
    };
    let mut lines = Lines(String::new());
    add(&mut lines, &[(1, dead)].into());
    assert_eq!(
        lines.0,
        "site 1             DEAD for 1.5 s; missed by site 2 (6.4 s), this balancer (6.4 s), \
         witness w1 (6.4 s); nothing new from witness w2\n\
         \u{20}                  site 1 is dead\n\
         recommended        rehome route set 1=2\n\
         recommended        rehome backup activate --site 1\n"
    );
}

#[test]
fn a_healthy_site_takes_one_line() {
    let observers = vec![observation("balancer", "balancer", true, false)];
    let state = HealthState::Healthy;
    let healthy = SiteHealth { state, for_ms: 60_000, observers, ..SiteHealth::default() };
    let mut lines = Lines(String::new());
    add(&mut lines, &[(2, healthy)].into());
    assert_eq!(lines.0, "site 2             healthy for 60.0 s; heard by this balancer\n");
}

#[test]
fn a_witness_tells_what_its_probes_came_to() {
    let answers = ProbedSite {
        site: 1,
        answers: Some(true),
        for_ms: 9_000,
        took_ms: Some(3),
        probes: 9,
        ..ProbedSite::default()
    };
    let missed = ProbedSite {
        site: 2,
        answers: Some(false),
        for_ms: 2_000,
        why: Some("site 1 answered 200".into()),
        probes: 4,
        missed: 2,
        ..ProbedSite::default()
    };
    let mut lines = Lines(String::new());
    let sites = vec![answers, missed, ProbedSite { site: 3, ..ProbedSite::default() }];
    witness(&mut lines, &WitnessStatus { name: "w1".into(), sites });
    assert_eq!(
        lines.0,
        "witness            w1\n\
         site 1             answers in 3 ms, for 9.0 s; 0 of 9 probes missed\n\
         site 2             MISSED for 2.0 s: site 1 answered 200; 2 of 4 probes missed\n\
         site 3             not known yet; 0 of 0 probes missed\n"
    );
}
