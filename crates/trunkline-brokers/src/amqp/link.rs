//! A connection with a channel, and how it is made.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lapin::tcp::AsyncTcpStream;
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{Channel, Connection, ConnectionProperties};
use tokio::time::{Instant, timeout};

use super::explain::{hint, refused, say, unreachable, untrusted};
use super::server::Server;
use super::tls;

/// The longest that each of these may take: to find the addresses, to connect to one of them, and to be let in, over TLS or not.
pub(super) const CONNECT: Duration = Duration::from_secs(10);

/// The longest that declarations, and saying goodbye, may take.
const EXCHANGE: Duration = Duration::from_secs(10);

/// A connection that is cut when it is dropped.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) connection: Connection,
    pub(super) channel: Channel,
    /// The server's limit for a message, in bytes, once it has named it.
    pub(super) largest: Option<usize>,
    _socket: Socket,
}

impl Link {
    /// Connects and opens a channel. The error is a sentence.
    pub(super) async fn open(server: &Server) -> Result<Self, String> {
        let (connection, socket) = connect(server).await?;
        let channel = channel(server, &connection).await?;
        Ok(Self { connection, channel, largest: None, _socket: socket })
    }

    /// Whether nothing is known to be wrong with it.
    pub(super) fn is_usable(&self) -> bool {
        self.connection.status().connected() && self.channel.status().connected()
    }

    /// Whether the server has said that it takes no messages now.
    pub(super) fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// Says goodbye, for a while. A server that takes no messages would not hear it.
    pub(super) async fn close(self) {
        if self.is_blocked() {
            return;
        }
        let goodbye = async {
            self.channel.close(200, "closed".into()).await.ok();
            self.connection.close(200, "closed".into()).await.ok();
        };
        timeout(EXCHANGE, goodbye).await.ok();
    }
}

/// What a connection goes over; it is cut when this is dropped.
///
/// The client library ends a connection with a goodbye, for which it waits as long as it takes, on a thread of its own: for ever,
/// when the server does not answer or does not even read.
#[derive(Debug)]
struct Socket(TcpStream);

impl Socket {
    fn of(stream: &impl AsFd) -> io::Result<Self> {
        Ok(Self(TcpStream::from(stream.as_fd().try_clone_to_owned()?)))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.0.shutdown(Shutdown::Both).ok();
    }
}

/// Opens a further channel.
pub(super) async fn channel(server: &Server, connection: &Connection) -> Result<Channel, String> {
    exchange(server, "open a channel", connection.create_channel()).await
}

/// Waits, for a while, for the server's answer to something that is none of publishing.
pub(super) async fn exchange<T>(
    server: &Server,
    action: &str,
    call: impl Future<Output = lapin::Result<T>>,
) -> Result<T, String> {
    match timeout(EXCHANGE, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(format!("RabbitMQ at {}: cannot {action}: {}{}", server.place(), say(&error), hint(&error))),
        Err(_) => Err(format!("RabbitMQ at {}: no answer within {} s to: {action}", server.place(), EXCHANGE.as_secs())),
    }
}

async fn connect(server: &Server) -> Result<(Connection, Socket), String> {
    let connector = match server.tls.clone() {
        Some(files) => {
            let read = tokio::task::spawn_blocking(move || tls::connector(&files));
            Some(read.await.map_err(|error| format!("cannot read the files for TLS: {error}"))??)
        }
        None => None,
    };
    let runtime = lapin::runtime::default_runtime().map_err(|error| error.to_string())?;
    let addresses = addresses(server).await?;
    let reached = first(&addresses, CONNECT, |address| AsyncTcpStream::connect(&runtime, address)).await;
    let reached = reached.and_then(|stream| {
        let AsyncTcpStream::Plain(plain) = &stream else { return Err(io::ErrorKind::Unsupported.into()) };
        let socket = Socket::of(plain.get_ref())?;
        Ok((stream, socket))
    });
    let (stream, socket) = reached.map_err(|error| unreachable(server, &error))?;
    let entering = async {
        let stream = match &connector {
            Some(connector) => stream.into_rustls(connector, &server.host).await.map_err(|error| untrusted(server, &error))?,
            None => stream,
        };
        // It is asked for once: the library connects again only when it is told to.
        let stream = Mutex::new(Some(stream));
        let give = async move |_, _| {
            let stream = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
            stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected).into())
        };
        let properties = ConnectionProperties::default().with_connection_name(server.name.as_str().into());
        Connection::connector(uri(server), runtime.clone(), give, properties).await.map_err(|error| refused(server, &error))
    };
    let connection = timeout(CONNECT, entering).await.unwrap_or_else(|_| {
        Err(format!("what listens at {} does not answer as RabbitMQ does; is this its port?", server.place()))
    })?;
    Ok((connection, socket))
}

