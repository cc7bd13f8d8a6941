//! `[sites.tls]`: the files that links between sites are encrypted with, looked at before anything
//! starts, as a peer would look at them.

use std::path::PathBuf;

use rustls::pki_types::{ServerName, UnixTime};
use serde::Deserialize;

use super::check::Findings;
use super::file::{Config, Peer};
use crate::tls::{Examined, Fault, Material, examine, names};

/// Files of one end of links, all in PEM.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// This end's certificate, and those between it and the CA.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
    /// Certificates that the other ends' ones are signed by.
    pub ca_file: PathBuf,
}

impl Peer {
    /// What its certificate must name, in its subject alternative names.
    #[must_use]
    pub fn tls_name(&self) -> String {
        self.tls_name.clone().unwrap_or_else(|| default_name(self.id))
    }
}

/// What the certificate of a site names, unless configured.
fn default_name(site: u16) -> String {
    format!("site{site}.rehome")
}

/// After the values themselves were checked.
pub(super) fn check(config: &Config, findings: &mut Findings<'_>) {
    let Some(sites) = config.sites.as_ref().filter(|_| config.role.has_tier()) else { return };
    for (index, peer) in sites.peer.iter().enumerate() {
        let Some(name) = &peer.tls_name else { continue };
        let index = index.to_string();
        let path = ["sites", "peer", index.as_str(), "tls_name"];
        if sites.tls.is_none() {
            findings.mistake(
                &path,
                "`tls_name` is for TLS, and there is no [sites.tls]".into(),
                "add [sites.tls] with `cert_file`, `key_file` and `ca_file`, or remove `tls_name`",
            );
        } else if ServerName::try_from(name.as_str()).is_err() {
            findings.mistake(
                &path,
                format!("`{name}` is no name that a certificate can have"),
                "write a DNS name or an IP address",
            );
        }
    }
    let Some(files) = &sites.tls else {
        if !sites.listen.ip().is_loopback() {
            findings.warning(
                &["sites", "listen"],
                "the links between sites are authenticated and not encrypted: add [sites.tls], or \
                 keep them in a VPN",
            );
        }
        return;
    };
    match Material::read(files) {
        Ok(material) => {
            let examined = examine(&material, UnixTime::now());
            told(&examined, findings);
            let own = default_name(config.site.id);
            if material.chain.first().is_some_and(|leaf| !names(leaf, &own)) {
                let what = format!(
                    "the certificate does not name `{own}`: the other sites must write in \
                     `sites.peer.tls_name` what it names"
                );
                findings.warning(&["sites", "tls", "cert_file"], &what);
            }
        }
        Err(unusable) => findings.mistake(
            &["sites", "tls", unusable.word],
            unusable.what,
            "name an existing file in PEM that this user may read",
        ),
    }
}

fn told(examined: &Examined, findings: &mut Findings<'_>) {
    let cert = ["sites", "tls", "cert_file"];
    for fault in &examined.faults {
        match fault {
            Fault::Ended(days) => findings.mistake(
                &cert,
                format!("the certificate, or one that it is signed by, ended {days} days ago"),
                "put a new one in its place; a process that runs takes it without a restart",
            ),
            Fault::NotYetValid => findings.mistake(
                &cert,
                "the certificate is not valid yet".into(),
                "look at the machine's clock, and at the dates of the certificate",
            ),
            Fault::Key(what) => findings.mistake(
                &["sites", "tls", "key_file"],
                what.clone(),
                "name the key that the certificate was made for",
            ),
            Fault::Purpose => findings.mistake(
                &cert,
                "the certificate may not be used at both ends of a link".into(),
                "make it with `extendedKeyUsage = serverAuth, clientAuth`: a site dials, and is \
                 dialled",
            ),
            Fault::Other(what) => findings.mistake(
                &cert,
                what.clone(),
                "make it anew; `docs/operating/certificates.md` has the commands",
            ),
        }
    }
    if let Some(days) = examined.ends_in_days {
        findings.warning(&cert, &format!("the certificate ends in {days} days"));
    }
    if !examined.is_of_ca {
        findings.warning(
            &cert,
            "the certificate is not signed by what is in `ca_file`: the other sites need its CA \
             in theirs",
        );
    }
}
