//! A connection with a channel, and how it is made.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lapin::tcp::AsyncTcpStream;
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{Channel, Connection, ConnectionProperties};
use tokio::time::timeout;

use super::explain::{Sentence, hint, refused, say, unreachable, untrusted};
use super::server::Server;
use super::tls;

/// The longest that it takes to resolve, connect and shake hands over TLS, and after that to log in.
pub(super) const CONNECT: Duration = Duration::from_secs(10);

/// The longest that declarations, and saying goodbye, may take.
const EXCHANGE: Duration = Duration::from_secs(10);

/// A connection that is closed when it is dropped.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) connection: Connection,
    pub(super) channel: Channel,
    /// The server's limit for a message, in bytes, once it has named it.
    pub(super) largest: Option<usize>,
}

impl Link {
    /// Connects and opens a channel. The error is a sentence.
    pub(super) async fn open(server: &Server) -> Result<Self, String> {
        let connection = connect(server).await?;
        let channel = channel(server, &connection).await?;
        Ok(Self { connection, channel, largest: None })
    }

    /// Whether nothing is known to be wrong with it.
    pub(super) fn is_usable(&self) -> bool {
        self.connection.status().connected() && self.channel.status().connected()
    }

    /// Says goodbye, for a while.
    pub(super) async fn close(self) {
        let goodbye = async {
            self.channel.close(200, "closed".into()).await.ok();
            self.connection.close(200, "closed".into()).await.ok();
        };
        timeout(EXCHANGE, goodbye).await.ok();
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

async fn connect(server: &Server) -> Result<Connection, String> {
    let connector = match server.tls.clone() {
        Some(files) => {
            let read = tokio::task::spawn_blocking(move || tls::connector(&files));
            Some(read.await.map_err(|error| format!("cannot read the files for TLS: {error}"))??)
        }
        None => None,
    };
    let addresses = addresses(server).await?;
    let properties = ConnectionProperties::default().with_connection_name(server.name.as_str().into());
    let runtime = lapin::runtime::default_runtime().map_err(|error| error.to_string())?;
    let socket = Arc::new(Mutex::new(None));
    let (target, kept) = (Arc::new(server.clone()), Arc::clone(&socket));
    let connecting = Connection::connector(
        uri(server),
        runtime,
        async move |_, runtime| {
            let opening = async {
                let mut failure = None;
                for address in &addresses {
                    match AsyncTcpStream::connect(&runtime, *address).await {
                        Ok(AsyncTcpStream::Plain(stream)) => {
                            *lock(&kept) = stream.get_ref().as_fd().try_clone_to_owned().ok();
                            let stream = AsyncTcpStream::Plain(stream);
                            let Some(connector) = &connector else { return Ok(stream) };
                            let encrypted = stream.into_rustls(connector, &target.host).await;
                            return encrypted.map_err(|error| untrusted(&target, &error));
                        }
                        Ok(_) => {}
                        Err(error) => failure = Some(error),
                    }
                }
                Err(unreachable(&target, failure))
            };
            let opened = timeout(CONNECT, opening).await;
            let opened = opened.unwrap_or_else(|_| Err(unreachable(&target, None)));
            opened.map_err(|sentence| io::Error::other(Sentence(sentence)).into())
        },
        properties,
    );
    if let Ok(connected) = timeout(CONNECT * 2, connecting).await {
        return connected.map_err(|error| refused(server, &error));
    }
    // The library would wait for ever, with a thread and a socket for each attempt.
    if let Some(socket) = lock(&socket).take() {
        std::net::TcpStream::from(socket).shutdown(Shutdown::Both).ok();
    }
    Err(format!("what listens at {} does not answer as RabbitMQ does; is this its port?", server.place()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
