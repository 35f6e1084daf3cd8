//! HTTPS: the certificate that is given, or one that the host makes for this machine.
//!
//! H1  A certificate that is made is made once: it lies in the hub's folder, and whoever has come to trust its
//!     fingerprint need not do so again. Its key can be read by its user alone.
//! H2  What is wrong with a file is said before anything is served, with what to write instead.
//!
//! Absent on purpose: PFX files and keys under a password. One command of OpenSSL makes PEM of both, and the error
//! that names it is shorter than a second reader of old ciphers: a crate that opens a PFX brings some thirty others.

use std::{
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use sha2::{Digest as _, Sha256};
use tokio_rustls::TlsAcceptor;

use crate::durable_file;

/// The file in the hub's folder.
const FILE: &str = "https.pem";

/// What HTTPS is spoken with.
pub(crate) struct Https {
    pub(crate) acceptor: TlsAcceptor,
    /// SHA-256 of the certificate in hexadecimal, as browsers show it.
    pub(crate) fingerprint: String,
    /// Where the certificate lies.
    pub(crate) file: PathBuf,
    pub(crate) origin: Origin,
}

/// Where a certificate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From whoever starts the host.
    Given,
    /// From the host: nobody else vouches for it.
    Made,
}

/// Why HTTPS cannot be spoken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not there, or cannot be read or written.
    #[error("the certificate {file} cannot be used: {source}; --cert names a PEM file")]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is a PFX.
    #[error(
        "the certificate {0} is a PFX file; --cert takes PEM: make one with `openssl pkcs12 -in {0} -nodes -out cert.pem`, which asks for the password (with `-legacy` if the file's cipher is too old for it)"
    )]
    Pfx(PathBuf),
    /// The key is encrypted.
    #[error(
        "the key in {0} is under a password; --cert takes an open one: make it with `openssl pkey -in {0} -out key.pem`, and put it behind the certificate"
    )]
    Encrypted(PathBuf),
    /// The file has no certificate or no key.
    #[error(
        "the certificate {file} has no {missing}; put the certificate, those above it, and its key into one PEM file"
    )]
    Missing {
        /// Which file.
        file: PathBuf,
        /// What it lacks.
        missing: &'static str,
    },
    /// Key and certificate do not fit, or the key is of no use.
    #[error("the certificate {file} cannot be used: {source}")]
    Unfit {
        /// Which file.
        file: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// No certificate could be made.
    #[error("no certificate for this machine could be made: {0}; name one with --cert")]
    Make(#[from] rcgen::Error),
}

/// The certificate of a file.
pub(crate) fn given(file: &Path) -> Result<Https, Error> {
    let bytes =
        std::fs::read(file).map_err(|source| Error::File { file: file.to_owned(), source })?;
    of_pem(file, &bytes, Origin::Given)
}

/// The certificate in a hub's folder, made if it is not there.
pub(crate) fn own(folder: &Path, address: &str) -> Result<Https, Error> {
    let file = folder.join(FILE);
    match std::fs::read(&file) {
        Ok(bytes) => of_pem(&file, &bytes, Origin::Made),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let pem = made(address)?;
            durable_file::write_private(&file, &pem)
                .map_err(|source| Error::File { file: file.clone(), source })?;
            of_pem(&file, pem.as_bytes(), Origin::Made)
        }
        Err(source) => Err(Error::File { file, source }),
    }
}

/// A certificate for this machine, and its key.
fn made(address: &str) -> Result<String, Error> {
    let mut names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    if !names.iter().any(|name| name == address) && !is_unspecified(address) {
        names.push(address.to_owned());
    }
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.distinguished_name.push(DnType::OrganizationName, "Everstep, made by this host");
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok(certificate.pem() + &key.serialize_pem())
}

fn is_unspecified(address: &str) -> bool {
    address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_unspecified())
}

