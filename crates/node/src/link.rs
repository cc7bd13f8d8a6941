//! Links: framed words over TCP between engines and the state tier, and between sites.
//!
//! Both ends prove that they know the deployment's secret before the first word (a challenge each
//! way). Where TLS is configured that happens inside of it (`secure`); elsewhere nothing is
//! encrypted, and links belong on a private network. Words to send are gathered for a loop turn
//! and written at once by the owner; a task per link reads, cuts frames and tells the owner. A
//! link that is too slow to take its bytes, or silent to the kernel's keep-alives, is broken: its
//! owner is told `Down` and nothing else ever comes from it.
//!
//! Who dials may be anybody until it has proven itself. So those that have not are few, and the
//! one that has been at it for longest goes when another comes: a crowd of strangers that say
//! nothing keeps no peer out.
//!
//! Between sites **the sender dials**: each site dials every other and sends its words on the
//! link it dialled, so there is never a question of which of two links counts.

mod half_open;
mod secure;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use socket2::{SockRef, TcpKeepalive};
use tier_protocol::frame::{Decoder, Frame};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, mpsc};
use vocab::{ReplicaId, SiteId, TokenSecret};

use crate::event::Event;
use crate::tls::{Doors, Tls, Way, Why};
use half_open::HalfOpen;
use secure::{Pipe, Secured};

/// Longest frame: a batch of a single large record, or a page of a keyset.
pub(crate) const FRAME_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes that may wait for a slow link, unless configured.
pub(crate) const LINK_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Time for the peer to prove itself; as much again before it for the handshake of TLS.
const PROVE_WITHIN: Duration = Duration::from_secs(2);
const BACK_OFF_MIN: Duration = Duration::from_millis(50);
const BACK_OFF_MAX: Duration = Duration::from_secs(1);
const READ_BYTES: usize = 64 * 1024;
const NONCE: usize = 16;
const PROOF: usize = 8;

/// Which link of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LinkId {
    /// An engine, or another replica, that connected to this state node; numbered as they came.
    Engine(u64),
    /// A state node that this engine connected to; numbered as they were dialled.
    State(u64),
    /// Another replica that this state node connected to, to send its words.
    Peer(ReplicaId),
    /// A link that this site dialled to another, to send its words, and to which of its addresses.
    ToSite(SiteId, usize),
    /// A link that some other site dialled, to send its words; numbered as they came.
    FromSite(u64),
}

impl LinkId {
    /// Both ends name the sort of link in their proofs: a link to the wrong port proves nothing.
    fn sort(self) -> &'static [u8] {
        match self {
            Self::Engine(_) | Self::State(_) | Self::Peer(_) => b"tier link",
            Self::ToSite(..) | Self::FromSite(_) => b"site link",
        }
    }

    /// The site that is dialled.
    fn site(self) -> Option<SiteId> {
        match self {
            Self::ToSite(site, _) => Some(site),
            Self::Engine(_) | Self::State(_) | Self::Peer(_) | Self::FromSite(_) => None,
        }
    }
}

/// What a link's task tells the owner.
pub(crate) enum LinkWord<F> {
    /// It stands; words go out by this.
    Up(Outbox),
    /// A word came.
    Frame(F),
    /// It takes bytes again.
    Writable,
    /// It broke. The last word of a link.
    Down,
    /// Nobody listens at the address that was dialled.
    Refused,
}

/// A link that is dialled for as long as this is held.
#[derive(Debug)]
pub(crate) struct Dialling(tokio::task::AbortHandle);

impl Drop for Dialling {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Frames that know in which event they reach the owner.
pub(crate) trait Carried: Frame + Send + 'static {
    fn event(link: LinkId, word: LinkWord<Self>) -> Event;
}

/// The sending end of a link.
#[derive(Debug)]
pub(crate) struct Outbox {
    to: To,
    buffer: BytesMut,
    bytes_max: usize,
}

/// Where an outbox writes.
#[derive(Debug)]
enum To {
    /// Straight to the socket.
    Plain { stream: Arc<TcpStream>, stuck: Arc<Notify>, is_stuck: bool },
    /// To the link's task, which encrypts. `named`: the sites that the peer's certificate names.
    Secure { pipe: Arc<Pipe>, named: Vec<SiteId> },
}

