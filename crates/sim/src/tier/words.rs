//! Words of one site for traces, beside those of [`crate::words`].

use tier_protocol::{Command, PartitionView, PeerWord};

/// Whether the command is a put or a removal.
pub(crate) fn is_put(command: &Command) -> bool {
    matches!(command, Command::Put { .. } | Command::Delete { .. })
}

/// `None` for signs of life: they are too many.
pub(crate) fn peer(word: &PeerWord) -> Option<String> {
    Some(match word {
        PeerWord::Ping { .. } | PeerWord::Pong { .. } => return None,
        PeerWord::News { revision, .. } => format!("News of the map of {revision}"),
        PeerWord::CopyAsk { view, after, .. } => format!("CopyAsk [{}] after {after:?}", view.0),
        PeerWord::CopyPage { view, run, next, .. } => {
            let calls = &run.calls;
            let keys: Vec<String> =
                calls.iter().map(|call| call.record.header.key.to_string()[..6].into()).collect();
            let removed = run.removed.len();
            format!("CopyPage [{}] {keys:?} removed={removed} more={}", view.0, next.is_some())
        }
        PeerWord::Compare { view, digest, .. } => format!("Compare [{}] {digest:016x}", view.0),
        PeerWord::CompareAsk { view, .. } => format!("CompareAsk [{}]", view.0),
        PeerWord::CompareKeys { view, calls, .. } => {
            format!("CompareKeys [{}] {} calls", view.0, calls.len())
        }
        PeerWord::Repair { view, keys } => format!("Repair [{}] {keys:?}", view.0),
        PeerWord::Repaired { view, calls, gone, floor, spilled: _ } => {
            let stamps: Vec<_> = calls.iter().map(|call| call.record.header.stamp).collect();
            format!("Repaired [{}] {stamps:?} gone={gone:?} floor={floor:?}", view.0)
        }
        PeerWord::Spilled { view, calls } => format!("Spilled [{}] {}", view.0, calls.len()),
        PeerWord::RowsAsk { .. }
        | PeerWord::RowsFree { .. }
        | PeerWord::ViewAsk { .. }
        | PeerWord::ViewSame { .. }
        | PeerWord::Ship { .. }
        | PeerWord::Shipped { .. } => return None,
        PeerWord::SpilledAsk { view, calls } => {
            format!("SpilledAsk [{}] {}", view.0, calls.len())
        }
        PeerWord::Struck { view, strikes } => format!("Struck [{}] {}", view.0, strikes.len()),
        PeerWord::Quarantined { view, .. } => format!("Quarantined [{}]", view.0),
        PeerWord::Removed { view, .. } => format!("Removed [{}]", view.0),
        PeerWord::QuarantineDropped { view, .. } => format!("QuarantineDropped [{}]", view.0),
        PeerWord::Crossed { site, calls } => format!("Crossed site {site}: {} calls", calls.len()),
    })
}

pub(crate) fn view(view: &PartitionView) -> String {
    let list = |of: &[vocab::ReplicaId]| {
        let names: Vec<String> = of.iter().map(|replica| format!("r{replica}")).collect();
        names.join(" ")
    };
    format!(
        "view {} of partition {}: [{}] joining [{}] led since {} slots {}",
        view.number.0,
        view.partition,
        list(&view.members),
        list(&view.joining),
        view.led_since.0,
        view.slots
    )
}
