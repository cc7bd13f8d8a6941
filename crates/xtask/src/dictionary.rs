//! The dictionary that batches between sites are compressed with: trained from real calls.
//!
//! SIPp sets up calls of several shapes through an engine; each shape has a site of its own. What
//! would cross of them is kept beside the dictionary, as a batch, so that it can be trained again
//! and measured: three of four samples train, the fourth is for figures. A dictionary that is
//! there is never replaced, as batches on disks were written with it.

mod dice;
mod measure;
mod shapes;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use tier_protocol::batch::{self, Entry};
use tier_protocol::{Record, dictionary};
use vocab::SiteId;

use crate::bench::site::{Folder, Held, Site};
use dice::Dice;
use shapes::{SHAPES, Shape};

/// Calls of each shape. A state process lists 64 at once.
const CALLS: usize = 64;
/// Bytes of a dictionary. More of it costs more time in each batch.
const BYTES_MAX: usize = 12 * 1024;
const SEED: u64 = 1;
const SAMPLES_BYTES_MAX: usize = 16 << 20;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Measures the newest dictionary with the calls that it was not trained with.
    #[arg(long)]
    pub(crate) measure: bool,
    /// Trains the newest one again from its samples, and fails when another one comes out.
    #[arg(long, conflicts_with = "measure")]
    again: bool,
}

impl Options {
    /// Whether calls are to be set up.
    pub(crate) fn needs_servers(&self) -> bool {
        !self.measure && !self.again
    }
}

/// Trains the next dictionary, or looks at the newest.
pub(crate) fn run(root: &Path, options: &Options) -> Result<(), String> {
    let folder = root.join("crates/tier-protocol/dictionary");
    if options.measure {
        return measure::run(&samples(&folder, dictionary::NEWEST)?);
    }
    if options.again {
        let samples = samples(&folder, dictionary::NEWEST)?;
        let there = file(&folder, dictionary::NEWEST, "zdict");
        let kept =
            std::fs::read(&there).map_err(|error| format!("{}: {error}", there.display()))?;
        if train(&samples)? != kept {
            return Err(format!("{} is not what its samples make", there.display()));
        }
        println!("{} comes out again", there.display());
        return Ok(());
    }
    let is_free = |number: &u16| !file(&folder, *number, "zdict").exists();
    let number = (1..).find(is_free).ok_or("there is no number left")?;
    let mut dice = Dice::new(SEED);
    let mut entries = Vec::new();
    for shape in SHAPES {
        let records = take(root, shape, &mut dice)?;
        let bytes: usize = records.iter().map(|record| record.crossing.len()).sum();
        println!("{}: {} calls, {} bytes each", shape.name, records.len(), bytes / CALLS);
        entries.push(records);
    }
    // Side by side as in a batch: one of each shape, then the next of each.
    let mixed = (0..CALLS).flat_map(|n| entries.iter().filter_map(move |all| all.get(n)));
    let samples: Vec<Entry> =
        mixed.map(|record| Entry::Record(crossing(record, &mut dice))).collect();
    let dictionary = train(&samples)?;
    write(&file(&folder, number, "samples"), &batch::encode(&samples))?;
    write(&file(&folder, number, "zdict"), &dictionary)
}

fn file(folder: &Path, number: u16, what: &str) -> PathBuf {
    folder.join(format!("{number}.{what}"))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    std::fs::write(path, bytes).map_err(|error| format!("{}: {error}", path.display()))?;
    println!("{}: {} bytes", path.display(), bytes.len());
    Ok(())
}

fn samples(folder: &Path, number: u16) -> Result<Vec<Entry>, String> {
    let path = file(folder, number, "samples");
    let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    batch::decode(&Bytes::from(bytes), SAMPLES_BYTES_MAX)
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// Whether a sample is kept for figures. Shapes alternate, so their number must not divide by this.
fn is_for_figures(place: usize) -> bool {
    place % 4 == 3
}

fn train(samples: &[Entry]) -> Result<Vec<u8>, String> {
    let training = samples.iter().enumerate().filter(|(place, _)| !is_for_figures(*place));
    let training: Vec<Bytes> = training.map(|(_, entry)| batch::entry_bytes(entry)).collect();
    zstd::dict::from_samples(&training, BYTES_MAX).map_err(|error| format!("training: {error}"))
}

/// Real calls of a shape.
fn take(root: &Path, shape: &Shape, dice: &mut Dice) -> Result<Vec<Record>, String> {
    let folder = Folder::new(&format!("dictionary-{}", shape.name))?;
    let peers = folder.below("peers")?;
    let side = |name: &str, template: &str, dice: &mut Dice| {
        let (scenario, fields) = (peers.join(format!("{name}.xml")), peers.join(name));
        let lines: String = (0..CALLS).map(|_| shapes::fields(dice)).collect();
        let wrong = |error| format!("{}: {error}", peers.display());
        std::fs::write(&scenario, shape.fill(template)).map_err(wrong)?;
        std::fs::write(&fields, format!("SEQUENTIAL\n{lines}")).map_err(wrong)?;
        Ok::<_, String>((scenario, fields))
    };
    let caller = side("caller", include_str!("dictionary/caller.xml"), dice)?;
    let callee = side("callee", include_str!("dictionary/callee.xml"), dice)?;
    let site = Site::start(root, &folder, 1, None, 1_000, "")?;
    let mut client = site.client()?;
    let held = Held { caller: Some(caller), callee: Some(callee), count: CALLS };
    Ok(site.held(&mut client, &held)?.records)
}

/// The record as a site with a backup would send it. Nothing else crosses of the site of a bench,
/// so what differs from call to call in a header is made up here: its age, its lock, its home.
fn crossing(record: &Record, dice: &mut Dice) -> Record {
    let mut record = record.trimmed();
    let header = &mut record.header;
    header.backup = Some(SiteId(2));
    header.age = Duration::from_millis(2_000 + dice.below(500));
    header.stamp.token.counter = 1 + dice.below(1 << 24);
    header.stamp.epoch.n += 65_536 * dice.below(8);
    if dice.below(2) == 0 {
        header.origin = SiteId(2);
        header.stamp.epoch.site = SiteId(2);
        header.backup = Some(SiteId(1));
    }
    record
}
