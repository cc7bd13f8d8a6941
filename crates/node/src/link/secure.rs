//! A link inside TLS: its handshake, what failed in it, and the task that encrypts.
//!
//! The owner's words wait in a [`Pipe`], in clear, until the task has written them; the bound of
//! a slow link holds for them as it does for a plain link's buffer.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use rustls::PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon;
use rustls::{AlertDescription, CertificateError, Error};
use tier_protocol::frame::Decoder;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::TlsStream;
use vocab::SiteId;

use super::{
    Broken, Carried, Closed, FRAME_BYTES_MAX, Failed, LinkId, LinkWord, Links, Outbox, Proven,
    READ_BYTES, To, within,
};
use crate::tls::{Tls, Why};

/// The first byte of a TLS record that holds a handshake.
const HANDSHAKE_RECORD: u8 = 0x16;

/// Time for the last words of a link that its owner gave up.
const LINGER: Duration = Duration::from_secs(1);

/// A proven link.
pub(super) struct Secured {
    stream: TlsStream<TcpStream>,
    named: Vec<SiteId>,
}

/// Words on their way to the task that encrypts them.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    waiting: Mutex<Waiting>,
    changed: Notify,
    written: Notify,
    /// The owner gave the link up.
    gone: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    chunks: VecDeque<BytesMut>,
    /// Of the chunks, and of the one that is being written.
    bytes: usize,
    is_closed: bool,
}

impl Pipe {
    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, buffer: &mut BytesMut, bytes_max: usize) -> Result<(), Broken> {
        let mut waiting = self.waiting();
        if waiting.is_closed {
            return Err(Broken);
        }
        if !buffer.is_empty() {
            waiting.bytes += buffer.len();
            waiting.chunks.push_back(buffer.split());
            self.changed.notify_one();
        }
        if waiting.bytes > bytes_max { Err(Broken) } else { Ok(()) }
    }

    pub(super) fn close(&self) {
        self.waiting().is_closed = true;
        self.gone.notify_one();
    }

    async fn next(&self) -> BytesMut {
        loop {
            let next = self.waiting().chunks.pop_front();
            match next {
                Some(chunk) => return chunk,
                None => self.changed.notified().await,
            }
        }
    }

    fn note_written(&self, bytes: usize) {
        self.waiting().bytes -= bytes;
        self.written.notify_one();
    }

    async fn drained(&self) {
        while self.waiting().bytes > 0 {
            self.written.notified().await;
        }
    }
}

/// Whether bytes are the beginning of a TLS handshake.
pub(super) fn is_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [HANDSHAKE_RECORD, 3, ..])
}

/// What an error of a link's beginning says of its reason.
pub(super) fn failed(error: &io::Error) -> Failed {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let why = match inner {
        None if error.kind() == io::ErrorKind::TimedOut => Why::Slow,
        None => Why::Broken,
        Some(inner) => why(inner),
    };
    Failed::of(why, error.to_string())
}

fn why(error: &Error) -> Why {
    match error {
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => Why::Name,
        Error::InvalidCertificate(_)
        | Error::NoCertificatesPresented
        | Error::UnsupportedNameType
        | Error::AlertReceived(
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateRequired
            | AlertDescription::AccessDenied,
        )
        | Error::PeerIncompatible(NoCertificateRequestSignatureSchemesInCommon) => Why::Certificate,
        // What is no record at all: the other end is plain.
        Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => Why::Plain,
        _ => Why::Broken,
    }
}

