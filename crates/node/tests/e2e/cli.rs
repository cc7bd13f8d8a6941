//! The operator's commands against live processes, and configuration mistakes told with their line
//! and their remedy.

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::time::Duration;

use admin_api::{
    BackupReply, CallStory, CallsReply, OrderReply, PartitionsReply, RouteReply, SitesReply,
    StatisticsReply, StatusReply,
};
use serde::de::DeserializeOwned;

use crate::harness::admin::Admin;
use crate::harness::config::SECRET;
use crate::harness::netns;
use crate::harness::pair::{End, Pair};
use crate::harness::process::PROGRAM;
use crate::harness::stage::Stage;
use crate::harness::two_sites::TwoSites;
use sip_message::Method;

fn rehome(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).output().expect("cargo built the program")
}

/// Runs a command with `--json` and reads its answer.
pub(crate) fn ask<T: DeserializeOwned>(admin: &Admin, arguments: &[&str]) -> T {
    let url = format!("http://{}", admin.address);
    let mut all = arguments.to_vec();
    all.extend(["--admin", &url, "--json"]);
    let output = netns::on(admin.host.as_ref(), || rehome(&all));
    let (out, err) = told(&output);
    assert!(output.status.success(), "{arguments:?}: {err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {out}"))
}

fn told(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn mistakes_are_told_with_line_and_remedy() {
    let stage = Stage::new("cli_check");
    // What is wrong, the line, words of the complaint, words of the remedy.
    let balancer = "role = \"balancer\"\n[balancer]\n";
    let good = format!("[site]\nid = 1\ndata_dir = \"/tmp\"\nsecret = \"{SECRET}\"\n");
    let sip = "[sip]\nadvertise = \"127.0.0.1:5060\"\nlisten = \"127.0.0.1:5060\"\n";
    let cases: [(String, &str, &str, &str); 6] = [
        (format!("{good}[sip]\nadvertize = \"x:1\"\n"), ":6", "advertize", "advertise"),
        (format!("{good}{sip}[admin]\nlisten = \"0.0.0.0:80\"\n"), ":9", "token", "127.0.0.1"),
        (format!("{good}{sip}[timers]\nt1_ms = \"x\"\n"), ":9", "invalid type", "kind"),
        (
            format!("{good}{sip}[sites]\nlisten = \"127.0.0.1:1\"\nbackup_to = 2\n"),
            ":10",
            "2",
            "peer",
        ),
        ("[site]\nid = 1\nsecret = \"12\"\n".into(), ":3", "64", "openssl"),
        (format!("{balancer}listen = \"nowhere\"\n"), ":3", "", "127.0.0.1:5060"),
    ];
    for (number, (text, line, what, remedy)) in cases.iter().enumerate() {
        let file = stage.write(&format!("wrong{number}.toml"), text);
        let output = rehome(&["check", "--config", &file.display().to_string()]);
        let (_, err) = told(&output);
        assert!(!output.status.success(), "accepted:\n{text}");
        for word in [*line, *what, "remedy", *remedy] {
            assert!(err.contains(word), "no `{word}` in:\n{err}\nfor:\n{text}");
        }
        let output = rehome(&["check", "--config", &file.display().to_string(), "--json"]);
        let said: serde_json::Value =
            serde_json::from_str(&told(&output).0).expect("one JSON object");
        assert!(!output.status.success() && said["can_start"] == false, "{said}");
        let line: u64 = line[1..].parse().expect("a line number");
        let mistakes = said["mistakes"].as_array().expect("a list");
        let is_told = mistakes.iter().any(|one| {
            one["line"] == line && one["remedy"].as_str().is_some_and(|text| text.contains(remedy))
        });
        assert!(is_told, "{said}");
    }
    let file = stage.write("right.toml", &format!("{good}{sip}"));
    let output = rehome(&["check", "--config", &file.display().to_string()]);
    let (out, err) = told(&output);
    assert!(output.status.success(), "{err}");
    assert!(
        out.contains("one copy") || out.contains("survives"),
        "no warning about one copy: {out}"
    );
    stage.say(&format!("{} mistakes told with line and remedy", cases.len()));
}

/// Every command, and every one of its own.
const COMMANDS: [&str; 22] = [
    "serve",
    "check",
    "status",
    "sites",
    "calls",
    "partitions",
    "partitions move",
    "partitions refound",
    "statistics",
    "backup stats",
    "backup activate",
    "backup delete",
    "replication stop",
    "replication start",
    "replication retarget",
    "evacuate",
    "return start",
    "return pause",
    "return abort",
    "route show",
    "route set",
    "demo",
];

#[test]
fn every_command_has_help_with_examples() {
    let stage = Stage::new("cli_help");
    for command in COMMANDS {
        let mut arguments: Vec<&str> = command.split(' ').collect();
        arguments.push("--help");
        let (out, _) = told(&rehome(&arguments));
        assert!(out.contains("Examples:\n  rehome "), "{command}: {out}");
    }
    let output = rehome(&["status", "--admin", "http://127.0.0.1:9"]);
    let (_, err) = told(&output);
    assert!(!output.status.success() && !err.is_empty(), "a dead node is told");
    stage.say(&format!("{} commands have help with examples", COMMANDS.len()));
}

/// Both sites tell the same of what went from one to two.
fn four_have_crossed(one: &Admin, two: &Admin) {
    let kept: BackupReply = ask(two, &["backup", "stats"]);
    assert_eq!(kept.kept[&1].calls, 4);
    let sent: StatisticsReply = ask(one, &["statistics"]);
    let out = sent.outbound[&2];
    assert!(sent.missing().is_empty() && sent.gate_counted, "{sent:?}");
    assert!(out.calls >= 4 && (out.at_risk, out.queued, out.refused) == (0, 0, 0), "{sent:?}");
    let came: StatisticsReply = ask(two, &["statistics"]);
    let of_one = came.inbound[&1];
    assert!(of_one.dormant == 4 && of_one.stored >= 4, "{came:?}");
    assert!(of_one.batches == out.acknowledged && of_one.batches_waiting == 0, "{came:?}");
}

/// What was set: for how long a site has been judged so differs from answer to answer.
fn policy(reply: &RouteReply) -> (u64, BTreeMap<u16, u16>, BTreeMap<u16, u32>) {
    (reply.version, reply.serves.clone(), reply.weights.clone())
}

#[test]
fn commands_against_live_processes() {
    let stage = Stage::new("cli_live");
    let callee_at = stage.address();
    let mut sites = TwoSites::start(&stage, callee_at);
    let (one, two) = (sites.one.admin(), sites.two.admin());
    let mut pair = Pair::new(&stage, callee_at, sites.edge, Duration::from_millis(500));
    let mut talks = Vec::new();
    for _ in 0..4 {
        let (dialog, _) = pair.caller.invite();
        let there = pair.request(End::Callee, &Method::Invite).expect("the INVITE arrives");
        talks.push(pair.answer(dialog, &there).expect("the call is answered"));
    }
    sites.wait_crossed(4);
    four_have_crossed(&one, &two);

    let status: StatusReply = ask(&one, &["status"]);
    assert_eq!((status.site, status.role.as_str(), status.calls_active), (1, "all", 4));
    let seen: SitesReply = ask(&one, &["sites"]);
    assert!(seen.here == 1 && seen.backup_to == Some(2) && seen.peers[&2].alive);
    let served: PartitionsReply = ask(&one, &["partitions"]);
    assert_eq!((served.partitions.len(), served.partitions[0].slot_count), (1, 1_024));
    let admin = format!("http://{}", one.address);
    let order = ["partitions", "refound", "--yes", "--admin", &admin];
    let (_, err) = told(&rehome(&order));
    assert!(err.contains("(404): this state process is alone"), "{err}");
    let page: CallsReply = ask(&one, &["calls", "--limit", "3"]);
    let next = page.next.clone().expect("there is a second page");
    let rest: CallsReply = ask(&one, &["calls", "--limit", "3", "--cursor", &next]);
    assert_eq!((page.calls.len(), rest.calls.len()), (3, 1));
    let story: CallStory = ask(&one, &["calls", &page.calls[0].key]);
    assert!(!story.summary.is_empty() && story.call.home == 1, "{story:?}");
    assert!(story.crossed.iter().any(|mark| mark.site == 2 && mark.newest), "{story:?}");

    // A site that answers keeps its calls, and the operator is told so.
    let url = format!("http://{}", two.address);
    let refused = rehome(&["backup", "activate", "--site", "1", "--admin", &url]);
    let (_, err) = told(&refused);
    assert_eq!(refused.status.code(), Some(1), "{err}");
    assert!(err.contains("(409): site 1 answers"), "{err}");

    // One call is lost as a fault, the site dies, and the operator wakes the rest.
    two.forget().expect("this test may ask for faults");
    sites.one.kill();
    let route: RouteReply =
        ask(&sites.balancer.admin(), &["route", "set", "1=2", "--weights", "1=0,2=1"]);
    assert!(route.serves[&1] == 2 && route.weights[&2] == 1);
    let shown: RouteReply = ask(&sites.balancer.admin(), &["route", "show"]);
    assert_eq!(policy(&shown), policy(&route));
    sites.two.wait_until("knows that site 1 is dead", Duration::from_secs(5), |status| {
        status.peers.values().all(|peer| !peer.alive)
    });
    let order: OrderReply = ask(&two, &["backup", "activate", "--site", "1"]);
    assert_eq!(order.calls, 3, "{order:?}");
    sites.two.wait_until("has woken them", Duration::from_secs(5), |status| {
        status.activated == 3 && status.calls_dormant.values().sum::<u64>() == 0
    });
    for talk in &mut talks {
        let bye = talk.caller.request(&mut pair.caller, Method::Bye);
        pair.caller.ask(&bye);
    }
    let mut answers = Vec::new();
    for _ in &talks {
        let heard = pair.response(End::Caller, &Method::Bye, &[200, 481]).expect("an answer");
        answers.push(heard.response(&Method::Bye).expect("it was asked for").status.code());
    }
    answers.sort_unstable();
    assert_eq!(answers, [200, 200, 200, 481], "three calls live on, one was forgotten");
    stage.say("status, sites, calls, backup, route against live processes; 3 of 3 calls woken");
}

#[test]
fn a_backup_can_be_deleted() {
    let stage = Stage::new("cli_delete");
    let callee_at = stage.address();
    let mut sites = TwoSites::start(&stage, callee_at);
    let two = sites.two.admin();
    let mut pair = Pair::new(&stage, callee_at, sites.edge, Duration::from_millis(500));
    let (dialog, _) = pair.caller.invite();
    let there = pair.request(End::Callee, &Method::Invite).expect("the INVITE arrives");
    pair.answer(dialog, &there).expect("the call is answered");
    sites.wait_crossed(1);
    sites.one.kill();
    sites.two.wait_until("hears nothing of site 1", Duration::from_secs(10), |status| {
        status.peers.get(&1).is_some_and(|peer| !peer.alive)
    });
    let order: OrderReply = ask(&two, &["backup", "delete", "--site", "1"]);
    assert_eq!(order.calls, 1, "{order:?}");
    sites.two.wait_until("keeps nothing", Duration::from_secs(5), |status| {
        status.calls_dormant.values().sum::<u64>() == 0
    });
    stage.say("backup delete removed 1 dormant call");
}
