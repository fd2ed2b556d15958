//! The subscription that answers: every message once, to the assistant and back into the journal.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::timeout;
use trunkline_core::{
    Assistant, AssistantError, Batch, BotMessage, CursorKey, Event, Kind, NewEvent, Offset, Outcome, Recording, Turn, UserMessage,
};
use trunkline_delivery::Receiver;
use trunkline_journal::{Append, Journal, Unavailable};

use super::{Turns, turn_identity};

/// How far back the last event of an assistant's own tracker is searched for.
const SEARCHED: usize = 1_000;

/// Hands messages to the assistant and records what it says.
pub(crate) struct Answering {
    journal: Journal,
    assistant: Arc<dyn Assistant>,
    turns: Arc<Turns>,
    timeout: Duration,
    apology: String,
    /// Messages up to this offset may have been answered by an earlier process.
    inherited: Offset,
}

impl Answering {
    pub(crate) fn new(journal: Journal, plan: &trunkline_assistants::Plan, turns: Arc<Turns>) -> Self {
        let inherited = journal.head();
        let (assistant, apology) = (Arc::clone(&plan.assistant), plan.apology.clone());
        Self { journal, assistant, turns, timeout: plan.timeout, apology, inherited }
    }

    async fn answer(&self, event: &Event) -> Outcome {
        let Some(message) = UserMessage::from_event(&event.body) else {
            return Outcome::Reject { reason: "it is no message that can be read".to_owned() };
        };
        if event.offset <= self.inherited {
            match self.journal.find(&turn_identity(event.offset)).await {
                Ok(None) => {}
                Ok(Some(_)) => return Outcome::Delivered,
                Err(error) => return Outcome::retry(error.to_string()),
            }
        }
        let mut turn = RecordedTurn::new(self, event, &message);
        let result = timeout(self.timeout, self.assistant.answer(&message, &mut turn)).await;
        let problem = match result {
            Ok(Ok(())) => None,
            Ok(Err(AssistantError::Unrecorded(reason))) => return Outcome::retry(reason),
            Ok(Err(error @ AssistantError::Failed(_))) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {} s", self.timeout.as_secs_f32())),
        };
        if let Some(reason) = &problem {
            let assistant = self.assistant.name();
            tracing::warn!(
                assistant,
                conversation = message.sender_id,
                offset = event.offset,
                reason,
                "Assistant did not answer"
            );
            turn.apologize(&self.apology);
        }
        match turn.end().await {
            Ok(()) => Outcome::Delivered,
            Err(error) => Outcome::retry(error.to_string()),
        }
    }
}

#[async_trait]
impl Receiver for Answering {
    async fn deliver(&self, batch: &Batch) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(batch.events.len());
        for event in &batch.events {
            outcomes.push(self.answer(event).await);
        }
        outcomes
    }

    async fn is_ready(&self) -> Result<(), String> {
        self.assistant.is_ready().await
    }

    async fn position(&self, _cursor: &CursorKey) -> Result<Option<Offset>, String> {
        Ok(None)
    }

    async fn close(&self) {}
}

/// A turn whose every word is recorded before it is shown.
struct RecordedTurn<'a> {
    answering: &'a Answering,
    event: &'a Event,
    message: &'a UserMessage,
    recording: Recording,
    stream: bool,
    /// Said and not recorded yet.
    said: Vec<BotMessage>,
    /// How many were recorded on their own.
    streamed: usize,
    /// Events of the assistant's tracker that are not recorded yet.
    tracked: Vec<NewEvent>,
}

impl<'a> RecordedTurn<'a> {
    fn new(answering: &'a Answering, event: &'a Event, message: &'a UserMessage) -> Self {
        let recording = if event.kind == Kind::Prompt { Recording::Assistant } else { Recording::Gateway };
        let stream = recording == Recording::Gateway && answering.turns.is_streaming(&message.message_id);
        Self { answering, event, message, recording, stream, said: Vec::new(), streamed: 0, tracked: Vec::new() }
    }

