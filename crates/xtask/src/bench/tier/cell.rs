//! One figure of the table: a store at a depth, over all its rounds.

use std::time::Duration;

use serde_json::{Value, json};

/// What the rounds of one store at one depth came to.
pub(crate) struct Cell {
    depth: usize,
    /// 0: Redis.
    replicas: usize,
    pub(crate) took: Duration,
    pub(crate) servers_ns: u64,
    pub(crate) client_ns: u64,
    /// Nanoseconds of each lock and get, and of each put.
    gets: Vec<u64>,
    puts: Vec<u64>,
}

impl Cell {
    pub(crate) fn new(depth: usize, replicas: usize) -> Self {
        let (took, servers_ns, client_ns) = (Duration::ZERO, 0, 0);
        Self { depth, replicas, took, servers_ns, client_ns, gets: Vec::new(), puts: Vec::new() }
    }

    pub(crate) fn note(&mut self, get: Duration, put: Duration) {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.gets.push(nanoseconds(get));
        self.puts.push(nanoseconds(put));
    }

    fn name(&self) -> String {
        match self.replicas {
            0 => "redis".to_owned(),
            1 => "1 replica".to_owned(),
            more => format!("{more} replicas"),
        }
    }

    fn figures(&self) -> Figures {
        let turns = self.gets.len().max(1) as f64;
        let (gets, puts) = (percentiles(&self.gets), percentiles(&self.puts));
        Figures {
            turns_per_s: turns / self.took.as_secs_f64().max(f64::MIN_POSITIVE),
            servers_us: self.servers_ns as f64 / turns / 1e3,
            client_us: self.client_ns as f64 / turns / 1e3,
            get_us: gets,
            put_us: puts,
        }
    }

    /// The figures, and their ratios to those of `peer`.
    fn to_json(&self, peer: &Self) -> Value {
        let (own, peer) = (self.figures(), peer.figures());
        let short = |number: f64| (number * 100.0).round() / 100.0;
        json!({
            "store": self.name(),
            "in_flight": self.depth,
            "turns_per_s": own.turns_per_s.round(),
            "servers_cpu_us_per_turn": short(own.servers_us),
            "client_cpu_us_per_turn": short(own.client_us),
            "get_us_p50": short(own.get_us.0),
            "get_us_p99": short(own.get_us.1),
            "put_us_p50": short(own.put_us.0),
            "put_us_p99": short(own.put_us.1),
            "servers_cpu_to_redis": short(own.servers_us / peer.servers_us),
            "client_cpu_to_redis": short(own.client_us / peer.client_us),
            "get_p50_to_redis": short(own.get_us.0 / peer.get_us.0),
            "put_p50_to_redis": short(own.put_us.0 / peer.put_us.0),
        })
    }
}

struct Figures {
    turns_per_s: f64,
    servers_us: f64,
    client_us: f64,
    get_us: (f64, f64),
    put_us: (f64, f64),
}

/// Microseconds at 50 and 99 of a hundred.
fn percentiles(nanoseconds: &[u64]) -> (f64, f64) {
    let mut sorted = nanoseconds.to_vec();
    sorted.sort_unstable();
    let at = |share: usize| {
        let last = sorted.len().saturating_sub(1);
        sorted.get((sorted.len() * share / 100).min(last)).map_or(0.0, |ns| *ns as f64 / 1e3)
    };
    (at(50), at(99))
}

/// All figures, for `--json`.
pub(crate) fn to_json(record_bytes: usize, cells: &[(Vec<Cell>, Cell)]) -> Value {
    let of_depth = |(row, peer): &(Vec<Cell>, Cell)| {
        row.iter().chain([peer]).map(|cell| cell.to_json(peer)).collect::<Vec<_>>()
    };
    let rows: Vec<Value> = cells.iter().flat_map(of_depth).collect();
    json!({ "bench": "tier", "record_bytes": record_bytes, "rows": rows })
}

/// Prints the table: for each depth the stores and their peer.
pub(crate) fn print(record_bytes: usize, cells: &[(Vec<Cell>, Cell)]) {
    println!(
        "\nA turn: lock-get and put of a record of {record_bytes} bytes; of Redis: GET and SET"
    );
    println!("CPU in microseconds per turn (all replicas together), times in microseconds");
    println!(
        "in flight  store        turns/s  servers  client   get p50    p99   put p50    p99   \
         to redis: servers  client  get p50  put p50"
    );
    for (row, peer) in cells {
        let of_peer = peer.figures();
        for cell in row.iter().chain([peer]) {
            let own = cell.figures();
            println!(
                "{:>9}  {:<10} {:>9.0} {:>8.1} {:>7.1} {:>9.0} {:>6.0} {:>9.0} {:>6.0}   \
                 {:>17.2} {:>7.2} {:>8.2} {:>8.2}",
                cell.depth,
                cell.name(),
                own.turns_per_s,
                own.servers_us,
                own.client_us,
                own.get_us.0,
                own.get_us.1,
                own.put_us.0,
                own.put_us.1,
                own.servers_us / of_peer.servers_us,
                own.client_us / of_peer.client_us,
                own.get_us.0 / of_peer.get_us.0,
                own.put_us.0 / of_peer.put_us.0,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let times: Vec<u64> = (1..=100).rev().map(|number| number * 1_000).collect();
        assert_eq!(percentiles(&times), (51.0, 100.0));
        assert_eq!(percentiles(&[7_000]), (7.0, 7.0));
        assert_eq!(percentiles(&[]), (0.0, 0.0));
    }

    #[test]
    fn figures_are_per_turn() {
        let mut cell = Cell::new(1, 1);
        for _ in 0..4 {
            cell.note(Duration::from_micros(10), Duration::from_micros(30));
        }
        cell.took = Duration::from_secs(2);
        cell.servers_ns = 40_000;
        let figures = cell.figures();
        assert_eq!((figures.turns_per_s, figures.servers_us), (2.0, 10.0));
    }
}
