//! Starts a role and runs its owner until SIGTERM.

use std::fmt;
use std::fs::File;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use engine::Engine;
use replica::Replica;
use replica::gate::Gate;
use tier_protocol::frame::{SiteFrame, TierFrame};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use vocab::{EngineId, Instant};

use crate::balancer_shell::BalancerShell;
use crate::clock::{self, Clock};
use crate::config::{Config, Role};
use crate::coordination::{self, Coordination, Presence};
use crate::database::{self, Database};
use crate::edge::SipDoor;
use crate::event::{self, Event};
use crate::link::{LINK_BYTES_MAX, LinkId, Links};
use crate::names::Names;
use crate::queue::{self, Queue};
use crate::site::{
    EngineSeat, Myself, Peers, Shared, Site, SiteLinks, TierSeat, Uplinks, new_replica_id,
};
use crate::tls::Tls;
use crate::udp::Udp;
use crate::{admin, setting, start_count};

/// Events taken in one turn, before datagrams get theirs.
const EVENTS_PER_TURN: usize = 256;
/// Batches of datagrams taken in one turn.
const RECEIVES_PER_TURN: usize = 4;
/// After SIGTERM, what is on its way may leave for this long.
const DRAIN_FOR: Duration = Duration::from_millis(300);
/// Links of other sites that may be open: each site needs one, and one while it comes back.
const SITE_LINKS_MAX: usize = 64;
/// Threads that look up host names, the only thing here that blocks.
const BLOCKING_THREADS_MAX: usize = 32;
/// Engines linked to a state process, unless configured.
const ENGINES_MAX: usize = 256;

/// Why a node did not start.
#[derive(Debug)]
pub struct StartError {
    what: String,
    why: io::Error,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

impl std::error::Error for StartError {}

/// Names what was tried, so that the message says what to mend.
trait Named<T> {
    fn named(self, what: impl FnOnce() -> String) -> Result<T, StartError>;
}

impl<T> Named<T> for io::Result<T> {
    fn named(self, what: impl FnOnce() -> String) -> Result<T, StartError> {
        self.map_err(|why| StartError { what: what(), why })
    }
}

/// Runs a node until SIGTERM or SIGINT.
///
/// # Errors
/// When an address, a file or a directory of the configuration cannot be used.
pub fn serve(config: Config) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build()
        .named(|| "the runtime cannot be made".into())?;
    runtime.block_on(async {
        match config.role {
            Role::Balancer => serve_balancer(config).await,
            Role::All | Role::State | Role::Engine => serve_site(config).await,
        }
    })
}

/// What the loop below drives.
trait Owner {
    fn datagrams(&self) -> impl Future<Output = ()>;
    fn receive(&mut self, now: Instant) -> usize;
    fn take(&mut self, now: Instant, event: Event);
    fn turn(&mut self, now: Instant);
    fn wake_at(&self) -> Instant;
    fn has_words(&self) -> bool;
    fn drain(&mut self);
}

impl Owner for Site {
    async fn datagrams(&self) {
        Site::datagrams(self).await;
    }
    fn receive(&mut self, now: Instant) -> usize {
        Site::receive(self, now)
    }
    fn take(&mut self, now: Instant, event: Event) {
        Site::take(self, now, event);
    }
    fn turn(&mut self, now: Instant) {
        Site::turn(self, now);
    }
    fn wake_at(&self) -> Instant {
        Site::wake_at(self)
    }
    fn has_words(&self) -> bool {
        Site::has_words(self)
    }
    fn drain(&mut self) {
        Site::drain(self);
    }
}

impl Owner for BalancerShell {
    async fn datagrams(&self) {
        BalancerShell::datagrams(self).await;
    }
    fn receive(&mut self, now: Instant) -> usize {
        BalancerShell::receive(self, now)
    }
    fn take(&mut self, now: Instant, event: Event) {
        BalancerShell::take(self, now, event);
    }
    fn turn(&mut self, now: Instant) {
        BalancerShell::turn(self, now);
    }
    fn wake_at(&self) -> Instant {
        BalancerShell::wake_at(self)
    }
    fn has_words(&self) -> bool {
        false
    }
    fn drain(&mut self) {}
}

