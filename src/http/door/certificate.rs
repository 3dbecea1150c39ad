//! The certificate the door shows, read again when its files change.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustls::client::verify_server_name;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::{ServerConfig, ServerConnection};

/// How often the files are looked at, and only when somebody connects.
const LOOK_PERIOD: Duration = Duration::from_secs(2);

/// The files of a certificate, both in PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate, followed by those of its issuers.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A certificate that a server would show.
#[derive(Debug)]
pub struct Chain {
    /// The server's own, and those of its issuers, in DER.
    pub certificates: Vec<Vec<u8>>,
    /// Whether the server's own is for the host that was asked for.
    pub is_for_host: bool,
}

impl TlsFiles {
    /// Reads the files as a server does.
    ///
    /// # Errors
    /// What is wrong with the files, a key of another certificate included.
    pub fn examine(&self, host: &str) -> io::Result<Chain> {
        let (certificates, _) = read(self)?;
        let is_for_host = certificates.first().is_some_and(|own| {
            let certificate = ParsedCertificate::try_from(own);
            let name = ServerName::try_from(host);
            certificate
                .is_ok_and(|own| name.is_ok_and(|name| verify_server_name(&own, &name).is_ok()))
        });
        let certificates = certificates.iter().map(|certificate| certificate.to_vec()).collect();
        Ok(Chain { certificates, is_for_host })
    }
}

/// The certificate in use.
#[derive(Debug)]
pub(super) struct Certificate {
    files: TlsFiles,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    config: Arc<ServerConfig>,
    /// When the files were last changed, as of the last attempt to read them.
    changed: [Option<SystemTime>; 2],
    looked: Instant,
}

impl Certificate {
    pub(super) fn load(files: TlsFiles) -> io::Result<Certificate> {
        let changed = changed(&files);
        let (_, config) = read(&files)?;
        Ok(Certificate {
            files,
            state: Mutex::new(State { config, changed, looked: Instant::now() }),
        })
    }

    /// Reads the files again. If they are of no use, the certificate stays as it was.
    pub(super) fn reload(&self) -> io::Result<()> {
        self.renew(&mut self.state())
    }

    /// A new connection's side of TLS.
    pub(super) fn accept(&self, now: Instant) -> Result<ServerConnection, rustls::Error> {
        let mut state = self.state();
        if now.saturating_duration_since(state.looked) >= LOOK_PERIOD {
            state.looked = now;
            if state.changed != changed(&self.files)
                && let Err(error) = self.renew(&mut state)
            {
                log::error!("the changed certificate is not used: {error}");
            }
        }
        ServerConnection::new(state.config.clone())
    }

    fn renew(&self, state: &mut State) -> io::Result<()> {
        // Noted before reading, so that a change while reading is seen the next time.
        state.changed = changed(&self.files);
        (_, state.config) = read(&self.files)?;
        log::info!("serving the certificate of {}", self.files.certificate.display());
        Ok(())
    }

    /// A panic elsewhere leaves the state whole: each field is replaced at once.
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn changed(files: &TlsFiles) -> [Option<SystemTime>; 2] {
    [&files.certificate, &files.key]
        .map(|path| fs::metadata(path).and_then(|file| file.modified()).ok())
}

fn read(files: &TlsFiles) -> io::Result<(Vec<CertificateDer<'static>>, Arc<ServerConfig>)> {
    let unusable = |path: &PathBuf, error: &dyn std::fmt::Display| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))
    };
    let certificates = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(&files.certificate, &error))?;
    let key =
        PrivateKeyDer::from_pem_file(&files.key).map_err(|error| unusable(&files.key, &error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3")
        .with_no_client_auth()
        // Refuses a key that does not belong to the certificate.
        .with_single_cert(certificates.clone(), key)
        .map_err(|error| unusable(&files.certificate, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((certificates, Arc::new(config)))
}
