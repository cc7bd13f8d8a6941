//! An owner of a database, for tests: gives orders and waits for what is told.

use std::collections::VecDeque;

use tokio::runtime::Runtime;
use vocab::{Epoch, LockToken, Version};

use super::*;

/// What is certain comes within this; a test that waits longer has failed.
pub(super) const SOON: Duration = Duration::from_secs(20);

/// Of the writer of rows that no test is particular about.
pub(super) const VIEW: ViewNumber = ViewNumber(5);

/// The bound of one statement in tests.
pub(super) fn timeout() -> Duration {
    Duration::from_millis(1_000)
}

pub(super) struct Desk {
    database: Option<Database>,
    told: mpsc::Receiver<Answer>,
    /// Told, and not looked at: transitions are waited for by name.
    kept: VecDeque<Answer>,
    runtime: Runtime,
}

impl Desk {
    pub(super) fn open(settings: &Settings) -> Self {
        Self::try_open(settings).unwrap_or_else(|error| panic!("{error}"))
    }

    pub(super) fn try_open(settings: &Settings) -> Result<Self, OpenError> {
        let (answers, told) = mpsc::channel(4_096);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let database = Database::open(settings, answers)?;
        Ok(Self { database: Some(database), told, kept: VecDeque::new(), runtime })
    }

    pub(super) fn order(&self, order: Order) {
        self.database.as_ref().unwrap().order(order).unwrap();
    }

    pub(super) fn try_order(&self, order: Order) -> Result<(), Refusal> {
        self.database.as_ref().unwrap().order(order)
    }

    /// The next thing that is told.
    pub(super) fn next(&mut self) -> Answer {
        match self.kept.pop_front() {
            Some(answer) => answer,
            None => self.hear().expect("the database goes on telling"),
        }
    }

    fn hear(&mut self) -> Option<Answer> {
        let next = async { tokio::time::timeout(SOON, self.told.recv()).await };
        self.runtime.block_on(next).expect("the database tells something soon")
    }

    /// The next answer for which `wanted` holds; others are kept for later.
    pub(super) fn wait_for(&mut self, wanted: impl Fn(&Answer) -> bool) -> Answer {
        if let Some(at) = self.kept.iter().position(&wanted) {
            return self.kept.remove(at).unwrap();
        }
        loop {
            let answer = self.hear().expect("the database goes on telling");
            if wanted(&answer) {
                return answer;
            }
            self.kept.push_back(answer);
        }
    }

    /// Stores and waits until all of it is answered, and stored.
    pub(super) fn store(&mut self, rows: Vec<Row>) {
        let mut left = rows.len();
        self.order(Order::Store { rows });
        while left > 0 {
            match self.next() {
                Answer::Stored(names) => left -= names.len(),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Removes as a replica of view 5 does, which is the view of [`row`].
    pub(super) fn remove(&mut self, key: CallKey, stamp: Stamp) {
        let rows = vec![(key, stamp)];
        self.order(Order::Remove { view: VIEW, rows: rows.clone() });
        assert_eq!(self.next(), Answer::Removed(rows));
    }

    pub(super) fn clear(&mut self, slots: SlotSet, view: ViewNumber) {
        // A busy machine may take longer than a statement may; what is left is removed then.
        for _ in 0..20 {
            self.order(Order::Clear { slots, view });
            match self.next() {
                Answer::Cleared { .. } => return,
                Answer::Refused(Refusal { what: Refused::Clear, why: Why::Failed }) => {}
                other => panic!("{other:?}"),
            }
        }
        panic!("the slots are not cleared");
    }

    pub(super) fn fetch(&mut self, key: CallKey) -> Option<Row> {
        self.order(Order::Fetch { key, stamp: put(1) });
        match self.next() {
            Answer::Fetched { key: found, row, .. } if found == key => row,
            other => panic!("{other:?}"),
        }
    }

    /// What is left to be told after the last order, until the thread has ended.
    pub(super) fn close(mut self) -> Vec<Answer> {
        let Database { way, room } = self.database.take().unwrap();
        drop(way);
        let mut left: Vec<Answer> = self.kept.drain(..).collect();
        while let Some(answer) = self.hear() {
            left.push(answer);
        }
        assert_eq!(room.bytes_taken(), 0, "what is answered takes no room");
        left
    }
}

pub(super) fn stamp(n: u64, site: u16, view: u64, counter: u64, version: u64) -> Stamp {
    Stamp {
        epoch: Epoch { n, site: SiteId(site) },
        token: LockToken { view: ViewNumber(view), counter },
        version: Version(version),
    }
}

/// The stamp of a call that was put for the `version`-th time.
pub(super) fn put(version: u64) -> Stamp {
    stamp(65_536, 1, 3, 9, version)
}

/// Keys that are spread over the slots.
pub(super) fn key(number: u64) -> CallKey {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    CallKey(key)
}

pub(super) fn row(number: u64, stamp: Stamp) -> Row {
    let filler = u8::try_from((number ^ stamp.version.0) % 251).unwrap();
    Row {
        key: key(number),
        stamp,
        view: VIEW,
        body: Bytes::from(vec![filler; 300 + usize::try_from(number % 50).unwrap()]),
        put_at: WallTime(1_700_000_000_000 + number),
        deadline: (!number.is_multiple_of(3)).then_some(WallTime(1_700_000_100_000)),
    }
}
