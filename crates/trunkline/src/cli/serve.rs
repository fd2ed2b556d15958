//! `trunkline serve`: the gateway, until it is told to stop.

use std::io::IsTerminal as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use trunkline_gateway::{Adapters, Gateway, Overrides, Plan, Stopped, VERSION, listed};

use super::output::{self, Failure, Outcome};
use super::{LogFormat, ProjectArgs};

/// The options are named as Rasa's, and win over `trunkline.yml`.
#[derive(Args, Debug)]
pub(super) struct Serve {
    #[command(flatten)]
    project: ProjectArgs,
    /// The port to listen on; 0 picks a free one and prints it. [default: 5005]
    #[arg(long, short)]
    port: Option<u16>,
    /// The address or host name to listen on. [default: 0.0.0.0]
    #[arg(long, short, value_name = "HOST")]
    interface: Option<String>,
    /// Serve the HTTP API too, not only the channels.
    #[arg(long)]
    enable_api: bool,
    /// Let callers of the API in with `?token=…`.
    #[arg(long, short = 't', value_name = "TOKEN", env = "AUTH_TOKEN", hide_env_values = true)]
    auth_token: Option<String>,
    /// Let callers of the API in with a JSON Web Token of this secret, or of this public key in PEM.
    #[arg(long, value_name = "SECRET", env = "JWT_SECRET", hide_env_values = true, allow_hyphen_values = true)]
    jwt_secret: Option<String>,
    /// The algorithm of JSON Web Tokens. [default: HS256]
    #[arg(long, value_name = "ALGORITHM", env = "JWT_METHOD")]
    jwt_method: Option<String>,
    /// The origins that browsers may call from; `*` is any.
    #[arg(long, value_name = "ORIGIN", num_args = 0..)]
    cors: Vec<String>,
    /// How logs are written; they go to standard error. What is logged is chosen by the variable `RUST_LOG`, as in
    /// `RUST_LOG=debug`.
    #[arg(long, value_enum, default_value = "text")]
    log_format: LogFormat,
}

impl Serve {
    pub(super) fn run(self, adapters: &Adapters) -> Result<Outcome, Failure> {
        start_logging(self.log_format);
        let directory = self.project.directory.clone();
        let plan = super::plan(&directory, self.overrides(), adapters)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let outcome = runtime.block_on(serve(plan));
        // A broker that hangs in a system call must not keep the process.
        runtime.shutdown_timeout(Duration::from_secs(1));
        outcome
    }

    fn overrides(self) -> Overrides {
        Overrides {
            interface: self.interface,
            port: self.port,
            enable_api: self.enable_api,
            auth_token: self.auth_token,
            jwt_secret: self.jwt_secret,
            jwt_method: self.jwt_method,
            cors: self.cors,
            ..self.project.overrides()
        }
    }
}

/// The channels that take a message in the form that the greeting shows; one's own have others.
const TRIED_WITH_CURL: [&str; 2] = ["rest", "callback"];

async fn serve(plan: Plan) -> Result<Outcome, Failure> {
    // Signals are taken before the first event, so that none is lost.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hangup = signal(SignalKind::hangup())?;
    let channel =
        plan.channels.iter().map(|channel| channel.name()).find(|name| TRIED_WITH_CURL.contains(name)).map(str::to_owned);
    let brokers = listed(plan.brokers.iter().map(|broker| &broker.subscription.name));
    let sources = Some(&plan.sources).filter(|sources| !sources.is_empty());
    let sources = sources.map(|sources| listed(sources.iter().map(|source| &source.name)));
    let (project, journal, api) = (plan.directory.clone(), plan.journal.directory.join("journal.db"), plan.api.enabled);
    let gateway = Gateway::start(plan).await?;
    let url = format!("http://{}", reachable(gateway.address()));
    let mut lines = vec![
        format!("Trunkline {VERSION}"),
        format!("  listening  {url}"),
        format!("  project    {}", project.display()),
        format!("  journal    {}", journal.display()),
        format!("  brokers    {brokers}"),
    ];
    lines.extend(sources.map(|sources| format!("  sources    {sources}")));
    if api {
        lines.push(format!("  api        {url}/conversations/ann/tracker"));
    }
    let message = r#"{"sender": "ann", "message": "hello"}"#;
    lines.extend(channel.map(|channel| format!("  try        curl {url}/webhooks/{channel}/webhook -d '{message}'")));
    output::report(lines.join("\n"))?;

    loop {
        tokio::select! {
            _ = hangup.recv() => tracing::info!("Files of brokers are opened again when they were rotated, with the next event"),
            () = either(&mut terminate, &mut interrupt) => break,
        }
    }
    tracing::info!("Stopping; a second signal forces it");
    match gateway.stop(either(&mut terminate, &mut interrupt)).await {
        Stopped::Drained => Ok(Outcome::Done),
        Stopped::Forced => Ok(Outcome::Forced),
    }
}

/// The first of two signals.
pub(super) async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

/// The address at which a caller on this machine reaches a listener on `address`.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), address.port()),
        _ => address,
    }
}

/// Logs go to standard error: text for people, JSON for machines; coloured only on a terminal.
pub(super) fn start_logging(format: LogFormat) {
    let builder = tracing_subscriber::fmt().with_env_filter(log_filter("info")).with_writer(std::io::stderr).with_target(false);
    match format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// What `RUST_LOG` says, or else everything from `level` on but what lapin says: that is whole messages, and an error of its own for
/// every connection that is lost, where ours has said already what matters.
pub(super) fn log_filter(level: &str) -> EnvFilter {
    EnvFilter::try_from_default_env().unwrap_or_else(|_| default_filter(level))
}

fn default_filter(level: &str) -> EnvFilter {
    EnvFilter::new(format!("{level},lapin=off"))
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lapin_is_not_heard_unless_it_is_asked_for() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(default_filter("info"))
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .without_time()
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::error!(target: "lapin::channel", "its own");
            tracing::info!("ours");
            tracing::debug!("too much");
        });
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(text.ends_with("ours\n") && text.lines().count() == 1, "{text}");
    }
}