/// Connects to the first address that answers. Each gets an equal share of the time that those before it have left, so that one
/// that swallows everything does not hide the next.
async fn first<T, F>(addresses: &[SocketAddr], limit: Duration, connect: impl Fn(SocketAddr) -> F) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let deadline = Instant::now() + limit;
    let mut failure = io::Error::other("its name has no address");
    for (&address, left) in addresses.iter().zip((1..=addresses.len()).rev()) {
        let share = deadline.saturating_duration_since(Instant::now()) / u32::try_from(left).unwrap_or(u32::MAX);
        failure = match timeout(share, connect(address)).await {
            Ok(Ok(connected)) => return Ok(connected),
            Ok(Err(error)) => error,
            Err(_) => io::Error::other(format!("no connection within {:.0} s", share.as_secs_f32())),
        };
    }
    Err(failure)
}

fn uri(server: &Server) -> AMQPUri {
    AMQPUri {
        scheme: if server.tls.is_some() { AMQPScheme::AMQPS } else { AMQPScheme::AMQP },
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo { username: server.username.clone(), password: server.password.expose().to_owned() },
            host: server.host.clone(),
            port: server.port,
        },
        vhost: server.vhost.clone(),
        query: AMQPQueryString { heartbeat: server.heartbeat, ..AMQPQueryString::default() },
    }
}

async fn addresses(server: &Server) -> Result<Vec<SocketAddr>, String> {
    let host = &server.host;
    let found = timeout(CONNECT, tokio::net::lookup_host((host.as_str(), server.port))).await;
    match found {
        Ok(Ok(addresses)) => Ok(addresses.collect()),
        Ok(Err(error)) => Err(format!("cannot find the host `{host}` of RabbitMQ: {error}")),
        Err(_) => Err(format!("cannot find the host `{host}` of RabbitMQ: no answer within {} s", CONNECT.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of connecting, when each address answers with its own answer, or never.
    async fn reach(answers: &[(&str, Option<Result<(), &'static str>>)]) -> String {
        let addresses: Vec<SocketAddr> = answers.iter().map(|(address, _)| address.parse().unwrap()).collect();
        let connect = |address: SocketAddr| {
            let (_, answer) = answers[addresses.iter().position(|other| *other == address).unwrap()];
            async move {
                match answer {
                    Some(answer) => answer.map(|()| address.to_string()).map_err(io::Error::other),
                    None => std::future::pending().await,
                }
            }
        };
        first(&addresses, CONNECT, connect).await.unwrap_or_else(|error| error.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn every_address_of_a_name_gets_its_turn() {
        let (a, b, c) = ("10.0.0.1:5672", "10.0.0.2:5672", "[::1]:5672");
        for (answers, expected) in [
            (vec![], "its name has no address"),
            (vec![(a, Some(Ok(()))), (b, Some(Ok(())))], a),
            (vec![(a, Some(Err("refused"))), (b, Some(Ok(())))], b),
            (vec![(a, None), (b, Some(Ok(())))], b),
            (vec![(a, None), (b, None), (c, Some(Ok(())))], c),
            (vec![(a, None), (b, Some(Err("refused")))], "refused"),
            (vec![(a, None)], "no connection within 10 s"),
            (vec![(a, Some(Err("refused"))), (b, None)], "no connection within 10 s"),
            (vec![(a, None), (b, None)], "no connection within 5 s"),
        ] {
            assert_eq!(reach(&answers).await, expected, "{answers:?}");
        }
    }
}
