//! From files to a TLS connector.

use std::path::Path;

use lapin::tcp::{RustlsConnector, RustlsConnectorConfig};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::server::TlsFiles;

/// Reads the files; blocks. The error names the file at fault.
///
/// With a file of authorities only those are trusted, so that a machine without authorities of its own will do.
pub(super) fn connector(files: &TlsFiles) -> Result<RustlsConnector, String> {
    let config = match &files.ca {
        Some(path) => {
            let mut config = RustlsConnectorConfig::default();
            config.add_parsable_certificates(certificates("CA file", path)?);
            config
        }
        None => RustlsConnectorConfig::new_with_native_certs()
            .map_err(|error| format!("cannot read the system's certificate authorities ({error}); name a file with `cafile`"))?,
    };
    match &files.certificate {
        None => config.connector_with_no_client_auth().map_err(|error| format!("cannot prepare TLS: {error}")),
        Some(path) => {
            let chain = certificates("client certificate", path)?;
            let key_path = files.key.as_ref().unwrap_or(path);
            let key = PrivateKeyDer::from_pem_file(key_path).map_err(|error| unreadable("client key", key_path, &error))?;
            config.connector_with_single_cert(chain, key).map_err(|error| {
                let (certificate, key) = (path.display(), key_path.display());
                format!("the client certificate `{certificate}` does not go with the key `{key}`: {error}")
            })
        }
    }
}

fn certificates(what: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match all {
        Ok(certificates) if certificates.is_empty() => Err(unreadable(what, path, &pem::Error::NoItemsFound)),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(unreadable(what, path, &error)),
    }
}

fn unreadable(what: &str, path: &Path, error: &pem::Error) -> String {
    let path = path.display();
    match error {
        pem::Error::Io(error) => format!("cannot read the {what} `{path}`: {error}"),
        pem::Error::NoItemsFound if what == "client key" => {
            format!("the {what} `{path}` holds no private key in PEM; an encrypted key must be decrypted first")
        }
        pem::Error::NoItemsFound => format!("the {what} `{path}` holds no certificate in PEM"),
        error => format!("the {what} `{path}` is not PEM: {error}"),
    }
}
