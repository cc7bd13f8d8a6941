//! Which links count, over the loopback: this site's, to two processes of site 2 and to site 3.

use bytes::BytesMut;
use tokio::net::TcpListener;
use tokio::sync::mpsc::Receiver;
use vocab::TokenSecret;

use super::*;
use crate::event::Event;
use crate::link::LINK_BYTES_MAX;

const TWO: SiteId = SiteId(2);
const THREE: SiteId = SiteId(3);
/// What is not a peer of this site.
const STRANGER: SiteId = SiteId(9);

type Inbox = Receiver<Event>;

fn links(secret: u8) -> (Links, Inbox) {
    let (events, inbox) = crate::event::channel();
    let secret = TokenSecret::new([secret; 32]);
    let doors = std::sync::Arc::default();
    (Links { events, secret, bytes_max: LINK_BYTES_MAX, tls: None, doors }, inbox)
}

/// Another process's end: it takes links at an address.
async fn end() -> (Inbox, SocketAddr) {
    let (links, inbox) = links(7);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    links.listen::<SiteFrame>(listener, 4, LinkId::FromSite);
    (inbox, address)
}

async fn next(inbox: &mut Inbox) -> (LinkId, LinkWord<SiteFrame>) {
    match inbox.recv().await {
        Some(Event::Site(link, word)) => (link, word),
        _ => panic!("another event, or none"),
    }
}

async fn taken(inbox: &mut Inbox) -> Outbox {
    match next(inbox).await.1 {
        LinkWord::Up(outbox) => outbox,
        _ => panic!("a link comes up first"),
    }
}

fn hello(site: SiteId) -> SiteFrame {
    let (state, course) = (SiteState::Serving, Course::default());
    SiteFrame(SiteWord::Hello { site, start: 1, state, dictionary: 0, course })
}

fn word() -> SiteFrame {
    SiteFrame(SiteWord::BatchStored { id: 7, partition: vocab::PartitionId(0) })
}

/// The links of site 1, and what they told the gate.
struct Here {
    sites: SiteLinks,
    inbox: Inbox,
    words: VecDeque<Word>,
}

impl Here {
    /// `two`: the addresses of site 2's processes.
    fn new(two: &[SocketAddr]) -> Self {
        let two: Vec<String> = two.iter().map(|one| format!("\"{one}\"")).collect();
        let scratch = crate::scratch::Scratch::new("site_links");
        let text = format!(
            "role = \"state\"\n[site]\nid = 1\ndata_dir = {:?}\nsecret = \"{}\"\n\
             [tier]\nlisten = \"127.0.0.1:9000\"\n[sites]\nlisten = \"127.0.0.1:9100\"\n\
             [[sites.peer]]\nid = 2\naddress = [{}]\n\
             [[sites.peer]]\nid = 3\naddress = \"127.0.0.1:1\"\n",
            scratch.path(),
            "01".repeat(32),
            two.join(", "),
        );
        let (config, _) = crate::config::parse("site.toml", &text, None).unwrap();
        let (links, inbox) = links(7);
        let mut sites = SiteLinks::new(&config, Some(links));
        sites.open();
        Self { sites, inbox, words: VecDeque::new() }
    }

    fn take(&mut self, link: LinkId, word: LinkWord<SiteFrame>) {
        self.sites.take(link, word, &mut self.words);
    }

    /// Takes what comes until `is_wanted` likes one; refused diallings of site 3 are among it.
    async fn take_until(&mut self, is_wanted: fn(&LinkWord<SiteFrame>) -> bool) -> LinkId {
        loop {
            let (link, word) = next(&mut self.inbox).await;
            let is_it = is_wanted(&word);
            self.take(link, word);
            if is_it {
                return link;
            }
        }
    }

