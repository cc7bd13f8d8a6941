//! Links inside TLS, over real sockets: who gets in, and who does not.

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::certificates::{Authority, CertificateFiles};
use crate::config::tls::TlsFiles;
use crate::scratch::Scratch;
use crate::tls::tests::{Valid, issue};
use crate::tls::{Tls, Way, Why};

/// What an end is given: its files, and the peers that it knows, by their default names.
fn tls(files: &CertificateFiles, peers: &[u16]) -> Option<Arc<Tls>> {
    let peers = peers.iter().map(|site| (SiteId(*site), format!("site{site}.rehome")));
    let CertificateFiles { cert_file, key_file, ca_file } = files.clone();
    let tls = Tls::load(TlsFiles { cert_file, key_file, ca_file }, peers);
    Some(Arc::new(tls.expect("the files fit together")))
}

fn end(tls: Option<Arc<Tls>>) -> (Links, Receiver<Event>) {
    let (links, inbox) = links(7);
    (Links { tls, ..links }, inbox)
}

fn folder(scratch: &Scratch, name: &str) -> std::path::PathBuf {
    let folder = scratch.path().join(name);
    std::fs::create_dir_all(&folder).expect("the scratch folder can be written");
    folder
}

/// Site 2 listens, with a good certificate, and knows sites 1 and 3.
async fn listening(scratch: &Scratch, ca: &Authority) -> (Links, Receiver<Event>, SocketAddr) {
    let files = ca.issue(&folder(scratch, "site2"), "site2.rehome");
    let (links, inbox) = end(tls(&files, &[1, 3]));
    let address = listen(&links).await;
    (links, inbox, address)
}

/// Dials once.
async fn dial(links: &Links, address: SocketAddr) -> io::Result<Closed> {
    links.dial_once::<SiteFrame>(address, LinkId::ToSite(SiteId(2), 0)).await
}

/// Until a count is not 0: the other end may be about to note it.
async fn counted(links: &Links, way: Way, why: Why) {
    let counted = async {
        while links.doors.of(way, why) == 0 {
            tokio::task::yield_now().await;
        }
    };
    let noted = tokio::time::timeout(Duration::from_secs(20), counted).await;
    assert!(noted.is_ok(), "{why:?} is not counted");
}

/// A good peer gets in, and its words arrive.
async fn lets_in(
    inbox: &mut Receiver<Event>,
    address: SocketAddr,
    scratch: &Scratch,
    ca: &Authority,
) {
    let files = ca.issue(&folder(scratch, "site1"), "site1.rehome");
    let (here, mut inbox_here) = end(tls(&files, &[2]));
    let dialling = here.dial::<SiteFrame>(address, LinkId::ToSite(SiteId(2), 0));
    let (_, LinkWord::Up(mut outbox)) = next(&mut inbox_here).await else { panic!("not up") };
    hello(5).encode_into(outbox.buffer());
    outbox.flush().unwrap();
    let (_, LinkWord::Up(from)) = next(inbox).await else { panic!("not up") };
    let (_, LinkWord::Frame(frame)) = next(inbox).await else { panic!("no frame") };
    assert_eq!(frame, hello(5));
    assert!(outbox.is_encrypted() && from.is_encrypted());
    drop((dialling, from, outbox));
    assert!(matches!(next(inbox).await.1, LinkWord::Down));
}

