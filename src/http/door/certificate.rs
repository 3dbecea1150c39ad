//! The TLS certificate, read again when its files change.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use rustls::client::verify_server_name;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{ServerConfig, ServerConnection};
use webpki::EndEntityCert;

use super::certificate_der::{key_kind, validity};
use crate::clock;

/// How often the files are checked for changes.
const WATCH_PERIOD: Duration = Duration::from_secs(2);
/// The marks of encrypted keys (RFC 7468, section 11, and RFC 1421, section 4.6.1.1).
const ENCRYPTED_PKCS8: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
const ENCRYPTED_HEADER: &str = "Proc-Type: 4,ENCRYPTED";

/// The files of a certificate, both in PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The server's certificate, followed by those of its issuers.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A usable certificate chain with its key.
#[derive(Debug)]
pub struct LoadedCertificate {
    chain: Vec<CertificateDer<'static>>,
    key: Arc<dyn SigningKey>,
    /// Its DNS names.
    pub names: Vec<String>,
    /// When the whole chain is valid from, in unix seconds.
    pub valid_from: i64,
    /// When the first certificate of the chain expires, in unix seconds.
    pub valid_until: i64,
}

impl TlsFiles {
    /// Reads the files.
    ///
    /// # Errors
    /// Names the file and says what is wrong with it, without quoting either file.
    pub fn load(&self) -> Result<LoadedCertificate, String> {
        let chain = certificates(&self.certificate)
            .map_err(|e| named("--tls-cert", &self.certificate, &e))?;
        let of_key = |why: String| named("--tls-key", &self.key, &why);
        let key = private_key(&self.key).map_err(of_key)?;
        let key = ring::sign::any_supported_type(&key).map_err(|_| of_key(unsupported(&key)))?;
        let of_chain = |why: &str| named("--tls-cert", &self.certificate, why);
        let belongs = |certificate: &CertificateDer<'static>| {
            CertifiedKey::new(vec![certificate.clone()], key.clone()).keys_match().is_ok()
        };
        let own = &chain[0];
        let certificate = EndEntityCert::try_from(own).map_err(|_| {
            of_chain("the first certificate cannot be read; get it again from its issuer")
        })?;
        match chain.iter().position(belongs) {
            Some(0) => {}
            Some(_) => {
                return Err(of_chain(
                    "the chain is in the wrong order: put the server's own certificate first, then its issuers",
                ));
            }
            None => {
                return Err(format!(
                    "{} (--tls-key) is the key of another certificate than {} (--tls-cert)",
                    self.key.display(),
                    self.certificate.display()
                ));
            }
        }
        let names = certificate.valid_dns_names().map(str::to_owned).collect();
        let validities: Vec<[i64; 2]> = chain
            .iter()
            .map(|certificate| validity(certificate))
            .collect::<Result<_, _>>()
            .map_err(|_| {
                of_chain("the dates of a certificate cannot be read; get it again from its issuer")
            })?;
        let valid_from = validities.iter().map(|[from, _]| *from).max().unwrap_or_default();
        let valid_until = validities.iter().map(|[_, until]| *until).min().unwrap_or_default();
        Ok(LoadedCertificate { chain, key, names, valid_from, valid_until })
    }
}

impl LoadedCertificate {
    /// Whether browsers accept it for that host.
    pub fn is_for(&self, host: &str) -> bool {
        let certificate = ParsedCertificate::try_from(&self.chain[0]);
        let name = ServerName::try_from(host);
        certificate.is_ok_and(|own| name.is_ok_and(|name| verify_server_name(&own, &name).is_ok()))
    }

