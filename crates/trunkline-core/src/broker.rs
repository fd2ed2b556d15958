//! What a broker is to us: Rasa's four operations, with an answer for every event.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::{Event, JournalId, Offset, Place};

/// Where tracker events are published.
///
/// The first of Rasa's operations, `from_endpoint_config`, is the row of the adapter in the table of the binary; it is
/// synchronous and touches nothing outside the process. The other three are here. An adapter translates and sends:
/// batching, retry, order, backoff and metrics belong to the delivery that calls it.
#[async_trait]
pub trait Broker: Send + Sync {
    /// Publishes a batch and answers one [`Outcome`] per event, in order.
    ///
    /// Events of one conversation stand in the order of the journal. An adapter that cannot publish one of them must not
    /// publish a later one of the same conversation, and answers [`Outcome::Retry`] for those it did not try.
    ///
    /// A broker that stores our cursor must not store one past an event that it rejects: until the dead letter is durable,
    /// that cursor is all that keeps the event from being lost in a crash. It stops there, stores the cursor at the event at
    /// the furthest, and answers [`Outcome::Retry`] for all behind it. The next batch begins after the event, and moves on.
    async fn publish(&self, batch: &Batch) -> Vec<Outcome>;

    /// Whether the broker can be reached and would take events; the error says what to do.
    async fn is_ready(&self) -> Result<(), String>;

    /// The offset of the next event to publish, for a broker that stores our cursor together with its data.
    ///
    /// Asked once before the first batch. `None`: the broker stores no cursor, or none yet, and ours counts.
    async fn position(&self, _cursor: &CursorKey) -> Result<Option<Offset>, String> {
        Ok(None)
    }

    /// Flushes what the client library still holds. No batch is under way when this is called.
    async fn close(&self) {}

    /// The longest that one request of a call may take, where that is an option of its own. It has to be shorter than the time that a
    /// whole call is given, or it would never be known what became of a request that takes so long.
    fn request_timeout(&self) -> Option<Duration> {
        None
    }

    /// Where it writes, as [`Source::place`](crate::Source::place) would say it, when what stands there does not carry the ids of
    /// events. A source of the same gateway must not read it: every event would be appended again, for ever.
    fn writes_without_ids_to(&self) -> Option<Place> {
        None
    }
}

#[async_trait]
impl<B: Broker + ?Sized> Broker for Arc<B> {
    async fn publish(&self, batch: &Batch) -> Vec<Outcome> {
        (**self).publish(batch).await
    }

    async fn is_ready(&self) -> Result<(), String> {
        (**self).is_ready().await
    }

    async fn position(&self, cursor: &CursorKey) -> Result<Option<Offset>, String> {
        (**self).position(cursor).await
    }

    async fn close(&self) {
        (**self).close().await;
    }

    fn request_timeout(&self) -> Option<Duration> {
        (**self).request_timeout()
    }

    fn writes_without_ids_to(&self) -> Option<Place> {
        (**self).writes_without_ids_to()
    }
}

/// The events of one call, and where the subscription stands once they are all delivered.
#[derive(Debug)]
pub struct Batch {
    /// The events, never empty.
    pub events: Vec<Arc<Event>>,
    /// Whose cursor this is.
    pub cursor: CursorKey,
    /// The cursor after this batch, for brokers that store it with the data in one transaction. It only has a meaning for a
    /// subscription with a single lane; `None` when the cursor stays where it is: for dead letters that are replayed, which may
    /// move a cursor past an event only when it stands at that very event, and for exports, which never move it.
    pub next: Option<Offset>,
    /// The id of the export that these events belong to, 32 hexadecimal digits; their offsets may be those of another place than the
    /// journal. Brokers whose messages have headers send it as [`EXPORT_HEADER`].
    pub export: Option<Arc<str>>,
    /// When the caller stops waiting. It then knows nothing of what was delivered, and all of it comes again; so an adapter that
    /// works in steps begins none that may not end by then, and answers [`Outcome::Retry`] for what is left.
    pub deadline: Instant,
}

impl Batch {
    /// Events that do not move the cursor, with a minute to publish them.
    pub fn new(events: Vec<Arc<Event>>, cursor: CursorKey) -> Self {
        Self { events, cursor, next: None, export: None, deadline: Instant::now() + Duration::from_mins(1) }
    }

