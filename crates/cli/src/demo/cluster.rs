//! The processes of a demo: one balancer and two whole sites on free ports of loopback.
//!
//! Each is this very executable, `rehome serve --config FILE`. They are ended by their ids when
//! the demo ends, however it ends: the value that holds them kills them when it is dropped.

use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::admin::Admin;
use super::problem::Problem;
use super::stop::Stop;

/// A process that does not serve within this time never will.
const START_PATIENCE: Duration = Duration::from_secs(15);

/// What the demo says to its processes besides their ports.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    /// Session-Expires, in seconds; half of it passes between two refreshes.
    pub(super) session_expires_s: u32,
    /// Lets site 2 forget a call on demand.
    pub(super) allow_forget: bool,
}

/// The balancer and both sites.
pub(super) struct Cluster {
    executable: PathBuf,
    directory: PathBuf,
    ports: Ports,
    balancer: Option<Child>,
    sites: [Option<Child>; 2],
}

struct Ports {
    /// Where the outside sends SIP.
    edge: SocketAddr,
    inner: SocketAddr,
    balancer_admin: SocketAddr,
    sites: [SitePorts; 2],
}

struct SitePorts {
    edge: SocketAddr,
    link: SocketAddr,
    admin: SocketAddr,
}

impl Cluster {
    /// Writes the configurations and starts the processes; `callee` is where calls go on to.
    pub(super) fn start(
        directory: &Path,
        callee: SocketAddr,
        setting: Setting,
    ) -> Result<Self, Problem> {
        let executable = std::env::current_exe()
            .map_err(Problem::during("cannot find the program that is running"))?;
        let ports = Ports::find().map_err(Problem::during("cannot find free ports"))?;
        let directory = directory.to_path_buf();
        let secret = secret();
        let write = |name: &str, text: String| {
            let path = directory.join(format!("{name}.toml"));
            fs::write(&path, text).map_err(Problem::during(path.display()))
        };
        write("balancer", ports.balancer_config(&secret))?;
        for site in [1, 2] {
            let data = directory.join(format!("site{site}"));
            fs::create_dir_all(&data).map_err(Problem::during(data.display()))?;
            write(
                &format!("site{site}"),
                ports.site_config(site, &secret, &data, callee, setting),
            )?;
        }
        let mut cluster =
            Self { executable, directory, ports, balancer: None, sites: [None, None] };
        cluster.balancer = Some(cluster.spawn("balancer")?);
        for site in [1, 2] {
            cluster.start_site(site)?;
        }
        Ok(cluster)
    }

    /// Starts the process of a site, anew after a kill: same configuration, same data.
    pub(super) fn start_site(&mut self, site: u16) -> Result<(), Problem> {
        let child = self.spawn(&format!("site{site}"))?;
        self.sites[index(site)] = Some(child);
        Ok(())
    }

    /// SIGKILL: nothing is drained, nothing is said, nothing is written.
    pub(super) fn kill_site(&mut self, site: u16) -> Result<(), Problem> {
        let Some(mut child) = self.sites[index(site)].take() else { return Ok(()) };
        child.kill().map_err(Problem::during(format!("cannot kill site {site}")))?;
        child.wait().map_err(Problem::during(format!("cannot kill site {site}")))?;
        Ok(())
    }

    /// Where SIP is sent.
    pub(super) fn edge(&self) -> SocketAddr {
        self.ports.edge
    }

    pub(super) fn balancer(&self) -> Admin {
        Admin(self.ports.balancer_admin)
    }

    pub(super) fn site(&self, site: u16) -> Admin {
        Admin(self.ports.sites[index(site)].admin)
    }

    /// Waits until both sites serve, hear each other, and the balancer has found them.
    pub(super) fn wait_until_ready(&mut self, stop: &Stop) -> Result<(), Problem> {
        for site in [1, 2] {
            self.wait_until_serving(stop, site)?;
            let admin = self.site(site);
            let hears = stop.wait_for(START_PATIENCE, || {
                let status = admin.status()?;
                Ok(status.peers.values().all(|peer| peer.alive).then_some(()))
            })?;
            hears
                .ok_or_else(|| Problem::new(format!("site {site} does not hear the other one")))?;
        }
        Ok(())
    }

    /// Waits until a site serves, and until the balancer knows it.
    pub(super) fn wait_until_serving(&mut self, stop: &Stop, site: u16) -> Result<(), Problem> {
        let admin = self.site(site);
        let mut last = String::new();
        let serves = stop.wait_for(START_PATIENCE, || {
            self.check_alive()?;
            match admin.status() {
                Ok(status) if status.state == "serving" => return Ok(Some(())),
                Ok(status) => last = format!("its state is {:?}", status.state),
                Err(problem) => last = problem.0,
            }
            Ok(None)
        })?;
        serves.ok_or_else(|| Problem::new(format!("site {site} does not serve: {last}")))?;
        let balancer = self.balancer();
        let found = stop.wait_for(START_PATIENCE, || {
            self.check_alive()?;
            let seen = balancer.status().ok().and_then(|status| status.balancer);
            let up = seen.is_some_and(|seen| {
                seen.engines
                    .iter()
                    .any(|engine| engine.site == site && engine.health == admin_api::Health::Up)
            });
            Ok(up.then_some(()))
        })?;
        found.ok_or_else(|| Problem::new(format!("the balancer does not find site {site}")))
    }

