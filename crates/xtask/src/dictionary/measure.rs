//! What a call costs in batches of several sizes, with the newest dictionary and without one.

use std::time::{Duration, Instant};

use tier_protocol::batch::{self, Entry};
use tier_protocol::dictionary;

use zstd::bulk::Compressor;

use super::shapes::SHAPES;
use super::{SAMPLES_BYTES_MAX, is_for_figures, train};

/// Each cell is measured for at least so long; it is the fastest of several tries.
const FOR: Duration = Duration::from_millis(100);
const TRIES: usize = 5;
/// As batches are written.
const LEVEL: i32 = 1;

/// Prints the table.
pub(super) fn run(samples: &[Entry]) -> Result<(), String> {
    let unseen = samples.iter().enumerate().filter(|(place, _)| is_for_figures(*place));
    let unseen: Vec<Entry> = unseen.map(|(_, entry)| entry.clone()).collect();
    let raw: usize = unseen.iter().map(|entry| batch::entry_bytes(entry).len()).sum();
    println!("{} calls that trained nothing, {} bytes each", unseen.len(), raw / unseen.len());
    println!("              bytes per call     µs per call to write   µs per call to read");
    println!("batch of    without     with     without     with       without     with");
    for size in [1, 4, 16, 64, 256] {
        let calls: Vec<Entry> = unseen.iter().cycle().take(size.max(64)).cloned().collect();
        if size > unseen.len() {
            continue;
        }
        let batches: Vec<&[Entry]> = calls.chunks(size).collect();
        let [without, with] = [0, dictionary::NEWEST].map(|reads| cell(&batches, reads));
        let (without, with) = (without?, with?);
        println!(
            "{size:>8} {:>10.0} {:>8.0} {:>11.1} {:>8.1} {:>13.1} {:>8.1}",
            without.bytes,
            with.bytes,
            without.write_us,
            with.write_us,
            without.read_us,
            with.read_us
        );
    }
    println!("alone, of a shape that trained nothing, with what the other shapes train:");
    for (place, shape) in SHAPES.iter().enumerate() {
        let (own, others): (Vec<_>, Vec<_>) =
            samples.iter().enumerate().partition(|(n, _)| n % SHAPES.len() == place);
        let others: Vec<Entry> = others.into_iter().map(|(_, entry)| entry.clone()).collect();
        let (without, with) =
            strange(&train(&others)?, &own).map_err(|error| format!("{}: {error}", shape.name))?;
        println!("{:>12}: {without} bytes without, {with} with", shape.name);
    }
    Ok(())
}

/// Bytes of a call alone, without and with a dictionary, beside what the batch adds.
fn strange(dictionary: &[u8], calls: &[(usize, &Entry)]) -> std::io::Result<(usize, usize)> {
    let mut compressor = Compressor::with_dictionary(LEVEL, dictionary)?;
    let (mut without, mut with) = (0, 0);
    for (_, entry) in calls {
        let bytes = batch::entry_bytes(entry);
        without += zstd::bulk::compress(&bytes, LEVEL)?.len();
        with += compressor.compress(&bytes)?.len();
    }
    Ok((without / calls.len(), with / calls.len()))
}

/// For each call.
struct Cell {
    bytes: f64,
    write_us: f64,
    read_us: f64,
}

fn cell(batches: &[&[Entry]], reads: u16) -> Result<Cell, String> {
    let calls: usize = batches.iter().map(|batch| batch.len()).sum();
    let written: Vec<_> =
        batches.iter().map(|entries| batch::encode_for(entries, reads).bytes).collect();
    for (bytes, entries) in written.iter().zip(batches) {
        let read = batch::decode(bytes, SAMPLES_BYTES_MAX).map_err(|error| error.to_string())?;
        if read != *entries {
            return Err("a batch is not read as it was written".to_owned());
        }
    }
    let bytes: usize = written.iter().map(|bytes| bytes.len()).sum();
    let write_us = fastest(calls, || {
        for entries in batches {
            std::hint::black_box(batch::encode_for(entries, reads));
        }
    });
    let read_us = fastest(calls, || {
        for bytes in &written {
            let _ = std::hint::black_box(batch::decode(bytes, SAMPLES_BYTES_MAX));
        }
    });
    Ok(Cell { bytes: bytes as f64 / calls as f64, write_us, read_us })
}

fn fastest(calls: usize, work: impl Fn()) -> f64 {
    let once = || {
        let (began_at, mut rounds) = (Instant::now(), 0_u32);
        while began_at.elapsed() < FOR {
            work();
            rounds += 1;
        }
        began_at.elapsed().as_secs_f64() * 1e6 / f64::from(rounds) / calls as f64
    };
    (0..TRIES).map(|_| once()).fold(f64::INFINITY, f64::min)
}
