//! Round trips, golden bytes, and bytes that are refused.

mod newer;

use std::time::Duration;

use bytes::Bytes;
use newer_fields::Kept;
use sip_message::Method;

use super::{DecodeError, SCHEMA};
use crate::tests::{World, answer, key, requests, setting};
use crate::{Call, Destination, Effect, Input, Setting, Source};

#[test]
fn unreleased_effects_come_back_byte_for_byte() {
    let mut world = World::new();
    let invite = world.invite();
    let source = Source { addr: ([192, 0, 2, 1], 5060).into() };
    let input = Input::Request { request: &invite, source };
    let step = world.call.step(world.now, input, &setting());
    assert_eq!(step.effects.len(), 2);
    let encoded = world.call.encode(world.now, &step.effects);
    let without = world.call.encode(world.now, &[]);
    assert!(encoded.local.len() < without.local.len() + 64, "stored messages are written once");
    let (_, effects) =
        Call::decode(key(), SCHEMA, &encoded.crossing, &encoded.local, Duration::ZERO, world.now)
            .expect("it was just encoded");
    assert_eq!(effects, step.effects);
}

#[test]
fn an_unreleased_record_of_an_end_comes_back_whole_and_ages() {
    let mut world = World::new();
    let (ok, _) = world.answered();
    world.now = world.now + Duration::from_secs(60);
    let bye = world.within(Method::Bye, &ok);
    let source = Source { addr: ([192, 0, 2, 1], 5060).into() };
    let step = world.call.step(world.now, Input::Request { request: &bye, source }, &setting());
    let Some(Effect::Account(account)) = step.effects.last() else { panic!("{step:?}") };
    assert_eq!(account.answered_at.map(|at| account.ended_at.since(at).as_secs()), Some(60));
    let encoded = world.call.encode(world.now, &step.effects);
    let decode = |age: u64, now: vocab::Instant| {
        let age = Duration::from_secs(age);
        Call::decode(key(), SCHEMA, &encoded.crossing, &encoded.local, age, now).expect("read").1
    };
    assert_eq!(decode(0, world.now), step.effects);
    let later = world.now + Duration::from_secs(1_000);
    let Some(Effect::Account(aged)) = decode(5, later).pop() else { panic!("it is there") };
    assert_eq!(later.since(aged.ended_at), Duration::from_secs(5));
    assert_eq!(aged.answered_at.map(|at| aged.ended_at.since(at).as_secs()), Some(60));
    assert_eq!((aged.key, aged.salt, aged.leg), (account.key, account.salt, account.leg));
}

#[test]
fn deadlines_move_with_the_age() {
    let mut world = World::new();
    let _ = world.answered();
    let encoded = world.call.encode(world.now, &[]);
    let age = Duration::from_secs(100);
    let later = world.now + Duration::from_secs(1_000_000);
    let (call, _) = Call::decode(key(), SCHEMA, &encoded.crossing, &Bytes::new(), age, later)
        .expect("it was just encoded");
    let crossing = encoded.crossing_deadline.expect("session timers run");
    assert_eq!(call.next_deadline(), Some(later + (crossing - age)));
    let soon = encoded.deadline.expect("transactions linger");
    assert!(soon < crossing);
}

#[test]
fn an_answered_call_crosses_in_few_bytes() {
    let mut world = World::new();
    let _ = world.answered();
    let encoded = world.call.encode(world.now, &[]);
    assert!(encoded.crossing.len() <= 700, "{} bytes", encoded.crossing.len());
}

#[test]
fn another_schema_and_damaged_bytes_are_refused() {
    let mut world = World::new();
    let (ok, _) = world.answered();
    let info = world.within(Method::Info, &ok);
    let _ = world.request(info);
    let encoded = world.call.encode(world.now, &[]);
    let decode = |schema, crossing: &Bytes, local: &Bytes| {
        Call::decode(key(), schema, crossing, local, Duration::ZERO, world.now)
    };
    for schema in [0, SCHEMA + 1, u32::MAX] {
        let refused = decode(schema, &encoded.crossing, &encoded.local);
        assert_eq!(refused, Err(DecodeError::UnknownSchema(schema)));
    }
    for cut in 0..encoded.crossing.len() {
        // Some cuts end at a field's end and decode to less; none panics.
        let _ = decode(SCHEMA, &encoded.crossing.slice(..cut), &encoded.local);
    }
    for cut in 0..encoded.local.len() {
        let _ = decode(SCHEMA, &encoded.crossing, &encoded.local.slice(..cut));
    }
    for at in 0..encoded.crossing.len() {
        let mut bytes = encoded.crossing.to_vec();
        bytes[at] ^= 0x55;
        if let Ok((mut call, _)) = decode(SCHEMA, &bytes.into(), &encoded.local) {
            let _ = call.step(world.now, Input::Activate, &setting());
            let _ = call.step(world.now, Input::Due, &setting());
        }
    }
}

