//! Starts, watches and stops the servers that are measured.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use rustix::{
    param::clock_ticks_per_second,
    process::{Pid, Signal, kill_process},
};
use serde::Serialize;
use tokio::{sync::oneshot, time};

use crate::load;

/// How long a server may take to get ready, and how long to end.
const PATIENCE: Duration = Duration::from_mins(1);

/// The program to measure: the one named, or the workspace's own, built first when cargo runs this.
///
/// Building first keeps a stale program from being measured by mistake.
pub(crate) fn locate(named: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    if let Some(path) = named {
        ensure!(path.is_file(), "{} is not a file", path.display());
        return Ok(fs::canonicalize(path)?);
    }
    if let Some(cargo) = std::env::var_os("CARGO") {
        let built = Command::new(cargo)
            .args(["build", "--release", "--package", "trunkline", "--bin", "trunkline"])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .status()
            .context("failed to run cargo")?;
        ensure!(built.success(), "the program to measure was not built; name another with --binary");
    }
    let own = std::env::current_exe()?;
    // Beside this program, or where the release lies when this is the unoptimised harness.
    [own.with_file_name("../release/trunkline"), own.with_file_name("trunkline")]
        .into_iter()
        .find(|path| path.is_file())
        .context("there is no `trunkline` beside this program; build it, or name one with --binary")
}

/// A server process, killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// From spawn to the line that names the address.
    pub(crate) announced: Duration,
    /// From spawn to the first 200 from `/status/ready`.
    pub(crate) ready: Duration,
    process: Process,
}

impl Server {
    /// Starts Trunkline on a project directory.
    pub(crate) async fn trunkline(binary: &Path, project: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(binary);
        command
            .arg("serve")
            .arg(project)
            .args(["--port", "0", "--interface", "127.0.0.1", "--enable-api"])
            .env_remove("RUST_LOG");
        Self::start(command, project.with_extension("log")).await.context("failed to start trunkline")
    }

    /// Starts the anchor; its log goes beside the project directory.
    pub(crate) async fn constant(project: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("constant-server");
        Self::start(command, project.with_extension("constant.log")).await.context("failed to start the constant server")
    }

    async fn start(mut command: Command, log: PathBuf) -> anyhow::Result<Self> {
        let stderr = File::create(&log)?;
        let spawned = Instant::now();
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr).spawn()?;
        let mut process = Process { child, log };
        let announced = process.announcement();
        let (address, announced) = match time::timeout(PATIENCE, announced).await {
            Ok(Ok((address, at))) => (address, at - spawned),
            Ok(Err(_)) => bail!("it ended without naming its address{}", process.last_words()),
            Err(_) => bail!("it named no address in {} s{}", PATIENCE.as_secs(), process.last_words()),
        };
        loop {
            let obstacle = match load::get(address, "/status/ready").await {
                Ok(200) => break,
                Ok(status) => format!("/status/ready is {status}"),
                Err(error) => format!("{error:#}"),
            };
            let patient = process.child.try_wait()?.is_none() && spawned.elapsed() < PATIENCE;
            ensure!(patient, "it did not get ready: {obstacle}{}", process.last_words());
            time::sleep(Duration::from_millis(1)).await;
        }
        Ok(Self { address, announced, ready: spawned.elapsed(), process })
    }

    /// What the kernel says of its memory.
    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        Memory::parse(&self.process.read("status")?).context("/proc does not tell the memory of the server")
    }

    /// User and system time that it has used.
    pub(crate) fn processor_time(&self) -> anyhow::Result<Duration> {
        let ticks = ticks(&self.process.read("stat")?).context("/proc does not tell the processor time of the server")?;
        Ok(duration(ticks))
    }

    /// Processor time that neither it nor this harness has used, on all cores, stolen time included.
    pub(crate) fn others_time(&self) -> anyhow::Result<Duration> {
        let busy = busy_ticks(&fs::read_to_string("/proc/stat")?).context("/proc does not tell how busy the machine is")?;
        let own = ticks(&fs::read_to_string("/proc/self/stat")?).context("/proc does not tell the time of this process")?;
        Ok(duration(busy.saturating_sub(own)).saturating_sub(self.processor_time()?))
    }

    /// Waits until it does nothing any more, and says how much work it had put off.
    ///
    /// Otherwise what one measurement leaves undone would slow down the next one.
    pub(crate) async fn settle(&self) -> anyhow::Result<Duration> {
        const QUIET: Duration = Duration::from_millis(10);
        let deadline = Instant::now() + PATIENCE;
        let before = self.processor_time()?;
        let mut last = before;
        let mut quiet = 0;
        while quiet < 2 && Instant::now() < deadline {
            time::sleep(Duration::from_millis(100)).await;
            let now = self.processor_time()?;
            quiet = if now.saturating_sub(last) <= QUIET { quiet + 1 } else { 0 };
            last = now;
        }
        Ok(last.saturating_sub(before))
    }

    /// The end of its log, to be put behind a message.
    pub(crate) fn last_words(&self) -> String {
        self.process.last_words()
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.process.child), Signal::TERM)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.process.child.try_wait()?.is_some() {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "it did not end within {} s of SIGTERM{}",
                PATIENCE.as_secs(),
                self.process.last_words()
            );
            time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A child and the file that its standard error goes to.