    /// An error when a process that should run has ended.
    pub(super) fn check_alive(&mut self) -> Result<(), Problem> {
        let [one, two] = &mut self.sites;
        for (name, child) in [("balancer", &mut self.balancer), ("site1", one), ("site2", two)] {
            let Some(child) = child else { continue };
            if let Ok(Some(status)) = child.try_wait() {
                let log = self.directory.join(format!("{name}.log"));
                let tail = tail_of(&log);
                return Err(Problem::new(format!("{name} ended by itself, {status}:\n{tail}")));
            }
        }
        Ok(())
    }

    fn spawn(&self, name: &str) -> Result<Child, Problem> {
        let log = self.directory.join(format!("{name}.log"));
        let open = || File::options().create(true).append(true).open(&log);
        let (out, err) = (
            open().map_err(Problem::during(log.display()))?,
            open().map_err(Problem::during(log.display()))?,
        );
        Command::new(&self.executable)
            .arg("serve")
            .arg("--config")
            .arg(self.directory.join(format!("{name}.toml")))
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(Problem::during(format!("cannot start {}", self.executable.display())))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let children = self.sites.iter_mut().chain([&mut self.balancer]);
        for child in children.filter_map(Option::as_mut) {
            // One that has ended already is what is wanted.
            let _ended = child.kill();
            let _ended = child.wait();
        }
    }
}

impl Ports {
    /// Asks the system for free ports, all at once so that no two are the same.
    fn find() -> io::Result<Self> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let udp = [(); 4].map(|()| UdpSocket::bind(any));
        let tcp = [(); 5].map(|()| TcpListener::bind(any));
        let mut udp = udp.iter().map(|socket| match socket {
            Ok(socket) => socket.local_addr(),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        });
        let mut tcp = tcp.iter().map(|listener| match listener {
            Ok(listener) => listener.local_addr(),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        });
        let mut udp = || udp.next().unwrap_or(Ok(any));
        let mut tcp = || tcp.next().unwrap_or(Ok(any));
        let mut site =
            || Ok::<_, io::Error>(SitePorts { edge: udp()?, link: tcp()?, admin: tcp()? });
        let sites = [site()?, site()?];
        Ok(Self { edge: udp()?, inner: udp()?, balancer_admin: tcp()?, sites })
    }

    fn balancer_config(&self, secret: &str) -> String {
        let [one, two] = &self.sites;
        format!(
            "role = \"balancer\"\n\n[site]\nsecret = \"{secret}\"\n\n\
             [admin]\nlisten = \"{}\"\n\n\
             [balancer]\nlisten = \"{}\"\ninner = \"{}\"\n\n\
             [[balancer.site]]\nid = 1\nengines = [\"{}\"]\nweight = 1\n\n\
             [[balancer.site]]\nid = 2\nengines = [\"{}\"]\nweight = 0\n",
            self.balancer_admin, self.edge, self.inner, one.edge, two.edge
        )
    }

    fn site_config(
        &self,
        site: u16,
        secret: &str,
        data: &Path,
        callee: SocketAddr,
        setting: Setting,
    ) -> String {
        let other = 3 - site;
        let (here, there) = (&self.sites[index(site)], &self.sites[index(other)]);
        let Setting { session_expires_s, allow_forget } = setting;
        format!(
            "role = \"all\"\n\n\
             [site]\nid = {site}\ndata_dir = {:?}\nsecret = \"{secret}\"\n\n\
             [sip]\nadvertise = \"{}\"\n\
             edge = {{ listen = \"{}\", balancers = [\"{}\"] }}\n\n\
             # Far below what RFC 4028 allows outside a demonstration.\n\
             [session_timer]\nexpires_s = {session_expires_s}\nmin_se_s = 2\n\n\
             [b2bua]\nnext_hop = \"{callee}\"\n\n\
             [sites]\nlisten = \"{}\"\nbackup_to = {other}\nreturn_wait_s = 10\n\
             heartbeat_ms = 200\nsilent_after_ms = 800\n\n\
             [[sites.peer]]\nid = {other}\naddress = \"{}\"\nactivation = \"on_message\"\n\n\
             [admin]\nlisten = \"{}\"\n\n\
             [test]\nallow_forget = {allow_forget}\n",
            data.display().to_string(),
            self.edge,
            here.edge,
            self.inner,
            here.link,
            there.link,
            here.admin,
        )
    }
}

fn index(site: u16) -> usize {
    usize::from(site != 1)
}

/// 64 hexadecimal digits for this run. It guards loopback for a minute, nothing else.
fn secret() -> String {
    (0..4).map(|part| format!("{:016x}", random(part))).collect()
}

/// A number that differs from run to run.
pub(super) fn random(part: u64) -> u64 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u64(part);
    hasher.finish()
}

/// The last lines of a log, for a message about a process that ended.
fn tail_of(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let ports = Ports::find().expect("loopback has free ports");
        let [one, two] = &ports.sites;
        let mut udp = vec![ports.edge, ports.inner, one.edge, two.edge];
        let mut tcp = vec![ports.balancer_admin, one.link, one.admin, two.link, two.admin];
        for list in [&mut udp, &mut tcp] {
            let all = list.len();
            list.sort_unstable();
            list.dedup();
            assert_eq!(list.len(), all);
            assert!(list.iter().all(|addr| addr.port() != 0));
        }
    }

    #[test]
    fn a_secret_has_64_digits_and_is_new_each_time() {
        let (one, two) = (secret(), secret());
        assert_ne!(one, two);
        assert!(one.len() == 64 && one.bytes().all(|c| c.is_ascii_hexdigit()));
    }
}
