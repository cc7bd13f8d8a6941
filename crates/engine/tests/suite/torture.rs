//! RFC 4475 and RFC 5118: no message of theirs, nor any piece of one, harms an engine.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use crate::basic::answered;
use crate::world::{ALICE, World};

/// The corpora are not part of this repository.
fn corpora() -> PathBuf {
    let path = std::env::var_os("REHOME_CORPORA").map_or_else(
        || {
            PathBuf::from(env!("CARGO_MANIFEST_DIR"))
                .join("../../..")
                .join("shared")
                .join("corpora")
        },
        PathBuf::from,
    );
    assert!(
        path.join("rfc4475").is_dir(),
        "no corpora at {}: set REHOME_CORPORA to the directory that holds `rfc4475` (one file \
         per message of RFC 4475, named as in its section 3) and `rfc5118`",
        path.display()
    );
    path
}

fn messages() -> Vec<(String, Bytes)> {
    let mut found = Vec::new();
    let mut folders = vec![corpora()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).expect("the corpora can be read");
        for entry in entries {
            let path = entry.expect("the corpora can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_none_or(|extension| extension != "csv") {
                let bytes = std::fs::read(&path).expect("the corpora can be read");
                found.push((path.display().to_string(), Bytes::from(bytes)));
            }
        }
    }
    found.sort();
    assert!(found.len() >= 49, "RFC 4475 alone has 49 messages");
    found
}

#[test]
fn no_torture_message_harms_an_engine() {
    for (name, bytes) in messages() {
        let mut world = World::new();
        world.deliver(1, ALICE, bytes.clone());
        world.deliver(2, ALICE, bytes);
        assert_eq!(world.count(|stats| stats.panics), 0, "{name}");
        world.advance(Duration::from_secs(300));
        assert_eq!(world.count(|stats| stats.turns), 0, "{name}");
        world.sent.clear();
        answered(&mut world, "alive");
    }
}

#[test]
fn no_piece_of_a_torture_message_harms_an_engine() {
    let mut world = World::new();
    for (name, bytes) in messages() {
        for end in (0..bytes.len()).step_by(7) {
            world.deliver(1, ALICE, bytes.slice(..end));
        }
        assert_eq!(world.count(|stats| stats.panics), 0, "{name}");
        world.sent.clear();
    }
    answered(&mut world, "alive");
}
