//! What went wrong with the server, for a person at night.

use std::io;
use std::time::Duration;

use lapin::ErrorKind;
use trunkline_tls::Fault;

use super::address::TLS_PORT;
use super::server::Server;
use super::tls::KEYS;

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
    let place = server.place();
    match Fault::of(error) {
        Some(Fault::NoTls) => format!(
            "what listens at {place} does not speak TLS; RabbitMQ's port for TLS is usually {TLS_PORT}; \
             without TLS the URL begins with `amqp://`"
        ),
        Some(fault) => format!("RabbitMQ at {place}: no encrypted connection: {}", fault.sentence(KEYS)),
        None => format!("RabbitMQ at {place}: no encrypted connection: {error}"),
    }
}

/// Why the server, once reached, did not let us in.
pub(super) fn refused(server: &Server, error: &lapin::Error) -> String {
    let (place, user, vhost) = (server.place(), &server.username, &server.vhost);
    match error.kind() {
        ErrorKind::IOError(error) if Fault::of(&**error).is_some() => untrusted(server, error),
        // A server that refuses a client certificate may be gone before its reason has arrived.
        ErrorKind::IOError(error) if server.tls.is_some() => format!(
            "RabbitMQ at {place} closed the connection before the login: {error}; \
             does it trust the authority that signed the client certificate?"
        ),
        ErrorKind::IOError(error) => format!(
            "RabbitMQ at {place} closed the connection before the login: {error}; \
             if this is RabbitMQ's port for TLS, the URL begins with `amqps://`"
        ),
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
