//! A site whose calls leave memory for a database as soon as they may.
//!
//! They are loaded in rounds, each when the one before has left, so that the figure is of what
//! stays and not of what an allocator keeps of the peak. The first rounds are not measured: what
//! they need on their way is needed again by the others.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{DEPTH, ORIGINALS, Row, at_rest, end_some};
use crate::bench::site::{self, Folder, Site};
use crate::load::Load;

const SETTINGS: &str = "[database]\nurl = \"sqlite\"\n[spill]\nafter_s = 1\nper_s = 50000\n";
/// Rounds in all, and those that are not measured.
const ROUNDS: u64 = 20;
const FIRST: u64 = 4;
/// A round that has not left after this never will.
const LEAVES_WITHIN: Duration = Duration::from_secs(120);

pub(super) fn measure(root: &Path, folder: &Folder, calls: u64) -> Result<Row, String> {
    let site = Site::start(root, folder, 1, None, calls + 1_000, SETTINGS)?;
    let mut client = site.client()?;
    let originals = site.originals(&mut client, ORIGINALS)?;
    let round = calls / ROUNDS;
    let (mut before, mut record_bytes, mut names) = (0, 0, Vec::new());
    let began = Instant::now();
    for done in 0..ROUNDS {
        if done == FIRST {
            before = at_rest(&site)?[0];
        }
        let name = format!("spilled-{done}");
        let mut load = Load::new(site::secret()?, &name, originals.records.clone(), round, None)?;
        record_bytes = load.run(&mut client, DEPTH)?.record_bytes;
        names.push(name);
        wait_left(&site, (done + 1) * round + ORIGINALS as u64)?;
    }
    let after = at_rest(&site)?[0];
    println!(
        "1 replica with a database: {} calls in {:.2} s, all of them left memory",
        ROUNDS * round,
        began.elapsed().as_secs_f64()
    );
    end_some(&site, &originals, &names)?;
    Ok(Row::new((1, 0), (before, after), (ROUNDS - FIRST) * round, record_bytes))
}

/// Waits until the records of `calls` calls are in the database.
fn wait_left(site: &Site, calls: u64) -> Result<(), String> {
    let deadline = Instant::now() + LEAVES_WITHIN;
    loop {
        let left = site.status()?["database"]["calls"].as_u64().unwrap_or(0);
        if left >= calls {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(site.with_log(format!("{left} of {calls} calls have left memory")));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
