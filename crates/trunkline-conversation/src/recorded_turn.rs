//! A turn under way, every word of which is recorded before it is shown.

use std::collections::HashSet;

use async_trait::async_trait;
use bytes::Bytes;
use trunkline_core::json::{self, Layout};
use trunkline_core::{AssistantError, BotMessage, Event, EventError, Kind, NewEvent, Offset, Recording, Turn};
use trunkline_journal::{Limits, ReadError};

use crate::asked::Asked;
use crate::intake::{Entry, Identity, Recorded, Unrecorded};
use crate::partition::Partition;
use crate::turns::EndedTurn;

/// How far back the last event of an assistant's own tracker is searched for.
const SEARCHED: usize = 1_000;
/// How much of that is read at once.
const PAGE: usize = 128;

pub(crate) struct RecordedTurn<'a> {
    partition: &'a Partition,
    asked: &'a Asked<'a>,
    recording: Recording,
    /// Whether each reply is recorded on its own, as soon as it is said.
    is_streamed: bool,
    /// Whether an attempt before this one has recorded some of them.
    is_begun: bool,
    /// Said and not recorded yet.
    said: Vec<BotMessage>,
    /// How many were recorded on their own.
    streamed: usize,
    /// Events of the assistant's tracker that are not recorded yet.
    tracked: Vec<NewEvent>,
}

impl<'a> RecordedTurn<'a> {
    /// A turn without a word said; `is_begun` when an attempt before this one has recorded replies on their own.
    pub(crate) fn new(partition: &'a Partition, asked: &'a Asked<'a>, is_begun: bool) -> Self {
        let recording = if asked.last.kind == Kind::Prompt { Recording::Assistant } else { Recording::Gateway };
        let is_streaming = asked.messages.iter().any(|message| partition.waiting.is_streaming(&message.message_id));
        // Replies that are on record must be known again, though nobody may wait any more.
        let is_streamed = recording == Recording::Gateway && (is_streaming || is_begun);
        Self { partition, asked, recording, is_streamed, is_begun, said: Vec::new(), streamed: 0, tracked: Vec::new() }
    }

    fn conversation(&self) -> &str {
        &self.asked.last.conversation
    }

    /// The message that this turn is known by.
    fn message(&self) -> Offset {
        self.asked.last.offset
    }

    fn bot(&self, message: &BotMessage, now: f64) -> NewEvent {
        let event = NewEvent::bot(message, self.conversation(), self.asked.last.channel.as_deref(), now);
        NewEvent { answers: Some(self.message()), ..event }
    }

    pub(crate) fn apologize(&mut self, apology: &str) {
        self.tracked.clear();
        let metadata = "{\"trunkline\": {\"apology\": true}}".to_owned();
        self.said.push(BotMessage { metadata, ..BotMessage::text(apology) });
    }

    /// Records what is not recorded yet together with the end of the turn, and shows it.
    pub(crate) async fn end(mut self) -> Result<(), Unrecorded> {
        if self.is_begun {
            self.show_streamed_before().await?;
        }
        let Self { partition, asked, .. } = self;
        let message = self.message();
        let locked = partition.intake.lock(&asked.last.conversation).await;
        let events = if self.tracked.is_empty() { self.own_events(locked.seconds()) } else { self.tracked };
        let recorded = locked.append(Entry::plain(events, Some(Identity::turn(message)))).await?;
        match recorded {
            Recorded::New { .. } => partition.show(asked, self.streamed, &self.said),
            // Another attempt has ended it, and what that said counts.
            Recorded::Known { last } => partition.show_recorded(asked, EndedTurn { message, end: last }).await?,
        }
        Ok(())
    }

    /// Shows the replies that an attempt before this one has recorded, beyond those that were said again now: they are part of the turn.
    async fn show_streamed_before(&mut self) -> Result<(), ReadError> {
        let journal = &self.partition.journal;
        while let Some(offset) = journal.find(self.conversation(), Identity::said(self.message(), self.streamed).as_str()).await?
        {
            let said = journal.event(offset).await?.and_then(|event| BotMessage::from_event(&event));
            self.show_next(said.as_slice());
        }
        Ok(())
    }

    /// Shows the next reply that is recorded on its own.
    fn show_next(&mut self, said: &[BotMessage]) {
        for asked in &self.asked.messages {
            self.partition.waiting.say(&asked.message_id, self.streamed, said);
        }
        self.streamed += 1;
    }

    /// The turn in our own words: when we keep the tracker, or the assistant that does has nothing new.
    fn own_events(&self, now: f64) -> Vec<NewEvent> {
        let channel = self.asked.last.channel.as_deref();
        let mut events = Vec::with_capacity(self.said.len() + 2);
        if self.recording == Recording::Assistant {
            events.extend(self.asked.events.iter().map(|event| as_tracker_event(event)));
        }
        events.extend(self.said.iter().map(|message| self.bot(message, now)));
        events.push(NewEvent::action_listen(self.conversation(), channel, now));
        events
    }

