//! Which site gets a request that carries no token: weighted rendezvous hashing.
//!
//! A pure function of the policy, the source address and the Call-ID, in integers only: every
//! balancer of a deployment, on any machine, answers alike. When a site leaves, only its own share
//! moves.

use std::hash::Hasher;
use std::net::IpAddr;

use siphasher::sip::SipHasher24;
use vocab::SiteId;

use crate::Policy;

/// The sites with a share under `policy`, the chosen one first, then the stand-ins in order.
pub(crate) fn sites_for(policy: &Policy, source: IpAddr, call_id: &[u8]) -> Vec<SiteId> {
    let mut scored: Vec<(u64, SiteId)> = policy
        .weights
        .iter()
        .filter(|(_, weight)| **weight > 0)
        .map(|(&site, &weight)| ((distance(site, source, call_id) << 20) / u64::from(weight), site))
        .collect();
    scored.sort_unstable();
    scored.into_iter().map(|(_, site)| site).collect()
}

/// `-log2(h)` for a hash `h` in (0, 1], scaled: exponentially distributed, so that dividing it by a
/// weight makes the least of several fall to each site in proportion to its weight.
fn distance(site: SiteId, source: IpAddr, call_id: &[u8]) -> u64 {
    // Constant keys: the choice must be the same everywhere. A stranger who aims all his calls at
    // one site gains nothing that choosing his Call-IDs would not give him anyway.
    let mut hasher = SipHasher24::new_with_keys(0x7265_686f_6d65_0001, 0x6564_6765_0000_0002);
    hasher.write(&site.0.to_be_bytes());
    match source.to_canonical() {
        IpAddr::V4(ip) => hasher.write(&ip.octets()),
        IpAddr::V6(ip) => hasher.write(&ip.octets()),
    }
    hasher.write(call_id);
    minus_log2(hasher.finish())
}

/// `-log2((h + 1) / 2^64)` with 32 fractional bits, by repeated squaring.
fn minus_log2(h: u64) -> u64 {
    let h = h.max(1);
    let zeros = h.leading_zeros();
    // The mantissa, in [1, 2) with 63 fractional bits.
    let mut mantissa = h << zeros;
    let mut fraction = 0_u64;
    for _ in 0..32 {
        let square = (u128::from(mantissa) * u128::from(mantissa)) >> 63;
        fraction <<= 1;
        if square >> 64 != 0 {
            fraction |= 1;
            mantissa = u64::try_from(square >> 1).unwrap_or(u64::MAX);
        } else {
            mantissa = u64::try_from(square).unwrap_or(u64::MAX);
        }
    }
    // log2(h) = 63 - zeros + fraction / 2^32.
    (u64::from(zeros) << 32) + ((1 << 32) - fraction)
}

#[cfg(test)]
mod tests;
