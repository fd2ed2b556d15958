//! The program as a process.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Nothing that a test waits for takes longer on a machine that works.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running `trunkline serve`. It is killed when this is dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    /// Where it listens, as `http://127.0.0.1:40001`.
    pub url: String,
    client: reqwest::Client,
    log: PathBuf,
}

/// What the server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: reqwest::header::HeaderMap,
    /// The body as text.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// How the program ended.
#[derive(Debug)]
pub struct Exit {
    /// Its status.
    pub status: ExitStatus,
    /// What it logged in its life.
    pub log: String,
}

impl Program {
    /// Starts `binary serve DIRECTORY` with the HTTP API on a free port of 127.0.0.1, and waits until it listens.
    pub async fn start(binary: &str, directory: &Path) -> Self {
        Self::start_with(binary, directory, &["--enable-api"], &[]).await
    }

    /// As [`Program::start`] with other arguments and with variables in its environment.
    pub async fn start_with(binary: &str, directory: &Path, arguments: &[&str], variables: &[(&str, &OsStr)]) -> Self {
        let mut command = Command::new(binary);
        command.arg("serve").arg(directory).args(["--port", "0", "--interface", "127.0.0.1"]).args(arguments);
        command.envs(variables.iter().copied());
        Self::run(command, directory).await
    }

    /// Runs a command that comes to be `trunkline serve`, and waits until it listens. Its log goes to `program.log`.
    pub async fn run(mut command: Command, directory: &Path) -> Self {
        let log = directory.join("program.log");
        let file = std::fs::File::options().create(true).append(true).open(&log).unwrap();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if let Some(url) = line.split_whitespace().find(|word| word.starts_with("http://")) {
                    return url.to_owned();
                }
            }
            panic!("the program did not start: {}", std::fs::read_to_string(&log).unwrap_or_default());
        };
        let url = timeout(PATIENCE, url).await.unwrap();
        // Whatever it prints later must not block it.
        tokio::spawn(async move {
            let mut rest = Vec::new();
            let _ = lines.into_inner().read_to_end(&mut rest).await;
        });
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Self { child, url, client, log }
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// A request to `path`.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// Sends a request; an error means that no answer came.
    pub async fn send(&self, request: RequestBuilder) -> Result<Answer, reqwest::Error> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { status, headers, body: response.text().await? })
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await.unwrap()
    }

    /// `POST` of JSON.
    pub async fn post(&self, path: &str, body: impl Into<String>) -> Answer {
        let request = self.request(Method::POST, path).header("content-type", "application/json").body(body.into());
        self.send(request).await.unwrap()
    }

    /// Says something through the REST channel and gives the replies.
    pub async fn say(&self, sender: &str, message: &str) -> serde_json::Value {
        let body = serde_json::json!({"sender": sender, "message": message}).to_string();
        self.post("/webhooks/rest/webhook", body).await.json()
    }

    /// Waits until every subscription has settled everything that the journal has, answers included.
    pub async fn settled(&self) {
        self.settled_where(|_| true).await;
    }

    /// Waits until the subscription `name` has settled everything that the journal has.
    pub async fn settled_by(&self, name: &str) {
        self.settled_where(|other| other == name).await;
    }

    async fn settled_where(&self, wanted: impl Fn(&str) -> bool) {
        let settled = async {
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            loop {
                tick.tick().await;
                // Settling a message appends its answer, so the end must be the same before and after.
                let head = self.head().await;
                let subscriptions = self.get("/status/ready").await.json()["subscriptions"].take();
                let mut subscriptions =
                    subscriptions.as_array().unwrap().iter().filter(|one| wanted(one["name"].as_str().unwrap()));
                if subscriptions.all(|one| one["settled_below"].as_u64().unwrap() > head) && self.head().await == head {
                    return;
                }
            }
        };
        timeout(PATIENCE * 5, settled).await.expect("everything is delivered");
    }

    /// The offset below which the subscription `name` has settled everything.
    pub async fn settled_below(&self, name: &str) -> u64 {
        let ready = self.get("/status/ready").await.json();
        let subscription = ready["subscriptions"].as_array().unwrap().iter().find(|one| one["name"] == name);
        subscription.unwrap()["settled_below"].as_u64().unwrap()
    }

    /// The offset of the newest event.
    pub async fn head(&self) -> u64 {
        self.metric("trunkline_journal_head_offset").await.unwrap()
    }

    /// A figure of `/metrics`, named with its labels as it is printed there.
    pub async fn metric(&self, name: &str) -> Option<u64> {
        let metrics = self.get("/metrics").await.body;
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        Some(line.parse().unwrap_or_else(|error| panic!("{name} {line}: {error}")))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Kills it as a power cut would, from its point of view.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Asks it to stop and waits until it has.
    pub async fn stop(self) -> Exit {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Waits until it has ended.
    pub async fn ended(mut self) -> Exit {
        let status = timeout(PATIENCE, self.child.wait()).await.expect("it ends").unwrap();
        Exit { status, log: std::fs::read_to_string(&self.log).unwrap_or_default() }
    }

    /// A line of `/proc/PID/status` in bytes, as `VmRSS`.
    pub fn memory(&self, key: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}
