//! What went wrong with the server, for a person at night.

use std::io;
use std::time::Duration;

use lapin::ErrorKind;
use rustls::{AlertDescription, CertificateError, Error as TlsError};

use super::address::TLS_PORT;
use super::server::Server;

/// The reply code of AMQP 0-9-1 with which a server refuses a login, and what a user may not do.
pub(super) const ACCESS_REFUSED: u16 = 403;

/// The error in as few words as possible; the server's own where it sent some.
pub(super) fn say(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(error) => error.get_message().to_string(),
        ErrorKind::IOError(error) if error.kind() == io::ErrorKind::ConnectionAborted => "the connection was cut".to_owned(),
        ErrorKind::IOError(error) => error.to_string(),
        ErrorKind::MissingHeartbeatError => "the server has not been heard of for too long".to_owned(),
        ErrorKind::InvalidChannelState(..) | ErrorKind::InvalidConnectionState(_) => "the connection was closed".to_owned(),
        _ => error.to_string(),
    }
}

/// What to do about what the server said, with something to join it; empty when that goes without saying.
pub(super) fn hint(error: &lapin::Error) -> String {
    let ErrorKind::ProtocolError(problem) = error.kind() else { return String::new() };
    let text = problem.get_message().as_str();
    if problem.get_id() == ACCESS_REFUSED {
        return "; grant it with `rabbitmqctl set_permissions`: configure, write and read for the exchange and the queues"
            .to_owned();
    }
    let quoted = |before: &str| text.split_once(before)?.1.split('\'').nth(1);
    let Some(argument) = quoted("inequivalent arg") else { return String::new() };
    let (is_exchange, current) = (text.contains("for exchange"), quoted("but current is").unwrap_or_default());
    match argument {
        "durable" if is_exchange => format!("; set `exchange_durable: {current}` to use the exchange as it is"),
        "type" if is_exchange => format!("; set `exchange_type: {current}` to use the exchange as it is"),
        _ if is_exchange => "; delete the exchange, or name another with `exchange_name`".to_owned(),
        "x-queue-type" if current.is_empty() => "; leave out `queue_type` to use the queue as it is".to_owned(),
        "x-queue-type" => format!("; set `queue_type: {current}` to use the queue as it is"),
        _ => "; delete the queue, or name another with `queues`".to_owned(),
    }
}

pub(super) fn unreachable(server: &Server, error: &io::Error) -> String {
    format!("cannot reach RabbitMQ at {}: {error}; is it running, and is this its port?", server.place())
}

/// Why no encrypted connection came about.
pub(super) fn untrusted(server: &Server, error: &io::Error) -> String {
    let (place, host) = (server.place(), &server.host);
    let inner = error.get_ref().and_then(|error| error.downcast_ref::<TlsError>());
    match inner {
        Some(TlsError::InvalidCertificate(problem)) => {
            let problem = match problem {
                CertificateError::UnknownIssuer => {
                    "is signed by an authority that is not trusted; name the file of the right one with `cafile`".to_owned()
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    "has expired; it must be renewed at the server".to_owned()
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    "is not valid yet; are the clocks right?".to_owned()
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    format!("was not made for the host `{host}`; `url` must name the server as its certificate does")
                }
                problem => format!("is not accepted: {problem}"),
            };
            format!("RabbitMQ at {place}: the server's certificate {problem}")
        }
        Some(TlsError::InvalidMessage(_)) => format!(
            "what listens at {place} does not speak TLS; RabbitMQ's port for TLS is usually {TLS_PORT}; \
             without TLS the URL begins with `amqp://`"
        ),
        _ => format!("RabbitMQ at {place}: no encrypted connection: {}", alert(error)),
    }
}

/// What the server said in place of an answer over TLS.
fn alert(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|error| error.downcast_ref::<TlsError>());
    match inner {
        Some(TlsError::AlertReceived(AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure)) => {
            "the server asks for a client certificate; name one with `?certfile=…&keyfile=…` in the URL".to_owned()
        }
        Some(TlsError::AlertReceived(alert)) => {
            format!(
                "the server refused the client certificate or the handshake (`{alert:?}`); does it trust the authority that signed the client certificate?"
            )
        }
        _ => error.to_string(),
    }
}

/// Why the server, once reached, did not let us in.
pub(super) fn refused(server: &Server, error: &lapin::Error) -> String {
    let (place, user, vhost) = (server.place(), &server.username, &server.vhost);
    match error.kind() {
        ErrorKind::IOError(error) => match error.get_ref() {
            Some(inner) if inner.is::<TlsError>() => format!("RabbitMQ at {place}: no encrypted connection: {}", alert(error)),
            // A server that refuses a client certificate may be gone before its reason has arrived.
            _ if server.tls.is_some() => format!(
                "RabbitMQ at {place} closed the connection before the login: {error}; \
                 does it trust the authority that signed the client certificate?"
            ),
            _ => format!(
                "RabbitMQ at {place} closed the connection before the login: {error}; \
                 if this is RabbitMQ's port for TLS, the URL begins with `amqps://`"
            ),
        },
        ErrorKind::ProtocolError(problem) => {
            let text = problem.get_message();
            match problem.get_id() {
                ACCESS_REFUSED => {
                    format!("RabbitMQ at {place} does not let user `{user}` in: wrong user name or password ({text})")
                }
                530 if text.as_str().contains("not found") => {
                    format!("RabbitMQ at {place} has no virtual host `{vhost}` ({text}); it is named behind the host in `url`")
                }
                530 => format!("RabbitMQ at {place} does not let user `{user}` into the virtual host `{vhost}` ({text})"),
                _ => format!("RabbitMQ at {place} refused the connection: {text}"),
            }
        }
        // A server that expects TLS answers with an alert, when it answers at all.
        ErrorKind::ParsingError(_) if server.tls.is_none() => {
            format!(
                "what listens at {place} does not speak AMQP; if this is RabbitMQ's port for TLS, the URL begins with `amqps://`"
            )
        }
        _ => format!("RabbitMQ at {place}: no connection: {}", say(error)),
    }
}

/// Why a queue sent a message back with a refusal.
pub(super) fn full(server: &Server, exchange: &str) -> String {
    format!(
        "RabbitMQ at {} refused the event: a queue behind the exchange `{exchange}` is full and has `overflow: reject-publish`, \
         or is not available",
        server.place()
    )
}

/// Why the server sent a message back.
pub(super) fn unroutable(server: &Server, exchange: &str) -> String {
    format!("RabbitMQ at {}: the exchange `{exchange}` leads the event to no queue; bind one to it", server.place())
}

/// Why the server does not read what it is sent.
pub(super) fn blocked(server: &Server) -> String {
    let place = server.place();
    format!("RabbitMQ at {place} takes no events now: it is short of memory or disk (see `rabbitmq-diagnostics alarms`)")
}

pub(super) fn unconfirmed(server: &Server, waited: Duration) -> String {
    format!("RabbitMQ at {} did not confirm the event within {:.0} s", server.place(), waited.as_secs_f32())
}

/// Why a message has no confirm although its connection is well.
pub(super) fn unasked(server: &Server) -> String {
    format!("RabbitMQ at {}: the connection gives no confirms", server.place())
}
