//! What a turn costs the state tier and how long its steps take, with 1, 2 and 3 replicas, beside
//! Redis in the same run.
//!
//! A turn is lock and get, put to every replica, unlock. The peer's is GET and SET of the same
//! bytes in one Redis without persistence: neither lock nor copy, so it is the floor and no
//! equal. Both have the same number in flight, over one connection to each process. Rounds of all
//! stores follow one another, so that what else the machine does meets all alike.

mod cell;
mod redis;

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tier_protocol::Record;
use vocab::CallKey;

use super::process::cpu_ns;
use super::site::{self, Etcd, Folder, Site};
use crate::load::Load;
use crate::tier::Client;
use crate::tier::turns::{self, Took, Work};
use cell::Cell;
use redis::Redis;

/// Turns in flight.
const DEPTHS: &[usize] = &[1, 16, 64];
const REPLICAS: &[usize] = &[1, 2, 3];
/// Rounds to which the seconds of each figure are dealt.
const ROUNDS: u32 = 3;
/// Calls that are put again and again.
const CALLS: u64 = 2_000;
const ORIGINALS: usize = 4;
const NAME: &str = "tier";

/// Runs the bench and prints its table.
pub(crate) fn run(root: &Path, seconds: f64, json: bool) -> Result<(), String> {
    if !seconds.is_finite() || seconds <= 0.0 {
        return Err("`--seconds` is a length of time".to_owned());
    }
    let folder = Folder::new("bench-tier")?;
    let etcd = Etcd::start(&folder)?;
    let mut stores = Vec::new();
    for &replicas in REPLICAS {
        let etcd = (replicas > 1).then_some(&etcd);
        stores.push(Store::start(root, &folder, replicas, etcd)?);
    }
    let record = stores.first().map(|store| store.record.clone()).ok_or("no store")?;
    let mut bytes = BytesMut::new();
    record.encode(&mut bytes);
    let mut redis = Redis::start(&folder, CALLS, &bytes)?;
    let round = Duration::from_secs_f64(seconds / f64::from(ROUNDS));
    let mut cells = Vec::new();
    for &depth in DEPTHS {
        let mut row: Vec<Cell> =
            REPLICAS.iter().map(|&replicas| Cell::new(depth, replicas)).collect();
        let mut peer = Cell::new(depth, 0);
        for _ in 0..ROUNDS {
            for (store, cell) in stores.iter_mut().zip(&mut row) {
                store.round(depth, round, cell)?;
            }
            redis.round(depth, round, &mut peer)?;
        }
        cells.push((row, peer));
    }
    cell::print(bytes.len(), &cells);
    if json {
        let value = cell::to_json(bytes.len(), &cells);
        println!("{value}");
        let path = root.join("bench/results/tier.json");
        std::fs::write(&path, format!("{value}\n"))
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// A site, filled, and its client.
struct Store {
    site: Site,
    client: Client,
    keys: Vec<CallKey>,
    /// One of its records.
    record: Record,
}

impl Store {
    fn start(
        root: &Path,
        folder: &Folder,
        replicas: usize,
        etcd: Option<&Etcd>,
    ) -> Result<Self, String> {
        let site = Site::start(root, folder, replicas, etcd, 10 * CALLS, "")?;
        let mut client = site.client()?;
        let originals = site.originals(&mut client, ORIGINALS)?.records;
        let record = originals.first().cloned().ok_or("SIPp set up no call")?;
        let secret = site::secret()?;
        Load::new(secret.clone(), NAME, originals, CALLS, None)?.run(&mut client, 64)?;
        let keys = (0..CALLS).map(|clone| Load::key(&secret, NAME, clone)).collect();
        Ok(Self { site, client, keys, record })
    }

    fn round(&mut self, depth: usize, round: Duration, cell: &mut Cell) -> Result<(), String> {
        let (servers, client) = (self.site.cpu_ns()?, cpu_ns("self")?);
        let began_at = Instant::now();
        let mut work = Again { keys: &self.keys, next: 0, until: began_at + round, cell };
        turns::run(&mut self.client, depth, &mut work)?;
        cell.took += began_at.elapsed();
        cell.servers_ns += self.site.cpu_ns()?.saturating_sub(servers);
        cell.client_ns += cpu_ns("self")?.saturating_sub(client);
        Ok(())
    }
}

/// Puts what is there again, call after call.
struct Again<'a> {
    keys: &'a [CallKey],
    next: usize,
    until: Instant,
    cell: &'a mut Cell,
}

impl Work for Again<'_> {
    fn next(&mut self) -> Option<CallKey> {
        if Instant::now() >= self.until {
            return None;
        }
        self.next = (self.next + 1) % self.keys.len();
        Some(self.keys[self.next])
    }

    fn record(&mut self, _: CallKey, held: Option<&Record>) -> Option<Record> {
        let mut record = held?.clone();
        record.header.age = Duration::ZERO;
        Some(record)
    }

    fn done(&mut self, took: Took) {
        if let Some(put) = took.put {
            self.cell.note(took.lock_get, put);
        }
    }
}