    /// How long the caller still waits.
    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// The header by which a consumer tells an export from live events, as in Rasa.
pub const EXPORT_HEADER: &str = "rasa-export-process-id";

/// Names a cursor for ever: journal and subscription.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CursorKey {
    /// The journal read from.
    pub journal: JournalId,
    /// The name of the subscription.
    pub subscription: Arc<str>,
}

/// What became of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it, in the sense that the adapter's documentation gives.
    Delivered,
    /// Not now: try again.
    Retry {
        /// The least time to wait, when the receiver named one.
        after: Option<Duration>,
        /// What went wrong, for a person.
        reason: String,
    },
    /// Never: this event as it stands will not be accepted.
    Reject {
        /// What went wrong, for a person.
        reason: String,
    },
    /// The receiver stores our cursor, and it stands before this batch: confirmed events are lost there, as after a failover to a
    /// server that was behind. Nothing was published. The caller asks for [`Broker::position`] and goes on there.
    Behind {
        /// What was found, for a person.
        reason: String,
    },
}

impl Outcome {
    /// A [`Outcome::Retry`] without a time.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry { after: None, reason: reason.into() }
    }

    /// The same outcome for each of `count` events.
    pub fn all(self, count: usize) -> Vec<Self> {
        vec![self; count]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::{NewEvent, Reader, Received, Receiver, Timestamp};

    /// A broker that answers everything with something of its own.
    #[derive(Default)]
    struct Own {
        is_closed: AtomicBool,
    }

    #[async_trait]
    impl Broker for Own {
        async fn publish(&self, batch: &Batch) -> Vec<Outcome> {
            Outcome::retry("own").all(batch.events.len())
        }

        async fn is_ready(&self) -> Result<(), String> {
            Err("own".to_owned())
        }

        async fn position(&self, _cursor: &CursorKey) -> Result<Option<Offset>, String> {
            Ok(Some(7))
        }

        async fn close(&self) {
            self.is_closed.store(true, Ordering::Relaxed);
        }

        fn request_timeout(&self) -> Option<Duration> {
            Some(Duration::from_secs(7))
        }

        fn writes_without_ids_to(&self) -> Option<Place> {
            Some("own".into())
        }
    }

    #[tokio::test]
    async fn a_shared_broker_is_asked_for_everything_that_it_answers_itself() {
        let shared = Arc::new(Own::default());
        let journal = JournalId::random();
        let event = NewEvent::parse(br#"{"sender_id": "a", "event": "restart"}"#, None, 1.0).unwrap();
        let event = Arc::new(event.recorded(journal, Timestamp(1), 1));
        let cursor = CursorKey { journal, subscription: "s".into() };
        assert_eq!(Broker::position(&shared, &cursor).await, Ok(Some(7)));
        assert_eq!(Broker::publish(&shared, &Batch::new(vec![event], cursor)).await, [Outcome::retry("own")]);
        assert_eq!(Broker::is_ready(&shared).await, Err("own".to_owned()));
        assert_eq!(Broker::request_timeout(&shared), Some(Duration::from_secs(7)));
        assert_eq!(Broker::writes_without_ids_to(&shared), Some("own".into()));
        Broker::close(&shared).await;
        assert!(shared.is_closed.load(Ordering::Relaxed));
        let own = Own::default();
        Receiver::close(&own).await;
        assert!(own.is_closed.load(Ordering::Relaxed));
    }

    /// A broker and a reader that say no more than they have to.
    struct Plain;

    #[async_trait]
    impl Broker for Plain {
        async fn publish(&self, batch: &Batch) -> Vec<Outcome> {
            Outcome::Delivered.all(batch.events.len())
        }

        async fn is_ready(&self) -> Result<(), String> {
            Ok(())
        }
    }

    #[async_trait]
    impl Reader for Plain {
        async fn receive(&mut self) -> Result<Option<Vec<Received>>, String> {
            Ok(None)
        }

        async fn settle(&mut self) -> Result<(), String> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn an_adapter_that_says_no_more_than_it_must_keeps_no_cursor_and_no_position() {
        let cursor = CursorKey { journal: JournalId::random(), subscription: "s".into() };
        assert_eq!(Broker::position(&Plain, &cursor).await, Ok(None));
        assert_eq!((Plain.request_timeout(), Plain.writes_without_ids_to()), (None, None));
        assert_eq!(Reader::position(&mut Plain).await, Ok(None));
        let batch = Batch { deadline: Instant::now() + Duration::from_hours(1), ..Batch::new(Vec::new(), cursor) };
        assert!(batch.time_left() > Duration::from_mins(59) && batch.time_left() <= Duration::from_hours(1));
    }
}
