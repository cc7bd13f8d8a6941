//! `xtask wan` with real namespaces: what passes, what does not, how late, and what stays behind.
//!
//! Needs root; without it the tests fail, and the message has the command that would help. Nothing
//! here waits for time to pass: a packet that must not come is counted as dropped before the test
//! looks for it, as the answer to a command comes after all that was sent before it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod harness;

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use harness::{DEADLINE, Wan, command};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[test]
fn ping_udp_and_tcp_pass() {
    let wan = Wan::start("--hosts a,b,c");
    let ping = wan.icmp("a");
    // Type 8, code 0, checksum, identifier 1, sequence 1.
    ping.send_to(&[8, 0, 0xf7, 0xfd, 0, 1, 0, 1], wan.address("c", 0)).unwrap();
    let mut packet = [0; 100];
    let (bytes_len, from) = ping.recv_from(&mut packet).unwrap();
    assert_eq!((from, bytes_len), (wan.address("c", 0), 28));
    assert_eq!(packet[20], 0, "an echo reply");

    let (a, b) = (wan.udp("a", 5060), wan.udp("b", 5060));
    round_trip(&a, &b);
    // What has to be cut into several packets too.
    a.send_to(&[7; 20_000], wan.address("b", 5060)).unwrap();
    let mut long = vec![0; 30_000];
    assert_eq!(b.recv(&mut long).unwrap(), 20_000);

    let address = wan.address("b", 5061);
    let listener = wan.inside("b", move || TcpListener::bind(address).unwrap());
    let mut sender = wan.inside("a", move || TcpStream::connect(address).unwrap());
    let sent: Vec<u8> = (0..4_000_000_u32).map(|number| (number % 251) as u8).collect();
    let received = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            let mut received = Vec::new();
            stream.read_to_end(&mut received).unwrap();
            received
        });
        sender.write_all(&sent).unwrap();
        drop(sender);
        reader.join().unwrap()
    });
    assert!(received == sent, "{} of {} bytes, or others", received.len(), sent.len());

    let loopback = wan.inside("a", || UdpSocket::bind("127.0.0.1:0").unwrap());
    loopback.set_read_timeout(Some(DEADLINE)).unwrap();
    loopback.send_to(b"self", loopback.local_addr().unwrap()).unwrap();
    assert_eq!(loopback.recv(&mut packet).unwrap(), 4);
}

#[test]
fn a_delay_is_at_least_what_was_asked() {
    let mut wan = Wan::start("--hosts a,b --delay-ms 30");
    let (a, b) = (wan.udp("a", 5060), wan.udp("b", 5060));
    let took = round_trip(&a, &b);
    assert!(took >= Duration::from_millis(60), "{took:?}");
    wan.say("link a>b delay_ms=100");
    let took = round_trip(&a, &b);
    assert!(took >= Duration::from_millis(130), "{took:?}");
    wan.say("link a b delay_ms=0");
    // The fastest of many, as the machine may be busy.
    let fastest = (0..100).map(|_| round_trip(&a, &b)).min().unwrap();
    assert!(fastest < Duration::from_millis(20), "{fastest:?} without a delay");
    assert_eq!(wan.count("a>b", "delayed"), 2);
}

#[test]
fn jitter_keeps_the_order_and_reordering_does_not() {
    let mut wan = Wan::start("--hosts a,b --delay-ms 5 --jitter-ms 20");
    let (a, b) = (wan.udp("a", 5060), wan.udp("b", 5060));
    for number in 0..200_u16 {
        a.send_to(&number.to_be_bytes(), wan.address("b", 5060)).unwrap();
    }
    let jittered: Vec<u16> = (0..200).map(|_| receive_number(&b)).collect();
    assert!(jittered.is_sorted(), "{jittered:?}");

    wan.say("link a b jitter_ms=0 reorder=0.2 reorder_ms=20");
    for number in 0..200_u16 {
        a.send_to(&number.to_be_bytes(), wan.address("b", 5060)).unwrap();
    }
    let reordered: Vec<u16> = (0..200).map(|_| receive_number(&b)).collect();
    assert!(!reordered.is_sorted(), "{reordered:?}");
    assert_eq!(reordered.iter().collect::<BTreeSet<_>>().len(), 200, "{reordered:?}");
}

