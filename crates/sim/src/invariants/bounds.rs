//! Marks, batches in flight and waiters stay within their bounds.
//!
//! Source: "Limits" in ARCHITECTURE; with the link down the marks can only grow to the number of
//! calls.

use super::Violation;
use crate::world::World;

pub(super) fn check(world: &World) -> Result<(), Violation> {
    match world.survey.over_bound.first() {
        None => Ok(()),
        Some((at, site, what)) => Err(Violation {
            invariant: "bounds",
            seen: format!("{what} of site {site} over the bound at {at:?}"),
        }),
    }
}
