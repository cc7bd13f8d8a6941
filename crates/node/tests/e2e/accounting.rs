//! Accounting over the loss of a site: one record for each call, wherever it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use crate::harness::process::Node;
use crate::harness::sipp::{Load, Sipp};
use crate::harness::sized;
use crate::harness::stage::Stage;
use crate::harness::two_sites::TwoSites;

/// Small enough that files are rotated.
const ROTATE_BYTES: u32 = 16_384;

/// The records of a site, over all its files.
fn records(stage: &Stage, site: u16) -> Vec<Value> {
    let folder = std::fs::read_dir(stage.path(&format!("accounts{site}"))).expect("a folder");
    let files = folder.map(|file| std::fs::read_to_string(file.expect("an entry").path()));
    let text: String = files.map(|text| text.expect("text")).collect();
    text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

fn wait_written(site: &mut Node, records: u64) {
    site.wait_until("has written its records", Duration::from_secs(10), |status| {
        status.counters.get("accounting_written") == Some(&records)
    });
}

#[test]
fn d33_a_call_has_one_record_wherever_it_ends() {
    let mut stage = Stage::new("accounting");
    for (names, site) in [("site1", 1), ("site2", 2)] {
        let folder = stage.path(&format!("accounts{site}"));
        std::fs::create_dir_all(&folder).expect("the test's folder is writable");
        let file = folder.join("calls.jsonl");
        let more = format!("[accounting]\nfile = {file:?}\nrotate_bytes = {ROTATE_BYTES}\n\n");
        stage.configure(names, more);
    }
    let (short, long) = sized((100, 200), (1_000, 1_000));
    let [callee_at, first_at, second_at] = [(); 3].map(|()| stage.address());
    let mut sites = TwoSites::start(&stage, callee_at);
    let mut callee = Sipp::callee(&stage, "uas_patient", callee_at, short + long);
    let load = Load { calls: short, per_second: 100, hold: Duration::from_secs(1) };
    let way = [first_at, sites.edge];
    let mut first = Sipp::caller_named(&stage, "first", "uac_hold_logged", way, &load);
    let ended = first.finish(Duration::from_secs(60)).successful;
    wait_written(&mut sites.one, u64::from(short));

    let hold = Duration::from_secs(u64::from(long / 100) + 8);
    let load = Load { calls: long, per_second: 100, hold };
    let way = [second_at, sites.edge];
    let mut second = Sipp::caller_named(&stage, "second", "uac_hold_logged", way, &load);
    sites.two.wait_until("keeps every call", hold, |status| {
        status.calls_dormant.get(&1) == Some(&u64::from(long))
    });
    sites.one.kill();
    sites.balancer.admin().route(1, 2, &[(1, 0), (2, 1)]);
    let taken_over = second.finish(hold + Duration::from_secs(45)).successful;
    callee.finish(Duration::from_secs(10));
    wait_written(&mut sites.two, u64::from(long));

    let [one, two] = [1, 2].map(|site| records(&stage, site));
    let mut ids: BTreeMap<&str, u32> = BTreeMap::new();
    for record in one.iter().chain(&two) {
        *ids.entry(record["id"].as_str().expect("an id")).or_default() += 1;
        assert_eq!(record["why"], "bye", "{record}");
        let answered = record["answered_ms"].as_u64().expect("it was answered");
        let [began, over] = ["begun_ms", "ended_ms"].map(|name| record[name].as_u64());
        assert!(began <= Some(answered) && Some(answered) < over, "{record}");
    }
    let twice = ids.values().filter(|lines| **lines > 1).count();
    let call_ids: BTreeSet<&str> =
        one.iter().chain(&two).filter_map(|record| record["call_id"].as_str()).collect();
    stage.say(&format!(
        "{ended} calls ended at site 1 and {taken_over} at site 2, which had taken them over; {} \
         and {} records, {} ids, {twice} of them twice",
        one.len(),
        two.len(),
        ids.len(),
    ));
    assert_eq!([ended, taken_over], [u64::from(short), u64::from(long)]);
    assert_eq!([one.len(), two.len(), ids.len()], [short, long, short + long].map(|n| n as usize));
    assert_eq!(call_ids.len(), ids.len());
    let home = |record: &Value| record["epoch"]["site"].as_u64();
    assert!(one.iter().all(|record| home(record) == Some(1)));
    assert!(two.iter().all(|record| home(record) == Some(2)), "under the epoch of the take-over");
}
