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
use trunkline_core::{EventId, NewEvent, Reader, Received, Source};
use trunkline_delivery::Backoff;
use trunkline_journal::Journal;

use super::metrics::Counts;
use super::{Metrics, SourceState, rejected};
use crate::intake::{Entry, Identity, Recorded};
use crate::partition::Partitions;

/// The longest that settling may take.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest that it may take once the source is to stop: what is not settled then comes again, and is known.
const LAST_SETTLE_TIMEOUT: Duration = Duration::from_secs(5);

/// Before an append, or a write of what is no event, is tried again.
const AGAIN: Backoff = Backoff { initial: Duration::from_millis(200), most: Duration::from_secs(5) };

pub(super) struct Reading {
    name: String,
    source: Arc<dyn Source>,
    partitions: Partitions,
    counts: Counts,
    state: Arc<SourceState>,
    stop: CancellationToken,
    /// Whether it was said already that our own events come back.
    echo_reported: AtomicBool,
}

/// It was told to stop.
struct Stopped;

impl Reading {
    pub(super) fn new(
        name: String,
        source: Arc<dyn Source>,
        partitions: Partitions,
        metrics: &Metrics,
        state: Arc<SourceState>,
        stop: CancellationToken,
    ) -> Self {
        let counts = metrics.of(&name);
        Self { name, source, partitions, counts, state, stop, echo_reported: AtomicBool::new(false) }
    }

