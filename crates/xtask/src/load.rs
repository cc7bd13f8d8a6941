//! `cargo xtask load`: more calls than SIPp can hold, by clones of real ones.
//!
//! A clone is the record of a real call under another key, put through the path of every record:
//! lock, put to everybody of the view, unlock. Its sections are the original's, byte for byte, and
//! an engine decodes them: the key is not in them, and what we mint (tags, Call-IDs, branches) is
//! computed from the key and the salt, not kept. So a clone is a call with tokens of its own.
//!
//! What a clone can do: be locked, put, crossed, activated, handed back, copied and counted like
//! any call; have its session timers come due, so that an engine refreshes it or ends it and tells
//! both parties; take a request whose tags and Route were minted for its key. What it cannot: be
//! found by its Call-ID and From tag, which belong to the original's key, and be known to the SIP
//! peers, to which its tags are strange: they answer 481 or nothing, whereupon it ends.

mod originals;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};
use tier_protocol::Record;
use vocab::{CallKey, TokenSecret};

use crate::tier::Client;
use crate::tier::turns::{self, Took, Work};

pub(crate) use originals::{ask, list, read};

/// Time between two lines of progress.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// What is loaded where.
#[derive(Args)]
#[command(after_help = "The site must hold a few calls that SIP peers set up and still hold.\n\n\
                  Examples:\n  \
                  cargo xtask load --calls 20000 --state 127.0.0.1:7100 \
                  --originals 127.0.0.1:8100 --secret-file secret\n  \
                  cargo xtask load --calls 200000 --state 127.0.0.1:7100,127.0.0.1:7101 \
                  --originals 127.0.0.1:8100 --secret-file secret --due-within-s 60\n  \
                  cargo xtask load --calls 1000 --state 127.0.0.1:7100 \
                  --originals 127.0.0.1:8100 --secret-file secret --due-from-s 8 \
                  --due-within-s 10")]
pub(crate) struct Options {
    /// Clones to make.
    #[arg(long)]
    calls: u64,
    /// `tier.listen` of state processes, separated by commas; the others are learned from them.
    #[arg(long, value_delimiter = ',', required = true)]
    state: Vec<SocketAddr>,
    /// `admin.listen` of a state process that holds the calls to clone.
    #[arg(long)]
    originals: SocketAddr,
    /// 64 hexadecimal digits, the site's.
    #[arg(long, required_unless_present = "secret_file")]
    secret: Option<String>,
    /// A file that holds them.
    #[arg(long, conflicts_with = "secret")]
    secret_file: Option<PathBuf>,
    /// Complete replicas that each partition must have before the load begins.
    #[arg(long, default_value_t = 1)]
    replicas: usize,
    /// Turns in flight.
    #[arg(long, default_value_t = 256)]
    depth: usize,
    /// Of the load: the key of each clone follows from it, and one that is there is left alone.
    #[arg(long, default_value = "load")]
    name: String,
    /// Deadlines of the clones come due evenly within so many seconds; otherwise, as if each clone
    /// had been put by its engine when it was loaded.
    #[arg(long)]
    due_within_s: Option<u64>,
    /// The first of these deadlines comes after so many seconds.
    #[arg(long, requires = "due_within_s", default_value_t = 0)]
    due_from_s: u64,
    /// Seconds to wait until the calls to clone are steady.
    #[arg(long, default_value_t = 60)]
    patience_s: u64,
}

/// Loads, and prints one line of JSON.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let secret = options.secret()?;
    let patience = Duration::from_secs(options.patience_s);
    let mut client = Client::new(secret.clone(), &options.state, "xtask load");
    client.wait_whole(options.replicas, patience)?;
    let keys = list(options.originals)?;
    if keys.is_empty() {
        return Err(format!("{} holds no active call to clone", options.originals));
    }
    let originals = read(&mut client, &keys, patience)?;
    let due = options.due()?;
    let mut load = Load::new(secret, &options.name, originals, options.calls, due)?;
    let loaded = load.run(&mut client, options.depth)?;
    println!("{}", loaded.to_json());
    Ok(())
}

impl Options {
    /// When the deadlines of the clones come, from now on.
    fn due(&self) -> Result<Option<Range<Duration>>, String> {
        let Some(within) = self.due_within_s else { return Ok(None) };
        if self.due_from_s > within {
            return Err("`--due-from-s` is after `--due-within-s`".to_owned());
        }
        Ok(Some(Duration::from_secs(self.due_from_s)..Duration::from_secs(within)))
    }

    fn secret(&self) -> Result<TokenSecret, String> {
        let text = match (&self.secret, &self.secret_file) {
            (Some(text), _) => text.clone(),
            (None, Some(file)) => std::fs::read_to_string(file)
                .map_err(|error| format!("{}: {error}", file.display()))?,
            (None, None) => String::new(),
        };
        secret(text.trim()).ok_or_else(|| "a secret has 64 hexadecimal digits".to_owned())
    }
}

