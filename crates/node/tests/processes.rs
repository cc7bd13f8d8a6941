//! The real program in every role, over real sockets on the loopback, watched by its admin API.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "processes/node.rs"]
mod node;
#[path = "processes/phone.rs"]
mod phone;

use std::net::SocketAddr;

use admin_api::route::Health;
use admin_api::{OrderReply, RouteOrder, RouteReply};
use node::{Node, Ports, status_until};
use phone::Call;

const SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// A site of role `all` that phones talk to directly.
fn direct(ports: &Ports, callee: SocketAddr) -> String {
    format!(
        "role = \"all\"\n[site]\nid = 1\ndata_dir = \"{}\"\nsecret = \"{SECRET}\"\n\
         [sip]\nadvertise = \"{sip}\"\nlisten = \"{sip}\"\n[b2bua]\nnext_hop = \"{callee}\"\n\
         [admin]\nlisten = \"{}\"\n",
        ports.dir.display(),
        ports.admin,
        sip = ports.sip,
    )
}

#[test]
fn one_process_takes_a_call_and_tells_of_it() {
    let ports = Ports::new("direct");
    let mut call = Call::new(ports.sip);
    let node = Node::start("node", &ports, &direct(&ports, call.callee_address()));
    call.set_up();
    let status = status_until(&node, |status| status.calls_active == 1);
    assert_eq!((status.role.as_str(), status.state.as_str(), status.start), ("all", "serving", 1));
    assert_eq!(status.engines_alive, 1);

    let calls: admin_api::CallsReply = node.client().get("/v1/calls").unwrap();
    assert_eq!(calls.calls.len(), 1);
    let key = &calls.calls[0].key;
    let story: admin_api::CallStory = node.client().get(&format!("/v1/calls/{key}")).unwrap();
    assert_eq!((story.call.home, story.call.dormant), (1, false));
    assert!(story.summary.iter().any(|line| line.contains("leg")), "{story:#?}");

    call.hang_up();
    status_until(&node, |status| status.calls_active == 0 || status.locks == 0);
    let metrics = node.client().text("GET", "/metrics", "").unwrap();
    assert!(metrics.contains("\nrehome_calls_active "), "{metrics}");
    assert!(metrics.ends_with("# EOF\n"));
}

#[test]
fn sigterm_ends_a_node_with_success_and_a_restart_counts() {
    let ports = Ports::new("restart");
    let call = Call::new(ports.sip);
    let config = direct(&ports, call.callee_address());
    let node = Node::start("node", &ports, &config);
    assert!(node.terminate().success());
    let node = Node::start("node", &ports, &config);
    assert_eq!(status_until(&node, |status| status.state == "serving").start, 2);
}

/// A balancer in front of `sites`: number and engines' edge addresses.
fn balancer(ports: &Ports, sites: &[(u16, &[SocketAddr])]) -> String {
    let mut text = format!(
        "role = \"balancer\"\n[site]\nsecret = \"{SECRET}\"\n[admin]\nlisten = \"{}\"\n\
         [balancer]\nlisten = \"{}\"\ninner = \"{}\"\n",
        ports.admin, ports.sip, ports.edge
    );
    for (id, engines) in sites {
        let engines: Vec<String> = engines.iter().map(|at| format!("\"{at}\"")).collect();
        let engines = engines.join(", ");
        text += &format!("[[balancer.site]]\nid = {id}\nengines = [{engines}]\n");
    }
    text
}

/// `[site]`, `[sip]` behind a balancer, `[b2bua]`, `[admin]` of a node.
fn behind(site: u16, role: &str, edge: &Ports, ports: &Ports, callee: SocketAddr) -> String {
    format!(
        "role = \"{role}\"\n[site]\nid = {site}\ndata_dir = \"{}\"\nsecret = \"{SECRET}\"\n\
         [sip]\nadvertise = \"{}\"\nedge = {{ listen = \"{}\", balancers = [\"{}\"] }}\n\
         [b2bua]\nnext_hop = \"{callee}\"\n[admin]\nlisten = \"{}\"\n",
        ports.dir.display(),
        edge.sip,
        ports.edge,
        edge.edge,
        ports.admin,
    )
}

