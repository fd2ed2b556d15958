//! Real servers, started by `scripts/services`: those that all tests share, and a test's own that it may kill.
//!
//! Tests on the shared ones run in parallel, so each gives its queues, tables and keys names of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

/// The user that every server knows.
pub const USER: &str = "trunkline";

/// Its password, awkward on purpose.
pub const PASSWORD: &str = "a secret/50%";

/// What a server listens on: its name here, the name of the server in `scripts/services`, a name for people, and the offset.
const PORTS: &[(&str, &str, &str, u16)] = &[
    ("rabbitmq", "rabbitmq", "RabbitMQ", 1),
    ("rabbitmq-tls", "rabbitmq", "RabbitMQ", 2),
    ("postgresql", "postgresql", "PostgreSQL", 10),
    ("mariadb", "mariadb", "MariaDB", 20),
    ("redis", "redis", "Redis", 30),
    ("redis-tls", "redis", "Redis", 31),
    ("redis-cluster", "redis-cluster", "The Redis cluster", 40),
    ("kafka", "kafka", "Kafka", 50),
    ("kafka-sasl", "kafka", "Kafka", 51),
    ("kafka-tls", "kafka", "Kafka", 52),
    ("kafka-sasl-tls", "kafka", "Kafka", 53),
];

/// How far from its base port a listener is, by its name as in [`port`].
fn offset(name: &str) -> u16 {
    listener(name).3
}

fn listener(name: &str) -> &'static (&'static str, &'static str, &'static str, u16) {
    PORTS.iter().find(|listener| listener.0 == name).unwrap_or_else(|| panic!("nothing is called {name}; there are {PORTS:?}"))
}

/// The port of a shared server on 127.0.0.1: `rabbitmq`, `rabbitmq-tls`, `postgresql`, `mariadb`, `redis`, `redis-tls`,
/// `redis-cluster` (the first of its three nodes; the others follow), `kafka`, `kafka-sasl`, `kafka-tls` or `kafka-sasl-tls`.
///
/// # Panics
///
/// When it does not run: a test never passes because its server is missing.
pub fn port(name: &str) -> u16 {
    let (_, server, title, offset) = listener(name);
    let base = std::env::var("TRUNKLINE_SERVICES_PORTS").map_or(25000, |base| base.parse::<u16>().unwrap());
    let port = base + offset;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    if let Err(error) = TcpStream::connect_timeout(&address, Duration::from_secs(5)) {
        panic!("{title} is not running: start the servers with `scripts/services start {server}` ({address}: {error})");
    }
    port
}

/// Where the shared servers have their state.
pub fn dir() -> PathBuf {
    let dir = std::env::var_os("TRUNKLINE_SERVICES_DIR").map_or_else(|| PathBuf::from("target/services"), PathBuf::from);
    root().join(dir)
}

