//! The events of one call that librdkafka has, and what became of each.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::Notify;

/// What librdkafka answered for one message.
pub(crate) type Confirmation = Result<(), RDKafkaErrorCode>;

/// Why sending stopped.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stop {
    /// librdkafka took no more; the answers say why, or this does.
    Failed(Option<RDKafkaErrorCode>),
    /// The time ran out.
    Late,
}

/// The events of one call.
#[derive(Debug)]
pub(crate) struct InFlight {
    answers: Mutex<Answers>,
    changed: Notify,
}

#[derive(Debug)]
struct Answers {
    /// `None`: not sent, or not answered yet.
    given: Vec<Option<Confirmation>>,
    /// How many are sent and not answered.
    open: usize,
    has_failed: bool,
}

/// Goes with a message through librdkafka and comes back with its answer. When it is dropped the message is not under way any
/// more.
#[derive(Debug)]
pub(crate) struct Ticket {
    in_flight: Arc<InFlight>,
    index: usize,
}

impl InFlight {
    pub(crate) fn new(count: usize) -> Arc<Self> {
        let answers = Answers { given: vec![None; count], open: 0, has_failed: false };
        Arc::new(Self { answers: Mutex::new(answers), changed: Notify::new() })
    }

    /// The ticket of the event at `index`, which counts as sent from now on.
    pub(crate) fn ticket(self: &Arc<Self>, index: usize) -> Ticket {
        self.lock().open += 1;
        Ticket { in_flight: Arc::clone(self), index }
    }

    /// Waits until every event sent is answered, or one has failed.
    pub(crate) async fn delivered(&self) -> Result<(), Stop> {
        self.wait(|answers| answers.open == 0 || answers.has_failed).await;
        if self.lock().has_failed { Err(Stop::Failed(None)) } else { Ok(()) }
    }

    /// Waits until every event sent is answered.
    pub(crate) async fn settled(&self) {
        self.wait(|answers| answers.open == 0).await;
    }

    /// The answers so far.
    pub(crate) fn answers(&self) -> Vec<Option<Confirmation>> {
        self.lock().given.clone()
    }

    async fn wait(&self, is_enough: impl Fn(&Answers) -> bool) {
        loop {
            // Made before the look, so that nothing is missed between the two.
            let changed = self.changed.notified();
            if is_enough(&self.lock()) {
                return;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Answers> {
        // Nothing in it is left half done by a panic.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Whether another event of the call has failed.
    pub(crate) fn is_in_vain(&self) -> bool {
        self.in_flight.lock().has_failed
    }

    /// Hands the answer in.
    pub(crate) fn answer(self, answer: Confirmation) {
        let mut answers = self.in_flight.lock();
        answers.has_failed |= answer.is_err();
        if let Some(given) = answers.given.get_mut(self.index) {
            *given = Some(answer);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let is_news = {
            let mut answers = self.in_flight.lock();
            answers.open = answers.open.saturating_sub(1);
            answers.open == 0 || answers.has_failed
        };
        if is_news {
            self.in_flight.changed.notify_waiters();
        }
    }
}
