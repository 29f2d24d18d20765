//! TLS to a server: `Disable`, `Require`, `VerifyFull`.

use std::path::Path;
use std::sync::Arc;

use lakegate_crds::TlsMode;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::Server;
use crate::ConnectorError;

/// Where systems keep the authorities they trust, as one PEM file.
const SYSTEM_BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

impl Server {
    /// TLS as the DataSource wants it; none with `Disable`.
    pub(crate) async fn tls_config(&self) -> Result<Option<ClientConfig>, ConnectorError> {
        let failed = |message: String| ConnectorError::TlsFailed {
            catalog: self.catalog.clone(),
            endpoint: self.address(),
            message,
            source: None,
        };
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(error.to_string()))?;
        Ok(Some(match self.tls {
            TlsMode::Disable => return Ok(None),
            TlsMode::Require => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyServer { provider }))
                .with_no_client_auth(),
            TlsMode::VerifyFull => {
                let roots = match &self.authority {
                    Some(reference) => {
                        let pem = self.secret(reference).await?;
                        authorities(pem.expose().as_bytes()).map_err(|message| {
                            failed(format!(
                                "{}/{} is not a certificate authority in PEM: {message}",
                                reference.name, reference.key
                            ))
                        })?
                    }
                    None => system_authorities().await.map_err(failed)?,
                };
                builder.with_root_certificates(roots).with_no_client_auth()
            }
        }))
    }
}

fn authorities(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        return Err("no certificate in it".to_owned());
    }
    Ok(roots)
}

/// The machine's authorities; one that cannot be parsed does not hide the rest.
async fn system_authorities() -> Result<RootCertStore, String> {
    let from_environment = std::env::var_os("SSL_CERT_FILE").map(std::path::PathBuf::from);
    let candidates = from_environment
        .iter()
        .map(std::path::PathBuf::as_path)
        .chain(SYSTEM_BUNDLES.iter().map(Path::new));
    for path in candidates {
        let Ok(pem) = tokio::fs::read(path).await else {
            continue;
        };
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok);
        roots.add_parsable_certificates(certificates);
        if !roots.is_empty() {
            return Ok(roots);
        }
    }
    Err(
        "this machine trusts no certificate authority; install its ca-certificates or \
         set tls.caSecretRef"
            .to_owned(),
    )
}

/// Encrypts to whoever answers: what `Require` says. The handshake's
/// signatures are still checked.
#[derive(Debug)]
struct AnyServer {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