/// The peer does not take its words: the link is to be given up.
#[derive(Debug)]
pub(crate) struct Broken;

impl Outbox {
    /// Where frames are appended; [`Self::flush`] sends them.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(self.to, To::Secure { .. })
    }

    /// Whether the peer may say that it is `site`: without TLS, whoever has the secret.
    pub(crate) fn may_be(&self, site: SiteId) -> bool {
        match &self.to {
            To::Plain { .. } => true,
            To::Secure { named, .. } => named.contains(&site),
        }
    }

    /// The link takes bytes again.
    pub(crate) fn note_writable(&mut self) {
        match &mut self.to {
            To::Plain { is_stuck, .. } => *is_stuck = false,
            To::Secure { .. } => {}
        }
    }

    /// Writes what the kernel takes without waiting.
    pub(crate) fn flush(&mut self) -> Result<(), Broken> {
        match &mut self.to {
            To::Plain { stream, stuck, is_stuck } => {
                while !self.buffer.is_empty() && !*is_stuck {
                    match stream.try_write(&self.buffer) {
                        Ok(0) => return Err(Broken),
                        Ok(written) => self.buffer.advance(written),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            *is_stuck = true;
                            stuck.notify_one();
                        }
                        Err(_) => return Err(Broken),
                    }
                }
                if self.buffer.len() > self.bytes_max { Err(Broken) } else { Ok(()) }
            }
            To::Secure { pipe, .. } => pipe.push(&mut self.buffer, self.bytes_max),
        }
    }
}

impl Drop for Outbox {
    /// The owner gave the link up: its task sees the end of the stream and ends too.
    fn drop(&mut self) {
        match &self.to {
            // A socket that is closed already cannot be closed again; that is all that can fail.
            To::Plain { stream, .. } => {
                drop(SockRef::from(&**stream).shutdown(std::net::Shutdown::Both));
            }
            To::Secure { pipe, .. } => pipe.close(),
        }
    }
}

/// A link whose peer has proven itself.
enum Proven {
    Plain(TcpStream),
    Secure(Box<Secured>),
}

/// What every link of a process shares.
#[derive(Clone)]
pub(crate) struct Links {
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) secret: TokenSecret,
    pub(crate) bytes_max: usize,
    /// `None` for links that are not encrypted.
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) doors: Arc<Doors>,
}

impl Links {
    /// Dials `address` until the handle is dropped. Between two tries it waits 50 ms, doubling up
    /// to 1 s.
    pub(crate) fn dial<F: Carried>(&self, address: SocketAddr, link: LinkId) -> Dialling {
        let links = self.clone();
        let task = tokio::spawn(async move {
            let mut back_off = BACK_OFF_MIN;
            loop {
                let began_at = tokio::time::Instant::now();
                // A link that lived was a good one; one that is refused at its first word is not.
                let lived = match links.dial_once::<F>(address, link).await {
                    Ok(Closed::ByOwner) => return,
                    Ok(Closed::ByPeer) => began_at.elapsed() > BACK_OFF_MAX,
                    Err(error) => {
                        tracing::debug!(%address, ?link, %error, "a link cannot be dialled");
                        let is_refused = error.kind() == io::ErrorKind::ConnectionRefused;
                        if is_refused && !links.tell(link, LinkWord::<F>::Refused).await {
                            return;
                        }
                        false
                    }
                };
                back_off = if lived { BACK_OFF_MIN } else { (back_off * 2).min(BACK_OFF_MAX) };
                tokio::time::sleep(back_off).await;
            }
        });
        Dialling(task.abort_handle())
    }

    async fn dial_once<F: Carried>(&self, address: SocketAddr, link: LinkId) -> io::Result<Closed> {
        let stream = within("the connection", TcpStream::connect(address)).await?;
        prepare(&stream)?;
        let dialled = match &self.tls {
            None => self.dial_plain(stream, link).await,
            Some(tls) => self.dial_secure(tls, stream, link).await,
        };
        match dialled {
            Ok(proven) => Ok(self.run::<F>(proven, link).await),
            Err(Failed { why, what }) => {
                self.doors.note(Way::Dialled, address, why, &what);
                Err(io::Error::other(what))
            }
        }
    }

