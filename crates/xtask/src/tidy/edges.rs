//! Dependency rules, checked against `cargo metadata`: arrows point down, cores are pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::run;

/// Who may name whom. An edge missing here is a design change to discuss, not a line to add.
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("vocab", &[]),
    ("newer-fields", &[]),
    ("sip-message", &[]),
    ("servlet", &["vocab", "sip-message"]),
    ("call", &["vocab", "newer-fields", "sip-message", "servlet"]),
    ("tier-protocol", &["vocab", "newer-fields"]),
    ("replica", &["vocab", "tier-protocol"]),
    ("engine", &["vocab", "sip-message", "servlet", "call", "tier-protocol"]),
    ("balancer", &["vocab", "sip-message"]),
    ("applications", &["servlet", "sip-message"]),
    ("admin-api", &[]),
    ("cli", &["admin-api", "sip-message"]),
    (
        "sim",
        &[
            "vocab",
            "sip-message",
            "servlet",
            "call",
            "tier-protocol",
            "replica",
            "engine",
            "balancer",
            "applications",
        ],
    ),
    (
        "node",
        &[
            "vocab",
            "sip-message",
            "servlet",
            "call",
            "tier-protocol",
            "replica",
            "engine",
            "balancer",
            "applications",
            "admin-api",
            "cli",
        ],
    ),
    // Its loads and benches speak to state processes as an engine does.
    ("xtask", &["vocab", "tier-protocol"]),
];

/// Rooms without sockets, clocks, threads or randomness.
pub(crate) const CORES: &[&str] = &[
    "vocab",
    "newer-fields",
    "sip-message",
    "servlet",
    "call",
    "tier-protocol",
    "replica",
    "engine",
    "balancer",
    "applications",
    "admin-api",
];

/// Third-party crates that a core may name.
const CORES_MAY_NAME: &[&str] =
    &["bytes", "hashbrown", "memchr", "prost", "serde", "siphasher", "smallvec", "tracing", "zstd"];

/// What must not be anywhere in a core's tree.
const NEVER_IN_CORES: &[&str] =
    &["tokio", "mio", "socket2", "rand", "getrandom", "async-io", "smol", "chrono", "time"];

struct Graph {
    /// Package name by id.
    names: BTreeMap<String, String>,
    /// Ids of the workspace's packages.
    members: BTreeSet<String>,
    /// Normal dependencies by id.
    edges: BTreeMap<String, Vec<String>>,
}

/// Findings of all dependency rules.
pub(crate) fn check(root: &Path) -> Result<Vec<String>, String> {
    let graph = graph(root)?;
    let mut findings = Vec::new();
    for id in &graph.members {
        let name = graph.names[id].as_str();
        let Some((_, allowed)) = MAY_DEPEND_ON.iter().find(|(member, _)| *member == name) else {
            findings.push(format!("crates/{name}: not in the list of rooms (MAY_DEPEND_ON)"));
            continue;
        };
        for dependency in &graph.edges[id] {
            let other = graph.names[dependency].as_str();
            let is_member = graph.members.contains(dependency);
            if is_member && !allowed.contains(&other) {
                findings.push(format!("crates/{name}: may not depend on `{other}`"));
            }
            if !is_member && CORES.contains(&name) && !CORES_MAY_NAME.contains(&other) {
                findings.push(format!("crates/{name}: a core may not name the crate `{other}`"));
            }
        }
        if CORES.contains(&name) {
            findings.extend(impure(&graph, id, name));
        }
    }
    Ok(findings)
}

fn impure(graph: &Graph, id: &str, name: &str) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut todo = vec![id.to_owned()];
    while let Some(next) = todo.pop() {
        if seen.insert(next.clone()) {
            todo.extend(graph.edges.get(&next).into_iter().flatten().cloned());
        }
    }
    seen.iter()
        .map(|id| graph.names[id].as_str())
        .filter(|other| NEVER_IN_CORES.contains(other))
        .map(|other| format!("crates/{name}: `{other}` is in the tree of a core"))
        .collect()
}

fn graph(root: &Path) -> Result<Graph, String> {
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    command.args(["metadata", "--format-version", "1", "--locked"]).current_dir(root);
    let metadata: Value = serde_json::from_str(&run::capture(command)?)
        .map_err(|error| format!("cargo metadata: {error}"))?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let names = list(&metadata["packages"])
        .iter()
        .map(|package| (text(&package["id"]), text(&package["name"])))
        .collect();
    let members = list(&metadata["workspace_members"]).iter().map(text).collect();
    let edges = list(&metadata["resolve"]["nodes"])
        .iter()
        .map(|node| {
            let normal = list(&node["deps"])
                .into_iter()
                .filter(|dep| list(&dep["dep_kinds"]).iter().any(|kind| kind["kind"].is_null()))
                .map(|dep| text(&dep["pkg"]))
                .collect();
            (text(&node["id"]), normal)
        })
        .collect();
    Ok(Graph { names, members, edges })
}