    fn bot(&self, message: &BotMessage) -> NewEvent {
        let now = self.answering.journal.clock().seconds();
        NewEvent::bot(message, &self.message.sender_id, self.message.input_channel.as_deref(), now)
    }

    fn apologize(&mut self, apology: &str) {
        self.tracked.clear();
        let metadata = "{\"trunkline\": {\"apology\": true}}".to_owned();
        self.said.push(BotMessage { metadata, ..BotMessage::text(apology) });
    }

    /// Records what is not recorded yet together with the end of the turn, and shows it.
    async fn end(self) -> Result<(), Unavailable> {
        let Self { answering, event, message, .. } = self;
        let events = if self.tracked.is_empty() { self.own_events() } else { self.tracked };
        answering.journal.append(Append::many(events).with_identity(turn_identity(event.offset))).await?;
        answering.turns.say(&message.message_id, &self.said);
        answering.turns.finish(&message.message_id);
        Ok(())
    }

    /// The turn in our own words: when we keep the tracker, or the assistant that does has nothing new.
    fn own_events(&self) -> Vec<NewEvent> {
        let (clock, channel) = (self.answering.journal.clock(), self.message.input_channel.as_deref());
        let mut events = Vec::with_capacity(self.said.len() + 2);
        if self.recording == Recording::Assistant {
            let Event { conversation, event_type, body, user, .. } = self.event;
            let asked = NewEvent::new(Kind::Event, conversation, event_type, body.clone());
            events.push(NewEvent { user: user.clone(), ..asked.with_channel(self.event.channel.as_deref()) });
        }
        events.extend(self.said.iter().map(|message| self.bot(message)));
        events.push(NewEvent::action_listen(&self.message.sender_id, channel, clock.seconds()));
        events
    }

    /// The events of the assistant's tracker behind the last one that was recorded. In between may stand others: apologies, and
    /// what the API appended.
    async fn untracked(&self, tracker_events: &[String]) -> Result<Vec<NewEvent>, String> {
        let conversation = self.message.sender_id.as_str();
        let now = self.answering.journal.clock().seconds();
        let mut events = Vec::with_capacity(tracker_events.len());
        for raw in tracker_events {
            events.push(NewEvent::parse(raw.as_bytes(), Some(conversation), now).map_err(|error| error.to_string())?);
        }
        let bodies: HashSet<Bytes> = events.iter().map(|event| event.body.clone()).collect();
        let is_tracked = move |event: &Event, _: Option<&str>| event.kind.is_published() && bodies.contains(&event.body);
        let last = self.answering.journal.last_of_conversation(conversation, SEARCHED, is_tracked).await;
        let last = last.map_err(|error| error.to_string())?.map(|(event, _)| event.body.clone());
        let known = last.and_then(|body| events.iter().rposition(|event| event.body == body)).map_or(0, |index| index + 1);
        let mut new = events.split_off(known);
        for event in &mut new {
            event.channel.clone_from(&self.event.channel);
        }
        Ok(new)
    }
}

#[async_trait]
impl Turn for RecordedTurn<'_> {
    async fn say(&mut self, message: BotMessage) -> Result<(), AssistantError> {
        if !self.stream {
            self.said.push(message);
            return Ok(());
        }
        let identity = format!("{}:{}", turn_identity(self.event.offset), self.streamed);
        let append = Append::one(self.bot(&message)).with_identity(identity);
        let appended = self.answering.journal.append(append).await;
        let appended = appended.map_err(|error| AssistantError::Unrecorded(error.to_string()))?;
        self.streamed += 1;
        // An attempt before this one may have said it.
        if !appended.duplicate {
            self.answering.turns.say(&self.message.message_id, &[message]);
        }
        Ok(())
    }

    async fn record(&mut self, tracker_events: Vec<String>) -> Result<(), AssistantError> {
        self.tracked = self.untracked(&tracker_events).await.map_err(AssistantError::Failed)?;
        Ok(())
    }
}