    fn config(self) -> Arc<ServerConfig> {
        let certified = SingleCertAndKey::from(CertifiedKey::new(self.chain, self.key));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring speaks TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(certified));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

/// The certificate in use. [`Certificate::accept`] never waits for a file: they are read on other
/// threads.
#[derive(Debug)]
pub(super) struct Certificate {
    files: TlsFiles,
    /// Locked only to copy or replace it.
    config: Mutex<Arc<ServerConfig>>,
    last_read: Mutex<LastRead>,
}

#[derive(Debug)]
struct LastRead {
    versions: [Option<FileVersion>; 2],
    /// Why it failed. Failed reads are repeated, and logged once.
    failure: Option<String>,
}

/// Changes when a file is replaced, written or made readable, even by a copy that keeps its time.
#[derive(Debug, PartialEq, Eq)]
struct FileVersion {
    inode: [u64; 2],
    size: u64,
    modified: [i64; 2],
    changed: [i64; 2],
}

impl From<Metadata> for FileVersion {
    fn from(file: Metadata) -> FileVersion {
        FileVersion {
            inode: [file.dev(), file.ino()],
            size: file.size(),
            modified: [file.mtime(), file.mtime_nsec()],
            changed: [file.ctime(), file.ctime_nsec()],
        }
    }
}

impl Certificate {
    /// Reads the files, and starts a thread that reads them again when they change.
    pub(super) fn load(files: TlsFiles) -> io::Result<Arc<Certificate>> {
        let last_read = LastRead { versions: versions(&files), failure: None };
        let config = Mutex::new(read(&files)?);
        let certificate = Certificate { files, config, last_read: Mutex::new(last_read) };
        let certificate = Arc::new(certificate);
        let watched = Arc::downgrade(&certificate);
        thread::Builder::new().name("certificate".into()).spawn(move || watch(&watched))?;
        Ok(certificate)
    }

    /// Reads the files again. If that fails, the old certificate stays in use.
    pub(super) fn reload(&self) -> io::Result<()> {
        self.read_again(&mut lock(&self.last_read))
    }

    /// The server's side of TLS for a new connection.
    pub(super) fn accept(&self) -> Result<ServerConnection, rustls::Error> {
        ServerConnection::new(lock(&self.config).clone())
    }

    fn reload_if_changed(&self) {
        let mut last_read = lock(&self.last_read);
        if last_read.failure.is_none() && last_read.versions == versions(&self.files) {
            return;
        }
        let known = last_read.failure.clone();
        if let Err(error) = self.read_again(&mut last_read)
            && last_read.failure != known
        {
            log::error!("the certificate stays as it was: {error}");
        }
    }

    fn read_again(&self, last_read: &mut LastRead) -> io::Result<()> {
        // Noted before reading, so a change during the read is seen the next time.
        last_read.versions = versions(&self.files);
        let read = read(&self.files);
        last_read.failure = read.as_ref().err().map(io::Error::to_string);
        *lock(&self.config) = read?;
        Ok(())
    }
}

/// Looks for changed files as long as the certificate is in use.
fn watch(certificate: &Weak<Certificate>) {
    while let Some(certificate) = certificate.upgrade() {
        certificate.reload_if_changed();
        drop(certificate);
        thread::sleep(WATCH_PERIOD);
    }
}

/// A panic elsewhere leaves the values whole: each is replaced at once.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn versions(files: &TlsFiles) -> [Option<FileVersion>; 2] {
    [&files.certificate, &files.key].map(|path| fs::metadata(path).ok().map(FileVersion::from))
}

fn read(files: &TlsFiles) -> io::Result<Arc<ServerConfig>> {
    let identity =
        files.load().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let names = match identity.names.as_slice() {
        [] => "no name".to_owned(),
        names => names.join(", "),
    };
    let until = UNIX_EPOCH + Duration::from_secs(identity.valid_until.max(0).unsigned_abs());
    let (path, until_shown) =
        (files.certificate.display(), humantime::format_rfc3339_seconds(until));
    if identity.valid_until <= clock::now() {
        log::warn!("the certificate of {path} for {names} expired at {until_shown}; renew it");
    } else {
        log::info!("serving the certificate of {path} for {names}, valid until {until_shown}");
    }
    Ok(identity.config())
}

