//! Who may dial: whoever shows a certificate that names one of the configured peers.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};
use vocab::SiteId;

use super::Unusable;

/// The sites whose name is among the subject alternative names.
pub(super) fn named_by(
    peers: &[(SiteId, ServerName<'static>)],
    certificate: &CertificateDer<'_>,
) -> Vec<SiteId> {
    let Ok(certificate) = ParsedCertificate::try_from(certificate) else { return Vec::new() };
    let named = peers.iter().filter(|(_, name)| verify_server_name(&certificate, name).is_ok());
    named.map(|(site, _)| *site).collect()
}

/// Verifies the certificate of whoever dials, its name included, so that a wrong one is told in
/// the handshake.
#[derive(Debug)]
pub(super) struct Named {
    inner: Arc<dyn ClientCertVerifier>,
    peers: Arc<[(SiteId, ServerName<'static>)]>,
}

impl Named {
    pub(super) fn new(
        roots: Arc<RootCertStore>,
        peers: Arc<[(SiteId, ServerName<'static>)]>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, Unusable> {
        let inner = WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).build();
        let inner = inner.map_err(|error| Unusable { word: "ca_file", what: error.to_string() })?;
        Ok(Self { inner, peers })
    }
}

impl ClientCertVerifier for Named {
    /// Strangers are not told whom this end trusts.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now)?;
        if named_by(&self.peers, end_entity).is_empty() {
            return Err(CertificateError::NotValidForName.into());
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
