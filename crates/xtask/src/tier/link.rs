//! One link to a state process: the proof of the secret, frames in, frames out. Never waits once
//! it stands.
//!
//! The dialling side of `node`'s links, whose bytes are those of `tier_protocol::frame`; the proof
//! before them is the one that `node/src/link.rs` describes.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use tier_protocol::{Decoder, TierFrame};
use vocab::{ReplicaId, TokenSecret};

/// Longest frame that a state process sends.
const FRAME_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Time for a process to take the link, and to prove itself.
const DIAL_WITHIN: Duration = Duration::from_millis(500);
const NONCE: usize = 16;
const PROOF: usize = 8;

/// A link that stands.
pub(crate) struct Link {
    stream: TcpStream,
    decoder: Decoder<TierFrame>,
    out: BytesMut,
    /// Known once it said who it is.
    pub(crate) replica: Option<ReplicaId>,
    pub(crate) heard_at: Instant,
}

impl Link {
    /// Dials, proves the secret, and says `hello`.
    pub(crate) fn dial(
        address: SocketAddr,
        secret: &TokenSecret,
        hello: &TierFrame,
    ) -> io::Result<Self> {
        let mut stream = TcpStream::connect_timeout(&address, DIAL_WITHIN)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DIAL_WITHIN))?;
        let mut theirs = [0; NONCE];
        stream.read_exact(&mut theirs)?;
        let ours = nonce();
        stream.write_all(&[ours.as_slice(), &proof(secret, b"dials", &theirs)].concat())?;
        let mut proven = [0; PROOF];
        stream.read_exact(&mut proven)?;
        if proven != proof(secret, b"listens", &ours) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it has another secret"));
        }
        stream.set_nonblocking(true)?;
        let (decoder, out) = (Decoder::new(FRAME_BYTES_MAX), BytesMut::new());
        let mut link = Self { stream, decoder, out, replica: None, heard_at: Instant::now() };
        link.tell(hello);
        Ok(link)
    }

    /// Appends a frame to what [`Self::flush`] sends.
    pub(crate) fn tell(&mut self, frame: &TierFrame) {
        frame.encode_into(&mut self.out);
    }

    /// Whether there is something that the kernel did not take yet.
    pub(crate) fn has_words(&self) -> bool {
        !self.out.is_empty()
    }

    /// Writes what the kernel takes without waiting.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.out.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what has come, by `area`, and adds its frames to `heard`.
    pub(crate) fn read(&mut self, area: &mut [u8], heard: &mut Vec<TierFrame>) -> io::Result<()> {
        let read = match self.stream.read(area) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        self.heard_at = Instant::now();
        self.decoder.push(&area[..read]);
        while let Some(frame) = self.decoder.poll().map_err(io::Error::other)? {
            heard.push(frame);
        }
        Ok(())
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn proof(secret: &TokenSecret, side: &[u8], nonce: &[u8; NONCE]) -> [u8; PROOF] {
    secret.authenticate(&[b"rehome", b"tier link", side, nonce]).to_be_bytes()
}

/// Unpredictable, from the seed that the standard library draws for its hash maps.
fn nonce() -> [u8; NONCE] {
    let mut nonce = [0; NONCE];
    for half in nonce.chunks_mut(8) {
        half.copy_from_slice(&RandomState::new().hash_one(std::process::id()).to_be_bytes());
    }
    nonce
}
