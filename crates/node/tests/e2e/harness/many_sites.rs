//! Two sites of many processes behind one balancer, each with its own etcd and NATS server, and a
//! PostgreSQL server where the test asks for it.
//!
//! All of it is on loopback, or each site on a host of a network: inside, a host is loopback too.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use admin_api::{CallLine, CallsReply, CrossingLag, StatusReply};

use super::admin::Admin;
use super::certificates::CertificateFiles;
use super::config::{self, Door};
use super::direct_site::wait_linked;
use super::judged::{DEAD_AFTER, HEALTHY_AFTER};
use super::netns::{self, Host};
use super::process::Node;
use super::servers::etcd::Etcd;
use super::servers::nats::Nats;
use super::servers::postgres::Postgres;
use super::stage::Stage;
use super::wait_for;

/// Partitions of a site.
const PARTITIONS: u16 = 2;
/// Members of a full view.
const REPLICAS: u16 = 2;
/// Patience with what takes a few seconds at most.
const SOON: Duration = Duration::from_secs(30);

/// Where two sites are, and what they have beyond the usual.
#[derive(Clone, Default)]
pub(crate) struct Layout {
    /// By site; loopback where there is none.
    pub(crate) sites: [Option<Host>; 2],
    /// Of the balancer.
    pub(crate) edge: Option<Host>,
    /// Each site has a PostgreSQL server, and this in its `[spill]`.
    pub(crate) spill: Option<&'static str>,
    /// More of the state processes' configuration.
    pub(crate) states: &'static str,
    /// T1 of the engines; 500 where there is none.
    pub(crate) t1_ms: Option<u64>,
    /// Calls cross while they ring.
    pub(crate) is_early: bool,
    /// The balancer judges the sites, and acts upon a death.
    pub(crate) auto_failover: bool,
    /// Phones are sent to the site where their call lives; only where each has an edge of its own.
    pub(crate) is_redirecting: bool,
    /// How long a returning site waits for the other one; 5 where there is none.
    pub(crate) return_wait_s: Option<u64>,
    /// By site; links between the sites are encrypted where there are some.
    pub(crate) certificates: Option<[CertificateFiles; 2]>,
    /// Whom the engines of site 2 call, where it is not whom those of site 1 call.
    pub(crate) callee_of_two: Option<SocketAddr>,
}

impl Layout {
    /// `[sip]` and what applications need, of an engine of this site.
    fn sip(&self, id: u16, front: &Front, door: &Door) -> String {
        let of_two = self.callee_of_two.filter(|_| id == 2);
        let callee = of_two.unwrap_or(front.callee);
        let sip = config::sip(&front.advertise, door, callee, self.t1_ms.unwrap_or(500));
        if self.is_early { config::early(&sip) } else { sip }
    }

    /// `[sites]` of a process of site `id`.
    fn sites(&self, listen: SocketAddr, id: u16, front: &Front, peers: &[SocketAddr]) -> String {
        let text = config::sites_of(listen, 3 - id, peers, self.return_wait_s.unwrap_or(5));
        let redirect = front.redirect.map(|edge| format!("redirect = \"{edge}\"\n\n"));
        text.trim_end().to_owned() + "\n" + &redirect.unwrap_or_else(|| "\n".into())
    }
}

/// One of the sites.
pub(crate) struct ManySite {
    id: u16,
    host: Option<Host>,
    etcd: Etcd,
    nats: Nats,
    postgres: Option<Postgres>,
    /// In order of partitions; with what is up.
    pub(crate) states: Vec<(Node, bool)>,
    pub(crate) engines: Vec<Node>,
    /// Where state processes take engines, and who speaks as one.
    pub(crate) tiers: Vec<SocketAddr>,
}

/// Balancer, site 1 and site 2. New calls go to site 1.
pub(crate) struct ManySites {
    /// Where SIP is sent.
    pub(crate) edge: SocketAddr,
    /// Whom the engines of site 2 call.
    pub(crate) callee_of_two: SocketAddr,
    pub(crate) balancer: Node,
    pub(crate) one: ManySite,
    pub(crate) two: ManySite,
}

