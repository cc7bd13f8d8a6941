//! Poison with real processes: a call that panics its application, on one engine and then on the
//! other, is ended and set aside while fifty others go on (D53); a poison record of another site
//! costs no other, and its queue goes on (D54).

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use admin_api::{OrderReply, QuarantineReply, QuarantineStory};
use bytes::Bytes;
use rusqlite::{Connection, params};
use serde::de::DeserializeOwned;
use sip_message::{HeaderName, Method};
use tier_protocol::{Entry, Hint, Record, RecordHeader, batch};
use vocab::{CallKey, Epoch, LockToken, SiteId, Stamp, Version, ViewNumber};

use crate::harness::admin::Admin;
use crate::harness::config::{self, Door};
use crate::harness::direct_site::DirectSite;
use crate::harness::pair::{End, Pair, Talk};
use crate::harness::process::{Node, PROGRAM};
use crate::harness::stage::Stage;
use crate::harness::wait_for;

/// A panic prints its backtrace first: no message may be repeated meanwhile, and break a turn more.
const T1: Duration = Duration::from_millis(500);
const OTHERS: usize = 50;

/// `rehome ... --json` at the node of `admin`.
fn ask<T: DeserializeOwned>(admin: &Admin, arguments: &[&str]) -> T {
    let url = format!("http://{}", admin.address);
    let output = Command::new(PROGRAM).args(arguments).args(["--admin", &url, "--json"]).output();
    let output = output.expect("cargo built the program");
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {out}"))
}

fn talk(pair: &mut Pair) -> Talk {
    let (caller, _) = pair.caller.invite();
    let there = pair.request(End::Callee, &Method::Invite).unwrap_or_else(|what| panic!("{what}"));
    pair.answer(caller, &there).unwrap_or_else(|what| panic!("{what}"))
}

/// An INFO of the caller's over which the application panics, answered 500.
fn panics(pair: &mut Pair, talk: &mut Talk) {
    let mut info = talk.caller.request(&mut pair.caller, Method::Info);
    info.headers.push(HeaderName::parse(b"X-Panic"), "now");
    pair.caller.ask(&info);
    let refused = pair.response(End::Caller, &Method::Info, &[500]);
    refused.unwrap_or_else(|what| panic!("{what}"));
}

#[test]
fn d53_a_poison_call_is_ended_and_kept_while_fifty_others_go_on() {
    let stage = Stage::new("quarantine");
    let callee_at = stage.address();
    let mut site = DirectSite::start_with(&stage, callee_at, T1, PANIC_ON);
    let mut pair = Pair::new(&stage, callee_at, site.front.address(), T1);
    let mut others: Vec<Talk> = (0..OTHERS).map(|_| talk(&mut pair)).collect();
    let mut poison = talk(&mut pair);
    let turns = |site: &mut DirectSite| {
        site.engines.each_mut().map(|engine| {
            let status = engine.try_status().and_then(|status| status.engine);
            status.map_or(0, |engine| engine.panics)
        })
    };

    site.front.only(0);
    panics(&mut pair, &mut poison);
    assert!(ask::<QuarantineReply>(&site.state.admin(), &["quarantine", "list"]).calls.is_empty());
    site.front.only(1);
    panics(&mut pair, &mut poison);
    assert_eq!(turns(&mut site), [1, 1], "each engine has met it once");
    for end in [End::Caller, End::Callee] {
        let bye = pair.request(end, &Method::Bye).unwrap_or_else(|what| panic!("{what}"));
        pair.end(end).respond(&bye, 200);
    }

    // It is worked no more.
    let info = poison.caller.request(&mut pair.caller, Method::Info);
    pair.caller.ask(&info);
    let late = pair.response(End::Caller, &Method::Info, &[481]);
    late.unwrap_or_else(|what| panic!("{what}"));
    assert_eq!(turns(&mut site), [1, 1]);

    let admin = site.state.admin();
    let list: QuarantineReply = ask(&admin, &["quarantine", "list"]);
    let [line] = &list.calls[..] else { panic!("{list:?}") };
    assert_eq!((line.cause.as_str(), line.strikes, line.home), ("panicked", 2, 1));
    assert!(line.what.contains("on purpose"), "{line:?}");
    let story: QuarantineStory = ask(&admin, &["quarantine", "show", &line.key]);
    assert!(story.strikes.iter().all(|strike| strike.message.contains("X-Panic: now")));
    assert_ne!(story.strikes[0].engine, story.strikes[1].engine);
    assert!(!story.crossing_hex.is_empty() && !story.local_hex.is_empty());
    let status = site.state.try_status().expect("it lives");
    assert_eq!((status.quarantined, status.quarantined_by_cause["panicked"]), (1, 1));
    let dropped: OrderReply = ask(&admin, &["quarantine", "drop", &line.key]);
    assert_eq!(dropped.calls, 1);
    assert!(ask::<QuarantineReply>(&admin, &["quarantine", "list"]).calls.is_empty());

    // Both engines live, and all others go on.
    for (number, other) in others.iter_mut().enumerate() {
        site.front.only(number % 2);
        let from = if number % 3 == 0 { End::Callee } else { End::Caller };
        if number % 5 == 0 {
            pair.re_invite(other, from).unwrap_or_else(|what| panic!("{what}"));
        }
        pair.hang_up(other, from).unwrap_or_else(|what| panic!("call {number}: {what}"));
    }
    stage.say(&format!("{OTHERS} calls went on beside one that panicked on two engines"));
}

