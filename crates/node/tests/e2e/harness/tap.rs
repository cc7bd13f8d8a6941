//! A tap on the links between engines and a state process. It can stop all of them at one word, so
//! that a process dies at an exact step of a turn, and it can keep words of one sort back, so that
//! a turn is slow.
//!
//! Other replicas reach the state process through it, too. Their words pass, until it has stopped.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use bytes::BytesMut;
use tier_protocol::frame::{Decoder, TierFrame};
use tier_protocol::{Command, Reply};
use vocab::LockToken;

/// What each end says first, before any word: a challenge of 16 bytes and a proof of 8.
const HANDSHAKE: usize = 24;
const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A word of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// The engine asks for the lock of a call.
    Ask,
    /// The state process gives it the lock.
    Grant,
    /// The engine stores a call.
    Put,
    /// The state process has stored the call.
    Stored,
}

/// A put that an engine said, whether it arrived or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SaidPut {
    /// The engine's name.
    pub(crate) engine: String,
    /// The lock under which it was said.
    pub(crate) token: LockToken,
}

/// Forwards links word by word.
pub(crate) struct Tap {
    address: SocketAddr,
    control: Arc<Mutex<Control>>,
}

#[derive(Default)]
struct Control {
    stop_at: Option<Word>,
    is_stopped: bool,
    keep: Option<Keep>,
    kept: Vec<(Arc<Mutex<TcpStream>>, BytesMut)>,
    /// The engine of the first word that was kept or at which the links stopped.
    caught: Option<String>,
    puts: Vec<SaidPut>,
}

/// Which words are kept back.
struct Keep {
    word: Word,
    /// The engine whose they are; anybody's when absent.
    of: Option<String>,
}

/// One way of a link.
struct Way {
    from: TcpStream,
    to: Arc<Mutex<TcpStream>>,
    /// The engine's name, once it has said it; both ways share it.
    engine: Arc<Mutex<String>>,
}

impl Tap {
    /// Listens at `address` and connects to `state` for each that comes.
    pub(crate) fn start(address: SocketAddr, state: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("the port is free");
        let control = Arc::new(Mutex::new(Control::default()));
        let theirs = Arc::clone(&control);
        // It ends with the test's process.
        thread::spawn(move || {
            for engine in listener.incoming().flatten() {
                if let Ok(state) = TcpStream::connect(state) {
                    join(&theirs, &engine, &state);
                }
            }
        });
        Self { address, control }
    }

    /// Where engines connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops all links at the next such word: it does not arrive, nor does anything after it.
    pub(crate) fn stop_at(&self, word: Word) {
        let mut control = self.control();
        control.is_stopped = false;
        control.stop_at = Some(word);
        control.caught = None;
    }

    /// The word has come.
    pub(crate) fn is_stopped(&self) -> bool {
        self.control().is_stopped
    }

    /// Everything passes again.
    pub(crate) fn pass_all(&self) {
        let mut control = self.control();
        control.is_stopped = false;
        control.stop_at = None;
    }

    /// Keeps such words back from here on, of one engine or of all. Others pass them by.
    pub(crate) fn keep(&self, word: Word, of: Option<&str>) {
        let mut control = self.control();
        control.keep = Some(Keep { word, of: of.map(str::to_owned) });
        control.caught = None;
    }

    /// Lets go of what was kept, and keeps nothing more. Says how many words it was.
    pub(crate) fn let_go(&self) -> usize {
        self.control().keep = None;
        self.flush()
    }

    /// Lets go of what was kept. What is to be kept is kept on.
    pub(crate) fn flush(&self) -> usize {
        let kept = std::mem::take(&mut self.control().kept);
        for (to, bytes) in &kept {
            // Who was to hear it may be gone.
            let _gone = lock(to).write_all(bytes);
        }
        kept.len()
    }

    /// The engine whose word was kept, or stopped the links.
    pub(crate) fn caught(&self) -> Option<String> {
        self.control().caught.clone()
    }

    /// Every put that was said so far.
    pub(crate) fn puts(&self) -> Vec<SaidPut> {
        self.control().puts.clone()
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        lock(&self.control)
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn join(control: &Arc<Mutex<Control>>, engine: &TcpStream, state: &TcpStream) {
    let name = Arc::new(Mutex::new(String::new()));
    for (from, to) in [(engine, state), (state, engine)] {
        let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { return };
        let _slower = to.set_nodelay(true);
        let way = Way { from, to: Arc::new(Mutex::new(to)), engine: Arc::clone(&name) };
        let control = Arc::clone(control);
        thread::spawn(move || way.forward(&control));
    }
}

impl Way {
    fn forward(mut self, control: &Mutex<Control>) {
        let mut decoder: Decoder<TierFrame> = Decoder::new(FRAME_BYTES_MAX);
        let mut buffer = vec![0_u8; 64 * 1024];
        let mut out = BytesMut::new();
        let mut handshake = HANDSHAKE;
        while let Ok(length) = self.from.read(&mut buffer) {
            if length == 0 {
                break;
            }
            let (proof, words) = buffer[..length].split_at(handshake.min(length));
            handshake -= proof.len();
            out.extend_from_slice(proof);
            decoder.push(words);
            while let Ok(Some(frame)) = decoder.poll() {
                if lock(control).may_pass(&frame, &self) {
                    frame.encode_into(&mut out);
                }
            }
            if lock(&self.to).write_all(&out).is_err() {
                break;
            }
            out.clear();
        }
        // One side is gone, and the other side must notice.
        let _gone = lock(&self.to).shutdown(Shutdown::Both);
        let _gone = self.from.shutdown(Shutdown::Both);
    }
}

impl Control {
    fn may_pass(&mut self, frame: &TierFrame, way: &Way) -> bool {
        if let TierFrame::Hello { name, .. } = frame {
            lock(&way.engine).clone_from(name);
        }
        let engine = lock(&way.engine).clone();
        if let TierFrame::Command { command: Command::Put { record, .. }, .. } = frame {
            self.puts.push(SaidPut { engine: engine.clone(), token: record.header.stamp.token });
        }
        if self.is_stopped {
            return false;
        }
        let word = word_of(frame);
        if word.is_some() && word == self.stop_at {
            self.is_stopped = true;
            self.caught = Some(engine);
            return false;
        }
        let keep = self.keep.as_ref();
        let is_kept = keep.is_some_and(|keep| {
            word == Some(keep.word) && keep.of.as_ref().is_none_or(|of| *of == engine)
        });
        if is_kept {
            let mut bytes = BytesMut::new();
            frame.encode_into(&mut bytes);
            self.kept.push((Arc::clone(&way.to), bytes));
            self.caught.get_or_insert(engine);
        }
        !is_kept
    }
}

fn word_of(frame: &TierFrame) -> Option<Word> {
    match frame {
        TierFrame::Command { command: Command::LockAndGet { .. }, .. } => Some(Word::Ask),
        TierFrame::Reply { reply: Reply::Granted { .. } | Reply::Unchanged { .. }, .. } => {
            Some(Word::Grant)
        }
        TierFrame::Command { command: Command::Put { .. }, .. } => Some(Word::Put),
        TierFrame::Reply { reply: Reply::Stored { .. }, .. } => Some(Word::Stored),
        _ => None,
    }
}