    /// What the gate hears since it was asked last.
    fn told(&mut self) -> Vec<String> {
        let words = self.words.drain(..).map(|word| match word {
            Word::Gate(GateInput::LinkUp { site }) => format!("up {}", site.0),
            Word::Gate(GateInput::LinkDown { site }) => format!("down {}", site.0),
            Word::Gate(GateInput::FromSite { site, .. }) => format!("word {}", site.0),
            _ => "something else".into(),
        });
        words.collect()
    }

    fn send(&mut self) {
        self.sites.send(TWO, word().0);
        self.sites.flush(&mut self.words);
    }
}

/// A link that was dialled to an end, as a process that is dialled has it: by its numbers.
async fn dialled() -> (Outbox, Inbox, crate::link::Dialling) {
    let (mut inbox, address) = end().await;
    let (links, inbox_there) = links(7);
    let dialling = links.dial::<SiteFrame>(address, LinkId::ToSite(SiteId(1), 0));
    (taken(&mut inbox).await, inbox_there, dialling)
}

const fn is_up(word: &LinkWord<SiteFrame>) -> bool {
    matches!(word, LinkWord::Up(_))
}

const fn is_down(word: &LinkWord<SiteFrame>) -> bool {
    matches!(word, LinkWord::Down)
}

const fn is_frame(word: &LinkWord<SiteFrame>) -> bool {
    matches!(word, LinkWord::Frame(_))
}

#[tokio::test(flavor = "current_thread")]
async fn a_link_that_is_no_peer_s_is_closed_and_nothing_it_says_is_heard() {
    let mut here = Here::new(&[SocketAddr::from(([127, 0, 0, 1], 2))]);
    // One that is not of a peer, one of this site itself, and one that does not greet.
    for first in [hello(STRANGER), hello(SiteId(1)), word()] {
        let (outbox, mut there, _dialling) = dialled().await;
        let mut up = taken(&mut there).await;
        here.take(LinkId::FromSite(1), LinkWord::Up(outbox));
        here.take(LinkId::FromSite(1), LinkWord::Frame(first.clone()));
        assert!(is_down(&next(&mut there).await.1), "{first:?} is no reason to stay");
        assert!(up.flush().is_ok(), "it had nothing to say");
        // What was read before the link closed comes all the same.
        here.take(LinkId::FromSite(1), LinkWord::Frame(hello(TWO)));
        assert!(here.told().is_empty(), "{first:?}");
    }
    assert_eq!(here.sites.state_of(STRANGER), None);
    assert_eq!(here.sites.state_of(TWO), None);
}

#[tokio::test(flavor = "current_thread")]
async fn a_link_stays_the_site_s_that_greeted_first() {
    let mut here = Here::new(&[SocketAddr::from(([127, 0, 0, 1], 2))]);
    let (outbox, _there, _dialling) = dialled().await;
    here.take(LinkId::FromSite(1), LinkWord::Up(outbox));
    for frame in [hello(TWO), word(), hello(THREE), word()] {
        here.take(LinkId::FromSite(1), LinkWord::Frame(frame));
    }
    assert_eq!(here.told(), ["word 2"; 4], "nobody becomes another site");
    // One that broke is not greeted by what still came of it.
    here.take(LinkId::FromSite(1), LinkWord::Down);
    here.take(LinkId::FromSite(1), LinkWord::Frame(word()));
    assert!(here.told().is_empty());
}

#[tokio::test(flavor = "current_thread")]
async fn a_link_that_breaks_is_told_once_and_counts_again_when_it_is_dialled_again() {
    let (mut two, address) = end().await;
    let mut here = Here::new(&[address]);
    assert_eq!(here.take_until(is_up).await, LinkId::ToSite(TWO, 0));
    assert_eq!(here.told(), ["up 2"], "the only address needs no greeting");
    let outbox = taken(&mut two).await;
    here.send();
    assert!(matches!(next(&mut two).await.1, LinkWord::Frame(frame) if frame == word()));
    drop(outbox);
    here.take_until(is_down).await;
    assert_eq!(here.told(), ["down 2"]);
    assert_eq!(here.sites.is_encrypted(TWO), None, "there is no link");
    // What is said meanwhile is lost: it is the gate that says it again.
    here.send();
    here.take_until(is_up).await;
    assert_eq!(here.told(), ["up 2"]);
    here.send();
    while !is_up(&next(&mut two).await.1) {}
    assert!(matches!(next(&mut two).await.1, LinkWord::Frame(frame) if frame == word()));
}

