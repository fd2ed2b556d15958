//! A child process with all that it started.

use std::fmt;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::process::Child;
use tokio::signal::unix::{self, SignalKind};
use tokio::time::timeout;

/// A child that leads a process group, to which everything belongs that it starts. Dropped, all of it is killed.
///
/// Until the child is reaped the number of the group is its own, even if it has ended; afterwards it may become that of somebody
/// else. So the end of the child is found out without reaping it, and what is left of the group is killed before.
pub(super) struct Group {
    child: Child,
    /// `None` once the child is reaped.
    id: Option<Pid>,
    /// Some child of this process has ended.
    ends: unix::Signal,
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Group {
    /// The group of a child that was started as the leader of one.
    pub(super) fn new(child: Child) -> io::Result<Self> {
        let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Self { child, id, ends: unix::signal(SignalKind::child())? })
    }

    /// The number of the child, for a person.
    pub(super) fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// Whether the child has ended; others of the group may be left.
    pub(super) fn has_ended(&self) -> bool {
        let Some(id) = self.id else { return true };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        // An error means that there is no such child.
        !matches!(waitid(WaitId::Pid(id), options), Ok(None))
    }

    /// Waits until the child has ended. Nothing is lost when the wait is given up.
    pub(super) async fn ended(&mut self) {
        while !self.has_ended() {
            if self.ends.recv().await.is_none() {
                // Nothing more will be heard of any child; whoever waits has a limit.
                return std::future::pending().await;
            }
        }
    }

    /// Sends a signal to the child and to its own children.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(id) = self.id {
            // An error means that there is nobody left.
            let _ = kill_process_group(id, signal);
        }
    }

    /// Kills what is still there, and gives the status of the child.
    pub(super) async fn reap(&mut self, limit: Duration) -> Option<ExitStatus> {
        self.signal(Signal::KILL);
        let status = timeout(limit, self.child.wait()).await.ok()?.ok();
        if status.is_some() {
            self.id = None;
        }
        status
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
