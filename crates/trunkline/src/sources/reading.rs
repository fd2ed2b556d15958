//! The task of a source: connect, receive, append, settle.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt as _;
use sha2::{Digest as _, Sha256};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use trunkline_core::json::{self, Layout};
use trunkline_core::{EventId, NewEvent, Received, Source};
use trunkline_delivery::Backoff;
use trunkline_journal::{Append, Journal};

use super::metrics::Counts;
use super::rejected::{Rejected, RejectedFile};
use super::{Metrics, Status};
use crate::config::SourcePlan;
use crate::conversation::Channels;

/// The longest that settling may take.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest that it may take once the source is to stop: what is not settled then comes again, and is known.
const LAST_SETTLE_TIMEOUT: Duration = Duration::from_secs(5);

/// Before an append, or a write of what is no event, is tried again.
const AGAIN: Backoff = Backoff { initial: Duration::from_millis(200), most: Duration::from_secs(5) };

pub(super) struct Reading {
    name: String,
    source: Arc<dyn Source>,
    journal: Journal,
    channels: Arc<Channels>,
    rejected: RejectedFile,
    counts: Counts,
    status: Arc<Status>,
    stop: CancellationToken,
    /// Whether it was said already that our own events come back.
    echo_reported: AtomicBool,
}

/// It was told to stop.
struct Stopped;

impl Reading {
    pub(super) fn new(
        plan: SourcePlan,
        journal: Journal,
        channels: Arc<Channels>,
        metrics: &Metrics,
        status: Arc<Status>,
        stop: CancellationToken,
    ) -> Self {
        let SourcePlan { name, source, .. } = plan;
        let (rejected, counts) = (RejectedFile::new(journal.directory(), &name), metrics.of(&name));
        Self { name, source, journal, channels, rejected, counts, status, stop, echo_reported: AtomicBool::new(false) }
    }

    /// Reads until it is told to stop, or the source has no more.
    pub(super) async fn run(self) {
        let (backoff, mut failures) = (Backoff::default(), 0);
        loop {
            let session = AssertUnwindSafe(self.session(&mut failures)).catch_unwind().await;
            self.set_connected(false);
            let Err(reason) = session.unwrap_or_else(|_| Err("the adapter panicked; this is a bug".to_owned())) else { break };
            failures = failures.saturating_add(1);
            let wait = backoff.wait(failures, fastrand::f64());
            tracing::warn!(
                source = self.name,
                reason,
                wait_seconds = wait.as_secs_f32(),
                "Source cannot be read and is opened again"
            );
            self.status.set_problem(Some(reason));
            if self.stop.run_until_cancelled(sleep(wait)).await.is_none() {
                break;
            }
        }
    }

    /// Connects and reads as long as that goes well. Ends well only for good.
    async fn session(&self, failures: &mut u32) -> Result<(), String> {
        let Some(reader) = self.stop.run_until_cancelled(self.source.open()).await else { return Ok(()) };
        let mut reader = reader?;
        self.set_connected(true);
        self.status.set_problem(None);
        tracing::info!(source = self.name, place = self.source.place(), "Source is connected");
        loop {
            let Some(batch) = self.stop.run_until_cancelled(reader.receive()).await else { return Ok(()) };
            let Some(batch) = batch? else {
                tracing::info!(source = self.name, "Source has no more");
                return Ok(());
            };
            self.counts.received.inc_by(batch.len() as u64);
            self.status.received.fetch_add(batch.len() as u64, Ordering::Relaxed);
            let Ok(()) = self.record(&batch).await else { return Ok(()) };
            let limit = self.settle_limit();
            tokio::select! {
                settled = reader.settle() => settled?,
                limit = limit => return Err(format!("settling took more than {} s", limit.as_secs())),
            }
            *failures = 0;
        }
    }

    /// Waits until settling has taken too long.
    async fn settle_limit(&self) -> Duration {
        if self.stop.run_until_cancelled(sleep(SETTLE_TIMEOUT)).await.is_some() {
            return SETTLE_TIMEOUT;
        }
        sleep(LAST_SETTLE_TIMEOUT).await;
        LAST_SETTLE_TIMEOUT
    }

    /// Makes what was received durable: events in the journal, in one commit; what is no event in its file.
    async fn record(&self, batch: &[Received]) -> Result<(), Stopped> {
        let (now, mut appends, mut rejected) = (self.journal.clock().seconds(), Vec::with_capacity(batch.len()), Vec::new());
        for received in batch {
            match event(received, now) {
                Ok(_) if self.is_our_own(received).await? => drop(self.counts.duplicates.inc()),
                Ok((event, content)) => {
                    let id = received.id.as_deref().or(content.as_deref());
                    let identity = id.map(|id| format!("source:{}:{id}", self.name));
                    appends.push(Append { events: vec![event], identity });
                }
                Err(reason) => rejected.push((received, reason)),
            }
        }
        if !rejected.is_empty() {
            self.keep(&rejected).await?;
        }
        if !appends.is_empty() {
            self.append(appends).await?;
        }
        Ok(())
    }

