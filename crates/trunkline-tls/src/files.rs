//! The files of a client.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The files of a client, all in PEM. Without any it trusts the certificates of the system and shows none of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The only authorities that are trusted.
    pub ca: Option<PathBuf>,
    /// A certificate of ours with those up to its root, and its key, perhaps in the same file; for servers that ask for one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// The contents of the files: PEM, with at least one item of the kind in each.
#[derive(Clone, Default)]
pub struct Pem {
    /// The authorities.
    pub ca: Option<Vec<u8>>,
    /// Our certificate and its key.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for Pem {
    /// Shows no key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pem").finish_non_exhaustive()
    }
}

impl TlsFiles {
    /// Whether none is named.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Reads and checks them, so that a wrong file is not found out only by a failed handshake. Blocks. The error names the file at
    /// fault.
    pub fn read(&self) -> Result<Pem, String> {
        let ca = self.ca.as_deref().map(certificates).transpose()?;
        let identity =
            self.identity.as_ref().map(|(certificate, key)| Ok::<_, String>((certificates(certificate)?, private_key(key)?)));
        Ok(Pem { ca, identity: identity.transpose()? })
    }
}

fn certificates(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = read(path)?;
    match CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>() {
        Ok(certificates) if !certificates.is_empty() => Ok(bytes),
        Ok(_) => Err(format!("there is no certificate in PEM in `{}`", path.display())),
        Err(error) => Err(format!("`{}` is not PEM: {error}", path.display())),
    }
}

fn private_key(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = read(path)?;
    if PrivateKeyDer::from_pem_slice(&bytes).is_err() {
        let path = path.display();
        return Err(format!("there is no private key in PEM in `{path}`; an encrypted key must be decrypted first"));
    }
    Ok(bytes)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("cannot read `{}`: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    const ENCRYPTED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";

    #[test]
    fn each_file_holds_what_it_is_for_and_else_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            fs::write(&path, text).expect("a file");
            path
        };
        let (certificate, key) = (file("c", CERTIFICATE), file("k", KEY));
        let (both, encrypted, broken) =
            (file("b", &format!("{KEY}{CERTIFICATE}")), file("e", ENCRYPTED), file("x", "-----BEGIN CERTIFICATE-----\nAAAA\n"));
        let read = |ca: Option<&PathBuf>, identity: Option<(&PathBuf, &PathBuf)>| {
            let identity = identity.map(|(certificate, key)| (certificate.clone(), key.clone()));
            TlsFiles { ca: ca.cloned(), identity }.read()
        };
        let pem = read(Some(&certificate), Some((&both, &both))).expect("the files are right");
        assert_eq!(pem.ca.as_deref(), Some(CERTIFICATE.as_bytes()));
        assert!(read(None, None).expect("there are none").ca.is_none() && TlsFiles::default().is_empty());
        let said =
            |ca, identity| read(ca, identity).expect_err("a file is wrong").replace(&directory.path().display().to_string(), "");
        assert_eq!(said(Some(&key), None), "there is no certificate in PEM in `/k`");
        assert_eq!(said(Some(&broken), None).split(':').next(), Some("`/x` is not PEM"));
        let no_key = "there is no private key in PEM in `/e`; an encrypted key must be decrypted first";
        assert_eq!(said(None, Some((&certificate, &encrypted))), no_key);
        assert!(said(None, Some((&certificate, &certificate))).contains("no private key"));
        assert!(said(Some(&directory.path().join("none")), None).starts_with("cannot read `/none`: "));
    }
}