/// The secret of 64 hexadecimal digits.
pub(crate) fn secret(text: &str) -> Option<TokenSecret> {
    let (low, high) = text.split_at_checked(text.len() / 2)?;
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&CallKey::from_hex(low)?.0);
    bytes[16..].copy_from_slice(&CallKey::from_hex(high)?.0);
    Some(TokenSecret::new(bytes))
}

/// Clones on their way.
pub(crate) struct Load {
    secret: TokenSecret,
    name: String,
    originals: Vec<Record>,
    clones: u64,
    due: Option<Range<Duration>>,
    /// Which originals and clones are next.
    asked: u64,
    put: u64,
    done: u64,
    there: u64,
    began_at: Instant,
    told_at: Instant,
}

/// What a load came to.
pub(crate) struct Loaded {
    clones: u64,
    there: u64,
    originals: usize,
    /// Of the sections of one record, on average.
    pub(crate) record_bytes: u64,
    pub(crate) took: Duration,
    first: CallKey,
}

impl Load {
    /// `clones` of `originals`, named `name`.
    pub(crate) fn new(
        secret: TokenSecret,
        name: &str,
        originals: Vec<Record>,
        clones: u64,
        due: Option<Range<Duration>>,
    ) -> Result<Self, String> {
        let deadline = |original: &Record| original.header.deadline.unwrap_or(Duration::ZERO);
        if let Some(due) = &due
            && originals.iter().any(|original| deadline(original) < due.end)
        {
            return Err("a call to clone has no deadline, or one that is due sooner than the \
                        clones are to be"
                .to_owned());
        }
        let (now, name) = (Instant::now(), name.to_owned());
        let (asked, put, done, there) = (0, 0, 0, 0);
        let (began_at, told_at) = (now, now);
        Ok(Self {
            secret,
            name,
            originals,
            clones,
            due,
            asked,
            put,
            done,
            there,
            began_at,
            told_at,
        })
    }

    /// The key of a clone. Keys of real calls come from the same hash.
    pub(crate) fn key(secret: &TokenSecret, name: &str, clone: u64) -> CallKey {
        secret.call_key(&[b"clone", name.as_bytes(), &clone.to_be_bytes()])
    }

    /// Which of `originals` a clone's key stands for.
    pub(crate) fn original(key: CallKey, originals: usize) -> usize {
        usize::from(key.0[15]) % originals.max(1)
    }

    /// Puts the clones, at most `depth` at a time.
    pub(crate) fn run(&mut self, client: &mut Client, depth: usize) -> Result<Loaded, String> {
        self.began_at = Instant::now();
        turns::run(client, depth, self)?;
        let bytes: usize = self.originals.iter().map(Record::body_bytes).sum();
        Ok(Loaded {
            clones: self.done - self.there,
            there: self.there,
            originals: self.originals.len(),
            record_bytes: (bytes / self.originals.len().max(1)) as u64,
            took: self.began_at.elapsed(),
            first: Self::key(&self.secret, &self.name, 0),
        })
    }

    /// How long ago a clone's put is said to have been, so that its deadline comes when wanted.
    fn age(&self, original: &Record) -> Duration {
        let Some(due) = &self.due else { return Duration::ZERO };
        let share = self.put as f64 / self.clones.max(1) as f64;
        let due_in = due.start + due.end.saturating_sub(due.start).mul_f64(share);
        original.header.deadline.unwrap_or_default().saturating_sub(due_in)
    }
}

impl Work for Load {
    fn next(&mut self) -> Option<CallKey> {
        if self.asked == self.clones {
            return None;
        }
        self.asked += 1;
        Some(Self::key(&self.secret, &self.name, self.asked - 1))
    }

    fn record(&mut self, key: CallKey, held: Option<&Record>) -> Option<Record> {
        if held.is_some() {
            self.there += 1;
            return None;
        }
        let original = &self.originals[Self::original(key, self.originals.len())];
        let mut clone = original.clone();
        clone.header.key = key;
        clone.header.age = self.age(original);
        clone.header.crossed.clear();
        self.put += 1;
        Some(clone)
    }

    fn done(&mut self, _: Took) {
        self.done += 1;
        if self.told_at.elapsed() >= TELL_EVERY && std::io::stderr().is_terminal() {
            self.told_at = Instant::now();
            let rate = self.done as f64 / self.began_at.elapsed().as_secs_f64();
            eprintln!("{} of {} calls, {rate:.0} calls/s", self.done, self.clones);
        }
    }
}

impl Loaded {
    fn to_json(&self) -> Value {
        let seconds = self.took.as_secs_f64();
        json!({
            "clones": self.clones,
            "there": self.there,
            "originals": self.originals,
            "record_bytes": self.record_bytes,
            "seconds": (seconds * 1_000.0).round() / 1_000.0,
            "calls_per_s": (self.clones as f64 / seconds).round(),
            "first_key": self.first.to_string(),
        })
    }
}

#[cfg(test)]
mod tests;
