//! An owner of a queue, for tests: gives orders and waits for what is told.

use super::*;

/// What is certain comes within this; a test that waits longer has failed.
pub(super) const SOON: Duration = Duration::from_secs(40);

impl From<Told> for Answer {
    fn from(told: Told) -> Self {
        told.answer
    }
}

pub(super) struct Desk {
    queue: Queue,
    told: mpsc::Receiver<Answer>,
    runtime: tokio::runtime::Runtime,
}

/// Batches differ in all that a queue keeps.
pub(super) fn batch(row: u64) -> QueuedBatch {
    QueuedBatch {
        row,
        from: SiteId(2 + u16::try_from(row % 3).unwrap()),
        partition: PartitionId(u16::try_from(row % 5).unwrap()),
        id: row + (1 << 40),
        view: ViewNumber(u64::MAX / 3 + row),
        waited: Duration::ZERO,
        bytes: Bytes::from(vec![u8::try_from(row % 251).unwrap(); 300]),
    }
}

/// What of a batch is the same after it was loaded.
pub(super) fn same(batch: &QueuedBatch) -> (SiteId, PartitionId, u64, ViewNumber, Bytes) {
    (batch.from, batch.partition, batch.id, batch.view, batch.bytes.clone())
}

/// Whether these are the batches of these rows, in this order.
pub(super) fn are(held: &[QueuedBatch], rows: impl IntoIterator<Item = u64>) {
    let wanted: Vec<u64> = rows.into_iter().collect();
    let found: Vec<u64> = held.iter().map(|batch| batch.id - (1 << 40)).collect();
    assert_eq!(found, wanted);
    for (held, row) in held.iter().zip(wanted) {
        assert_eq!(same(held), same(&batch(row)));
    }
    assert!(held.is_sorted_by(|a, b| a.row < b.row), "each has a row of its own");
}

impl Desk {
    /// Opens a queue of which nothing is known yet.
    pub(super) fn open(settings: &Settings) -> Self {
        let (answers, told) = mpsc::channel(4_096);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        Self { queue: Queue::open(settings, 1, answers).unwrap(), told, runtime }
    }

    /// The same, and what it holds.
    pub(super) fn load(settings: &Settings) -> (Self, Vec<QueuedBatch>) {
        let mut desk = Self::open(settings);
        match desk.next() {
            Answer::Loaded(held) => (desk, held),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn order(&self, order: Order) {
        self.queue.order(order);
    }

    /// The next thing that is told.
    pub(super) fn next(&mut self) -> Answer {
        self.hear().expect("the queue goes on telling")
    }

    fn hear(&mut self) -> Option<Answer> {
        let next = async { tokio::time::timeout(SOON, self.told.recv()).await };
        self.runtime.block_on(next).expect("the queue tells something soon")
    }

    /// Appends one after the other, and waits until all are held.
    pub(super) fn append(&mut self, rows: impl IntoIterator<Item = u64>) {
        let rows: Vec<u64> = rows.into_iter().collect();
        rows.iter().for_each(|row| self.order(Order::Append(batch(*row))));
        for row in rows {
            assert_eq!(self.next(), Answer::Appended(row));
        }
    }

    pub(super) fn is_refused(&mut self, row: u64) {
        self.order(Order::Append(batch(row)));
        assert_eq!(self.next(), Answer::Refused(row));
    }

    pub(super) fn is_away(&mut self) -> String {
        match self.next() {
            Answer::Away { why } => why,
            other => panic!("{other:?}"),
        }
    }

    /// What is left to be told, until the thread has ended.
    pub(super) fn close(mut self) -> Vec<Answer> {
        let (orders, none) = tokio::sync::mpsc::unbounded_channel();
        drop((none, std::mem::replace(&mut self.queue, Queue(Way::Nats(orders)))));
        std::iter::from_fn(|| self.hear()).collect()
    }

    pub(super) fn append_without_end(mut self) {
        assert_eq!(self.next(), Answer::Loaded(Vec::new()));
        (1..100_000).for_each(|row| self.order(Order::Append(batch(row))));
        while let Some(answer) = self.hear() {
            if let Answer::Appended(row) = answer {
                println!("on disk {row}");
            }
        }
    }
}