    /// The events of the assistant's tracker behind the last one that was recorded. In between may stand others: apologies, and
    /// what the API appended.
    async fn untracked(&self, tracker_events: &[String]) -> Result<Vec<NewEvent>, AssistantError> {
        let now = self.partition.journal.clock().seconds();
        let mut events = tracker_events.iter().map(|raw| self.tracked_event(raw, now)).collect::<Result<Vec<_>, _>>()?;
        let last = self.last_tracked(&events).await.map_err(|error| AssistantError::Unrecorded(error.to_string()))?;
        let known = last.and_then(|body| events.iter().rposition(|event| event.body == body)).map_or(0, |index| index + 1);
        let mut new = events.split_off(known);
        let begin = self.begin_of_turn(&new);
        for (place, event) in new.iter_mut().enumerate() {
            event.channel.clone_from(&self.asked.last.channel);
            event.answers = (place >= begin && event.event_type == "bot").then_some(self.message());
        }
        Ok(new)
    }

    fn tracked_event(&self, raw: &str, now: f64) -> Result<NewEvent, AssistantError> {
        // Not with the limits of input: what came in within them is in here, some levels deeper.
        let document = json::lay_out(raw.as_bytes(), Layout::Dumps).map_err(EventError::from);
        let event =
            document.and_then(|document| NewEvent::from_document(&document, raw.as_bytes(), Some(self.conversation()), now));
        event.map_err(|error| AssistantError::Failed(error.to_string()))
    }

    /// Where the turn begins among events of the tracker, with the first of its messages. What stands before it is the past of a tracker
    /// that is older than the journal, or a turn that got an apology, and answers nothing that was asked now.
    fn begin_of_turn(&self, events: &[NewEvent]) -> usize {
        let messages = events.iter().enumerate().filter(|(_, event)| event.event_type == "user").map(|(place, _)| place);
        messages.rev().take(self.asked.messages.len()).last().unwrap_or_default()
    }

    /// The body of the last event on record that is one of `events`.
    async fn last_tracked(&self, events: &[NewEvent]) -> Result<Option<Bytes>, ReadError> {
        let bodies: HashSet<&Bytes> = events.iter().map(|event| &event.body).collect();
        let (mut before, mut searched) = (Offset::MAX >> 1, 0);
        while before > 0 && searched < SEARCHED {
            let limits = Limits { events: PAGE.min(SEARCHED - searched), ..Limits::default() };
            let chunk = self.partition.journal.conversation_back(self.conversation(), before, limits).await?;
            let is_tracked = |event: &&std::sync::Arc<Event>| event.kind.is_published() && bodies.contains(&event.body);
            if let Some(event) = chunk.events.iter().find(is_tracked) {
                return Ok(Some(event.body.clone()));
            }
            searched += limits.events;
            before = chunk.next;
        }
        Ok(None)
    }
}

/// The prompt as the tracker event that the assistant's tracker does not have.
fn as_tracker_event(prompt: &Event) -> NewEvent {
    let Event { conversation, event_type, body, user, session, .. } = prompt;
    let event = NewEvent::new(Kind::Event, conversation, event_type, body.clone()).with_channel(prompt.channel.as_deref());
    NewEvent { user: user.clone(), session: session.clone(), ..event }
}

impl Partition {
    /// Shows what is recorded, from the `number`th reply on, to those who wait for an answer to one of the messages, and ends their
    /// waiting.
    fn show(&self, asked: &Asked<'_>, number: usize, said: &[BotMessage]) {
        for message in &asked.messages {
            self.waiting.say(&message.message_id, number, said);
            self.waiting.end(&message.message_id);
        }
    }

    /// The same for a turn that was recorded before.
    pub(crate) async fn show_recorded(&self, asked: &Asked<'_>, turn: EndedTurn) -> Result<(), ReadError> {
        let said = self.said_in(&asked.last.conversation, turn).await?;
        self.show(asked, 0, &said);
        Ok(())
    }
}

#[async_trait]
impl Turn for RecordedTurn<'_> {
    async fn say(&mut self, message: BotMessage) -> Result<(), AssistantError> {
        if !self.is_streamed {
            self.said.push(message);
            return Ok(());
        }
        let identity = Identity::said(self.message(), self.streamed);
        let locked = self.partition.intake.lock(self.conversation()).await;
        let entry = Entry::plain(vec![self.bot(&message, locked.seconds())], Some(identity));
        let recorded = locked.append(entry).await;
        let unrecorded = |error: &dyn ToString| AssistantError::Unrecorded(error.to_string());
        let said = match recorded.map_err(|error| unrecorded(&error))? {
            Recorded::New { .. } => Some(message),
            // An attempt before this one has said it, in these words.
            Recorded::Known { last } => {
                let event = self.partition.journal.event(last).await.map_err(|error| unrecorded(&error))?;
                event.and_then(|event| BotMessage::from_event(&event))
            }
        };
        self.show_next(said.as_slice());
        Ok(())
    }

    async fn record(&mut self, tracker_events: Vec<String>) -> Result<(), AssistantError> {
        self.tracked = self.untracked(&tracker_events).await?;
        Ok(())
    }
}
