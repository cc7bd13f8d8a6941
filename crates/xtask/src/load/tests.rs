//! What a clone has of its original, and what it has of its own.

use bytes::Bytes;
use tier_protocol::{Hint, RecordHeader};
use vocab::{Epoch, LockToken, SiteId, Stamp, Version, ViewNumber};

use super::*;

const SECRET: &str = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";

fn original() -> Record {
    let token = LockToken { view: ViewNumber(1), counter: 7 };
    let epoch = Epoch { n: 65_536, site: SiteId(1) };
    let stamp = Stamp { epoch, token, version: Version(9) };
    Record {
        header: RecordHeader {
            key: CallKey([1; 16]),
            stamp,
            origin: SiteId(1),
            backup: Some(SiteId(2)),
            schema: 1,
            age: Duration::from_secs(5),
            deadline: Some(Duration::from_secs(900)),
            crossing_deadline: Some(Duration::from_secs(900)),
            hints: vec![(0, Hint::Steady)],
            crossed: vec![(SiteId(2), stamp)],
            newer: None,
        },
        crossing: Bytes::from_static(b"crossing"),
        local: Bytes::from_static(b"local"),
    }
}

fn load(clones: u64, due_within_s: Option<u64>) -> Load {
    let due_within = due_within_s.map(Duration::from_secs);
    let secret = secret(SECRET).expect("64 digits");
    Load::new(secret, "test", vec![original()], clones, due_within).expect("it can be loaded")
}

#[test]
fn a_clone_is_its_original_under_another_key() {
    let mut load = load(1, None);
    let key = load.next().expect("one is wanted");
    let clone = load.record(key, None).expect("nothing is held");
    let original = original();
    assert_eq!(clone.header.key, key);
    assert_eq!((&clone.crossing, &clone.local), (&original.crossing, &original.local));
    assert_eq!(clone.header.deadline, original.header.deadline);
    assert_eq!(clone.header.age, Duration::ZERO);
    assert!(clone.header.crossed.is_empty(), "no other site has it");
    assert_eq!(load.next(), None);
}

#[test]
fn keys_follow_from_the_name_and_differ() {
    let key = |name, clone| Load::key(&secret(SECRET).expect("64 digits"), name, clone);
    assert_eq!(key("a", 1), key("a", 1));
    assert_ne!(key("a", 1), key("a", 2));
    assert_ne!(key("a", 1), key("b", 1));
}

#[test]
fn deadlines_are_spread() {
    let mut load = load(3, Some(60));
    let mut due_in = || {
        let clone = load.next().and_then(|key| load.record(key, None)).expect("it is wanted");
        clone.header.deadline.expect("the original has one") - clone.header.age
    };
    assert_eq!([due_in(), due_in(), due_in()], [0, 20, 40].map(Duration::from_secs));
    let secret = secret(SECRET).expect("64 digits");
    let late = Some(Duration::from_secs(901));
    assert!(Load::new(secret, "test", vec![original()], 1, late).is_err());
}

#[test]
fn a_clone_that_is_there_is_left_alone() {
    let mut load = load(1, None);
    let key = load.next().expect("one is wanted");
    assert_eq!(load.record(key, Some(&original())), None);
    assert_eq!(load.there, 1);
}

#[test]
fn a_secret_has_64_digits() {
    assert!(secret(SECRET).is_some());
    for wrong in ["", "5a", &SECRET[1..], &SECRET.replace('a', "g")] {
        assert!(secret(wrong).is_none(), "{wrong}");
    }
}
