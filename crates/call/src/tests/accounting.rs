//! What is written down of calls: once each, of whatever they end by, and by one id everywhere.

use servlet::EndReason;
use sip_message::Method;
use vocab::SiteId;

use super::*;
use crate::Account;

fn accounts(world: &World) -> Vec<Account> {
    let each = world.accounts.iter().map(|effect| match effect {
        Effect::Account(account) => (**account).clone(),
        Effect::Transmit { .. } => panic!("a message was kept as a record"),
    });
    each.collect()
}

#[test]
fn an_answered_call_is_written_down_when_it_ends() {
    let mut world = World::new();
    let began = world.now;
    let (ok, _) = world.answered();
    let _ = world.after(secs(60));
    assert_eq!(accounts(&world), []);
    let bye = world.within(Method::Bye, &ok);
    let _ = world.request(bye.clone());
    let [account] = &accounts(&world)[..] else { panic!("{:?}", world.accounts) };
    assert_eq!(account.from, "\"Alice\" <sip:alice@example.com>");
    assert_eq!(
        (&account.to[..], &account.call_id[..]),
        (&b"<sip:bob@example.com>"[..], &b"call-1"[..])
    );
    assert_eq!((account.begun_at, account.answered_at), (began, Some(began)));
    assert_eq!((account.ended_at, account.why), (began + secs(60), EndReason::Bye));
    let _ = world.request(bye);
    let _ = world.after(secs(60));
    assert_eq!(accounts(&world).len(), 1, "what lingers writes nothing");
}

#[test]
fn a_call_without_an_answer_is_written_down_too() {
    let mut world = World::new();
    let invite = world.invite();
    let to_bob = requests(&world.request(invite)).remove(0);
    let _ = world.response(answer(&to_bob, 486));
    let _ = world.after(secs(60));
    let [account] = &accounts(&world)[..] else { panic!("{:?}", world.accounts) };
    assert_eq!(
        (account.answered_at, account.why),
        (None, EndReason::Failed(StatusCode::BUSY_HERE))
    );

    let mut world = World::new();
    let invite = world.invite();
    let to_bob = requests(&world.request(invite)).remove(0);
    let _ = world.response(answer(&to_bob, 180));
    let cancel = world.cancel();
    let _ = world.request(cancel);
    let _ = world.response(answer(&to_bob, 487));
    let _ = world.after(secs(60));
    let [account] = &accounts(&world)[..] else { panic!("{:?}", world.accounts) };
    assert_eq!((account.answered_at, account.why), (None, EndReason::Cancelled));
}

#[test]
fn other_requests_and_other_settings_are_not_written_down() {
    let mut world = World::new();
    let message = world.plain(Method::Message, "sip:bob@example.com");
    let to_bob = requests(&world.request(message)).remove(0);
    let _ = world.response(answer(&to_bob, 200));
    let _ = world.after(secs(60));
    assert_eq!(accounts(&world), []);

    let mut world = World::with(Setting { accounts: false, ..setting() });
    let (ok, _) = world.answered();
    let bye = world.within(Method::Bye, &ok);
    let _ = world.request(bye);
    assert_eq!(accounts(&world), []);
}

/// Behind a cut one site ends a call by a BYE and the other one its copy by the session timer: two
/// records, which their id makes one.
#[test]
fn d34_both_sites_write_a_call_down_under_one_id() {
    let mut world = World::new();
    let (ok, _) = world.answered();
    let encoded = world.call.encode(world.now, &[]);
    let bye = world.within(Method::Bye, &ok);
    let _ = world.request(bye);
    let mut there = World::new();
    there.setting.here = SiteId(2);
    there.now = Instant(1_000_000_000_000_000);
    let age = secs(100_000);
    let (schema, local) = (encoded.schema, Bytes::new());
    let copy = Call::decode(key(), schema, &encoded.crossing, &local, age, there.now);
    there.call = copy.expect("it crossed whole").0;
    let _ = there.input(Input::Activate);
    let _ = there.after(secs(120));
    let ([here], [there]) = (&accounts(&world)[..], &accounts(&there)[..]) else {
        panic!("{:?} and {:?}", world.accounts, there.accounts)
    };
    let id = |account: &Account| (account.key, account.salt, account.leg);
    assert_eq!(id(here), id(there));
    assert_eq!(there.why, EndReason::Expired);
    let talked = |account: &Account| account.answered_at.map(|at| account.ended_at.since(at));
    assert_eq!(talked(here), Some(Duration::ZERO));
    assert!(talked(there) > Some(age), "the answer is as old as the copy");
}

#[test]
fn a_torn_down_call_is_written_down() {
    let mut world = World::new();
    let _ = world.answered();
    let step = world.call.tear_down(world.now, &world.setting);
    let ends = step.effects.iter().filter(|effect| matches!(effect, Effect::Account(_)));
    assert_eq!(ends.count(), 1);
}
