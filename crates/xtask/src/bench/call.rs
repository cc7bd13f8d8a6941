//! CPU time per call: the combined tier beside Kamailio, the same SIPp load, one after the other.
//!
//! A call is INVITE, 180, 200, ACK, one second, BYE, 200, through a B2BUA (Rehome) or a
//! transaction-stateful proxy with dialog state (Kamailio). Rates rise until one of the two no
//! longer sustains them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::load::{self, Callee, Outcome};
use super::process::Server;

const SERVER: u16 = 25_060;
const CALLEE: u16 = 25_080;
const CALLER: u16 = 25_070;
const ADMIN: u16 = 25_090;
/// The low rate, then the search for the highest.
const RATES: &[u32] = &[100, 400, 800, 1_200, 1_600, 2_000, 2_500, 3_000];

struct Figure {
    rate: u32,
    rehome_us: f64,
    kamailio_us: f64,
}

/// Runs the bench and prints its table.
pub(crate) fn run(root: &Path, seconds: u32, json: bool) -> Result<(), String> {
    let folder = std::env::temp_dir().join(format!("rehome-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let figures = search(root, &folder, seconds);
    let _ = std::fs::remove_dir_all(&folder);
    let figures = figures?;
    let (Some(low), Some(high)) = (figures.first(), figures.last()) else {
        return Err("neither server sustained the lowest rate".to_owned());
    };
    println!("\nCPU time per call, microseconds, all processes of the server");
    println!("calls/s   rehome   kamailio   rehome / kamailio");
    for figure in [low, high] {
        println!(
            "{:>7} {:>8.0} {:>10.0} {:>19.2}",
            figure.rate,
            figure.rehome_us,
            figure.kamailio_us,
            figure.rehome_us / figure.kamailio_us
        );
    }
    println!("highest rate that both sustained: {} calls/s", high.rate);
    if json {
        let text = json_of(&figures);
        println!("{text}");
        let path = root.join("bench/results/call.json");
        std::fs::write(&path, text + "\n")
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

fn search(root: &Path, folder: &Path, seconds: u32) -> Result<Vec<Figure>, String> {
    let mut figures = Vec::new();
    for &rate in RATES {
        let kamailio = measure(root, folder, kamailio(root, folder)?, rate, seconds)?;
        let rehome = measure(root, folder, rehome(root, folder)?, rate, seconds)?;
        match (rehome, kamailio) {
            (Some(rehome_us), Some(kamailio_us)) => {
                figures.push(Figure { rate, rehome_us, kamailio_us });
            }
            (None, _) | (_, None) => break,
        }
    }
    Ok(figures)
}

/// Microseconds of CPU per call; `None` when the rate was not sustained.
fn measure(
    root: &Path,
    folder: &Path,
    mut server: Server,
    rate: u32,
    seconds: u32,
) -> Result<Option<f64>, String> {
    let _callee = Callee::start(root, folder, CALLEE, "uas.xml")?;
    wait_until_bound(&mut server)?;
    // Code, caches and pools are warm before the clock runs.
    load::place(root, folder, SERVER, CALLER, 50, 2)?;
    let before = server.cpu_seconds()?;
    let outcome = load::place(root, folder, SERVER, CALLER, rate, seconds)?;
    let used = server.cpu_seconds()? - before;
    let sustained = sustained(&outcome, rate, seconds);
    let per_call = used * 1e6 / outcome.successful.max(1) as f64;
    println!(
        "{:<9} {rate:>5} calls/s: {} ended well, {} failed, {} repeated, {:.0}/s, \
         {per_call:.0} us/call{}",
        server.name,
        outcome.successful,
        outcome.failed,
        outcome.retransmissions,
        outcome.rate,
        if sustained { "" } else { "  (not sustained)" }
    );
    Ok(sustained.then_some(per_call))
}

fn sustained(outcome: &Outcome, rate: u32, seconds: u32) -> bool {
    let placed = u64::from(rate) * u64::from(seconds);
    outcome.failed == 0 && outcome.successful == placed && outcome.retransmissions * 100 <= placed
}

fn rehome(root: &Path, folder: &Path) -> Result<Server, String> {
    let data = folder.join("data");
    let _ = std::fs::remove_dir_all(&data);
    let config = format!(
        "role = \"all\"\n[site]\nid = 1\ndata_dir = {data:?}\nsecret = \"{}\"\n\
         [sip]\nlisten = \"127.0.0.1:{SERVER}\"\nadvertise = \"127.0.0.1:{SERVER}\"\n\
         [b2bua]\nnext_hop = \"127.0.0.1:{CALLEE}\"\n[admin]\nlisten = \"127.0.0.1:{ADMIN}\"\n",
        "5a".repeat(32),
    );
    let file = write(folder, "site.toml", &config)?;
    let mut command = Command::new(root.join("target/release/rehome"));
    command.arg("serve").arg("--config").arg(file);
    Server::start("rehome", command)
}

fn kamailio(root: &Path, folder: &Path) -> Result<Server, String> {
    let template = root.join("bench/peers/kamailio.cfg");
    let config = std::fs::read_to_string(&template)
        .map_err(|error| format!("{}: {error}", template.display()))?
        .replace("@LISTEN@", &format!("127.0.0.1:{SERVER}"))
        .replace("@TARGET@", &format!("127.0.0.1:{CALLEE}"));
    let file = write(folder, "kamailio.cfg", &config)?;
    let mut command = Command::new("kamailio");
    command
        .args(["-DD", "-E", "-m", "256", "-M", "32", "-x", "tlsf", "-X", "tlsf", "-w"])
        .arg(folder)
        .arg("-Y")
        .arg(folder)
        .arg("-f")
        .arg(file);
    Server::start("kamailio", command)
}

fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf, String> {
    let file = folder.join(name);
    std::fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(file)
}

/// The server's UDP port shows in `/proc/net/udp` once it is bound.
fn wait_until_bound(server: &mut Server) -> Result<(), String> {
    let wanted = format!(":{SERVER:04X} ");
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if !server.is_alive() {
            return Err(format!("{} ended before it served", server.name));
        }
        let table = std::fs::read_to_string("/proc/net/udp").unwrap_or_default();
        if table.lines().any(|line| line.contains(&wanted)) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(format!("{} did not open UDP port {SERVER} in 20 s", server.name))
}

fn json_of(figures: &[Figure]) -> String {
    let rows: Vec<String> = figures
        .iter()
        .map(|figure| {
            format!(
                "{{\"calls_per_s\":{},\"rehome_us_per_call\":{:.1},\"kamailio_us_per_call\":{:.1},\
                 \"ratio\":{:.3}}}",
                figure.rate,
                figure.rehome_us,
                figure.kamailio_us,
                figure.rehome_us / figure.kamailio_us
            )
        })
        .collect();
    format!("{{\"bench\":\"call\",\"rows\":[{}]}}", rows.join(","))
}
