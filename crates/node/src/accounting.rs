//! Accounting records on a disk: a line of JSON for each call that ended, in files that are
//! rotated by size and never removed.
//!
//! One thread writes, many lines at a time, and asks the disk to keep them; no turn waits for it.
//! A file in which anything failed is left as it is: the lines go into the next one, whole, as an
//! error of a disk says nothing about what it kept. A line may so be there twice; its id says so.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use call::Account;
use serde_json::json;
use servlet::EndReason;
use vocab::{Epoch, Instant};

use crate::clock::wall_time;

/// Lines that may wait for a slow disk.
const WAITING_MAX: usize = 65_536;
/// Lines that are written before the disk is asked to keep them.
const AT_ONCE_MAX: u64 = 1_024;
/// Between two tries on a disk that takes nothing.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What has become of the lines; told to the metrics.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Kept by the disk.
    pub(crate) written: AtomicU64,
    /// Lost, as too many waited.
    pub(crate) dropped: AtomicU64,
    /// Errors of the disk; each is logged.
    pub(crate) failures: AtomicU64,
}

/// The writer's handle.
#[derive(Debug)]
pub(crate) struct Ledger {
    lines: Option<SyncSender<String>>,
    thread: Option<std::thread::JoinHandle<()>>,
    is_ending: Arc<AtomicBool>,
    counts: Arc<Counts>,
}

impl Ledger {
    /// Opens the file, which is there already or is made.
    pub(crate) fn open(path: &Path, rotate_bytes: u64) -> io::Result<Self> {
        let file = Some(open(path)?);
        let (counts, is_ending) = (Arc::new(Counts::default()), Arc::new(AtomicBool::new(false)));
        let mut writer = Writer {
            path: path.to_owned(),
            rotate_bytes,
            file,
            is_ending: Arc::clone(&is_ending),
            counts: Arc::clone(&counts),
        };
        let (lines, incoming) = sync_channel(WAITING_MAX);
        let thread = std::thread::Builder::new()
            .name("accounting".into())
            .spawn(move || writer.run(&incoming))?;
        Ok(Self { lines: Some(lines), thread: Some(thread), is_ending, counts })
    }

    /// Takes the record of a call that ended, without waiting.
    pub(crate) fn write(&self, account: &Account, epoch: Epoch, now: Instant) {
        let line = line(account, epoch, now, wall_time().0);
        let sent = self.lines.as_ref().map(|lines| lines.try_send(line));
        match sent {
            Some(Ok(())) | None => {}
            Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) => {
                self.counts.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }
}

impl Drop for Ledger {
    /// What has been taken is written before the process ends, if the disk takes it.
    fn drop(&mut self) {
        self.lines = None;
        self.is_ending.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ended = thread.join();
        }
    }
}

struct Writer {
    path: PathBuf,
    rotate_bytes: u64,
    /// `None` after a failure.
    file: Option<File>,
    is_ending: Arc<AtomicBool>,
    counts: Arc<Counts>,
}

impl Writer {
    fn run(&mut self, incoming: &Receiver<String>) {
        while let Ok(first) = incoming.recv() {
            let (mut text, mut lines) = (first, 1_u64);
            while lines < AT_ONCE_MAX
                && let Ok(next) = incoming.try_recv()
            {
                text.push_str(&next);
                lines += 1;
            }
            while let Err(error) = self.keep(&text) {
                self.file = None;
                let before = self.counts.failures.fetch_add(1, Ordering::Relaxed);
                if before == 0 || before.is_power_of_two() {
                    let path = self.path.display();
                    tracing::error!(%path, %error, "accounting records cannot be written");
                }
                // Further lines wait in the channel, which is bounded.
                if self.is_ending.load(Ordering::Relaxed) {
                    return;
                }
                std::thread::park_timeout(AGAIN_AFTER);
            }
            self.counts.written.fetch_add(lines, Ordering::Relaxed);
        }
    }

    /// Writes the lines and has the disk keep them.
    fn keep(&mut self, text: &str) -> io::Result<()> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => {
                self.turn()?;
                open(&self.path)?
            }
        };
        if file.metadata()?.len() >= self.rotate_bytes {
            self.turn()?;
            file = open(&self.path)?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        self.file = Some(file);
        Ok(())
    }

    /// Gives the file a name by the moment, so that a new one takes its place.
    fn turn(&self) -> io::Result<()> {
        // Two may be turned in one moment, and a clock may be set back.
        let named = |moment: u64| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{moment}"));
            PathBuf::from(name)
        };
        let free = (wall_time().0..).map(named).find(|name| !name.exists());
        let name = free.unwrap_or_else(|| named(u64::MAX));
        match std::fs::rename(&self.path, &name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// The file, with a line that a crash cut off ended: it stands alone, and is no JSON.
fn open(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
    let length = file.metadata()?.len();
    if length > 0 {
        use std::os::unix::fs::FileExt as _;
        let mut last = [0];
        file.read_exact_at(&mut last, length - 1)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

/// A record as a line. `wall` is the moment `now`, in ms since 1970.
fn line(account: &Account, epoch: Epoch, now: Instant, wall: u64) -> String {
    let ms = |at: Instant| {
        let before = u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX);
        wall.saturating_sub(before)
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (why, status) = match account.why {
        EndReason::Bye => ("bye", None),
        EndReason::Cancelled => ("cancelled", None),
        EndReason::Failed(status) => ("failed", Some(status.code())),
        EndReason::Expired => ("expired", None),
        EndReason::Lost => ("lost", None),
        EndReason::Ended => ("ended", None),
    };
    let id = format!("{}-{:06x}-{}", account.key, account.salt, account.leg);
    let record = json!({
        "id": id,
        "epoch": { "n": epoch.n, "site": epoch.site.0 },
        "from": text(&account.from),
        "to": text(&account.to),
        "call_id": text(&account.call_id),
        "begun_ms": ms(account.begun_at),
        "answered_ms": account.answered_at.map(ms),
        "ended_ms": ms(account.ended_at),
        "why": why,
        "status": status,
    });
    format!("{record}\n")
}

#[cfg(test)]
mod tests;
