//! A partition: a slice of conversations with everything that is known of them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Semaphore;
use trunkline_core::{EventId, Offset, PartitionNumber, Receiver, Recording};
use trunkline_delivery::{Delivery, Metrics, RegisterError, Shutdown, Subscription};
use trunkline_journal::{Appender, Journal, Unavailable};

use crate::intake::Intake;
use crate::waiting::Waiting;

/// So many trackers are put together at the same time.
const TRACKERS: usize = 4;

/// A slice of conversations with a journal of its own, the door to it, who waits for an answer, and what delivers its events.
/// Nothing about a conversation is kept anywhere else, so a partition can be taken over by another node.
pub struct Partition {
    pub(crate) journal: Journal,
    pub(crate) intake: Intake,
    pub(crate) waiting: Waiting,
    /// Who writes the tracker events of a turn.
    pub(crate) recording: Recording,
    /// Bounds the memory that trackers take.
    pub(crate) tracker_room: Semaphore,
    deliveries: OnceLock<Vec<Delivery>>,
}

impl Partition {
    /// The partition of the journal that `appender` appends to. `recording` is that of the assistant, and a session ends
    /// `session_expiration` after the last user message; zero: never.
    pub fn new(appender: Appender, recording: Recording, session_expiration: Duration) -> Arc<Self> {
        Arc::new(Self {
            journal: appender.journal().clone(),
            intake: Intake::new(appender, session_expiration),
            waiting: Waiting::default(),
            recording,
            tracker_room: Semaphore::new(TRACKERS),
            deliveries: OnceLock::new(),
        })
    }

    /// Its journal, which can be read.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The door to its journal.
    pub fn intake(&self) -> &Intake {
        &self.intake
    }

    /// Starts to deliver, once. `others` are the names of subscriptions that are configured and not started; what they have not got
    /// yet is kept for them.
    pub async fn start(
        &self,
        receivers: Vec<(Subscription, Arc<dyn Receiver>)>,
        others: Vec<String>,
        metrics: &Metrics,
        shutdown: &Shutdown,
    ) -> Result<(), StartError> {
        let names = receivers.iter().map(|(subscription, _)| subscription.name.clone());
        self.journal.keep_active(names.chain(others).collect()).await?;
        // All before any: the first to start may append already, and a new one must not miss that.
        for (subscription, _) in &receivers {
            subscription.register(&self.journal).await?;
        }
        self.deliveries.get_or_init(|| {
            let start = |(subscription, receiver)| {
                trunkline_delivery::start(&self.journal, subscription, receiver, metrics, shutdown.clone())
            };
            receivers.into_iter().map(start).collect()
        });
        Ok(())
    }

    /// What delivers its events.
    pub fn deliveries(&self) -> &[Delivery] {
        self.deliveries.get().map_or(&[], Vec::as_slice)
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partition").field("journal", &self.journal).finish_non_exhaustive()
    }
}

/// Why the deliveries of a partition did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal could not be written.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// A subscription could not be registered.
    #[error(transparent)]
    Register(#[from] RegisterError),
}

/// The partitions of this process, by number: today there is one. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Partitions(Arc<BTreeMap<PartitionNumber, Arc<Partition>>>);

impl Partitions {
    /// The only partition that there is, which has every conversation.
    pub fn one(partition: Arc<Partition>) -> Self {
        Self(Arc::new(BTreeMap::from([(PartitionNumber::default(), partition)])))
    }

    /// The number of the partition that a conversation belongs to.
    pub(crate) fn number(_conversation: &str) -> PartitionNumber {
        PartitionNumber::default()
    }

    pub(crate) fn numbered(&self, number: PartitionNumber) -> &Arc<Partition> {
        self.0.get(&number).expect("this process has all partitions")
    }

    /// The partition of a conversation.
    pub fn of(&self, conversation: &str) -> &Arc<Partition> {
        self.numbered(Self::number(conversation))
    }

    /// The partition that keeps what belongs to no conversation: the positions of sources, and what they gave that is no event.
    pub fn home(&self) -> &Arc<Partition> {
        self.numbered(PartitionNumber::default())
    }

    /// All partitions.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Partition>> {
        self.0.values()
    }

    /// Where the event with this id stands, if it is one of ours; whether it is there, its partition knows.
    pub(crate) fn place_of(&self, id: EventId) -> Option<(&Arc<Partition>, Offset)> {
        let (number, offset) = id.place_in(self.home().journal.id())?;
        Some((self.0.get(&number)?, offset))
    }
}
