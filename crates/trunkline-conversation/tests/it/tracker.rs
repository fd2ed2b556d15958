//! The tracker of a conversation as the API reads and writes it.

use trunkline_conversation::TrackerError;
use trunkline_core::tracker::IncludeEvents;
use trunkline_core::{Kind, UserMessage};
use trunkline_journal::Options;

use crate::common::{Answered, Parrot, event, user};

async fn start() -> Answered {
    Answered::in_memory(Options::default(), Parrot::default()).await.0
}

impl Answered {
    async fn append(&self, conversation: &str, events: &[String], key: Option<&str>) -> Result<(), TrackerError> {
        let events: Vec<_> = events.iter().map(String::as_bytes).collect();
        self.partitions.of(conversation).append_events(conversation, &events, key).await
    }

    async fn replace(&self, conversation: &str, events: &[String]) -> Result<(), TrackerError> {
        let events: Vec<_> = events.iter().map(String::as_bytes).collect();
        self.partitions.of(conversation).replace_events(conversation, &events).await
    }

    /// The types of the events in the tracker, or the names of slots where it says so.
    async fn tracked(&self, conversation: &str) -> Vec<String> {
        let tracker = self.partitions.of(conversation).tracker(conversation).await.unwrap();
        let tracker: serde_json::Value = serde_json::from_str(&tracker.to_json(IncludeEvents::All)).unwrap();
        let events = tracker["events"].as_array().unwrap().iter();
        events.map(|event| event["name"].as_str().or(event["event"].as_str()).unwrap().to_owned()).collect()
    }

    async fn kinds(&self) -> Vec<Kind> {
        self.events().await.iter().map(|event| event.kind).collect()
    }
}

fn slot(name: &str) -> String {
    event("ann", "slot", &format!(r#", "name": "{name}", "value": 1"#))
}

const SESSION: [&str; 3] = ["action_session_start", "session_started", "action_listen"];

#[tokio::test(flavor = "multi_thread")]
async fn the_tracker_of_nobody_is_the_session_that_a_first_message_would_start() {
    let answered = start().await;
    assert_eq!(answered.tracked("ann").await, SESSION);
    assert_eq!(answered.journal().head(), 0);
    let ann = answered.partitions.of("ann");
    let message = UserMessage::new(Some("hi"), "ann", Some("rest"), None);
    let parsed = Some(r#"{"intent": {"name": "greet"}}"#);
    for key in [Some("k"), Some("k"), None] {
        ann.append_message("ann", &message, parsed, key).await.unwrap();
    }
    assert_eq!(answered.tracked("ann").await, [SESSION.as_slice(), &["user", "user"]].concat());
    let body = answered.events().await.last().unwrap().body_str().to_owned();
    assert!(body.contains(r#""parse_data": {"intent": {"name": "greet"}}"#), "{body}");
    // Nobody answers it.
    assert!(answered.kinds().await.iter().all(|kind| *kind == Kind::Event));
    answered.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_appended_once_under_a_key_and_all_or_none() {
    let answered = start().await;
    for _ in 0..2 {
        answered.append("ann", &[slot("a"), slot("b")], Some("k")).await.unwrap();
    }
    let error = answered.append("ann", &[slot("c"), "no event".to_owned()], None).await.unwrap_err();
    assert!(matches!(error, TrackerError::Event { index: 1, .. }), "{error}");
    assert!(matches!(answered.append("", &[slot("c")], None).await, Err(TrackerError::Conversation(_))));
    assert_eq!(answered.tracked("ann").await, [SESSION.as_slice(), &["a", "b"]].concat());
    answered.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tracker_is_replaced_and_only_what_goes_beyond_the_stored_one_is_published() {
    let answered = start().await;
    let named = |names: &[&str]| names.iter().map(|name| slot(name)).collect::<Vec<_>>();
    // There was nothing to replace.
    answered.replace("ann", &named(&["a", "b"])).await.unwrap();
    assert_eq!((answered.tracked("ann").await, answered.kinds().await), (vec!["a".into(), "b".into()], vec![Kind::Event; 2]));
    answered.replace("ann", &named(&["c", "d", "e", "f"])).await.unwrap();
    assert_eq!(answered.tracked("ann").await, ["c", "d", "e", "f"]);
    assert_eq!(answered.kinds().await[2..], [Kind::Replacement, Kind::Event, Kind::Event]);
    let published: Vec<_> = answered.events().await[3..].iter().map(|event| event.body_str().to_owned()).collect();
    assert_eq!(published, named(&["e", "f"]));
    // Shorter, and then more.
    answered.replace("ann", &named(&["g"])).await.unwrap();
    answered.append("ann", &[user("ann", "hi")], None).await.unwrap();
    assert_eq!(answered.tracked("ann").await, ["g", "user"]);
    answered.replace("ann", &[]).await.unwrap();
    assert_eq!(answered.tracked("ann").await, SESSION);
    // What others do counts for them alone.
    answered.append("bob", &[user("bob", "hi")], None).await.unwrap();
    assert_eq!(answered.tracked("ann").await, SESSION);
    answered.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tracker_that_would_take_too_much_memory_is_refused() {
    let answered = start().await;
    let mebibyte = |name: &str| event("ann", "slot", &format!(r#", "name": "{name}", "value": "{}""#, "x".repeat(1 << 20)));
    let many: Vec<_> = (0..63).map(|_| mebibyte("large")).collect();
    answered.append("ann", &many, None).await.unwrap();
    assert_eq!(answered.tracked("ann").await.len(), 66);
    answered.append("ann", &[mebibyte("larger")], None).await.unwrap();
    let ann = answered.partitions.of("ann");
    let error = ann.tracker("ann").await.map(drop).unwrap_err();
    assert_eq!(error.to_string(), "the conversation has more than 100000 events, or 67108864 bytes of them");
    // A list as long as allowed, and then one more.
    let small = vec![slot("s"); 100_000];
    answered.replace("bob", &small).await.unwrap();
    assert_eq!(answered.tracked("bob").await.len(), 100_000);
    answered.append("bob", &small[..1], None).await.unwrap();
    assert!(matches!(answered.replace("bob", &[]).await, Err(TrackerError::TooLong)));
    answered.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_so_many_events_and_they_become_so_large() {
    let answered = start().await;
    let smallest = r#"{"event":"x"}"#.to_owned();
    let error = answered.append("ann", &vec![smallest.clone(); 10_001], None).await.unwrap_err();
    assert!(matches!(error, TrackerError::TooMany { found: 10_001, most: 10_000 }), "{error}");
    // Each of them gets the name of the conversation, which is longer than it is itself.
    let long = "😀".repeat(255);
    let most = 4 * smallest.len() * 30 + (64 << 10);
    let error = answered.append(&long, &vec![smallest.clone(); 30], None).await.unwrap_err();
    assert!(matches!(error, TrackerError::TooLarge { most: found } if found == most), "{error}");
    assert!(matches!(answered.replace(&long, &vec![smallest.clone(); 30]).await, Err(TrackerError::TooLarge { .. })));
    assert_eq!(answered.journal().head(), 0);
    answered.append(&long, &vec![smallest.clone(); 20], None).await.unwrap();
    answered.append("ann", &vec![event("ann", "x", ""); 10_000], None).await.unwrap();
    assert_eq!(answered.journal().head(), 20 + 10_000 + 2 * 3);
    answered.stop().await;
}
