//! What a client trusts and shows.

use std::path::{Path, PathBuf};

use reqwest::{Certificate, ClientBuilder, Identity};

/// What a client trusts, and what it shows of itself. By default: the certificates that the system trusts, and nothing.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// The only certificates that are trusted, in PEM.
    pub cafile: Option<PathBuf>,
    /// A certificate of ours with those up to its root, and its key, both in PEM; for servers that ask for one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl Tls {
    /// Reads the files.
    pub(crate) fn apply(&self, mut builder: ClientBuilder) -> Result<ClientBuilder, String> {
        if let Some(file) = &self.cafile {
            let certificates = Certificate::from_pem_bundle(&read(file)?).unwrap_or_default();
            if certificates.is_empty() {
                return Err(format!("there is no certificate in PEM in `{}`", file.display()));
            }
            builder = builder.tls_certs_only(certificates);
        }
        if let Some((certificate, key)) = &self.identity {
            let pem = [read(certificate)?, b"\n".to_vec(), read(key)?].concat();
            let identity = Identity::from_pem(&pem).map_err(|_| {
                let (certificate, key) = (certificate.display(), key.display());
                format!("there is no certificate in PEM in `{certificate}`, or no unencrypted key in PEM in `{key}`")
            })?;
            builder = builder.identity(identity);
        }
        Ok(builder)
    }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| format!("cannot read `{}`: {error}", file.display()))
}