    async fn append(&self, mut appends: Vec<Append>) -> Result<(), Stopped> {
        let mut failures = 0;
        loop {
            let events = appends.iter_mut().flat_map(|append| &mut append.events);
            if self.went_well(&mut failures, self.channels.fill_in(events).await).await?.is_some() {
                break;
            }
        }
        let appended = loop {
            if let Some(appended) = self.went_well(&mut failures, self.journal.append_all(appends.clone()).await).await? {
                break appended;
            }
        };
        let duplicates = appended.iter().filter(|appended| appended.duplicate).count() as u64;
        self.counts.duplicates.inc_by(duplicates);
        self.counts.appended.inc_by(appended.len() as u64 - duplicates);
        Ok(())
    }

    /// Keeps what is no event in its file.
    async fn keep(&self, rejected: &[(&Received, String)]) -> Result<(), Stopped> {
        let time = self.journal.clock().now();
        let time = jiff::Timestamp::from_millisecond(time.0).map_or_else(|_| time.0.to_string(), |time| format!("{time:.3}"));
        let line = |(received, reason): &(&Received, String)| {
            let Received { body, id, origin } = received;
            let line = Rejected { time: time.clone(), origin, id: id.as_deref(), reason, body: body.as_ref().into() };
            serde_json::to_string(&line).unwrap_or_default() + "\n"
        };
        let lines: Arc<str> = rejected.iter().map(line).collect::<String>().into();
        let (path, mut failures) = (self.rejected.path().display(), 0);
        let deleted = loop {
            let (file, lines) = (self.rejected.clone(), Arc::clone(&lines));
            let added = tokio::task::spawn_blocking(move || file.add(&lines)).await.unwrap_or_else(|error| Err(error.into()));
            let added = added.map_err(|error| format!("{path}: {error}"));
            if let Some(deleted) = self.went_well(&mut failures, added).await? {
                break deleted;
            }
        };
        self.counts.rejected.inc_by(rejected.len() as u64);
        if let Some((Received { origin, .. }, reason)) = rejected.first() {
            tracing::error!(
                source = self.name, count = rejected.len(), origin, reason, file = %path,
                "Messages are no events and are kept in a file; the first of them is named here"
            );
        }
        if deleted {
            tracing::error!(source = self.name, file = %path, "The file of what is no event was full, and the older half is deleted");
        }
        Ok(())
    }

    /// The result of an attempt that went well; `None` after a pause when it did not, so that it is made again. Nothing is settled in
    /// the meantime, and nothing more is read.
    async fn went_well<T, E: fmt::Display>(&self, failures: &mut u32, result: Result<T, E>) -> Result<Option<T>, Stopped> {
        let reason = match result {
            Ok(result) => {
                if std::mem::take(failures) > 0 {
                    self.status.set_problem(None);
                }
                return Ok(Some(result));
            }
            Err(error) => error.to_string(),
        };
        *failures += 1;
        if *failures == 1 {
            tracing::warn!(source = self.name, reason, "What a source gave cannot be recorded now and waits");
        }
        self.status.set_problem(Some(reason));
        let wait = AGAIN.wait(*failures, fastrand::f64());
        self.stop.run_until_cancelled(sleep(wait)).await.map(|()| None).ok_or(Stopped)
    }

    /// Whether it is an event that this gateway published itself. To append it would make a circle without an end.
    async fn is_our_own(&self, received: &Received) -> Result<bool, Stopped> {
        let id = received.id.as_deref().and_then(EventId::parse);
        let Some((id, (_, offset))) = id.and_then(|id| Some((id, id.place_in(self.journal.id())?))) else { return Ok(false) };
        let mut failures = 0;
        let found = loop {
            if let Some(found) = self.went_well(&mut failures, self.journal.event(offset).await).await? {
                break found;
            }
        };
        let is_ours = found.is_some_and(|event| event.id == id);
        if is_ours && !self.echo_reported.swap(true, Ordering::Relaxed) {
            let place = self.source.place();
            tracing::warn!(
                source = self.name, place, %id,
                "Source gives what this gateway published itself, and that is left out; does a broker of endpoints.yml publish there?"
            );
        }
        Ok(is_ours)
    }

    fn set_connected(&self, connected: bool) {
        self.status.connected.store(connected, Ordering::Relaxed);
        self.counts.connected.set(u64::from(connected));
    }
}

/// The event that was received, or why it is none. Beside it what tells the event from all others when the source gives it no id:
/// its content, provided that its time has a fraction of a second. So it is with every event that Rasa makes: two that are equal
/// to the last digit are one that came twice.
fn event(received: &Received, now: f64) -> Result<(NewEvent, Option<String>), String> {
    let document = json::lay_out_input(&received.body, Layout::Dumps).map_err(|error| format!("no JSON: {error}"))?;
    let event = NewEvent::from_document(&document, &received.body, None, now).map_err(|error| error.to_string())?;
    let time = event.shape.members(&document).time.and_then(|raw| raw.parse::<f64>().ok());
    let is_exact = received.id.is_none() && time.is_some_and(|time| time.fract() != 0.0);
    let content = is_exact.then(|| URL_SAFE_NO_PAD.encode(Sha256::digest(&event.body)));
    Ok((event, content))
}