impl Links {
    pub(super) async fn dial_secure(
        &self,
        tls: &Tls,
        stream: TcpStream,
        link: LinkId,
    ) -> Result<Proven, Failed> {
        let name = link.site().and_then(|site| tls.name_of(site));
        let Some(name) = name else {
            return Err(Failed::of(Why::Name, "no name of this peer is configured"));
        };
        let connecting = async { tls.connector().connect(name, stream).await };
        let mut stream = within("the TLS handshake", connecting).await.map_err(|error| {
            let Failed { why, what } = failed(&error);
            match why {
                Why::Plain => {
                    Failed::of(why, "it speaks no TLS: it has no `[sites.tls]`, or it is no Rehome")
                }
                _ => Failed { why, what },
            }
        })?;
        self.prove(&mut stream, link).await?;
        let named = link.site().into_iter().collect();
        Ok(Proven::Secure(Box::new(Secured { stream: TlsStream::from(stream), named })))
    }

    pub(super) async fn admit_secure(
        &self,
        tls: &Tls,
        stream: TcpStream,
        link: LinkId,
    ) -> Result<Proven, Failed> {
        // A peer without TLS waits for our first word, so it says nothing.
        let mut first = [0];
        let spoke = within("the first byte", stream.peek(&mut first)).await;
        match spoke {
            Ok(1..) if first[0] == HANDSHAKE_RECORD => {}
            Ok(1..) => return Err(Failed::of(Why::Plain, "it speaks no TLS")),
            Ok(0) => return Err(Failed::of(Why::Broken, "it came and went")),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                return Err(Failed::of(Why::Plain, "it says nothing: it may have no TLS"));
            }
            Err(error) => return Err(failed(&error)),
        }
        let accepting = async { tls.acceptor().accept(stream).await };
        let stream = within("the TLS handshake", accepting).await;
        let mut stream = stream.map_err(|error| failed(&error))?;
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let named = shown.map(|certificate| tls.named_by(certificate)).unwrap_or_default();
        self.challenge(&mut stream, link).await?;
        Ok(Proven::Secure(Box::new(Secured { stream: TlsStream::from(stream), named })))
    }

    pub(super) async fn run_secure<F: Carried>(&self, secured: Secured, link: LinkId) -> Closed {
        let Secured { stream, named } = secured;
        let pipe = Arc::new(Pipe::default());
        let to = To::Secure { pipe: pipe.clone(), named };
        let outbox = Outbox { to, buffer: BytesMut::new(), bytes_max: self.bytes_max };
        if !self.tell(link, LinkWord::<F>::Up(outbox)).await {
            return Closed::ByOwner;
        }
        let (from, into) = tokio::io::split(stream);
        let writing = write_secure(into, &pipe);
        tokio::pin!(writing);
        let closed = tokio::select! {
            closed = self.read_secure::<F>(from, link) => closed,
            () = &mut writing => Closed::ByPeer,
            () = pipe.gone.notified() => {
                // What was said before that goes out, as the kernel sees to it elsewhere.
                let rest = async {
                    tokio::select! { () = writing => {}, () = pipe.drained() => {} }
                };
                drop(tokio::time::timeout(LINGER, rest).await);
                Closed::ByPeer
            }
        };
        // The outbox learns of it when it is written to.
        pipe.close();
        if self.tell(link, LinkWord::<F>::Down).await { closed } else { Closed::ByOwner }
    }

    async fn read_secure<F: Carried>(
        &self,
        mut from: ReadHalf<TlsStream<TcpStream>>,
        link: LinkId,
    ) -> Closed {
        let mut decoder = Decoder::<F>::new(FRAME_BYTES_MAX);
        let mut area = vec![0; READ_BYTES];
        loop {
            let read = match from.read(&mut area).await {
                Ok(0) | Err(_) => return Closed::ByPeer,
                Ok(read) => read,
            };
            if let Err(closed) = self.tell_frames(&mut decoder, &area[..read], link).await {
                return closed;
            }
        }
    }
}

/// Until the link breaks.
async fn write_secure(mut into: WriteHalf<TlsStream<TcpStream>>, pipe: &Pipe) {
    loop {
        let chunk = pipe.next().await;
        if into.write_all(&chunk).await.is_err() || into.flush().await.is_err() {
            return;
        }
        pipe.note_written(chunk.len());
    }
}
