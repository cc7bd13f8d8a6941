//! What a database does in a second, printed; nothing is asserted of times.
//!
//! `REHOME_TEST_SIZE=full` is the size that figures are worth reading at.

use std::time::Instant;

use super::conformance::Ground;
use super::desk::{Desk, put, row};
use super::*;

/// Bytes of a typical record.
const BODY: usize = 2_048;
/// Rows of an order.
const ORDER: u64 = 200;

fn rows_of_a_size() -> u64 {
    if std::env::var("REHOME_TEST_SIZE").as_deref() == Ok("full") { 100_000 } else { 2_000 }
}

fn sized(number: u64, version: u64) -> Row {
    // Bytes that do not compress, as those of a real record hardly do.
    let mut state = number.wrapping_add(version) | 1;
    let body = (0..BODY).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    });
    Row { body: body.collect(), ..row(number, put(version)) }
}

struct Spread(Vec<u128>);

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = |percent: usize| sorted[(sorted.len() - 1) * percent / 100];
        write!(f, "p50 {} us, p99 {} us, most {} us", at(50), at(99), at(100))
    }
}

fn timed(count: u64, mut step: impl FnMut(u64)) -> Spread {
    let one = |number| {
        let since = Instant::now();
        step(number);
        since.elapsed().as_micros()
    };
    Spread((0..count).map(one).collect())
}

/// Orders all rows, as far as there is room, and waits for the answers.
fn store_all(desk: &mut Desk, rows: u64, version: u64) -> f64 {
    let orders: Vec<Vec<Row>> = (0..rows / ORDER)
        .map(|order| (0..ORDER).map(|n| sized(order * ORDER + n, version)).collect())
        .collect();
    let since = Instant::now();
    let (mut sent, mut stored) = (0, 0);
    let mut orders = orders.into_iter();
    while stored < rows {
        while sent - stored < 20_000
            && let Some(rows) = orders.next()
        {
            sent += ORDER;
            desk.order(Order::Store { rows });
        }
        match desk.next() {
            Answer::Stored(names) => stored += u64::try_from(names.len()).unwrap(),
            other => panic!("{other:?}"),
        }
    }
    f64::from(u32::try_from(rows).unwrap()) / since.elapsed().as_secs_f64()
}

pub(super) fn print(name: &str, ground: &dyn Ground) {
    let rows = rows_of_a_size();
    let mut desk = Desk::open(&ground.settings(1));
    println!("{name}: {rows} rows of {BODY} bytes, orders of {ORDER}");
    println!("  new rows stored     {:>8.0} rows/s", store_all(&mut desk, rows, 1));
    println!("  rows replaced       {:>8.0} rows/s", store_all(&mut desk, rows, 2));
    println!("  older rows offered  {:>8.0} rows/s", store_all(&mut desk, rows, 1));
    let step = rows / 1_000;
    let one = timed(200, |number| desk.store(vec![sized(number, 3)]));
    println!("  one row stored      {one}");
    let one = timed(1_000, |number| assert!(desk.fetch(row(number * step, put(1)).key).is_some()));
    println!("  one row fetched     {one}");
    let since = Instant::now();
    let mut asked = 0;
    for answered in 0..10_000_u64 {
        while asked < 10_000 && asked - answered < 256 {
            let key = row(asked * 7 % rows, put(1)).key;
            desk.order(Order::Fetch { key, stamp: put(1) });
            asked += 1;
        }
        assert!(matches!(desk.next(), Answer::Fetched { row: Some(_), .. }));
    }
    println!("  256 fetches at once {:>8.0} rows/s", 10_000.0 / since.elapsed().as_secs_f64());
    let since = Instant::now();
    desk.clear(SlotSet::share(0, 2), ViewNumber(u64::MAX));
    println!("  half of them cleared {:>7} ms", since.elapsed().as_millis());
    fetch_while_storing(&mut desk, rows);
}

/// A message for a call that is in the database, while others leave the RAM.
fn fetch_while_storing(desk: &mut Desk, rows: u64) {
    let orders = (rows / ORDER).min(100);
    let stored: Vec<Vec<Row>> = (0..orders)
        .map(|order| (0..ORDER).map(|n| sized(order * ORDER + n, 9)).collect())
        .collect();
    for rows in stored {
        desk.order(Order::Store { rows });
    }
    let mut left = orders * ORDER;
    let mut times = Vec::new();
    while left > 0 {
        let since = Instant::now();
        desk.order(Order::Fetch { key: row(left % rows, put(1)).key, stamp: put(1) });
        loop {
            match desk.next() {
                Answer::Stored(names) => left -= u64::try_from(names.len()).unwrap(),
                Answer::Fetched { .. } => break,
                other => panic!("{other:?}"),
            }
        }
        times.push(since.elapsed().as_micros());
    }
    println!("  fetched meanwhile   {}", Spread(times));
}
