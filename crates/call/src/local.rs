//! The section that only this site needs: transactions, the bytes they may send again, and what
//! ties a request of one leg to the request that it became on the other.

use std::time::Duration;

use bytes::Bytes;
use sip_message::{Method, Request};
use vocab::{Instant, SiteId};

use crate::transaction::{
    Client, ClientKey, InviteClient, InviteServer, Packet, Server, ServerKey, Unacknowledged,
};

/// Everything about a call that does not cross.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Local {
    /// The next name of a [`Serving`].
    pub(crate) next_serving: u16,
    /// Requests of peers. With `askings`, at most `CallLimits::transactions_max`.
    pub(crate) servings: Vec<Serving>,
    /// Requests of ours.
    pub(crate) askings: Vec<Asking>,
    /// How the peers' requests within their dialogs came, from the first on.
    pub(crate) recent: Option<Recent>,
    /// Fields of a newer version, here and in the transactions: written again as they came.
    pub(crate) newer: Bytes,
}

/// The pace of the peers' requests, ACKs excepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recent {
    pub(crate) last_at: Instant,
    /// How many of the last gaps in a row were short; it grows no further than `u8` does.
    pub(crate) close: u8,
}

/// A request of a peer: its server transaction and what the call knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Serving {
    /// Its name in this section.
    pub(crate) id: u16,
    pub(crate) machine: ServerMachine,
    /// The leg that it came on or began, while that leg exists.
    pub(crate) leg: Option<u16>,
    /// Which dialog of the leg.
    pub(crate) fork: u16,
    pub(crate) application: u16,
    pub(crate) cseq: u32,
    pub(crate) call_id: Bytes,
    pub(crate) from_tag: Bytes,
    /// It came outside any dialog.
    pub(crate) is_initial: bool,
    /// Ordinal and site of the To tag of an initial request.
    pub(crate) tag: u16,
    pub(crate) site: SiteId,
    /// What a response is made of, until the final one is given: the request without its body and
    /// without headers that no response needs. The whole request while its decision is deferred.
    pub(crate) request: Option<Bytes>,
    /// The 2xx to an INVITE, repeated until its ACK comes.
    pub(crate) unacknowledged: Option<Unacknowledged>,
    /// The application has yet to decide what becomes of it.
    pub(crate) is_deferred: bool,
    /// When a deferred INVITE is refused.
    pub(crate) deferred_until: Option<Instant>,
    pub(crate) newer: Bytes,
}

/// A server transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServerMachine {
    Invite(InviteServer),
    Other(Server),
}

/// A request of ours: its client transaction and what the call knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asking {
    pub(crate) machine: ClientMachine,
    /// The leg that it was sent on. It may be gone already.
    pub(crate) leg: u16,
    /// Which dialog of the leg; meaningless for an INVITE that began the leg.
    pub(crate) fork: u16,
    pub(crate) purpose: Purpose,
    pub(crate) cseq: u32,
    /// It was sent within a dialog.
    pub(crate) is_in_dialog: bool,
    pub(crate) cancel: Cancel,
    /// When an INVITE without a final response is cancelled; after its CANCEL, when it is
    /// forgotten.
    pub(crate) give_up_at: Option<Instant>,
    /// The 2xx that counts has its ACK.
    pub(crate) is_acknowledged: bool,
    /// The ACKs of its 2xx, one for each fork that answered. At most `CallLimits::forks_max`.
    pub(crate) acks: Vec<Acked>,
    /// What its offer took the place of as the leg's session description: that counts again when
    /// the offer is refused.
    pub(crate) sdp_before: Option<Bytes>,
    pub(crate) newer: Bytes,
}

/// A client transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClientMachine {
    Invite(InviteClient),
    Other(Client),
}

/// Why a request of ours was sent: who hears its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The peer whose request it was.
    Relay { serving: u16 },
    /// The leg's session timer.
    Refresh,
    /// Nobody: it ends something.
    Ending,
}

/// How far cancelling an INVITE of ours has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cancel {
    No,
    /// It is sent with the first provisional response.
    Wanted,
    Sent,
}

/// An ACK of a 2xx as it was sent: "the UAC core … MUST generate an ACK request for each 2xx".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acked {
    /// To tag of the 2xx.
    pub(crate) tag: Bytes,
    pub(crate) packet: Packet,
}

impl Local {
    pub(crate) fn serving(&self, id: u16) -> Option<&Serving> {
        self.servings.iter().find(|serving| serving.id == id)
    }

    pub(crate) fn serving_mut(&mut self, id: u16) -> Option<&mut Serving> {
        self.servings.iter_mut().find(|serving| serving.id == id)
    }

    /// A name that no serving has.
    pub(crate) fn fresh_serving(&mut self) -> u16 {
        loop {
            let id = self.next_serving;
            self.next_serving = self.next_serving.wrapping_add(1);
            if self.serving(id).is_none() {
                return id;
            }
        }
    }

    /// Notes a request of a peer within a dialog. A gap of at most `close_for` is short.
    pub(crate) fn note_request(&mut self, now: Instant, close_for: Duration) {
        let close = self.recent.map_or(0, |recent| match recent.last_at + close_for >= now {
            true => recent.close.saturating_add(1),
            false => 0,
        });
        self.recent = Some(Recent { last_at: now, close });
    }

    pub(crate) fn transactions(&self) -> usize {
        self.servings.len() + self.askings.len()
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let servings = self.servings.iter().filter_map(Serving::next_deadline);
        let askings = self.askings.iter().filter_map(Asking::next_deadline);
        servings.chain(askings).min()
    }

