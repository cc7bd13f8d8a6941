//! One site as separate processes without a SIP-aware edge: a state process and two engines behind
//! a plain datagram round robin. The first engine's tier link has a tap.

use std::net::SocketAddr;
use std::time::Duration;

use super::config::{self, Door};
use super::process::Node;
use super::round_robin::RoundRobin;
use super::stage::Stage;
use super::tap::Tap;

/// State process, two engines, round robin, tap.
pub(crate) struct DirectSite {
    pub(crate) state: Node,
    pub(crate) engines: [Node; 2],
    pub(crate) front: RoundRobin,
    pub(crate) tap: Tap,
}

impl DirectSite {
    /// Starts all of it; returns when both engines take calls.
    pub(crate) fn start(stage: &Stage, callee: SocketAddr, t1: Duration) -> Self {
        Self::start_with(stage, callee, t1, "")
    }

    /// The same, with `more` in the configuration of each engine.
    pub(crate) fn start_with(stage: &Stage, callee: SocketAddr, t1: Duration, more: &str) -> Self {
        let [tier, state_admin, tapped, outside] = [(); 4].map(|()| stage.address());
        let data = stage.path(&format!("data{}", outside.port()));
        std::fs::create_dir_all(&data).expect("the test's folder is writable");
        let text = config::head("state", 1, Some(&data), state_admin) + &config::tier_listen(tier);
        let state = Node::start(stage, &format!("state{}", tier.port()), &text, state_admin);
        let tap = Tap::start(tapped, tier);
        let [sip_1, sip_2] = [(); 2].map(|()| stage.address());
        let t1_ms = u64::try_from(t1.as_millis()).expect("T1 is short");
        let engine = |name: &str, listen: SocketAddr, connect: SocketAddr| {
            let admin = stage.address();
            let text = config::head("engine", 1, None, admin)
                + &config::sip(outside, &Door::Listen(listen), callee, t1_ms)
                + &config::tier_connect(connect, name)
                + more;
            Node::start(stage, &format!("{name}-{}", tier.port()), &text, admin)
        };
        let engines = [engine("e1", sip_1, tap.address()), engine("e2", sip_2, tier)];
        let front = RoundRobin::start(outside, [sip_1, sip_2]);
        let mut site = Self { state, engines, front, tap };
        site.wait_ready();
        site
    }

    /// Waits until both engines have their link to the state process.
    pub(crate) fn wait_ready(&mut self) {
        self.state.wait_serving();
        for engine in &mut self.engines {
            wait_linked(engine);
        }
        self.state.wait_until("has two engines", Duration::from_secs(10), |status| {
            status.engines_alive == 2
        });
    }
}

/// Waits until an engine process has its link.
pub(crate) fn wait_linked(engine: &mut Node) {
    engine.wait_until("is linked to its state process", Duration::from_secs(15), |status| {
        status.state == "serving" && status.engine.is_some_and(|engine| engine.tier_up)
    });
}