#[test]
fn a_call_survives_the_engine_that_answered_it() {
    let [edge, state, one, two] =
        ["edge", "state", "one", "two"].map(|name| Ports::new(&format!("engines-{name}")));
    let mut call = Call::new(edge.sip);
    let callee = call.callee_address();
    let tier = format!("[tier]\nlisten = \"{}\"\n", state.tier);
    let keeper = Node::start("state", &state, &(behind(1, "state", &edge, &state, callee) + &tier));
    let connect = format!("[tier]\nconnect = \"{}\"\nname = \"e\"\n", state.tier);
    let engine = |ports: &Ports| {
        Node::start("engine", ports, &(behind(1, "engine", &edge, ports, callee) + &connect))
    };
    let first = engine(&one);
    let front = Node::start("edge", &edge, &balancer(&edge, &[(1, &[one.edge, two.edge])]));
    engine_up(&front, one.edge, Health::Up);
    call.set_up();
    assert_eq!(status_until(&keeper, |status| status.calls_active == 1).engines_alive, 1);

    // Another engine takes over: the first one held nothing.
    let second = engine(&two);
    engine_up(&front, two.edge, Health::Up);
    first.kill();
    engine_up(&front, one.edge, Health::Down);
    call.say_something();
    call.hang_up();
    let status = status_until(&second, |status| status.engine.is_some_and(|e| e.turns_open == 0));
    assert!(status.engine.is_some_and(|engine| engine.turns > 0 && engine.panics == 0));
}

fn engine_up(balancer: &Node, engine: SocketAddr, health: Health) {
    status_until(balancer, |status| {
        let engines = status.balancer.iter().flat_map(|seen| &seen.engines);
        engines.into_iter().any(|seen| seen.address == engine.to_string() && seen.health == health)
    });
}

/// Two sites that back each other up; `role` is what keeps the calls.
fn paired(id: u16, role: &str, edge: &Ports, ports: [&Ports; 2], callee: SocketAddr) -> String {
    let [here, there] = ports;
    let peer = 3 - id;
    behind(id, role, edge, here, callee)
        + &format!(
            "[tier]\nlisten = \"{}\"\n[sites]\nlisten = \"{}\"\nbackup_to = {peer}\n\
             [[sites.peer]]\nid = {peer}\naddress = \"{}\"\n[test]\nallow_forget = {}\n",
            here.tier,
            here.sites,
            there.sites,
            id == 2,
        )
}

/// Sets a call up at site 1, kills that site once the call has crossed, and lets the call go on.
/// Returns site 2's keeper of calls and the edge.
fn lose_a_site(call: &mut Call, first: Vec<Node>, second: &Node, front: &Node) {
    status_until(&first[0], |status| status.peers[&2].alive);
    call.set_up();
    status_until(second, |status| status.calls_dormant.get(&1) == Some(&1));
    status_until(&first[0], |status| {
        let risk = status.at_risk[&2];
        risk.calls + risk.in_set_up == 0
    });

    first.into_iter().for_each(Node::kill);
    route(front, &[(1, 2), (2, 2)], &[(1, 0), (2, 1)]);
    status_until(second, |status| !status.peers[&1].alive);
    call.say_something();
    let status = status_until(second, |status| status.calls_active == 1);
    assert_eq!(status.activated, 1);
}

