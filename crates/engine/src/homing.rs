//! Whose call is it? Decided by the record's header alone, and by which sites answer.

use tier_protocol::{Cause, Record};
use vocab::SiteId;

use crate::sites::Sites;

/// What a grant's record says about where the turn is to be worked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Homing {
    /// The call is active here: step it.
    Ours,
    /// The call is dormant and wakes here: activate it, then step it.
    Wake,
    /// The call lives at a site that answers: forward its messages.
    Away(SiteId),
    /// Only its header is held and its home does not answer: other sites may know more.
    Seek,
    /// The call is dormant, its home does not answer, and a message may not wake it here.
    Asleep,
}

/// Finds whose call `record` is.
pub(crate) fn find_home(record: &Record, dormant: bool, cause: Cause, sites: &Sites) -> Homing {
    let home = record.header.home();
    if is_stub(record) {
        return match home != sites.here() && sites.is_alive(home) {
            true => Homing::Away(home),
            false => Homing::Seek,
        };
    }
    if home == sites.here() {
        return if dormant { Homing::Wake } else { Homing::Ours };
    }
    match cause {
        Cause::Activate => Homing::Wake,
        Cause::Asked { .. }
        | Cause::Due
        | Cause::Resume
        | Cause::HandBack { .. }
        | Cause::Quarantined => {
            if sites.is_alive(home) {
                Homing::Away(home)
            } else if sites.wakes_on_message(home) {
                Homing::Wake
            } else {
                Homing::Asleep
            }
        }
    }
}

/// The schema number of a record that says where the call lives and holds no state of it.
const STUB_SCHEMA: u32 = 0;

/// Whether the record is an away stub.
pub(crate) fn is_stub(record: &Record) -> bool {
    record.header.schema == STUB_SCHEMA
}

#[cfg(test)]
mod tests;
