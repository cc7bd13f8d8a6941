//! A plain datagram balancer: what comes in goes to the next engine, unread.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Every datagram to another engine than the one before.
const IN_TURN: usize = usize::MAX;

/// Forwards datagrams to two engines. It looks at no byte of them.
pub(crate) struct RoundRobin {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    stop: AtomicBool,
    only: AtomicUsize,
    sent: [AtomicU64; 2],
}

impl RoundRobin {
    /// Listens at `address` for `engines`.
    pub(crate) fn start(address: SocketAddr, engines: [SocketAddr; 2]) -> Self {
        let socket = UdpSocket::bind(address).expect("the port is free");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a valid timeout");
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            only: AtomicUsize::new(IN_TURN),
            sent: [AtomicU64::new(0), AtomicU64::new(0)],
        });
        let theirs = Arc::clone(&shared);
        let thread = thread::spawn(move || theirs.forward(&socket, engines));
        Self { address, shared, thread: Some(thread) }
    }

    /// Where SIP is sent.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends everything to one engine from here on.
    pub(crate) fn only(&self, engine: usize) {
        self.shared.only.store(engine, Ordering::SeqCst);
    }

    /// Datagrams that went to each engine.
    pub(crate) fn sent(&self) -> [u64; 2] {
        [0, 1].map(|engine: usize| self.shared.sent[engine].load(Ordering::SeqCst))
    }
}

impl Shared {
    fn forward(&self, socket: &UdpSocket, engines: [SocketAddr; 2]) {
        let mut buffer = [0_u8; 65_536];
        let mut next = 0;
        while !self.stop.load(Ordering::SeqCst) {
            // A refused datagram to a dead engine shows up here as an error: it is lost.
            let Ok((length, _)) = socket.recv_from(&mut buffer) else { continue };
            let only = self.only.load(Ordering::SeqCst);
            let engine = if only == IN_TURN { next } else { only };
            next = 1 - engine;
            let _lost = socket.send_to(&buffer[..length], engines[engine]);
            self.sent[engine].fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Drop for RoundRobin {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}
