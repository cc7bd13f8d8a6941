//! Mistakes are told with file, line and remedy; the golden texts are in `config/golden`.

use std::collections::BTreeMap;
use std::time::Duration;

use replica::SpillAfter;

use super::*;
use crate::certificates::{Authority, CertificateFiles};
use crate::scratch::Scratch;
use crate::tls::tests::{Valid, issue};

const SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// A configuration of role `all` that can start.
fn whole() -> String {
    format!(
        r#"role = "all"
[site]
id = 1
data_dir = "/var/lib/rehome"
secret = "{SECRET}"
[sip]
advertise = "127.0.0.1:5060"
listen = "127.0.0.1:5060"
[b2bua]
next_hop = "127.0.0.1:5080"
routes = [{{ user_prefix = "+49", next_hop = "127.0.0.1:5081" }}]
[sites]
listen = "127.0.0.1:9100"
backup_to = 2
[[sites.peer]]
id = 2
address = "127.0.0.1:9200"
activation = "on_message"
[admin]
listen = "127.0.0.1:8080"
"#
    )
}

/// A state process among several that can start.
fn shared() -> String {
    format!(
        r#"role = "state"
[site]
id = 1
data_dir = "/var/lib/rehome"
secret = "{SECRET}"
[tier]
listen = "127.0.0.1:9000"
name = "s1"
partition = 0
partitions = 2
replicas = 3
[admin]
listen = "127.0.0.1:8080"
"#
    )
}

const ETCD: &str = "[coordination]\nendpoints = [\"http://10.0.0.1:2379\", \
                    \"http://10.0.0.2:2379\", \"http://10.0.0.3:2379\"]\n";

