//! When a wait is over, and what is said until then.

use std::collections::BTreeMap;

use admin_api::{DormantOfSite, Evacuation, Retarget, ReturnStatus};

use super::*;

#[test]
fn an_evacuation_is_over_when_every_partition_says_that_no_call_is_left() {
    let evacuation = Some(Evacuation { to: 2, left: 7, wanted: true });
    let mut sites = SitesReply { evacuation, partitions: 2, ..SitesReply::default() };
    let seen = evacuated(&sites).expect("it is on");
    assert_eq!(seen, Seen { left: 7, is_over: false, said: "7 left".into() });
    sites.evacuation = Some(Evacuation { to: 2, left: 0, wanted: false });
    sites.partitions_told = 1;
    let seen = evacuated(&sites).expect("it is on");
    assert!(!seen.is_over && seen.said.contains("NO CALLS"), "{seen:?}");
    sites.partitions_told = 2;
    assert!(evacuated(&sites).expect("it is on").is_over);
    sites.evacuation = None;
    assert!(evacuated(&sites).is_err(), "somebody ended it");
}

#[test]
fn a_return_is_over_when_nothing_is_awaited_in_either_direction() {
    let mut sites = SitesReply::default();
    sites.returning = ReturnStatus { state: "runs".into(), refill_left: 1, ..sites.returning };
    sites.returning.hand_back_left.insert(2, 3);
    assert_eq!(returned(&sites).expect("it runs").left, 4);
    sites.returning.refill_left = 0;
    sites.returning.hand_back_left.clear();
    sites.returning.keyset_awaited = vec![2];
    let seen = returned(&sites).expect("it runs");
    assert!(!seen.is_over && seen.said.contains("site 2"), "{seen:?}");
    sites.returning.keyset_awaited.clear();
    assert!(returned(&sites).expect("it runs").is_over);
    sites.returning.state = "paused".into();
    assert!(returned(&sites).is_err());
}

#[test]
fn a_retarget_is_over_when_the_site_says_so_and_not_at_a_lucky_moment() {
    let retarget = Some(Retarget { to: 3, at_risk: 0, complete: false });
    let mut sites = SitesReply { retarget, ..SitesReply::default() };
    assert!(!retargeted(3, &sites).expect("in force").is_over);
    assert!(retargeted(2, &sites).is_err());
    sites.retarget = Some(Retarget { to: 3, at_risk: 5, complete: true });
    assert!(retargeted(3, &sites).expect("in force").is_over);
}

fn kept(kept: DormantOfSite, told: u64) -> BackupReply {
    let kept = BTreeMap::from([(1, kept)]);
    BackupReply { kept, partitions: 2, partitions_told: told, ..BackupReply::default() }
}

#[test]
fn an_activation_ends_where_its_site_answers_again() {
    let of = |calls, alive| {
        kept(DormantOfSite { calls, alive, activating: alive, ..DormantOfSite::default() }, 2)
    };
    assert!(awake(1, false, &of(0, false)).expect("it is gone").is_over);
    assert!(awake(1, false, &of(3, true)).is_err());
    let seen = awake(1, true, &of(3, true)).expect("by force");
    assert_eq!((seen.left, seen.is_over), (3, false));
}

#[test]
fn an_activation_is_over_when_no_order_runs_and_no_batch_waits_and_all_have_told() {
    let idle = DormantOfSite::default;
    let is_over = |of, told| awake(1, false, &kept(of, told)).map(|seen| seen.is_over).ok();
    assert_eq!(is_over(idle(), 2), Some(true));
    assert_eq!(is_over(idle(), 1), Some(false), "one partition may have all of them");
    assert_eq!(is_over(DormantOfSite { inbox_batches: 1, ..idle() }, 2), Some(false));
    assert_eq!(is_over(DormantOfSite { activating: true, ..idle() }, 2), Some(false));
    // What cannot be woken is waited for by nobody.
    let left = DormantOfSite { calls: 2, activated: true, ..idle() };
    let seen = awake(1, false, &kept(left, 2)).expect("it is through");
    assert!(seen.is_over && seen.said.contains("2 sleep still"), "{seen:?}");
    assert_eq!(is_over(DormantOfSite { calls: 2, ..idle() }, 2), None, "somebody ended it");
}

#[test]
fn a_removal_is_over_when_no_order_runs_and_no_batch_waits_and_all_have_told() {
    let idle = DormantOfSite::default;
    let is_over = |of, told| removed(1, &kept(of, told)).map(|seen| seen.is_over).ok();
    assert_eq!(is_over(idle(), 2), Some(true));
    assert_eq!(is_over(idle(), 0), Some(false));
    assert_eq!(is_over(DormantOfSite { deleting: true, ..idle() }, 2), Some(false));
    assert_eq!(is_over(DormantOfSite { inbox_batches: 1, ..idle() }, 2), Some(false));
    assert_eq!(is_over(DormantOfSite { calls: 2, deleted: true, ..idle() }, 2), Some(true));
    assert_eq!(is_over(DormantOfSite { calls: 2, ..idle() }, 2), None);
}

#[test]
fn a_sweep_is_over_when_every_partition_ended_one_and_declined_by_a_new_primary() {
    let told = |done, unanswered, led_by: &[u64]| {
        let sweep = SweepStatus { done, unanswered, ..SweepStatus::default() };
        SitesReply {
            sweeps: BTreeMap::from([(2, sweep)]),
            partitions: 2,
            partitions_told: 2,
            led_by: led_by.to_vec(),
            ..SitesReply::default()
        }
    };
    let before = told(4, 3, &[1, 2]);
    assert!(!swept(&before, &told(5, 3, &[1, 2])).expect("it goes on").is_over);
    let seen = swept(&before, &told(6, 3, &[1, 2])).expect("it is through");
    assert!(seen.is_over && !seen.said.contains("UNANSWERED"), "{seen:?}");
    let seen = swept(&before, &told(6, 8, &[1, 2])).expect("it is through");
    assert!(seen.is_over && seen.said.contains("5 hash slots went UNANSWERED"), "{seen:?}");
    assert!(swept(&before, &told(3, 3, &[1, 7])).is_err());
    assert!(swept(&before, &told(2, 3, &[1, 2])).is_err(), "a restart");
}
