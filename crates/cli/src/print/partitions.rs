//! Partitions, their views and their replicas, as people read them.

use std::fmt::Write;

use admin_api::{Move, OrderReply, Partition, PartitionsReply, Replica, ViewStatus};

use super::{Lines, joined, span};

const AWAY: &str = "AWAY: views cannot change; calls go on";

/// What a replica is called: by its name, or by its number while it has no seat.
fn name(replica: &Replica) -> String {
    let Replica { replica, name, heard, .. } = replica;
    let name = if name.is_empty() { format!("#{replica}") } else { name.clone() };
    if *heard == Some(false) { format!("{name} (SILENT)") } else { name }
}

fn names(replicas: &[Replica]) -> String {
    joined(replicas.iter().map(name))
}

/// Columns as wide as their widest cell.
fn table(rows: &[[String; 6]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let widths: [usize; 6] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(widths);
        let cells: Vec<String> = cells.map(|(cell, width)| format!("{cell:<width$}")).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    text
}

fn row(partition: &Partition) -> [String; 6] {
    let Partition { partition, view, slots, slot_count: _, members, joining } = partition;
    let (primary, others) = match members.split_first() {
        Some((primary, others)) => (name(primary), names(others)),
        None => ("NOBODY".into(), "-".into()),
    };
    [partition.to_string(), view.to_string(), slots.clone(), primary, others, names(joining)]
}

pub(crate) fn partitions(reply: &PartitionsReply) -> String {
    let head = ["partition", "view", "slots", "primary", "members", "joining"];
    let rows = reply.partitions.iter().map(row);
    let rows: Vec<_> = std::iter::once(head.map(str::to_owned)).chain(rows).collect();
    let mut lines = Lines(if reply.partitions.is_empty() {
        "no partition: nobody has founded the site yet\n".into()
    } else {
        table(&rows)
    });
    for replica in &reply.waiting {
        let what = format!("for partition {}, at {}", replica.partition, replica.address);
        lines.add(&format!("{} waits", name(replica)), what);
    }
    for Move { from, to, slots, replicas, ready } in &reply.moves {
        let what = format!("from partition {from} to {to}: {ready} of {replicas} replicas ready");
        lines.add(&format!("slots {slots}"), what);
    }
    if reply.store_away {
        lines.add("coordination", AWAY);
    }
    lines.0
}

pub(crate) fn accepted(order: &OrderReply) -> String {
    format!("{}\n", order.accepted)
}

/// What beginning a partition anew loses.
pub(crate) fn refounding(number: u16, reply: &PartitionsReply) -> String {
    let view = reply.partitions.iter().find(|one| one.partition == number);
    let Some(Partition { slots, members, .. }) = view else {
        return format!(
            "partition {number} is not on the site's map: there is nothing to begin anew; look \
             with `rehome partitions`"
        );
    };
    format!(
        "nothing was done. `refound` begins partition {number} anew, without its calls:\n  \
         - every call of slots {slots} is lost: its messages are answered with 481, its timers \
         never fire\n  \
         - its members are {}: one that still runs, and cannot be reached now, would bring the \
         calls back; after this it cannot\nWhen all of them are gone for good, repeat it with \
         --yes.",
        names(members)
    )
}

/// How a state process stands in its view.
pub(super) fn view(lines: &mut Lines, view: &ViewStatus) {
    let ViewStatus { partition, number, members, joining, copied, to_copy, .. } = view;
    match view.role.as_str() {
        "waiting" => lines.add("view", format!("none: waits for partition {partition}")),
        "joining" => {
            let copied = format!("{copied} of {to_copy} calls copied");
            lines.add("view", format!("{number}, joins partition {partition}: {copied}"));
        }
        role => {
            let joining = if *joining > 0 { format!(", {joining} joining") } else { String::new() };
            let members =
                if *members == 1 { "1 member".into() } else { format!("{members} members") };
            let whole = format!("{role} of partition {partition}, {members}{joining}");
            lines.add("view", format!("{number}, {whole}"));
        }
    }
    match (view.short_for_ms, view.healed_after_ms) {
        // Who waits has no view that could be short.
        _ if view.role == "waiting" => {}
        (short @ 1.., _) => lines.add("redundancy", format!("SHORT for {}", span(short))),
        (0, healed @ 1..) => lines.add("redundancy", format!("full, again after {}", span(healed))),
        (0, 0) => {}
    }
    if view.store_away {
        lines.add("coordination", AWAY);
    }
    for conflict in &view.conflicts {
        lines.add("configuration", format!("WRONG: {conflict}"));
    }
    if !view.order.is_empty() {
        lines.add("order", format!("waits: {}", view.order));
    }
    if !view.order_dropped.is_empty() {
        lines.add("order", format!("DROPPED: {}", view.order_dropped));
    }
}

#[cfg(test)]
mod tests;
