//! Clients that send, and remember what they were told is recorded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use reqwest::Method;
use tokio::task::{JoinHandle, JoinSet};
use trunkline_testkit::{Answer, Program};

/// The ways in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// A message through the REST channel, which is answered.
    Message,
    /// `POST /api/events`.
    Events,
    /// `POST /conversations/{id}/tracker/events`.
    Tracker,
    /// A message through the channel `callback`, whose answer is posted elsewhere.
    Callback,
}

impl Way {
    /// Whether it is a message, which is answered.
    pub(crate) fn is_message(self) -> bool {
        matches!(self, Self::Message | Self::Callback)
    }
}

pub(crate) const ALL_WAYS: &[Way] = &[Way::Message, Way::Events, Way::Tracker, Way::Events, Way::Message];

/// So many requests of a client go to one conversation, then comes the next.
const CONVERSATION: u64 = 30;

/// One request. Repeating it changes nothing: it carries an Idempotency-Key.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) way: Way,
    pub(crate) conversation: String,
    /// In the text of the message, or the value of the slot; and the key.
    pub(crate) token: String,
}

impl Request {
    fn new(client: usize, number: u64, ways: &[Way]) -> Self {
        let way = ways[usize::try_from(number).unwrap() % ways.len()];
        let (conversation, token) = (format!("client {client}/{}", number / CONVERSATION), format!("c{client}.{number}"));
        Self { way, conversation, token }
    }

    pub(crate) fn path(&self) -> String {
        match self.way {
            Way::Message => "/webhooks/rest/webhook".to_owned(),
            Way::Callback => "/webhooks/callback/webhook".to_owned(),
            Way::Events => "/api/events".to_owned(),
            Way::Tracker => {
                let id = self.conversation.replace(' ', "%20").replace('/', "%2F");
                format!("/conversations/{id}/tracker/events?include_events=NONE")
            }
        }
    }

    pub(crate) fn body(&self) -> String {
        let Self { conversation, token, .. } = self;
        match self.way {
            Way::Message | Way::Callback => {
                format!(r#"{{"sender": "{conversation}", "message": "{token}", "metadata": {{"note": "\u00e9"}}}}"#)
            }
            Way::Events | Way::Tracker => self.event(),
        }
    }

    /// The event as it is sent, and must arrive byte for byte.
    pub(crate) fn event(&self) -> String {
        let Self { conversation, token, .. } = self;
        format!(
            r#"{{"sender_id": "{conversation}", "event": "slot", "timestamp": 1795248186.2935064, "metadata": {{"note": "\u00e9\n{token:.>100}"}}, "name": "token", "value": "{token}", "unknown": [1.50, null]}}"#
        )
    }

    pub(crate) async fn send(&self, program: &Program) -> Result<Answer, reqwest::Error> {
        let request = program.request(Method::POST, &self.path()).header("idempotency-key", &self.token);
        let answer = program.send(request.header("content-type", "application/json").body(self.body())).await?;
        if self.way == Way::Message && answer.status == 200 {
            let expected = format!(r#"[{{"recipient_id":"{}","text":"{}"}}]"#, self.conversation.replace('/', "\\/"), self.token);
            assert_eq!(answer.body, expected);
        }
        Ok(answer)
    }
}

/// One client: a request after another, each repeated until it is acknowledged.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) number: usize,
    made: u64,
    ways: &'static [Way],
    /// Made, perhaps sent, perhaps recorded, and not acknowledged.
    pub(crate) pending: Option<Request>,
    pub(crate) acknowledged: Vec<Request>,
}

impl Client {
    pub(crate) fn new(number: usize, ways: &'static [Way]) -> Self {
        Self { number, made: 0, ways, pending: None, acknowledged: Vec::new() }
    }

    /// The request that is not acknowledged yet.
    pub(crate) fn request(&mut self) -> Request {
        let Self { number, made, ways, pending, .. } = self;
        let make = || {
            *made += 1;
            Request::new(*number, *made - 1, ways)
        };
        pending.get_or_insert_with(make).clone()
    }

    /// The request was acknowledged.
    pub(crate) fn acknowledge(&mut self) {
        self.acknowledged.extend(self.pending.take());
    }
}

/// Clients side by side.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) all: Vec<Client>,
}

/// What the running clients have seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) acknowledged: AtomicU64,
    /// Answers 503.
    pub(crate) refused: AtomicU64,
    stop: AtomicBool,
}

impl Seen {
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::SeqCst)
    }

    /// Lets every client stop after its next answer.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

impl Clients {
    pub(crate) fn new(count: usize, ways: &'static [Way]) -> Self {
        Self { all: (0..count).map(|number| Client::new(number, ways)).collect() }
    }

    pub(crate) fn acknowledged(&self) -> usize {
        self.all.iter().map(|client| client.acknowledged.len()).sum()
    }

    /// All send until they are stopped or the program does not answer. A refused request is sent again after a while.
    pub(crate) fn start(self, program: &Arc<Program>) -> (Arc<Seen>, JoinHandle<Self>) {
        let seen = Arc::new(Seen::default());
        let mut tasks = JoinSet::new();
        for client in self.all {
            tasks.spawn(run(client, Arc::clone(program), Arc::clone(&seen)));
        }
        let joined = tokio::spawn(async move {
            let mut all = tasks.join_all().await;
            all.sort_unstable_by_key(|client| client.number);
            Self { all }
        });
        (seen, joined)
    }

    /// Each client sends until one more request is acknowledged, which is the pending one where there is one.
    pub(crate) async fn finish(self, program: &Arc<Program>) -> Self {
        let (seen, running) = self.start(program);
        seen.stop();
        let all = running.await.unwrap();
        assert!(all.all.iter().all(|client| client.pending.is_none()), "the program answers every client");
        all
    }
}

async fn run(mut client: Client, program: Arc<Program>, seen: Arc<Seen>) -> Client {
    loop {
        let request = client.request();
        let Ok(answer) = request.send(&program).await else { return client };
        match answer.status {
            200 | 202 => {
                client.acknowledge();
                seen.acknowledged.fetch_add(1, Ordering::SeqCst);
                if seen.stop.load(Ordering::SeqCst) {
                    return client;
                }
            }
            503 => {
                assert_eq!(answer.headers["retry-after"], "1", "{answer:?}");
                seen.refused.fetch_add(1, Ordering::SeqCst);
                // As a client does; 1 s would only make the test longer.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            _ => panic!("{request:?} was answered {answer:?}"),
        }
    }
}
