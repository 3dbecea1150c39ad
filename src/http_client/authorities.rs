//! Certificate authorities that the operator trusts.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// Authorities that replace the built-in ones. Never empty.
#[derive(Debug, Clone)]
pub struct Authorities(Arc<Vec<Certificate<'static>>>);

impl Authorities {
    /// Reads a file of PEM certificates.
    ///
    /// # Errors
    /// One sentence that says what is wrong with the file and shows nothing of its content.
    pub fn read(path: &Path) -> Result<Authorities, String> {
        let pem = fs::read(path)
            .map_err(|error| format!("{} cannot be read: {}", path.display(), error.kind()))?;
        let certificates: Vec<_> = parse_pem(&pem)
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            })
            .filter(|certificate| {
                let der = CertificateDer::from(certificate.der());
                webpki::anchor_from_trusted_cert(&der).is_ok()
            })
            .collect();
        if certificates.is_empty() {
            return Err(format!("{} has no certificate in PEM", path.display()));
        }
        Ok(Authorities(Arc::new(certificates)))
    }

    /// The number of certificates.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn tls_config(authorities: Option<&Authorities>) -> TlsConfig {
        let roots = match authorities {
            Some(Authorities(certificates)) => RootCerts::Specific(certificates.clone()),
            None => RootCerts::WebPki,
        };
        TlsConfig::builder().root_certs(roots).build()
    }
}
