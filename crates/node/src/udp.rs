//! A UDP socket that moves many datagrams with one system call.
//!
//! `recvmmsg` fills up to [`BATCH`] datagrams, `sendmmsg` sends as many. UDP may lose anything, and
//! so may this: a full send queue drops and counts, and SIP repeats.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;

use bytes::Bytes;
use nix::errno::Errno;
use nix::libc::sock_extended_err;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, recvmsg, sendmmsg,
    setsockopt, sockopt,
};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Datagrams in one system call.
pub(crate) const BATCH: usize = 32;
/// Bytes of a datagram.
const DATAGRAM_BYTES_MAX: usize = 65_536;
/// Datagrams that wait to be sent.
const QUEUE_MAX: usize = 16_384;

pub(crate) struct Udp {
    socket: UdpSocket,
    area: Box<[u8]>,
    headers_in: MultiHeaders<SockaddrStorage>,
    headers_out: MultiHeaders<SockaddrStorage>,
    queue: VecDeque<(SocketAddr, Bytes)>,
    /// What the network says of datagrams that it did not deliver is taken from the kernel.
    hears_refusals: bool,
    /// The kernel takes no more until the socket is writable.
    is_stuck: bool,
    dropped: u64,
}

impl Udp {
    pub(crate) fn bind(address: SocketAddr, receive_buffer_bytes: usize) -> io::Result<Self> {
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, None)?;
        // The kernel may grant less (net.core.rmem_max): a smaller buffer is no reason to stop.
        if let Err(error) = socket.set_recv_buffer_size(receive_buffer_bytes) {
            tracing::warn!(%error, receive_buffer_bytes, "the receive buffer stays small");
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        Ok(Self {
            socket: UdpSocket::from_std(socket.into())?,
            area: vec![0; BATCH * DATAGRAM_BYTES_MAX].into_boxed_slice(),
            headers_in: MultiHeaders::preallocate(BATCH, None),
            headers_out: MultiHeaders::preallocate(BATCH, None),
            queue: VecDeque::new(),
            hears_refusals: false,
            is_stuck: false,
            dropped: 0,
        })
    }

    /// From here on [`Self::refusals`] says where nobody listens (ICMP port unreachable).
    pub(crate) fn hear_refusals(&mut self) -> io::Result<()> {
        if self.socket.local_addr()?.is_ipv4() {
            setsockopt(&self.socket, sockopt::Ipv4RecvErr, &true)?;
        } else {
            setsockopt(&self.socket, sockopt::Ipv6RecvErr, &true)?;
        }
        self.hears_refusals = true;
        Ok(())
    }

