//! A real HTTP server whose answers a test decides, plain or with TLS, and the certificates for it.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::serve::Listener;
use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;

pub use axum;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Heard {
    /// The method.
    pub method: String,
    /// Path and query, nothing decoded.
    pub target: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Heard {
    /// A header as text; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

type Answering = std::pin::Pin<Box<dyn Future<Output = Response> + Send>>;

#[derive(Clone)]
struct Behaviour {
    answer: Arc<dyn Fn(Heard) -> Answering + Send + Sync>,
    heard: UnboundedSender<Heard>,
}

/// A running server on a port of its own; it ends with the runtime of the test.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    heard: UnboundedReceiver<Heard>,
}

impl Server {
    /// Speaks HTTP, and answers what `answer` says.
    pub async fn start<F>(answer: impl Fn(Heard) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (router, heard) = router(answer);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, heard }
    }

    /// The same over TLS, as `certificate` says.
    pub async fn start_tls<F>(certificate: &Served, answer: impl Fn(Heard) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (router, heard) = router(answer);
        let listener = Tls { listener, acceptor: certificate.acceptor() };
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, heard }
    }

    /// What arrived since the last call.
    pub fn heard(&mut self) -> Vec<Heard> {
        std::iter::from_fn(|| self.heard.try_recv().ok()).collect()
    }

    /// The next request, as soon as it has arrived.
    pub async fn hear(&mut self) -> Heard {
        self.heard.recv().await.unwrap()
    }
}

fn router<F>(answer: impl Fn(Heard) -> F + Send + Sync + 'static) -> (Router, UnboundedReceiver<Heard>)
where
    F: Future<Output = Response> + Send + 'static,
{
    let (sender, heard) = unbounded_channel();
    let behaviour = Behaviour { answer: Arc::new(move |heard| Box::pin(answer(heard))), heard: sender };
    (Router::new().fallback(answer_one).with_state(behaviour), heard)
}

async fn answer_one(State(behaviour): State<Behaviour>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let heard = Heard { method: parts.method.to_string(), target: parts.uri.to_string(), headers: parts.headers, body };
    // A test that is over does not listen.
    let _ = behaviour.heard.send(heard.clone());
    (behaviour.answer)(heard).await
}

struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let Ok((stream, peer)) = self.listener.accept().await else { continue };
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// An authority that signs certificates, with its files.
#[derive(Debug)]
pub struct Authority {
    /// Its own certificate in PEM.
    pub cafile: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new one, with its certificate as `NAME.pem` in `directory`.
    pub fn new(directory: &Path, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let cafile = directory.join(format!("{name}.pem"));
        std::fs::write(&cafile, params.self_signed(&key).unwrap().pem()).unwrap();
        Self { cafile, issuer: Issuer::new(params, key) }
    }

    /// A certificate for `name`, `NAME.pem`, and its key, `NAME.key`, beside that of the authority.
    pub fn sign(&self, name: &str, is_expired: bool) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        if is_expired {
            params.not_before = rcgen::date_time_ymd(2001, 1, 1);
            params.not_after = rcgen::date_time_ymd(2002, 1, 1);
        }
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let suffix = if is_expired { "-expired" } else { "" };
        let file = |extension: &str| self.cafile.with_file_name(format!("{name}{suffix}.{extension}"));
        std::fs::write(file("pem"), certificate.pem()).unwrap();
        std::fs::write(file("key"), key.serialize_pem()).unwrap();
        (file("pem"), file("key"))
    }
}

/// What a server shows, and whether it wants to see something.
#[derive(Clone, Debug)]
pub struct Served {
    /// Certificate and key.
    pub files: (PathBuf, PathBuf),
    /// The authority of the certificates that clients must show.
    pub clients_of: Option<PathBuf>,
}

impl Served {
    fn acceptor(&self) -> TlsAcceptor {
        let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
        let builder = match &self.clients_of {
            None => builder.with_no_client_auth(),
            Some(cafile) => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(certificates(cafile));
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
                builder.with_client_cert_verifier(verifier)
            }
        };
        let key = PrivateKeyDer::from_pem_file(&self.files.1).unwrap();
        TlsAcceptor::from(Arc::new(builder.with_single_cert(certificates(&self.files.0), key).unwrap()))
    }
}

fn certificates(file: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(file).unwrap().map(Result::unwrap).collect()
}
