//! One line for each word between tiers, for traces.

use tier_protocol::{Command, EngineWord, GateWord, Reply, SiteWord, SweepWord};
use vocab::{CallKey, Stamp};

fn short(key: CallKey) -> String {
    key.to_string()[..6].to_owned()
}

fn stamp(stamp: &Stamp) -> String {
    let (n, site) = (stamp.epoch.n, stamp.epoch.site);
    format!("{n}@{site}.{}.v{}", stamp.token.counter, stamp.version.0)
}

pub(crate) fn command(command: &Command) -> String {
    let key = short(command.key());
    match command {
        Command::LockAndGet { begins, .. } => format!("LockAndGet {key} begins={begins}"),
        Command::Get { .. } => format!("Get {key}"),
        Command::Confirm { .. } => format!("Confirm {key}"),
        Command::Put { record, flags, .. } => format!(
            "Put {key} {} boundary={} unreleased={} bytes={}+{} deadline={:?}",
            stamp(&record.header.stamp),
            flags.boundary,
            flags.unreleased,
            record.crossing.len(),
            record.local.len(),
            record.header.deadline
        ),
        Command::Unlock { .. } => format!("Unlock {key}"),
        Command::Renew { .. } => format!("Renew {key}"),
        Command::Delete { tombstone, .. } => format!("Delete {key} {}", stamp(&tombstone.stamp)),
        Command::StoreDormant { record, .. } => {
            format!("StoreDormant {key} {}", stamp(&record.header.stamp))
        }
        Command::StoreTombstone { tombstone, .. } => {
            format!("StoreTombstone {key} {}", stamp(&tombstone.stamp))
        }
        Command::Poisoned { strike, .. } => format!("Poisoned {key} {:?}", strike.kind),
    }
}

pub(crate) fn reply(reply: &Reply) -> String {
    match reply {
        Reply::Granted { key, token, cause, record, dormant, resume, floor } => format!(
            "Granted {} token={} {cause:?} record={} dormant={dormant} resume={resume} \
             floor={floor:?}",
            short(*key),
            token.counter,
            record.as_ref().map_or("none".to_owned(), |record| stamp(&record.header.stamp))
        ),
        Reply::Unchanged { key, token, .. } => {
            format!("Unchanged {} token={}", short(*key), token.counter)
        }
        Reply::Queued { key, .. } => format!("Queued {}", short(*key)),
        Reply::Busy { key, .. } => format!("Busy {}", short(*key)),
        Reply::NotHere { key, .. } => format!("NotHere {}", short(*key)),
        Reply::Quarantined { key, .. } => format!("Quarantined {}", short(*key)),
        Reply::StaleView { key, .. } => format!("StaleView {}", short(*key)),
        Reply::Got { key, .. } => format!("Got {}", short(*key)),
        Reply::Confirmed { key, .. } => format!("Confirmed {}", short(*key)),
        Reply::Stored { key, stamp: of } => format!("Stored {} {}", short(*key), stamp(of)),
        Reply::Refused { key, stamp: of, why } => {
            format!("Refused {} {} {why:?}", short(*key), stamp(of))
        }
        Reply::Dormant { key, outcome, .. } => format!("Dormant {} {outcome:?}", short(*key)),
    }
}

pub(crate) fn engine(word: &EngineWord) -> String {
    match word {
        EngineWord::ForwardTo { site, message } => {
            format!("ForwardTo site {site}: {}", short(message.key))
        }
        EngineWord::Pull { key, .. } => format!("Pull {}", short(*key)),
        EngineWord::BatchDone { id, superseded } => {
            format!("BatchDone {id} superseded={}", superseded.len())
        }
        EngineWord::BatchDeferred { id } => format!("BatchDeferred {id}"),
        EngineWord::BatchPoison { id, superseded } => {
            format!("BatchPoison {id} superseded={}", superseded.len())
        }
    }
}

pub(crate) fn gate(word: &GateWord) -> String {
    match word {
        GateWord::Sites { here, alive, inbox, .. } => {
            format!("Sites here={here:?} alive={alive:?} inbox={inbox}")
        }
        GateWord::Pulled { key, answer, .. } => {
            format!("Pulled {} {}", short(*key), pull_answer(answer))
        }
        GateWord::Forwarded { from, message } => {
            format!("Forwarded from site {from}: {}", short(message.key))
        }
        GateWord::Batch { id, bytes, .. } => format!("Batch {id} bytes={}", bytes.len()),
    }
}

/// `None` for words that say nothing of a call: they are too many.
pub(crate) fn site(word: &SiteWord) -> Option<String> {
    Some(match word {
        SiteWord::Hello { .. } => return None,
        SiteWord::Batch { id, bytes, .. } => format!("Batch {id} bytes={}", bytes.len()),
        SiteWord::BatchStored { id, .. } => format!("BatchStored {id}"),
        SiteWord::BatchRefused { id, .. } => format!("BatchRefused {id}"),
        SiteWord::Superseded(calls) => {
            let keys: Vec<String> = calls.iter().map(|call| short(call.key)).collect();
            format!("Superseded {keys:?}")
        }
        SiteWord::KeysetAsk { cursor } => format!("KeysetAsk after {:?}", cursor.map(short)),
        SiteWord::KeysetPage { entries, next, ask_later } => {
            let more = next.is_some();
            format!("KeysetPage entries={} more={more} ask_later={ask_later}", entries.len())
        }
        SiteWord::Pull { key, .. } => format!("Pull {}", short(*key)),
        SiteWord::Pulled { key, answer, .. } => {
            format!("Pulled {} {}", short(*key), pull_answer(answer))
        }
        SiteWord::Forward(message) => format!("Forward {}", short(message.key)),
        SiteWord::Sweep { ask, word } => sweep(*ask, word)?,
    })
}

/// `None` for words that say that all is as it should be.
fn sweep(ask: u64, word: &SweepWord) -> Option<String> {
    let shorts = |keys: &mut dyn Iterator<Item = CallKey>| keys.map(short).collect::<Vec<_>>();
    Some(match word {
        SweepWord::Digest { .. } | SweepWord::Same { .. } => return None,
        SweepWord::Differs { slot } => format!("Differs {ask} slot={}", slot.0),
        SweepWord::Calls { slot, calls } => {
            let keys = shorts(&mut calls.iter().map(|(key, _)| *key));
            format!("Calls {ask} slot={} {keys:?}", slot.0)
        }
        SweepWord::Lacks { slot, keys } => {
            format!("Lacks {ask} slot={} {:?}", slot.0, shorts(&mut keys.iter().copied()))
        }
        SweepWord::Wanted => "Wanted".to_owned(),
    })
}

fn pull_answer(answer: &tier_protocol::PullAnswer) -> String {
    match answer {
        tier_protocol::PullAnswer::Yours(record) => {
            format!("Yours {}", stamp(&record.header.stamp))
        }
        tier_protocol::PullAnswer::Lives(epoch) => format!("Lives {epoch:?}"),
        tier_protocol::PullAnswer::NoSuch => "NoSuch".to_owned(),
        tier_protocol::PullAnswer::AskLater => "AskLater".to_owned(),
    }
}
