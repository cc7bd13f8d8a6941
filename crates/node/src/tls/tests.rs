//! What is found out about this end's certificate before any peer finds it.

use std::time::{Duration, SystemTime};

use rcgen::ExtendedKeyUsagePurpose;

use super::*;
use crate::certificates::{Authority, CertificateFiles};
use crate::scratch::Scratch;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// When a certificate is valid.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Valid {
    /// Since yesterday, and for so long from now.
    For(Duration),
    /// Until yesterday.
    Ended,
    /// From tomorrow on.
    Later,
}

pub(crate) fn issue(ca: &Authority, folder: &Path, name: &str, valid: Valid) -> CertificateFiles {
    let now = SystemTime::now();
    let (from, to) = match valid {
        Valid::For(time) => (now - DAY, now + time),
        Valid::Ended => (now - 10 * DAY, now - DAY),
        Valid::Later => (now + DAY, now + 10 * DAY),
    };
    ca.issue_with(folder, name, |params| {
        (params.not_before, params.not_after) = (from.into(), to.into());
    })
}

fn files(files: &CertificateFiles) -> TlsFiles {
    let CertificateFiles { cert_file, key_file, ca_file } = files.clone();
    TlsFiles { cert_file, key_file, ca_file }
}

fn examined(of: &CertificateFiles) -> Examined {
    examine(&Material::read(&files(of)).unwrap(), UnixTime::now())
}

#[test]
fn a_good_certificate_has_no_fault() {
    let scratch = Scratch::new("tls_good");
    let good = Authority::new("good").issue(scratch.path(), "site1.rehome");
    assert_eq!(examined(&good), Examined { is_of_ca: true, ..Examined::default() });
    let leaf = &Material::read(&files(&good)).unwrap().chain[0];
    assert!(examine::names(leaf, "site1.rehome"));
    assert!(!examine::names(leaf, "site2.rehome"));
}

#[test]
fn what_ends_soon_or_has_ended_is_found_whoever_signed_it() {
    let scratch = Scratch::new("tls_dates");
    let (ca, other) = (Authority::new("one"), Authority::new("other"));
    let soon = issue(&ca, scratch.path(), "soon", Valid::For(Duration::from_secs(3 * 86_400 + 60)));
    assert_eq!(examined(&soon).ends_in_days, Some(3));
    let tls = Tls::load(files(&soon), std::iter::empty()).unwrap();
    let left = tls.ends_in().unwrap().as_secs();
    assert!((3 * 86_400..=3 * 86_400 + 60).contains(&left), "{left}");
    let foreign = other.issue(scratch.path(), "foreign");
    for (valid, fault) in [(Valid::Ended, Fault::Ended(1)), (Valid::Later, Fault::NotYetValid)] {
        let one = issue(&ca, scratch.path(), "one", valid);
        assert_eq!(examined(&one).faults, [fault]);
        // Where each site has a CA of its own.
        let ca_file = foreign.ca_file.clone();
        assert_eq!(examined(&CertificateFiles { ca_file, ..one }).faults.len(), 1);
    }
    let ca_file = soon.ca_file;
    let examined = examined(&CertificateFiles { ca_file, ..foreign });
    assert_eq!((examined.faults, examined.is_of_ca), (Vec::new(), false));
}

#[test]
fn another_key_and_half_a_purpose_are_found() {
    let scratch = Scratch::new("tls_key");
    let ca = Authority::new("key");
    let (one, two) = (ca.issue(scratch.path(), "one"), ca.issue(scratch.path(), "two"));
    let mixed = CertificateFiles { key_file: two.key_file, ..one };
    assert!(matches!(examined(&mixed).faults[..], [Fault::Key(_)]));
    assert!(Tls::load(files(&mixed), std::iter::empty()).is_err());
    let half = ca.issue_with(scratch.path(), "half", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    assert_eq!(examined(&half).faults, [Fault::Purpose]);
}

#[test]
fn files_that_are_missing_or_something_else_are_named() {
    let scratch = Scratch::new("tls_files");
    let good = Authority::new("files").issue(scratch.path(), "one");
    let none = scratch.path().join("none.pem");
    let empty = scratch.path().join("empty.pem");
    std::fs::write(&empty, "nothing\n").unwrap();
    for file in [&none, &empty] {
        let unusable = |files: CertificateFiles| {
            let read = Material::read(&self::files(&files));
            read.err().expect("it cannot be used").word
        };
        let file = file.clone();
        let cert = CertificateFiles { cert_file: file.clone(), ..good.clone() };
        assert_eq!(unusable(cert), "cert_file");
        let key = CertificateFiles { key_file: file.clone(), ..good.clone() };
        assert_eq!(unusable(key), "key_file");
        assert_eq!(unusable(CertificateFiles { ca_file: file, ..good.clone() }), "ca_file");
    }
}