/// What is in front of a site.
pub(crate) struct Front {
    /// What Via and Contact name.
    pub(crate) advertise: String,
    /// The balancer's door for engines.
    pub(crate) inner: SocketAddr,
    pub(crate) callee: SocketAddr,
    /// Where phones are sent whose calls live at the other site; these are passed on where there
    /// is none.
    pub(crate) redirect: Option<SocketAddr>,
}

/// The addresses of a site that others have to know before it starts.
pub(crate) struct Doors {
    /// Of engines, for the balancer.
    pub(crate) engines: [SocketAddr; 2],
    /// Of state processes, for the other site.
    pub(crate) states: Vec<SocketAddr>,
    /// Where state processes are asked, for the balancer.
    admins: Vec<SocketAddr>,
}

impl Doors {
    pub(crate) fn of(stage: &Stage, host: Option<&Host>) -> Self {
        let address = || netns::at(host, stage.address());
        let states = (0..PARTITIONS * REPLICAS).map(|_| address()).collect();
        let admins = (0..PARTITIONS * REPLICAS).map(|_| stage.address()).collect();
        Self { engines: [(); 2].map(|()| address()), states, admins }
    }
}

impl ManySites {
    /// Starts everything; returns when calls can be placed.
    pub(crate) fn start(stage: &Stage, callee: SocketAddr) -> Self {
        Self::start_on(stage, callee, &Layout::default())
    }

    /// The same with another layout.
    pub(crate) fn start_on(stage: &Stage, callee: SocketAddr, layout: &Layout) -> Self {
        let in_front = layout.edge.as_ref();
        let [edge, inner] = [(); 2].map(|()| netns::at(in_front, stage.address()));
        let doors = layout.sites.each_ref().map(|host| Doors::of(stage, host.as_ref()));
        let [of_1, of_2] = doors.each_ref().map(|doors| &doors.engines[..]);
        let admin = stage.address();
        let mut text = config::balancer(admin, edge, inner, &[(1, of_1, 1), (2, of_2, 0)]);
        if layout.auto_failover {
            let admins = [(1, &doors[0].admins[..]), (2, &doors[1].admins)];
            text = config::judging(&text, true, [DEAD_AFTER, HEALTHY_AFTER], &admins);
        }
        let balancer = Node::start_on(in_front, stage, "balancer", &text, admin);
        let front = Front { advertise: edge.to_string(), inner, callee, redirect: None };
        let one = ManySite::start(stage, 1, &front, &doors, layout);
        let two = ManySite::start(stage, 2, &front, &doors, layout);
        let callee_of_two = layout.callee_of_two.unwrap_or(callee);
        let mut sites = Self { edge, callee_of_two, balancer, one, two };
        sites.one.wait_ready(2);
        sites.two.wait_ready(1);
        sites.wait_engines_of(&[1, 2]);
        sites
    }

    /// Waits until the balancer hears every engine of the sites.
    pub(crate) fn wait_engines_of(&mut self, sites: &[u16]) {
        self.balancer.wait_until("hears the engines", SOON, |status| {
            status.balancer.as_ref().is_some_and(|seen| {
                let mut wanted = seen.engines.iter().filter(|engine| sites.contains(&engine.site));
                wanted.all(|engine| engine.health == admin_api::Health::Up)
            })
        });
    }

    /// Waits until no call of site 1 would be lost with it.
    pub(crate) fn wait_crossed(&mut self, calls: u64) {
        wait_for("nothing at risk", SOON, || {
            let led = self.one.led();
            let active: u64 = led.iter().map(|status| status.calls_active).sum();
            let risks = led.iter().flat_map(|status| status.at_risk.values());
            let at_risk: u64 = risks.map(|risk| risk.calls + risk.in_set_up).sum();
            (active >= calls && at_risk == 0).then_some(())
        });
        wait_for("every call dormant", SOON, || (self.two.dormant(1) == calls).then_some(()));
    }
}

