//! Why a broker's certificate is not trusted. librdkafka says no more than that it is not; the library below it knows.

use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::time::Duration;

use openssl::ssl::{HandshakeError, SslConnector, SslMethod};
use openssl::x509::X509VerifyResult;
use rdkafka::ClientConfig;
use trunkline_tls::{Fault, Keys};

const KEYS: Keys = Keys { ca: "`ssl_cafile`", identity: "`ssl_certfile` and `ssl_keyfile`" };

/// How long each step of the look may take.
const STEP: Duration = Duration::from_secs(3);

/// Looks at the certificate of the broker at `address` as librdkafka does, and says what is wrong with it. Blocks. Nothing is sent
/// but the handshake.
pub(crate) fn why_not(address: &str, config: &ClientConfig) -> Option<String> {
    let host = address.rsplit_once(':')?.0.trim_matches(['[', ']']);
    let mut connector = SslConnector::builder(SslMethod::tls_client()).ok()?;
    if let Some(path) = config.get("ssl.ca.location") {
        connector.set_ca_file(Path::new(path)).ok()?;
    }
    let checks_host = config.get("ssl.endpoint.identification.algorithm") != Some("none");
    let connector = connector.build().configure().ok()?.verify_hostname(checks_host);
    let stream = address.to_socket_addrs().ok()?.find_map(|address| TcpStream::connect_timeout(&address, STEP).ok())?;
    stream.set_read_timeout(Some(STEP)).and_then(|()| stream.set_write_timeout(Some(STEP))).ok()?;
    match connector.connect(host, stream) {
        Err(HandshakeError::Failure(handshake)) => sentence(address, handshake.ssl().verify_result()),
        _ => None,
    }
}

/// The numbers are those of OpenSSL's `x509_vfy.h`.
fn sentence(address: &str, result: X509VerifyResult) -> Option<String> {
    let fault = match result.as_raw() {
        0 => return None,
        9 => Fault::NotYetValid,
        10 => Fault::Expired,
        18..=21 => Fault::UnknownIssuer,
        62 | 64 => Fault::OtherHost,
        _ => Fault::NotAccepted(result.error_string().to_owned()),
    };
    let hint = if fault == Fault::OtherHost { ", or check none with `ssl_check_hostname: false`" } else { "" };
    Some(format!("Kafka at {address}: {}{hint}", fault.sentence(KEYS)))
}
