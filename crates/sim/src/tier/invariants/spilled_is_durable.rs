//! A record that left memory is in the database, for as long as a complete member may ask for it.
//!
//! Seen twice: the row of every call that a complete member of the newest view has let go of, as
//! new as what was let go of; and that no such member asked for a row in vain. Source: decision 7,
//! "lets go of it when the very stamp that it holds is durable".

use crate::invariants::Violation;
use crate::tier::world::World;

const NAME: &str = "spilled_is_durable";

pub(super) fn check(world: &World) -> Result<(), Violation> {
    if let Some((at, replica, key, stamp)) = world.survey.in_neither.first() {
        return Err(Violation {
            invariant: NAME,
            seen: format!("r{replica} let go of {stamp:?} of {key}: no such row at {at:?}"),
        });
    }
    match world.survey.rows_lost.first() {
        None => Ok(()),
        Some((at, replica, key)) => Err(Violation {
            invariant: NAME,
            seen: format!("r{replica} asked for the row of {key:?} in vain, before {at:?}"),
        }),
    }
}
