//! TLS of links: which files it stands on, and who may be at the other end.
//!
//! Both ends show a certificate, and TLS 1.3 is the only version spoken. A certificate must be
//! signed by one of `ca_file`, be valid at this moment, and **name its site** in its subject
//! alternative names: the dialled site by its own name, one that dials by that of any configured
//! peer, and its first word must then be of that very site. Nothing is resumed: whoever comes
//! again shows its certificate again.
//!
//! The files are looked at before each handshake and read again when one has changed, so that a
//! renewed certificate needs no restart. What does not fit together (a new certificate beside the
//! old key, while they are being replaced) is not used: the one before stays, and the log says
//! so. A link that stands is not ended by any of this. Deliberately absent: revocation lists;
//! what is not to be trusted any more is taken out of `ca_file`, or out of the peers.

mod doors;
mod examine;
mod named;

use std::fmt;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use vocab::SiteId;

use crate::config::Config;
use crate::config::tls::TlsFiles;

pub(crate) use doors::{Doors, Way, Why};
pub(crate) use examine::{Examined, Fault, examine, names};
use named::Named;

/// Bytes of a file of certificates or of a key; a larger one is not read.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// A certificate that ends within so long is told in the log, and by `rehome check`.
pub(crate) const ENDS_SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// What a file was when it was read: another moment, size or inode means another content.
type Mark = Option<(i64, i64, u64, u64)>;

/// Which file cannot be used, and why.
#[derive(Debug)]
pub(crate) struct Unusable {
    /// `cert_file`, `key_file` or `ca_file`.
    pub(crate) word: &'static str,
    pub(crate) what: String,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.word, self.what)
    }
}

/// What the files hold.
pub(crate) struct Material {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) roots: Arc<RootCertStore>,
}

struct Current {
    marks: [Mark; 3],
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    /// When this end's certificate ends, in seconds of the Unix clock.
    ends_at: Option<u64>,
}

