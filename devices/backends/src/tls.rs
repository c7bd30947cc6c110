//! Certificates and keys of a server that encrypts (TLS 1.2 and 1.3, by rustls), in the files of QEMU's
//! `tls-creds-x509`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use thiserror::Error;

/// Why there are none.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file.
    #[error("{}: {why}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// They do not fit each other.
    #[error("TLS: {0}")]
    Unfit(String),
}

/// What a server proves itself with, and whom it lets in.
#[derive(Clone)]
pub struct Credentials(Arc<ServerConfig>);

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

impl Credentials {
    /// Reads `server-cert.pem` and `server-key.pem` of a folder; with `verify_peer` also `ca-cert.pem`, by whom a
    /// client's certificate must be signed, and `ca-crl.pem`, if it is there.
    pub fn load(folder: &Path, verify_peer: bool) -> Result<Credentials, TlsError> {
        let certificates = certificates(&folder.join("server-cert.pem"))?;
        let path = folder.join("server-key.pem");
        let key = PrivateKeyDer::from_pem_file(&path).map_err(|error| failed(&path, error))?;
        let provider = Arc::new(default_provider());
        let unfit = |error: &dyn fmt::Display| TlsError::Unfit(error.to_string());
        let config =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let config = config.map_err(|error| unfit(&error))?;
        let config = if verify_peer {
            let path = folder.join("ca-cert.pem");
            let mut roots = RootCertStore::empty();
            for certificate in self::certificates(&path)? {
                roots.add(certificate).map_err(|error| failed(&path, error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .with_crls(revoked(&folder.join("ca-crl.pem"))?);
            config.with_client_cert_verifier(verifier.build().map_err(|error| unfit(&error))?)
        } else {
            config.with_no_client_auth()
        };
        let config = config.with_single_cert(certificates, key).map_err(|error| unfit(&error))?;
        Ok(Credentials(Arc::new(config)))
    }

    /// A connection at its beginning; none only for want of memory or of random numbers.
    pub(crate) fn accept(&self) -> Option<Box<ServerConnection>> {
        ServerConnection::new(self.0.clone()).ok().map(Box::new)
    }
}

fn failed(path: &Path, error: impl fmt::Display) -> TlsError {
    TlsError::File { path: path.to_owned(), why: error.to_string() }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all = CertificateDer::pem_file_iter(path).map_err(|error| failed(path, error))?;
    let all = all.collect::<Result<Vec<_>, _>>().map_err(|error| failed(path, error))?;
    if all.is_empty() { Err(failed(path, "there is no certificate in it")) } else { Ok(all) }
}

/// Lists of what is not valid any more.
fn revoked(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let all = CertificateRevocationListDer::pem_file_iter(path).map_err(|error| failed(path, error))?;
    all.collect::<Result<_, _>>().map_err(|error| failed(path, error))
}
