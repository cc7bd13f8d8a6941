//! A batch as a message: what the gate must know stands in headers, the payload is the bytes.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use replica::gate::QueuedBatch;
use vocab::{PartitionId, SiteId, ViewNumber};

use crate::clock::wall_time;

/// Of these headers; another one is not read.
const VERSION: u64 = 1;

const VERSION_HEADER: &str = "Rehome-Version";
const FROM: &str = "Rehome-From";
const PARTITION: &str = "Rehome-Partition";
const ID: &str = "Rehome-Id";
const VIEW: &str = "Rehome-View";
const WRITTEN: &str = "Rehome-Written-Ms";
const KEY: &str = "Rehome-Key";

/// Which append a message is of. Sequence numbers do not say it: a server that lost the end of a
/// stream gives them again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// Of the process that appended it; drawn when it started.
    pub(super) life: u64,
    pub(super) row: u64,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.life, self.row)
    }
}

impl FromStr for Key {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (life, row) = text.split_once('-').ok_or(())?;
        let life = u64::from_str_radix(life, 16).map_err(drop)?;
        Ok(Self { life, row: row.parse().map_err(drop)? })
    }
}

pub(super) fn headers(key: Key, batch: &QueuedBatch) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let numbers = [
        (VERSION_HEADER, VERSION),
        (FROM, batch.from.0.into()),
        (PARTITION, batch.partition.0.into()),
        (ID, batch.id),
        (VIEW, batch.view.0),
        (WRITTEN, wall_time().0),
    ];
    for (name, number) in numbers {
        headers.insert(name, number.to_string());
    }
    headers.insert(KEY, key.to_string());
    headers
}

/// `None` for a message that this program did not write, or a newer one did. Its row is given
/// later.
pub(super) fn batch(headers: &HeaderMap, bytes: Bytes) -> Option<(Key, QueuedBatch)> {
    if number::<u64>(headers, VERSION_HEADER)? != VERSION {
        return None;
    }
    let key = headers.get(KEY)?.as_str().parse().ok()?;
    let written: u64 = number(headers, WRITTEN)?;
    let batch = QueuedBatch {
        row: 0,
        from: SiteId(number(headers, FROM)?),
        partition: PartitionId(number(headers, PARTITION)?),
        id: number(headers, ID)?,
        view: ViewNumber(number(headers, VIEW)?),
        waited: Duration::from_millis(wall_time().0.saturating_sub(written)),
        bytes,
    };
    Some((key, batch))
}

pub(super) fn number<T: FromStr>(headers: &HeaderMap, name: &str) -> Option<T> {
    headers.get(name)?.as_str().parse().ok()
}