/// The loop of every role. Events (heartbeats and tier words among them) come before datagrams.
async fn run(
    owner: &mut impl Owner,
    clock: Clock,
    mut events: mpsc::Receiver<Event>,
) -> Result<(), StartError> {
    let mut terminate =
        signal(SignalKind::terminate()).named(|| "SIGTERM cannot be watched".into())?;
    let mut interrupt =
        signal(SignalKind::interrupt()).named(|| "SIGINT cannot be watched".into())?;
    let mut is_told_to_end = false;
    let mut ends_at: Option<Instant> = None;
    let sleep = tokio::time::sleep(Duration::ZERO);
    tokio::pin!(sleep);
    loop {
        let now = clock.now();
        let mut taken = 0;
        while taken < EVENTS_PER_TURN
            && let Ok(event) = events.try_recv()
        {
            owner.take(now, event);
            taken += 1;
        }
        for _ in 0..RECEIVES_PER_TURN {
            let received = owner.receive(now);
            taken += received;
            if received < crate::udp::BATCH {
                break;
            }
        }
        owner.turn(now);
        if ends_at.is_some_and(|ends_at| ends_at <= clock.now()) {
            tracing::info!("ended");
            return Ok(());
        }
        if taken > 0 || owner.has_words() {
            // Links and sockets get their turn even while there is always more to do.
            tokio::task::yield_now().await;
            continue;
        }
        let wake_at = owner.wake_at().min(ends_at.unwrap_or(Instant::NEVER));
        sleep.as_mut().reset(clock.to_tokio(wake_at));
        tokio::select! {
            biased;
            event = events.recv() => match event {
                Some(event) => owner.take(clock.now(), event),
                None => return Ok(()),
            },
            () = owner.datagrams() => {}
            () = &mut sleep => {}
            _ = terminate.recv() => is_told_to_end = true,
            _ = interrupt.recv() => is_told_to_end = true,
        }
        if is_told_to_end && ends_at.is_none() {
            ends_at = Some(clock.now() + DRAIN_FOR);
            owner.drain();
        }
    }
}

async fn serve_balancer(config: Config) -> Result<(), StartError> {
    let clock = Clock::start();
    let (sender, events) = event::channel();
    let balancer = config.balancer.as_ref().expect("a checked balancer has its section");
    let buffer = config.sip.as_ref().map_or(4 << 20, |sip| sip.receive_buffer_bytes);
    let outer = bind_udp("balancer.listen", balancer.listen, buffer)?;
    let mut inner = bind_udp("balancer.inner", balancer.inner, buffer)?;
    inner.hear_refusals().named(|| "`balancer.inner`: refusals cannot be heard".into())?;
    start_admin(&config, &sender).await?;
    let core = balancer::Balancer::new(clock.now(), setting::balancer(&config, balancer));
    tracing::info!(role = "balancer", listen = %balancer.listen, "ready");
    run(&mut BalancerShell::new(core, clock, outer, inner), clock, events).await
}

async fn serve_site(config: Config) -> Result<(), StartError> {
    let clock = Clock::start();
    let (sender, events) = event::channel();
    let links = links(&config, &sender);
    let site_links = site_links(&config, &links)?;
    let data_dir = config.site.data_dir.as_ref().filter(|_| config.role.has_tier());
    let disk = data_dir.map(|dir| Disk::open(dir)).transpose()?;
    let start = disk.as_ref().map_or(0, |disk| disk.start);
    let id = engine_id(config.role, start);
    let engine = if config.role.has_engine() {
        Some(engine_seat(&config, &sender, clock, id, start)?)
    } else {
        None
    };
    start_admin(&config, &sender).await?;
    let (mut tier, mut lock) = (None, None);
    // The listener stands before any other process can hear of this one.
    listen(&config, &links, &site_links).await?;
    if let Some(disk) = disk {
        let shared = shared(&config, &links, &sender);
        let is_alone = shared.is_none();
        let mut seat =
            tier_seat(&config, clock, start, (&site_links, &sender), engine.as_ref(), shared);
        if is_alone {
            seat.open_gate().named(|| "the queue cannot be opened".into())?;
        }
        tier = Some(seat.with_database(database(&config, &sender)?));
        lock = Some(disk.lock);
    }
    let uplinks = engine.as_ref().filter(|_| tier.is_none()).map(|seat| {
        let addresses = config.tier.as_ref().map(|tier| tier.connect.0.as_slice());
        Uplinks::new(clock.now(), links, id, seat.name.clone(), addresses.unwrap_or_default())
    });
    let mut site = Site::new(config, clock, start, engine, tier, uplinks);
    site.begin();
    let ended = run(&mut site, clock, events).await;
    site.leave().await;
    drop(lock);
    ended
}

/// What all links of the process share.
fn links(config: &Config, sender: &mpsc::Sender<Event>) -> Links {
    Links {
        events: sender.clone(),
        secret: setting::secret(config),
        bytes_max: config.limits.link_bytes_max.unwrap_or(LINK_BYTES_MAX),
        tls: None,
        doors: Arc::default(),
    }
}

/// The same of links to other sites.
fn site_links(config: &Config, links: &Links) -> Result<Links, StartError> {
    let config = Some(config).filter(|config| config.role.has_tier());
    let tls =
        config.map_or(Ok(None), Tls::of_sites).named(|| "[sites.tls] cannot be used".into())?;
    Ok(Links { tls, ..links.clone() })
}

/// The database of the configuration, if it has one.
fn database(config: &Config, sender: &mpsc::Sender<Event>) -> Result<Option<Database>, StartError> {
    let Some(settings) = database::Settings::of(config) else { return Ok(None) };
    let opened = Database::open(&settings, sender.clone()).map_err(io::Error::other);
    opened.named(|| "`database.url`: the database cannot be used".into()).map(Some)
}

