//! The queue survives the death of its process.

use super::*;
use crate::scratch::{Scratch, killed_at, of_parent};

fn batch(row: u64) -> QueuedBatch {
    QueuedBatch {
        row,
        from: SiteId(2),
        partition: PartitionId(0),
        id: row + 100,
        view: ViewNumber(3),
        waited: Duration::ZERO,
        bytes: Bytes::from(vec![u8::try_from(row % 251).unwrap(); 300]),
    }
}

/// Opens the queue, gives it `orders`, and waits for `answers` answers.
fn drive(dir: &Path, orders: Vec<Order>, answers: usize) -> (Vec<QueuedBatch>, Vec<Answer>) {
    let (tx, rx) = mpsc::channel();
    let (queue, held) = Queue::open(dir, move |answer| tx.send(answer).unwrap()).unwrap();
    orders.into_iter().for_each(|order| queue.order(order));
    let got = rx.iter().take(answers).collect();
    drop(queue);
    // The channel closes when the thread has ended: the file is free for the next one.
    assert!(rx.iter().next().is_none());
    (held, got)
}

#[test]
fn what_was_appended_is_loaded_and_what_was_removed_is_not() {
    let scratch = Scratch::new("queue_order");
    let orders = (1..=4).map(|row| Order::Append(batch(row))).collect();
    let (held, answers) = drive(scratch.path(), orders, 4);
    assert!(held.is_empty());
    assert_eq!(answers, (1..=4).map(Answer::Appended).collect::<Vec<_>>());

    let (held, _) = drive(scratch.path(), vec![Order::Remove(2), Order::SetAside(3)], 0);
    assert_eq!(held.iter().map(|batch| batch.row).collect::<Vec<_>>(), [1, 2, 3, 4]);

    let (held, _) = drive(scratch.path(), vec![], 0);
    assert_eq!(held.iter().map(|batch| batch.row).collect::<Vec<_>>(), [1, 4]);
    assert_eq!(held[1].bytes, batch(4).bytes);
    assert_eq!((held[1].id, held[1].view, held[1].from), (104, ViewNumber(3), SiteId(2)));
}

#[test]
fn a_batch_that_cannot_be_read_stays_on_disk() {
    let scratch = Scratch::new("queue_aside");
    drive(scratch.path(), vec![Order::Append(batch(9)), Order::SetAside(9)], 1);
    let connection = Connection::open(scratch.path().join("queue.sqlite")).unwrap();
    let count: i64 =
        connection.query_row("SELECT count(*) FROM set_aside", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 1);
}

const CHILD: &str = "REHOME_TEST_QUEUE_CHILD";

/// The child of the test below: it appends without end and says what is on disk.
#[test]
fn child_appends_until_it_is_killed() {
    let Some(dir) = of_parent(CHILD) else { return };
    let report = |answer| {
        if let Answer::Appended(row) = answer {
            println!("on disk {row}");
        }
    };
    let (queue, _) = Queue::open(&dir, report).unwrap();
    for row in 1..100_000 {
        queue.order(Order::Append(batch(row)));
    }
}

#[test]
fn an_acknowledged_batch_survives_kill_9() {
    let scratch = Scratch::new("queue_kill");
    let child = "queue::tests::child_appends_until_it_is_killed";
    let acknowledged = killed_at(child, CHILD, &scratch, 700);

    let (held, _) = drive(scratch.path(), vec![], 0);
    assert!(held.len() as u64 >= acknowledged, "{} < {acknowledged}", held.len());
    for (row, held) in (1..).zip(&held) {
        assert_eq!((held.row, &held.bytes), (row, &batch(row).bytes));
    }
}
