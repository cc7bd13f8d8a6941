//! Frames: how words travel on a link, and how a stream is cut into them again.
//!
//! Layout: the version (1 byte), the kind (1), the length of the body (4, big-endian), the body.
//! The version comes first, so that a later one may change all that follows. Kinds of the two
//! sorts of link differ, so that a link to the wrong port is refused at its first word.
//!
//! A frame's body is copied once on its way out (into the send buffer) and once on its way in
//! (into an allocation of its own, so that a stored record pins nothing but itself).

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use vocab::{EngineId, PartitionId, ReplicaId, ViewNumber};

use crate::command::Command;
use crate::error::DecodeError;
use crate::partition::{GateBound, SiteInput};
use crate::peer::PeerWord;
use crate::reply::Reply;
use crate::site::{EngineWord, GateWord, SiteWord};
use crate::view::{PartitionView, Seat};
use crate::wire;
use crate::wire::partition::ToGate;
use crate::wire::view::{Addressed, Hello, Seats};
use crate::wire::word;

/// The first byte of every frame.
pub const FRAME_VERSION: u8 = 1;
/// Characters of the name in `TierFrame::Hello`, in bytes.
pub const NAME_BYTES_MAX: usize = 255;

const HEADER: usize = 6;
/// A body up to this length is allocated in one piece; a longer one as its bytes arrive.
const AT_ONCE_MAX: usize = 64 * 1024;

/// A word on a link of a site's state tier: between an engine and a state process, either way, or
/// from one replica to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TierFrame {
    /// First word of a link, from the engine.
    Hello {
        /// Who speaks.
        role: EngineId,
        /// Its name, for people; at most [`NAME_BYTES_MAX`] long.
        name: String,
        /// The protocol version that it speaks.
        version: u32,
        /// The newest dictionary of batches that it reads, and each one before it; 0 for none.
        dictionary: u16,
    },
    /// To a replica.
    Command {
        /// The partition it is for.
        partition: PartitionId,
        /// What is asked.
        command: Command,
    },
    /// From a replica.
    Reply {
        /// The partition it is from.
        partition: PartitionId,
        /// The view in which it was said.
        view: ViewNumber,
        /// What is answered.
        reply: Reply,
    },
    /// To the gate.
    Engine(EngineWord),
    /// From the gate.
    Gate(GateWord),
    /// From the state node: who serves a partition.
    View(PartitionView),
    /// First word of a replica: the state node's to an engine, or the dialling one's to another
    /// replica.
    Replica {
        /// Who speaks.
        replica: ReplicaId,
        /// The partition that it serves, or waits to serve.
        partition: PartitionId,
        /// Its name, for people; at most [`NAME_BYTES_MAX`] long.
        name: String,
        /// The protocol version that it speaks.
        version: u32,
    },
    /// From the state node: where the site's replicas are reached.
    Seats(Vec<Seat>),
    /// From one replica to another.
    Peer(PeerWord),
    /// Are you there? Answered by `Pong`, by the process and not by the replica in it.
    Ping,
    /// I am.
    Pong,
    /// From the gate to a replica of another process.
    ToPartition(SiteInput),
    /// From a replica to the gate of another process.
    ToGate {
        /// The partition that speaks.
        partition: PartitionId,
        /// What it says.
        word: GateBound,
    },
}

/// A word on a link between two sites' gates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteFrame(pub SiteWord);

const TIER_HELLO: u8 = 1;
const TIER_COMMAND: u8 = 2;
const TIER_REPLY: u8 = 3;
const TIER_ENGINE: u8 = 4;
const TIER_GATE: u8 = 5;
const TIER_VIEW: u8 = 6;
const TIER_REPLICA: u8 = 7;
const TIER_SEATS: u8 = 8;
const TIER_PEER: u8 = 9;
const TIER_PING: u8 = 10;
const TIER_PONG: u8 = 11;
const TIER_TO_PARTITION: u8 = 12;
const TIER_TO_GATE: u8 = 13;
const SITE_WORD: u8 = 65;

