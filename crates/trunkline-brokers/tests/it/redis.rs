//! The Redis broker on a real server while nothing goes wrong.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use trunkline_core::{Batch, CursorKey, Event};

use crate::common::{batch, deliver, event, journal, key as cursor, reason, replay, rest};
use crate::redis_common::{bodies, broker, cursor_key, expected, list, run, stream, typed, unique, url};

/// The offset that the stored cursor names.
async fn stored(cursor: &CursorKey) -> Option<String> {
    let value: Option<String> = run(&url(), &format!("GET {}", cursor_key(cursor))).await;
    value.map(|value| value.split(' ').next().unwrap().to_owned())
}

#[tokio::test]
async fn entries_of_a_stream_carry_the_body_and_who_and_what_it_is_in_the_order_of_the_journal() {
    let (key, cursor, journal) = (unique("stream"), cursor(), journal(9));
    let broker = broker(&format!("url: {}\nkey: {key}", url()));
    for events in journal.chunks(4) {
        deliver(&*broker, &batch(events, &cursor)).await;
    }
    let entries = stream(&url(), &key).await;
    assert_eq!(entries.len(), journal.len());
    for (entry, event) in entries.iter().zip(&journal) {
        assert_eq!(entry["data"], event.body_str());
        assert_eq!(entry["id"], event.id.to_string());
        assert_eq!(entry["sender_id"], event.conversation.as_str());
        assert_eq!(entry["type"], event.event_type.as_str());
        assert_eq!(entry.len(), 4);
    }
    assert_eq!(stored(&cursor).await, Some((journal[8].offset + 1).to_string()));
}

#[tokio::test]
async fn a_list_holds_bodies_and_is_popped_in_order_from_the_other_end() {
    for (push, reversed) in [("", false), ("\npush: right", false), ("\npush: left", true)] {
        let (key, cursor, journal) = (unique("list"), cursor(), journal(7));
        let broker = broker(&format!("url: {}\nstructure: list\nkey: {key}{push}", url()));
        for events in journal.chunks(3) {
            deliver(&*broker, &batch(events, &cursor)).await;
        }
        let mut found = list(&url(), &key).await;
        if reversed {
            found.reverse();
        }
        assert_eq!(found, expected(&journal), "{push}");
    }
}

#[tokio::test]
async fn an_export_is_marked_in_the_entries_of_a_stream() {
    let (key, cursor, journal) = (unique("export"), cursor(), journal(2));
    let broker = broker(&format!("url: {}\nkey: {key}", url()));
    let id = "0123456789abcdef0123456789abcdef";
    deliver(&*broker, &Batch { export: Some(id.into()), ..replay(&journal, &cursor) }).await;
    let entries = stream(&url(), &key).await;
    assert_eq!(entries.len(), 2);
    assert!(entries.iter().all(|entry| entry["rasa-export-process-id"] == id));
    assert_eq!(stored(&cursor).await, None);
}

#[tokio::test]
async fn keys_are_made_from_the_event() {
    let (prefix, cursor) = (unique("template"), cursor());
    let journal = journal(6);
    let broker = broker(&format!("url: {}\nstructure: list\nkey: '{prefix}.$event.${{sender_id}}'", url()));
    deliver(&*broker, &batch(&journal, &cursor)).await;
    for user in ["user0", "user1", "user2"] {
        let own: Vec<Arc<Event>> = journal.iter().filter(|event| event.conversation == user).cloned().collect();
        assert_eq!(list(&url(), &format!("{prefix}.user.{user}")).await, expected(&own));
    }
    assert_eq!(stored(&cursor).await, Some((journal[5].offset + 1).to_string()));
}

#[tokio::test]
async fn a_topic_map_sends_an_event_to_every_key_whose_pattern_matches_and_others_to_the_default() {
    let (prefix, cursor) = (unique("topics"), cursor());
    let user = event(1, "a", "one");
    let bot = typed(&event(2, "a", "two"), "bot");
    let slot = typed(&event(3, "a", "three"), "slot");
    let map = format!("topic_map:\n  ^user: {prefix}.people\n  (user|bot)$: '{prefix}.said.$sender_id'\n  ot: {prefix}.never");
    let broker = broker(&format!("url: {}\nkey: {prefix}.rest\n{map}", url()));
    deliver(&*broker, &batch(&[user.clone(), bot.clone(), slot.clone()], &cursor)).await;
    assert_eq!(bodies(&url(), &format!("{prefix}.people")).await, expected(std::slice::from_ref(&user)));
    assert_eq!(bodies(&url(), &format!("{prefix}.said.a")).await, expected(&[user, bot]));
    assert_eq!(bodies(&url(), &format!("{prefix}.rest")).await, expected(&[slot]));
    assert_eq!(run::<i64>(&url(), &format!("EXISTS {prefix}.never")).await, 0);
}