#[derive(Debug)]
struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Resolves to the address that the child prints, and when it did; fails when its standard output ends before.
    fn announcement(&mut self) -> oneshot::Receiver<(SocketAddr, Instant)> {
        let (sender, receiver) = oneshot::channel();
        let output = self.child.stdout.take().expect("standard output is piped and taken once");
        // A thread goes on reading after the address has come, or a child that logs to its output would block.
        std::thread::spawn(move || {
            let mut sender = Some(sender);
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some(address) = address_in(&line)
                    && let Some(sender) = sender.take()
                {
                    let _ = sender.send((address, Instant::now()));
                }
            }
        });
        receiver
    }

    fn read(&self, name: &str) -> anyhow::Result<String> {
        let path = format!("/proc/{}/{name}", self.child.id());
        fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))
    }

    /// The end of its log, to be put behind a message.
    fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].iter().fold(String::new(), |words, line| words + "\n    " + line)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when the child has ended and was waited for, which is what they are for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("http://")?;
    let end = |character: char| !(character.is_ascii_digit() || character == '.' || character == ':');
    rest.split(end).next()?.trim_end_matches(['.', ':']).parse().ok()
}

fn duration(ticks: u64) -> Duration {
    Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64)
}

/// The ticks of all cores that were neither idle nor waiting for a disk.
fn busy_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let mut next = || fields.next()?.parse::<u64>().ok();
    let (user, nice, system) = (next()?, next()?, next()?);
    let (_idle, _waiting) = (next()?, next()?);
    let (interrupts, soft_interrupts, stolen) = (next()?, next()?, next()?);
    Some(user + nice + system + interrupts + soft_interrupts + stolen)
}

fn ticks(stat: &str) -> Option<u64> {
    // The program's name stands in brackets and may contain anything, so counting begins behind it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Memory of a process, in KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Memory {
    /// What is resident now, pages of the program file included.
    pub(crate) resident: u64,
    /// The most that was ever resident.
    pub(crate) peak: u64,
    /// The part of the resident set that belongs to no file.
    pub(crate) anonymous: u64,
}

impl Memory {
    fn parse(status: &str) -> Option<Self> {
        let field = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().strip_suffix(" kB")?.trim().parse().ok())
        };
        Some(Self { resident: field("VmRSS")?, peak: field("VmHWM")?, anonymous: field("RssAnon")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_a_line_for_people() {
        for (line, expected) in [
            ("http://127.0.0.1:5005", Some("127.0.0.1:5005")),
            ("Trunkline is ready: http://127.0.0.1:40123/console/ (stop with Ctrl-C)", Some("127.0.0.1:40123")),
            ("Listening on http://127.0.0.1:40123.", Some("127.0.0.1:40123")),
            ("see http://example.org", None),
            ("starting", None),
        ] {
            assert_eq!(address_in(line).map(|address| address.to_string()).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn processor_time_is_found_behind_a_name_with_brackets() {
        assert_eq!(ticks("7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 30 12 0 0 20 0 3 0 99 0 0"), Some(42));
    }

    #[test]
    fn the_machine_is_busy_with_all_but_idling_and_waiting() {
        assert_eq!(busy_ticks("cpu  1 20 300 9 9 4000 50000 600000 9 9\ncpu0 1 1 1 1\n"), Some(654_321));
    }

    #[test]
    fn memory_is_read_in_kib() {
        let status = "Name:\ttrunkline\nVmHWM:\t   20480 kB\nVmRSS:\t   10240 kB\nRssAnon:\t    5120 kB\n";
        assert_eq!(Memory::parse(status), Some(Memory { resident: 10_240, peak: 20_480, anonymous: 5_120 }));
        assert_eq!(Memory::parse("Name:\ttrunkline\n"), None);
    }
}
