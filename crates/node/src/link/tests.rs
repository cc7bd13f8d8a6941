//! Links over the loopback: words arrive, strangers do not, a break is told at once.

mod tls;

use super::*;
use tier_protocol::frame::SiteFrame;
use tier_protocol::{Course, SiteState, SiteWord};
use tokio::sync::mpsc::Receiver;

fn links(secret: u8) -> (Links, Receiver<Event>) {
    let (events, inbox) = crate::event::channel();
    let secret = TokenSecret::new([secret; 32]);
    let doors = Arc::default();
    (Links { events, secret, bytes_max: LINK_BYTES_MAX, tls: None, doors }, inbox)
}

async fn listen(links: &Links) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    links.listen::<SiteFrame>(listener, 4, LinkId::FromSite);
    address
}

async fn next(inbox: &mut Receiver<Event>) -> (LinkId, LinkWord<SiteFrame>) {
    match inbox.recv().await {
        Some(Event::Site(link, word)) => (link, word),
        _ => panic!("another event, or none"),
    }
}

fn hello(start: u64) -> SiteFrame {
    SiteFrame(SiteWord::Hello {
        site: SiteId(1),
        start,
        state: SiteState::Serving,
        dictionary: 0,
        course: Course::default(),
    })
}

fn batch(id: u64, length: usize) -> SiteFrame {
    SiteFrame(SiteWord::Batch {
        id,
        partition: vocab::PartitionId(0),
        view: vocab::ViewNumber(1),
        bytes: bytes::Bytes::from(vec![0; length]),
    })
}

#[tokio::test(flavor = "current_thread")]
async fn words_arrive_in_order_and_a_break_is_told() {
    let (there, mut inbox_there) = links(7);
    let (here, mut inbox_here) = links(7);
    let address = listen(&there).await;
    let _dialling = here.dial::<SiteFrame>(address, LinkId::ToSite(SiteId(2), 0));

    let (link, LinkWord::Up(mut outbox)) = next(&mut inbox_here).await else { panic!("not up") };
    assert_eq!(link, LinkId::ToSite(SiteId(2), 0));
    for start in 0..1_000 {
        hello(start).encode_into(outbox.buffer());
    }
    outbox.flush().unwrap();

    let (link, LinkWord::Up(there_outbox)) = next(&mut inbox_there).await else { panic!() };
    assert_eq!(link, LinkId::FromSite(1));
    for start in 0..1_000 {
        let (_, LinkWord::Frame(frame)) = next(&mut inbox_there).await else { panic!("no frame") };
        assert_eq!(frame, hello(start));
    }

    // The owner over there gives the link up: both hear of it, and it is dialled again.
    drop(there_outbox);
    assert!(matches!(next(&mut inbox_there).await.1, LinkWord::Down));
    assert!(matches!(next(&mut inbox_here).await.1, LinkWord::Down));
    assert!(matches!(next(&mut inbox_here).await.1, LinkWord::Up(_)));
}

#[tokio::test(flavor = "current_thread")]
async fn a_peer_with_another_secret_is_refused_by_both_ends() {
    let (there, mut inbox_there) = links(7);
    let (here, mut inbox_here) = links(8);
    let address = listen(&there).await;
    assert!(here.dial_once::<SiteFrame>(address, LinkId::ToSite(SiteId(2), 0)).await.is_err());
    // The right secret for the wrong sort of link proves nothing either.
    let (same, _inbox) = links(7);
    assert!(same.dial_once::<SiteFrame>(address, LinkId::State(1)).await.is_err());
    assert!(inbox_there.try_recv().is_err());
    assert!(inbox_here.try_recv().is_err());
}

#[tokio::test(flavor = "current_thread")]
async fn a_link_that_was_full_goes_on_when_the_peer_reads() {
    let (there, mut inbox_there) = links(7);
    let (here, mut inbox_here) = links(7);
    let address = listen(&there).await;
    let _dialling = here.dial::<SiteFrame>(address, LinkId::ToSite(SiteId(2), 0));
    let (_, LinkWord::Up(mut outbox)) = next(&mut inbox_here).await else { panic!("not up") };
    // 16 MiB are more than the kernel's buffers take at once.
    const BATCHES: u64 = 64;
    for id in 0..BATCHES {
        batch(id, 256 << 10).encode_into(outbox.buffer());
    }
    outbox.flush().unwrap();
    assert!(matches!(outbox.to, To::Plain { is_stuck: true, .. }));
    let (_, LinkWord::Up(_open)) = next(&mut inbox_there).await else { panic!("not up") };
    let (mut came, mut times_writable) = (0, 0);
    while came < BATCHES {
        tokio::select! {
            (_, word) = next(&mut inbox_there) => if let LinkWord::Frame(frame) = word {
                assert_eq!(frame, batch(came, 256 << 10));
                came += 1;
            },
            (_, word) = next(&mut inbox_here) => {
                assert!(matches!(word, LinkWord::Writable));
                times_writable += 1;
                outbox.note_writable();
                outbox.flush().unwrap();
            }
        }
    }
    assert!(times_writable > 0);
}

#[tokio::test(flavor = "current_thread")]
async fn a_peer_that_reads_nothing_is_given_up_at_the_bound() {
    let (there, mut inbox_there) = links(7);
    let (mut here, mut inbox_here) = links(7);
    here.bytes_max = 1 << 20;
    let address = listen(&there).await;
    let _dialling = here.dial::<SiteFrame>(address, LinkId::ToSite(SiteId(2), 0));
    let (_, LinkWord::Up(mut outbox)) = next(&mut inbox_here).await else { panic!("not up") };
    // Nobody takes events over there beyond the channel's bound, so the kernel's buffers fill.
    let mut turns = 0;
    loop {
        batch(1, 1 << 20).encode_into(outbox.buffer());
        if outbox.flush().is_err() {
            break;
        }
        turns += 1;
        assert!(turns < 1_000, "it never gave up");
    }
    drop(outbox);
    assert!(matches!(next(&mut inbox_there).await.1, LinkWord::Up(_)));
}