#[tokio::test(flavor = "current_thread")]
async fn of_a_site_of_two_processes_the_link_counts_that_is_greeted() {
    let [(mut first, one), (mut second, two)] = [end().await, end().await];
    let mut here = Here::new(&[one, two]);
    here.take_until(is_up).await;
    here.take_until(is_up).await;
    let [idle, mut keeper] = [taken(&mut first).await, taken(&mut second).await];
    here.send();
    assert!(here.told().is_empty() && here.sites.is_encrypted(TWO).is_none());

    hello(TWO).encode_into(keeper.buffer());
    keeper.flush().unwrap();
    assert_eq!(here.take_until(is_frame).await, LinkId::ToSite(TWO, 1));
    assert_eq!(here.told(), ["up 2"]);
    here.send();
    assert!(matches!(next(&mut second).await.1, LinkWord::Frame(frame) if frame == word()));

    // The other process closes its link, as one does that keeps no gate.
    drop(idle);
    assert_eq!(here.take_until(is_down).await, LinkId::ToSite(TWO, 0));
    assert!(here.told().is_empty(), "it was not the one that counts");

    // The gate moves: the one that greets next takes its place, and the old one's end is no loss.
    here.take_until(is_up).await;
    while !is_down(&next(&mut first).await.1) {}
    let mut next_keeper = taken(&mut first).await;
    hello(TWO).encode_into(next_keeper.buffer());
    next_keeper.flush().unwrap();
    assert_eq!(here.take_until(is_frame).await, LinkId::ToSite(TWO, 0));
    assert_eq!(here.told(), ["up 2"]);
    drop(keeper);
    here.send();
    assert!(matches!(next(&mut first).await.1, LinkWord::Frame(frame) if frame == word()));
    assert!(here.told().is_empty());
    drop(next_keeper);
    while here.take_until(is_down).await != LinkId::ToSite(TWO, 0) {}
    assert_eq!(here.told(), ["down 2"]);
}

#[tokio::test(flavor = "current_thread")]
async fn links_that_come_after_the_end_do_not_count() {
    let (_two, address) = end().await;
    let mut here = Here::new(&[address]);
    let (link, outbox) = loop {
        if let (link, LinkWord::Up(outbox)) = next(&mut here.inbox).await {
            break (link, outbox);
        }
    };
    let (incoming, mut there, _dialling) = dialled().await;
    let _up = taken(&mut there).await;
    here.sites.close();
    here.take(link, LinkWord::Up(outbox));
    here.take(LinkId::FromSite(1), LinkWord::Up(incoming));
    assert!(is_down(&next(&mut there).await.1), "nobody holds it");
    here.take(LinkId::FromSite(1), LinkWord::Frame(hello(TWO)));
    assert!(here.told().is_empty());
}

/// A peer of a version to come is not understood in part.
#[tokio::test(flavor = "current_thread")]
async fn a_frame_of_another_version_ends_the_link_and_what_follows_is_not_heard() {
    let (mut two, address) = end().await;
    let mut here = Here::new(&[address]);
    here.take_until(is_up).await;
    let _outbox = taken(&mut two).await;
    let mut newer = BytesMut::new();
    word().encode_into(&mut newer);
    newer[0] += 1;
    let (_, outbox) = here.sites.to.get_mut(&TWO).expect("it is linked");
    word().encode_into(outbox.buffer());
    outbox.buffer().extend_from_slice(&newer);
    word().encode_into(outbox.buffer());
    here.sites.flush(&mut here.words);
    assert!(matches!(next(&mut two).await.1, LinkWord::Frame(frame) if frame == word()));
    assert!(is_down(&next(&mut two).await.1), "the version is refused");
}
