//! D42, D44: what a newer version added to a call is kept by this one, at home and elsewhere.
//!
//! The newer version is made of today's bytes: at each level where we promise it, two fields are
//! added under the next free numbers. They are found again by their numbers, without the structs
//! that are tested here.

use std::time::Duration;

use bytes::Bytes;
use prost::encoding::{self, WireType};
use sip_message::Method;
use vocab::{Instant, SiteId};

use super::kept;
use crate::codec::SCHEMA;
use crate::tests::{World, answer, key, requests, responses, told};
use crate::{Call, Input};

/// A message: its highest number in this version, and the messages in it that keep what is newer.
struct Level {
    name: &'static str,
    last: u32,
    inner: &'static [(u32, &'static Level)],
}

const DIALOG: Level = Level { name: "dialog", last: 7, inner: &[] };
const LEG: Level = Level { name: "leg", last: 17, inner: &[(10, &DIALOG)] };
const APPLICATION: Level = Level { name: "application", last: 4, inner: &[] };
const SERVING: Level = Level { name: "serving", last: 17, inner: &[] };
const ASKING: Level = Level { name: "asking", last: 15, inner: &[] };
/// The transactions of a call that rings and crosses: its own level is written anew.
const EARLY: Level = Level { name: "", last: 7, inner: &[(2, &SERVING), (3, &ASKING)] };
const CROSSING: Level =
    Level { name: "call", last: 6, inner: &[(4, &LEG), (5, &APPLICATION), (6, &EARLY)] };
const LOCAL: Level = Level { name: "local", last: 7, inner: &[(2, &SERVING), (3, &ASKING)] };

/// Each field of a message: its number, how it is written, and its bytes, the key included; of a
/// nested message what is in it, too.
fn fields(mut bytes: Bytes) -> Vec<(u32, Bytes, Option<Bytes>)> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let before = bytes.clone();
        let (number, kind) = encoding::decode_key(&mut bytes).expect("a key");
        let content = match kind {
            WireType::LengthDelimited => {
                let length = encoding::decode_varint(&mut bytes).expect("a length");
                Some(bytes.split_to(length.try_into().expect("a short one")))
            }
            WireType::Varint => {
                let _ = encoding::decode_varint(&mut bytes).expect("a number");
                None
            }
            WireType::SixtyFourBit
            | WireType::ThirtyTwoBit
            | WireType::StartGroup
            | WireType::EndGroup => panic!("no call has such a field"),
        };
        let whole = before.slice(..before.len() - bytes.len());
        all.push((number, whole, content));
    }
    all
}

/// The message as a newer version writes it.
fn grown(bytes: &Bytes, level: &Level) -> Bytes {
    let mut out = Vec::new();
    for (number, whole, content) in fields(bytes.clone()) {
        match level.inner.iter().find(|(inner, _)| *inner == number) {
            Some((_, inner)) => {
                let content = grown(&content.expect("a message"), inner);
                encoding::bytes::encode(number, &content, &mut out);
            }
            None => out.extend_from_slice(&whole),
        }
    }
    if !level.name.is_empty() {
        encoding::bytes::encode(level.last + 1, &Bytes::from(level.name), &mut out);
        encoding::uint64::encode(level.last + 200, &u64::from(level.last), &mut out);
    }
    out.into()
}

/// The names of the levels that have what the newer version added, whole, in order.
fn found(bytes: &Bytes, level: &Level, names: &mut Vec<&'static str>) {
    let mut newer = Vec::new();
    for (number, whole, content) in fields(bytes.clone()) {
        if let Some((_, inner)) = level.inner.iter().find(|(inner, _)| *inner == number) {
            found(&content.expect("a message"), inner, names);
        } else if number > level.last {
            newer.extend_from_slice(&whole);
        }
    }
    if newer == grown(&Bytes::new(), level) && !newer.is_empty() {
        names.push(level.name);
    } else {
        assert!(newer.is_empty(), "half of {} is left", level.name);
    }
}