#[test]
fn an_answered_call_survives_the_loss_of_its_site() {
    let [edge, one, two] = ["edge", "one", "two"].map(|name| Ports::new(&format!("sites-{name}")));
    let mut call = Call::new(edge.sip);
    let callee = call.callee_address();
    let config = paired(1, "all", &edge, [&one, &two], callee);
    let first = Node::start("site 1", &one, &config);
    let second = Node::start("site 2", &two, &paired(2, "all", &edge, [&two, &one], callee));
    let engines: [(u16, &[SocketAddr]); 2] = [(1, &[one.edge]), (2, &[two.edge])];
    let front = Node::start("edge", &edge, &balancer(&edge, &engines));
    route(&front, &[(1, 1), (2, 2)], &[(1, 1), (2, 0)]);
    engine_up(&front, one.edge, Health::Up);
    engine_up(&front, two.edge, Health::Up);
    lose_a_site(&mut call, vec![first], &second, &front);

    // The site comes back, empty, is told what it had, and takes its call home.
    let first = Node::start("site 1", &one, &config);
    assert_eq!(status_until(&first, |status| status.state == "serving").start, 2);
    route(&front, &[(1, 1), (2, 2)], &[(1, 1), (2, 0)]);
    engine_up(&front, one.edge, Health::Up);
    status_until(&first, |status| status.calls_active == 1);
    call.say_something();
    call.hang_up();
}

#[test]
fn sites_of_many_processes_back_each_other_up_too() {
    let [edge, one, two, engine_one, engine_two] = ["edge", "one", "two", "engine1", "engine2"]
        .map(|name| Ports::new(&format!("split-{name}")));
    let mut call = Call::new(edge.sip);
    let callee = call.callee_address();
    let state = |id: u16, here: &Ports, there: &Ports| {
        let config = paired(id, "state", &edge, [here, there], callee);
        Node::start(&format!("state {id}"), here, &config)
    };
    let engine = |id: u16, here: &Ports, state: &Ports| {
        let tier = format!("[tier]\nconnect = \"{}\"\nname = \"e{id}\"\n", state.tier);
        let config = behind(id, "engine", &edge, here, callee) + &tier;
        Node::start(&format!("engine {id}"), here, &config)
    };
    let first = vec![state(1, &one, &two), engine(1, &engine_one, &one)];
    let second = state(2, &two, &one);
    let _second_engine = engine(2, &engine_two, &two);
    let engines: [(u16, &[SocketAddr]); 2] = [(1, &[engine_one.edge]), (2, &[engine_two.edge])];
    let front = Node::start("edge", &edge, &balancer(&edge, &engines));
    route(&front, &[(1, 1), (2, 2)], &[(1, 1), (2, 0)]);
    engine_up(&front, engine_one.edge, Health::Up);
    engine_up(&front, engine_two.edge, Health::Up);
    lose_a_site(&mut call, first, &second, &front);
    call.hang_up();
}

#[test]
fn a_call_is_lost_on_purpose_only_where_the_configuration_says_so() {
    let [edge, one, two] = ["edge", "one", "two"].map(|name| Ports::new(&format!("lost-{name}")));
    let mut call = Call::new(edge.sip);
    let callee = call.callee_address();
    let first = Node::start("site 1", &one, &paired(1, "all", &edge, [&one, &two], callee));
    let second = Node::start("site 2", &two, &paired(2, "all", &edge, [&two, &one], callee));
    let front = Node::start("edge", &edge, &balancer(&edge, &[(1, &[one.edge])]));
    engine_up(&front, one.edge, Health::Up);
    status_until(&first, |status| status.peers[&2].alive);
    call.set_up();
    status_until(&second, |status| status.calls_dormant.get(&1) == Some(&1));
    let order = admin_api::ForgetOrder::default();
    let refused = first.client().post::<OrderReply>("/v1/test/forget", &order);
    assert!(matches!(refused, Err(cli::ClientError::Refused { status: 403, .. })), "{refused:?}");
    second.client().post::<OrderReply>("/v1/test/forget", &order).unwrap();
    status_until(&second, |status| status.calls_dormant.values().sum::<u64>() == 0);
}

fn route(balancer: &Node, serves: &[(u16, u16)], weights: &[(u16, u32)]) {
    let order = RouteOrder {
        version: None,
        serves: serves.iter().copied().collect(),
        weights: Some(weights.iter().copied().collect()),
    };
    let before: RouteReply = balancer.client().get("/v1/route").unwrap();
    let after: RouteReply = balancer.client().post("/v1/route", &order).unwrap();
    assert_eq!((after.version, &after.serves), (before.version + 1, &order.serves));
}
