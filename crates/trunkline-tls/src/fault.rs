//! Why no encrypted connection came about.

use std::error::Error;
use std::io;
use std::sync::Arc;

use rustls::{AlertDescription, CertificateError, Error as TlsError};

/// Why no encrypted connection came about, by the types of the libraries and not by their words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server's certificate is signed by an authority that we do not know.
    UnknownIssuer,
    /// The server shows the certificate of an authority as its own.
    Authority,
    /// The server's certificate is over.
    Expired,
    /// The server's certificate has not begun.
    NotYetValid,
    /// The server's certificate is for another host.
    OtherHost,
    /// The server's certificate is not accepted for another reason.
    NotAccepted(String),
    /// The server asks for a certificate of ours, or refuses what we offer.
    WantsCertificate,
    /// The server refuses ours, with this alert.
    RefusesCertificate(String),
    /// The server refuses the handshake, with this alert.
    RefusesHandshake(String),
    /// What answers does not speak TLS.
    NoTls,
}

/// How an adapter calls the files.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    /// The key for the authorities, as `` `cafile` ``.
    pub ca: &'static str,
    /// The keys for our certificate, as `` `certfile` and `keyfile` ``.
    pub identity: &'static str,
}

impl Fault {
    /// The fault behind an error of a library; `None` when TLS is not to blame.
    pub fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(error) = error.downcast_ref::<TlsError>() {
                return Self::of_rustls(error);
            }
            if let Some(fault) = held_in(error).and_then(Self::of) {
                return Some(fault);
            }
            next = error.source();
        }
        None
    }

    fn of_rustls(error: &TlsError) -> Option<Self> {
        Some(match error {
            TlsError::InvalidCertificate(error) => match error {
                CertificateError::UnknownIssuer => Self::UnknownIssuer,
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::OtherHost,
                CertificateError::Other(other) if is_authority(&*other.0) => Self::Authority,
                other => Self::NotAccepted(other.to_string()),
            },
            TlsError::AlertReceived(AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure) => {
                Self::WantsCertificate
            }
            TlsError::AlertReceived(alert) if is_about_certificate(*alert) => Self::RefusesCertificate(format!("{alert:?}")),
            TlsError::AlertReceived(alert) => Self::RefusesHandshake(format!("{alert:?}")),
            TlsError::InvalidMessage(_) => Self::NoTls,
            _ => return None,
        })
    }

    /// The fault and its remedy, as a part of a sentence about the server.
    pub fn sentence(&self, keys: Keys) -> String {
        let Keys { ca, identity } = keys;
        match self {
            Self::UnknownIssuer => format!(
                "its certificate is not signed by an authority that is trusted here: name the authority's certificate with {ca}"
            ),
            Self::Authority => {
                "it shows the certificate of an authority as its own: give it one that an authority has signed".to_owned()
            }
            Self::Expired => "its certificate has expired: it must be renewed there, or the clock here corrected".to_owned(),
            Self::NotYetValid => "its certificate is not valid yet: are the clocks right?".to_owned(),
            Self::OtherHost => "its certificate is for another host: use a name that is in it".to_owned(),
            Self::NotAccepted(problem) => format!("its certificate is not accepted: {problem}"),
            Self::WantsCertificate => format!("it may want a certificate of ours: give {identity}"),
            Self::RefusesCertificate(alert) => {
                format!(
                    "it refuses the client certificate ({alert}): does it trust the authority that signed the client certificate?"
                )
            }
            Self::RefusesHandshake(alert) => {
                format!("it refuses the handshake ({alert}): does it speak TLS 1.2 or 1.3, and expect clients here?")
            }
            Self::NoTls => "it does not speak TLS there".to_owned(),
        }
    }
}

/// Whether a server answers so when it does not like the certificate of a client.
fn is_about_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
    )
}

/// The error inside a wrapper. `source` passes it over and answers the source of the inner one.
fn held_in<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return error.get_ref().map(|held| held as &(dyn Error + 'static));
    }
    error.downcast_ref::<Arc<dyn Error + Send + Sync>>().map(|held| &**held as &(dyn Error + 'static))
}

fn is_authority(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<webpki::Error>().is_some_and(|error| matches!(error, webpki::Error::CaUsedAsEndEntity))
}

#[cfg(test)]
mod tests {
    use rustls::{InvalidMessage, OtherError};

    use super::*;

    const KEYS: Keys = Keys { ca: "`ca`", identity: "`cert` and `key`" };

    #[test]
    fn a_fault_is_found_however_deep_it_lies() {
        let tls = || TlsError::InvalidCertificate(CertificateError::UnknownIssuer);
        let io = io::Error::new(io::ErrorKind::InvalidData, tls());
        assert_eq!(Fault::of(&tls()), Some(Fault::UnknownIssuer));
        assert_eq!(Fault::of(&io), Some(Fault::UnknownIssuer));
        let shared: Arc<dyn Error + Send + Sync> = Arc::new(io::Error::other(io));
        assert_eq!(Fault::of(&shared), Some(Fault::UnknownIssuer));
        assert_eq!(Fault::of(&io::Error::other("UnknownIssuer")), None);
    }

    #[test]
    fn every_fault_says_what_to_do() {
        let other = CertificateError::Other(OtherError(Arc::new(webpki::Error::CaUsedAsEndEntity)));
        for (error, expected) in [
            (TlsError::InvalidCertificate(CertificateError::UnknownIssuer), "with `ca`"),
            (TlsError::InvalidCertificate(other), "of an authority as its own"),
            (TlsError::InvalidCertificate(CertificateError::Expired), "has expired"),
            (TlsError::InvalidCertificate(CertificateError::NotValidYet), "clocks"),
            (TlsError::InvalidCertificate(CertificateError::NotValidForName), "another host"),
            (TlsError::InvalidCertificate(CertificateError::BadSignature), "not accepted"),
            (TlsError::AlertReceived(AlertDescription::CertificateRequired), "give `cert` and `key`"),
            (TlsError::AlertReceived(AlertDescription::HandshakeFailure), "give `cert` and `key`"),
            (TlsError::AlertReceived(AlertDescription::UnknownCA), "refuses the client certificate (UnknownCA)"),
            (TlsError::AlertReceived(AlertDescription::ProtocolVersion), "refuses the handshake (ProtocolVersion)"),
            (TlsError::InvalidMessage(InvalidMessage::InvalidContentType), "does not speak TLS"),
        ] {
            let sentence = Fault::of(&error).unwrap().sentence(KEYS);
            assert!(sentence.contains(expected), "{sentence}");
        }
        assert_eq!(Fault::of(&TlsError::HandshakeNotComplete), None);
    }
}
