//! A source that tests control: a queue that gives again what was not settled.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::Notify;
use trunkline_core::{Place, Reader, Received, Source};

#[derive(Clone, Debug, Default)]
pub(crate) struct Queue(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Not settled yet.
    messages: VecDeque<Received>,
    /// How many of them the reader has.
    taken: usize,
    settled: usize,
    opened: usize,
    /// What the next calls answer in place of what they would.
    trouble: VecDeque<Trouble>,
    ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    Open,
    Receive,
    /// After it has settled nothing.
    Settle,
    /// It never answers.
    HangInSettle,
    Panic,
}

impl Queue {
    pub(crate) fn push(&self, id: Option<&str>, body: impl Into<bytes::Bytes>) {
        let mut state = self.0.state.lock().unwrap();
        let origin = format!("message {}", state.settled + state.messages.len() + 1);
        state.messages.push_back(Received { body: body.into(), id: id.map(Into::into), origin });
        self.0.changed.notify_one();
    }

    /// The calls of these kinds fail once each, in this order.
    pub(crate) fn trouble(&self, trouble: impl IntoIterator<Item = Trouble>) {
        self.0.state.lock().unwrap().trouble.extend(trouble);
        self.0.changed.notify_one();
    }

    /// There will be no more messages.
    pub(crate) fn end(&self) {
        self.0.state.lock().unwrap().ended = true;
        self.0.changed.notify_one();
    }

    pub(crate) fn settled(&self) -> usize {
        self.0.state.lock().unwrap().settled
    }

    pub(crate) fn opened(&self) -> usize {
        self.0.state.lock().unwrap().opened
    }
}

impl State {
    fn is_in_trouble(&mut self, kind: Trouble) -> bool {
        let is_it = self.trouble.front() == Some(&kind);
        if is_it {
            self.trouble.pop_front();
        }
        is_it
    }
}

#[async_trait]
impl Source for Queue {
    fn place(&self) -> Place {
        "a queue of the test".into()
    }

    async fn open_at(&self, _position: Option<&str>) -> Result<Box<dyn Reader>, String> {
        let mut state = self.0.state.lock().unwrap();
        state.opened += 1;
        state.taken = 0;
        if state.is_in_trouble(Trouble::Open) {
            return Err("the queue is shut".to_owned());
        }
        Ok(Box::new(self.clone()))
    }

    async fn is_ready(&self) -> Result<(), String> {
        Ok(())
    }
}

#[async_trait]
impl Reader for Queue {
    async fn receive(&mut self) -> Result<Option<Vec<Received>>, String> {
        loop {
            {
                let mut state = self.0.state.lock().unwrap();
                if state.is_in_trouble(Trouble::Receive) {
                    return Err("the queue went away".to_owned());
                }
                if state.trouble.front() == Some(&Trouble::Panic) {
                    state.trouble.pop_front();
                    drop(state);
                    panic!("a bug of the adapter");
                }
                let batch: Vec<_> = state.messages.iter().skip(state.taken).take(100).cloned().collect();
                if !batch.is_empty() {
                    state.taken += batch.len();
                    return Ok(Some(batch));
                }
                if state.ended {
                    return Ok(None);
                }
            }
            self.0.changed.notified().await;
        }
    }

    async fn settle(&mut self) -> Result<(), String> {
        let hangs = self.0.state.lock().unwrap().is_in_trouble(Trouble::HangInSettle);
        if hangs {
            std::future::pending::<()>().await;
        }
        let mut state = self.0.state.lock().unwrap();
        if state.is_in_trouble(Trouble::Settle) {
            return Err("the queue went away before it settled".to_owned());
        }
        let taken = std::mem::take(&mut state.taken);
        state.messages.drain(..taken);
        state.settled += taken;
        Ok(())
    }
}
