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
        probes: 7,
        old_reports: 8,
    };
    let stats = balancer::Stats {
        policy_version: 1,
        remembers_policy: false,
        fails_over: true,
        outside_in: 0,
        outside_out: 0,
        offered: 0,
        bounced: 0,
        refused: 0,
        probes: 0,
        drops,
        sites: Vec::new(),
    };
    let status = of_balancer(&stats, &[], Duration::ZERO);
    let told: u64 = status.counters.values().sum();
    assert_eq!(told, 36, "each cause once: {:?}", status.counters);
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
        for family in ["start_count", "calls_active", "peer_alive", "inbox_bytes", "calls_at_risk"]
        {
            let family = format!("# TYPE rehome_{family} ");
            assert_eq!(page.contains(&family), keeps, "{role}: {family}: {page}");
        }
    }
}

#[test]
fn how_a_site_is_judged_is_a_sample_for_each_state() {
    use balancer::health::{Observed, Observer, Standing};
    let observed = |observer, answers, is_silent| Observed {
        observer,
        answers,
        since: Duration::from_secs(1),
        is_silent,
    };
    let observers = vec![
        observed(Observer::Peer(vocab::SiteId(2)), true, true),
        observed(Observer::Balancer, false, false),
        observed(Observer::Witness("w1".into()), true, false),
    ];
    let (standing, since) = (Standing::Suspected, Duration::from_secs(2));
    let site = vocab::SiteId(1);
    let picture = [balancer::SiteHealth { site, standing, since, observers, advice: None }];
    let status = StatusReply {
        balancer: Some(BalancerStatus {
            health: health::by_site(&picture),
            ..BalancerStatus::default()
        }),
        ..StatusReply::default()
    };
    let page = metrics::print(&status, None);
    for line in [
        "rehome_site_health{site=\"1\",state=\"healthy\"} 0\n",
        "rehome_site_health{site=\"1\",state=\"suspected\"} 1\n",
        "rehome_site_answers{site=\"1\",kind=\"balancer\",observer=\"balancer\"} 0\n",
        "rehome_site_answers{site=\"1\",kind=\"witness\",observer=\"w1\"} 1\n",
    ] {
        assert!(page.contains(line), "{line:?} is not in\n{page}");
    }
    assert!(!page.contains("observer=\"site 2\""), "one that is silent says nothing:\n{page}");
}

#[test]
fn a_witness_s_probes_are_counted() {
    let seen = balancer::witness::Seen {
        site: vocab::SiteId(1),
        answers: Some(true),
        since: Duration::from_secs(3),
        took: Some(Duration::from_millis(4)),
        why: None,
        probes: 9,
        missed: 2,
    };
    let page = metrics::print(&of_witness("w1", &[seen], Duration::ZERO), None);
    for line in [
        "rehome_probe_answered{site=\"1\"} 1\n",
        "rehome_probe_milliseconds{site=\"1\"} 4\n",
        "rehome_probes_total{site=\"1\",outcome=\"answered\"} 7\n",
        "rehome_probes_total{site=\"1\",outcome=\"missed\"} 2\n",
    ] {
        assert!(page.contains(line), "{line:?} is not in\n{page}");
    }
}
