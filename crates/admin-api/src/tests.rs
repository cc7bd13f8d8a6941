//! The OpenAPI document, the list of routes and the types say the same.

use super::*;

fn document() -> serde_json::Value {
    serde_json::from_str(OPENAPI).expect("the committed document is JSON")
}

#[test]
fn every_route_is_described_and_no_other() {
    let document = document();
    let paths = document["paths"].as_object().expect("paths");
    let mut described: Vec<(String, String)> = paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().expect("a path item").keys();
            methods.map(|method| (method.clone(), path.clone())).collect::<Vec<_>>()
        })
        .collect();
    let mut routes: Vec<(String, String)> =
        ROUTES.iter().map(|(method, path)| ((*method).into(), (*path).into())).collect();
    described.sort();
    routes.sort();
    assert_eq!(described, routes);
}

/// Compares the fields of a serialised default value with the document's properties.
fn check<T: Serialize>(name: &str, value: &T) {
    let document = document();
    let schema = &document["components"]["schemas"][name]["properties"];
    let described: Vec<&String> =
        schema.as_object().unwrap_or_else(|| panic!("no schema {name}")).keys().collect();
    let value = serde_json::to_value(value).expect("plain data");
    let mut fields: Vec<&String> = value.as_object().expect("a struct").keys().collect();
    fields.sort();
    let mut described = described;
    described.sort();
    assert_eq!(described, fields, "{name}");
}

#[test]
fn the_schemas_have_the_fields_of_the_types() {
    check("StatusReply", &StatusReply::default());
    check("AtRisk", &AtRisk::default());
    check("Peer", &Peer::default());
    check("Crossing", &Crossing::default());
    check("CrossingLag", &CrossingLag::default());
    check("LagRange", &LagRange::default());
    check("DatabaseStatus", &DatabaseStatus::default());
    check("QueueStatus", &QueueStatus::default());
    check("EngineStatus", &EngineStatus::default());
    check("BalancerStatus", &BalancerStatus::default());
    check("EdgeEngine", &EdgeEngine::default());
    check("WitnessStatus", &WitnessStatus::default());
    check("ProbedSite", &ProbedSite::default());
    check("SiteHealth", &SiteHealth::default());
    check("Observation", &Observation::default());
    check("SitesReply", &SitesReply::default());
    check("CallLine", &CallLine::default());
    check("CallsReply", &CallsReply::default());
    check("CallStory", &CallStory::default());
    check("HintLine", &HintLine::default());
    check("HintDecision", &HintDecision::default());
    check("CrossedMark", &CrossedMark::default());
    check("CancelOrder", &CancelOrder::default());
    check("ForgetOrder", &ForgetOrder::default());
    check("QuarantineLine", &QuarantineLine::default());
    check("QuarantineReply", &QuarantineReply::default());
    check("QuarantineStory", &QuarantineStory::default());
    check("StrikeLine", &StrikeLine::default());
    check("StatisticsReply", &StatisticsReply::default());
    check("Outbound", &Outbound::default());
    check("Inbound", &Inbound::default());
    check("BackupReply", &BackupReply::default());
    check("DormantOfSite", &DormantOfSite::default());
    check("ActivateOrder", &ActivateOrder::default());
    check("EvacuateOrder", &EvacuateOrder::default());
    check("Evacuation", &Evacuation::default());
    check("ReturnOrder", &ReturnOrder::default());
    check("ReturnStatus", &ReturnStatus::default());
    check("RetargetOrder", &RetargetOrder::default());
    check("Retarget", &Retarget::default());
    check("SweepOrder", &SweepOrder::default());
    check("SweepStatus", &SweepStatus::default());
    check("BackupOrder", &BackupOrder { site: 1, force: true });
    check("StopOrder", &StopOrder { site: 1 });
    check("ReplicationOrder", &ReplicationOrder { site: 1, on: true });
    check("OrderReply", &OrderReply::default());
    check("PartitionsReply", &PartitionsReply::default());
    check("Partition", &Partition::default());
    check("Replica", &Replica::default());
    check("Move", &Move::default());
    check("MoveOrder", &MoveOrder::default());
    check("ViewStatus", &ViewStatus::default());
    check("RouteReply", &RouteReply::default());
    check("RouteOrder", &RouteOrder::default());
    check("ErrorReply", &ErrorReply { error: String::new() });
}

#[test]
fn a_map_by_site_survives_json() {
    let mut status = StatusReply::default();
    status.calls_dormant.insert(2, 10);
    status.at_risk.insert(2, AtRisk { calls: 1, in_set_up: 2, oldest_ms: 30, stopped: true });
    let text = serde_json::to_string(&status).expect("plain data");
    assert!(text.contains(r#""calls_dormant":{"2":10}"#), "{text}");
    assert_eq!(serde_json::from_str::<StatusReply>(&text).expect("our own words"), status);
}

#[test]
fn a_quantile_is_the_end_of_its_range() {
    let range = |up_to_ms, calls| LagRange { up_to_ms, calls };
    let ranges = vec![range(Some(10), 0), range(Some(20), 98), range(Some(50), 1), range(None, 1)];
    let lag = CrossingLag { ranges, sum_ms: 0 };
    let told = [0, 500, 980, 981, 990, 991, 1_000].map(|share| lag.quantile_ms(share));
    assert_eq!(told, [Some(20), Some(20), Some(20), Some(50), Some(50), None, None]);
    assert_eq!(CrossingLag::default().quantile_ms(500), None);
}