    /// Forgets the transactions that ended, and the requests that are not sent again: once there is
    /// a final response, neither a repetition nor a CANCEL is made of them.
    pub(crate) fn sweep(&mut self) {
        self.servings
            .retain(|serving| serving.unacknowledged.is_some() || !serving.machine.is_terminated());
        self.askings.retain(|asking| !asking.machine.is_terminated());
        for asking in self.askings.iter_mut().filter(|asking| !asking.is_pending()) {
            asking.give_up_at = None;
            match &mut asking.machine {
                ClientMachine::Invite(machine) => machine.request.bytes = Bytes::new(),
                ClientMachine::Other(machine) => machine.request.bytes = Bytes::new(),
            }
        }
    }

    /// The INVITE of ours on `leg` that has no final response, or whose 2xx has no ACK yet.
    pub(crate) fn open_invite_to(&self, leg: u16) -> Option<usize> {
        self.askings.iter().position(|asking| asking.leg == leg && asking.is_open_invite())
    }

    /// The INVITE of the peer on `leg` that has no final response, or whose 2xx has no ACK yet.
    pub(crate) fn open_invite_from(&self, leg: u16) -> Option<&Serving> {
        self.servings.iter().find(|serving| {
            serving.leg == Some(leg)
                && serving.is_invite()
                && (serving.is_pending() || serving.unacknowledged.is_some())
        })
    }

    /// Whether everything is answered and acknowledged; what merely lingers does not count.
    pub(crate) fn is_quiet(&self) -> bool {
        let is_served =
            |serving: &Serving| !serving.is_pending() && serving.unacknowledged.is_none();
        self.servings.iter().all(is_served)
            && self.askings.iter().all(|asking| !asking.is_pending() && !asking.is_open_invite())
    }
}

impl Serving {
    pub(crate) fn key(&self) -> &ServerKey {
        match &self.machine {
            ServerMachine::Invite(machine) => &machine.key,
            ServerMachine::Other(machine) => &machine.key,
        }
    }

    pub(crate) fn is_invite(&self) -> bool {
        matches!(self.machine, ServerMachine::Invite(_))
    }

    /// Whether a final response is still owed.
    pub(crate) fn is_pending(&self) -> bool {
        match &self.machine {
            ServerMachine::Invite(machine) => machine.is_pending(),
            ServerMachine::Other(machine) => machine.is_pending(),
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let machine = match &self.machine {
            ServerMachine::Invite(machine) => machine.next_deadline(),
            ServerMachine::Other(machine) => machine.next_deadline(),
        };
        let repeats = self.unacknowledged.as_ref().and_then(Unacknowledged::next_deadline);
        machine.into_iter().chain(repeats).chain(self.deferred_until).min()
    }
}

impl ServerMachine {
    pub(crate) fn is_terminated(&self) -> bool {
        match self {
            Self::Invite(machine) => machine.is_terminated(),
            Self::Other(machine) => machine.is_terminated(),
        }
    }
}

impl Asking {
    pub(crate) fn is_invite(&self) -> bool {
        matches!(self.machine, ClientMachine::Invite(_))
    }

    /// The request as it was sent; without bytes once it has a final response.
    pub(crate) fn request(&self) -> &Packet {
        match &self.machine {
            ClientMachine::Invite(machine) => &machine.request,
            ClientMachine::Other(machine) => &machine.request,
        }
    }

    pub(crate) fn method(&self) -> &Method {
        &self.key().method
    }

    pub(crate) fn branch(&self) -> u16 {
        self.key().branch
    }

    pub(crate) fn key(&self) -> &ClientKey {
        match &self.machine {
            ClientMachine::Invite(machine) => &machine.key,
            ClientMachine::Other(machine) => &machine.key,
        }
    }

    /// Whether a final response is still to come.
    pub(crate) fn is_pending(&self) -> bool {
        match &self.machine {
            ClientMachine::Invite(machine) => machine.is_pending(),
            ClientMachine::Other(machine) => machine.is_pending(),
        }
    }

    /// Whether it is an INVITE without a final response, or without an ACK of its 2xx.
    pub(crate) fn is_open_invite(&self) -> bool {
        match &self.machine {
            ClientMachine::Invite(machine) => {
                machine.is_pending() || (self.is_accepted() && !self.is_acknowledged)
            }
            ClientMachine::Other(_) => false,
        }
    }

    /// Whether it is an INVITE that was answered with a 2xx.
    pub(crate) fn is_accepted(&self) -> bool {
        use crate::transaction::invite_client::State;
        match &self.machine {
            ClientMachine::Invite(machine) => matches!(machine.state, State::Accepted { .. }),
            ClientMachine::Other(_) => false,
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let machine = match &self.machine {
            ClientMachine::Invite(machine) => machine.next_deadline(),
            ClientMachine::Other(machine) => machine.next_deadline(),
        };
        machine.into_iter().chain(self.give_up_at).min()
    }
}

impl ClientMachine {
    pub(crate) fn is_terminated(&self) -> bool {
        match self {
            Self::Invite(machine) => machine.is_terminated(),
            Self::Other(machine) => machine.is_terminated(),
        }
    }
}

/// Whether `request` asks for the same as `serving` does by another way: "the same From tag,
/// Call-ID, and CSeq" (§8.2.2.2).
pub(crate) fn is_merged(serving: &Serving, request: &Request) -> bool {
    let headers = &request.headers;
    serving.is_initial
        && serving.key().method == request.method
        && headers.cseq().is_ok_and(|cseq| cseq.number == serving.cseq)
        && headers.call_id().is_ok_and(|call_id| *call_id == serving.call_id)
        && headers.from_tag().is_ok_and(|tag| tag.unwrap_or_default() == serving.from_tag)
}
