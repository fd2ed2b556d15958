//! From the files of a client to what reqwest makes of them.

use std::path::PathBuf;

use reqwest::{Certificate, ClientBuilder, Identity};
use trunkline_tls::{Pem, TlsFiles};

/// Reads the files; blocks.
pub(crate) fn apply(files: &TlsFiles, mut builder: ClientBuilder) -> Result<ClientBuilder, String> {
    let Pem { ca, identity } = files.read()?;
    if let Some(pem) = ca {
        let certificates = Certificate::from_pem_bundle(&pem)
            .map_err(|error| format!("the authorities in {} are not accepted: {error}", shown(files.ca.as_ref())))?;
        builder = builder.tls_certs_only(certificates);
    }
    if let Some((certificate, key)) = identity {
        let pem = [certificate, b"\n".to_vec(), key].concat();
        let identity = Identity::from_pem(&pem).map_err(|error| {
            let files = files.identity.as_ref();
            let (certificate, key) = (shown(files.map(|(certificate, _)| certificate)), shown(files.map(|(_, key)| key)));
            format!("our certificate {certificate} and its key {key} are not accepted: {error}")
        })?;
        builder = builder.identity(identity);
    }
    Ok(builder)
}

fn shown(file: Option<&PathBuf>) -> String {
    file.map_or_else(String::new, |path| format!("`{}`", path.display()))
}