#[tokio::test]
async fn trimming_keeps_the_newest() {
    let (key, journal) = (unique("trim"), journal(30));
    for (push, kept) in [("right", "right"), ("left", "left")] {
        let key = format!("{key}.{kept}");
        let broker = broker(&format!("url: {}\nstructure: list\npush: {push}\nkey: {key}\nmax_length: 5", url()));
        let cursor = cursor();
        for events in journal.chunks(4) {
            deliver(&*broker, &batch(events, &cursor)).await;
        }
        let mut found = list(&url(), &key).await;
        if push == "left" {
            found.reverse();
        }
        assert_eq!(found, expected(&journal[25..]));
    }
    // Redis cuts streams in whole nodes, of a hundred entries by default.
    let (broker, cursor) = (broker(&format!("url: {}\nkey: {key}\nmax_length: 5", url())), cursor());
    for _ in 0..10 {
        deliver(&*broker, &replay(&journal, &cursor)).await;
    }
    let found = bodies(&url(), &key).await;
    assert!(found.len() < 150, "{}", found.len());
    assert_eq!(found.last(), expected(&journal).last());
}

#[tokio::test]
async fn the_cursor_is_the_position_after_a_restart() {
    let (key, cursor, journal) = (unique("position"), cursor(), journal(6));
    let yaml = format!("url: {}\nkey: {key}", url());
    let first = broker(&yaml);
    assert_eq!(first.position(&cursor).await, Ok(None));
    deliver(&*first, &batch(&journal[..4], &cursor)).await;
    drop(first);
    let second = broker(&yaml);
    let rest = rest(&*second, &journal, &cursor).await;
    assert_eq!(rest.len(), 2);
    deliver(&*second, &batch(rest, &cursor)).await;
    assert_eq!(bodies(&url(), &key).await, expected(&journal));
}

#[tokio::test]
async fn a_replay_is_added_and_moves_the_cursor_only_past_the_event_that_it_stands_at() {
    let (key, cursor, journal) = (unique("replay"), cursor(), journal(6));
    let broker = broker(&format!("url: {}\nkey: {key}", url()));
    // As behind an event that was rejected.
    let up_to_the_fourth = Batch { next: Some(journal[3].offset), ..batch(&journal[..3], &cursor) };
    deliver(&*broker, &up_to_the_fourth).await;
    deliver(&*broker, &replay(&journal[..2], &cursor)).await;
    assert_eq!(stored(&cursor).await, Some(journal[3].offset.to_string()));
    deliver(&*broker, &replay(&journal[3..4], &cursor)).await;
    assert_eq!(stored(&cursor).await, Some((journal[3].offset + 1).to_string()));
    deliver(&*broker, &batch(&journal[4..], &cursor)).await;
    let order = [0, 1, 2, 0, 1, 3, 4, 5].map(|index: usize| journal[index].clone());
    assert_eq!(bodies(&url(), &key).await, expected(&order));
}

#[tokio::test]
async fn a_caller_that_knowingly_starts_before_the_cursor_is_obeyed() {
    let (key, cursor, journal) = (unique("before"), cursor(), journal(4));
    let yaml = format!("url: {}\nkey: {key}", url());
    deliver(&*broker(&yaml), &batch(&journal, &cursor)).await;
    let again = broker(&yaml);
    assert_eq!(again.position(&cursor).await, Ok(Some(journal[3].offset + 1)));
    deliver(&*again, &batch(&journal[2..], &cursor)).await;
    let order = [0, 1, 2, 3, 2, 3].map(|index: usize| journal[index].clone());
    assert_eq!(bodies(&url(), &key).await, expected(&order));
}

#[tokio::test]
async fn a_late_attempt_of_this_run_is_found_done_and_one_of_the_run_before_has_no_effect() {
    let (key, cursor, journal) = (unique("late"), cursor(), journal(8));
    let yaml = format!("url: {}\nkey: {key}", url());
    // The run before: it knows the cursor as it is now, and its last attempt comes after the new run has read it.
    let before = broker(&yaml);
    deliver(&*before, &batch(&journal[..2], &cursor)).await;
    let now = broker(&yaml);
    assert_eq!(now.position(&cursor).await, Ok(Some(journal[1].offset + 1)));
    deliver(&*before, &batch(&journal[2..4], &cursor)).await;
    // It was in time, so its events are not added again …
    deliver(&*now, &batch(&journal[2..6], &cursor)).await;
    // … and the next is not.
    let late = before.publish(&batch(&journal[4..6], &cursor)).await;
    assert!(reason(&late[0]).contains("another gateway"), "{late:?}");
    deliver(&*now, &batch(&journal[6..], &cursor)).await;
    assert_eq!(bodies(&url(), &key).await, expected(&journal));
}