/// What a state process among several needs; `None` for one that is alone.
fn shared(config: &Config, links: &Links, sender: &mpsc::Sender<Event>) -> Option<Shared> {
    config.coordination.as_ref()?;
    let name = setting::name(config);
    let myself = Myself {
        replica: new_replica_id(),
        partition: setting::partition(config),
        name: name.clone(),
    };
    let bytes = setting::advertised(config).map(|address| address.to_string().into());
    let presence = Presence { id: name, bytes: bytes.unwrap_or_default() };
    let store = coordination::Store::of(config, 0);
    let setting = coordination::Setting { store, presence: Some(presence) };
    let coordination = Coordination::start(setting, sender.clone());
    Some(Shared::new(Peers::new(links.clone(), myself), coordination))
}

/// Unique among all lives of all engines of the site: by the start count where there is one, else
/// by the moment and the process id.
fn engine_id(role: Role, start: u64) -> EngineId {
    match role {
        Role::All => EngineId(start << 16),
        Role::State | Role::Engine | Role::Balancer => {
            let process = u64::from(std::process::id()) & 0xffff;
            // The highest bit keeps these apart from numbers that come from a start count.
            EngineId(1 << 63 | (clock::wall_time().0 << 16 | process))
        }
    }
}

fn engine_seat(
    config: &Config,
    sender: &mpsc::Sender<Event>,
    clock: Clock,
    id: EngineId,
    start: u64,
) -> Result<EngineSeat, StartError> {
    let sip = config.sip.as_ref().expect("a checked engine has its section");
    let door = match (&sip.edge, sip.listen) {
        (Some(edge), _) => {
            let udp = bind_udp("sip.edge", edge.listen, sip.receive_buffer_bytes)?;
            SipDoor::framed(udp, setting::secret(config), id, &edge.balancers)
        }
        (None, listen) => {
            let listen = listen.expect("a checked engine listens or has an edge");
            SipDoor::direct(bind_udp("sip.listen", listen, sip.receive_buffer_bytes)?)
        }
    };
    let view = setting::view(config, start);
    let core = Engine::new(clock.now(), setting::engine(config, id, start, view));
    let name = config.tier.as_ref().map_or_else(String::new, |tier| tier.name.clone());
    Ok(EngineSeat::new(core, id, name, door, Names::new(sender.clone())))
}

/// What a site keeps on its disk beside the queue.
struct Disk {
    /// Held for as long as the process lives.
    lock: File,
    start: u64,
}

impl Disk {
    fn open(data_dir: &Path) -> Result<Self, StartError> {
        let named = |what: &str| format!("`data_dir` {}: {what}", data_dir.display());
        let lock = start_count::lock(data_dir).named(|| named("it cannot be used"))?;
        let start = start_count::count(data_dir).named(|| named("the start is not counted"))?;
        Ok(Self { lock, start })
    }
}

fn tier_seat(
    config: &Config,
    clock: Clock,
    start: u64,
    (links, sender): (&Links, &mpsc::Sender<Event>),
    engine: Option<&EngineSeat>,
    shared: Option<Shared>,
) -> TierSeat {
    let now = clock.now();
    let gate = setting::gate(config, start);
    let settings = queue::Settings::of(config).expect("a process with a disk keeps calls");
    let answers = sender.clone();
    let open_queue = move |opening| {
        let opened = Queue::open(&settings, opening, answers.clone());
        opened.map_err(|error| io::Error::other(format!("{}: {error}", settings.named())))
    };
    let among = shared.as_ref().map(|shared| shared.peers.myself().replica);
    TierSeat::new(
        Replica::new(now, setting::replica(config, start, among)),
        Gate::new(now, gate),
        Box::new(open_queue),
        shared,
        engine.map(|seat| seat.id),
        SiteLinks::new(config, Some(links.clone())),
    )
}

/// Listens to engines, replicas and sites.
async fn listen(config: &Config, links: &Links, site_links: &Links) -> Result<(), StartError> {
    let listen = config.tier.as_ref().and_then(|tier| tier.listen);
    if let Some(listen) = listen.filter(|_| config.role == Role::State) {
        let engines_max = config.limits.engines_max.unwrap_or(ENGINES_MAX);
        let listener = bind_tcp("tier.listen", listen).await?;
        links.listen::<TierFrame>(listener, engines_max, LinkId::Engine);
    }
    let Some(sites) = config.sites.as_ref().filter(|_| config.role.has_tier()) else {
        return Ok(());
    };
    let listener = bind_tcp("sites.listen", sites.listen).await?;
    site_links.listen::<SiteFrame>(listener, SITE_LINKS_MAX, LinkId::FromSite);
    Ok(())
}

async fn start_admin(config: &Config, sender: &mpsc::Sender<Event>) -> Result<(), StartError> {
    let Some(admin) = &config.admin else { return Ok(()) };
    let listener = bind_tcp("admin.listen", admin.listen).await?;
    admin::start(listener, sender.clone(), admin.token.as_ref().map(|token| token.0.clone()));
    Ok(())
}

fn bind_udp(word: &str, address: SocketAddr, buffer: usize) -> Result<Udp, StartError> {
    Udp::bind(address, buffer).named(|| format!("`{word}`: UDP {address} cannot be bound"))
}

async fn bind_tcp(word: &str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.named(|| format!("`{word}`: TCP {address} cannot be bound"))
}
