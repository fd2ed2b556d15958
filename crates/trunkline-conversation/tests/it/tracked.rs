//! An assistant that keeps the tracker itself: its events are recorded as they are, each of them once.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use trunkline_conversation::{Partition, Partitions};
use trunkline_core::{Assistant, AssistantError, BotMessage, Event, Inbox as _, Incoming, Recording, Turn, UserMessage};
use trunkline_delivery::Shutdown;
use trunkline_journal::{Journal, Limits, Options};

use crate::common::{answer, event, texts, user};

/// Writes a tracker and gives the whole of it; fails at `fail`, and has nothing to give at `forget`.
#[derive(Default)]
struct Keeper(Mutex<Vec<String>>);

#[async_trait]
impl Assistant for Keeper {
    fn name(&self) -> &'static str {
        "keeper"
    }

    async fn answer(&self, messages: &[UserMessage], turn: &mut dyn Turn) -> Result<(), AssistantError> {
        let message = messages.last().unwrap();
        let text = message.text.as_deref().unwrap();
        turn.say(BotMessage::text(text)).await?;
        if text == "fail" {
            return Err(AssistantError::Failed("it fails".to_owned()));
        }
        if text == "forget" {
            return Ok(());
        }
        let ann = &message.sender_id;
        let tracker = {
            let mut tracker = self.0.lock().unwrap();
            let number = tracker.len();
            tracker.extend([user(ann, text), event(ann, "bot", r#", "text": "kept""#), listen(ann, number)]);
            tracker.clone()
        };
        turn.record(tracker).await
    }
}

fn listen(conversation: &str, number: usize) -> String {
    event(conversation, "action", &format!(r#", "name": "action_listen", "number": {number}"#))
}

struct Kept {
    journal: Journal,
    partitions: Partitions,
    keeper: Arc<Keeper>,
    shutdown: Shutdown,
}

impl Kept {
    async fn start() -> Self {
        let (journal, appender, _faults) = Journal::in_memory(Options::default());
        let partition = Partition::new(appender, Recording::Assistant, Duration::ZERO);
        let keeper = Arc::new(Keeper::default());
        let shutdown = answer(&partition, Arc::clone(&keeper) as Arc<dyn Assistant>).await;
        Self { journal, partitions: Partitions::one(partition), keeper, shutdown }
    }

    async fn say(&self, text: &str) -> Vec<String> {
        let metadata = Some(r#"{"user_id": "ann@home", "session_id": "s-1"}"#);
        let message = UserMessage::new(Some(text), "ann", Some("rest"), metadata);
        let incoming = Incoming { message, channel: "rest".into(), key: None };
        texts(self.partitions.converse(incoming, false).await.unwrap()).await
    }

    /// What brokers get of the conversation.
    async fn published(&self) -> Vec<Arc<Event>> {
        let events = self.journal.read(1, Limits { events: 10_000, ..Limits::default() }).await.unwrap().events;
        events.into_iter().filter(|event| event.kind.is_published()).collect()
    }

    async fn bodies(&self) -> Vec<String> {
        self.published().await.iter().map(|event| String::from_utf8_lossy(&event.body).into_owned()).collect()
    }

    fn tracker(&self) -> Vec<String> {
        self.keeper.0.lock().unwrap().clone()
    }

    /// Has the API append so many events that the tracker does not know.
    async fn append(&self, count: usize) {
        let events: Vec<_> =
            (0..count).map(|number| event("ann", "slot", &format!(r#", "name": "n", "value": {number}"#))).collect();
        let events: Vec<_> = events.iter().map(String::as_bytes).collect();
        for part in events.chunks(200) {
            self.partitions.of("ann").append_events("ann", part, None).await.unwrap();
        }
    }

    async fn stop(self) {
        self.shutdown.drain.cancel();
        for delivery in self.partitions.home().deliveries() {
            delivery.ended().await;
        }
        self.journal.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tracker_is_recorded_as_it_grows() {
    let kept = Kept::start().await;
    for text in ["one", "two", "two"] {
        assert_eq!(kept.say(text).await, [text]);
        assert_eq!(kept.bodies().await, kept.tracker());
    }
    let published = kept.published().await;
    assert!(published.iter().all(|event| event.channel.as_deref() == Some("rest")), "{published:?}");
    // The reply belongs to the message that was asked, which brokers do not get.
    let answers: Vec<_> = published.iter().map(|event| event.answers.is_some()).collect();
    assert_eq!(answers, [false, true, false].repeat(3));
    kept.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_others_between_two_turns_hide_nothing() {
    // About a page of them, and so many that the last event of the tracker is the 1,000th from the end, behind the new message.
    for count in [1, 126, 127, 128, 998] {
        let kept = Kept::start().await;
        kept.say("one").await;
        kept.append(count).await;
        kept.say("two").await;
        let bodies = kept.bodies().await;
        assert_eq!(
            (bodies[..3].to_vec(), bodies[3 + count..].to_vec()),
            (kept.tracker()[..3].to_vec(), kept.tracker()[3..].to_vec())
        );
        assert_eq!(bodies.len(), 6 + count);
        kept.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_search_for_the_last_event_ends() {
    let kept = Kept::start().await;
    kept.say("one").await;
    kept.append(999).await;
    kept.say("two").await;
    // Too far back: the tracker comes whole, and an event twice is better than none.
    assert_eq!(kept.bodies().await[3 + 999..], kept.tracker());
    kept.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assistant_that_failed_or_kept_nothing_has_its_turn_written_for_it() {
    let kept = Kept::start().await;
    kept.say("one").await;
    for text in ["fail", "forget"] {
        let before = kept.published().await.len();
        let said = kept.say(text).await;
        assert_eq!(said, if text == "fail" { vec!["fail", "sorry"] } else { vec!["forget"] });
        let mut shown = String::new();
        for event in &kept.published().await[before..] {
            let apology = event.body.windows(9).any(|bytes| bytes == b"\"apology\"");
            let [user, session] = [&event.user, &event.session].map(|name| name.as_deref().unwrap_or("-"));
            writeln!(shown, "{} {user} {session} {} {apology}", event.event_type, event.answers.is_some()).unwrap();
        }
        let apology = if text == "fail" { "bot - - true true\n" } else { "" };
        assert_eq!(shown, format!("user ann@home s-1 false false\nbot - - true false\n{apology}action - - false false\n"));
    }
    // Then it goes on where its own tracker stood.
    let before = kept.published().await.len();
    kept.say("two").await;
    assert_eq!(kept.bodies().await[before..], kept.tracker()[3..]);
    kept.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_of_a_tracker_answers_nothing_that_is_asked_now() {
    let kept = Kept::start().await;
    let past = ["a", "b"].map(|text| [user("ann", text), event("ann", "bot", r#", "text": "past""#), listen("ann", text.len())]);
    kept.keeper.0.lock().unwrap().extend(past.into_iter().flatten());
    kept.say("one").await;
    let published = kept.published().await;
    let answers: Vec<_> =
        published.iter().filter(|event| event.event_type == "bot").map(|event| event.answers.is_some()).collect();
    assert_eq!((published.len(), answers), (9, vec![false, false, true]));
    kept.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_nests_deeper_than_input_may_is_recorded() {
    let kept = Kept::start().await;
    let deep = format!("{}1{}", "[".repeat(124), "]".repeat(124));
    kept.keeper.0.lock().unwrap().push(event("ann", "custom", &format!(r#", "metadata": {{"deep": {deep}}}"#)));
    assert_eq!(kept.say("one").await, ["one"]);
    assert_eq!(kept.bodies().await, kept.tracker());
    kept.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tracker_that_is_none_gets_an_apology() {
    struct Broken;

    #[async_trait]
    impl Assistant for Broken {
        fn name(&self) -> &'static str {
            "broken"
        }

        async fn answer(&self, _messages: &[UserMessage], turn: &mut dyn Turn) -> Result<(), AssistantError> {
            turn.record(vec!["{\"event\": 1}".to_owned()]).await
        }
    }

    let (journal, appender, _faults) = Journal::in_memory(Options::default());
    let partition = Partition::new(appender, Recording::Assistant, Duration::ZERO);
    let shutdown = answer(&partition, Arc::new(Broken)).await;
    let partitions = Partitions::one(partition);
    let message = UserMessage::new(Some("hi"), "ann", Some("rest"), None);
    let incoming = Incoming { message, channel: "rest".into(), key: None };
    assert_eq!(texts(partitions.converse(incoming, false).await.unwrap()).await, ["sorry"]);
    shutdown.drain.cancel();
    for delivery in partitions.home().deliveries() {
        delivery.ended().await;
    }
    journal.close().await;
}