    /// The journal that keeps the position, and what is no event.
    fn journal(&self) -> &Journal {
        self.partitions.home().journal()
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
            self.state.set_problem(Some(reason));
            if self.stop.run_until_cancelled(sleep(wait)).await.is_none() {
                break;
            }
        }
    }

    /// Connects and reads as long as that goes well. Ends well only for good.
    async fn session(&self, failures: &mut u32) -> Result<(), String> {
        let position = self.journal().position(&self.name).await.map_err(|error| error.to_string())?;
        let open = self.source.open_at(position.as_deref());
        let Some(reader) = self.stop.run_until_cancelled(open).await else { return Ok(()) };
        let mut reader = reader?;
        self.set_connected(true);
        self.state.set_problem(None);
        tracing::info!(source = self.name, place = %self.source.place(), "Source is connected");
        loop {
            let Some(batch) = self.stop.run_until_cancelled(reader.receive()).await else { return Ok(()) };
            let Some(batch) = batch? else {
                tracing::info!(source = self.name, "Source has no more");
                return Ok(());
            };
            self.counts.received.inc_by(batch.len() as u64);
            self.state.received.fetch_add(batch.len() as u64, Ordering::Relaxed);
            let Ok(()) = self.record(&batch).await else { return Ok(()) };
            let Ok(()) = self.save_position(&mut *reader).await? else { return Ok(()) };
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

    /// Makes what was received durable: events in their conversations; what is no event aside.
    async fn record(&self, batch: &[Received]) -> Result<(), Stopped> {
        let (now, mut entries, mut rejected) = (self.journal().clock().seconds(), Vec::with_capacity(batch.len()), Vec::new());
        for received in batch {
            match event(received, now) {
                Ok(_) if self.is_our_own(received).await? => drop(self.counts.duplicates.inc()),
                Ok((event, own_id)) => {
                    let id = received.id.as_deref().or(own_id.as_deref());
                    let identity = id.map(|id| Identity::source(&self.name, id));
                    entries.push(Entry::plain(vec![event], identity));
                }
                Err(reason) => rejected.push((received, reason)),
            }
        }
        if !rejected.is_empty() {
            self.keep(&rejected).await?;
        }
        if !entries.is_empty() {
            self.append(entries).await?;
        }
        Ok(())
    }

    /// Hands entries in until all are on record.
    async fn append(&self, mut entries: Vec<Entry>) -> Result<(), Stopped> {
        let mut failures = 0;
        loop {
            let answers = self.partitions.append_all(entries.clone()).await;
            let (mut left, mut error) = (Vec::new(), None);
            for (entry, answer) in entries.into_iter().zip(answers) {
                match answer {
                    Ok(Recorded::New { .. }) => drop(self.counts.appended.inc()),
                    Ok(Recorded::Known { .. }) => drop(self.counts.duplicates.inc()),
                    Err(reason) => {
                        error.get_or_insert(reason);
                        left.push(entry);
                    }
                }
            }
            if self.went_well(&mut failures, error.map_or(Ok(()), Err)).await?.is_some() {
                return Ok(());
            }
            entries = left;
        }
    }

    /// Sets aside what is no event.
    async fn keep(&self, rejected: &[(&Received, String)]) -> Result<(), Stopped> {
        let lines = rejected::lines(rejected, self.journal().clock().now());
        let mut failures = 0;
        let kept = loop {
            if let Some(kept) = self.went_well(&mut failures, self.journal().set_aside(&self.name, lines.clone()).await).await? {
                break kept;
            }
        };
        self.counts.rejected.inc_by(rejected.len() as u64);
        if let Some((Received { origin, .. }, reason)) = rejected.first() {
            tracing::error!(
                source = self.name,
                count = rejected.len(),
                origin,
                reason,
                file = kept.place,
                "Messages are no events and are kept in a file; the first of them is named here"
            );
        }
        if kept.older_deleted {
            tracing::error!(
                source = self.name,
                file = kept.place,
                "The file of what is no event was full, and the older half is deleted"
            );
        }
        Ok(())
    }

    /// Keeps how far the source is read, where it cannot remember that itself.
    async fn save_position(&self, reader: &mut dyn Reader) -> Result<Result<(), Stopped>, String> {
        let Some(position) = reader.position().await? else { return Ok(Ok(())) };
        let mut failures = 0;
        loop {
            let saved = self.journal().save_position(&self.name, position.clone()).await;
            match self.went_well(&mut failures, saved).await {
                Ok(None) => {}
                Ok(Some(())) => return Ok(Ok(())),
                Err(stopped) => return Ok(Err(stopped)),
            }
        }
    }

    /// The result of an attempt that went well; `None` after a pause when it did not, so that it is made again. Nothing is settled in
    /// the meantime, and nothing more is read.
    async fn went_well<T, E: fmt::Display>(&self, failures: &mut u32, result: Result<T, E>) -> Result<Option<T>, Stopped> {
        let reason = match result {
            Ok(result) => {
                if std::mem::take(failures) > 0 {
                    self.state.set_problem(None);
                }
                return Ok(Some(result));
            }
            Err(error) => error.to_string(),
        };
        *failures += 1;
        if *failures == 1 {
            tracing::warn!(source = self.name, reason, "What a source gave cannot be recorded now and waits");
        }
        self.state.set_problem(Some(reason));
        let wait = AGAIN.wait(*failures, fastrand::f64());
        self.stop.run_until_cancelled(sleep(wait)).await.map(|()| None).ok_or(Stopped)
    }

    /// Whether it is an event that this gateway published itself. To append it would make a circle without an end.
    async fn is_our_own(&self, received: &Received) -> Result<bool, Stopped> {
        let id = received.id.as_deref().and_then(EventId::parse);
        let Some((id, (partition, offset))) = id.and_then(|id| Some((id, self.partitions.place_of(id)?))) else {
            return Ok(false);
        };
        let mut failures = 0;
        let found = loop {
            if let Some(found) = self.went_well(&mut failures, partition.journal().event(offset).await).await? {
                break found;
            }
        };
        let is_ours = found.is_some_and(|event| event.id == id);
        if is_ours && !self.echo_reported.swap(true, Ordering::Relaxed) {
            let place = self.source.place();
            tracing::warn!(
                source = self.name, %place, %id,
                "Source gives what this gateway published itself, and that is left out; does a broker of endpoints.yml publish there?"
            );
        }
        Ok(is_ours)
    }

    fn set_connected(&self, connected: bool) {
        self.state.connected.store(connected, Ordering::Relaxed);
        self.counts.connected.set(u64::from(connected));
    }
}

/// The event that was received, or why it is none. Beside it what tells the event from all others when the source gives it no id:
/// the id that it bears itself, or its content, provided that its time has a fraction of a second. So it is with every event that
/// Rasa makes: two that are equal to the last digit are one that came twice.
fn event(received: &Received, now: f64) -> Result<(NewEvent, Option<String>), String> {
    let document = json::lay_out_input(&received.body, Layout::Dumps).map_err(|error| format!("no JSON: {error}"))?;
    let event = NewEvent::from_document(&document, &received.body, None, now).map_err(|error| error.to_string())?;
    if received.id.is_some() {
        return Ok((event, None));
    }
    let members = event.shape.members(&document);
    let is_exact = members.time.and_then(|raw| raw.parse::<f64>().ok()).is_some_and(|time| time.fract() != 0.0);
    let id = members.id.map(|id| format!("event:{id}"));
    let id = id.or_else(|| is_exact.then(|| URL_SAFE_NO_PAD.encode(Sha256::digest(&event.body))));
    Ok((event, id))
}
