//! Records of calls that ended: one id for each, whoever dies and wherever the call lives.

use std::collections::BTreeMap;
use std::time::Duration;

use call::Account;
use engine::Limits;
use tier_protocol::{Command, Entry, Refusal, Reply};
use vocab::{CallKey, EngineId, Epoch, SiteId};

use crate::basic::answered;
use crate::inbox::apply;
use crate::world::{ALICE, World, b2bua};

type Id = (CallKey, u32, u16);

/// How often each record was written, and in which epochs.
fn written(worlds: &[&World]) -> BTreeMap<Id, Vec<Epoch>> {
    let mut all: BTreeMap<Id, Vec<Epoch>> = BTreeMap::new();
    for (account, epoch) in worlds.iter().flat_map(|world| &world.accounts) {
        let Account { key, salt, leg, .. } = account;
        all.entry((*key, *salt, *leg)).or_default().push(*epoch);
    }
    all
}

#[test]
fn a_record_leaves_once_the_end_is_stored() {
    let mut world = World::new();
    let mut call = answered(&mut world, "once");
    world.deaf = Some(EngineId(1));
    world.deliver(1, ALICE, call.alice.request("BYE"));
    assert_eq!(world.accounts, [], "nobody has said that the put is stored");
    // The engine dies between the put and its unlock: another one resumes.
    world.kill(1);
    let home = world.puts[0].header.stamp.epoch;
    assert_eq!(world.accounts.len(), 1);
    assert_eq!(world.accounts[0].1, home);
    world.advance(Duration::from_secs(60));
    assert!(!world.holds(call.key));
    assert_eq!(world.accounts.len(), 1);
}

/// The engine sent everything and died before anybody heard its unlock.
#[test]
fn a_record_that_is_written_again_has_the_same_id_and_epoch() {
    let mut world = World::new();
    let mut call = answered(&mut world, "again");
    let mut unheard = true;
    world.intercept = Some(Box::new(move |command| match command {
        // No answer is wanted: what comes in its stead is of no turn.
        Command::Unlock { key, .. } if unheard => {
            unheard = false;
            Some(Reply::NotHere { key: *key, turn: 0 })
        }
        _ => None,
    }));
    world.deliver(1, ALICE, call.alice.request("BYE"));
    assert_eq!(world.accounts.len(), 1);
    world.kill(1);
    assert_eq!(world.accounts.len(), 2, "its successor cannot know");
    let all = written(&[&world]);
    let epochs: Vec<&Epoch> = all.values().flatten().collect();
    assert_eq!((all.len(), epochs[0]), (1, epochs[1]));
    assert_eq!(world.accounts[0].0.ended_at, world.accounts[1].0.ended_at);
}

#[test]
fn a_refused_end_is_not_written_down() {
    let mut world = World::new();
    let mut call = answered(&mut world, "refused");
    let mut refused = 0;
    world.intercept = Some(Box::new(move |command| match command {
        Command::Put { record, .. } if refused < 2 => {
            refused += 1;
            let (key, stamp) = (record.header.key, record.header.stamp);
            Some(Reply::Refused { key, stamp, why: Refusal::NotTheBase { held: None } })
        }
        _ => None,
    }));
    world.deliver(1, ALICE, call.alice.request("BYE"));
    assert_eq!(world.accounts.len(), 1);
}

/// It crosses, wakes at site 2, ends there; the copy that site 1 may still have ends by its timer.
#[test]
fn d33_one_record_of_a_call_that_was_taken_over() {
    let mut home = World::new();
    let mut call = answered(&mut home, "crossed");
    let mut backup = World::of_site(SiteId(2), Limits::default(), vec![b2bua()]);
    apply(&mut backup, 1, &[Entry::Record(home.last_put().trimmed())]);
    backup.sites(&[], &[1], 0);
    backup.deliver(1, ALICE, call.alice.request("BYE"));
    assert_eq!((home.accounts.len(), backup.accounts.len()), (0, 1));
    let away = backup.accounts[0].1;
    assert_eq!(away.site, SiteId(2));
    assert!(away > home.last_put().header.stamp.epoch);
    // Site 1 was alive behind a cut: its own record of the same call has the same id, so that it
    // can give way.
    home.advance(Duration::from_secs(3_600));
    assert_eq!(home.accounts.len(), 1);
    let all = written(&[&home, &backup]);
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all.values().flatten().max(), Some(&away), "the later home is told by its epoch");
    assert_eq!(backup.accounts[0].0.why, servlet::EndReason::Bye);
    assert_ne!(home.accounts[0].0.why, servlet::EndReason::Bye, "it only timed out");
}
