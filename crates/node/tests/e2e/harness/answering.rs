//! A phone of many calls: it answers whatever it is asked within a dialog, whichever dialog that
//! is, and remembers what it was asked. It stands in for peers that have left their calls standing.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use sip_message::{Limits, Message, Method, Request, Response, StatusCode, parse_datagram};

use super::netns;
use super::sipp::clock;
use super::stage::Stage;

/// How long its thread waits for a datagram before it looks whether it is still wanted.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Call-ID and tag of who asks, number in the dialog's order, method: what a repetition has in
/// common with its first. Clones of one call share the Call-ID of its caller.
type Asked = (String, u32, String);
type Journal = Arc<Mutex<BTreeMap<Asked, f64>>>;

/// One phone on its own port and thread.
pub(crate) struct Answering {
    journal: Journal,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Answering {
    /// A phone at `address` on the host of SIPp.
    pub(crate) fn start(stage: &Stage, address: SocketAddr) -> Self {
        let socket = netns::on(stage.host(), || UdpSocket::bind(address));
        let socket = socket.expect("its owner has left");
        socket.set_read_timeout(Some(LOOK_EVERY)).expect("a socket can be told");
        let (journal, is_over) = (Journal::default(), Arc::new(AtomicBool::new(false)));
        let (theirs, ends) = (journal.clone(), is_over.clone());
        let answer = move || {
            let mut buffer = [0_u8; 65_536];
            while !ends.load(Ordering::Relaxed) {
                if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    let bytes = Bytes::copy_from_slice(&buffer[..length]);
                    if let Some(answer) = answer(&bytes, &theirs) {
                        // Loss is what repetitions are for.
                        let _lost = socket.send_to(&answer, from);
                    }
                }
            }
        };
        Self { journal, is_over, thread: Some(std::thread::spawn(answer)) }
    }

    /// When each request came first. ACKs are none.
    pub(crate) fn asked(&self) -> Vec<(Asked, f64)> {
        let journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        journal.iter().map(|(asked, at)| (asked.clone(), *at)).collect()
    }
}

fn answer(bytes: &Bytes, journal: &Journal) -> Option<Bytes> {
    let Ok(Message::Request(request)) = parse_datagram(bytes, &Limits::default()) else {
        return None;
    };
    if request.method == Method::Ack {
        return None;
    }
    let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
    journal.entry(asked(&request)).or_insert_with(clock);
    let ok = StatusCode::new(200).expect("it is one");
    Some(Response::to_request(&request, ok).print())
}

fn asked(request: &Request) -> Asked {
    let call_id = request.headers.call_id().expect("checked by the parser");
    let from = request.headers.from().expect("checked by the parser");
    let dialog = [call_id, from.tag().unwrap_or(call_id)].map(|part| String::from_utf8_lossy(part));
    let number = request.headers.cseq().expect("checked by the parser").number;
    (dialog.join(" "), number, request.method.as_str().into_owned())
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It panics only where a test fails anyway.
            let _ended = thread.join();
        }
    }
}
