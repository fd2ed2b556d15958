//! The suite itself: it accepts a receiver that keeps the contract, and finds out each that does not.

use std::sync::{Arc, Mutex};

use super::*;
use trunkline_core::{Batch, CursorKey, Event, Offset, Outcome};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    Loses,
    Doubles,
    Swaps,
    Alters,
    NamesAnother,
    NamesNone,
    /// Says `Delivered` of what it has yet to store.
    Anticipates,
    ForgetsItsCursor,
    /// Goes on behind an event that it rejected.
    GoesOn,
    /// Stores its cursor past an event that it rejected.
    PassesRejected,
    /// Takes an export for a replay.
    MovesForExports,
    TellsSecrets,
}

#[derive(Default)]
struct Stored {
    arrived: Vec<Arrived>,
    cursor: Option<Offset>,
    is_down: bool,
}

struct Memory {
    flaw: Flaw,
    is_exactly_once: bool,
    stored: Arc<Mutex<Stored>>,
}

impl Memory {
    fn new(flaw: Flaw, is_exactly_once: bool) -> Self {
        Self { flaw, is_exactly_once, stored: Arc::default() }
    }

    fn set_down(&self, is_down: bool) {
        self.stored.lock().unwrap().is_down = is_down;
    }
}

#[async_trait]
impl Subject for Memory {
    fn broker(&self) -> Arc<dyn Broker> {
        let stored = Arc::clone(&self.stored);
        Arc::new(Client { flaw: self.flaw, is_exactly_once: self.is_exactly_once, stored, kept: Mutex::default() })
    }

    async fn arrived(&self) -> Vec<Arrived> {
        self.stored.lock().unwrap().arrived.clone()
    }

    fn is_exactly_once(&self) -> bool {
        self.is_exactly_once
    }
}

struct Client {
    flaw: Flaw,
    is_exactly_once: bool,
    stored: Arc<Mutex<Stored>>,
    kept: Mutex<Vec<Arrived>>,
}

impl Client {
    fn message(&self, event: &Event) -> Arrived {
        let mut body = event.body.to_vec();
        if self.flaw == Flaw::Alters && event.offset == 11 {
            body.push(b' ');
        }
        let id = match self.flaw {
            Flaw::NamesAnother => Some("another".to_owned()),
            Flaw::NamesNone => None,
            _ => Some(event.id.to_string()),
        };
        Arrived { body, id }
    }

    fn store(&self, stored: &mut Stored, event: &Event) {
        let message = self.message(event);
        match self.flaw {
            Flaw::Loses if event.offset == 11 => {}
            Flaw::Doubles if event.offset == 11 => stored.arrived.extend([message.clone(), message]),
            Flaw::Swaps if stored.arrived.len() > 1 => stored.arrived.insert(0, message),
            Flaw::Anticipates => self.kept.lock().unwrap().push(message),
            _ => stored.arrived.push(message),
        }
    }
}

#[async_trait]
impl Broker for Client {
    async fn publish(&self, batch: &Batch) -> Vec<Outcome> {
        // So that a call can be given up.
        tokio::task::yield_now().await;
        let mut stored = self.stored.lock().unwrap();
        if stored.is_down {
            return Outcome::retry("the memory is down").all(batch.events.len());
        }
        let mut outcomes = Vec::new();
        for event in &batch.events {
            let is_refused = event.body.starts_with(b"poison");
            let is_behind = outcomes.iter().any(|outcome| *outcome != Outcome::Delivered);
            if is_behind && self.flaw != Flaw::GoesOn {
                outcomes.push(Outcome::retry("an event before it was refused"));
            } else if is_refused {
                outcomes.push(Outcome::Reject { reason: "poison".to_owned() });
                if self.flaw == Flaw::PassesRejected {
                    stored.cursor = Some(event.offset + 1);
                }
            } else {
                let is_known = batch.next.is_some() && stored.cursor.is_some_and(|cursor| event.offset < cursor);
                if !is_known {
                    self.store(&mut stored, event);
                }
                outcomes.push(Outcome::Delivered);
                if self.flaw == Flaw::MovesForExports && batch.export.is_some() && stored.cursor == Some(event.offset) {
                    stored.cursor = Some(event.offset + 1);
                }
                if self.is_exactly_once && batch.next.is_some() && self.flaw != Flaw::ForgetsItsCursor {
                    stored.cursor = Some(event.offset + 1).max(stored.cursor);
                }
            }
        }
        outcomes
    }