impl ManySite {
    /// Starts the processes of site `id`. `doors`: of both sites.
    pub(crate) fn start(
        stage: &Stage,
        id: u16,
        front: &Front,
        doors: &[Doors; 2],
        layout: &Layout,
    ) -> Self {
        let index = usize::from(id) - 1;
        let (ours, peers) = (&doors[index], &doors[1 - index].states);
        let host = layout.sites[index].clone();
        let mut site = Self::with_servers(stage, id, host, layout);
        let more = site.more(layout);
        for (index, (listen, admin)) in ours.states.iter().zip(&ours.admins).enumerate() {
            let (admin, tier) = (*admin, stage.address());
            let partition = u16::try_from(index).expect("a few") / REPLICAS;
            let name = format!("site{id}-s{index}");
            let data = stage.path(&format!("data-{name}"));
            std::fs::create_dir_all(&data).expect("the test's folder is writable");
            let text = config::head("state", id, Some(&data), admin)
                + &config::tier_shared(tier, tier, &name, (partition, PARTITIONS, REPLICAS))
                + &config::coordination(&[site.etcd.endpoint()])
                + &format!("[queue]\nurl = \"nats://{}\"\n\n", site.nats.address())
                + &more
                + &layout.sites(*listen, id, front, peers);
            let node = Node::start_on(site.host.as_ref(), stage, &name, &text, admin);
            site.states.push((node, true));
            site.tiers.push(tier);
        }
        for (index, listen) in ours.engines.iter().enumerate() {
            let admin = stage.address();
            let name = format!("site{id}-e{index}");
            let door = Door::Edge { listen: *listen, balancer: front.inner };
            let text = config::head("engine", id, None, admin)
                + &layout.sip(id, front, &door)
                + &config::tier_connect_all(&site.tiers, &name)
                + &layout.sites(admin, id, front, peers);
            site.engines.push(Node::start_on(site.host.as_ref(), stage, &name, &text, admin));
        }
        site
    }

    fn with_servers(stage: &Stage, id: u16, host: Option<Host>, layout: &Layout) -> Self {
        let folder = stage.path(&format!("servers-{id}"));
        std::fs::create_dir_all(&folder).expect("the test's folder is writable");
        let (etcd, nats, postgres) = netns::on(host.as_ref(), || {
            let postgres = layout.spill.map(|_| Postgres::start(&folder));
            (Etcd::start(&folder), Nats::start(&folder), postgres)
        });
        let (states, engines, tiers) = (Vec::new(), Vec::new(), Vec::new());
        Self { id, host, etcd, nats, postgres, states, engines, tiers }
    }

    /// What the layout adds to each state process.
    fn more(&self, layout: &Layout) -> String {
        let database = self.postgres.iter().zip(layout.spill).map(|(postgres, spill)| {
            format!("[database]\nurl = \"{}\"\n\n[spill]\n{spill}\n\n", postgres.url())
        });
        let certificates = layout.certificates.as_ref();
        let certificates =
            certificates.map(|all| config::sites_tls(&all[usize::from(self.id) - 1]));
        database.collect::<String>() + layout.states + &certificates.unwrap_or_default()
    }

    /// Waits until every view is full, the engines serve, and the gate hears the other site.
    pub(crate) fn wait_ready(&mut self, other: u16) {
        wait_for("full views", SOON, || {
            let led = self.led();
            let is_full = |status: &StatusReply| {
                let view = status.view.as_ref().expect("it leads one");
                view.members == u64::from(REPLICAS) && view.joining == 0
            };
            (led.len() == usize::from(PARTITIONS) && led.iter().all(is_full)).then_some(())
        });
        self.engines.iter_mut().for_each(wait_linked);
        self.wait_linked_to(other);
    }

    /// Waits until the gate hears the other site.
    pub(crate) fn wait_linked_to(&mut self, other: u16) {
        wait_for("the other site", SOON, || {
            let hears = |status: &StatusReply| status.peers.get(&other).is_some_and(|p| p.alive);
            self.statuses().iter().any(hears).then_some(())
        });
    }

    /// Whether the keeper of the gate has an encrypted link to the other site, and nobody another.
    pub(crate) fn link_is_encrypted(&mut self, other: u16) -> bool {
        let told = self.statuses();
        let links = told.iter().filter_map(|status| status.peers.get(&other)?.encrypted);
        let links: Vec<bool> = links.collect();
        !links.is_empty() && links.iter().all(|is_encrypted| *is_encrypted)
    }

