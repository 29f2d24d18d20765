//! The certificate and key of the listener, read again when the files change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// The protocol's name in ALPN; a client that begins with TLS at once must offer it.
pub const ALPN: &[u8] = b"postgresql";

/// Why a certificate and key cannot be used. No message has any of the key in it.
#[derive(Debug, thiserror::Error)]
pub enum TlsFailure {
    /// A file cannot be read.
    #[error("cannot read {path}: {kind}; check --tls-cert and --tls-key", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        kind: std::io::ErrorKind,
    },
    /// No certificate in the file.
    #[error("{path} has no PEM certificate; --tls-cert takes the server's certificate, then its issuers", path = .0.display())]
    NoCertificate(PathBuf),
    /// No key in the file.
    #[error("{path} has no PEM private key that can be used (PKCS#8, PKCS#1 or SEC1, not encrypted)", path = .0.display())]
    NoKey(PathBuf),
    /// The certificate and the key do not belong together, or their kind is not supported.
    #[error("the certificate {certificate} and the key {key} cannot be used together: {reason}", certificate = certificate.display(), key = key.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What the TLS library says.
        reason: String,
    },
}

/// A usable certificate and key.
#[derive(Clone)]
pub struct Identity {
    /// For the handshake.
    pub config: Arc<ServerConfig>,
    /// The certificate's PEM text, to which SCRAM binds.
    pub certificate_pem: Arc<[u8]>,
}

type Stamp = [(Option<SystemTime>, u64); 2];

/// The files of the listener's identity.
pub struct TlsFiles {
    certificate: PathBuf,
    key: PathBuf,
    loaded: Mutex<(Option<Stamp>, Identity)>,
}

impl std::fmt::Debug for TlsFiles {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("TlsFiles")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

impl TlsFiles {
    /// Reads both files.
    pub fn open(certificate: &Path, key: &Path) -> Result<Self, TlsFailure> {
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        let stamp = stamp(&certificate, &key);
        let identity = load(&certificate, &key)?;
        Ok(TlsFiles {
            certificate,
            key,
            loaded: Mutex::new((stamp, identity)),
        })
    }

    /// The identity of the newest usable version of the files.
    pub fn current(&self) -> Identity {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let now = stamp(&self.certificate, &self.key);
        if now.is_some() && now != loaded.0 {
            match load(&self.certificate, &self.key) {
                Ok(identity) => {
                    tracing::info!(certificate = %self.certificate.display(), "certificate read again");
                    loaded.1 = identity;
                }
                // both files are replaced one after the other: the next connection tries again once either
                // changes
                Err(failure) => tracing::warn!(%failure, "the certificate before holds"),
            }
            loaded.0 = now;
        }
        loaded.1.clone()
    }
}

fn stamp(certificate: &Path, key: &Path) -> Option<Stamp> {
    let of = |path: &Path| {
        std::fs::metadata(path)
            .ok()
            .map(|metadata| (metadata.modified().ok(), metadata.len()))
    };
    Some([of(certificate)?, of(key)?])
}

fn load(certificate: &Path, key: &Path) -> Result<Identity, TlsFailure> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| TlsFailure::Unreadable {
            path: path.to_owned(),
            kind: error.kind(),
        })
    };
    let (certificate_pem, key_pem) = (read(certificate)?, read(key)?);
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&certificate_pem)
        .collect::<Result<_, _>>()
        .map_err(|_| TlsFailure::NoCertificate(certificate.to_owned()))?;
    if chain.is_empty() {
        return Err(TlsFailure::NoCertificate(certificate.to_owned()));
    }
    let private_key =
        PrivateKeyDer::from_pem_slice(&key_pem).map_err(|_| TlsFailure::NoKey(key.to_owned()))?;
    let mismatch = |error: rustls::Error| TlsFailure::Mismatch {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        reason: error.to_string(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(mismatch)?
        .with_no_client_auth()
        .with_single_cert(chain, private_key)
        .map_err(mismatch)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Identity {
        config: Arc::new(config),
        certificate_pem: certificate_pem.into(),
    })
}
