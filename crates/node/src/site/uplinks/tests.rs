//! Which addresses an engine dials as its state tier changes.

use tokio::net::TcpListener;
use tokio::sync::mpsc::Receiver;
use vocab::{PartitionId, TokenSecret};

use super::*;
use crate::event::Event;

fn links() -> (Links, Receiver<Event>) {
    let (events, inbox) = crate::event::channel();
    let (secret, doors) = (TokenSecret::new([7; 32]), std::sync::Arc::default());
    (Links { events, secret, bytes_max: 1 << 20, tls: None, doors }, inbox)
}

fn uplinks(links: Links, addresses: &[SocketAddr]) -> Uplinks {
    Uplinks::new(Instant(1), links, EngineId(1), "e1".into(), addresses)
}

fn seat(address: SocketAddr) -> Seat {
    Seat {
        replica: ReplicaId(u64::from(address.port())),
        partition: PartitionId(0),
        name: String::new(),
        address: address.to_string(),
        partitions: 1,
        replicas: 1,
    }
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

#[tokio::test(flavor = "current_thread")]
async fn an_address_that_nobody_names_any_more_makes_room_for_others() {
    let (links, _inbox) = links();
    let mut uplinks = uplinks(links, &[at(1)]);
    // Nobody listens: a tier that moves on and on, as one engine hears of it.
    for port in 2..600 {
        assert!(uplinks.note_seats(ReplicaId(5), &[seat(at(port))]).is_empty());
        let dialled: Vec<SocketAddr> = uplinks.dialled.keys().copied().collect();
        assert_eq!(dialled, [at(1), at(port)], "the configured one, and the newest");
    }
}

/// A replica that listens, and answers an engine with who it is.
async fn replica(inbox: &mut Receiver<Event>, uplinks: &mut Uplinks, link: u64, id: u64) {
    loop {
        let Some(Event::Tier(LinkId::State(from), word)) = inbox.recv().await else { continue };
        assert_eq!(from, link);
        if matches!(word, LinkWord::Up(_)) {
            uplinks.take(Instant(1), link, word);
            break;
        }
    }
    let (replica, partition, name) = (ReplicaId(id), PartitionId(0), String::new());
    let hello = TierFrame::Replica { replica, partition, name, version: PROTOCOL_VERSION };
    let news = uplinks.take(Instant(1), link, LinkWord::Frame(hello));
    assert!(matches!(news, Some(News::Up(up)) if up == replica));
}

#[tokio::test(flavor = "current_thread")]
async fn one_that_knows_an_older_map_takes_no_address_away() {
    let (here, mut inbox) = links();
    let (there, _accepted) = links();
    let mut addresses = Vec::new();
    let mut uplinks = uplinks(here, &[]);
    for number in 1..=2 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        addresses.push(listener.local_addr().unwrap());
        there.listen::<TierFrame>(listener, 4, LinkId::Engine);
        uplinks.dial(addresses[addresses.len() - 1]);
        replica(&mut inbox, &mut uplinks, number, number).await;
    }
    let (both, first) = ([seat(addresses[0]), seat(addresses[1])], [seat(addresses[0])]);
    assert!(uplinks.note_seats(ReplicaId(1), &both).is_empty());
    assert!(uplinks.note_seats(ReplicaId(2), &first).is_empty(), "the other names it");
    assert!(uplinks.dialled.contains_key(&addresses[1]));
    let lost = uplinks.note_seats(ReplicaId(1), &first);
    assert!(matches!(lost.as_slice(), [News::Down(ReplicaId(2))]), "nobody names it");
    assert_eq!(uplinks.dialled.len(), 1);
}
