//! A receiver that stores our cursor with its data.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use proptest::prelude::*;
use tokio::sync::watch;
use trunkline_core::{Batch, CursorKey, Offset, Outcome};
use trunkline_delivery::{LaneMode, Receiver};

use crate::common::{World, soon, subscription};

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
    fn store(&self, batch: &Batch) {
        self.contents.send_modify(|contents| {
            let there = contents.next.unwrap_or(0);
            let fresh = batch.events.iter().map(|event| event.offset).filter(|offset| *offset >= there);
            contents.events.extend(fresh.collect::<Vec<_>>());
            contents.next = contents.next.max(batch.next);
        });
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
            Mood::Well => self.store(batch),
            Mood::Refuses => return Outcome::retry("busy").all(batch.events.len()),
            Mood::HangsBefore => std::future::pending().await,
            Mood::HangsAfter => {
                self.store(batch);
                std::future::pending::<()>().await;
            }
            Mood::Panics => panic!("told to panic"),
        }
        tokio::task::yield_now().await;
        Outcome::Delivered.all(batch.events.len())
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

async fn play(runs: Vec<Run>, moods: Vec<Mood>, batch: usize) -> (Vec<Offset>, Offset) {
    let mut world = World::new();
    let table = Arc::new(Table { contents: watch::Sender::default(), moods });
    let mut once = subscription(LaneMode::One);
    once.retry.timeout = Duration::from_millis(5);
    once.batch.events = batch;
    let last = Run { appended: 1, percent: 100, is_forced: false, reopens: false };
    for run in runs.into_iter().chain([last]) {
        let running = world.start(once.clone(), &table);
        if run.appended > 0 {
            world.append(&(0..run.appended).map(|index| format!("c{}", index % 3)).collect::<Vec<_>>()).await;
        }
        let wanted = usize::try_from(world.journal.head()).unwrap() * run.percent / 100;
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
    let contents = table.contents.borrow().clone();
    (contents.events, world.journal.head())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_event_is_stored_once_and_in_order_however_often_it_is_interrupted(runs in runs(), moods in moods(), batch in 1..9usize) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (events, head) = runtime.block_on(play(runs, moods, batch));
        prop_assert_eq!(events, (1..=head).collect::<Vec<_>>());
    }
}
