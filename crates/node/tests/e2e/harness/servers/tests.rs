//! The servers themselves: they start, keep what they have over a crash, and leave nothing behind.

use super::*;
use etcd::Etcd;
use postgres::Postgres;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rehome-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the temporary directory is writable");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_database_keeps_what_it_has_over_a_crash() {
    let folder = Folder::new("postgres");
    let mut postgres = Postgres::start(&folder.0);
    assert_eq!(postgres.query("CREATE TABLE t (n int); INSERT INTO t VALUES (7)").unwrap(), "");
    assert_eq!(
        postgres.query("SHOW port").unwrap(),
        postgres.parameters_tcp().split(['=', ' ']).nth(3).unwrap()
    );
    postgres.kill();
    assert_eq!(postgres.query("SELECT 1"), None);
    postgres.start_again();
    assert_eq!(postgres.query("SELECT n FROM t").unwrap(), "7");
}

#[test]
fn a_server_ends_with_the_test_that_started_it() {
    let folder = Folder::new("ends");
    let path = folder.0.clone();
    let failed = std::thread::spawn(move || {
        let etcd = Etcd::start(&path);
        assert_eq!(etcd.endpoint(), "", "a test that fails");
    });
    let words = failed.join().expect_err("it fails");
    let words = words.downcast::<String>().expect("a panic with words");
    let port = words.rsplit("127.0.0.1:").next().and_then(|rest| rest.split('"').next());
    let port: u16 = port.and_then(|port| port.parse().ok()).expect("the endpoint's port");
    assert!(std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err(), "it lives");
}
