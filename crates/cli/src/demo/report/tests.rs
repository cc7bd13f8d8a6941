//! Each promise can be broken alone, and says so.

use super::*;

fn good() -> Report {
    let mut report = Report {
        calls: 8,
        answered: 8,
        crossed: 8,
        survived: 8,
        changed_at_site_2: 6,
        ended_at_site_2: 3,
        takeover_ms_p50: 3.0,
        takeover_ms_p99: 9.0,
        refreshes_at_site_2: 6,
        refreshes_at_home: 10,
        held: 5,
        returned: 5,
        crossing_bytes_per_call: 700,
        ..Report::default()
    };
    report.judge();
    report
}

fn check(what: &str, break_it: impl FnOnce(&mut Report)) {
    let mut report = good();
    break_it(&mut report);
    report.judge();
    assert!(!report.is_kept(), "{what}");
    assert!(report.broken.iter().any(|broken| broken.contains(what)), "{:?}", report.broken);
    assert!(report.table().contains("BROKEN"));
}

#[test]
fn a_good_report_keeps_all_promises() {
    let report = good();
    assert!(report.is_kept(), "{:?}", report.broken);
    assert!(!report.table().contains("BROKEN"));
}

#[test]
fn every_promise_can_be_broken() {
    check("is answered", |report| report.answered = 7);
    check("crosses", |report| report.crossed = 7);
    check("survives", |report| report.survived = 7);
    check("500 ms", |report| report.takeover_ms_p99 = 500.0);
    check("timers go on", |report| report.timers_missed = 1);
    check("twice", |report| report.timers_twice = 1);
    check("comes home", |report| report.returned = 4);
    check("1 KiB", |report| report.crossing_bytes_per_call = 1_025);
    check("1 KiB", |report| report.crossing_bytes_per_call = 0);
    check("out of order", |report| report.disorder = 1);
}

#[test]
fn lost_is_what_crossed_and_did_not_survive() {
    let mut report = good();
    report.survived = 6;
    report.judge();
    assert_eq!(report.lost, 2);
}

#[test]
fn the_json_line_has_the_fields_that_others_read() {
    let json = good().json().expect("plain numbers");
    assert!(!json.contains('\n'));
    let json: serde_json::Value = serde_json::from_str(&json).expect("our own words");
    for field in [
        "calls",
        "answered",
        "crossed",
        "survived",
        "lost",
        "takeover_ms_p50",
        "takeover_ms_p99",
        "timers_twice",
        "returned",
        "crossing_bytes_per_call",
    ] {
        assert!(json[field].is_number(), "{field}");
    }
    assert_eq!(json["broken"], serde_json::json!([]));
}

#[test]
fn percentiles_are_of_the_values_themselves() {
    let values: Vec<f64> = (1..=200).map(f64::from).collect();
    assert_eq!(percentile(&values, 50), 100.0);
    assert_eq!(percentile(&values, 99), 198.0);
    assert_eq!(percentile(&values[..1], 99), 1.0);
    assert_eq!(percentile(&[], 50), 0.0);
}
