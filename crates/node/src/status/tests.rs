//! Every number of a core has its place in the status and on the page of metrics.

use super::*;
use crate::admin::metrics;

#[test]
fn a_balancer_tells_why_it_dropped() {
    let drops = balancer::Drops {
        keep_alives: 1,
        strange_responses: 2,
        no_engine: 3,
        not_sip: 4,
        too_long: 5,
        bad_frames: 6,
    };
    let stats = balancer::Stats {
        policy_version: 1,
        remembers_policy: false,
        outside_in: 0,
        outside_out: 0,
        offered: 0,
        bounced: 0,
        refused: 0,
        drops,
        sites: Vec::new(),
    };
    let status = of_balancer(&stats, Duration::ZERO);
    let told: u64 = status.counters.values().sum();
    assert_eq!(told, 21, "each cause once: {:?}", status.counters);
    let page = metrics::print(&status, None);
    assert!(page.contains("rehome_events_total{name=\"balancer_too_long\"} 5\n"), "{page}");
}

#[test]
fn the_size_of_the_queue_is_a_gauge() {
    let status = StatusReply { role: "all".into(), site: 1, inbox_bytes: 7, ..Default::default() };
    let page = metrics::print(&status, None);
    assert!(page.contains("# TYPE rehome_inbox_bytes gauge\n"), "{page}");
    assert!(page.contains("\nrehome_inbox_bytes 7\n"), "{page}");
    let mut counters = BTreeMap::new();
    let gate = replica::gate::GateStats { inbox_bytes: 7, ..Default::default() };
    tier_counters(&replica::Stats::default(), &gate, &mut counters);
    assert!(!counters.contains_key("gate_inbox_bytes"), "it does not only grow");
}

#[test]
fn decisions_about_hints_are_counted_by_reason() {
    let reasons = replica::hint::HintCounts { forced: 3, ..Default::default() }.by_reason();
    let hints = reasons.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect();
    let page =
        metrics::print(&StatusReply { role: "all".into(), hints, ..Default::default() }, None);
    assert!(page.contains("# TYPE rehome_hints counter\n"), "{page}");
    assert!(page.contains("rehome_hints_total{reason=\"forced\"} 3\n"), "{page}");
    assert!(page.contains("rehome_hints_total{reason=\"vetoed_set_up\"} 0\n"), "{page}");
}

#[test]
fn a_state_process_serves_when_it_is_a_member() {
    for (role, serves) in [("primary", 1), ("member", 1), ("joining", 0), ("waiting", 0)] {
        let view = Some(admin_api::ViewStatus { role: role.into(), ..Default::default() });
        let state = String::from("serving");
        let page =
            metrics::print(&StatusReply { site: 1, state, view, ..Default::default() }, None);
        assert!(page.contains(&format!("\nrehome_serving {serves}\n")), "{role}: {page}");
    }
}

#[test]
fn a_role_leaves_out_what_it_does_not_have() {
    let page = |role: &str, site: u16| {
        metrics::print(&StatusReply { role: role.into(), site, ..Default::default() }, None)
    };
    for (role, site, serves, keeps) in [
        ("all", 1, true, true),
        ("state", 1, true, true),
        ("engine", 1, true, false),
        ("balancer", 0, false, false),
    ] {
        let page = page(role, site);
        assert_eq!(page.contains("# TYPE rehome_serving "), serves, "{role}: {page}");
        for family in ["start_count", "calls_active", "peer_alive", "inbox_bytes", "batches_out"] {
            let family = format!("# TYPE rehome_{family} ");
            assert_eq!(page.contains(&family), keeps, "{role}: {family}: {page}");
        }
    }
}
