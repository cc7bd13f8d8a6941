//! `rehome statistics` as people read it.

use admin_api::{Inbound, Outbound, StatisticsReply};

use super::{Lines, joined, span};

pub(crate) fn sums(sums: &StatisticsReply) -> String {
    let mut lines = Lines(String::new());
    lines.add("this site", sums.here);
    lines.add("backed up at", sums.backup_to.map_or("-".into(), |site| format!("site {site}")));
    let missing = sums.missing();
    if !missing.is_empty() {
        let missing = joined(missing.iter().map(ToString::to_string));
        let remedy = "name their primaries with --admin (see `rehome partitions`)";
        lines.add("NOT COUNTED", format!("partitions {missing}: {remedy}"));
    }
    if !sums.gate_counted {
        let remedy = "name the primary of the site's first partition too";
        lines.add("NOT COUNTED", format!("batches that come in: {remedy}"));
    }
    for (site, out) in &sums.outbound {
        outbound(&mut lines, *site, out);
    }
    for (site, came) in &sums.inbound {
        inbound(&mut lines, *site, came);
    }
    lines.0
}

fn outbound(lines: &mut Lines, site: u16, out: &Outbound) {
    let is_stopped = if out.stopped { ", sending is OFF" } else { "" };
    let oldest = match out.at_risk {
        0 => String::new(),
        _ => format!(", oldest {}", span(out.oldest_ms)),
    };
    let refill = match out.to_refill {
        0 => String::new(),
        left => format!(", {left} to refill it"),
    };
    let Outbound { at_risk, in_set_up, removals, queued, in_flight, .. } = out;
    lines.add(
        &format!("to site {site}"),
        format!("{at_risk} calls at risk{oldest}{refill}{is_stopped}"),
    );
    lines.add("", format!("{in_set_up} calls in set-up, {removals} removals to be told"));
    lines.add("", format!("{queued} queued for a batch, {in_flight} batches under way"));
    let Outbound { calls, batches, bytes, acknowledged, refused, .. } = out;
    let each = bytes.checked_div(*calls).map_or(String::new(), |each| format!(", {each} a call"));
    lines.add("", format!("{calls} calls sent in {batches} batches, {bytes} bytes{each}"));
    lines.add("", format!("{acknowledged} batches acknowledged, {refused} refused or lost"));
    let Outbound { sweeps, sweep_found, sweep_repaired, .. } = out;
    let came_to = format!("{sweep_found} calls found missing, {sweep_repaired} repaired");
    lines.add("", format!("{sweeps} sweeps, {came_to}"));
}

fn inbound(lines: &mut Lines, site: u16, came: &Inbound) {
    let Inbound { dormant, stored, stale, superseded, no_room, .. } = came;
    lines.add(&format!("from site {site}"), format!("{dormant} calls kept dormant"));
    let refused = format!("{stale} stale, {superseded} superseded, {no_room} without room");
    lines.add("", format!("{stored} states stored, {refused}"));
    let Inbound { batches, batches_waiting, batches_refused, batches_set_aside, .. } = came;
    let rest = format!("{batches_refused} refused, {batches_set_aside} set aside");
    lines.add("", format!("{batches} batches received, {batches_waiting} wait, {rest}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_readable_and_say_what_they_miss() {
        let out =
            Outbound { at_risk: 2, oldest_ms: 70, calls: 10, bytes: 1_200, ..Default::default() };
        let mut reply = StatisticsReply {
            here: 1,
            backup_to: Some(2),
            partitions: vec![0, 1],
            counted: vec![0],
            outbound: [(2, out)].into(),
            inbound: [(2, Inbound { dormant: 7, ..Default::default() })].into(),
            ..StatisticsReply::default()
        };
        let text = sums(&reply);
        for line in [
            "this site          1\n",
            "NOT COUNTED        partitions 1: name their primaries",
            "NOT COUNTED        batches that come in:",
            "to site 2          2 calls at risk, oldest 70 ms\n",
            "10 calls sent in 0 batches, 1200 bytes, 120 a call\n",
            "from site 2        7 calls kept dormant\n",
        ] {
            assert!(text.contains(line), "{line:?} is not in\n{text}");
        }
        (reply.counted, reply.gate_counted) = (vec![0, 1], true);
        assert!(!sums(&reply).contains("NOT COUNTED"));
    }
}
