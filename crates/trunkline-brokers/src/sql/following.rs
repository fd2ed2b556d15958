//! Reading a table on and on.
//!
//! Servers give out ids before they commit, so rows do not become visible in the order of their ids. A gap in the ids is passed
//! only when nobody can fill it any more: see [`Following`].

use std::ops::RangeInclusive;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep, timeout};
use trunkline_core::{Reader, Received};

/// Rows in one answer.
const PAGE: usize = 256;

/// The longest that a question to the database takes.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(45);

/// How long a gap is watched before the transactions that are under way are looked at: between the moment in which one gets an id
/// and the one in which the server shows that it is under way there is next to nothing.
const GAP_HOLD: Duration = Duration::from_secs(2);

/// How often a gap is looked at, when nothing else is to be read.
const GAP_POLL: Duration = Duration::from_millis(200);

/// What following a table needs of a database.
#[async_trait]
pub(super) trait Rows: Send {
    /// Makes that an answer which was not heard to the end is not taken for that to the next question.
    async fn forget_question(&mut self) -> Result<(), String>;

    /// The names of the columns in lower case; none when there is no table.
    async fn columns(&mut self) -> Result<Vec<String>, String>;

    /// The last id of the table that was settled under a name. Creates the table for it.
    async fn position(&mut self, group: &str) -> Result<Option<i64>, String>;

    /// Stores the last id of the table that was settled.
    async fn settle(&mut self, group: &str, position: i64) -> Result<(), String>;

    /// The rows behind an id, in order.
    async fn after(&mut self, id: i64, most: usize) -> Result<Vec<Row>, String>;

    /// The largest id that can be seen.
    async fn newest(&mut self) -> Result<i64, String>;

    /// The number of the first transaction that is not given out yet; any, where transactions have no numbers.
    async fn next_transaction(&mut self) -> Result<i64, String>;

    /// Whether every transaction with a smaller number than `next` has ended, as far as it may have a row with one of these ids.
    async fn is_settled(&mut self, next: i64, ids: RangeInclusive<i64>) -> Result<bool, String>;
}

/// A row of the table.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) data: String,
}

/// A gap in the ids that stops us.
struct Gap {
    since: Instant,
    /// The end of the table at first. Whoever has an id in the gap got it before.
    newest: i64,
    /// Transactions with smaller numbers are waited for; `None` as long as one may have an id and no number yet.
    next_transaction: Option<i64>,
}

/// Follows a table.
///
/// Ids that follow each other without a gap can be read as soon as they are seen. At a gap, the end of the table is noted, and
/// after a while the transactions that are under way; when all those have ended, nobody can fill a gap before that end any more.
pub(super) struct Following {
    place: String,
    rows: Box<dyn Rows>,
    /// Under which name the position is stored; `None` when it is not.
    group: Option<String>,
    /// How long to wait when there is nothing new.
    poll: Duration,
    /// How long a gap is watched before it is asked who may fill it.
    hold: Duration,
    /// The last id that was given.
    position: i64,
    /// No row up to this id will appear any more.
    final_to: i64,
    gap: Option<Gap>,
    /// Whether the database was asked and has not answered.
    is_asking: bool,
}

/// What came of one look at the table.
enum Look {
    Found(Vec<Received>),
    /// Nothing; look again after so long.
    Nothing(Duration),
}

#[async_trait]
impl Reader for Following {
    async fn receive(&mut self) -> Result<Option<Vec<Received>>, String> {
        loop {
            if std::mem::replace(&mut self.is_asking, true) {
                self.rows.forget_question().await?;
            }
            let look = self.look().await?;
            self.is_asking = false;
            match look {
                Look::Found(received) => return Ok(Some(received)),
                Look::Nothing(wait) => sleep(wait).await,
            }
        }
    }

    async fn settle(&mut self) -> Result<(), String> {
        match &self.group {
            Some(group) => within(&self.place, self.rows.settle(group, self.position)).await,
            None => Ok(()),
        }
    }
}

impl Following {
    /// Begins behind the row with the id `position`.
    pub(super) fn new(place: String, rows: Box<dyn Rows>, group: Option<String>, position: i64, poll: Duration) -> Self {
        Self { place, rows, group, poll, hold: GAP_HOLD, position, final_to: i64::MIN, gap: None, is_asking: false }
    }

    async fn look(&mut self) -> Result<Look, String> {
        let rows = within(&self.place, self.rows.after(self.position, PAGE)).await?;
        let ready = self.ready(&rows);
        if let Some(last) = ready.checked_sub(1).and_then(|last| rows.get(last)) {
            self.position = last.id;
            self.gap = None;
            return Ok(Look::Found(rows.into_iter().take(ready).map(Self::received).collect()));
        }
        Ok(Look::Nothing(if rows.is_empty() { self.poll } else { self.watch_gap().await? }))
    }