fn named(flag: &str, path: &Path, why: &str) -> String {
    // The value may be the text of the file instead of its path.
    if holds(path.as_os_str().as_encoded_bytes(), "-----BEGIN") {
        return format!("{flag} takes the path of a PEM file, not its text");
    }
    format!("{} ({flag}): {why}", path.display())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let sections = sections(&read_file(path)?, "openssl x509 -inform der -in FILE -out cert.pem")?;
    let certificates: Vec<_> = sections
        .iter()
        .filter(|(kind, _)| *kind == SectionKind::Certificate)
        .map(|(_, der)| CertificateDer::from(der.clone()))
        .collect();
    match certificates.as_slice() {
        [] if sections.iter().any(|(kind, _)| is_private_key(*kind)) => {
            Err("it holds a private key and no certificate; are --tls-cert and --tls-key swapped?"
                .into())
        }
        [] => Err("it holds no certificate: expected -----BEGIN CERTIFICATE-----".into()),
        _ => Ok(certificates),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let bytes = read_file(path)?;
    if [ENCRYPTED_PKCS8, ENCRYPTED_HEADER].iter().any(|mark| holds(&bytes, mark)) {
        return Err(
            "it is encrypted, and a server cannot ask for the passphrase: decrypt it with \
                    openssl pkey -in FILE -out key.pem"
                .into(),
        );
    }
    let sections = sections(&bytes, "openssl pkey -inform der -in FILE -out key.pem")?;
    let has_certificate = sections.iter().any(|(kind, _)| *kind == SectionKind::Certificate);
    let has_public_key = sections.iter().any(|(kind, _)| *kind == SectionKind::PublicKey);
    let key = sections
        .into_iter()
        .find_map(|(kind, der)| <PrivateKeyDer as pem::PemObject>::from_pem(kind, der));
    key.ok_or_else(|| {
        if has_certificate {
            "it holds a certificate and no private key; are --tls-cert and --tls-key swapped?"
                .into()
        } else if has_public_key {
            "it holds a public key: expected the private one".into()
        } else {
            "it holds no private key: expected -----BEGIN PRIVATE KEY-----".into()
        }
    })
}

fn is_private_key(kind: SectionKind) -> bool {
    matches!(kind, SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey)
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("it cannot be read: {error}"))
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

/// The sections of a PEM file. The parser's errors are not shown, because they quote the file.
fn sections(bytes: &[u8], conversion: &str) -> Result<Vec<(SectionKind, Vec<u8>)>, String> {
    if bytes.trim_ascii().is_empty() {
        return Err("it is empty".into());
    }
    if [&b"\xef\xbb\xbf"[..], b"\xff\xfe", b"\xfe\xff"].iter().any(|mark| bytes.starts_with(mark)) {
        return Err("it begins with a byte order mark: save it as plain ASCII text".into());
    }
    if !holds(bytes, "-----BEGIN ") {
        let is_der = bytes[0] == 0x30 && bytes.len() > 1 && bytes[1] >= 0x80;
        return Err(if is_der {
            format!("it is DER or PKCS #12, not PEM: convert it, for example with {conversion}")
        } else {
            "it is not PEM: expected a line such as -----BEGIN CERTIFICATE-----".into()
        });
    }
    let sections: Result<Vec<_>, _> =
        pem::SliceIter::<(SectionKind, Vec<u8>)>::new(bytes).collect();
    match sections {
        Ok(sections) if !sections.is_empty() || holds(bytes, "\n-----END ") => Ok(sections),
        _ => Err("its PEM is damaged: each BEGIN line, each END line and each 64 characters between them belong on a \
                  line of their own, and spaces or \\n may have replaced the line breaks"
            .into()),
    }
}

fn unsupported(key: &PrivateKeyDer<'_>) -> String {
    const SUPPORTED: &str =
        "RSA with 2048 to 4096 bits, ECDSA with P-256 or P-384, and Ed25519 work";
    match key_kind(key) {
        Some(kind) => format!("its key is {kind}, which does not work here: {SUPPORTED}"),
        None => format!("its key cannot be read: {SUPPORTED}"),
    }
}
