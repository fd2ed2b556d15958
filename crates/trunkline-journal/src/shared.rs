//! What the writer of a journal and all its handles share.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;
use trunkline_core::{JournalId, Offset};

use crate::Options;
use crate::metrics::Metrics;
use crate::recent::Recent;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: JournalId,
    pub(crate) options: Options,
    pub(crate) recent: Recent,
    pub(crate) head: watch::Sender<Offset>,
    pub(crate) health: Arc<Health>,
    pub(crate) metrics: Metrics,
}

impl Shared {
    /// What a journal whose newest record is at `head` shares.
    pub(crate) fn new(id: JournalId, head: Offset, options: Options, health: Arc<Health>) -> Self {
        let metrics = Metrics::new();
        metrics.available.set(1);
        metrics.head.set(head);
        Self { id, recent: Recent::new(options.recent_bytes), options, head: watch::Sender::new(head), health, metrics }
    }

    /// Remembers why appends are refused, or that they are taken, and says so when that is new.
    pub(crate) fn set_refusal(&self, reason: Option<String>) {
        self.metrics.available.set(i64::from(reason.is_none()));
        let mut refusal = self.health.refusal.write().unwrap_or_else(PoisonError::into_inner);
        if *refusal != reason {
            if let Some(reason) = &reason {
                tracing::error!(reason, "Journal stopped taking events");
            } else {
                tracing::info!("Journal takes events again");
            }
            *refusal = reason;
        }
    }
}

/// What is wrong with the journal.
#[derive(Debug, Default)]
pub(crate) struct Health {
    refusal: RwLock<Option<String>>,
    impairment: RwLock<Option<String>>,
}

impl Health {
    /// Why appends are refused; `None` when they are taken.
    pub(crate) fn refusal(&self) -> Option<String> {
        self.refusal.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why the engine cannot be used until it is opened again; the first reason counts.
    pub(crate) fn impair(&self, reason: &str) {
        self.impairment.write().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| reason.to_owned());
    }

    /// Anything that is wrong.
    pub(crate) fn problem(&self) -> Option<String> {
        self.refusal().or_else(|| self.impairment.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}
