//! The database of a replica: words of durations on one side, rows with moments on the other.

use std::time::Duration;

use replica::{DatabaseAsk, DatabaseWord, FoundRow, Refused, SpillRow};
use vocab::{ViewNumber, WallTime};

use crate::clock::wall_time;
use crate::database::{self, Answer, Database, Order, Refusal, Row};

/// Orders what the replica asks; the word is of an ask that was refused at once.
pub(super) fn ask(database: &Database, ask: DatabaseAsk) -> Option<DatabaseWord> {
    database.order(order_of(ask, wall_time())).err().map(refused)
}

fn order_of(ask: DatabaseAsk, now: WallTime) -> Order {
    match ask {
        DatabaseAsk::Store { view, rows } => {
            Order::Store { rows: rows.into_iter().map(|row| row_of(row, view, now)).collect() }
        }
        // The replica itself sees to it that an older row counts as none.
        DatabaseAsk::Fetch { key, stamp } => Order::Fetch { key, stamp },
        DatabaseAsk::Remove { view, rows } => Order::Remove { view, rows },
        DatabaseAsk::Clear { slots, view } => Order::Clear { slots, view },
    }
}

fn row_of(row: SpillRow, view: ViewNumber, now: WallTime) -> Row {
    let SpillRow { key, stamp, record: body, age, deadline } = row;
    let put_at = WallTime(now.0.saturating_sub(ms(age)));
    let deadline = deadline.map(|after| WallTime(put_at.0.saturating_add(ms(after))));
    Row { key, stamp, view, body, put_at, deadline }
}

/// What the replica hears of an answer, if it is of use to it.
pub(super) fn word_of(answer: Answer) -> Option<DatabaseWord> {
    Some(match answer {
        Answer::Stored(rows) => DatabaseWord::Stored { rows },
        Answer::Fetched { key, asked, row } => {
            let row = row.map(|row| found(row, wall_time()));
            DatabaseWord::Fetched { key, asked, row }
        }
        Answer::Corrupt { key, asked } => DatabaseWord::Fetched { key, asked, row: None },
        Answer::Removed(_) => return None,
        Answer::Cleared { view } => DatabaseWord::Cleared { view },
        Answer::Refused(refusal) => refused(refusal),
        Answer::Away { .. } => DatabaseWord::Away,
        Answer::Back => DatabaseWord::Back,
    })
}

fn found(row: Row, now: WallTime) -> FoundRow {
    let age = Duration::from_millis(now.0.saturating_sub(row.put_at.0));
    FoundRow { stamp: row.stamp, record: row.body, age }
}

fn refused(refusal: Refusal) -> DatabaseWord {
    DatabaseWord::Refused(match refusal.what {
        database::Refused::Store(rows) => {
            Refused::Store { keys: rows.into_iter().map(|(key, _)| key).collect() }
        }
        database::Refused::Fetch { key } => Refused::Fetch { key },
        database::Refused::Remove(_) => Refused::Remove,
        database::Refused::Clear => Refused::Clear,
    })
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