    /// How many rows at the head can be given.
    fn ready(&self, rows: &[Row]) -> usize {
        let mut before = self.position;
        let is_ready = |row: &&Row| {
            let follows = row.id <= self.final_to || before.checked_add(1) == Some(row.id);
            before = row.id;
            follows
        };
        rows.iter().take_while(is_ready).count()
    }

    /// Looks whether the gap can still be filled, and tells how long to wait before the next look.
    async fn watch_gap(&mut self) -> Result<Duration, String> {
        let again = Ok(GAP_POLL.min(self.poll));
        let Some(gap) = &mut self.gap else {
            let newest = within(&self.place, self.rows.newest()).await?;
            self.gap = Some(Gap { since: Instant::now(), newest, next_transaction: None });
            return again;
        };
        if gap.since.elapsed() < self.hold {
            return again;
        }
        let next = match gap.next_transaction {
            Some(next) => next,
            None => *gap.next_transaction.insert(within(&self.place, self.rows.next_transaction()).await?),
        };
        let newest = gap.newest;
        if !within(&self.place, self.rows.is_settled(next, self.position.saturating_add(1)..=newest)).await? {
            return again;
        }
        self.final_to = newest;
        self.gap = None;
        Ok(Duration::ZERO)
    }

    fn received(row: Row) -> Received {
        // A table that was emptied gives its ids again, for other rows.
        let id = format!("{}-{:08x}", row.id, crc32fast::hash(row.data.as_bytes()));
        Received { id: Some(id.into()), origin: format!("row {}", row.id), body: row.data.into() }
    }
}

/// Waits for the database, for so long at the most.
pub(super) async fn within<T>(place: &str, question: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let late = |_| Err(format!("{place} did not answer within {} s", QUESTION_TIMEOUT.as_secs()));
    timeout(QUESTION_TIMEOUT, question).await.unwrap_or_else(late)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A table with rows 1 and 3, and a transaction that was given the id 2. It is given a number a while after the gap was seen.
    struct Table {
        seen: Option<Instant>,
        numbered_after: Duration,
        state: Arc<Mutex<TableState>>,
    }

    #[derive(Default)]
    struct TableState {
        asked: usize,
        has_ended: bool,
    }

    /// The number that the transaction gets.
    const NUMBER: i64 = 10;

    #[async_trait]
    impl Rows for Table {
        async fn forget_question(&mut self) -> Result<(), String> {
            Ok(())
        }

        async fn columns(&mut self) -> Result<Vec<String>, String> {
            unreachable!()
        }

        async fn position(&mut self, _group: &str) -> Result<Option<i64>, String> {
            unreachable!()
        }

        async fn settle(&mut self, _group: &str, _position: i64) -> Result<(), String> {
            unreachable!()
        }

        async fn after(&mut self, id: i64, _most: usize) -> Result<Vec<Row>, String> {
            let ids = [1, 2, 3].into_iter().filter(|row| *row > id && (*row != 2 || self.state.lock().unwrap().has_ended));
            Ok(ids.map(|id| Row { id, data: id.to_string() }).collect())
        }

        async fn newest(&mut self) -> Result<i64, String> {
            self.seen = Some(Instant::now());
            Ok(3)
        }

        async fn next_transaction(&mut self) -> Result<i64, String> {
            let has_number = self.seen.is_some_and(|seen| seen.elapsed() >= self.numbered_after);
            Ok(if has_number { NUMBER + 1 } else { NUMBER })
        }

        async fn is_settled(&mut self, next: i64, ids: RangeInclusive<i64>) -> Result<bool, String> {
            assert_eq!(ids, 2..=3);
            let mut state = self.state.lock().unwrap();
            // It ends after it was asked for a few times.
            state.asked += 1;
            let is_settled = state.has_ended || next <= NUMBER;
            state.has_ended |= state.asked == 5;
            Ok(is_settled)
        }
    }

    #[tokio::test]
    async fn a_transaction_that_has_an_id_and_no_number_yet_is_waited_for() {
        let (state, poll) = (Arc::<Mutex<TableState>>::default(), Duration::from_millis(1));
        let table = Table { seen: None, numbered_after: Duration::from_millis(20), state: Arc::clone(&state) };
        let mut reader = Following::new("table".to_owned(), Box::new(table), None, 0, poll);
        reader.hold = Duration::from_millis(40);
        let mut received = Vec::new();
        while received.len() < 3 {
            received.extend(reader.receive().await.unwrap().unwrap().into_iter().map(|row| row.origin));
        }
        assert_eq!(received, ["row 1", "row 2", "row 3"]);
        assert!(state.lock().unwrap().asked >= 5);
    }
}
