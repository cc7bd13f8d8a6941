//! What the owner answers to the admin API.

use admin_api::{BackupOrder, BackupReply, CallsReply, DormantOfSite, OrderReply, SitesReply};
use replica::SiteOrder;
use replica::gate::GateInput;
use tier_protocol::{Command, Tombstone};
use vocab::{CallKey, Instant, SiteId, ViewNumber};

use super::steer::of_site;
use super::{Site, TierSeat, Word, partitions};
use crate::admin::{Answer, Ask, Body, Refusal};
use crate::config::file::{Activation, Peer};
use crate::status;

fn no_tier() -> Refusal {
    Refusal::wrong_role("an engine keeps no calls; ask its state process")
}

/// What is asked of other sites is answered where the site's gate is kept.
pub(super) fn keeps_gate(seat: &TierSeat) -> Result<(), Refusal> {
    match seat.keeps_gate() {
        true => Ok(()),
        false => Err(Refusal::conflict(partitions::ask_gatekeeper(seat.replica.map()))),
    }
}

impl Site {
    pub(super) fn answer(&mut self, now: Instant, ask: Ask) -> Answer {
        match ask {
            Ask::Status => Body::json(&status::of_site(self, now)),
            Ask::Metrics => {
                let tier = self.tier.as_ref();
                let crossing = tier.map(|seat| status::statistics(&self.config, seat, now));
                Ok(Body::metrics(&status::of_site(self, now), crossing.as_ref()))
            }
            Ask::Sites => self.sites(now),
            Ask::Calls { cursor, limit, marked } => self.calls(now, cursor, limit, marked),
            Ask::Call(key) => self.call(now, key),
            Ask::Quarantine => self.quarantine(now),
            Ask::Quarantined(key) => self.quarantined(now, key),
            Ask::DropQuarantined(key) => self.drop_quarantined(now, key),
            Ask::Statistics => Body::json(&status::statistics(&self.config, self.tier()?, now)),
            Ask::Backup => self.backup(now),
            Ask::Activate(order) => self.activate(now, order),
            Ask::Retarget(order) => self.retarget(now, order),
            Ask::Sweep(order) => self.sweep(now, order),
            Ask::Evacuate(order) => self.evacuate(now, order),
            Ask::Return(order) => self.steer_return(now, order),
            Ask::StopActivating(site) => {
                let order = SiteOrder::StopActivating { site };
                self.order(now, site, order, "no more calls are woken; those that are stay so")
            }
            Ask::Delete(order) => self.delete(now, order),
            Ask::Replication(site, on) => {
                let what = if on { "states are sent" } else { "states are kept; marks stay" };
                self.order(now, site, SiteOrder::Replication { site, on }, what)
            }
            Ask::Forget(key) => self.forget(now, key),
            Ask::Partitions => partitions::told(self.tier()?, now),
            Ask::MoveSlots(order) => self.move_slots(&order),
            Ask::CancelMove(order) => self.cancel_move(&order),
            Ask::Refound => self.refound(now),
            Ask::Route | Ask::SetRoute(_) => {
                Err(Refusal::wrong_role("only a balancer has a routing policy"))
            }
        }
    }

    pub(super) fn tier(&self) -> Result<&TierSeat, Refusal> {
        self.tier.as_ref().ok_or_else(no_tier)
    }

    fn sites(&self, now: Instant) -> Answer {
        let status = status::of_site(self, now);
        keeps_gate(self.tier()?)?;
        let told = self.steered(now)?;
        Body::json(&SitesReply {
            here: status.site,
            state: status.state,
            backup_to: self.backup_to(now),
            peers: status.peers,
            at_risk: status.at_risk,
            led_by: match told.led_by.is_empty() {
                true => vec![status.start],
                false => told.led_by,
            },
            ..told
        })
    }

    fn calls(&self, now: Instant, cursor: Option<CallKey>, limit: usize, marked: bool) -> Answer {
        let replica = &self.tier()?.replica;
        let page: Vec<CallKey> = match marked {
            true => replica.marked(cursor, limit),
            false => replica.calls(cursor, limit).iter().map(|call| call.key).collect(),
        };
        let next = (page.len() == limit).then(|| page.last().map(CallKey::to_string));
        let lines = page.iter().filter_map(|key| replica.get(now, *key));
        let calls = lines.map(|story| status::call_line(&story)).collect();
        Body::json(&CallsReply { calls, next: next.flatten() })
    }

    fn call(&mut self, now: Instant, key: CallKey) -> Answer {
        let Some(seat) = &mut self.tier else { return Err(no_tier()) };
        let Some(story) = seat.replica.get(now, key) else {
            return Err(Refusal { status: 404, error: format!("no call {key} is held here") });
        };
        // A look at a call does not bring it back into RAM.
        let is_in_memory = !story.summary.is_spilled;
        let record = is_in_memory.then(|| seat.record(now, key, &mut self.words)).flatten();
        // Only a process that runs applications decodes calls: one that cannot be decoded must not
        // reach the process that keeps them.
        let decodes = self.engine.is_some();
        Body::json(&status::call_story(now, &story, record.as_ref(), decodes))
    }