    async fn dial_plain(&self, mut stream: TcpStream, link: LinkId) -> Result<Proven, Failed> {
        self.prove(&mut stream, link).await?;
        Ok(Proven::Plain(stream))
    }

    /// The hello of the end that dials.
    async fn prove<S>(&self, stream: &mut S, link: LinkId) -> Result<(), Failed>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let said = within("the hello", async {
            let mut theirs = [0; NONCE];
            stream.read_exact(&mut theirs).await?;
            let ours = nonce();
            let mut hello = ours.to_vec();
            hello.extend(self.proof(link, b"dials", &theirs));
            stream.write_all(&hello).await?;
            stream.flush().await?;
            let mut proof = [0; PROOF];
            stream.read_exact(&mut proof).await?;
            Ok(proof == self.proof(link, b"listens", &ours))
        });
        match said.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(stranger()),
            Err(error) => Err(secure::failed(&error)),
        }
    }

    /// Takes links from `listener` for ever, at most `links_max` at a time.
    pub(crate) fn listen<F: Carried>(
        &self,
        listener: TcpListener,
        links_max: usize,
        link: fn(u64) -> LinkId,
    ) {
        let links = self.clone();
        let room = Arc::new(Semaphore::new(links_max));
        tokio::spawn(async move {
            let mut number = 0;
            let mut half_open = HalfOpen::default();
            loop {
                let (stream, address) = match listener.accept().await {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        // Out of descriptors, most likely: what is open goes on.
                        tracing::warn!(%error, "a link cannot be taken");
                        tokio::time::sleep(BACK_OFF_MAX).await;
                        continue;
                    }
                };
                number += 1;
                let (links, link, room) = (links.clone(), link(number), room.clone());
                let crowded = half_open.admit();
                tokio::spawn(async move {
                    let proven = tokio::select! {
                        proven = links.admit(stream, link) => proven,
                        () = crowded => Err(Failed::of(Why::Crowded, "others came meanwhile")),
                    };
                    let full = || Failed::of(Why::Full, "all links are taken");
                    let proven = proven
                        .and_then(|one| Ok((room.try_acquire_owned().map_err(|_| full())?, one)));
                    match proven {
                        Ok((_held, proven)) => {
                            links.run::<F>(proven, link).await;
                        }
                        Err(Failed { why, what }) => {
                            links.doors.note(Way::Taken, address, why, &what);
                        }
                    }
                });
            }
        });
    }

    async fn admit(&self, mut stream: TcpStream, link: LinkId) -> Result<Proven, Failed> {
        prepare(&stream).map_err(|error| secure::failed(&error))?;
        if let Some(tls) = &self.tls {
            return self.admit_secure(tls, stream, link).await;
        }
        self.challenge(&mut stream, link).await?;
        Ok(Proven::Plain(stream))
    }

    /// The hello of the end that was dialled.
    async fn challenge<S>(&self, stream: &mut S, link: LinkId) -> Result<(), Failed>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let ours = nonce();
        let said = within("the hello", async {
            stream.write_all(&ours).await?;
            stream.flush().await?;
            let (mut theirs, mut proof) = ([0; NONCE], [0; PROOF]);
            stream.read_exact(&mut theirs).await?;
            stream.read_exact(&mut proof).await?;
            Ok((theirs, proof))
        });
        let (theirs, proof) = said.await.map_err(|error| secure::failed(&error))?;
        if proof != self.proof(link, b"dials", &ours) {
            return Err(if secure::is_tls(&theirs) {
                Failed::of(Why::Tls, "it speaks TLS, and none is configured here")
            } else {
                stranger()
            });
        }
        let answered = within("the hello", async {
            stream.write_all(&self.proof(link, b"listens", &theirs)).await?;
            stream.flush().await
        });
        answered.await.map_err(|error| secure::failed(&error))
    }

    fn proof(&self, link: LinkId, side: &[u8], nonce: &[u8; NONCE]) -> [u8; PROOF] {
        self.secret.authenticate(&[b"rehome", link.sort(), side, nonce]).to_be_bytes()
    }

    async fn run<F: Carried>(&self, proven: Proven, link: LinkId) -> Closed {
        let stream = match proven {
            Proven::Plain(stream) => stream,
            Proven::Secure(secured) => return self.run_secure::<F>(*secured, link).await,
        };
        let (stream, stuck) = (Arc::new(stream), Arc::new(Notify::new()));
        let to = To::Plain { stream: stream.clone(), stuck: stuck.clone(), is_stuck: false };
        let outbox = Outbox { to, buffer: BytesMut::new(), bytes_max: self.bytes_max };
        if !self.tell(link, LinkWord::<F>::Up(outbox)).await {
            return Closed::ByOwner;
        }
        let closed = tokio::select! {
            closed = self.read::<F>(&stream, link) => closed,
            closed = self.watch_stuck::<F>(&stream, &stuck, link) => closed,
        };
        if self.tell(link, LinkWord::<F>::Down).await { closed } else { Closed::ByOwner }
    }

    async fn read<F: Carried>(&self, stream: &TcpStream, link: LinkId) -> Closed {
        let mut decoder = Decoder::<F>::new(FRAME_BYTES_MAX);
        let mut area = vec![0; READ_BYTES];
        loop {
            let read = match stream.readable().await.and_then(|()| stream.try_read(&mut area)) {
                Ok(0) => return Closed::ByPeer,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(_) => return Closed::ByPeer,
            };
            if let Err(closed) = self.tell_frames(&mut decoder, &area[..read], link).await {
                return closed;
            }
        }
    }

    /// The frames that `read` completes.
    async fn tell_frames<F: Carried>(
        &self,
        decoder: &mut Decoder<F>,
        read: &[u8],
        link: LinkId,
    ) -> Result<(), Closed> {
        decoder.push(read);
        loop {
            match decoder.poll() {
                Ok(Some(frame)) => {
                    if !self.tell(link, LinkWord::Frame(frame)).await {
                        return Err(Closed::ByOwner);
                    }
                }
                Ok(None) => return Ok(()),
                Err(error) => {
                    tracing::warn!(?link, %error, "a link is closed");
                    return Err(Closed::ByPeer);
                }
            }
        }
    }

    async fn watch_stuck<F: Carried>(
        &self,
        stream: &TcpStream,
        stuck: &Notify,
        link: LinkId,
    ) -> Closed {
        loop {
            stuck.notified().await;
            if stream.writable().await.is_err() {
                return Closed::ByPeer;
            }
            if !self.tell(link, LinkWord::<F>::Writable).await {
                return Closed::ByOwner;
            }
        }
    }

    async fn tell<F: Carried>(&self, link: LinkId, word: LinkWord<F>) -> bool {
        self.events.send(F::event(link, word)).await.is_ok()
    }
}

