//! Certificates of links, made anew for each test: an authority, and what it signs.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// Who signs.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// Files of one end, as `[sites.tls]` names them.
#[derive(Clone, Debug)]
pub(crate) struct CertificateFiles {
    pub(crate) cert_file: PathBuf,
    pub(crate) key_file: PathBuf,
    pub(crate) ca_file: PathBuf,
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Valid {
    /// From yesterday on, for so long from now.
    For(Duration),
    /// Until yesterday.
    Ended,
    /// From tomorrow on.
    Later,
}

const DAY: Duration = Duration::from_secs(24 * 3600);

/// As long as any test.
pub(crate) const LONG: Valid = Valid::For(Duration::from_secs(365 * 24 * 3600));

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("keys can be made");
        let pem = params.self_signed(&key).expect("an authority signs itself").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Writes what one end needs into `folder`: a certificate for `name` at both ends of a link.
    pub(crate) fn issue(&self, folder: &Path, name: &str, valid: Valid) -> CertificateFiles {
        use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
        self.issue_for(folder, name, valid, &[ServerAuth, ClientAuth])
    }

    pub(crate) fn issue_for(
        &self,
        folder: &Path,
        name: &str,
        valid: Valid,
        purposes: &[ExtendedKeyUsagePurpose],
    ) -> CertificateFiles {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        let now = SystemTime::now();
        let (from, to) = match valid {
            Valid::For(time) => (now - DAY, now + time),
            Valid::Ended => (now - 10 * DAY, now - DAY),
            Valid::Later => (now + DAY, now + 10 * DAY),
        };
        (params.not_before, params.not_after) = (from.into(), to.into());
        params.extended_key_usages = purposes.to_vec();
        let key = KeyPair::generate().expect("keys can be made");
        let certificate = params.signed_by(&key, &self.issuer).expect("an authority signs");
        let file = |what: &str, text: &str| {
            let path = folder.join(format!("{name}.{what}"));
            std::fs::write(&path, text).expect("the folder can be written");
            path
        };
        CertificateFiles {
            cert_file: file("pem", &certificate.pem()),
            key_file: file("key", &key.serialize_pem()),
            ca_file: file("ca.pem", &self.pem),
        }
    }
}