fn of_pem(file: &Path, bytes: &[u8], origin: Origin) -> Result<Https, Error> {
    const SEQUENCE: u8 = 0x30;
    let file = file.to_owned();
    if bytes.first() == Some(&SEQUENCE) {
        return Err(Error::Pfx(file));
    }
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(bytes).collect::<Result<_, _>>().unwrap_or_default();
    let Some(first) = chain.first() else {
        return Err(Error::Missing { file, missing: "certificate" });
    };
    let fingerprint = fingerprint(first);
    let Ok(key) = PrivateKeyDer::from_pem_slice(bytes) else {
        let text = String::from_utf8_lossy(bytes);
        let is_encrypted = text.contains("ENCRYPTED");
        return Err(if is_encrypted {
            Error::Encrypted(file)
        } else {
            Error::Missing { file, missing: "private key" }
        });
    };
    let unfit = |source| Error::Unfit { file: file.clone(), source };
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unfit)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(unfit)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Https { acceptor: TlsAcceptor::from(Arc::new(config)), fingerprint, file, origin })
}

fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let mut text = String::new();
    for byte in Sha256::digest(certificate) {
        write!(text, "{byte:02x}").expect("a text takes what is written to it");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.pem");
        std::fs::write(&file, text).unwrap();
        let error = given(&file).err().unwrap().to_string();
        error.replace(&folder.path().display().to_string(), "DIR")
    }

    #[test]
    fn a_certificate_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let first = own(folder.path(), "0.0.0.0").unwrap();
        let second = own(folder.path(), "0.0.0.0").unwrap();
        assert_eq!(first.fingerprint, second.fingerprint);
        assert_eq!(first.fingerprint.len(), 64);
        assert_eq!(first.file, folder.path().join("https.pem"));
        let other = tempfile::tempdir().unwrap();
        assert_ne!(own(other.path(), "10.0.0.1").unwrap().fingerprint, first.fingerprint);
        let again = given(&first.file).unwrap();
        assert_eq!((again.origin, again.fingerprint), (Origin::Given, first.fingerprint));
    }

    #[cfg(unix)]
    #[test]
    fn only_its_user_may_read_a_key_that_is_made() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let made = own(folder.path(), "127.0.0.1").unwrap();
        let mode = std::fs::metadata(made.file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_what_to_do() {
        assert_eq!(
            error("hello"),
            "the certificate DIR/c.pem has no certificate; put the certificate, those above it, and its key into one PEM file"
        );
        let pem = made("127.0.0.1").unwrap();
        let (certificate, key) = pem.split_at(pem.find("-----BEGIN PRIVATE").unwrap());
        assert_eq!(
            error(certificate),
            "the certificate DIR/c.pem has no private key; put the certificate, those above it, and its key into one PEM file"
        );
        assert_eq!(
            error(&(certificate.to_owned() + &key.replace("PRIVATE", "ENCRYPTED PRIVATE"))),
            "the key in DIR/c.pem is under a password; --cert takes an open one: make it with `openssl pkey -in DIR/c.pem -out key.pem`, and put it behind the certificate"
        );
        assert_eq!(
            error("\u{30}\u{1}"),
            "the certificate DIR/c.pem is a PFX file; --cert takes PEM: make one with `openssl pkcs12 -in DIR/c.pem -nodes -out cert.pem`, which asks for the password (with `-legacy` if the file's cipher is too old for it)"
        );
        let other = made("127.0.0.1").unwrap();
        let (_, key) = other.split_at(other.find("-----BEGIN PRIVATE").unwrap());
        assert_eq!(
            error(&(certificate.to_owned() + key)),
            "the certificate DIR/c.pem cannot be used: keys may not be consistent: KeyMismatch"
        );
        let absent = given(Path::new("no.pem")).err().unwrap().to_string();
        assert!(absent.starts_with("the certificate no.pem cannot be used: "), "{absent}");
        assert!(absent.ends_with("; --cert names a PEM file"), "{absent}");
    }
}
