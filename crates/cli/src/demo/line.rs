//! An agent with its socket: one thread receives, repeats and answers; others ask through a lock.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sip_message::Bytes;

use super::agent::{Agent, Side};

/// How long the thread waits for a datagram before it looks at what is due.
const WAIT: Duration = Duration::from_millis(2);

/// One end of all calls.
pub(super) struct Line {
    agent: Arc<Mutex<Agent>>,
    socket: Arc<UdpSocket>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Line {
    /// Opens a line on a socket; `edge` is where all its requests go.
    pub(super) fn open(
        side: Side,
        socket: UdpSocket,
        edge: SocketAddr,
        run: u64,
    ) -> io::Result<Self> {
        socket.set_read_timeout(Some(WAIT))?;
        let local = socket.local_addr()?;
        let agent = Arc::new(Mutex::new(Agent::new(side, local, edge, run)));
        let socket = Arc::new(socket);
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new().name(side.name().to_owned()).spawn({
            let (agent, socket, stop) = (agent.clone(), socket.clone(), stop.clone());
            move || {
                let mut buffer = vec![0_u8; 65_535];
                while !stop.load(Ordering::Relaxed) {
                    serve(&agent, &socket, &mut buffer);
                }
            }
        })?;
        Ok(Self { agent, socket, stop, thread: Some(thread) })
    }

    /// Looks at the agent.
    pub(super) fn agent(&self) -> MutexGuard<'_, Agent> {
        lock(&self.agent)
    }

    /// Lets the agent do something, and sends what it decided.
    pub(super) fn ask(&self, ask: impl FnOnce(&mut Agent, Instant)) {
        let outputs = {
            let mut agent = self.agent();
            ask(&mut agent, Instant::now());
            agent.take_outputs()
        };
        send(&self.socket, outputs);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so; there is nothing to add.
            let _panicked = thread.join();
        }
    }
}

fn lock(agent: &Mutex<Agent>) -> MutexGuard<'_, Agent> {
    agent.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(agent: &Mutex<Agent>, socket: &UdpSocket, buffer: &mut [u8]) {
    // An error is a time-out, or an ICMP message about a process that was killed on purpose.
    let received = socket.recv_from(buffer).ok();
    let outputs = {
        let mut agent = lock(agent);
        let now = Instant::now();
        if let Some((length, source)) = received {
            agent.receive(now, source, &Bytes::copy_from_slice(&buffer[..length]));
        }
        agent.tick(now);
        agent.take_outputs()
    };
    send(socket, outputs);
}

fn send(socket: &UdpSocket, outputs: Vec<(SocketAddr, Bytes)>) {
    for (to, bytes) in outputs {
        // What is not sent is lost, and SIP repeats it.
        let _lost = socket.send_to(&bytes, to);
    }
}
