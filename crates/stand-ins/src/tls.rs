//! TLS for clients that send no token without it: a certificate of its own for loopback.

use std::sync::Arc;

use rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer};

/// How clients reach a stand-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// In the clear.
    Plain,
    /// With a certificate of its own, for clients that send no token without it.
    Tls,
}

impl Transport {
    pub(crate) fn tls(self) -> Option<Tls> {
        match self {
            Self::Plain => None,
            Self::Tls => Some(Tls::new()),
        }
    }
}

/// A certificate for `localhost` and `127.0.0.1`, and what a server needs to show it.
pub(crate) struct Tls {
    /// What clients have to trust, as PEM.
    pub(crate) certificate: String,
    pub(crate) config: Arc<ServerConfig>,
}

impl Tls {
    fn new() -> Self {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("the names are valid");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())
            .expect("what was just made can be read");
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the versions fit the provider")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("the key belongs to the certificate");
        Self { certificate: made.cert.pem(), config: Arc::new(config) }
    }
}
