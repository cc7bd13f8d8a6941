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

const DAY: Duration = Duration::from_secs(24 * 3600);

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

    /// Writes what one end needs into `folder`: a certificate for `name` at both ends of a link,
    /// valid since yesterday and for a year.
    pub(crate) fn issue(&self, folder: &Path, name: &str) -> CertificateFiles {
        self.issue_with(folder, name, |_| {})
    }

    pub(crate) fn issue_with(
        &self,
        folder: &Path,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> CertificateFiles {
        use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        let now = SystemTime::now();
        params.not_before = (now - DAY).into();
        params.not_after = (now + 365 * DAY).into();
        params.extended_key_usages = vec![ServerAuth, ClientAuth];
        change(&mut params);
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
