//! A certificate of our own, and clients that trust it.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// A connection over TLS.
pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// A certificate for localhost, in files, and clients' trust in it.
pub struct Certificate {
    files: [PathBuf; 2],
    config: Arc<ClientConfig>,
}

impl Certificate {
    /// A new one, in that folder.
    pub fn create(folder: &Path) -> Certificate {
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()])
            .expect("a certificate can be made");
        let files = [folder.join("cert.pem"), folder.join("key.pem")];
        fs::write(&files[0], pair.cert.pem()).expect("the folder can be written");
        fs::write(&files[1], pair.signing_key.serialize_pem()).expect("the folder can be written");
        let mut roots = RootCertStore::empty();
        roots.add(pair.cert.der().clone()).expect("it is a certificate");
        let config =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("ring speaks them")
                .with_root_certificates(roots)
                .with_no_client_auth();
        Certificate { files, config: Arc::new(config) }
    }

    /// The flags of a server that shows it.
    pub fn flags(&self) -> [&str; 4] {
        let [certificate, key] =
            self.files.each_ref().map(|path| path.to_str().expect("our own path"));
        ["--tls-cert", certificate, "--tls-key", key]
    }

    /// Speaks TLS on that connection.
    pub fn wrap(&self, stream: TcpStream) -> TlsStream {
        let name = ServerName::try_from("localhost").expect("a name");
        StreamOwned::new(
            ClientConnection::new(self.config.clone(), name).expect("the settings fit"),
            stream,
        )
    }
}