fn names(bytes: &Bytes, level: &Level) -> Vec<&'static str> {
    let mut names = Vec::new();
    found(bytes, level, &mut names);
    names.sort_unstable();
    names
}

/// Every level of an answered call that crosses.
const CROSSED: [&str; 6] = ["application", "call", "dialog", "dialog", "leg", "leg"];

fn decode(crossing: &Bytes, local: &Bytes, now: Instant) -> Call {
    let age = Duration::ZERO;
    let decoded = Call::decode(key(), SCHEMA, crossing, local, age, now);
    decoded.expect("a newer version's bytes are read").0
}

#[test]
fn d42_a_newer_versions_record_is_read_and_written_back_byte_for_byte() {
    let mut levels = std::collections::BTreeSet::new();
    for (name, world) in kept() {
        let encoded = world.call.encode(world.now, &[]);
        let crossing = grown(&encoded.crossing, &CROSSING);
        let local = grown(&encoded.local, &LOCAL);
        let call = decode(&crossing, &local, world.now);
        assert_ne!(call, world.call, "{name}: it is not the same");
        assert_eq!(call.summary(world.now), world.call.summary(world.now), "{name}");
        let again = call.encode(world.now, &[]);
        assert_eq!((again.schema, again.crossing), (SCHEMA, crossing.clone()), "{name}");
        assert_eq!(again.local, local, "{name}");
        levels.extend(names(&crossing, &CROSSING));
        levels.extend(names(&local, &LOCAL));
    }
    let all = ["application", "asking", "call", "dialog", "leg", "local", "serving"];
    assert_eq!(levels.into_iter().collect::<Vec<_>>(), all);
}

#[test]
fn d42_steps_keep_what_a_newer_version_added() {
    let mut world = World::new();
    let (at_alice, _) = world.answered();
    let encoded = world.call.encode(world.now, &[]);
    let crossing = grown(&encoded.crossing, &CROSSING);
    world.call = decode(&crossing, &grown(&encoded.local, &LOCAL), world.now);
    let info = world.within(Method::Info, &at_alice);
    let to_bob = requests(&world.request(info)).remove(0);
    let sent = world.response(answer(&to_bob, 200));
    assert_eq!(told(&sent), "200/INFO>alice");
    let encoded = world.call.encode(world.now, &[]);
    assert_eq!(names(&encoded.crossing, &CROSSING), CROSSED);
    // Transactions that lingered have it, the new ones have none.
    assert_eq!(names(&encoded.local, &LOCAL), ["asking", "local", "serving"]);
    let _ = world.after(Duration::from_secs(40));
    let encoded = world.call.encode(world.now, &[]);
    assert_eq!(names(&encoded.crossing, &CROSSING), CROSSED);
    assert_eq!(names(&encoded.local, &LOCAL), ["local"]);
}

/// Home of the newer version, take-over by this one, and home again: trimmed on each way.
#[test]
fn d44_a_take_over_keeps_what_a_newer_version_added() {
    let mut world = World::new();
    let (at_alice, _) = world.answered();
    let encoded = world.call.encode(world.now, &[]);
    let mut crossing = grown(&encoded.crossing, &CROSSING);
    for site in [2, 1] {
        world.call = decode(&crossing, &Bytes::new(), world.now);
        world.setting.here = SiteId(site);
        assert_eq!(told(&world.input(Input::Activate)), "");
        let invite = world.within(Method::Invite, &at_alice);
        let to_bob = requests(&world.request(invite)).remove(0);
        let ok = responses(&world.response(crate::tests::ok(&to_bob))).remove(0);
        let ack = world.within(Method::Ack, &ok);
        assert_eq!(told(&world.request(ack)), "ACK>bob");
        crossing = world.call.encode(world.now, &[]).crossing;
        assert_eq!(names(&crossing, &CROSSING), CROSSED, "at site {site}");
    }
}
