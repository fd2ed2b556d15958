//! From the files of a client to what reqwest makes of them.

use reqwest::{Certificate, ClientBuilder, Identity};
use trunkline_tls::{Pem, TlsFiles};

/// Reads the files; blocks.
pub(crate) fn apply(files: &TlsFiles, mut builder: ClientBuilder) -> Result<ClientBuilder, String> {
    let Pem { ca, identity } = files.read()?;
    if let (Some(pem), Some(path)) = (ca, &files.ca) {
        let certificates = Certificate::from_pem_bundle(&pem)
            .map_err(|error| format!("the authorities in `{}` are not accepted: {error}", path.display()))?;
        builder = builder.tls_certs_only(certificates);
    }
    if let (Some((certificate, key)), Some((certificate_path, key_path))) = (identity, &files.identity) {
        let pem = [certificate, b"\n".to_vec(), key].concat();
        let identity = Identity::from_pem(&pem).map_err(|error| {
            let (certificate, key) = (certificate_path.display(), key_path.display());
            format!("our certificate `{certificate}` and its key `{key}` are not accepted: {error}")
        })?;
        builder = builder.identity(identity);
    }
    Ok(builder)
}
