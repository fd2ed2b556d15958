//! One session start where one is due, whichever door its events come through.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use trunkline_conversation::sources::{self, Metrics};
use trunkline_core::UserMessage;
use trunkline_journal::Options;

use crate::common::{Answered, Batches, EXPIRATION, Parrot, Standing, event, eventually, received, texts, user};

const START: &str = "action_session_start";

/// What brings a user event of `ann` that is no message of hers to this gateway.
#[derive(Clone, Copy, Debug)]
enum Door {
    Events,
    TrackerEvents,
    Messages,
    Source,
}

async fn bring(answered: &Answered, door: Door) {
    let (partition, body) = (answered.partitions.of("ann"), user("ann", "elsewhere"));
    match door {
        Door::Events => assert!(answered.carry(&[body], None).await[0].recorded.is_ok()),
        Door::TrackerEvents => partition.append_events("ann", &[body.as_bytes()], None).await.unwrap(),
        Door::Messages => {
            let message = UserMessage::new(Some("elsewhere"), "ann", None, None);
            partition.append_message("ann", &message, None, None).await.unwrap();
        }
        Door::Source => {
            let (source, stop) = (Batches::default(), CancellationToken::new());
            source.push(vec![received(Some("1"), &body)]);
            let partitions = answered.partitions.clone();
            let running = sources::start("log".into(), Arc::new(source.clone()), partitions, &Metrics::default(), stop.clone());
            eventually(async || source.settled() == 1).await;
            stop.cancel();
            running.ended().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_said_elsewhere_keeps_the_session_alive() {
    for door in [Door::Events, Door::TrackerEvents, Door::Messages, Door::Source] {
        let (answered, time) = with_clock(EXPIRATION).await;
        answered.say("ann", "hello").await;
        time.pass(Duration::from_mins(50));
        bring(&answered, door).await;
        time.pass(Duration::from_mins(50));
        answered.say("ann", "again").await;
        assert_eq!(starts(&answered).await, 1, "{door:?}: {:?}", answered.types("ann").await);
        // An hour of silence ends it all the same.
        time.pass(Duration::from_mins(61));
        answered.say("ann", "later").await;
        assert_eq!(starts(&answered).await, 2, "{door:?}");
        answered.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_recorded_with_a_session_start_of_their_own_gets_no_second() {
    let (answered, _faults) = Answered::in_memory(Options::default(), Parrot::default()).await;
    for door in [Door::Events, Door::Source] {
        bring(&answered, door).await;
    }
    answered.say("ann", "hello").await;
    assert!(!answered.types("ann").await.contains(&START.to_owned()));
    for (conversation, door) in [("bob", "events"), ("cy", "message")] {
        let partition = answered.partitions.of(conversation);
        if door == "events" {
            partition.append_events(conversation, &[user(conversation, "x").as_bytes()], None).await.unwrap();
        } else {
            let message = UserMessage::new(Some("x"), conversation, None, None);
            partition.append_message(conversation, &message, None, None).await.unwrap();
        }
        assert_eq!(answered.types(conversation).await[0], START);
    }
    answered.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_conversation_begins_once_however_many_begin_it() {
    let (answered, _faults) = Answered::in_memory(Options::default(), Parrot::default()).await;
    let answered = Arc::new(answered);
    for round in 0..20 {
        let conversation = format!("c{round}");
        let several = (0..12).map(|number| {
            let (answered, conversation) = (Arc::clone(&answered), conversation.clone());
            tokio::spawn(async move {
                match number % 3 {
                    0 => drop(answered.say(&conversation, "hello").await),
                    1 => {
                        let body = user(&conversation, "x");
                        answered
                            .partitions
                            .of(&conversation)
                            .append_events(&conversation, &[body.as_bytes()], None)
                            .await
                            .unwrap();
                    }
                    _ => assert!(answered.carry(&[user(&conversation, "y")], None).await[0].recorded.is_ok()),
                }
            })
        });
        for one in several.collect::<Vec<_>>() {
            one.await.unwrap();
        }
    }
    for round in 0..20 {
        let conversation = format!("c{round}");
        let events = answered.types(&conversation).await;
        let starts: Vec<_> = events.iter().enumerate().filter(|(_, name)| *name == START).map(|(place, _)| place).collect();
        // None when what others recorded came first.
        assert!(starts.is_empty() || starts == [0], "{events:?}");
    }
}

async fn starts(answered: &Answered) -> usize {
    answered.types("ann").await.iter().filter(|name| *name == START).count()
}

async fn with_clock(expiration: Duration) -> (Answered, Standing) {
    let time = Standing::new();
    let options = Options { clock: time.clock(), ..Options::default() };
    (Answered::in_memory_until(options, Parrot::default(), expiration).await.0, time)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_when_its_time_has_passed_and_not_before() {
    let hour = Duration::from_hours(1);
    for (expiration, passes, expected) in [
        (hour, hour, 1),
        (hour, hour + Duration::from_millis(1), 2),
        // Zero: never.
        (Duration::ZERO, Duration::from_hours(1_000), 1),
    ] {
        let (answered, time) = with_clock(expiration).await;
        answered.say("ann", "hello").await;
        time.pass(passes);
        answered.say("ann", "again").await;
        assert_eq!(starts(&answered).await, expected, "{passes:?}");
        answered.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_message_that_is_recorded_keeps_a_session_alive() {
    // Neither a slot, nor what was said before and comes again; each by itself, because a repetition has the journal looked at anew.
    for (has_slot, is_repeated) in [(true, false), (false, true), (true, true)] {
        let (answered, time) = with_clock(EXPIRATION).await;
        texts(answered.converse("ann", "hello", Some("k")).await.unwrap()).await;
        time.pass(Duration::from_mins(50));
        if has_slot {
            let slot = event("ann", "slot", r#", "name": "a", "value": 1"#);
            assert!(answered.carry(&[slot], None).await[0].recorded.is_ok());
        }
        if is_repeated {
            texts(answered.converse("ann", "hello", Some("k")).await.unwrap()).await;
        }
        time.pass(Duration::from_mins(20));
        answered.say("ann", "again").await;
        assert_eq!(starts(&answered).await, 2, "slot {has_slot}, repeated {is_repeated}");
        answered.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_bring_a_session_start_before_their_first_message_get_none() {
    let (answered, _faults) = Answered::in_memory(Options::default(), Parrot::default()).await;
    let start = |name: &str| event(name, "action", r#", "name": "action_session_start""#);
    let started = |name: &str| event(name, "session_started", "");
    for (name, events, first) in [
        ("a", vec![start("a"), user("a", "hi")], vec!["action_session_start", "user"]),
        ("b", vec![started("b"), user("b", "hi")], vec!["session_started", "user"]),
        ("c", vec![user("c", "hi"), started("c")], vec!["action_session_start", "session_started", "action_listen", "user"]),
        ("d", vec![event("d", "restart", "")], vec!["action_session_start", "session_started", "action_listen", "restart"]),
        (
            "e",
            vec![event("e", "action", r#", "name": "action_listen""#)],
            vec!["action_session_start", "session_started", "action_listen", "action_listen"],
        ),
    ] {
        let raw: Vec<_> = events.iter().map(String::as_bytes).collect();
        answered.partitions.of(name).append_events(name, &raw, None).await.unwrap();
        assert_eq!(answered.types(name).await[..first.len()], first, "{name}");
    }
    answered.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_although_many_events_came_since_its_last_message() {
    for (passes, expected) in [(59, 1), (61, 2)] {
        let (directory, time) = (tempfile::tempdir().unwrap(), Standing::new());
        let options = || Options { clock: time.clock(), ..Options::default() };
        let answered = Answered::at_with(directory.path(), options()).await;
        answered.say("ann", "hello").await;
        // So many are looked at for the last message.
        let slots = vec![event("ann", "slot", r#", "name": "a", "value": 1"#); 100];
        for _ in 0..10 {
            assert!(answered.carry(&slots, None).await[0].recorded.is_ok());
        }
        answered.stop().await;
        // Nobody remembers it.
        let answered = Answered::at_with(directory.path(), options()).await;
        time.pass(Duration::from_mins(passes));
        answered.say("ann", "again").await;
        assert_eq!(starts(&answered).await, expected);
        answered.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_under_a_lock_bears_its_time() {
    let (answered, time) = with_clock(Duration::from_hours(1)).await;
    time.pass(Duration::from_millis(250));
    answered.say("ann", "hello").await;
    let expected = time.clock().seconds();
    for event in answered.events().await {
        assert!(event.body_str().contains(&format!("\"timestamp\": {expected:?}")), "{}", event.body_str());
    }
    answered.stop().await;
}
