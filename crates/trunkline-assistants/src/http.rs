//! `type: http`: any URL that answers a message with replies.
//!
//! `POST <url>` with
//!
//! ```json
//! {"sender": "u1", "message": "hi", "message_id": "c0a9", "input_channel": "rest", "metadata": {}}
//! ```
//!
//! where `message` and `input_channel` may be null. It is answered by status 200 with a JSON list of replies, one reply, or,
//! with the content type `application/x-ndjson` or `text/event-stream`, a reply per line, each said as it arrives; or by
//! status 204 or an empty body when there is nothing to say. A reply is an object with at least one of `text`, `buttons`,
//! `quick_replies`, `elements`, `custom`, `image` and `attachment`, and perhaps `metadata`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use trunkline_config::Section;
use trunkline_core::json::{self, Layout};
use trunkline_core::{Assistant, AssistantError, Turn, UserMessage};
use trunkline_http::{Method, StatusCode};

use crate::client::Client;
use crate::replies::{Form, Replies};

const EXPECTED_STATUS: &str =
    "status 200 with a JSON list of replies, one reply, or a reply per line, or status 204 for no reply";

/// Asks a URL.
struct Http {
    client: Client,
}

pub(crate) fn from_section(section: &Section<'_>, directory: &Path, timeout: Duration) -> Option<Arc<dyn Assistant>> {
    Some(Arc::new(Http { client: Client::from_section("http", section, directory, timeout)? }))
}

#[async_trait]
impl Assistant for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    async fn answer(&self, messages: &[UserMessage], turn: &mut dyn Turn) -> Result<(), AssistantError> {
        for message in messages {
            let answer = self.client.post(self.client.url(), request(message)).await?;
            match answer.status() {
                StatusCode::NO_CONTENT => continue,
                StatusCode::OK => {}
                _ => return Err(answer.refused(EXPECTED_STATUS).await),
            }
            let mut replies = Replies::new(answer, Form::Any);
            while let Some(reply) = replies.next().await? {
                turn.say(reply).await?;
            }
        }
        Ok(())
    }

    /// Any answer to a `HEAD` will do: what it would say to a message cannot be found out without sending one.
    async fn is_ready(&self) -> Result<(), String> {
        let asked = self.client.probe(Method::HEAD, self.client.url()).await;
        asked.map(drop).map_err(|error| error.to_string())
    }
}

fn request(message: &UserMessage) -> String {
    let quote = |text: &str| json::quote(text, Layout::Dumps);
    let optional = |text: &Option<String>| text.as_deref().map_or_else(|| "null".to_owned(), quote);
    format!(
        "{{\"sender\": {}, \"message\": {}, \"message_id\": {}, \"input_channel\": {}, \"metadata\": {}}}",
        quote(&message.sender_id),
        optional(&message.text),
        quote(&message.message_id),
        optional(&message.input_channel),
        message.metadata,
    )
}
