//! A self-signed certificate, and clients that trust it.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// A certificate for localhost in files, and the configuration of clients that trust it.
pub struct Certificate {
    files: [PathBuf; 2],
    config: Arc<ClientConfig>,
}

impl Certificate {
    pub fn create(folder: &Path) -> Certificate {
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()])
            .expect("a certificate can be made");
        let files = [folder.join("cert.pem"), folder.join("key.pem")];
        fs::write(&files[0], pair.cert.pem()).expect("the folder can be written");
        fs::write(&files[1], pair.signing_key.serialize_pem()).expect("the folder can be written");
        let mut roots = RootCertStore::empty();
        roots.add(pair.cert.der().clone()).expect("the certificate was just made");
        let config =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("ring supports the default versions")
                .with_root_certificates(roots)
                .with_no_client_auth();
        Certificate { files, config: Arc::new(config) }
    }

    /// The flags of a server that uses it.
    pub fn flags(&self) -> [&str; 4] {
        let [certificate, key] =
            self.files.each_ref().map(|path| path.to_str().expect("the path is UTF-8"));
        ["--tls-cert", certificate, "--tls-key", key]
    }

    /// Starts TLS on a connection.
    pub fn wrap(&self, stream: TcpStream) -> TlsStream {
        let name = ServerName::try_from("localhost").expect("localhost is a name");
        StreamOwned::new(
            ClientConnection::new(self.config.clone(), name)
                .expect("the configuration is complete"),
            stream,
        )
    }
}
