//! Orders as they are written, and a move as it is waited for.

use std::io::{Read, Write};
use std::net::TcpListener;

use admin_api::{Move, Replica};
use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Program {
    #[command(subcommand)]
    command: super::super::Command,
}

fn parse(line: &str) -> Result<PartitionsArguments, clap::Error> {
    let words = std::iter::once("rehome").chain(line.split(' '));
    Program::try_parse_from(words).map(|program| match program.command {
        super::super::Command::Partitions(arguments) => arguments,
        other => panic!("{other:?}"),
    })
}

#[test]
fn an_order_names_both_partitions_and_its_replicas() {
    assert!(parse("partitions").unwrap().command.is_none());
    assert!(parse("partitions --json").unwrap().target.json);
    let whole = "partitions move --from 0 --to 2 --replicas 3 --slots 256-511 --wait --json";
    let Some(PartitionsCommand::Move(order)) = parse(whole).unwrap().command else { panic!() };
    assert_eq!((order.from, order.to, order.replicas), (0, 2, Some(3)));
    assert_eq!((order.slots, order.wait, order.target.json), (Some((256, 511)), true, true));
    assert!(!order.cancel);
    assert!(parse("partitions move --from 0 --to 2").is_err());
    let cancel = "partitions move --from 0 --to 2 --cancel";
    let Some(PartitionsCommand::Move(order)) = parse(cancel).unwrap().command else { panic!() };
    assert_eq!((order.from, order.to, order.cancel), (0, 2, true));
    assert!(parse("partitions move --from 0 --to 2 --replicas 3 --cancel").is_err());
    assert!(parse("partitions --json move --from 0 --to 2 --replicas 3").is_err());
    let Some(PartitionsCommand::Refound { yes, .. }) = parse("partitions refound").unwrap().command
    else {
        panic!()
    };
    assert!(!yes);
}

#[test]
fn slots_are_a_run() {
    assert_eq!(slots("256-511"), Ok((256, 511)));
    assert_eq!(slots("7"), Ok((7, 7)));
    for wrong in ["511-256", "0-1024", "a-b", "", "-"] {
        assert!(slots(wrong).unwrap_err().contains("256-511"), "{wrong}");
    }
}

fn before() -> PartitionsReply {
    let source = Partition { partition: 0, slots: "0-511".into(), ..Partition::default() };
    PartitionsReply { partitions: vec![source], ..PartitionsReply::default() }
}

fn moving(ready: u64) -> PartitionsReply {
    let mut reply = before();
    reply.partitions[0].joining = vec![Replica { partition: 2, ..Replica::default() }];
    reply.moves = vec![Move { from: 0, to: 2, slots: "256-511".into(), replicas: 3, ready }];
    reply
}

fn after() -> PartitionsReply {
    let mut reply = before();
    let slots = "256-511".into();
    reply.partitions.push(Partition { partition: 2, view: 40, slots, ..Partition::default() });
    reply
}

#[test]
fn a_move_is_seen_on_the_map() {
    assert_eq!(seen(0, 2, &before()), Seen::NotBegun);
    let said = "1 of 3 replicas ready, 1 copying".into();
    assert_eq!(seen(0, 2, &moving(1)), Seen::Moving { ready: 1, replicas: 3, said });
    let said = "partition 2 has slots 256-511 in view 40".into();
    assert_eq!(seen(0, 2, &after()), Seen::Done { said });
    assert_eq!(seen(1, 3, &after()), Seen::NotBegun);
}

/// Answers one thing after the other, a connection each; then it is gone.
fn node(answers: Vec<String>) -> (Target, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = listener.local_addr().unwrap().to_string();
    let thread = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut area = [0; 4096];
            let read = stream.read(&mut area).unwrap();
            let text = String::from_utf8_lossy(&area[..read]).into_owned();
            asked.push(text.lines().next().unwrap_or_default().to_owned());
            stream.write_all(format!("HTTP/1.0 200 OK\r\n\r\n{answer}").as_bytes()).unwrap();
        }
        asked
    });
    (Target { admin, token: None, json: false }, thread)
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

#[test]
fn a_move_is_waited_for_until_the_slots_are_there() {
    let order = OrderReply { accepted: "slots 256-511 go".into(), calls: 0 };
    let looks = [before(), moving(0), moving(2), after()];
    let answers = std::iter::once(json(&order)).chain(looks.iter().map(json)).collect();
    let (target, asked) = node(answers);
    let (from, to, replicas, slots, wait, cancel) = (0, 2, Some(3), None, true, false);
    let order = MoveArguments { from, to, replicas, slots, wait, cancel, target };
    let text = move_slots(&order).unwrap();
    assert!(text.contains("2          40    256-511"), "{text}");
    let asked = asked.join().unwrap();
    assert!(asked[0].starts_with("POST /v1/partitions/move "), "{asked:?}");
    assert_eq!(asked.len(), 5);
}

#[test]
fn a_partition_is_not_begun_anew_without_a_yes() {
    let (target, asked) = node(vec![json(&before()), json(&StatusReply::default())]);
    let error = refound(false, &target).unwrap_err().to_string();
    assert!(error.contains("slots 0-511 is lost") && error.contains("--yes"), "{error}");
    assert!(asked.join().unwrap().iter().all(|line| line.starts_with("GET ")));
    let order = OrderReply { accepted: "the partition begins anew".into(), calls: 0 };
    let (target, asked) = node(vec![json(&order)]);
    assert_eq!(refound(true, &target).unwrap(), "the partition begins anew\n");
    assert!(asked.join().unwrap()[0].starts_with("POST /v1/partitions/refound "));
}