/// Why a link ended.
enum Closed {
    /// The process ends.
    ByOwner,
    /// The other end, or the way to it.
    ByPeer,
}

/// Why a link did not come to stand.
struct Failed {
    why: Why,
    what: String,
}

impl Failed {
    fn of(why: Why, what: impl Into<String>) -> Self {
        Self { why, what: what.into() }
    }
}

fn stranger() -> Failed {
    Failed::of(Why::Secret, "the peer has another secret, or speaks something else")
}

/// One step of the beginning of a link, which has its time.
async fn within<T>(step: &str, future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(PROVE_WITHIN, future).await {
        Ok(done) => done,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("{step} took too long"))),
    }
}

/// Small words leave at once, and a peer whose machine died is noticed within seconds.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let second = Duration::from_secs(1);
    socket.set_tcp_keepalive(
        &TcpKeepalive::new().with_time(second).with_interval(second).with_retries(3),
    )?;
    socket.set_tcp_user_timeout(Some(3 * second))
}

/// Unpredictable, from the seed that the standard library draws for its hash maps.
fn nonce() -> [u8; NONCE] {
    use std::hash::{BuildHasher, RandomState};
    let mut nonce = [0; NONCE];
    let moment = crate::clock::wall_time().0;
    for half in nonce.chunks_mut(8) {
        half.copy_from_slice(&RandomState::new().hash_one(moment).to_be_bytes());
    }
    nonce
}

#[cfg(test)]
mod tests;