#[test]
fn a_one_way_cut_blocks_one_way() {
    let mut wan = Wan::start("--hosts a,b,c");
    let (a, b) = (wan.udp("a", 5060), wan.udp("b", 5060));
    round_trip(&a, &b);
    wan.say("cut a>b");
    a.send_to(b"lost", wan.address("b", 5060)).unwrap();
    assert_eq!(wan.count("a>b", "cut"), 1);
    assert_nothing_came(&b);
    b.send_to(b"back", wan.address("a", 5060)).unwrap();
    assert_eq!(receive(&a), b"back");
    wan.say("heal a>b");
    round_trip(&a, &b);
}

#[test]
fn an_isolated_host_is_cut_from_all_and_the_others_are_not() {
    let mut wan = Wan::start("--hosts a,b,c");
    let (a, b, c) = (wan.udp("a", 5060), wan.udp("b", 5060), wan.udp("c", 5060));
    wan.say("isolate a");
    a.send_to(b"lost", wan.address("b", 5060)).unwrap();
    c.send_to(b"lost", wan.address("a", 5060)).unwrap();
    assert_eq!(wan.count("a>b", "cut"), 1);
    assert_eq!(wan.count("c>a", "cut"), 1);
    assert_nothing_came(&a);
    round_trip(&b, &c);
    wan.say("heal a b");
    round_trip(&a, &b);
    c.send_to(b"lost", wan.address("a", 5060)).unwrap();
    assert_eq!(wan.count("c>a", "cut"), 2);
    wan.say("heal all");
    round_trip(&c, &a);
}

#[test]
fn a_cut_stops_what_is_under_way() {
    let mut wan = Wan::start("--hosts a,b --delay-ms 100");
    let (a, b) = (wan.udp("a", 5060), wan.udp("b", 5060));
    a.send_to(b"lost", wan.address("b", 5060)).unwrap();
    wan.say("cut a b");
    let started_at = Instant::now();
    while wan.count("a>b", "cut") == 0 {
        assert!(started_at.elapsed() < DEADLINE, "the packet is still under way");
    }
    assert_nothing_came(&b);
}

#[test]
fn one_seed_loses_the_same_packets_and_about_the_share_that_was_asked() {
    let lost = |seed: u32| {
        let mut wan = Wan::start(&format!("--hosts a,b --seed {seed} --loss 0.2"));
        let (a, b) = (wan.udp("a", 5060), wan.udp("b", 5060));
        let mut lost: BTreeSet<u16> = (0..1000).collect();
        let mut received = 0;
        // A few at a time, so that the receiver's buffer holds them.
        for first in (0..1000_u16).step_by(50) {
            for number in first..first + 50 {
                a.send_to(&number.to_be_bytes(), wan.address("b", 5060)).unwrap();
            }
            let forwarded = wan.count("a>b", "forwarded");
            for _ in received..forwarded {
                lost.remove(&receive_number(&b));
            }
            received = forwarded;
        }
        assert_eq!(wan.count("a>b", "lost"), lost.len() as u64);
        lost
    };
    let first = lost(7);
    assert!((150..=250).contains(&first.len()), "{} of 1000 lost", first.len());
    assert_eq!(first, lost(7), "the same seed");
    assert_ne!(first, lost(8), "another seed");
}

