//! This process's key under a lease: granted, put, kept alive; begun anew when it was lost.
//!
//! Nothing here waits for the owner: a process that is busy is present all the same.

use std::time::Duration;

use super::super::Presence;
use super::super::teller::Signs;
use super::client::Client;
use super::http::Failure;
use super::{BackOff, Left};

/// Signs of life in the time after which a lease lapses.
const SIGNS_OF_LIFE: u32 = 3;

/// Is present until `left` says that the process ends.
pub(super) async fn keep(
    client: Client,
    presence: Presence,
    ttl: Duration,
    signs: Signs,
    left: Left,
) {
    let mut lease = None;
    let done = tokio::select! {
        () = hold(&client, &presence, ttl, &signs, &mut lease) => return,
        done = left => done,
    };
    // Without somebody who waits, the process did not end in order: the lease lapses.
    let (Ok(done), Some(lease)) = (done, lease) else { return };
    if let Err(failure) = client.revoke(lease).await {
        tracing::warn!(%failure, "the presence is not taken back");
    }
    // The one who waits may have given up.
    let _told = done.send(());
}

/// Holds one lease after the other; `lease` is the one that is held.
async fn hold(
    client: &Client,
    presence: &Presence,
    ttl: Duration,
    signs: &Signs,
    lease: &mut Option<u64>,
) {
    // etcd counts whole seconds.
    let seconds = ttl.as_secs().max(1);
    let mut back_off = BackOff::new();
    loop {
        match client.grant(seconds).await {
            Ok(id) => {
                *lease = Some(id);
                back_off = BackOff::new();
                hold_one(client, presence, id, ttl / SIGNS_OF_LIFE, signs).await;
                *lease = None;
                tracing::warn!(id = presence.id, "the lease of this process's presence was lost");
            }
            Err(failure) => {
                tracing::debug!(%failure, "no lease");
                back_off.pause().await;
            }
        }
    }
}

/// Returns when the lease is over. As long as etcd does not say so, it may live: an election of
/// etcd's gives leases their whole life again.
async fn hold_one(
    client: &Client,
    presence: &Presence,
    lease: u64,
    every: Duration,
    signs: &Signs,
) {
    let mut back_off = BackOff::new();
    let mut is_put = false;
    loop {
        let lives = if is_put {
            client.keep_alive(lease).await
        } else {
            // Put again under the same lease if the first is unanswered: should that one arrive
            // late, it changes nothing.
            put(client, presence, lease, &mut is_put).await
        };
        match lives {
            Ok(true) => {
                back_off = BackOff::new();
                tokio::select! {
                    () = tokio::time::sleep(every) => {}
                    // Somebody removed the key.
                    () = signs.is_absent.notified() => is_put = false,
                }
            }
            Ok(false) => return,
            Err(failure) => {
                tracing::debug!(%failure, "no sign of life");
                back_off.pause().await;
            }
        }
    }
}

async fn put(
    client: &Client,
    presence: &Presence,
    lease: u64,
    is_put: &mut bool,
) -> Result<bool, Failure> {
    let lives = client.put_present(&presence.id, &presence.bytes, lease).await;
    *is_put = matches!(lives, Ok(true));
    lives
}
