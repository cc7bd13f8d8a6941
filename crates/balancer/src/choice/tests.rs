//! The choice is stable, proportional, and moves only what it must.

use std::net::Ipv4Addr;

use super::*;

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn policy(weights: &[(u16, u32)]) -> Policy {
    Policy {
        version: 1,
        weights: weights.iter().map(|&(site, weight)| (SiteId(site), weight)).collect(),
        ..Policy::default()
    }
}

fn first(policy: &Policy, call: usize) -> SiteId {
    sites_for(policy, SOURCE, format!("call-{call}@example.com").as_bytes())[0]
}

#[test]
fn the_logarithm_is_exact_at_powers_of_two() {
    assert_eq!(minus_log2(1 << 63), 1 << 32);
    assert_eq!(minus_log2(1 << 62), 2 << 32);
    assert_eq!(minus_log2(1), 64 << 32);
    assert_eq!(minus_log2(0), 64 << 32);
    assert!(minus_log2(u64::MAX) <= 1);
    let three_quarters = minus_log2(3 << 62) as f64 / 2_f64.powi(32);
    assert!((three_quarters - (4.0_f64 / 3.0).log2()).abs() < 1e-8, "{three_quarters}");
}

#[test]
fn shares_follow_weights() {
    let policy = policy(&[(1, 1), (2, 3), (3, 0)]);
    let mut counts = [0_u32; 4];
    for call in 0..8_000 {
        counts[usize::from(first(&policy, call).0)] += 1;
    }
    assert_eq!(counts[3], 0, "a site without a share gets nothing");
    assert!((1_800..2_200).contains(&counts[1]), "{counts:?}");
    assert!((5_800..6_200).contains(&counts[2]), "{counts:?}");
}

#[test]
fn a_leaving_site_moves_only_its_own_calls() {
    let (all, without) = (policy(&[(1, 1), (2, 1), (3, 1)]), policy(&[(1, 1), (3, 1)]));
    for call in 0..2_000 {
        let before = first(&all, call);
        let after = first(&without, call);
        assert!(before == after || before == SiteId(2));
    }
}

#[test]
fn the_stand_ins_are_in_order_and_distinct() {
    let policy = policy(&[(1, 5), (2, 5), (3, 5)]);
    let mut sites = sites_for(&policy, SOURCE, b"x");
    assert_eq!(sites, sites_for(&policy, SOURCE, b"x"));
    sites.sort_unstable();
    assert_eq!(sites, [SiteId(1), SiteId(2), SiteId(3)]);
}

#[test]
fn a_mapped_source_is_the_same_source() {
    let mapped = IpAddr::V6(Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped());
    let policy = policy(&[(1, 1), (2, 1), (3, 1), (4, 1)]);
    for call in 0..50_u8 {
        assert_eq!(sites_for(&policy, SOURCE, &[call]), sites_for(&policy, mapped, &[call]));
    }
}

/// Balancers of different versions must agree: these answers never change.
#[test]
fn the_choice_is_golden() {
    let policy = policy(&[(1, 1), (2, 1)]);
    let chosen: Vec<u16> = (0..16).map(|call| first(&policy, call).0).collect();
    assert_eq!(chosen, [2, 1, 2, 2, 2, 2, 1, 1, 2, 1, 2, 1, 1, 2, 2, 1]);
}