#[test]
fn flapping_passes_and_blocks_in_turns() {
    let mut wan = Wan::start("--hosts a,b");
    let (a, b) = (wan.udp("a", 5060), wan.udp("b", 5060));
    wan.say("flap a b up_ms=60 down_ms=40");
    let started_at = Instant::now();
    let (mut turns, mut passed) = (Vec::new(), 0);
    while turns != [true, false, true, false, true] {
        assert!(started_at.elapsed() < DEADLINE, "{turns:?}");
        a.send_to(b"flap", wan.address("b", 5060)).unwrap();
        let forwarded = wan.count("a>b", "forwarded");
        let is_up = forwarded > passed;
        if is_up {
            assert_eq!(receive(&b), b"flap");
        } else {
            assert_nothing_came(&b);
        }
        passed = forwarded;
        if turns.last() != Some(&is_up) {
            turns.push(is_up);
        }
    }
    let took = started_at.elapsed();
    assert!(took >= Duration::from_millis(100), "two periods in {took:?}");
    wan.say("heal a b");
    round_trip(&a, &b);
}

#[test]
fn a_wrong_command_is_told_and_changes_nothing() {
    let mut wan = Wan::start("--hosts a,b");
    assert!(wan.ask("cut a z").starts_with("error: no host `z`"));
    assert!(wan.ask("").starts_with("error: "));
    let (a, b) = (wan.udp("a", 5060), wan.udp("b", 5060));
    round_trip(&a, &b);
}

#[test]
fn everything_is_removed_at_the_end() {
    let mut wan = Wan::start("--hosts a,b");
    let files = wan.name_files();
    assert!(files.iter().all(|file| file.exists()));
    assert!(wan.end().success());
    assert!(!files.iter().any(|file| file.exists()), "after the end of stdin");

    let mut wan = Wan::start("--hosts a,b");
    let files = wan.name_files();
    signal(&mut wan, Signal::SIGTERM);
    assert!(wan.child().wait().unwrap().success());
    assert!(!files.iter().any(|file| file.exists()), "after SIGTERM");
}

#[test]
fn an_error_half_way_leaves_nothing() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let child = command("--hosts a,b").stdout(full).spawn().unwrap();
    let prefix = format!("rh{}-", child.id());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("stdout: "), "{said}");
    let names = std::fs::read_dir("/run/netns").unwrap().flatten();
    let left = names.filter(|name| name.file_name().to_string_lossy().starts_with(&prefix));
    assert_eq!(left.count(), 0);
}

#[test]
fn the_next_start_removes_what_a_killed_one_left() {
    let mut killed = Wan::start("--hosts a,b");
    let files = killed.name_files();
    assert!(files.iter().all(|file| file.exists()));
    signal(&mut killed, Signal::SIGKILL);
    assert!(!killed.child().wait().unwrap().success());
    let alive = Wan::start("--hosts a,b");
    assert!(!files.iter().any(|file| file.exists()));
    // And leaves alone what is in use.
    let _next = Wan::start("--hosts a,b");
    assert!(alive.name_files().iter().all(|file| file.exists()));
}

fn signal(wan: &mut Wan, signal: Signal) {
    let pid = i32::try_from(wan.child().id()).expect("a pid is an i32");
    kill(Pid::from_raw(pid), signal).unwrap();
}

/// Sends there and back, and says how long it took.
fn round_trip(one: &UdpSocket, other: &UdpSocket) -> Duration {
    let started_at = Instant::now();
    one.send_to(b"there", other.local_addr().unwrap()).unwrap();
    assert_eq!(receive(other), b"there");
    other.send_to(b"back", one.local_addr().unwrap()).unwrap();
    assert_eq!(receive(one), b"back");
    started_at.elapsed()
}

fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut bytes = [0; 100];
    let bytes_len = socket.recv(&mut bytes).expect("a packet before the deadline");
    bytes[..bytes_len].to_vec()
}

fn receive_number(socket: &UdpSocket) -> u16 {
    u16::from_be_bytes(receive(socket).try_into().expect("two bytes were sent"))
}

/// Nothing is in the socket now. Whatever was sent has been counted as dropped before.
fn assert_nothing_came(socket: &UdpSocket) {
    socket.set_nonblocking(true).unwrap();
    let error = socket.recv(&mut [0; 100]).expect_err("it was cut");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    socket.set_nonblocking(false).unwrap();
}