/// The TLS of one sort of link.
pub(crate) struct Tls {
    files: TlsFiles,
    peers: Arc<[(SiteId, ServerName<'static>)]>,
    current: Mutex<Current>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// Of the links to other sites; `None` where none is configured.
    pub(crate) fn of_sites(config: &Config) -> io::Result<Option<Arc<Self>>> {
        let Some(sites) = &config.sites else { return Ok(None) };
        let Some(files) = &sites.tls else { return Ok(None) };
        let peers = sites.peer.iter().map(|peer| (SiteId(peer.id), peer.tls_name()));
        Self::load(files.clone(), peers).map(|tls| Some(Arc::new(tls)))
    }

    /// Reads the files. `peers`: what the certificate of each site must name.
    pub(crate) fn load(
        files: TlsFiles,
        peers: impl Iterator<Item = (SiteId, String)>,
    ) -> io::Result<Self> {
        let named = |(site, name): (SiteId, String)| match ServerName::try_from(name.clone()) {
            Ok(name) => Ok((site, name)),
            Err(error) => Err(io::Error::other(format!("the name `{name}`: {error}"))),
        };
        let peers: Arc<[_]> = peers.map(named).collect::<io::Result<Vec<_>>>()?.into();
        let marks = marks(&files);
        let current = Current::read(&files, marks, &peers);
        let current = current.map_err(|unusable| io::Error::other(unusable.to_string()))?;
        Ok(Self { files, peers, current: Mutex::new(current) })
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.renewed(|current| TlsAcceptor::from(current.server.clone()))
    }

    pub(crate) fn connector(&self) -> TlsConnector {
        self.renewed(|current| TlsConnector::from(current.client.clone()))
    }

    /// What the certificate of a site must name.
    pub(crate) fn name_of(&self, site: SiteId) -> Option<ServerName<'static>> {
        self.peers.iter().find(|(peer, _)| *peer == site).map(|(_, name)| name.clone())
    }

    /// The sites that a certificate names.
    pub(crate) fn named_by(&self, certificate: &CertificateDer<'_>) -> Vec<SiteId> {
        named::named_by(&self.peers, certificate)
    }

    /// How long this end's certificate is valid still.
    pub(crate) fn ends_in(&self) -> Option<Duration> {
        let held = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let left = held.ends_at?.saturating_sub(UnixTime::now().as_secs());
        Some(Duration::from_secs(left))
    }

    /// With what the files hold now, or held when they last fitted together.
    fn renewed<T>(&self, with: impl FnOnce(&Current) -> T) -> T {
        let mut held = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let marks = marks(&self.files);
        if marks != held.marks {
            match Current::read(&self.files, marks, &self.peers) {
                Ok(current) => {
                    tracing::info!(files = ?self.files, "certificates are read again");
                    *held = current;
                }
                Err(error) => {
                    tracing::warn!(%error, "changed certificates are not used: those before stay");
                    // Not tried again until a file changes again.
                    held.marks = marks;
                }
            }
        }
        with(&held)
    }
}

impl Current {
    fn read(
        files: &TlsFiles,
        marks: [Mark; 3],
        peers: &Arc<[(SiteId, ServerName<'static>)]>,
    ) -> Result<Self, Unusable> {
        let Material { chain, key, roots } = Material::read(files)?;
        let own = |error: rustls::Error| Unusable { word: "key_file", what: error.to_string() };
        let provider = provider();
        let verifier = Named::new(roots.clone(), peers.clone(), &provider)?;
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(own)?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(own)?;
        server.send_tls13_tickets = 0;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(own)?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain.clone(), key)
            .map_err(own)?;
        client.resumption = rustls::client::Resumption::disabled();
        let ends_at = chain.first().and_then(examine::ends_at);
        let (server, client) = (Arc::new(server), Arc::new(client));
        Ok(Self { marks, server, client, ends_at })
    }
}

impl Material {
    pub(crate) fn read(files: &TlsFiles) -> Result<Self, Unusable> {
        let chain = certificates("cert_file", &files.cert_file)?;
        let text = read("key_file", &files.key_file)?;
        let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| Unusable {
            word: "key_file",
            what: match error {
                pem::Error::NoItemsFound => {
                    format!("no private key is in {}", files.key_file.display())
                }
                other => format!("{}: {other}", files.key_file.display()),
            },
        })?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates("ca_file", &files.ca_file)? {
            roots.add(certificate).map_err(|error| Unusable {
                word: "ca_file",
                what: format!("{}: {error}", files.ca_file.display()),
            })?;
        }
        Ok(Self { chain, key, roots: Arc::new(roots) })
    }
}

fn certificates(word: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let text = read(word, path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let all =
        all.map_err(|error| Unusable { word, what: format!("{}: {error}", path.display()) })?;
    if all.is_empty() {
        let what = format!("no certificate is in {} (PEM is wanted)", path.display());
        return Err(Unusable { word, what });
    }
    Ok(all)
}

fn read(word: &'static str, path: &Path) -> Result<Vec<u8>, Unusable> {
    let read = std::fs::metadata(path).and_then(|meta| {
        if meta.len() > FILE_BYTES_MAX {
            return Err(io::Error::other(format!("it has {} bytes", meta.len())));
        }
        std::fs::read(path)
    });
    let told = |error| format!("cannot read {}: {error}", path.display());
    read.map_err(|error| Unusable { word, what: told(error) })
}

fn marks(files: &TlsFiles) -> [Mark; 3] {
    let mark = |path: &PathBuf| {
        std::fs::metadata(path)
            .ok()
            .map(|meta: Metadata| (meta.mtime(), meta.mtime_nsec(), meta.size(), meta.ino()))
    };
    [mark(&files.cert_file), mark(&files.key_file), mark(&files.ca_file)]
}

/// The one provider of the tree.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

#[cfg(test)]
pub(crate) mod tests;
