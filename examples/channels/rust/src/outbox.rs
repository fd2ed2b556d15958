//! Channel `outbox`: a letter comes in by HTTP, and the answer to it is a file in a directory, for a printer to take.
//!
//! The way in is `POST /webhooks/outbox/letters` with `{"from": "ann", "letter": "…"}`; 202 means that the letter is on record.
//! The way out is a receiver: it is given what is said in answer to the channel's own messages, again and again until it has it.
//! A file is called after its event, so writing it once more after a crash changes nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use tokio::fs;
use trunkline::channel::axum::Router;
use trunkline::channel::axum::extract::{Request, State};
use trunkline::channel::axum::http::StatusCode;
use trunkline::channel::axum::response::Response;
use trunkline::channel::axum::routing::post;
use trunkline::channel::{
    Batch, BotMessage, Channel, Door, Event, Forms, Incoming, Outcome, Problem, Receiver, Section, Shown, UnknownKeys,
    UserMessage, async_trait, idempotency_key, json_with, render,
};

const NAME: &str = "outbox";

/// Builds the channel from its section of `credentials.yml`. It touches nothing: `trunkline check` runs this on a laptop.
pub(crate) fn from_section(section: &Section<'_>, project: &Path) -> Option<Arc<dyn Channel>> {
    section.unknown_keys(UnknownKeys::Refuse);
    let directory = project.join(section.required_string("directory")?);
    Some(Arc::new(Outbox { printer: Arc::new(Printer { directory }) }))
}

struct Outbox {
    printer: Arc<Printer>,
}

impl Channel for Outbox {
    fn name(&self) -> &str {
        NAME
    }

    fn routes(&self, mount: &str, door: Door) -> Router {
        Router::new().route(&format!("{mount}/letters"), post(receive)).with_state(door)
    }

    fn outgoing(&self) -> Option<Arc<dyn Receiver>> {
        Some(Arc::clone(&self.printer) as Arc<dyn Receiver>)
    }
}

#[derive(Deserialize)]
struct Letter {
    from: String,
    letter: String,
}

async fn receive(State(door): State<Door>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let bad = |reason: String| Problem::new(StatusCode::BAD_REQUEST, reason, &parts.headers);
    // Bounded in size, time and memory, as for all channels.
    let body = door.bodies.read(body).await.map_err(|error| Problem::from((error, &parts.headers)))?;
    let letter: Letter =
        serde_json::from_slice(&body).map_err(|error| bad(format!("expected {{\"from\", \"letter\"}}: {error}")))?;
    let key = idempotency_key(&parts.headers).map_err(|error| bad(format!("the header Idempotency-Key {error}")))?;
    let message = UserMessage::new(Some(&letter.letter), &letter.from, Some(NAME), None);
    let incoming = Incoming { message, channel: NAME.into(), key: key.map(str::to_owned) };
    door.inbox.receive(incoming).await.map_err(|error| Problem::from((error, &parts.headers)))?;
    Ok(json_with(StatusCode::ACCEPTED, "{\"status\":\"recorded\"}".to_owned()))
}

/// Writes answers into a directory, one file each.
struct Printer {
    directory: PathBuf,
}

#[async_trait]
impl Receiver for Printer {
    async fn deliver(&self, batch: &Batch) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(batch.events.len());
        // What could not be printed is tried again, and so is what stands behind it in the same conversation: a later answer must
        // not arrive before it.
        let mut held: Vec<&str> = Vec::new();
        for event in &batch.events {
            let outcome = if held.contains(&&*event.conversation) {
                Outcome::retry("an earlier answer of the conversation is not printed yet")
            } else {
                self.deliver_one(event).await
            };
            if matches!(outcome, Outcome::Retry { .. }) {
                held.push(&event.conversation);
            }
            outcomes.push(outcome);
        }
        outcomes
    }

    async fn is_ready(&self) -> Result<(), String> {
        match fs::metadata(&self.directory).await {
            Ok(metadata) if metadata.is_dir() => Ok(()),
            Ok(_) => Err(format!("outbox {}: it is no directory", self.directory.display())),
            Err(error) => Err(format!("outbox {}: {error}", self.directory.display())),
        }
    }
}

impl Printer {
    async fn deliver_one(&self, event: &Event) -> Outcome {
        let Some(page) = page(event) else {
            return Outcome::Reject { reason: "it is no answer that can be read".to_owned() };
        };
        match self.print(event, page).await {
            Ok(()) => Outcome::Delivered,
            // A full disk is no fault of this answer.
            Err(error) => Outcome::retry(format!("outbox {}: {error}", self.directory.display())),
        }
    }

    async fn print(&self, event: &Event, page: String) -> std::io::Result<()> {
        // The offset first, so that files are sorted as things were said.
        let path = self.directory.join(format!("{:020}-{}.txt", event.offset, event.id));
        let under_way = path.with_extension("part");
        fs::write(&under_way, page).await?;
        fs::File::open(&under_way).await?.sync_all().await?;
        fs::rename(under_way, path).await?;
        // Only now is the name safe from a power cut too.
        fs::File::open(&self.directory).await?.sync_all().await
    }
}

/// What is printed of an answer: paper has text and nothing else, so buttons become lines.
fn page(event: &Event) -> Option<String> {
    let shown = render(&BotMessage::from_event(event)?, Forms::TEXT);
    let lines = shown.into_iter().filter_map(|shown| if let Shown::Text(text) = shown { Some(text) } else { None });
    Some(format!("To {}\n\n{}\n", event.conversation, lines.collect::<Vec<_>>().join("\n")))
}