#[tokio::test(flavor = "current_thread")]
async fn a_good_pair_speaks_and_each_knows_who_the_other_is() {
    let scratch = Scratch::new("link_tls_good");
    let ca = Authority::new("good");
    let (_there, mut inbox_there, address) = listening(&scratch, &ca).await;
    let files = ca.issue(&folder(&scratch, "site1"), "site1.rehome");
    let (here, mut inbox_here) = end(tls(&files, &[2]));
    let _dialling = here.dial::<SiteFrame>(address, LinkId::ToSite(SiteId(2), 0));

    let (_, LinkWord::Up(mut outbox)) = next(&mut inbox_here).await else { panic!("not up") };
    let (_, LinkWord::Up(mut back)) = next(&mut inbox_there).await else { panic!("not up") };
    assert!(outbox.is_encrypted() && back.is_encrypted());
    assert!(back.may_be(SiteId(1)));
    assert!(!back.may_be(SiteId(3)), "its certificate names site 1 alone");
    // Both ways, and more than the kernel's buffers take at once.
    const BATCHES: u64 = 64;
    for id in 0..BATCHES {
        batch(id, 256 << 10).encode_into(outbox.buffer());
        outbox.flush().unwrap();
    }
    hello(9).encode_into(back.buffer());
    back.flush().unwrap();
    for id in 0..BATCHES {
        let (_, LinkWord::Frame(frame)) = next(&mut inbox_there).await else { panic!("no frame") };
        assert_eq!(frame, batch(id, 256 << 10));
    }
    let (_, LinkWord::Frame(frame)) = next(&mut inbox_here).await else { panic!("no frame") };
    assert_eq!(frame, hello(9));
    // The owner over there gives the link up: both hear of it, and it is dialled again.
    drop(back);
    assert!(matches!(next(&mut inbox_there).await.1, LinkWord::Down));
    assert!(matches!(next(&mut inbox_here).await.1, LinkWord::Down));
    assert!(matches!(next(&mut inbox_here).await.1, LinkWord::Up(_)));
}

#[tokio::test(flavor = "current_thread")]
async fn nobody_reads_what_crosses() {
    let scratch = Scratch::new("link_tls_read");
    let ca = Authority::new("read");
    let (_there, mut inbox_there, address) = listening(&scratch, &ca).await;
    // In the middle: passes all on, and keeps it.
    let middle = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let between = middle.local_addr().unwrap();
    let passing = tokio::spawn(async move {
        let (mut one, _) = middle.accept().await.unwrap();
        let mut other = TcpStream::connect(address).await.unwrap();
        let (mut seen, mut area, mut back) = (Vec::new(), [0; 4096], [0; 4096]);
        loop {
            tokio::select! {
                read = one.read(&mut area) => match read {
                    Ok(read) if read > 0 => {
                        seen.extend_from_slice(&area[..read]);
                        other.write_all(&area[..read]).await.unwrap();
                    }
                    _ => return seen,
                },
                read = other.read(&mut back) => match read {
                    Ok(read) if read > 0 => one.write_all(&back[..read]).await.unwrap(),
                    _ => return seen,
                },
            }
        }
    });
    let files = ca.issue(&folder(&scratch, "site1"), "site1.rehome");
    let (here, mut inbox_here) = end(tls(&files, &[2]));
    let dialling = here.dial::<SiteFrame>(between, LinkId::ToSite(SiteId(2), 0));
    let (_, LinkWord::Up(mut outbox)) = next(&mut inbox_here).await else { panic!("not up") };
    let secret = b"sip:a-callee-that-nobody-shall-see@example.com".repeat(4);
    let word = SiteWord::Batch {
        id: 1,
        partition: vocab::PartitionId(0),
        view: vocab::ViewNumber(1),
        bytes: bytes::Bytes::from(secret.clone()),
    };
    SiteFrame(word.clone()).encode_into(outbox.buffer());
    outbox.flush().unwrap();
    let (_, LinkWord::Up(_from)) = next(&mut inbox_there).await else { panic!("not up") };
    let (_, LinkWord::Frame(frame)) = next(&mut inbox_there).await else { panic!("no frame") };
    assert_eq!(frame, SiteFrame(word));
    drop((dialling, outbox));
    let seen = passing.await.unwrap();
    assert!(seen.len() > secret.len(), "it went through the middle");
    assert!(!seen.windows(24).any(|window| window == &secret[..24]));
}

