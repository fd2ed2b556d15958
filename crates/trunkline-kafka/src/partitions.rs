//! The partitions of a topic: where a conversation is, and where the brokers know a producer.

use std::time::{Duration, Instant};

use tokio::sync::{Mutex, MutexGuard};

/// How long a broker is taken to remember a producer that it heard of. Theirs is a day (`producer.id.expiration.ms`).
const REMEMBERED: Duration = Duration::from_hours(1);

/// How a conversation becomes a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Partitioner {
    /// As librdkafka does it by default.
    Crc32,
    /// As Kafka's Java clients do it.
    Murmur2,
}

impl Partitioner {
    /// The number of the partition of `conversation` among `count` of them.
    fn find(self, conversation: &str, count: usize) -> usize {
        let hash = match self {
            Self::Crc32 => crc32fast::hash(conversation.as_bytes()),
            Self::Murmur2 => murmur2(conversation.as_bytes()) & 0x7fff_ffff,
        };
        usize::try_from(hash).unwrap_or_default() % count.max(1)
    }
}

/// The partitions that the topic had when a producer connected.
///
/// A broker refuses what stands behind a request that failed only in partitions where it has heard of the producer before:
/// elsewhere any message may be the first. So the first event goes to a partition alone, and once it is answered the partition is
/// open.
#[derive(Debug)]
pub(crate) struct Partitions {
    partitioner: Partitioner,
    /// Of each partition, when the first event was answered.
    opened: Vec<Mutex<Option<Instant>>>,
}

/// A partition that is opened by whoever holds this. Others wait.
pub(crate) struct Opening<'a>(MutexGuard<'a, Option<Instant>>);

impl Partitions {
    /// As many as `count`, none of them open.
    pub(crate) fn new(count: u32, partitioner: Partitioner) -> Self {
        Self { partitioner, opened: (0..count).map(|_| Mutex::default()).collect() }
    }

    /// The number of the partition of a conversation.
    pub(crate) fn find(&self, conversation: &str) -> usize {
        self.partitioner.find(conversation, self.opened.len())
    }

    /// Waits while somebody else opens a partition; `None` when it is open. Who wants to open several asks for them by rising
    /// numbers.
    pub(crate) async fn open(&self, partition: usize) -> Option<Opening<'_>> {
        let opened = self.opened.get(partition)?.lock().await;
        let is_open = opened.is_some_and(|time| time.elapsed() < REMEMBERED);
        (!is_open).then_some(Opening(opened))
    }
}

impl Opening<'_> {
    /// The first event was answered.
    pub(crate) fn done(mut self) {
        *self.0 = Some(Instant::now());
    }
}

/// `MurmurHash2` in 32 bits with the seed of Kafka's Java clients.
fn murmur2(bytes: &[u8]) -> u32 {
    const FACTOR: u32 = 0x5bd1_e995;
    let seed = 0x9747_b28c ^ u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let (words, rest) = bytes.as_chunks::<4>();
    let mut hash = words.iter().fold(seed, |hash, word| {
        let word = u32::from_le_bytes(*word).wrapping_mul(FACTOR);
        hash.wrapping_mul(FACTOR) ^ (word ^ word >> 24).wrapping_mul(FACTOR)
    });
    if !rest.is_empty() {
        let last = rest.iter().rev().fold(0, |last, byte| last << 8 | u32::from(*byte));
        hash = (hash ^ last).wrapping_mul(FACTOR);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(FACTOR);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_partition_is_open_when_its_first_event_was_answered() {
        let partitions = Partitions::new(2, Partitioner::Crc32);
        // An attempt that failed opens nothing.
        drop(partitions.open(1).await);
        partitions.open(1).await.unwrap().done();
        assert!(partitions.open(1).await.is_none());
        assert!(partitions.open(0).await.is_some());
    }

    #[tokio::test]
    async fn one_opens_a_partition_and_the_others_wait() {
        let partitions = Partitions::new(1, Partitioner::Crc32);
        let opening = partitions.open(0).await.unwrap();
        let second = partitions.open(0);
        tokio::pin!(second);
        assert!(second.as_mut().now_or_never().is_none());
        opening.done();
        assert!(second.await.is_none());
    }
}