    /// What the state processes that are up say of themselves.
    pub(crate) fn statuses(&mut self) -> Vec<StatusReply> {
        let up = self.states.iter_mut().filter(|(_, is_up)| *is_up);
        up.filter_map(|(node, _)| node.try_status()).collect()
    }

    /// What the primaries say of themselves.
    pub(crate) fn led(&mut self) -> Vec<StatusReply> {
        let mut told = self.statuses();
        told.retain(|status| status.view.as_ref().is_some_and(|view| view.role == "primary"));
        told
    }

    /// Waits until the gate misses the other site.
    pub(crate) fn wait_silent(&mut self, other: u16) {
        wait_for("the silence of the other site", SOON, || {
            let hears = |status: &StatusReply| status.peers.get(&other).is_some_and(|p| p.alive);
            let told = self.statuses();
            (!told.is_empty() && !told.iter().any(hears)).then_some(())
        });
    }

    /// Where the process is asked that keeps the site's gate.
    pub(crate) fn keeper(&mut self) -> Admin {
        let first = self.primary(0);
        self.states[first].0.admin()
    }

    /// The state process that leads a partition.
    pub(crate) fn primary(&mut self, partition: u16) -> usize {
        wait_for("a primary", SOON, || {
            self.states.iter_mut().position(|(node, is_up)| {
                let status = if *is_up { node.try_status() } else { None };
                let view = status.and_then(|status| status.view);
                view.is_some_and(|view| view.role == "primary" && view.partition == partition)
            })
        })
    }

    /// Calls that sleep here for another site.
    pub(crate) fn dormant(&mut self, home: u16) -> u64 {
        self.led().iter().filter_map(|status| status.calls_dormant.get(&home)).sum()
    }

    /// Calls of other homes that woke here.
    pub(crate) fn activated(&mut self) -> u64 {
        self.led().iter().map(|status| status.activated).sum()
    }

    /// Calls that live here.
    pub(crate) fn active(&mut self) -> u64 {
        self.led().iter().map(|status| status.calls_active).sum()
    }

    /// SIGKILL to one state process.
    pub(crate) fn kill_state(&mut self, index: usize) {
        let (node, is_up) = &mut self.states[index];
        node.kill();
        *is_up = false;
    }

    /// Starts a state process after a kill: it comes empty.
    pub(crate) fn start_state(&mut self, index: usize) {
        let (node, is_up) = &mut self.states[index];
        node.start_again();
        *is_up = true;
    }

    /// The state processes of a partition.
    pub(crate) fn replicas(partition: u16) -> std::ops::Range<usize> {
        let first = usize::from(partition * REPLICAS);
        first..first + usize::from(REPLICAS)
    }

    /// Calls that are in the database, as the primaries know it.
    pub(crate) fn in_database(&mut self) -> u64 {
        let led = self.led();
        led.iter().filter_map(|status| status.database.as_ref()).map(|one| one.calls).sum()
    }

    /// The host that it is on.
    pub(crate) fn host(&self) -> Option<&Host> {
        self.host.as_ref()
    }

    /// Marks of calls, whatever their state.
    pub(crate) fn at_risk(&mut self) -> u64 {
        let led = self.led();
        let risks = led.iter().flat_map(|status| status.at_risk.values());
        risks.map(|risk| risk.calls + risk.in_set_up).sum()
    }

    /// Bytes that crossed from here, compressed, and the call states in them.
    #[allow(dead_code, reason = "`bench crossing` reads it")]
    pub(crate) fn crossed_out(&mut self) -> (u64, u64) {
        let led = self.led();
        let all = led.iter().map(|status| status.crossing);
        all.fold((0, 0), |(bytes, calls), one| (bytes + one.bytes_out, calls + one.calls_out))
    }

    /// CPU time of its state processes and engines so far, in nanoseconds.
    #[allow(dead_code, reason = "`bench crossing` reads it")]
    pub(crate) fn cpu_ns(&self) -> u64 {
        let states = self.states.iter().map(|(node, _)| node);
        states.chain(&self.engines).map(Node::cpu_ns).sum()
    }