/// Why a stream cannot be cut into frames any further. The link is to be closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The peer speaks another version, or another protocol altogether.
    UnknownVersion {
        /// The first byte of the frame.
        version: u8,
    },
    /// Not a word of this sort of link.
    UnknownKind {
        /// The second byte of the frame.
        kind: u8,
    },
    /// The frame claims to be longer than the bound. Nothing was allocated for it.
    TooLong {
        /// What it claims.
        bytes: u64,
        /// The bound.
        bytes_max: usize,
    },
    /// The stream ended inside a frame.
    Truncated,
    /// The body cannot be read.
    Body(DecodeError),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownVersion { version } => {
                write!(f, "the peer speaks frame version {version}, not {FRAME_VERSION}")
            }
            Self::UnknownKind { kind } => {
                write!(f, "the peer sent a frame of kind {kind}, which this link does not know")
            }
            Self::TooLong { bytes, bytes_max } => {
                write!(f, "the peer announced a frame of {bytes} bytes, the bound is {bytes_max}")
            }
            Self::Truncated => f.write_str("the peer closed the link inside a frame"),
            Self::Body(why) => why.fmt(f),
        }
    }
}

impl std::error::Error for FrameError {}

impl From<DecodeError> for FrameError {
    fn from(error: DecodeError) -> Self {
        Self::Body(error)
    }
}

impl TierFrame {
    /// Appends the frame to `out`.
    pub fn encode_into(&self, out: &mut BytesMut) {
        match self {
            Self::Hello { role, name, version, dictionary } => {
                let name = clipped(name).to_owned();
                let (role, version, partition) = (role.0, *version, None);
                let dictionary = u32::from(*dictionary);
                write(TIER_HELLO, &Hello { role, name, version, partition, dictionary }, out);
            }
            Self::Command { partition, command } => {
                let partition = u32::from(partition.0);
                let command = Some(command.into());
                write(TIER_COMMAND, &Addressed { partition, command, reply: None, view: 0 }, out);
            }
            Self::Reply { partition, view, reply } => {
                let (partition, view) = (u32::from(partition.0), view.0);
                let reply = Some(reply.into());
                write(TIER_REPLY, &Addressed { partition, command: None, reply, view }, out);
            }
            Self::Engine(word) => write(TIER_ENGINE, &wire::gate::EngineWord::from(word), out),
            Self::Gate(word) => write(TIER_GATE, &wire::gate::GateWord::from(word), out),
            Self::View(view) => write(TIER_VIEW, &wire::view::View::from(view), out),
            Self::Replica { replica, partition, name, version } => {
                let (role, version, partition) = (replica.0, *version, u32::from(partition.0));
                let (name, partition) = (clipped(name).to_owned(), Some(partition));
                let dictionary = 0;
                write(TIER_REPLICA, &Hello { role, name, version, partition, dictionary }, out);
            }
            Self::Seats(seats) => {
                write(TIER_SEATS, &Seats { seats: seats.iter().map(Into::into).collect() }, out);
            }
            Self::Peer(word) => write(TIER_PEER, &wire::peer::PeerWord::from(word), out),
            Self::Ping => write(TIER_PING, &(), out),
            Self::Pong => write(TIER_PONG, &(), out),
            Self::ToPartition(word) => {
                write(TIER_TO_PARTITION, &wire::partition::SiteInput::from(word), out);
            }
            Self::ToGate { partition, word } => {
                let (partition, word) = (u32::from(partition.0), Some(word.into()));
                write(TIER_TO_GATE, &ToGate { partition, word }, out);
            }
        }
    }
}

impl SiteFrame {
    /// Appends the frame to `out`.
    pub fn encode_into(&self, out: &mut BytesMut) {
        write(SITE_WORD, &wire::site::SiteWord::from(&self.0), out);
    }
}

fn write(kind: u8, body: &impl Message, out: &mut BytesMut) {
    let length = body.encoded_len();
    out.reserve(HEADER + length);
    out.put_u8(FRAME_VERSION);
    out.put_u8(kind);
    // No bound of ours lets a body grow to 4 GiB; if one did, every receiver would refuse it.
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    body.encode(out).expect("BytesMut grows as needed");
}

