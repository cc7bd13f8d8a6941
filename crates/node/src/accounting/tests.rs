//! What is on the disk after rotation, a crash, and a disk that takes nothing for a while.

use std::path::Path;
use std::sync::atomic::Ordering;

use call::Account;
use servlet::EndReason;
use vocab::{CallKey, Epoch, Instant, SiteId};

use super::{Ledger, line};
use crate::scratch::Scratch;

const NOW: Instant = Instant(1_000_000_000_000);
const EPOCH: Epoch = Epoch { n: 65_538, site: SiteId(2) };

fn account(leg: u16) -> Account {
    Account {
        key: CallKey([0xab; 16]),
        salt: 0x00_12_34,
        leg,
        from: "\"A\" <sip:a@example.com>".into(),
        to: "<sip:b@example.com>".into(),
        call_id: "id\"1".into(),
        begun_at: Instant(NOW.0 - 5_000_000_000),
        answered_at: Some(Instant(NOW.0 - 3_000_000_000)),
        ended_at: Instant(NOW.0 - 1_000_000),
        why: EndReason::Bye,
    }
}

#[test]
fn a_line_says_who_when_and_why() {
    let text = line(&account(3), EPOCH, NOW, 1_700_000_000_000);
    assert!(text.ends_with('\n'));
    let read: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let expect = serde_json::json!({
        "id": format!("{}-001234-3", CallKey([0xab; 16])),
        "epoch": { "n": 65_538, "site": 2 },
        "from": "\"A\" <sip:a@example.com>",
        "to": "<sip:b@example.com>",
        "call_id": "id\"1",
        "begun_ms": 1_699_999_995_000_u64,
        "answered_ms": 1_699_999_997_000_u64,
        "ended_ms": 1_699_999_999_999_u64,
        "why": "bye",
        "status": null,
    });
    assert_eq!(read, expect);
    let status = sip_message::StatusCode::BUSY_HERE;
    let busy = Account { why: EndReason::Failed(status), answered_at: None, ..account(3) };
    let read: serde_json::Value = serde_json::from_str(&line(&busy, EPOCH, NOW, 0)).expect("JSON");
    assert_eq!((&read["why"], &read["status"]), (&"failed".into(), &486.into()));
    assert!(read["answered_ms"].is_null());
}

/// The leg numbers on the disk, over all files of the folder.
fn legs(folder: &Path) -> Vec<u64> {
    let mut legs = Vec::new();
    for file in std::fs::read_dir(folder).expect("a folder") {
        let path = file.expect("an entry").path();
        if path.is_file() {
            for line in std::fs::read_to_string(path).expect("text").lines() {
                let Ok(read) = serde_json::from_str::<serde_json::Value>(line) else { continue };
                let id = read["id"].as_str().expect("an id");
                legs.push(id.rsplit('-').next().expect("a leg").parse().expect("a number"));
            }
        }
    }
    legs.sort_unstable();
    legs
}

#[test]
fn every_record_is_in_one_of_the_files() {
    let scratch = Scratch::new("accounting-rotated");
    let path = scratch.path().join("calls.jsonl");
    let ledger = Ledger::open(&path, 2_000).expect("it can be written");
    for leg in 0..300 {
        ledger.write(&account(leg), EPOCH, NOW);
        while leg % 50 == 49 && ledger.counts().written.load(Ordering::Relaxed) <= u64::from(leg) {
            std::thread::yield_now();
        }
    }
    drop(ledger);
    assert_eq!(legs(scratch.path()), (0..300).collect::<Vec<_>>());
    let files = std::fs::read_dir(scratch.path()).expect("a folder").count();
    assert!(files >= 3, "{files} files");
}

#[test]
fn a_line_that_a_crash_cut_off_spoils_no_other() {
    let scratch = Scratch::new("accounting-cut");
    let path = scratch.path().join("calls.jsonl");
    let whole = line(&account(1), EPOCH, NOW, 0);
    std::fs::write(&path, format!("{whole}{}", &whole[..40])).expect("it can be written");
    let ledger = Ledger::open(&path, 1 << 20).expect("it can be written");
    ledger.write(&account(2), EPOCH, NOW);
    drop(ledger);
    assert_eq!(legs(scratch.path()), [1, 2]);
}

#[test]
fn what_a_disk_refuses_is_written_when_it_takes_it() {
    let scratch = Scratch::new("accounting-away");
    let folder = scratch.path().join("mounted");
    std::fs::create_dir(&folder).expect("it can be made");
    let path = folder.join("calls.jsonl");
    let ledger = Ledger::open(&path, 1).expect("it can be written");
    ledger.write(&account(1), EPOCH, NOW);
    let written = |ledger: &Ledger| ledger.counts().written.load(Ordering::Relaxed);
    while written(&ledger) < 1 {
        std::thread::yield_now();
    }
    // The next line wants a new file, and its folder is gone.
    let away = scratch.path().join("away");
    std::fs::rename(&folder, &away).expect("it can be renamed");
    ledger.write(&account(2), EPOCH, NOW);
    while ledger.counts().failures.load(Ordering::Relaxed) < 1 {
        std::thread::yield_now();
    }
    ledger.write(&account(3), EPOCH, NOW);
    std::fs::rename(&away, &folder).expect("it can be renamed");
    while written(&ledger) < 3 {
        std::thread::yield_now();
    }
    drop(ledger);
    assert_eq!(legs(&folder), [1, 2, 3]);
}
