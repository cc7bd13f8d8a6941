//! The start count: how often this site has started, kept on its disk.
//!
//! Epochs of new calls begin at this number (design: home epochs), so a site that came back never
//! makes an epoch that its earlier life made. It is on disk, synced, before anything else starts.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::Path;

/// Keeps a second process out of the directory for as long as it is held.
pub(crate) fn lock(data_dir: &Path) -> io::Result<File> {
    fs::create_dir_all(data_dir)?;
    let file = File::create(data_dir.join("lock"))?;
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => {
            io::Error::new(io::ErrorKind::AddrInUse, "another process of this site uses it")
        }
        TryLockError::Error(error) => error,
    })?;
    Ok(file)
}

/// Counts this start and returns the new number, from 1.
pub(crate) fn count(data_dir: &Path) -> io::Result<u64> {
    fs::create_dir_all(data_dir)?;
    let path = data_dir.join("start");
    let before = match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse::<u64>().map_err(|_| {
            let what = format!(
                "{} holds no number; restore it, or remove all of the directory \
                                and give the site a new id",
                path.display()
            );
            io::Error::new(io::ErrorKind::InvalidData, what)
        })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    let start = before + 1;
    let fresh = data_dir.join("start.new");
    let mut file = File::create(&fresh)?;
    writeln!(file, "{start}")?;
    file.sync_all()?;
    fs::rename(&fresh, &path)?;
    // The rename itself is durable only once the directory is.
    File::open(data_dir)?.sync_all()?;
    Ok(start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn each_start_counts_one() {
        let scratch = Scratch::new("start_count");
        for start in 1..4 {
            assert_eq!(count(scratch.path()).unwrap(), start);
        }
    }

    #[test]
    fn one_process_at_a_time() {
        let scratch = Scratch::new("start_lock");
        let held = lock(scratch.path()).unwrap();
        assert!(lock(scratch.path()).is_err());
        drop(held);
        assert!(lock(scratch.path()).is_ok());
    }

    #[test]
    fn a_spoilt_count_is_not_taken_for_a_first_start() {
        let scratch = Scratch::new("start_count_spoilt");
        fs::write(scratch.path().join("start"), "seven").unwrap();
        assert!(count(scratch.path()).is_err());
    }
}