#[test]
fn d53_an_invite_that_panics_gets_500_from_every_engine_and_leaves_nothing() {
    let stage = Stage::new("quarantine_invite");
    let callee_at = stage.address();
    let mut site = DirectSite::start_with(&stage, callee_at, T1, PANIC_ON);
    let mut pair = Pair::new(&stage, callee_at, site.front.address(), T1);
    let mut dialog = crate::harness::dialog::Dialog::outgoing(&mut pair.caller);
    for engine in [0, 1, 0] {
        site.front.only(engine);
        let mut invite = dialog.request(&mut pair.caller, Method::Invite);
        invite.headers.push(HeaderName::parse(b"X-Panic"), "now");
        pair.caller.ask(&invite);
        let refused = pair.response(End::Caller, &Method::Invite, &[500]);
        refused.unwrap_or_else(|what| panic!("{what}"));
    }
    let status = site.state.try_status().expect("it lives");
    assert_eq!((status.quarantined, status.calls_held), (0, 0));
    let mut next = talk(&mut pair);
    pair.hang_up(&mut next, End::Caller).unwrap_or_else(|what| panic!("{what}"));
}

const PANIC_ON: &str = "[test]\nallow_faults = true\npanic_on = \"X-Panic\"\n\n";

/// A record of site 1 whose sections make no sense to any engine.
fn record(number: u8) -> Entry {
    let token = LockToken { view: ViewNumber(1), counter: 1 };
    let epoch = Epoch::of_start(SiteId(1), 1);
    let header = RecordHeader {
        key: CallKey([number; 16]),
        stamp: Stamp { epoch, token, version: Version(1) },
        origin: SiteId(1),
        backup: Some(SiteId(2)),
        schema: call::SCHEMA,
        age: Duration::ZERO,
        deadline: None,
        crossing_deadline: None,
        hints: vec![(0, Hint::Steady)],
        crossed: Vec::new(),
        newer: None,
    };
    let crossing = Bytes::from_static(b"\xff\xff\xff");
    Entry::Record(Record { header, crossing, local: Bytes::new() })
}

/// The entry with a field that nobody knows where its stamp was.
fn without_stamp(entry: &Bytes) -> Bytes {
    let mut bytes = entry.to_vec();
    let key_at = bytes.windows(2).position(|two| two == [0x0a, 0x12]).expect("the key's field");
    bytes[key_at + 2 + 18] = 0x7a;
    bytes.into()
}

