//! The owner of a witness: the socket of its probes and reports, and its admin door.

use balancer::Witness;
use balancer::witness::{Input, Output};
use vocab::Instant;

use crate::admin::{Answer, Ask, Body, Refusal};
use crate::clock::Clock;
use crate::event::Event;
use crate::status;
use crate::udp::Udp;

pub(crate) struct WitnessShell {
    core: Witness,
    name: String,
    clock: Clock,
    udp: Udp,
    wake_at: Instant,
}

impl WitnessShell {
    pub(crate) fn new(core: Witness, name: String, clock: Clock, udp: Udp) -> Self {
        Self { core, name, clock, udp, wake_at: Instant(0) }
    }

    pub(crate) async fn datagrams(&self) {
        self.udp.ready().await;
    }

    pub(crate) fn wake_at(&self) -> Instant {
        self.wake_at
    }

    pub(crate) fn receive(&mut self, now: Instant) -> usize {
        let core = &mut self.core;
        self.udp.receive(|_, bytes| core.handle_input(now, Input::Datagram { bytes }))
    }

    pub(crate) fn turn(&mut self, now: Instant) {
        if self.wake_at <= now {
            self.core.handle_input(now, Input::Wake);
        }
        loop {
            match self.core.poll_output() {
                Output::Send { to, bytes } => self.udp.send(to, bytes),
                Output::WakeAt(at) => {
                    self.wake_at = at;
                    break;
                }
            }
        }
        self.udp.flush();
    }

    pub(crate) fn take(&mut self, now: Instant, event: Event) {
        match event {
            Event::Admin(ask, answer) => {
                let said = self.answer(now, &ask);
                // A client that went away needs no answer.
                drop(answer.send(said));
            }
            Event::Tier(..)
            | Event::Site(..)
            | Event::Coordination(_)
            | Event::Database(_)
            | Event::Queue(_)
            | Event::Ordered { .. }
            | Event::Resolved { .. } => {
                debug_assert!(false, "a witness has its probes, and nothing else");
            }
        }
    }

    fn answer(&self, now: Instant, ask: &Ask) -> Answer {
        match ask {
            Ask::Status => Body::json(&self.status(now)),
            Ask::Metrics => Ok(Body::metrics(&self.status(now), None)),
            Ask::Route
            | Ask::SetRoute(_)
            | Ask::Sites
            | Ask::Partitions
            | Ask::MoveSlots(_)
            | Ask::CancelMove(_)
            | Ask::Refound
            | Ask::Calls { .. }
            | Ask::Call(_)
            | Ask::Quarantine
            | Ask::Quarantined(_)
            | Ask::DropQuarantined(_)
            | Ask::Statistics
            | Ask::Backup
            | Ask::Activate(_)
            | Ask::StopActivating(_)
            | Ask::Delete(_)
            | Ask::Replication(..)
            | Ask::Retarget(_)
            | Ask::Sweep(_)
            | Ask::Evacuate(_)
            | Ask::Return(_)
            | Ask::Forget(_) => Err(Refusal::wrong_role(
                "a witness probes, and does nothing else: see `rehome status`; balancers judge",
            )),
        }
    }

    fn status(&self, now: Instant) -> admin_api::StatusReply {
        let mut status =
            status::of_witness(&self.name, &self.core.picture(now), self.clock.uptime());
        status.counters.insert("udp_send_dropped".into(), self.udp.dropped());
        status
    }
}