/// A call in each of the states whose bytes are kept.
fn kept() -> Vec<(&'static str, World)> {
    let mut answered = World::new();
    let (ok, _) = answered.answered();

    let mut ringing = World::new();
    let invite = ringing.invite();
    let to_bob = requests(&ringing.request(invite)).remove(0);
    let _ = ringing.response(answer(&to_bob, 180));

    let mut cancelled = World::new();
    let invite = cancelled.invite();
    let to_bob = requests(&cancelled.request(invite)).remove(0);
    let _ = cancelled.response(answer(&to_bob, 180));
    let cancel = cancelled.cancel();
    let _ = cancelled.request(cancel);
    let _ = cancelled.response(answer(&to_bob, 487));

    let mut deferred = World::new();
    let mut invite = deferred.invite();
    invite.uri = "sip:later@example.com".parse().expect("a URI");
    let _ = deferred.request(invite);

    let mut busy = World::new();
    let _ = busy.answered();
    let info = busy.within(Method::Info, &ok);
    let _ = busy.request(info.clone());
    let mut paced = World::new();
    let _ = paced.answered();
    let _ = paced.request(info);
    let _ = paced.after(Duration::from_millis(300));
    let again = paced.within(Method::Info, &ok);
    let _ = paced.request(again);
    // Its bytes were kept before the pace of requests was.
    busy.call.local.recent = None;

    let mut unacknowledged = World::new();
    let invite = unacknowledged.invite();
    let to_bob = requests(&unacknowledged.request(invite)).remove(0);
    let _ = unacknowledged.response(crate::tests::ok(&to_bob));

    let mut early = World::with(Setting { early: [0].into(), ..setting() });
    let invite = early.invite();
    let to_bob = requests(&early.request(invite)).remove(0);
    let _ = early.response(answer(&to_bob, 180));

    let mut accounted = World::new();
    let _ = accounted.answered();

    let mut all = vec![
        ("answered", answered),
        ("ringing", ringing),
        ("cancelled", cancelled),
        ("deferred", deferred),
        ("busy", busy),
        ("unacknowledged", unacknowledged),
        ("paced", paced),
        ("early", early),
    ];
    // Their bytes were kept before the moment of the answer was.
    let legs = all.iter_mut().flat_map(|(_, world)| &mut world.call.crossing.legs);
    legs.for_each(|leg| leg.answered_at = None);
    all.push(("accounted", accounted));
    all
}

macro_rules! golden {
    ($($name:literal)*) => {
        [$((
            $name,
            &include_bytes!(concat!("../../golden/v1/", $name, ".crossing"))[..],
            &include_bytes!(concat!("../../golden/v1/", $name, ".local"))[..],
        ),)*]
    };
}

/// Of what rings early the two transactions of the INVITE cross, and no other; of the rest none.
#[test]
fn a_trimmed_call_has_the_transactions_that_crossed() {
    for (name, world) in kept() {
        let encoded = world.call.encode(world.now, &[]);
        let (trimmed, _) = Call::decode(
            key(),
            SCHEMA,
            &encoded.crossing,
            &Bytes::new(),
            Duration::ZERO,
            world.now,
        )
        .expect("it was just encoded");
        assert_eq!(trimmed.crossing, world.call.crossing, "{name}");
        match name {
            "early" => {
                assert_eq!(trimmed.local, world.call.local);
                assert!(encoded.crossing_deadline.is_some(), "it does not ring for ever");
            }
            _ => assert_eq!(trimmed.local.transactions(), 0, "{name}"),
        }
    }
}

/// The structs that read the bytes would write the same ones.
#[test]
fn what_is_written_is_what_is_read() {
    use prost::Message;
    for (name, world) in kept() {
        let effect = Effect::Transmit {
            to: Destination::Host { name: "edge.example.com".into(), port: 5060 },
            bytes: Bytes::from(vec![7; 20_000]),
        };
        let encoded = world.call.encode(world.now, &[effect]);
        let crossing =
            Kept::<super::crossing::Call>::decode(encoded.crossing.clone()).expect("it is read");
        let local = Kept::<super::local::Local>::decode(encoded.local.clone()).expect("it is read");
        assert_eq!(crossing.encode_to_vec(), encoded.crossing, "{name}");
        assert_eq!(local.encode_to_vec(), encoded.local, "{name}");
    }
}

/// The bytes of schema 1 as they were when it was released: they are read for ever.
#[test]
fn golden_bytes_of_schema_1_are_read() {
    let golden = golden![
        "answered" "ringing" "cancelled" "deferred" "busy" "unacknowledged" "paced" "early"
        "accounted"
    ];
    for ((name, world), (golden, crossing, local)) in kept().into_iter().zip(golden) {
        assert_eq!(name, golden);
        let (crossing, local) = (Bytes::from_static(crossing), Bytes::from_static(local));
        let (call, effects) = Call::decode(key(), 1, &crossing, &local, Duration::ZERO, world.now)
            .expect("golden bytes are read");
        assert_eq!(effects, []);
        assert_eq!(call, world.call, "{name}");
        if SCHEMA == 1 {
            let encoded = world.call.encode(world.now, &[]);
            assert_eq!((encoded.crossing, encoded.local), (crossing, local), "{name}");
        }
    }
}