/// One of the certificates and keys that the shared servers go by, as `ca.pem`; `scripts/services.d/tls.sh` lists them.
pub fn tls(file: &str) -> PathBuf {
    let path = dir().join("tls").join(file);
    assert!(path.exists(), "`{}` does not exist: start the servers with `scripts/services start`", path.display());
    path
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// A server of a test's own, which it may kill. It ends and its data goes when this is dropped.
#[derive(Debug)]
pub struct Private {
    server: &'static str,
    directory: TempDir,
    base: u16,
    variables: Vec<(String, String)>,
    _claim: TcpListener,
    _permit: SemaphorePermit<'static>,
}

/// A machine of two cores is soon busy with nothing but starting servers.
static RUNNING: Semaphore = Semaphore::const_new(2);

impl Private {
    /// Starts a server, by its name in `scripts/services`, and waits until it answers.
    ///
    /// Two at most run at a time in one process of tests, further ones wait; so a test must not need three.
    pub async fn start(server: &str) -> Self {
        Self::with(server, &[]).await
    }

    /// As [`Private::start`], with variables in the environment of the script: `TRUNKLINE_SERVICES_CERTIFICATE` names the
    /// certificate that the server shows, as `expired`; `TRUNKLINE_SERVICES_DISK` is needed for [`Private::fill_disk`].
    pub async fn with(server: &str, variables: &[(&str, &str)]) -> Self {
        let permit = RUNNING.acquire().await.unwrap();
        let directory = tempfile::Builder::new().prefix("trunkline-").tempdir().unwrap();
        // Servers do not run as root, and their own users must get in.
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let (base, claim) = free_ports();
        let variables = variables.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        let server = listener(server).1;
        let private = Self { server, directory, base, variables, _claim: claim, _permit: permit };
        private.start_again().await;
        private
    }

    /// Starts it again after [`Private::kill`] or [`Private::stop`], on the same data, and waits until it answers.
    pub async fn start_again(&self) {
        self.run("start").await;
    }

    /// Ends it with SIGKILL.
    pub async fn kill(&self) {
        self.run("kill").await;
    }

    /// Ends it in good order.
    pub async fn stop(&self) {
        self.run("stop").await;
    }

    /// Stops its processes where they are: it takes connections and never answers.
    pub async fn hang(&self) {
        self.run("hang").await;
    }

    /// Ends what [`Private::hang`] began.
    pub async fn resume(&self) {
        self.run("resume").await;
    }

    /// Writes its disk full. It must have been given one of its own with `TRUNKLINE_SERVICES_DISK`, as `300m`.
    pub async fn fill_disk(&self) {
        let file = self.filler();
        let written =
            tokio::task::spawn_blocking(move || std::io::copy(&mut std::io::repeat(0), &mut std::fs::File::create(file)?));
        let error = written.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    }

    /// Frees what [`Private::fill_disk`] took.
    pub async fn free_disk(&self) {
        tokio::fs::remove_file(self.filler()).await.unwrap();
    }

    fn filler(&self) -> PathBuf {
        let directory = self.directory.path().join(self.server);
        assert!(self.variables.iter().any(|(key, _)| key == "TRUNKLINE_SERVICES_DISK"), "this would fill everybody's disk");
        directory.join("filler")
    }

    /// The port of a listener, by its name as in [`port`].
    pub fn port(&self, name: &str) -> u16 {
        self.base + offset(name)
    }

    /// One of its certificates and keys, as `ca.pem`. They are not those of the shared servers.
    pub fn tls(&self, file: &str) -> PathBuf {
        self.directory.path().join("tls").join(file)
    }

    /// Where it has its data, in a directory of its name, with a file `log`.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    async fn run(&self, action: &str) {
        let output = tokio::process::Command::from(self.command(action)).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "scripts/services {action} {}: {said}", self.server);
    }

    fn command(&self, action: &str) -> Command {
        let mut command = Command::new(root().join("scripts/services"));
        command.args([action, self.server]).stdin(Stdio::null());
        command.envs(self.variables.iter().map(|(key, value)| (key, value)));
        command.env("TRUNKLINE_SERVICES_DIR", self.directory.path());
        command.env("TRUNKLINE_SERVICES_PORTS", self.base.to_string());
        command.env("TRUNKLINE_SERVICES_OWNER", std::process::id().to_string());
        command
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        let _ = self.command("remove").stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// A base port with free ports behind it. No server uses the base itself: listening there tells other tests that the range is
/// taken.
fn free_ports() -> (u16, TcpListener) {
    let claim = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    // Below the ports that the kernel gives to clients, and above those of the shared servers.
    (26_000..32_700 - 64)
        .step_by(64)
        .find_map(|base| {
            let listener = claim(base).ok()?;
            (base + 1..base + 64).all(|port| claim(port).is_ok()).then_some((base, listener))
        })
        .expect("there are free ports between 26000 and 32700")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(port: u16) -> bool {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
    }

    #[tokio::test]
    async fn a_private_server_is_killed_started_again_and_gone_in_the_end() {
        let redis = Private::start("redis").await;
        let (port, directory) = (redis.port("redis"), redis.directory().to_owned());
        assert!(answers(port));
        redis.kill().await;
        assert!(!answers(port));
        redis.start_again().await;
        assert!(answers(port) && answers(redis.port("redis-tls")) && redis.tls("ca.pem").exists());
        let pid = std::fs::read_to_string(directory.join("redis/pid")).unwrap();
        let process = Path::new("/proc").join(pid.split(' ').next().unwrap()).join("exe");
        assert!(process.read_link().is_ok());
        drop(redis);
        // Its ports may already be somebody else's.
        assert!(process.read_link().is_err() && !directory.exists());
    }

    #[tokio::test]
    async fn a_disk_of_its_own_is_filled_and_freed() {
        let redis = Private::with("redis", &[("TRUNKLINE_SERVICES_DISK", "20m")]).await;
        let file = redis.directory().join("redis/test");
        redis.fill_disk().await;
        assert!(std::fs::write(&file, "x").is_err());
        redis.free_disk().await;
        std::fs::write(&file, "x").unwrap();
    }

    #[tokio::test]
    async fn private_servers_do_not_meet() {
        let (one, other) = tokio::join!(Private::start("redis"), Private::start("redis"));
        assert_ne!(one.port("redis"), other.port("redis"));
        one.kill().await;
        assert!(!answers(one.port("redis")) && answers(other.port("redis")));
    }
}
