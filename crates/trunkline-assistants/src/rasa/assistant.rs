//! Turns with a Rasa server.

use async_trait::async_trait;
use trunkline_core::json::{self, Layout};
use trunkline_core::{Assistant, AssistantError, Recording, Turn, UserMessage};
use trunkline_http::{Method, StatusCode};

use super::address::{Addresses, Include, TrackerAddress};
use super::tracker;
use crate::client::Client;
use crate::replies::{Form, Replies};

/// Asks a Rasa server.
pub(super) struct Rasa {
    pub(super) client: Client,
    pub(super) addresses: Addresses,
    pub(super) recording: Recording,
    pub(super) max_tracker: usize,
}

#[async_trait]
impl Assistant for Rasa {
    fn name(&self) -> &'static str {
        "rasa"
    }

    fn recording(&self) -> Recording {
        self.recording
    }

    async fn answer(&self, messages: &[UserMessage], turn: &mut dyn Turn) -> Result<(), AssistantError> {
        if self.recording == Recording::Assistant {
            return self.answer_with_tracker(messages, turn).await;
        }
        for message in messages {
            let mut replies = self.ask(message).await?;
            while let Some(reply) = replies.next().await? {
                turn.say(reply).await?;
            }
        }
        Ok(())
    }

    /// The health of the channel, or the greeting of the server when it has none.
    async fn is_ready(&self) -> Result<(), String> {
        let channel = self.client.probe(Method::GET, &self.addresses.health).await.map_err(|error| error.to_string())?;
        if channel.status() == StatusCode::OK {
            return Ok(());
        }
        let server = self.client.probe(Method::GET, &self.addresses.root).await.map_err(|error| error.to_string())?;
        if server.status() == StatusCode::OK {
            return Ok(());
        }
        Err(channel.refused("status 200; is `rest:` in the credentials.yml of the server?").await.to_string())
    }
}

impl Rasa {
    async fn ask(&self, message: &UserMessage) -> Result<Replies<'_>, AssistantError> {
        let answer = self.client.post(&self.addresses.webhook, request(message)).await?;
        match answer.status() {
            StatusCode::OK => Ok(Replies::new(answer, Form::List)),
            StatusCode::NOT_FOUND => Err(answer
                .refused("status 200 with a JSON list of replies; is `rest:` in the credentials.yml of the server?")
                .await),
            _ => Err(answer.refused("status 200 with a JSON list of replies").await),
        }
    }

    async fn answer_with_tracker(&self, messages: &[UserMessage], turn: &mut dyn Turn) -> Result<(), AssistantError> {
        let conversation = messages.first().map_or("", |message| &message.sender_id);
        let whole = self.addresses.tracker(conversation, Include::All);
        let whole =
            whole.map_err(|found| self.client.place(&self.addresses.root).failed(&found, "an id that fits into an address"))?;
        if whole.is_escaped {
            // Found out before the assistant acts: an answer whose events cannot be had could not be said.
            if let Ok(nothing) = self.addresses.tracker(conversation, Include::None) {
                self.state(&nothing, conversation).await?;
            }
        }
        let mut said = Vec::new();
        for message in messages {
            let mut replies = self.ask(message).await?;
            while let Some(reply) = replies.next().await? {
                said.push(reply);
            }
        }
        let state = self.state(&whole, conversation).await?;
        let events = tracker::events(&state).map_err(|found| {
            self.client.place(&whole.url).failed(&found, "a tracker with a list of `events`, each a JSON object")
        })?;
        turn.record(events).await?;
        for reply in said {
            turn.say(reply).await?;
        }
        Ok(())
    }

    /// The state of the tracker of `conversation`, and of no other.
    async fn state(&self, address: &TrackerAddress, conversation: &str) -> Result<json::Document, AssistantError> {
        let answer = self.client.get(&address.url).await?;
        let expected = match answer.status() {
            StatusCode::OK => {
                let mut answer = answer.up_to(self.max_tracker, "max_tracker");
                let body = answer.body().await?;
                let place = answer.place();
                return tracker::state(&body, conversation, address.is_escaped).map_err(|problem| match problem {
                    tracker::Problem::NotAnObject(reason) => {
                        place.failed(&format!("{reason} in {}", place.excerpt(&body)), "the JSON object of a tracker")
                    }
                    tracker::Problem::OfAnother(found) => {
                        place.failed(&found, &format!("the one of conversation {conversation:?}"))
                    }
                });
            }
            StatusCode::NOT_FOUND => "status 200 with the tracker; is the server started with `--enable-api`?",
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "status 200 with the tracker; is `token` that of the server?",
            _ => "status 200 with the tracker",
        };
        Err(answer.refused(expected).await)
    }
}

fn request(message: &UserMessage) -> String {
    let quote = |text: &str| json::quote(text, Layout::Dumps);
    let optional = |text: &Option<String>| text.as_deref().map_or_else(|| "null".to_owned(), quote);
    format!(
        "{{\"sender\": {}, \"message\": {}, \"metadata\": {}, \"input_channel\": {}}}",
        quote(&message.sender_id),
        optional(&message.text),
        message.metadata,
        optional(&message.input_channel),
    )
}
