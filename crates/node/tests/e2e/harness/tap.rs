//! A tap on the link between an engine and its state process: it can stop the link at one word, so
//! that the engine dies at an exact step of a turn.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread;

use bytes::BytesMut;
use tier_protocol::frame::{Decoder, TierFrame};
use tier_protocol::{Command, Reply};

/// What each end says first, before any word: a challenge of 16 bytes and a proof of 8.
const HANDSHAKE: usize = 24;
const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The word at which the link stops, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopAt {
    /// The engine asks for the lock of a call and the state process never hears it.
    Ask = 1,
    /// The engine stores a call and the state process never hears it.
    Put = 2,
    /// The state process has stored the call and the engine never hears it.
    Stored = 3,
}

/// Forwards a link word by word.
pub(crate) struct Tap {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    stop_at: AtomicU8,
    stopped: AtomicBool,
}

impl Tap {
    /// Listens at `address` for an engine and connects to `state`.
    pub(crate) fn start(address: SocketAddr, state: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("the port is free");
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        // It ends with the test's process.
        thread::spawn(move || {
            for engine in listener.incoming().flatten() {
                if let Ok(state) = TcpStream::connect(state) {
                    theirs.join(engine, state);
                }
            }
        });
        Self { address, shared }
    }

    /// Where the engine connects.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops the link at the next such word.
    pub(crate) fn stop_at(&self, word: StopAt) {
        self.shared.stopped.store(false, Ordering::SeqCst);
        self.shared.stop_at.store(word as u8, Ordering::SeqCst);
    }

    /// The word has come.
    pub(crate) fn is_stopped(&self) -> bool {
        self.shared.stopped.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn join(self: &Arc<Self>, engine: TcpStream, state: TcpStream) {
        let pairs =
            [(engine.try_clone(), state.try_clone()), (state.try_clone(), engine.try_clone())];
        for pair in pairs {
            let (Ok(from), Ok(to)) = pair else { return };
            let shared = Arc::clone(self);
            thread::spawn(move || shared.forward(from, to));
        }
    }

    fn forward(&self, mut from: TcpStream, mut to: TcpStream) {
        let _slower = to.set_nodelay(true);
        let mut decoder: Decoder<TierFrame> = Decoder::new(FRAME_BYTES_MAX);
        let mut buffer = vec![0_u8; 64 * 1024];
        let mut out = BytesMut::new();
        let mut handshake = HANDSHAKE;
        while let Ok(length) = from.read(&mut buffer) {
            if length == 0 {
                break;
            }
            let (proof, words) = buffer[..length].split_at(handshake.min(length));
            handshake -= proof.len();
            out.extend_from_slice(proof);
            decoder.push(words);
            while let Ok(Some(frame)) = decoder.poll() {
                if self.may_pass(&frame) {
                    frame.encode_into(&mut out);
                }
            }
            if to.write_all(&out).is_err() {
                break;
            }
            out.clear();
        }
        // One side is gone, and the other side must notice.
        let _gone = to.shutdown(Shutdown::Both);
        let _gone = from.shutdown(Shutdown::Both);
    }

    fn may_pass(&self, frame: &TierFrame) -> bool {
        if self.stopped.load(Ordering::SeqCst) {
            return false;
        }
        let stop = self.stop_at.load(Ordering::SeqCst);
        let word = match frame {
            TierFrame::Command { command: Command::LockAndGet { .. }, .. } => Some(StopAt::Ask),
            TierFrame::Command { command: Command::Put { .. }, .. } => Some(StopAt::Put),
            TierFrame::Reply { reply: Reply::Stored { .. }, .. } => Some(StopAt::Stored),
            _ => None,
        };
        let stops = word.is_some_and(|word| word as u8 == stop);
        if stops {
            self.stopped.store(true, Ordering::SeqCst);
        }
        !stops
    }
}
