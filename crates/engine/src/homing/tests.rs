//! Every row of the homing decision.

use std::time::Duration;

use bytes::Bytes;
use tier_protocol::{Cause, GateWord, Record, RecordHeader, SiteState};
use vocab::{CallKey, Epoch, LockToken, SiteId, Stamp, Version};

use super::{Homing, find_home};
use crate::sites::Sites;

const HERE: SiteId = SiteId(1);
const OTHER: SiteId = SiteId(2);
const ASKED: Cause = Cause::Asked { turn: 1 };

#[test]
fn an_active_call_of_this_site_is_ours() {
    check(record(HERE, true), false, ASKED, &sites(&[OTHER], &[]), Homing::Ours);
    check(record(HERE, true), false, Cause::Due, &sites(&[], &[]), Homing::Ours);
}

#[test]
fn a_dormant_call_that_came_home_wakes() {
    check(record(HERE, true), true, ASKED, &sites(&[OTHER], &[]), Homing::Wake);
    check(record(HERE, true), true, Cause::Activate, &sites(&[OTHER], &[]), Homing::Wake);
}

#[test]
fn a_call_whose_home_answers_is_forwarded() {
    check(record(OTHER, true), true, ASKED, &sites(&[OTHER], &[OTHER]), Homing::Away(OTHER));
}

#[test]
fn a_call_whose_home_is_silent_wakes_if_it_may() {
    check(record(OTHER, true), true, ASKED, &sites(&[], &[OTHER]), Homing::Wake);
    check(record(OTHER, true), true, ASKED, &sites(&[], &[]), Homing::Asleep);
}

#[test]
fn the_word_to_activate_is_obeyed_whoever_answers() {
    check(record(OTHER, true), true, Cause::Activate, &sites(&[OTHER], &[]), Homing::Wake);
}

#[test]
fn a_stub_is_forwarded_or_sought() {
    check(record(OTHER, false), true, ASKED, &sites(&[OTHER], &[]), Homing::Away(OTHER));
    check(record(OTHER, false), true, ASKED, &sites(&[], &[OTHER]), Homing::Seek);
    check(record(HERE, false), true, ASKED, &sites(&[OTHER], &[]), Homing::Seek);
    check(record(OTHER, false), true, Cause::Activate, &sites(&[], &[]), Homing::Seek);
}

fn check(record: Record, dormant: bool, cause: Cause, sites: &Sites, expect: Homing) {
    assert_eq!(find_home(&record, dormant, cause, sites), expect);
}

fn sites(alive: &[SiteId], wakes: &[SiteId]) -> Sites {
    let mut sites = Sites::new(HERE, 1);
    sites.note(GateWord::Sites {
        here: SiteState::Serving,
        start: 1,
        alive: alive.iter().map(|site| (*site, SiteState::Serving)).collect(),
        wakes_on_message: wakes.to_vec(),
        inbox: 0,
    });
    sites
}

fn record(home: SiteId, with_body: bool) -> Record {
    let stamp =
        Stamp { epoch: Epoch::of_start(home, 1), token: LockToken::default(), version: Version(1) };
    let header = RecordHeader {
        key: CallKey([1; 16]),
        stamp,
        origin: home,
        backup: None,
        schema: u32::from(with_body),
        age: Duration::ZERO,
        deadline: None,
        crossing_deadline: None,
        hints: Vec::new(),
        crossed: Vec::new(),
        newer: None,
    };
    let crossing = if with_body { Bytes::from_static(b"state") } else { Bytes::new() };
    Record { header, crossing, local: Bytes::new() }
}
