//! The `callback` channel, as Rasa's: a JSON message in, each reply posted to a URL.
//!
//! The request is answered with `success` as soon as the message is durable; the original keeps it waiting for the whole turn.
//! Every message that the REST channel would list is one request to `url`, in order within a conversation, with the JSON object as its
//! body. As in the original, `metadata` and `input_channel` of the body in are passed over.
//!
//! `Delivered` means that the receiver answered each request of a reply with 200 to 299. A repetition happens after a crash, when an
//! answer is lost, and when a dead letter is replayed; a receiver that remembers ids is not harmed by it. The `webhook-id` of the first
//! request of a reply is the id of the `bot` event; the second has `-2` behind it, the third `-3`, and so on, on every attempt.
//!
//! Answers mean what they mean for the broker `webhook`: 3xx, 5xx and none are tried again, 400, 413, 422 and 410 make a dead letter.
//! Private addresses are allowed, because the operator has written the URL, and receivers mostly stand in the same network.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use bytes::Bytes;
use compact_str::CompactString;
use lru::LruCache;
use trunkline_config::Section;
use trunkline_core::json::Layout;
use trunkline_core::{Batch, BotMessage, CollectedMessage, Event, EventId, Incoming, Outcome, Receiver, UserMessage};
use trunkline_http::header::CONTENT_TYPE;
use trunkline_http::{
    Answer, Call, Endpoint, Failure, HeaderMap, HeaderName, HeaderValue, Judge, Method, Verdict, Words, shown, sign,
};

use crate::post::{Post, routes};
use crate::{Channel, Door, Problem};

const NAME: &str = "callback";

/// The longest that one request may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long a request for readiness may take.
const READY_TIMEOUT: Duration = Duration::from_secs(5);

/// How many conversations of a batch are served at once; the gateway hands in eight batches.
const CONCURRENCY: usize = 8;

/// How much of an answer is read.
const MOST_BODY: usize = 64 << 10;

/// Of so many replies that were delivered in part it is known in which.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(1_024).expect("it is not zero");

const WORDS: Words =
    Words { who: "the callback", settings: "`url`", login: "`headers`, `basic_auth` or `token`", part: "channel" };

/// The `callback` channel.
#[derive(Clone, Debug)]
pub struct Callback(Arc<Posting>);

/// What posts the replies.
struct Posting {
    endpoint: Endpoint,
    judge: Judge,
    /// How many requests of a reply have arrived, when not all have: the next attempt goes on behind them. Without it a receiver that
    /// fails every third request would never take a reply of three.
    arrived: Mutex<LruCache<EventId, usize>>,
}

impl Callback {
    /// A channel that posts replies to `endpoint`. Nothing is connected before the first.
    pub fn new(endpoint: Endpoint) -> Self {
        let judge = Judge::new(WORDS, shown(endpoint.url()), endpoint.secrets().clone());
        Self(Arc::new(Posting { endpoint, judge, arrived: Mutex::new(LruCache::new(REMEMBERED)) }))
    }

    /// Builds the channel from its section of `credentials.yml`: `url`, and how to ask there. Relative paths of certificates start
    /// at `directory`. Every problem is reported through the section.
    pub fn from_section(section: &Section<'_>, directory: &Path) -> Option<Self> {
        Some(Self::new(Endpoint::from_section(section, directory, &[sign::ID_HEADER])?))
    }
}

impl Channel for Callback {
    fn name(&self) -> &str {
        NAME
    }

    fn routes(&self, mount: &str, door: Door) -> Router {
        routes(mount, post(receive)).with_state(door)
    }

    fn outgoing(&self) -> Option<Arc<dyn Receiver>> {
        Some(Arc::clone(&self.0) as Arc<dyn Receiver>)
    }
}

async fn receive(State(door): State<Door>, request: Request) -> Result<Response, Problem> {
    let post = Post::read(&door, request).await?;
    let text = post.text().ok_or_else(|| post.bad("`message` must be a string"))?;
    let message = UserMessage::new(Some(&text), &post.sender()?, Some(NAME), None);
    let incoming = Incoming { message, channel: CompactString::const_new(NAME), key: post.key()? };
    door.inbox.receive(incoming).await.map_err(|error| Problem::from((error, post.headers())))?;
    Ok("success".into_response())
}

impl Posting {
    async fn deliver_one(&self, call: &Call<'_>, event: &Event) -> Verdict {
        let Some(reply) = BotMessage::from_event(event) else {
            return Verdict::Refused(self.judge.says("it was not asked, because the reply cannot be read"));
        };
        let arrived = self.lock().pop(&event.id).unwrap_or_default();
        let messages = CollectedMessage::all_of(&reply, &event.conversation);
        for (number, message) in messages.iter().enumerate().skip(arrived) {
            let verdict = call.attempt(1, self.send(event.id, number, message)).await;
            if verdict != Verdict::Delivered {
                // What is refused for good is a dead letter, and replayed as a whole.
                if number > 0 && !matches!(verdict, Verdict::Refused(_) | Verdict::Gone(_)) {
                    self.lock().put(event.id, number);
                }
                return verdict;
            }
        }
        Verdict::Delivered
    }

    async fn send(&self, event: EventId, number: usize, message: &CollectedMessage) -> Result<Answer, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.extend(self.endpoint.headers().clone());
        let id = if number == 0 { event.to_string() } else { format!("{event}-{}", number + 1) };
        let id = HeaderValue::from_str(&id).expect("ids are hexadecimal digits");
        headers.insert(HeaderName::from_static(sign::ID_HEADER), id);
        let body = Bytes::from(message.to_json(Layout::Dumps));
        let request = trunkline_http::Request { method: Method::POST, url: self.endpoint.url(), headers, body, timeout: TIMEOUT };
        self.endpoint.send(request, MOST_BODY).await
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<EventId, usize>> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Receiver for Posting {
    async fn deliver(&self, batch: &Batch) -> Vec<Outcome> {
        let call = &Call::new(batch, &self.judge, TIMEOUT);
        let deliver = |place: usize| async move { self.deliver_one(call, &batch.events[place]).await };
        call.by_conversation(CONCURRENCY, deliver).await
    }

    /// Whether something speaks HTTP there and lets us in, by a request without an effect (`OPTIONS`).
    async fn is_ready(&self) -> Result<(), String> {
        let (url, headers) = (self.endpoint.url(), self.endpoint.headers().clone());
        let request =
            trunkline_http::Request { method: Method::OPTIONS, url, headers, body: Bytes::new(), timeout: READY_TIMEOUT };
        self.judge.is_ready(self.endpoint.send(request, MOST_BODY).await)
    }

    async fn close(&self) {
        self.endpoint.close().await;
    }
}

impl fmt::Debug for Posting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Posting").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
