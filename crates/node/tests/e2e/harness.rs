//! What every end-to-end test stands on: a folder, free ports, child processes, user agents.
//!
//! Waiting is done here and nowhere else: [`wait_for`] asks again until something is so.

pub(crate) mod admin;
pub(crate) mod agent;
pub(crate) mod answering;
pub(crate) mod bulk;
pub(crate) mod certificates;
pub(crate) mod config;
pub(crate) mod dialog;
pub(crate) mod direct_site;
pub(crate) mod disk;
pub(crate) mod figures;
pub(crate) mod ground;
pub(crate) mod judged;
pub(crate) mod many;
pub(crate) mod many_sites;
pub(crate) mod mesh;
pub(crate) mod messages;
pub(crate) mod netns;
pub(crate) mod older;
pub(crate) mod pair;
pub(crate) mod phones;
pub(crate) mod process;
pub(crate) mod relay;
pub(crate) mod round_robin;
pub(crate) mod servers;
pub(crate) mod sipp;
pub(crate) mod stage;
pub(crate) mod tap;
pub(crate) mod two_edges;
pub(crate) mod two_sites;
pub(crate) mod wall_clock;

use std::thread;
use std::time::{Duration, Instant};

/// Time between two looks at something that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Asks `look` until it answers; fails with what was waited for after `patience`.
pub(crate) fn wait_for<T>(what: &str, patience: Duration, look: impl FnMut() -> Option<T>) -> T {
    let found = try_wait_for(patience, look);
    found.unwrap_or_else(|| panic!("waited {patience:?} in vain for {what}"))
}

/// Asks `look` until it answers or `patience` is over.
pub(crate) fn try_wait_for<T>(
    patience: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> Option<T> {
    let began = Instant::now();
    loop {
        let found = look();
        if found.is_some() || began.elapsed() > patience {
            return found;
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Lets time pass that is part of the scenario.
pub(crate) fn let_pass(time: Duration) {
    thread::sleep(time);
}

/// `short` unless `REHOME_TEST_SIZE=full`.
pub(crate) fn sized<T>(short: T, full: T) -> T {
    match std::env::var("REHOME_TEST_SIZE").as_deref() {
        Ok("full") => full,
        Ok("short") | Err(_) => short,
        Ok(other) => panic!("REHOME_TEST_SIZE={other}: say `short` or `full`"),
    }
}