#[tokio::test(flavor = "current_thread")]
async fn another_ca_is_refused_by_both_ends() {
    let scratch = Scratch::new("link_tls_ca");
    let (ca, other) = (Authority::new("one"), Authority::new("other"));
    let (there, mut inbox_there, address) = listening(&scratch, &ca).await;
    let theirs = other.issue(&folder(&scratch, "stranger"), "site1.rehome");
    // Who dials does not take what it is shown.
    let (here, _inbox) = end(tls(&theirs, &[2]));
    assert!(dial(&here, address).await.is_err());
    counted(&here, Way::Dialled, Why::Certificate).await;
    // Who is dialled does not, either, where the one that dials would take it.
    let good = ca.issue(&folder(&scratch, "site1"), "site1.rehome");
    let (here, _inbox) = end(tls(&CertificateFiles { ca_file: good.ca_file, ..theirs }, &[2]));
    let refused = there.doors.of(Way::Taken, Why::Certificate);
    assert!(dial(&here, address).await.is_err());
    counted(&here, Way::Dialled, Why::Certificate).await;
    while there.doors.of(Way::Taken, Why::Certificate) == refused {
        tokio::task::yield_now().await;
    }
    assert!(inbox_there.try_recv().is_err());
    lets_in(&mut inbox_there, address, &scratch, &ca).await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_certificate_that_names_another_is_refused_by_both_ends() {
    let scratch = Scratch::new("link_tls_name");
    let ca = Authority::new("names");
    let (there, mut inbox_there, address) = listening(&scratch, &ca).await;
    // Site 9 is nobody's peer.
    let nine = ca.issue(&folder(&scratch, "site9"), "site9.rehome");
    let (here, _inbox) = end(tls(&nine, &[2]));
    assert!(dial(&here, address).await.is_err());
    counted(&there, Way::Taken, Why::Name).await;
    counted(&here, Way::Dialled, Why::Certificate).await;
    // Site 1 dials what should be site 3, and site 2 answers.
    let one = ca.issue(&folder(&scratch, "site1"), "site1.rehome");
    let (here, _inbox) = end(tls(&one, &[2, 3]));
    let to_three = LinkId::ToSite(SiteId(3), 0);
    assert!(here.dial_once::<SiteFrame>(address, to_three).await.is_err());
    counted(&here, Way::Dialled, Why::Name).await;
    assert!(inbox_there.try_recv().is_err());
}

#[tokio::test(flavor = "current_thread")]
async fn certificates_that_are_not_valid_at_the_moment_are_refused() {
    let scratch = Scratch::new("link_tls_ended");
    let ca = Authority::new("dates");
    let (there, mut inbox_there, address) = listening(&scratch, &ca).await;
    for (name, valid) in [("ended", Valid::Ended), ("later", Valid::Later)] {
        let files = issue(&ca, &folder(&scratch, name), "site1.rehome", valid);
        let (here, _inbox) = end(tls(&files, &[2]));
        assert!(dial(&here, address).await.is_err(), "{name}");
        counted(&here, Way::Dialled, Why::Certificate).await;
    }
    assert_eq!(there.doors.of(Way::Taken, Why::Certificate), 2);
    assert!(inbox_there.try_recv().is_err());
    // The same at the end that is dialled.
    let files = issue(&ca, &folder(&scratch, "ended2"), "site2.rehome", Valid::Ended);
    let (old, _inbox) = end(tls(&files, &[1]));
    let address = listen(&old).await;
    let files = ca.issue(&folder(&scratch, "site1"), "site1.rehome");
    let (here, _inbox) = end(tls(&files, &[2]));
    assert!(dial(&here, address).await.is_err());
    counted(&here, Way::Dialled, Why::Certificate).await;
}

#[tokio::test(flavor = "current_thread")]
async fn the_secret_is_wanted_inside_too() {
    let scratch = Scratch::new("link_tls_secret");
    let ca = Authority::new("secret");
    let (there, mut inbox_there, address) = listening(&scratch, &ca).await;
    let files = ca.issue(&folder(&scratch, "site1"), "site1.rehome");
    let (links, _inbox) = links(8);
    let here = Links { tls: tls(&files, &[2]), ..links };
    assert!(dial(&here, address).await.is_err());
    counted(&there, Way::Taken, Why::Secret).await;
    assert!(inbox_there.try_recv().is_err());
}

#[tokio::test(flavor = "current_thread")]
async fn plain_and_tls_do_not_meet() {
    let scratch = Scratch::new("link_tls_plain");
    let ca = Authority::new("plain");
    let (there, mut inbox_there, address) = listening(&scratch, &ca).await;
    // A plain peer waits for a first word, as does the other end: its time runs out.
    let (plain, mut inbox_plain) = links(7);
    assert!(dial(&plain, address).await.is_err());
    counted(&plain, Way::Dialled, Why::Slow).await;
    counted(&there, Way::Taken, Why::Plain).await;
    assert!(inbox_there.try_recv().is_err());
    // The other way round both know at once.
    let files = ca.issue(&folder(&scratch, "site1"), "site1.rehome");
    let (here, _inbox) = end(tls(&files, &[2]));
    let address = listen(&plain).await;
    assert!(dial(&here, address).await.is_err());
    counted(&here, Way::Dialled, Why::Plain).await;
    counted(&plain, Way::Taken, Why::Tls).await;
    assert!(inbox_plain.try_recv().is_err());
}

/// Reads until the other end closes; fails when it does not.
async fn closed(mut stream: TcpStream) {
    let mut area = [0; 1024];
    let ended = async { while stream.read(&mut area).await.is_ok_and(|read| read > 0) {} };
    let ended = tokio::time::timeout(Duration::from_secs(20), ended).await;
    assert!(ended.is_ok(), "the connection stays open");
}

#[tokio::test(flavor = "current_thread")]
async fn who_takes_his_time_is_closed_and_a_crowd_keeps_no_peer_out() {
    let scratch = Scratch::new("link_tls_slow");
    let ca = Authority::new("slow");
    let (there, mut inbox_there, address) = listening(&scratch, &ca).await;
    // One that begins a handshake and says no more, and more that are silent than are held.
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(&[0x16, 3, 1]).await.unwrap();
    let mut crowd = Vec::new();
    for _ in 0..half_open::HALF_OPEN_MAX + 8 {
        crowd.push(TcpStream::connect(address).await.unwrap());
    }
    let began = tokio::time::Instant::now();
    lets_in(&mut inbox_there, address, &scratch, &ca).await;
    assert!(began.elapsed() < PROVE_WITHIN, "it waited for the crowd");
    counted(&there, Way::Taken, Why::Crowded).await;
    // The first ones gave way at once.
    closed(slow).await;
    // A slow one that is alone has its time, and no more.
    drop(crowd);
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(&[0x16, 3, 1]).await.unwrap();
    closed(slow).await;
    counted(&there, Way::Taken, Why::Slow).await;
}

/// H69 at the port between sites.
#[tokio::test(flavor = "current_thread")]
async fn hostile_bytes_are_closed_and_nothing_is_told() {
    let scratch = Scratch::new("link_tls_hostile");
    let ca = Authority::new("hostile");
    let (there, mut inbox_there, address) = listening(&scratch, &ca).await;
    let mut noise = [0_u8; 4096];
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for byte in &mut noise {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = state as u8;
    }
    let mut record = vec![0x16, 3, 1, 0x10, 0];
    record.extend_from_slice(&noise);
    let length = [&[0x16, 3, 3, 0xff, 0xff][..], &(1_u64 << 63).to_be_bytes()].concat();
    let frame = [&(1_u64 << 63).to_be_bytes()[..], &noise[..64]].concat();
    let hostile: [(&str, &[u8]); 7] = [
        ("random bytes", &noise),
        ("HTTP", b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("random bytes as a handshake", &record),
        ("a record too long", &length),
        ("a frame of 2^63 bytes", &frame),
        // Nothing but TLS 1.0, one cipher suite, no extension.
        ("an old version", OLD_HELLO),
        ("half a greeting", &OLD_HELLO[..20]),
    ];
    for (what, bytes) in hostile {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        closed(stream).await;
        assert!(inbox_there.try_recv().is_err(), "{what}");
    }
    counted(&there, Way::Taken, Why::Plain).await;
    counted(&there, Way::Taken, Why::Broken).await;
    lets_in(&mut inbox_there, address, &scratch, &ca).await;

    // A peer that has proven itself, and then says a frame of 2^63 bytes.
    let files = ca.issue(&folder(&scratch, "site1"), "site1.rehome");
    let (here, mut inbox_here) = end(tls(&files, &[2]));
    let _dialling = here.dial::<SiteFrame>(address, LinkId::ToSite(SiteId(2), 0));
    let (_, LinkWord::Up(mut outbox)) = next(&mut inbox_here).await else { panic!("not up") };
    outbox.buffer().extend_from_slice(&frame);
    outbox.flush().unwrap();
    assert!(matches!(next(&mut inbox_there).await.1, LinkWord::Up(_)));
    assert!(matches!(next(&mut inbox_there).await.1, LinkWord::Down));
}

const OLD_HELLO: &[u8] = &[
    0x16, 3, 1, 0, 0x2d, // a record
    1, 0, 0, 0x29, 3, 1, // ClientHello, TLS 1.0
    1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8,
    0, // no session
    0, 2, 0, 0x2f, // one cipher suite
    1, 0, // no compression
];

#[tokio::test(flavor = "current_thread")]
async fn a_renewed_certificate_is_taken_without_a_restart() {
    let scratch = Scratch::new("link_tls_renewed");
    let ca = Authority::new("renewed");
    let at = folder(&scratch, "site1");
    let ended = issue(&ca, &at, "site1.rehome", Valid::Ended);
    let (_there, mut inbox_there, address) = listening(&scratch, &ca).await;
    let (here, mut inbox_here) = end(tls(&ended, &[2]));
    let _dialling = here.dial::<SiteFrame>(address, LinkId::ToSite(SiteId(2), 0));
    counted(&here, Way::Dialled, Why::Certificate).await;
    // A certificate whose key has not come yet is not used, and breaks nothing.
    let elsewhere = ca.issue(&folder(&scratch, "new"), "site1.rehome");
    replace(&elsewhere.cert_file, &ended.cert_file);
    let failed = here.doors.of(Way::Dialled, Why::Certificate);
    while here.doors.of(Way::Dialled, Why::Certificate) == failed {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(inbox_here.try_recv().is_err());
    replace(&elsewhere.key_file, &ended.key_file);
    let (_, LinkWord::Up(outbox)) = next(&mut inbox_here).await else { panic!("not up") };
    assert!(outbox.is_encrypted());
    assert!(matches!(next(&mut inbox_there).await.1, LinkWord::Up(_)));
}

/// As it should be done: the new file is whole before it has the name.
fn replace(new: &Path, old: &Path) {
    let beside = old.with_extension("new");
    std::fs::copy(new, &beside).unwrap();
    std::fs::rename(&beside, old).unwrap();
}

/// A site may say that it is the one that its certificate names, and no other.
#[tokio::test(flavor = "current_thread")]
async fn a_site_that_says_it_is_another_is_not_believed() {
    use crate::site::SiteLinks;
    let scratch = Scratch::new("link_tls_misnamed");
    let ca = Authority::new("misnamed");
    let (there, mut inbox_there, address) = listening(&scratch, &ca).await;
    let text = format!(
        "role = \"state\"\n[site]\nid = 2\ndata_dir = {:?}\nsecret = \"{}\"\n\
         [tier]\nlisten = \"127.0.0.1:9000\"\n[sites]\nlisten = \"127.0.0.1:9100\"\n\
         [[sites.peer]]\nid = 1\naddress = \"127.0.0.1:1\"\n\
         [[sites.peer]]\nid = 3\naddress = \"127.0.0.1:2\"\n",
        scratch.path(),
        "01".repeat(32),
    );
    let (config, _) = crate::config::parse("site.toml", &text, None).unwrap();
    let mut sites = SiteLinks::new(&config, None);
    sites.open();
    for (certificate, is_believed) in [("site3.rehome", false), ("site1.rehome", true)] {
        let files = ca.issue(&folder(&scratch, certificate), certificate);
        let (here, _inbox_here) = end(tls(&files, &[2]));
        let _dialling = here.dial::<SiteFrame>(address, LinkId::ToSite(SiteId(2), 0));
        let (link, LinkWord::Up(outbox)) = next(&mut inbox_there).await else { panic!("not up") };
        let mut words = std::collections::VecDeque::new();
        sites.take(link, LinkWord::Up(outbox), &mut words);
        // Both say that they are site 1.
        sites.take(link, LinkWord::Frame(hello(1)), &mut words);
        assert_eq!(words.len(), usize::from(is_believed), "{certificate}");
        if !is_believed {
            assert!(matches!(next(&mut inbox_there).await.1, LinkWord::Down), "it is closed");
        }
    }
    let misnamed = sites.counters().into_iter().find(|(name, _)| *name == "links_misnamed");
    assert_eq!(misnamed, Some(("links_misnamed", 1)));
    drop(there);
}