/// The longest start of `name` that fits its bound.
fn clipped(name: &str) -> &str {
    let mut end = name.len().min(NAME_BYTES_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

/// What a [`Decoder`] can cut out of a stream: [`TierFrame`] or [`SiteFrame`].
pub trait Frame: Sized + sealed::Sealed {
    /// Reads the body of a frame of `kind`. The sections of a record share its memory.
    ///
    /// # Errors
    /// When the kind is not one of this sort of link, or the body makes no sense.
    fn decode(kind: u8, body: Bytes) -> Result<Self, FrameError>;

    /// Whether `kind` is one of this sort of link.
    fn knows(kind: u8) -> bool;
}

mod sealed {
    #[expect(unnameable_types, reason = "keeps other crates from adding frames")]
    pub trait Sealed {}
    impl Sealed for super::TierFrame {}
    impl Sealed for super::SiteFrame {}
}

impl Frame for TierFrame {
    fn decode(kind: u8, body: Bytes) -> Result<Self, FrameError> {
        Ok(match kind {
            TIER_HELLO | TIER_REPLICA => hello(kind, parse(body)?)?,
            TIER_COMMAND => {
                let Addressed { partition, command, reply: _, view: _ } = parse(body)?;
                let command = word::need(command, "command")?.try_into()?;
                Self::Command { partition: word::partition(partition)?, command }
            }
            TIER_REPLY => {
                let Addressed { partition, command: _, reply, view } = parse(body)?;
                let reply = word::need(reply, "reply")?.try_into()?;
                let (partition, view) = (word::partition(partition)?, ViewNumber(view));
                Self::Reply { partition, view, reply }
            }
            TIER_ENGINE => Self::Engine(parse::<wire::gate::EngineWord>(body)?.try_into()?),
            TIER_GATE => Self::Gate(parse::<wire::gate::GateWord>(body)?.try_into()?),
            TIER_VIEW => Self::View(parse::<wire::view::View>(body)?.try_into()?),
            TIER_SEATS => Self::Seats(word::all(parse::<Seats>(body)?.seats)?),
            TIER_PEER => Self::Peer(parse::<wire::peer::PeerWord>(body)?.try_into()?),
            TIER_PING => parse::<()>(body).map(|()| Self::Ping)?,
            TIER_PONG => parse::<()>(body).map(|()| Self::Pong)?,
            TIER_TO_PARTITION => {
                Self::ToPartition(parse::<wire::partition::SiteInput>(body)?.try_into()?)
            }
            TIER_TO_GATE => {
                let ToGate { partition, word } = parse(body)?;
                let word = word::need(word, "word")?.try_into()?;
                Self::ToGate { partition: word::partition(partition)?, word }
            }
            kind => return Err(FrameError::UnknownKind { kind }),
        })
    }

    fn knows(kind: u8) -> bool {
        (TIER_HELLO..=TIER_TO_GATE).contains(&kind)
    }
}

impl Frame for SiteFrame {
    fn decode(kind: u8, body: Bytes) -> Result<Self, FrameError> {
        match kind {
            SITE_WORD => Ok(Self(parse::<wire::site::SiteWord>(body)?.try_into()?)),
            kind => Err(FrameError::UnknownKind { kind }),
        }
    }

    fn knows(kind: u8) -> bool {
        kind == SITE_WORD
    }
}

fn hello(kind: u8, wire: Hello) -> Result<TierFrame, DecodeError> {
    let Hello { role, name, version, partition, dictionary } = wire;
    if name.len() > NAME_BYTES_MAX {
        return Err(DecodeError::OutOfRange { what: "length of a name", value: name.len() as u64 });
    }
    if kind == TIER_HELLO {
        let (role, dictionary) = (EngineId(role), word::dictionary(dictionary));
        return Ok(TierFrame::Hello { role, name, version, dictionary });
    }
    let partition = word::partition(word::need(partition, "partition")?)?;
    Ok(TierFrame::Replica { replica: ReplicaId(role), partition, name, version })
}

fn parse<M: Message + Default>(body: Bytes) -> Result<M, DecodeError> {
    Ok(M::decode(body)?)
}

/// Cuts a stream into frames. After an error it says that error for ever and keeps nothing.
#[derive(Debug)]
pub struct Decoder<F> {
    frame_bytes_max: usize,
    /// The part of a frame's header that has come; complete once a body is being gathered.
    header: [u8; HEADER],
    header_len: usize,
    body: BytesMut,
    /// Whole frames that nobody has asked for yet: no more than one `push` brings, and the rest
    /// of one.
    whole: VecDeque<(u8, Bytes)>,
    failed: Option<FrameError>,
    frames: PhantomData<fn() -> F>,
}

impl<F: Frame> Decoder<F> {
    /// A decoder that refuses bodies longer than `frame_bytes_max`.
    #[must_use]
    pub fn new(frame_bytes_max: usize) -> Self {
        Self {
            frame_bytes_max,
            header: [0; HEADER],
            header_len: 0,
            body: BytesMut::new(),
            whole: VecDeque::new(),
            failed: None,
            frames: PhantomData,
        }
    }

    /// Takes what came from the link. Poll until `None` before the next push.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while self.failed.is_none() && (!bytes.is_empty() || self.body_is_whole()) {
            bytes = self.take_some(bytes);
        }
    }

    /// The next frame, `None` when more bytes are needed.
    ///
    /// # Errors
    /// When the peer does not speak our protocol. Frames that were whole before are given first.
    pub fn poll(&mut self) -> Result<Option<F>, FrameError> {
        if let Some((kind, body)) = self.whole.pop_front() {
            return match F::decode(kind, body) {
                Ok(frame) => Ok(Some(frame)),
                Err(error) => {
                    self.fail(error.clone());
                    self.whole.clear();
                    Err(error)
                }
            };
        }
        self.failed.clone().map_or(Ok(None), Err)
    }

    /// Says whether the stream may end here.
    ///
    /// # Errors
    /// `Truncated` when it ends inside a frame.
    pub fn finish(&self) -> Result<(), FrameError> {
        match &self.failed {
            Some(error) => Err(error.clone()),
            None if self.header_len > 0 => Err(FrameError::Truncated),
            None => Ok(()),
        }
    }

    /// Memory that the decoder holds for frames that have not been polled.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.body.capacity() + self.whole.iter().map(|(_, body)| body.len()).sum::<usize>()
    }

    fn take_some<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.header_len < HEADER {
            let (taken, rest) = bytes.split_at(bytes.len().min(HEADER - self.header_len));
            self.header[self.header_len..][..taken.len()].copy_from_slice(taken);
            self.header_len += taken.len();
            self.check_header();
            return rest;
        }
        let missing = self.body_length() - self.body.len();
        let (taken, rest) = bytes.split_at(bytes.len().min(missing));
        if self.body.is_empty() {
            self.body.reserve(missing.min(AT_ONCE_MAX));
        }
        self.body.extend_from_slice(taken);
        if self.body_is_whole() {
            let body = std::mem::take(&mut self.body).freeze();
            self.whole.push_back((self.header[1], body));
            self.header_len = 0;
        }
        rest
    }

    /// Refuses a header as soon as a byte of it is wrong: a peer that waits for us to speak first
    /// would keep a link open for ever with one.
    fn check_header(&mut self) {
        let [version, kind, ..] = self.header;
        if self.header_len >= 1 && version != FRAME_VERSION {
            self.fail(FrameError::UnknownVersion { version });
        } else if self.header_len >= 2 && !F::knows(kind) {
            self.fail(FrameError::UnknownKind { kind });
        } else if self.header_len == HEADER && self.body_length() > self.frame_bytes_max {
            let (bytes, bytes_max) = (self.body_length() as u64, self.frame_bytes_max);
            self.fail(FrameError::TooLong { bytes, bytes_max });
        }
    }

    fn fail(&mut self, error: FrameError) {
        self.failed = Some(error);
        self.body = BytesMut::new();
    }

    fn body_length(&self) -> usize {
        let [_, _, a, b, c, d] = self.header;
        usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX)
    }

    fn body_is_whole(&self) -> bool {
        self.header_len == HEADER && self.body.len() == self.body_length()
    }
}

#[cfg(test)]
mod tests;