    /// A counter, over all state processes that are up.
    pub(crate) fn counter(&mut self, name: &str) -> u64 {
        let told = self.statuses();
        told.iter().filter_map(|status| status.counters.get(name)).sum()
    }

    /// How long states took to cross to site `to`, of all partitions.
    pub(crate) fn lag(&mut self, to: u16) -> CrossingLag {
        let mut all = CrossingLag::default();
        for lag in self.led().into_iter().filter_map(|mut status| status.crossing_lag.remove(&to)) {
            all.sum_ms += lag.sum_ms;
            if all.ranges.is_empty() {
                all.ranges = lag.ranges;
                continue;
            }
            for (range, more) in all.ranges.iter_mut().zip(lag.ranges) {
                range.calls += more.calls;
            }
        }
        all
    }

    /// The calls whose newest state has yet to cross, as the primaries list them.
    fn marked(&mut self) -> Vec<CallLine> {
        self.calls("marked=true&")
    }

    /// The keys of calls that live here, asleep neither for another site nor on their way home.
    pub(crate) fn living(&mut self) -> BTreeSet<String> {
        let id = self.id;
        let living = self.calls("").into_iter().filter(|call| call.home == id && !call.dormant);
        living.map(|call| call.key).collect()
    }

    /// Calls as the primaries list them. `wanted`: `NAME=VALUE&`.
    fn calls(&mut self, wanted: &str) -> Vec<CallLine> {
        let mut calls = Vec::new();
        for partition in 0..PARTITIONS {
            let primary = self.primary(partition);
            let admin = self.states[primary].0.admin();
            let mut path = format!("/v1/calls?{wanted}limit=1000");
            loop {
                let page = admin.get::<CallsReply>(&path).expect("a primary lists its calls");
                calls.extend(page.calls);
                let Some(next) = page.next else { break };
                path = format!("/v1/calls?{wanted}limit=1000&cursor={next}");
            }
        }
        calls
    }

    /// Rows of calls in the database itself; 0 where there is none.
    pub(crate) fn rows(&self) -> u64 {
        let count = format!("SELECT count(*) FROM rehome_site{}.record", self.id);
        let rows = self.postgres.as_ref().and_then(|postgres| postgres.query(&count));
        rows.map_or(0, |rows| rows.parse().expect("a count"))
    }

    /// The end of a site that nobody hears any more: its engines are stopped, and once what they
    /// had said is put its marks are read; then all the rest is stopped, and everything killed.
    /// Returns the calls that were marked.
    pub(crate) fn freeze_and_kill(&mut self) -> Vec<CallLine> {
        self.engines.iter().for_each(|engine| engine.signal("-STOP"));
        let mut before = None;
        wait_for("the last put", SOON, || {
            let puts = Some(self.counter("replica_puts"));
            (std::mem::replace(&mut before, puts) == puts).then_some(())
        });
        let marked = self.marked();
        self.states.iter().filter(|(_, is_up)| *is_up).for_each(|(node, _)| node.signal("-STOP"));
        self.nats.pause();
        self.etcd.pause();
        self.kill();
        marked
    }

    /// SIGKILL to every process of the site, its servers too.
    pub(crate) fn kill(&mut self) {
        for (node, is_up) in self.states.iter_mut().filter(|(_, is_up)| *is_up) {
            node.kill();
            *is_up = false;
        }
        self.engines.iter_mut().for_each(Node::kill);
        self.nats.kill();
        self.etcd.kill();
        self.postgres.iter_mut().for_each(Postgres::kill);
    }

    /// Starts everything after a kill: servers with what their disks have, the rest empty.
    pub(crate) fn start_again(&mut self) {
        self.start_processes();
        self.wait_ready(3 - self.id);
    }

    /// The same, and nothing is waited for.
    pub(crate) fn start_processes(&mut self) {
        let (etcd, nats, postgres) = (&mut self.etcd, &mut self.nats, &mut self.postgres);
        netns::on(self.host.as_ref(), || {
            postgres.iter_mut().for_each(Postgres::start_again);
            etcd.start_again();
            nats.start_again();
        });
        for (node, is_up) in &mut self.states {
            node.start_again();
            *is_up = true;
        }
        self.engines.iter_mut().for_each(Node::start_again);
    }
}
