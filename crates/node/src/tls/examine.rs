//! What is wrong with this end's own certificate, found before any peer finds it.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::ServerCertVerifier;
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, RootCertStore, client::WebPkiServerVerifier};

use super::{ENDS_SOON, Material, provider};

/// What speaks against the use of a certificate.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It has ended; so many days ago.
    Ended(u64),
    NotYetValid,
    /// The key is of another certificate, or none that can be used.
    Key(String),
    /// It may not be used by who is dialled, or by who dials.
    Purpose,
    Other(String),
}

/// What is known of this end's certificate.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Examined {
    pub(crate) faults: Vec<Fault>,
    /// It ends within [`ENDS_SOON`]: in so many days.
    pub(crate) ends_in_days: Option<u64>,
    /// `ca_file` has who signed it. Where each site has a CA of its own, it need not.
    pub(crate) is_of_ca: bool,
}

/// Looks at this end's certificate as a peer with the same `ca_file` would.
pub(crate) fn examine(material: &Material, now: UnixTime) -> Examined {
    let mut examined = Examined { is_of_ca: true, ..Examined::default() };
    let provider = provider();
    let key = CertifiedKey::from_der(material.chain.clone(), material.key.clone_key(), &provider);
    if let Err(error) = key {
        examined.faults.push(Fault::Key(match error {
            Error::InconsistentKeys(_) => "the key is of another certificate".into(),
            other => other.to_string(),
        }));
    }
    let Some((leaf, intermediates)) = material.chain.split_first() else { return examined };
    let roots = material.roots.clone();
    for error in [
        as_dialled(&roots, leaf, intermediates, now),
        as_dialling(&roots, leaf, intermediates, now),
    ] {
        let Err(error) = error else { continue };
        if error == Error::InvalidCertificate(CertificateError::UnknownIssuer) {
            examined.is_of_ca = false;
            continue;
        }
        let fault = fault(&error);
        if !examined.faults.contains(&fault) {
            examined.faults.push(fault);
        }
    }
    let left = ends_at(leaf).and_then(|at| at.checked_sub(now.as_secs()));
    let left = left.map(Duration::from_secs).filter(|left| *left < ENDS_SOON);
    examined.ends_in_days = left.map(|left| left.as_secs() / 86_400);
    examined
}

/// Whether `certificate` names `name`.
pub(crate) fn names(certificate: &CertificateDer<'_>, name: &str) -> bool {
    let (Ok(parsed), Ok(name)) =
        (ParsedCertificate::try_from(certificate), ServerName::try_from(name))
    else {
        return false;
    };
    verify_server_name(&parsed, &name).is_ok()
}

/// When a certificate ends: what the verifier says of it at the end of all times.
pub(super) fn ends_at(leaf: &CertificateDer<'_>) -> Option<u64> {
    let never = UnixTime::since_unix_epoch(Duration::from_secs(u64::from(u32::MAX) * 1_000));
    let mut roots = RootCertStore::empty();
    // Any root does: its dates are looked at first.
    roots.add(leaf.clone().into_owned()).ok()?;
    match as_dialled(&Arc::new(roots), leaf, &[], never) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Some(not_after.as_secs())
        }
        _ => None,
    }
}

/// As one who dials this end sees it, its name aside.
fn as_dialled(
    roots: &Arc<RootCertStore>,
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    now: UnixTime,
) -> Result<(), Error> {
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider()).build();
    let verifier = verifier.map_err(|error| Error::General(error.to_string()))?;
    let any = ServerName::try_from("any.invalid").map_err(|_| Error::General("no name".into()))?;
    match verifier.verify_server_cert(leaf, intermediates, &any, &[], now) {
        Err(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ))
        | Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}

/// As one who is dialled by this end sees it.
fn as_dialling(
    roots: &Arc<RootCertStore>,
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    now: UnixTime,
) -> Result<(), Error> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider()).build();
    let verifier = verifier.map_err(|error| Error::General(error.to_string()))?;
    verifier.verify_client_cert(leaf, intermediates, now).map(|_| ())
}

fn fault(error: &Error) -> Fault {
    let Error::InvalidCertificate(error) = error else { return Fault::Other(error.to_string()) };
    match error {
        CertificateError::Expired => Fault::Ended(0),
        CertificateError::ExpiredContext { time, not_after } => {
            Fault::Ended(time.as_secs().saturating_sub(not_after.as_secs()) / 86_400)
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Fault::NotYetValid
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            Fault::Purpose
        }
        other => Fault::Other(Error::InvalidCertificate(other.clone()).to_string()),
    }
}
