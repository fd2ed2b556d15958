//! What the figures were measured on.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, ensure};
use serde::Serialize;

use crate::Bench;

/// How long the disk is tried.
const PROBE: Duration = Duration::from_millis(500);

/// The machine, its disk and the program, as they were when the run began.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    /// Seconds since 1970.
    pub(crate) time: u64,
    /// What the program calls itself.
    pub(crate) program: String,
    /// Cores that this process may use.
    pub(crate) cores: usize,
    /// The processor's name.
    pub(crate) processor: String,
    /// The kernel's release.
    pub(crate) kernel: String,
    /// Runnable processes over the last minute: what else was going on.
    pub(crate) load_average: f64,
    /// The kind of file system that journals are written to.
    pub(crate) file_system: String,
    /// Appends of 4 KiB, each followed by fdatasync, in a second.
    pub(crate) synced_appends: f64,
    /// Whether this harness itself was compiled with optimisation.
    pub(crate) optimised: bool,
}

impl Machine {
    /// Looks around, and refuses a journal directory that is not on a disk.
    pub(crate) fn look(bench: &Bench) -> anyhow::Result<Self> {
        let file_system = file_system(&bench.dir)?;
        ensure!(
            file_system != "tmpfs",
            "{} is in memory, where syncing costs nothing; name a directory on a disk with --dir",
            bench.dir.display()
        );
        Ok(Self {
            time: SystemTime::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_secs()),
            program: program(&bench.binary),
            cores: std::thread::available_parallelism()?.get(),
            processor: processor(&fs::read_to_string("/proc/cpuinfo")?),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            load_average: fs::read_to_string("/proc/loadavg")?
                .split(' ')
                .next()
                .and_then(|first| first.parse().ok())
                .unwrap_or(0.0),
            synced_appends: synced_appends(&bench.dir)?,
            file_system,
            optimised: !cfg!(debug_assertions),
        })
    }
}

fn program(binary: &Path) -> String {
    let output = Command::new(binary).arg("--version").stdin(Stdio::null()).output();
    let version = output.ok().filter(|output| output.status.success()).map(|output| output.stdout).unwrap_or_default();
    let version = String::from_utf8_lossy(&version);
    version.lines().next().map_or_else(|| "of unknown version".to_owned(), |line| line.trim().to_owned())
}

fn processor(cpuinfo: &str) -> String {
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    model.map_or_else(|| "unknown processor".to_owned(), |(_, name)| name.trim().to_owned())
}

fn file_system(dir: &Path) -> anyhow::Result<String> {
    let status = rustix::fs::statfs(dir).with_context(|| format!("failed to look at {}", dir.display()))?;
    // The magic numbers of statfs(2).
    Ok(match status.f_type {
        0xEF53 => "ext4".to_owned(),
        0x5846_5342 => "xfs".to_owned(),
        0x9123_683E => "btrfs".to_owned(),
        0x2FC1_2FC1 => "zfs".to_owned(),
        0x794C_7630 => "overlay".to_owned(),
        0x0102_1994 | 0x8584_58F6 => "tmpfs".to_owned(),
        other => format!("type {other:#x}"),
    })
}

fn synced_appends(dir: &Path) -> anyhow::Result<f64> {
    let mut file = tempfile::tempfile_in(dir)?;
    let page = [b'x'; 4_096];
    let begin = Instant::now();
    let mut appends = 0_u32;
    while begin.elapsed() < PROBE {
        file.write_all(&page)?;
        file.sync_data()?;
        appends += 1;
    }
    Ok(f64::from(appends) / begin.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_named_or_said_to_be_unknown() {
        assert_eq!(processor("processor\t: 0\nmodel name\t: Fast One\nmodel name\t: Fast One\n"), "Fast One");
        assert_eq!(processor("CPU part\t: 0xd0c\n"), "unknown processor");
    }
}