    async fn is_ready(&self) -> Result<(), String> {
        let secret = if self.flaw == Flaw::TellsSecrets { "s3cret" } else { "the memory" };
        if self.stored.lock().unwrap().is_down { Err(format!("{secret} is down")) } else { Ok(()) }
    }

    async fn position(&self, _cursor: &CursorKey) -> Result<Option<Offset>, String> {
        Ok(self.stored.lock().unwrap().cursor)
    }

    async fn close(&self) {
        self.stored.lock().unwrap().arrived.append(&mut self.kept.lock().unwrap());
    }
}

mod at_least_once {
    use super::*;
    crate::contract_tests!(Memory::new(Flaw::None, false));
}

mod exactly_once {
    use super::*;
    crate::contract_tests!(Memory::new(Flaw::None, true));
}

#[tokio::test]
async fn a_memory_that_is_down_at_times() {
    for is_exactly_once in [false, true] {
        let memory = || Memory::new(Flaw::None, is_exactly_once);
        let subject = memory();
        outage(&subject, async { subject.set_down(true) }, async { subject.set_down(false) }).await;
        let subject = memory();
        full(&subject, async { subject.set_down(true) }, async { subject.set_down(false) }).await;
        let subject = memory();
        let blinks = async {
            for number in 0..100 {
                subject.set_down(number % 2 == 0);
                tokio::task::yield_now().await;
            }
        };
        fault_under_load(&subject, blinks).await;
        poison(&memory(), "poison").await;
        let subject = memory();
        subject.set_down(true);
        refused(&*subject.broker(), &["memory"], &["s3cret"]).await;
    }
}

/// What a check says of a subject that breaks the contract.
async fn complaint(check: impl Future<Output = ()> + Send + 'static) -> String {
    let panic = tokio::spawn(check).await.expect_err("the check finds nothing").into_panic();
    panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap()
}

#[tokio::test]
async fn each_flaw_is_found() {
    for (flaw, expected) in [
        (Flaw::Loses, "did not arrive"),
        (Flaw::Doubles, "more than once"),
        (Flaw::Swaps, "arrived before"),
        (Flaw::Alters, "is none of the"),
        (Flaw::NamesAnother, "the id of message 0"),
        (Flaw::NamesNone, "message 0 has no id"),
    ] {
        let said = complaint(async move {
            real_events_arrive_in_order_and_byte_for_byte(&Memory::new(flaw, false)).await;
        });
        assert!(said.await.contains(expected), "{expected}");
    }
    let said = complaint(async { a_fresh_broker_goes_on(&Memory::new(Flaw::Anticipates, false)).await });
    assert!(said.await.contains("did not arrive"));
    let said = complaint(async { a_fresh_broker_goes_on(&Memory::new(Flaw::ForgetsItsCursor, true)).await });
    assert!(said.await.contains("the cursor stands at 0"));
    let said = complaint(async { poison(&Memory::new(Flaw::GoesOn, true), "poison").await });
    assert!(said.await.contains("was published past one that was not"));
    let said = complaint(async { poison(&Memory::new(Flaw::PassesRejected, true), "poison").await });
    assert!(said.await.contains("the cursor is past the event"));
    let said = complaint(async { an_export_moves_no_cursor(&Memory::new(Flaw::MovesForExports, true)).await });
    assert!(said.await.contains("left == right"));
    let said = complaint(async {
        let memory = Memory::new(Flaw::TellsSecrets, false);
        memory.set_down(true);
        refused(&*memory.broker(), &[], &["s3cret"]).await;
    });
    assert!(said.await.contains("a secret is in the message"));
}
