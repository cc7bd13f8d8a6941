//! Memory that one steady call takes in a state process, and whether the bounds hold.
//!
//! Real calls, set up by SIPp through an engine, are cloned through the real put path; the growth
//! of the processes' resident memory is divided by the clones. So the figure has everything in it:
//! the record, the tables that find it, what the allocator rounds up.
//!
//! SIPp then ends a thousand of the clones, with the tags that are theirs: they are calls.
//!
//! A third site moves its calls to a database (SQLite): what stays in memory of each is measured
//! the same way, once all have gone.

mod spilled;

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vocab::CallKey;

use super::site::{self, Etcd, Folder, Originals, Site};
use crate::load::Load;

/// What a steady call may take in RAM, in bytes.
const CALL_BYTES_MAX: u64 = 4_096;
/// What a call may take in RAM whose record is in a database, in bytes.
const SPILLED_BYTES_MAX: u64 = 200;
/// Real calls that are cloned.
const ORIGINALS: usize = 16;
const DEPTH: usize = 256;
/// Clones that SIPp ends, to see that they are calls.
const ENDED: u64 = 1_000;
/// Memory is at rest when it did not change by more than 1 in 200 for so long.
const REST: Duration = Duration::from_secs(2);
const REST_WITHIN: Duration = Duration::from_secs(120);

/// One state process, before and after the load.
struct Row {
    replicas: usize,
    replica: usize,
    before: u64,
    after: u64,
    per_call: u64,
    /// Bytes of both sections of a record.
    record_bytes: u64,
}

/// Has SIPp end [`ENDED`] clones, the first ones of each of these loads.
fn end_some(site: &Site, originals: &Originals, loads: &[String]) -> Result<(), String> {
    let secret = site::secret()?;
    let share = ENDED / loads.len() as u64;
    let keys = loads
        .iter()
        .flat_map(|name| (0..share).map(|clone| Load::key(&secret, name, clone)))
        .collect::<Vec<CallKey>>();
    let (answered, reached) = site.hang_up(originals, &keys)?;
    let all = keys.len() as u64;
    println!("SIPp ended {all} of them: {answered} BYEs answered, {reached} reached the callee");
    if answered == all && reached == all {
        return Ok(());
    }
    Err(site.with_log(format!("SIPp could not end all of {all} clones")))
}

impl Row {
    /// `calls` came between the two figures of memory.
    fn new(
        (replicas, replica): (usize, usize),
        (before, after): (u64, u64),
        calls: u64,
        record_bytes: u64,
    ) -> Self {
        let per_call = after.saturating_sub(before) / calls.max(1);
        Self { replicas, replica, before, after, per_call, record_bytes }
    }
}

/// Runs the bench and prints its table.
pub(crate) fn run(root: &Path, calls: u64, json: bool) -> Result<(), String> {
    let folder = Folder::new("bench-memory")?;
    let mut rows = measure(root, &folder, 1, None, calls)?;
    let etcd = Etcd::start(&folder)?;
    rows.extend(measure(root, &folder, 3, Some(&etcd), calls)?);
    drop(etcd);
    let spilled = spilled::measure(root, &folder, calls)?;
    print(calls, &rows, &spilled);
    if json {
        let text = to_json(calls, &rows, &spilled).to_string();
        println!("{text}");
        let path = root.join("bench/results/memory.json");
        std::fs::write(&path, text + "\n")
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let is_over = rows.iter().any(|row| row.per_call > CALL_BYTES_MAX);
    if is_over || spilled.per_call > SPILLED_BYTES_MAX {
        return Err("a call takes more memory than its bound".to_owned());
    }
    Ok(())
}

/// Loads a site of `replicas` processes.
fn measure(
    root: &Path,
    folder: &Folder,
    replicas: usize,
    etcd: Option<&Etcd>,
    calls: u64,
) -> Result<Vec<Row>, String> {
    let site = Site::start(root, folder, replicas, etcd, calls + 1_000, "")?;
    let mut client = site.client()?;
    let originals = site.originals(&mut client, ORIGINALS)?;
    let before = at_rest(&site)?;
    let records = originals.records.clone();
    let mut load = Load::new(site::secret()?, "memory", records, calls, None)?;
    let loaded = load.run(&mut client, DEPTH)?;
    let after = at_rest(&site)?;
    println!(
        "{replicas} replica{}: {calls} calls in {:.2} s, {:.0} calls/s",
        if replicas == 1 { "" } else { "s" },
        loaded.took.as_secs_f64(),
        calls as f64 / loaded.took.as_secs_f64()
    );
    end_some(&site, &originals, &["memory".to_owned()])?;
    let row = |(replica, (before, after)): (usize, (u64, u64))| {
        Row::new((replicas, replica), (before, after), calls, loaded.record_bytes)
    };
    Ok(before.into_iter().zip(after).enumerate().map(row).collect())
}

/// Memory of a site's processes, once it neither grows nor shrinks.
fn at_rest(site: &Site) -> Result<Vec<u64>, String> {
    let deadline = Instant::now() + REST_WITHIN;
    let mut last = site.rss_bytes()?;
    while Instant::now() < deadline {
        std::thread::sleep(REST);
        let now = site.rss_bytes()?;
        let is_near = |(a, b): (&u64, &u64)| a.abs_diff(*b) <= a / 200;
        if last.iter().zip(&now).all(is_near) {
            return Ok(now);
        }
        last = now;
    }
    Err(format!("memory is not at rest after {REST_WITHIN:?}: {last:?} bytes"))
}

fn print(calls: u64, rows: &[Row], spilled: &Row) {
    println!("\nMemory per steady call of each state process, {calls} calls");
    println!("replicas  process   before MiB   after MiB   record bytes   bytes/call   bound");
    for row in rows {
        print_row(row, CALL_BYTES_MAX);
    }
    println!("with records in a database:");
    print_row(spilled, SPILLED_BYTES_MAX);
}

fn print_row(row: &Row, bound: u64) {
    let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
    println!(
        "{:>8} {:>8} {:>12.1} {:>11.1} {:>14} {:>12} {:>7}{}",
        row.replicas,
        row.replica + 1,
        mib(row.before),
        mib(row.after),
        row.record_bytes,
        row.per_call,
        bound,
        if row.per_call > bound { "  BROKEN" } else { "" }
    );
}

fn to_json(calls: u64, rows: &[Row], spilled: &Row) -> Value {
    let row = |row: &Row| {
        json!({
            "replicas": row.replicas,
            "process": row.replica + 1,
            "before_bytes": row.before,
            "after_bytes": row.after,
            "record_bytes": row.record_bytes,
            "bytes_per_call": row.per_call,
        })
    };
    json!({
        "bench": "memory",
        "calls": calls,
        "bytes_per_call_max": CALL_BYTES_MAX,
        "rows": rows.iter().map(row).collect::<Vec<_>>(),
        "spilled": { "bytes_per_call_max": SPILLED_BYTES_MAX, "row": row(spilled) },
    })
}