    /// Takes what the network said of earlier datagrams: destinations where nobody listens.
    pub(crate) fn refusals(&mut self, mut take: impl FnMut(SocketAddr)) {
        if !self.hears_refusals {
            return;
        }
        let socket = &self.socket;
        loop {
            // The kernel gives the refused datagram back; of it only the destination matters.
            let outcome = socket.try_io(Interest::ERROR, || {
                let (mut payload, mut control) = ([0; 64], nix::cmsg_space!(Refusal));
                let mut slices = [IoSliceMut::new(&mut payload)];
                let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
                let fd = socket.as_raw_fd();
                let message =
                    recvmsg::<SockaddrStorage>(fd, &mut slices, Some(&mut control), flags)?;
                let is_refused = message.cmsgs()?.any(|control| match control {
                    ControlMessageOwned::Ipv4RecvErr(error, _)
                    | ControlMessageOwned::Ipv6RecvErr(error, _) => {
                        error.ee_errno == Errno::ECONNREFUSED as u32
                    }
                    _ => false,
                });
                Ok(message.address.as_ref().and_then(to_std).filter(|_| is_refused))
            });
            match outcome {
                Ok(Some(destination)) => take(destination),
                Ok(None) => {}
                Err(_) => return,
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Completes when datagrams wait, or when a full kernel buffer has room again.
    pub(crate) async fn ready(&self) {
        let mut interest = Interest::READABLE;
        if self.is_stuck {
            interest |= Interest::WRITABLE;
        }
        if self.hears_refusals {
            interest |= Interest::ERROR;
        }
        if let Err(error) = self.socket.ready(interest).await {
            tracing::warn!(%error, "a UDP socket cannot be waited for");
        }
    }

    /// Takes what waits, at most [`BATCH`] datagrams; says how many it took.
    pub(crate) fn receive(&mut self, mut take: impl FnMut(SocketAddr, Bytes)) -> usize {
        let (socket, area, headers) = (&self.socket, &mut self.area, &mut self.headers_in);
        let mut count = 0;
        let outcome = socket.try_io(Interest::READABLE, || {
            let mut slices: Vec<[IoSliceMut<'_>; 1]> = area
                .chunks_exact_mut(DATAGRAM_BYTES_MAX)
                .map(|chunk| [IoSliceMut::new(chunk)])
                .collect();
            let received = recvmmsg(
                socket.as_raw_fd(),
                headers,
                slices.iter_mut(),
                MsgFlags::MSG_DONTWAIT,
                None,
            )?;
            for message in received {
                let source = message.address.as_ref().and_then(to_std);
                let bytes = message.iovs().next().map(Bytes::copy_from_slice);
                if let (Some(source), Some(bytes)) = (source, bytes) {
                    count += 1;
                    take(source, bytes);
                }
            }
            Ok(())
        });
        match outcome {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => tracing::debug!(%error, "a UDP socket reported an error"),
        }
        count
    }

    /// Queues a datagram for the next [`Self::flush`].
    pub(crate) fn send(&mut self, to: SocketAddr, bytes: Bytes) {
        if self.queue.len() >= QUEUE_MAX {
            self.dropped += 1;
            return;
        }
        self.queue.push_back((to, bytes));
    }

    /// Datagrams that found the queue full, or that the kernel refused.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Gives the queue to the kernel, as far as it takes it.
    pub(crate) fn flush(&mut self) {
        self.is_stuck = false;
        let mut errors = 0;
        while !self.queue.is_empty() {
            match self.flush_once() {
                Ok(sent) => {
                    self.queue.drain(..sent);
                    errors = 0;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_stuck = true;
                    return;
                }
                Err(error) => {
                    // The first error may be about an earlier datagram (ICMP); a second in a row
                    // is about the first of this queue.
                    errors += 1;
                    if errors > 1 {
                        errors = 0;
                        self.dropped += 1;
                        let gone = self.queue.pop_front();
                        let to = gone.map(|(to, _)| to);
                        tracing::debug!(%error, ?to, "a datagram cannot be sent");
                    }
                }
            }
        }
    }

    fn flush_once(&mut self) -> io::Result<usize> {
        let (socket, headers) = (&self.socket, &mut self.headers_out);
        let batch = || self.queue.iter().take(BATCH);
        let slices: Vec<[IoSlice<'_>; 1]> =
            batch().map(|(_, bytes)| [IoSlice::new(bytes)]).collect();
        let addresses: Vec<Option<SockaddrStorage>> =
            batch().map(|(to, _)| Some(SockaddrStorage::from(*to))).collect();
        socket.try_io(Interest::WRITABLE, || {
            let sent = sendmmsg(
                socket.as_raw_fd(),
                headers,
                slices.iter(),
                addresses,
                [],
                MsgFlags::MSG_DONTWAIT,
            )
            .map_err(|errno| if errno == Errno::ENOBUFS { Errno::EAGAIN } else { errno })?;
            Ok(sent.count())
        })
    }
}

/// Room for one control message of the error queue: the error and who reported it.
type Refusal = (sock_extended_err, SockaddrStorage);

fn to_std(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddrV4::new(v4.ip(), v4.port()).into());
    }
    let v6 = address.as_sockaddr_in6()?;
    Some(SocketAddrV6::new(v6.ip(), v6.port(), v6.flowinfo(), v6.scope_id()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn flush_all(udp: &mut Udp) {
        udp.flush();
        while udp.is_stuck {
            udp.ready().await;
            udp.flush();
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn many_datagrams_go_and_come() {
        let mut one = Udp::bind("127.0.0.1:0".parse().unwrap(), 1 << 20).unwrap();
        let mut other = Udp::bind("127.0.0.1:0".parse().unwrap(), 1 << 20).unwrap();
        let to = other.local_address().unwrap();
        let texts: Vec<Bytes> = (0..100).map(|n| Bytes::from(format!("datagram {n}"))).collect();
        texts.iter().for_each(|text| one.send(to, text.clone()));
        flush_all(&mut one).await;
        let mut got = Vec::new();
        while got.len() < texts.len() {
            other.ready().await;
            other.receive(|source, bytes| got.push((source, bytes)));
        }
        let from = one.local_address().unwrap();
        assert!(got.iter().all(|(source, _)| *source == from));
        assert_eq!(got.into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>(), texts);
        assert_eq!(one.dropped(), 0);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_destination_where_nobody_listens_is_told() {
        let mut one = Udp::bind("127.0.0.1:0".parse().unwrap(), 1 << 20).unwrap();
        one.hear_refusals().unwrap();
        let gone = Udp::bind("127.0.0.1:0".parse().unwrap(), 1 << 20).unwrap();
        let nobody = gone.local_address().unwrap();
        drop(gone);
        one.send(nobody, Bytes::from_static(b"hello"));
        flush_all(&mut one).await;
        let mut refused = Vec::new();
        while refused.is_empty() {
            one.ready().await;
            one.receive(|_, _| {});
            one.refusals(|destination| refused.push(destination));
        }
        assert_eq!(refused, [nobody]);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_datagram_that_the_kernel_refuses_holds_nothing_up() {
        let mut one = Udp::bind("127.0.0.1:0".parse().unwrap(), 1 << 20).unwrap();
        let mut other = Udp::bind("127.0.0.1:0".parse().unwrap(), 1 << 20).unwrap();
        // 65,508 bytes do not fit a UDP datagram over IPv4.
        one.send(other.local_address().unwrap(), Bytes::from(vec![0; 65_508]));
        one.send(other.local_address().unwrap(), Bytes::from_static(b"after"));
        flush_all(&mut one).await;
        let mut got = Vec::new();
        while got.is_empty() {
            other.ready().await;
            other.receive(|_, bytes| got.push(bytes));
        }
        assert_eq!(got, [Bytes::from_static(b"after")]);
        assert_eq!(one.dropped(), 1);
    }
}
