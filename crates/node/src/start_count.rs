//! The start count: how often this site has started, kept on its disk.
//!
//! Epochs of new calls begin at this number (design: home epochs), so a site that came back never
//! makes an epoch that its earlier life made. It is on disk, synced, before anything else starts.
//!
//! A lower number than before would make a dead life's calls newer than living ones. So there are
//! two files, each with a checksum; the higher of those that are sound counts, and without a sound
//! one there is no start.

use std::fs::{self, File, TryLockError};
use std::hash::Hasher;
use std::io::{self, Write};
use std::path::Path;

use siphasher::sip::SipHasher13;

/// In the order in which they are written: neither is ever ahead of a number that was used.
const FILES: [&str; 2] = ["start.copy", "start"];
/// The mark of the queue: a folder that has it has seen a start.
const SIGN_OF_A_START: &str = "queue.mark";

/// Keeps a second process out of the directory for as long as it is held.
pub(crate) fn lock(data_dir: &Path) -> io::Result<File> {
    make_folder(data_dir)?;
    let file = File::create(data_dir.join("lock"))?;
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => {
            io::Error::new(io::ErrorKind::AddrInUse, "another process of this site uses it")
        }
        TryLockError::Error(error) => error,
    })?;
    Ok(file)
}

/// What a file says.
enum Found {
    Nothing,
    Count(u64),
    Spoilt(String),
}

/// Counts this start and returns the new number, from 1.
pub(crate) fn count(data_dir: &Path) -> io::Result<u64> {
    make_folder(data_dir)?;
    let mut before = None;
    let mut spoilt = Vec::new();
    for name in FILES {
        let path = data_dir.join(name);
        match read(&path) {
            Found::Nothing => {}
            Found::Count(count) => before = before.max(Some(count)),
            Found::Spoilt(why) => spoilt.push(format!("{} {why}", path.display())),
        }
    }
    let before = match before {
        Some(before) => {
            for what in spoilt {
                tracing::error!(what, before, "a start count is damaged; the other one is used");
            }
            before
        }
        None if spoilt.is_empty() && !data_dir.join(SIGN_OF_A_START).exists() => 0,
        None => {
            spoilt.is_empty().then(|| spoilt.push(format!("{} is gone", FILES.join(", "))));
            return Err(refusal(data_dir, &spoilt.join("; ")));
        }
    };
    let start = before.checked_add(1).filter(|start| *start <= u64::from(u32::MAX));
    let start = start.ok_or_else(|| refusal(data_dir, &format!("{before} is no count")))?;
    for name in FILES {
        write(data_dir, name, start)?;
    }
    // The names are durable only once the directory is.
    File::open(data_dir)?.sync_all()?;
    Ok(start)
}

fn refusal(data_dir: &Path, what: &str) -> io::Error {
    let what = format!(
        "{what}: how often the site has started is unknown. Restore a file, or write a number into \
         {} that is surely higher, followed by a line break (the log and the other sites' `rehome \
         sites` tell the last one)",
        data_dir.join(FILES[1]).display()
    );
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn read(path: &Path) -> Found {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Found::Nothing,
        Err(error) => return Found::Spoilt(format!("cannot be read ({error})")),
    };
    parse(&text).map_or_else(|| Found::Spoilt("is not what was written".into()), Found::Count)
}

/// `start N check C`; N and a check in blanks; or a number alone, of an older version or an
/// operator. The line break says that nothing of it is cut off.
fn parse(text: &[u8]) -> Option<u64> {
    let line = str::from_utf8(text).ok()?.strip_suffix('\n')?;
    if let Some(rest) = line.strip_prefix("start ") {
        let (count, check) = rest.split_once(" check ")?;
        let count = count.parse().ok()?;
        return (check == check_of(count)).then_some(count);
    }
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let (number, blanks) = line.split_at(digits);
    let count = number.parse().ok()?;
    (blanks.is_empty() || blanks == blanks_of(count)).then_some(count)
}

/// The check as spaces and tabs: an older version, to which one may have to go back, reads a number
/// with blanks after it, and nothing else.
fn blanks_of(count: u64) -> String {
    let check = check_of(count);
    let bits = check.bytes().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1));
    bits.map(|bit| if bit == 0 { ' ' } else { '\t' }).collect()
}

fn text_of(name: &str, count: u64) -> String {
    match name {
        "start" => format!("{count}{}\n", blanks_of(count)),
        _ => format!("start {count} check {}\n", check_of(count)),
    }
}

fn check_of(count: u64) -> String {
    let mut hasher = SipHasher13::new();
    hasher.write(b"start");
    hasher.write_u64(count);
    format!("{:016x}", hasher.finish())
}

fn write(data_dir: &Path, name: &str, start: u64) -> io::Result<()> {
    let fresh = data_dir.join("start.new");
    let mut file = File::create(&fresh)?;
    file.write_all(text_of(name, start).as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, data_dir.join(name))
}

/// A folder that is new is durable once those above it are.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    for above in folder.ancestors().skip(1) {
        // One that may not be read was not made here.
        if let Ok(above) = File::open(above) {
            above.sync_all()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
