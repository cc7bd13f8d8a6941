//! Calls in quarantine, in the admin API's words.

use std::collections::BTreeMap;
use std::fmt::Write;

use admin_api::{QuarantineLine, QuarantineStory, StrikeLine};
use replica::stats::Counts;
use tier_protocol::{SetAside, Strike, StrikeKind};
use vocab::Instant;

use super::{decoded, ms, stamp_words};

fn cause(kind: StrikeKind) -> &'static str {
    match kind {
        StrikeKind::Panicked => "panicked",
        StrikeKind::Undecodable => "undecodable",
        StrikeKind::Broken => "broken",
        StrikeKind::Unreadable => "unreadable",
    }
}

/// How many calls were set aside, by cause; every cause is there.
pub(super) fn by_cause(counts: &Counts) -> BTreeMap<String, u64> {
    let of = |kind| match kind {
        StrikeKind::Panicked => counts.quarantined_panicked,
        StrikeKind::Undecodable => counts.quarantined_undecodable,
        StrikeKind::Broken => counts.quarantined_broken,
        StrikeKind::Unreadable => counts.quarantined_unreadable,
    };
    StrikeKind::ALL.into_iter().map(|kind| (cause(kind).into(), of(kind))).collect()
}

/// One line of the list.
pub(crate) fn line(aside: &SetAside) -> QuarantineLine {
    QuarantineLine {
        key: aside.key.to_string(),
        cause: cause(aside.kind()).into(),
        what: aside.strikes.last().map_or_else(String::new, |strike| strike.what.clone()),
        age_ms: ms(aside.age),
        strikes: aside.strikes.len() as u64,
        dormant: aside.dormant,
        home: aside.record.as_ref().map_or(0, |record| record.header.home().0),
        bytes: aside.bytes() as u64,
    }
}

/// All that is kept of one; with what is inside when `decodes`.
pub(crate) fn story(now: Instant, aside: &SetAside, decodes: bool) -> QuarantineStory {
    let record = aside.record.as_ref();
    let header = record.map(|record| &record.header);
    QuarantineStory {
        call: line(aside),
        origin: header.map_or(0, |header| header.origin.0),
        stamp: header.map_or_else(String::new, |header| stamp_words(&header.stamp)),
        schema: header.map_or(0, |header| header.schema),
        strikes: aside.strikes.iter().map(strike_line).collect(),
        summary: record.filter(|_| decodes).map_or_else(Vec::new, |record| decoded(now, record)),
        crossing_hex: record.map_or_else(String::new, |record| hex(&record.crossing)),
        local_hex: record.map_or_else(String::new, |record| hex(&record.local)),
    }
}

fn strike_line(strike: &Strike) -> StrikeLine {
    StrikeLine {
        cause: cause(strike.kind).into(),
        engine: strike.engine.0,
        age_ms: ms(strike.age),
        what: strike.what.clone(),
        message: String::from_utf8_lossy(&strike.message).into_owned(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
