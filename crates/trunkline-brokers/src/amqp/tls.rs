//! From files to a TLS connector.

use lapin::tcp::{RustlsConnector, RustlsConnectorConfig};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use trunkline_tls::{Keys, Pem, TlsFiles};

pub(super) const KEYS: Keys = Keys { ca: "`cafile`", identity: "`?certfile=…&keyfile=…` in the URL" };

/// Reads the files; blocks. The error names the file at fault.
///
/// With a file of authorities only those are trusted, so that a machine without authorities of its own will do.
pub(super) fn connector(files: &TlsFiles) -> Result<RustlsConnector, String> {
    let Pem { ca, identity } = files.read()?;
    let unprepared = |error: &dyn std::fmt::Display| format!("cannot prepare TLS: {error}");
    let config = match ca {
        Some(pem) => {
            let mut config = RustlsConnectorConfig::default();
            config.add_parsable_certificates(certificates(&pem).map_err(|error| unprepared(&error))?);
            config
        }
        None => RustlsConnectorConfig::new_with_native_certs()
            .map_err(|error| format!("cannot read the system's certificate authorities ({error}); name a file with `cafile`"))?,
    };
    let Some((certificate, key)) = identity else {
        return config.connector_with_no_client_auth().map_err(|error| unprepared(&error));
    };
    let chain = certificates(&certificate).map_err(|error| unprepared(&error))?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| unprepared(&error))?;
    config.connector_with_single_cert(chain, key).map_err(|error| match &files.identity {
        Some((certificate, key)) => {
            let (certificate, key) = (certificate.display(), key.display());
            format!("the client certificate `{certificate}` does not go with the key `{key}`: {error}")
        }
        None => unprepared(&error),
    })
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    CertificateDer::pem_slice_iter(pem).collect()
}
