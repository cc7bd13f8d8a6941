//! Two sites of many processes with a wide-area network between them: each site on a host of its
//! own, balancer and SIPp on a third; etcd, NATS and PostgreSQL are real at both.
//!
//! A host is a network namespace; `xtask wan` is the network. A site dies as with its power: the
//! world stops hearing it at one moment, before any of its processes is killed, and no connection
//! to it is ever reset.

use std::net::SocketAddr;
use std::time::Duration;

use admin_api::CallLine;

use super::many_sites::{Layout, ManySites};
use super::netns::{self, Wan};
use super::sipp::{Load, Sipp};
use super::stage::Stage;
use super::wait_for;

const SOON: Duration = Duration::from_secs(30);

/// Dropped in this order.
pub(crate) struct Ground {
    pub(crate) sites: ManySites,
    pub(crate) wan: Wan,
    /// Whom engines call.
    pub(crate) callee: SocketAddr,
    pub(crate) stage: Stage,
}

impl Ground {
    /// Starts everything, with 40 ms each way between the sites; returns when calls can be placed.
    pub(crate) fn start(name: &'static str, layout: Layout) -> Self {
        Self::start_with(name, |_| layout)
    }

    /// The same with a layout that needs to know the test's stage, of which SIPp's host is known.
    pub(crate) fn start_with(name: &'static str, layout: impl FnOnce(&Stage) -> Layout) -> Self {
        let mut stage = Stage::new(name);
        let mut wan = Wan::start(&["one", "two", "edge"]);
        wan.say("link one two delay_ms=40");
        stage.move_to(wan.host("edge"));
        let layout = Layout {
            sites: ["one", "two"].map(|name| Some(wan.host(name))),
            edge: Some(wan.host("edge")),
            ..layout(&stage)
        };
        let callee = phone(&stage);
        let sites = ManySites::start_on(&stage, callee, &layout);
        Self { sites, wan, callee, stage }
    }

    /// SIPp whom engines call.
    pub(crate) fn callee(&self, scenario: &str, calls: u32) -> Sipp {
        Sipp::callee(&self.stage, scenario, self.callee, calls)
    }

    /// SIPp that calls through the balancer.
    pub(crate) fn caller(&self, name: &str, scenario: &str, load: &Load) -> Sipp {
        Sipp::caller_named(&self.stage, name, scenario, [phone(&self.stage), self.sites.edge], load)
    }

    /// Site 1 is gone; its calls and all new ones go to site 2. Returns what it had marked.
    pub(crate) fn lose_site_1(&mut self) -> Vec<CallLine> {
        self.wan.say("isolate one");
        let marked = self.sites.one.freeze_and_kill();
        self.sites.balancer.admin().route(1, 2, &[(1, 0), (2, 1)]);
        marked
    }

    /// Site 1 starts again, empty.
    pub(crate) fn site_1_returns(&mut self) {
        self.wan.say("heal all");
        self.sites.one.start_again();
    }

    /// Waits until site 2 has applied all that had come to it.
    pub(crate) fn wait_applied(&mut self) {
        wait_for("an empty inbox", SOON, || {
            let waiting: u64 =
                self.sites.two.statuses().iter().map(|status| status.inbox_batches).sum();
            (waiting == 0).then_some(())
        });
    }
}

/// An address that nobody uses on the host of SIPp.
pub(crate) fn phone(stage: &Stage) -> SocketAddr {
    netns::at(stage.host(), stage.address())
}
