//! A receiver that stores our cursor with its data.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use proptest::prelude::*;
use tokio::sync::watch;
use trunkline_core::Receiver;
use trunkline_core::{Batch, CursorKey, Offset, Outcome};
use trunkline_delivery::LaneMode;

use crate::common::{World, eventually, reject, soon, subscription};

/// What lies in it, and the cursor that was stored with it.
#[derive(Clone, Debug, Default)]
struct Contents {
    events: Vec<Offset>,
    next: Option<Offset>,
    calls: usize,
}

/// Like a table with a cursor in the same database: a call changes both or nothing, and may be broken off before or after.
#[derive(Debug)]
struct Table {
    contents: watch::Sender<Contents>,
    moods: Vec<Mood>,
    /// Each of so many events is refused.
    poison: Option<Offset>,
}

#[derive(Clone, Copy, Debug)]
enum Mood {
    Well,
    Refuses,
    HangsBefore,
    HangsAfter,
    Panics,
}

impl Table {
    fn refuses(&self, offset: Offset) -> bool {
        self.poison.is_some_and(|poison| offset.is_multiple_of(poison))
    }

    /// Stores what comes before the first event that it refuses, with the cursor at that one.
    fn store(&self, batch: &Batch) -> Vec<Outcome> {
        let refused = batch.events.iter().position(|event| self.refuses(event.offset));
        let stored = refused.unwrap_or(batch.events.len());
        self.contents.send_modify(|contents| {
            let there = contents.next.unwrap_or(0);
            let fresh = batch.events[..stored].iter().map(|event| event.offset).filter(|offset| *offset >= there);
            contents.events.extend(fresh.collect::<Vec<_>>());
            contents.next = contents.next.max(batch.events.get(stored).map(|event| event.offset).or(batch.next));
        });
        let mut outcomes = Outcome::Delivered.all(stored);
        outcomes.extend(refused.map(|_| reject("poison")));
        outcomes.resize(batch.events.len(), Outcome::retry("not tried"));
        outcomes
    }
}

#[async_trait]
impl Receiver for Table {
    async fn deliver(&self, batch: &Batch) -> Vec<Outcome> {
        let mut number = 0;
        self.contents.send_modify(|contents| {
            number = contents.calls;
            contents.calls += 1;
        });
        tokio::task::yield_now().await;
        match self.moods[number % self.moods.len()] {
            Mood::Well => {}
            Mood::Refuses => return Outcome::retry("busy").all(batch.events.len()),
            Mood::HangsBefore => std::future::pending().await,
            Mood::HangsAfter => {
                self.store(batch);
                std::future::pending::<()>().await;
            }
            Mood::Panics => panic!("told to panic"),
        }
        let outcomes = self.store(batch);
        tokio::task::yield_now().await;
        outcomes
    }

    async fn is_ready(&self) -> Result<(), String> {
        Ok(())
    }

    async fn position(&self, _cursor: &CursorKey) -> Result<Option<Offset>, String> {
        Ok(self.contents.borrow().next)
    }

    async fn close(&self) {}
}

#[derive(Clone, Debug)]
struct Run {
    appended: usize,
    /// The run ends when so many of the events that it can see, in percent, are stored.
    percent: usize,
    is_forced: bool,
    reopens: bool,
}

fn runs() -> impl Strategy<Value = Vec<Run>> {
    let run = (0..40usize, 0..=100usize, any::<bool>(), any::<bool>()).prop_map(|(appended, percent, is_forced, reopens)| Run {
        appended,
        percent,
        is_forced,
        reopens,
    });
    prop::collection::vec(run, 1..7)
}

fn moods() -> impl Strategy<Value = Vec<Mood>> {
    let mood = prop_oneof![
        6 => Just(Mood::Well),
        2 => Just(Mood::Refuses),
        1 => Just(Mood::HangsBefore),
        1 => Just(Mood::HangsAfter),
        1 => Just(Mood::Panics),
    ];
    prop::collection::vec(mood, 0..12).prop_map(|mut moods| {
        moods.push(Mood::Well);
        moods
    })
}

/// Answers what lies in the table, once the dead letters are those that it refuses, which it answers too, and the newest offset.
async fn play(runs: Vec<Run>, moods: Vec<Mood>, batch: usize, poison: Option<Offset>) -> (Vec<Offset>, BTreeSet<Offset>, Offset) {
    let mut world = World::new();
    let table = Arc::new(Table { contents: watch::Sender::default(), moods, poison });
    let mut once = subscription(LaneMode::One);
    once.retry.timeout = Duration::from_millis(5);
    once.batch.events = batch;
    let last = Run { appended: 1, percent: 100, is_forced: false, reopens: false };
    for run in runs.into_iter().chain([last]) {
        let running = world.start(once.clone(), &table);
        if run.appended > 0 {
            world.append(&(0..run.appended).map(|index| format!("c{}", index % 3)).collect::<Vec<_>>()).await;
        }
        let good = (1..=world.journal.head()).filter(|offset| !table.refuses(*offset)).count();
        let wanted = good * run.percent / 100;
        let mut contents = table.contents.subscribe();
        soon(contents.wait_for(|contents| contents.events.len() >= wanted)).await.unwrap();
        if run.is_forced {
            running.force().await;
        } else {
            running.drain().await;
        }
        if run.reopens {
            world.reopen().await;
        }
    }
    let running = world.start(once, &table);
    let refused: BTreeSet<_> = (1..=world.journal.head()).filter(|offset| table.refuses(*offset)).collect();
    // One may be recorded twice: when it was forced to end in the middle of that and begins again in the same process.
    eventually(async || world.letters().await.iter().map(|letter| letter.event.offset).collect::<BTreeSet<_>>() == refused).await;
    running.drain().await;
    let contents = table.contents.borrow().clone();
    (contents.events, refused, world.journal.head())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_event_is_stored_once_and_in_order_however_often_it_is_interrupted(
        runs in runs(),
        moods in moods(),
        batch in 1..9usize,
        poison in prop::option::of(2..6u64),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (events, dead, head) = runtime.block_on(play(runs, moods, batch, poison));
        prop_assert_eq!(events, (1..=head).filter(|offset| !dead.contains(offset)).collect::<Vec<_>>());
    }
}
