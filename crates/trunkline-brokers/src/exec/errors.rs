//! The standard error of a child.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::process::ChildStderr;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::lines::{Line, Lines};
use super::protocol::{plain, shortened};

/// The longest line that goes to our log in one piece, in bytes.
const LONGEST_LINE: usize = 4 << 10;

/// Follows the standard error of a child: it goes to our log, and the last line is kept.
#[derive(Debug)]
pub(super) struct Errors {
    last: Arc<Mutex<Option<String>>>,
    task: JoinHandle<()>,
}

impl Errors {
    pub(super) fn follow(stream: ChildStderr, broker: String) -> Self {
        let last = Arc::new(Mutex::new(None));
        let kept = Arc::clone(&last);
        let task = tokio::spawn(async move {
            let mut lines = Lines::new(stream, LONGEST_LINE);
            while let Ok(Some(Line::Whole(line) | Line::Part(line))) = lines.next().await {
                let text = plain(String::from_utf8_lossy(&line).trim_end(), usize::MAX);
                tracing::info!(broker, "{text}");
                if !text.is_empty() {
                    *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
                }
            }
        });
        Self { last, task }
    }

    /// The last line, once there will be no more. Something that left the group of the child may keep the stream open, and is
    /// waited for no longer than `limit`.
    pub(super) async fn last_line(mut self, limit: Duration) -> Option<String> {
        let _ = timeout(limit, &mut self.task).await;
        self.last.lock().unwrap_or_else(PoisonError::into_inner).as_deref().map(shortened)
    }
}

impl Drop for Errors {
    fn drop(&mut self) {
        self.task.abort();
    }
}
