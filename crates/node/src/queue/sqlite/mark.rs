//! The mark beside the queue's file: how many commits there were.
//!
//! SQLite takes a write-ahead log that was cut, or a file that was put in its place, for what it
//! is to be, and what was acknowledged since is gone without a word. The mark is written after each
//! commit and never synced, so it costs nothing and is never ahead of what was synced; when it is
//! ahead of what is found, something was lost. A mark that is lost itself tells nothing.

use std::fs::File;
use std::hash::Hasher;
use std::os::unix::fs::FileExt;
use std::path::Path;

use siphasher::sip::SipHasher13;

const LENGTH: usize = 16;

#[derive(Debug)]
pub(super) struct Mark {
    file: Option<File>,
}

impl Mark {
    /// The mark and what it says; 0 when it says nothing.
    pub(super) fn open(path: &Path) -> (Self, u64) {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
        let file = match file {
            Ok(file) => file,
            Err(error) => {
                let path = path.display();
                tracing::warn!(%path, %error, "the mark of the queue cannot be used");
                return (Self { file: None }, 0);
            }
        };
        let mut bytes = [0; LENGTH];
        let is_there = file.metadata().is_ok_and(|metadata| metadata.len() > 0);
        let is_read = file.read_exact_at(&mut bytes, 0).is_ok();
        let (commits, check) = bytes.split_at(LENGTH / 2);
        let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_be_bytes);
        let (commits, check) = (number(commits), number(check));
        if is_read && check == check_of(commits) {
            return (Self { file: Some(file) }, commits);
        }
        if is_there {
            let path = path.display();
            tracing::warn!(%path, "the mark of the queue is damaged; it is written anew");
        }
        (Self { file: Some(file) }, 0)
    }

    pub(super) fn put(&mut self, commits: u64) {
        let Some(file) = &self.file else { return };
        let mut bytes = [0; LENGTH];
        bytes[..LENGTH / 2].copy_from_slice(&commits.to_be_bytes());
        bytes[LENGTH / 2..].copy_from_slice(&check_of(commits).to_be_bytes());
        if let Err(error) = file.write_all_at(&bytes, 0) {
            tracing::warn!(%error, "the mark of the queue cannot be written");
            self.file = None;
        }
    }
}

fn check_of(commits: u64) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(b"commits");
    hasher.write_u64(commits);
    hasher.finish()
}