    fn backup(&self, now: Instant) -> Answer {
        let seat = self.tier()?;
        keeps_gate(seat)?;
        let status = status::of_site(self, now);
        let (whole, gate) = (seat.progress(now), seat.gate.stats(now));
        let standing = &gate.steering.standing;
        let kept = status.peers.iter().map(|(number, peer)| {
            let site = SiteId(*number);
            let of_site = DormantOfSite {
                calls: of_site(&whole.dormant, site),
                alive: peer.alive,
                activation: peer.activation.clone(),
                order_pending: of_site(&whole.ordered, site),
                inbox_batches: gate.senders.get(&site).map_or(0, |sender| sender.waiting),
                activating: standing.activating.contains(&site) || whole.activating.contains(&site),
                activated: gate.activated.contains(&site),
                deleting: standing.deleting.contains(&site) || whole.deleting.contains(&site),
                deleted: gate.deleted.contains(&site),
            };
            (*number, of_site)
        });
        Body::json(&BackupReply {
            here: status.site,
            backup_to: self.backup_to(now),
            kept: kept.collect(),
            inbox_batches: status.inbox_batches,
            partitions: gate.partitions,
            partitions_told: whole.told,
        })
    }

    pub(super) fn peer(&self, site: SiteId) -> Result<&Peer, Refusal> {
        let mut peers = self.config.sites.iter().flat_map(|sites| &sites.peer);
        let none = || Refusal::bad(format!("site {} is not a peer of this site", site.0));
        peers.find(|peer| peer.id == site.0).ok_or_else(none)
    }

    /// Refuses what the configuration rules out, and what the replica would end at once: a site
    /// that answers owns its calls.
    pub(super) fn may_activate(
        &self,
        now: Instant,
        site: SiteId,
        force: bool,
    ) -> Result<(), Refusal> {
        let seat = self.tier()?;
        keeps_gate(seat)?;
        let number = site.0;
        match self.peer(site)?.activation {
            Activation::OnMessage | Activation::Operator => {}
            Activation::Refuse => {
                return Err(Refusal::conflict(format!(
                    "`activation = \"refuse\"` in [[sites.peer]] of site {number}: its calls wake \
                     here only to be ended. Where they are to wake, write `operator` or \
                     `on_message` there before they are needed: a restart empties a site"
                )));
            }
        }
        if force || !seat.gate.stats(now).alive.contains_key(&site) {
            return Ok(());
        }
        Err(Refusal::conflict(format!(
            "site {number} answers: its calls are its own; activation is for a site that is gone. \
             Stop site {number} first; order again when `rehome sites` says that it is silent. \
             With `--force` they are taken from it all the same"
        )))
    }

    /// Removes the copies of a site's calls. One that answers goes by what it was told was stored
    /// here: it would say that nothing is at risk.
    fn delete(&mut self, now: Instant, order: BackupOrder) -> Answer {
        let (number, site) = (order.site, SiteId(order.site));
        self.peer(site)?;
        let seat = self.tier()?;
        keeps_gate(seat)?;
        if !order.force && seat.gate.stats(now).alive.contains_key(&site) {
            return Err(Refusal::conflict(format!(
                "site {number} answers: its calls would be unprotected, and it would not know. To \
                 keep copies elsewhere, `rehome replication retarget` at site {number}: those here \
                 go then. With `--force` they are removed all the same; have them sent again with \
                 `rehome replication sweep` at site {number}"
            )));
        }
        self.order(now, site, SiteOrder::DropBackup { site }, "removal has begun")
    }

    pub(super) fn order(
        &mut self,
        now: Instant,
        site: SiteId,
        order: SiteOrder,
        what: &str,
    ) -> Answer {
        let seat = self.tier()?;
        self.peer(site)?;
        keeps_gate(seat)?;
        let whole = seat.progress(now);
        let calls = match order {
            SiteOrder::Replication { .. } | SiteOrder::Sweep { .. } => {
                of_site(&whole.at_risk, site)
            }
            SiteOrder::Compare { .. } => whole.active,
            SiteOrder::ActivateAll { .. }
            | SiteOrder::StopActivating { .. }
            | SiteOrder::DropBackup { .. } => of_site(&whole.dormant, site),
        };
        self.words.push_back(Word::Gate(GateInput::Order(order)));
        tracing::info!(site = site.0, ?order, calls, "an order was given");
        Body::json(&OrderReply { accepted: what.into(), calls })
    }

    /// A fault for tests: one dormant record goes, by a removal that no home ever ordered.
    fn forget(&mut self, now: Instant, key: Option<CallKey>) -> Answer {
        let allowed = self.config.test.allow_forget;
        let seat = self.tier()?;
        if !allowed {
            let error = "set `allow_forget = true` in [test] to lose calls on purpose";
            return Err(Refusal { status: 403, error: error.into() });
        }
        let dormant = |key: CallKey| {
            let story = seat.replica.get(now, key)?;
            let stamp = story.summary.stamp.filter(|_| story.summary.is_dormant)?;
            Some(Tombstone { key, stamp })
        };
        let found = match key {
            Some(key) => dormant(key),
            None => self.first_dormant(seat).and_then(dormant),
        };
        let (Some(tombstone), Some(engine)) = (found, seat.any_engine()) else {
            return Err(Refusal { status: 404, error: "no dormant call can be forgotten".into() });
        };
        let view: ViewNumber = seat.view_number();
        let command = Command::StoreTombstone { view, batch: u64::MAX, tombstone };
        self.words.push_back(Word::Replica(replica::Input::Command { engine, command }));
        tracing::warn!(key = %tombstone.key, "a call was forgotten on purpose");
        Body::json(&OrderReply { accepted: format!("{} is forgotten", tombstone.key), calls: 1 })
    }

    fn first_dormant(&self, seat: &TierSeat) -> Option<CallKey> {
        let mut cursor = None;
        loop {
            let page = seat.replica.calls(cursor, 1_000);
            let found = page.iter().find(|call| call.is_dormant && !call.is_stub);
            if let Some(call) = found {
                return Some(call.key);
            }
            cursor = Some(page.last()?.key);
        }
    }
}