/// Puts batches on the queue of a site that does not run yet, as its disk would have them.
fn queue(data: &Path, batches: &[Bytes]) {
    let connection = Connection::open(data.join("queue.sqlite")).expect("the folder is writable");
    let columns = "row INTEGER PRIMARY KEY, from_site INTEGER NOT NULL, partition INTEGER NOT \
                   NULL, id INTEGER NOT NULL, view INTEGER NOT NULL, written_ms INTEGER NOT NULL, \
                   bytes BLOB NOT NULL";
    let made = connection.execute_batch(&format!("CREATE TABLE batch ({columns})"));
    made.expect("a new file");
    for (row, bytes) in batches.iter().enumerate() {
        let row = i64::try_from(row + 1).expect("few");
        let put = "INSERT INTO batch VALUES (?, 1, 0, ?, 1, 0, ?)";
        connection.execute(put, params![row, row, &bytes[..]]).expect("a row");
    }
}

fn rows(data: &Path, table: &str) -> i64 {
    let connection = Connection::open(data.join("queue.sqlite")).expect("it is there");
    let count = format!("SELECT count(*) FROM {table}");
    connection.query_row(&count, [], |row| row.get(0)).expect("a table of the queue")
}

#[test]
fn d54_a_poison_record_costs_no_other_and_the_queue_goes_on() {
    let stage = Stage::new("quarantine_record");
    let [listen, admin_at, links, other, callee] = [(); 5].map(|()| stage.address());
    let data = stage.path("data");
    std::fs::create_dir_all(&data).expect("the test's folder is writable");
    let bytes: Vec<Bytes> = (1..=3).map(|number| batch::entry_bytes(&record(number))).collect();
    let poison = batch::encode_raw(&[bytes[0].clone(), without_stamp(&bytes[1]), bytes[2].clone()]);
    queue(&data, &[poison, batch::encode(&[record(4)])]);
    let text = config::head("all", 2, Some(&data), admin_at)
        + &config::sip(listen, &Door::Listen(listen), callee, 200)
        + &config::sites(links, 1, other);
    let mut node = Node::start(&stage, "site2", &text, admin_at);

    let patience = Duration::from_secs(20);
    let status = node.wait_until("has applied both batches", patience, |status| {
        status.inbox_batches == 0 && status.calls_dormant.get(&1) == Some(&3)
    });
    assert_eq!(status.quarantined_by_cause["unreadable"], 1);
    wait_for("the batch to be set aside, and the queue to be empty", patience, || {
        (rows(&data, "set_aside") == 1 && rows(&data, "batch") == 0).then_some(())
    });
    let list: QuarantineReply = ask(&node.admin(), &["quarantine", "list"]);
    let [line] = &list.calls[..] else { panic!("{list:?}") };
    assert_eq!((line.key.as_str(), line.cause.as_str()), (&*"02".repeat(16), "unreadable"));
    let _order: OrderReply = ask(&node.admin(), &["quarantine", "drop", "--all"]);

    // None of the three can be woken: each is tried twice, and the site lives.
    node.wait_serving();
    let admin = node.admin();
    let _order: OrderReply = ask(&admin, &["backup", "activate", "--site", "1"]);
    let status = node.wait_until("has set all three aside", patience, |status| {
        status.quarantined == 3 && status.calls_dormant.get(&1).is_none_or(|calls| *calls == 0)
    });
    assert_eq!(status.quarantined_by_cause["undecodable"], 3);
    let list: QuarantineReply = ask(&admin, &["quarantine", "list"]);
    assert!(list.calls.iter().all(|call| call.dormant && call.strikes == 2), "{list:?}");
    let dropped: OrderReply = ask(&admin, &["quarantine", "drop", "--all"]);
    assert_eq!(dropped.calls, 3);
    stage.say("one of four records could not be read, three could not be woken; the site went on");
}