/// Checks `text` and compares what is said with a golden file; `REHOME_GOLDEN=write` writes it.
fn check_golden(name: &str, text: &str, role: Option<Role>) {
    let said = match parse("site.toml", text, role) {
        Ok((_, warnings)) => {
            warnings.iter().map(|warning| format!("warning: {warning}\n")).collect::<String>()
        }
        Err(mistakes) => mistakes.iter().map(|mistake| format!("{mistake}\n")).collect(),
    };
    let path = format!("{}/src/config/golden/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var("REHOME_GOLDEN").as_deref() == Ok("write") {
        std::fs::write(&path, &said).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert_eq!(said, golden, "{name}");
}

fn changed(from: &str, to: &str) -> String {
    let text = whole();
    assert!(text.contains(from), "{from}");
    text.replace(from, to)
}

#[test]
fn a_whole_configuration_starts_and_says_what_it_does_not_promise() {
    check_golden("whole", &whole(), None);
    let (config, _) = parse("site.toml", &whole(), None).unwrap();
    assert_eq!(config.secret_bytes().unwrap()[31], 0x1f);
    assert_eq!(config.sites.unwrap().peer[0].activation, file::Activation::OnMessage);
}

#[test]
fn ringing_calls_cross_where_the_application_says_so() {
    let early = changed("[b2bua]\n", "[b2bua]\nearly = true\n");
    for (text, expected) in [(whole(), vec![]), (early, vec![0])] {
        let (config, _) = parse("site.toml", &text, None).unwrap();
        let (partition, replica) = (vocab::PartitionId(0), vocab::ReplicaId(1));
        let number = vocab::ViewNumber(1);
        let view = tier_protocol::PartitionView::alone(partition, number, replica);
        let engine = crate::setting::engine(&config, vocab::EngineId(1), 1, view);
        assert_eq!(engine.setting.early.into_iter().collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_mistyped_word_is_named_with_the_nearest_one() {
    check_golden("mistyped_word", &changed("advertise =", "advertize ="), None);
    check_golden("mistyped_value", &changed("on_message", "on_mesage"), None);
    check_golden("unknown_word", &changed("id = 1\n", "id = 1\ncolour = \"red\"\n"), None);
}

#[test]
fn wrong_types_and_broken_text_are_told() {
    check_golden("wrong_type", &changed("id = 1\n", "id = \"one\"\n"), None);
    check_golden("no_address", &changed("\"127.0.0.1:9100\"", "\"localhost\""), None);
    check_golden("broken_text", &changed("id = 1\n", "id = \n"), None);
    check_golden("missing_word", &changed("address = \"127.0.0.1:9200\"\n", ""), None);
}

#[test]
fn what_the_role_needs_is_told() {
    check_golden("engine_without_tier", &whole(), Some(Role::Engine));
    check_golden("state_without_tier", &whole(), Some(Role::State));
    check_golden("balancer_without_section", &whole(), Some(Role::Balancer));
    let bare = format!("[site]\nsecret = \"{SECRET}\"\n");
    check_golden("bare", &bare, None);
}

#[test]
fn values_that_do_not_fit_together_are_told_at_once() {
    let text = changed("backup_to = 2", "backup_to = 3")
        .replace("listen = \"127.0.0.1:8080\"", "listen = \"127.0.0.1:9100\"")
        .replace("\"+49\"", "\"+49\", domain = \"example.com\"")
        .replace("next_hop = \"127.0.0.1:5080\"", "next_hop = \"somewhere\"");
    check_golden("many", &text, None);
    check_golden("secret_short", &changed(SECRET, "abcd"), None);
    check_golden("secret_none", &changed(&format!("secret = \"{SECRET}\"\n"), ""), None);
    check_golden("admin_open", &changed("127.0.0.1:8080", "0.0.0.0:8080"), None);
    check_golden("peer_is_here", &changed("id = 2", "id = 1"), None);
    check_golden("redirect", &changed("id = 2", "id = 2\nredirect = \"sip2 5060\""), None);
    let edge = "edge = { listen = \"127.0.0.1:6060\", balancers = [] }\n[b2bua]";
    check_golden("edge_and_listen", &changed("[b2bua]", edge), None);
    check_golden("timers", &format!("{}[timers]\nt1_ms = 9000\n", whole()), None);
    let spread = format!("{}[crossing]\nactivation_spread_s = 0\n", whole());
    check_golden("activation_spread", &spread, None);
    let accounting = "[accounting]\nfile = \"calls.jsonl\"\nrotate_bytes = 100\n";
    check_golden("accounting", &(whole() + accounting), None);
    check_golden("accounting_nowhere", &(shared() + ETCD + accounting), None);
}

#[test]
fn a_batch_that_a_receiver_would_set_aside_is_refused() {
    let with = |bytes: usize| format!("{}[crossing]\nbatch_bytes_max = {bytes}\n", whole());
    let most = check::BATCH_BYTES_MAX;
    assert!(parse("site.toml", &with(most), None).is_ok());
    assert!(most * 4 <= engine::Limits::default().inbox_batch_bytes_max, "room to spare");
    check_golden("batch_too_large", &with(most + 1), None);
}

#[test]
fn a_store_that_cannot_be_asked_is_told() {
    let with = |section: &str| format!("{}[coordination]\n{section}\n", shared());
    let endpoints = "endpoints = [\"http://10.0.0.1:2379\", \"http://[::1]:2379\"]";
    let (config, _) = parse("site.toml", &with(endpoints), None).unwrap();
    let section = config.coordination.unwrap();
    assert_eq!((section.ttl_ms, section.timeout_ms), (2_000, 1_000));
    assert_eq!(section.prefix_of(1), "/rehome/site1");
    check_golden("coordination_missing", &with(""), None);
    check_golden("coordination_empty", &with("endpoints = []"), None);
    let wrong = "endpoints = [\n  \"http://10.0.0.1:2379\",\n  \"https://10.0.0.2:2379\",\n  \
                 \"http://10.0.0.1:2379\",\n]\nprefix = \"rehome\"\nttl_ms = 2500\nuser = \"a\"";
    check_golden("coordination_wrong", &with(wrong), None);
    let slow = format!("{endpoints}\ntimeout_ms = 1500\npassword_file = \"/none/password\"");
    check_golden("coordination_slow", &with(&slow), None);
    check_golden("coordination_one", &with("endpoints = [\"http://127.0.0.1:2379\"]"), None);
}

#[test]
fn a_state_process_among_several_says_who_it_is() {
    check_golden("shared", &(shared() + ETCD), None);
    let changed = |from: &str, to: &str| {
        let text = shared();
        assert!(text.contains(from), "{from}");
        text.replace(from, to) + ETCD
    };
    check_golden("shared_nameless", &changed("name = \"s1\"\n", ""), None);
    let none = changed("partitions = 2", "partitions = 0").replace("replicas = 3", "replicas = 0");
    check_golden("shared_none", &none, None);
    let far = changed("partitions = 2", "partitions = 2000");
    check_golden("shared_far", &far.replace("partition = 0", "partition = 5000"), None);
    check_golden("shared_one_replica", &changed("replicas = 3", "replicas = 1"), None);
    check_golden("shared_anywhere", &changed("127.0.0.1:9000", "0.0.0.0:9000"), None);
    let told = "0.0.0.0:9000\"\nadvertise = \"10.0.0.1:9000";
    assert!(parse("site.toml", &changed("127.0.0.1:9000", told), None).is_ok());
    let told = "10.0.0.1:9000\"\nadvertise = \"[::]:9000";
    check_golden("shared_nowhere", &changed("127.0.0.1:9000", told), None);
    let ahead = changed("partition = 0", "partition = 2");
    assert!(parse("site.toml", &ahead, None).is_ok(), "it waits to be divided off");
}

#[test]
fn sharing_a_site_is_for_state_processes() {
    check_golden("shared_by_all", &(whole() + ETCD), None);
    let engine = whole().replace("[sites]", "[tier]\nconnect = \"127.0.0.1:9000\"\n[sites]");
    check_golden("shared_by_engine", &(engine + ETCD), Some(Role::Engine));
    let sites = "[sites]\nlisten = \"127.0.0.1:9100\"\n";
    check_golden("shared_with_sites", &(shared() + sites + ETCD), None);
    check_golden("shared_without_store", &shared(), None);
}

#[test]
fn a_password_is_read_and_never_printed() {
    let scratch = crate::scratch::Scratch::new("password");
    let path = scratch.path().join("password");
    std::fs::write(&path, "open sesame\n").unwrap();
    let section = format!(
        "[coordination]\nendpoints = [\"http://127.0.0.1:2379\"]\nuser = \"rehome\"\n\
         password_file = \"{}\"\n",
        path.display()
    );
    let (config, warnings) = parse("site.toml", &(shared() + &section), None).unwrap();
    assert!(warnings.iter().any(|warning| warning.what.contains("without encryption")));
    assert!(!format!("{config:?}").contains("sesame"));
    assert_eq!(config.coordination.unwrap().password.unwrap().0, "open sesame");
}

#[test]
fn a_database_that_cannot_be_used_is_told() {
    let with = |section: &str| format!("{}[database]\n{section}", whole());
    assert!(parse("site.toml", &with(""), None).is_ok());
    let server = "url = \"postgres://rehome@db.example.com:5432/calls\"\n";
    assert!(parse("site.toml", &with(server), None).is_ok());
    let many =
        "url = \"sqlite\"\npassword_file = \"/nowhere/password\"\npool = 1\ntimeout_ms = 5\n";
    check_golden("database_many", &with(many), None);
    let urls = [
        ("no_scheme", "calls.sqlite"),
        ("password", "postgres://rehome:secret@127.0.0.1/calls"),
        ("no_user", "postgres://127.0.0.1/calls"),
        ("no_host", "postgres://rehome@/calls"),
        ("tls", "postgres://rehome@127.0.0.1/calls?sslmode=require"),
        ("broken", "postgres://rehome@127.0.0.1:port/calls"),
    ];
    for (name, url) in urls {
        check_golden(&format!("database_{name}"), &with(&format!("url = \"{url}\"\n")), None);
    }
}

#[test]
fn a_queue_that_cannot_be_used_is_told() {
    let with = |section: &str| format!("{}[queue]\n{section}", whole());
    let good = "url = [\"nats://n1:4222\", \"nats://[::1]:4222\"]\nreplicas = 3\n";
    let (config, warnings) = parse("site.toml", &with(good), None).unwrap();
    let queue = config.queue.unwrap();
    assert_eq!((queue.url.0.len(), queue.timeout_ms), (2, 2_000));
    assert!(!warnings.iter().any(|warning| warning.what.contains("keeps each batch")));
    check_golden("queue_one", &with("url = \"nats://n1:4222\"\n"), None);
    check_golden("queue_nowhere", &with("replicas = 3\n"), None);
    check_golden("queue_empty", &with("url = []\nreplicas = 3\n"), None);
    let many = "url = [\"tls://n1:4222\", \"nats://n2:4222\", \"tls://n1:4222\", \
                \"nats://rehome:secret@n3:4222\", \"n4:4222\"]\nuser = \"rehome\"\n\
                credentials_file = \"/nowhere/credentials\"\nreplicas = 9\ntimeout_ms = 5\n";
    check_golden("queue_many", &with(many), None);
    let plain = "url = \"nats://n1:4222\"\nreplicas = 3\nca_file = \"/nowhere/ca.pem\"\n\
                 user = \"rehome\"\npassword_file = \"/nowhere/password\"\n";
    check_golden("queue_plain", &with(plain), None);
}

#[test]
fn when_calls_leave_ram_is_told_by_application() {
    let with = |text: &str| format!("{}[database]\n[spill]\n{text}", whole());
    let text = "after_s = 300\ndormant_after_s = \"never\"\nper_s = 5\nwait_ms = 900\n\
                calls_max = 7\napplication.b2bua = 7200\n";
    let (config, _) = parse("site.toml", &with(text), None).unwrap();
    let spill = crate::setting::replica(&config, 1, None).spill.expect("it has a database");
    assert_eq!(spill.after, SpillAfter::Steady(Duration::from_secs(300)));
    assert_eq!(spill.dormant_after, SpillAfter::Never);
    let b2bua = SpillAfter::Steady(Duration::from_secs(7_200));
    assert_eq!(spill.after_by_application, BTreeMap::from([(0, b2bua)]));
    assert_eq!((spill.per_s, spill.calls_max), (5, 7));
    assert_eq!(spill.wait_max, Duration::from_millis(900));
    let (config, _) = parse("site.toml", &whole(), None).unwrap();
    assert!(crate::setting::replica(&config, 1, None).spill.is_none(), "without a database");

    let wrong = "after_s = 0\ndormant_after_s = 9999999\nwait_ms = 5\n\
                 application = { b2bua = 0, pbx = \"never\" }\n";
    check_golden("spill_wrong", &with(wrong), None);
    check_golden("spill_word", &with("after_s = \"always\"\n"), None);
    check_golden("spill_nowhere", &format!("{}[spill]\nafter_s = 5\n", whole()), None);
    let shared = |url: &str| format!("{}{ETCD}[database]\nurl = \"{url}\"\n", shared());
    check_golden("database_of_one", &shared("sqlite"), None);
    assert!(parse("site.toml", &shared("postgres://rehome@db/calls"), None).is_ok());
}

/// A balancer in front of two sites that can start.
fn judging(keys: &str, first: &str, second: &str) -> String {
    format!(
        "role = \"balancer\"\n[site]\nsecret = \"{SECRET}\"\n[balancer]\n\
         listen = \"127.0.0.1:5060\"\ninner = \"127.0.0.1:6060\"\n{keys}\n[[balancer.site]]\n\
         id = 1\nengines = [\"127.0.0.1:6061\"]\n{first}\n[[balancer.site]]\nid = 2\n\
         engines = [\"127.0.0.1:6062\"]\n{second}\n[admin]\nlisten = \"127.0.0.1:8080\"\n"
    )
}

#[test]
fn a_balancer_says_what_it_may_do_about_a_death() {
    let admin = |port: u16| format!("admin = \"127.0.0.1:{port}\"\nadmin_token = \"t\"");
    let acts = judging("auto_failover = true", &admin(8081), &admin(8082));
    check_golden("health_acts", &acts, None);
    let (config, _) = parse("balancer.toml", &acts, None).unwrap();
    let core = crate::setting::balancer(&config, config.balancer.as_ref().unwrap()).health;
    let site = vocab::SiteId;
    assert_eq!(core.backups, [(site(1), site(2)), (site(2), site(1))].into());
    assert_eq!(core.orderable, [site(1), site(2)].into());
    assert_eq!((core.auto_failover, core.dead_after), (true, Duration::from_secs(5)));
    check_golden("health_no_admin", &judging("auto_failover = true", "", &admin(8082)), None);
    let spans = "dead_after_ms = 350\nhealthy_after_ms = 300";
    check_golden("health_wrong", &judging(spans, "backup = 1", "backup = 3"), None);
    let third = "[[balancer.site]]\nid = 3\nengines = []";
    let three = judging("auto_failover = true", "backup = 2", third);
    check_golden("health_no_backup", &three, None);
}

/// A witness that can start.
fn witness() -> String {
    format!(
        "role = \"witness\"\n[site]\nsecret = \"{SECRET}\"\n[witness]\nname = \"w1\"\n\
         listen = \"192.0.2.5:5070\"\nreport_to = \"10.0.9.1:6060\"\n[[witness.target]]\n\
         site = 1\naddress = [\"192.0.2.9:5060\", \"192.0.2.10:5060\"]\n[[witness.target]]\n\
         site = 2\naddress = \"192.0.2.9:5060\"\n[admin]\nlisten = \"127.0.0.1:8080\"\n"
    )
}

#[test]
fn a_witness_says_whom_it_probes_and_whom_it_tells() {
    let (config, warnings) = parse("witness.toml", &witness(), None).unwrap();
    assert_eq!(warnings, []);
    let section = config.witness.as_ref().unwrap();
    let core = crate::setting::witness(&config, section, 7);
    assert_eq!(core.targets.len(), 2);
    assert_eq!((core.interval, core.timeout), (Duration::from_secs(1), Duration::from_secs(2)));
    check_golden("witness_without_section", &whole(), Some(Role::Witness));
    let changed = |from: &str, to: &str| {
        let text = witness();
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    };
    let wrong = changed("\"w1\"", "\"the first\"")
        .replace("192.0.2.5:5070", "0.0.0.0:5070")
        .replace("\"10.0.9.1:6060\"", "[]\ninterval_ms = 5\ntimeout_ms = 60000")
        .replace("site = 2\naddress = \"192.0.2.9:5060\"", "site = 1\naddress = []");
    check_golden("witness_wrong", &wrong, None);
    let targets = witness();
    let bare = targets.split("[[witness.target]]").next().unwrap();
    check_golden("witness_of_nobody", bare, None);
}

#[test]
fn faults_on_purpose_are_refused_unless_they_are_allowed() {
    let with = |text: &str| format!("{}[test]\n{text}\n", whole());
    check_golden("panic_on", &with("panic_on = \"X-Panic\""), None);
    check_golden("panic_on_nothing", &with("allow_faults = true\npanic_on = \"a b\""), None);
    let (_, warnings) =
        parse("site.toml", &with("allow_faults = true\npanic_on = \"X-Panic\""), None).unwrap();
    assert!(!warnings.is_empty(), "it is told at every start");
}

#[test]
fn the_manual_s_examples_can_start() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operating/examples");
    let mut roles = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let name = path.display().to_string();
        let text = std::fs::read_to_string(&path).unwrap();
        // The file of the secret is the reader's to make.
        let (file, literal) = ("secret_file = \"secret.hex\"", format!("secret = \"{SECRET}\""));
        assert!(text.contains(file), "{name} names the secret as the manual does");
        match parse(&name, &text.replace(file, &literal), None) {
            Ok((config, _)) => roles.push(config.role.as_str()),
            Err(mistakes) => panic!("{}", mistakes[0]),
        }
    }
    roles.sort_unstable();
    roles.dedup();
    assert_eq!(roles, ["all", "balancer", "engine", "state", "witness"], "an example of each role");
}

#[test]
fn the_secret_is_never_printed() {
    let (config, _) = parse("site.toml", &whole(), None).unwrap();
    assert!(!format!("{config:?}").contains("0c0d0e0f"));
}

#[test]
fn a_registrar_has_domains_and_expiries_in_order() {
    let with = |keys: &str| format!("{}[registrar]\n{keys}", whole());
    check_golden("registrar", &with("domains = [\"example.com\", \"[2001:db8::1]\"]\n"), None);
    let wrong = "domains = [\"sip:example.com\", \"a@b.c\", \"example.com:5060\", \"\"]\n\
                 expires_min_s = 7200\nexpires_max_s = 60\ncontacts_max = 17\n";
    check_golden("registrar_wrong", &with(wrong), None);
    check_golden("registrar_nowhere", &with("domains = []\n"), None);
    let never = "[limits]\nregistrations_per_s = 0\nregistrations_max = 0\n";
    check_golden("registrar_never", &format!("{}{never}", whole()), None);
    let route = "routes = [{ domain = \"Example.com\", next_hop = \"127.0.0.1:5081\" }]";
    let routed =
        changed("routes = [{ user_prefix = \"+49\", next_hop = \"127.0.0.1:5081\" }]", route);
    let routed = format!("{routed}[registrar]\ndomains = [\"example.com\"]\n");
    check_golden("registrar_routed", &routed, None);
    let (config, _) = parse("site.toml", &routed, None).unwrap();
    let engine =
        crate::setting::engine(&config, vocab::EngineId(1), 1, crate::setting::view(&config, 1));
    let names: Vec<_> = engine.setting.applications.iter().map(|one| one.name()).collect();
    assert_eq!(names, ["b2bua", "registrar"], "as `spill.application` numbers them");
}

#[test]
fn a_host_and_a_port_are_split() {
    use check::split_host_port;
    assert_eq!(split_host_port("sip.example.com:5060"), Some(("sip.example.com", 5060)));
    assert_eq!(split_host_port("[::1]:5061"), Some(("::1", 5061)));
    for bad in ["", "host", "host:", ":5060", "host:0", "host:70000", "ho st:5060", "a@b:5060"] {
        assert_eq!(split_host_port(bad), None, "{bad}");
    }
}

/// The whole configuration with certificates, and with `more` for its peer.
fn encrypted(files: &CertificateFiles, more: &str) -> String {
    let CertificateFiles { cert_file, key_file, ca_file } = files;
    let tls = format!(
        "[sites.tls]\ncert_file = {cert_file:?}\nkey_file = {key_file:?}\nca_file = {ca_file:?}\n"
    );
    let text = changed("[admin]\n", &format!("{tls}[admin]\n"));
    text.replace("address = \"127.0.0.1:9200\"\n", &format!("address = \"127.0.0.1:9200\"\n{more}"))
}

#[test]
fn certificates_that_no_peer_would_take_are_told() {
    let scratch = Scratch::new("config_tls");
    let ca = Authority::new("config");
    let good = ca.issue(scratch.path(), "site1.rehome");
    check_golden("tls_good", &encrypted(&good, "tls_name = \"two.example.com\"\n"), None);
    let (config, _) = parse("site.toml", &encrypted(&good, ""), None).unwrap();
    assert_eq!(config.sites.unwrap().peer[0].tls_name(), "site2.rehome");
    let none = std::path::PathBuf::from("/nowhere/site1.pem");
    let missing = CertificateFiles { cert_file: none, ..good.clone() };
    check_golden("tls_missing", &encrypted(&missing, "tls_name = \"not a name\"\n"), None);
    let other = Authority::new("other").issue(scratch.path(), "two.example.com");
    let mixed = CertificateFiles { key_file: other.key_file.clone(), ..good.clone() };
    check_golden("tls_key", &encrypted(&mixed, ""), None);
    let foreign = CertificateFiles { ca_file: good.ca_file, ..other };
    check_golden("tls_foreign", &encrypted(&foreign, ""), None);
    let ended = issue(&ca, scratch.path(), "site1.rehome", Valid::Ended);
    check_golden("tls_ended", &encrypted(&ended, ""), None);
    // An engine opens no link to other sites, and reads none of it.
    let tier = "[tier]\nconnect = \"127.0.0.1:9000\"\n[admin]\n";
    let engine = encrypted(&missing, "").replace("[admin]\n", tier);
    assert!(parse("site.toml", &engine, Some(Role::Engine)).is_ok());
}

#[test]
fn a_name_without_certificates_and_open_links_are_told() {
    let named =
        changed("address = \"127.0.0.1:9200\"", "address = \"127.0.0.1:9200\"\ntls_name = \"x\"");
    check_golden("tls_name_alone", &named, None);
    check_golden("sites_open", &changed("\"127.0.0.1:9100\"", "\"10.0.0.1:9100\""), None);
}