#[tokio::test]
async fn an_attempt_that_was_given_up_is_not_repeated() {
    let (key, cursor, journal) = (unique("given-up"), cursor(), journal(12));
    let broker = broker(&format!("url: {}\nkey: {key}", url()));
    deliver(&*broker, &batch(&journal[..2], &cursor)).await;
    for end in 3..12 {
        // Dropped at its first wait, which is when the command is on its way.
        let attempt = batch(&journal[2..end], &cursor);
        tokio::select! {
            biased;
            _ = broker.publish(&attempt) => {}
            () = tokio::task::yield_now() => {}
        }
    }
    deliver(&*broker, &batch(&journal[2..], &cursor)).await;
    assert_eq!(bodies(&url(), &key).await, expected(&journal));
}

#[tokio::test]
async fn a_batch_of_many_calls_that_was_given_up_half_way_is_not_repeated() {
    let (key, cursor, journal) = (unique("half-way"), cursor(), journal(900));
    let broker = broker(&format!("url: {}\nkey: {key}", url()));
    for (polls, end) in (1..9).zip((200..).step_by(100)) {
        let attempt = batch(&journal[..end], &cursor);
        let mut publish = broker.publish(&attempt);
        for _ in 0..polls {
            let is_done = std::future::poll_fn(|context| Poll::Ready(publish.as_mut().poll(context).is_ready())).await;
            if is_done {
                break;
            }
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
    }
    deliver(&*broker, &batch(&journal, &cursor)).await;
    assert_eq!(bodies(&url(), &key).await, expected(&journal));
}

#[tokio::test]
async fn large_batches_and_bodies_go_through() {
    let (key, cursor) = (unique("large"), cursor());
    let events: Vec<_> = (1..=10_000).map(|offset| event(offset, "u", "x")).collect();
    let broker = broker(&format!("url: {}\nstructure: list\nkey: {key}", url()));
    deliver(&*broker, &batch(&events, &cursor)).await;
    let large = [event(10_001, "u", &"é".repeat(8 << 20))];
    deliver(&*broker, &batch(&large, &cursor)).await;
    let found = list(&url(), &key).await;
    assert_eq!(found.len(), 10_001);
    assert_eq!(found[..10_000], expected(&events));
    assert_eq!(found[10_000], large[0].body_str());
    run::<i64>(&url(), &format!("DEL {key}")).await;
}

#[tokio::test]
async fn asking_whether_it_is_ready_creates_and_changes_nothing() {
    for structure in ["stream", "list"] {
        let (key, cursor, journal) = (unique("ready"), cursor(), journal(3));
        let broker = broker(&format!("url: {}\nstructure: {structure}\nkey: {key}", url()));
        assert_eq!(broker.is_ready().await, Ok(()));
        assert_eq!(run::<i64>(&url(), &format!("EXISTS {key} trunkline:cursor:ready")).await, 0);
        deliver(&*broker, &batch(&journal, &cursor)).await;
        assert_eq!(broker.is_ready().await, Ok(()));
        let length = if structure == "list" { "LLEN" } else { "XLEN" };
        assert_eq!(run::<i64>(&url(), &format!("{length} {key}")).await, 3);
    }
}

#[tokio::test]
async fn a_database_other_than_the_first_is_used() {
    let (key, cursor, journal) = (unique("database"), cursor(), journal(2));
    let there = format!("{}/7", url());
    deliver(&*broker(&format!("url: {there}\nkey: {key}")), &batch(&journal, &cursor)).await;
    assert_eq!(bodies(&there, &key).await, expected(&journal));
    assert_eq!(bodies(&url(), &key).await, [""; 0]);
}

#[tokio::test]
async fn a_broker_that_was_closed_connects_again() {
    let (key, cursor, journal) = (unique("closed"), cursor(), journal(4));
    let broker = broker(&format!("url: {}\nkey: {key}", url()));
    deliver(&*broker, &batch(&journal[..2], &cursor)).await;
    broker.close().await;
    deliver(&*broker, &batch(&journal[2..], &cursor)).await;
    assert_eq!(bodies(&url(), &key).await, expected(&journal));
}
