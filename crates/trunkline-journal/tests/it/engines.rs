//! What every engine does.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use trunkline_core::{Kind, NewEvent, Offset, Shape, Timestamp};
use trunkline_journal::{Append, By, DeadLetterId, DeadLetterState, Death, Limits, NewDeadLetter, Options, Progress, Unsettled};

use super::common::{Place, body, event, known, many, several, standing_clock};

fn places() -> [Place; 2] {
    Place::of_every_engine(&Options::default())
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_back_in_order() {
    for place in places() {
        let opened = place.open();
        let mut expected = Vec::new();
        for number in 0..50 {
            for name in ["a", "b"] {
                let appended = opened.append(Append::new(vec![event(name, number), event(name, number + 1)])).await;
                let first = expected.len() as Offset + 1;
                assert_eq!((appended.first, appended.last, appended.duplicate), (first, first + 1, false));
                expected.extend([body(name, number), body(name, number + 1)]);
            }
        }
        assert_eq!(opened.bodies().await, expected);
        let opened = place.again(opened).await;
        assert_eq!(opened.journal.head(), 200);
        assert_eq!(opened.bodies().await, expected, "{}", place.name());
        let chunk = opened.journal.read(90, Limits { events: 3, bytes: usize::MAX }).await.unwrap();
        assert_eq!((chunk.events[0].offset, chunk.events.len(), chunk.next), (90, 3, 93));
        opened.journal.close().await;
        let refused = opened.try_append(Append::one(event("a", 0))).await.unwrap_err();
        assert!(!refused.maybe_recorded && refused.to_string().ends_with("it is closed"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_appends_keep_each_senders_order() {
    for place in places() {
        let opened = Arc::new(place.open());
        let senders: Vec<_> = (0..32)
            .map(|sender| {
                let opened = Arc::clone(&opened);
                tokio::spawn(async move {
                    for number in 0..50 {
                        opened.append(Append::one(event(&format!("c{sender}"), number))).await;
                    }
                })
            })
            .collect();
        for sender in senders {
            sender.await.unwrap();
        }
        assert_eq!(opened.journal.head(), 1600);
        for sender in 0..32 {
            let name = format!("c{sender}");
            let chunk = opened.journal.read_by(By::Conversation(&name), 1, many(1000)).await.unwrap();
            let numbers: Vec<_> = chunk.events.iter().map(|event| event.body_str().to_owned()).collect();
            assert_eq!(numbers, (0..50).map(|number| body(&name, number)).collect::<Vec<_>>());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_append_of_an_identity_is_answered_with_the_first() {
    for place in places() {
        let opened = place.open();
        let append = |number| Append::new(vec![event("a", number), event("a", number + 1)]).known_by(Some("key-1".to_owned()));
        let first = opened.append(append(0)).await;
        assert_eq!((first.first, first.last, first.duplicate), (1, 2, false));
        let second = opened.append(append(5)).await;
        assert_eq!((second.first, second.last, second.duplicate), (2, 2, true));
        assert_eq!(opened.journal.head(), 2);
        // Of another conversation it is another.
        assert!(!opened.append(known("b", 1, "key-1")).await.duplicate);
        let opened = place.again(opened).await;
        assert!(opened.append(append(7)).await.duplicate);
        let found = async |conversation: &str, identity: &str| opened.journal.find(conversation, identity).await.unwrap();
        assert_eq!((found("a", "key-1").await, found("b", "key-1").await), (Some(2), Some(3)));
        assert_eq!((found("a", "key-2").await, found("c", "key-1").await), (None, None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_identity_in_flight_many_times_is_recorded_once() {
    for place in places() {
        let opened = Arc::new(place.open());
        let tasks: Vec<_> = (0..64)
            .map(|_| {
                let opened = Arc::clone(&opened);
                tokio::spawn(async move { opened.append(known("a", 1, "same")).await })
            })
            .collect();
        let mut recorded = 0;
        for task in tasks {
            let appended = task.await.unwrap();
            assert_eq!(appended.last, 1);
            recorded += usize::from(!appended.duplicate);
        }
        assert_eq!((recorded, opened.journal.head()), (1, 1));
        let together = vec![known("a", 1, "x"), known("a", 2, "x"), known("b", 3, "x")];
        let answers: Vec<_> = opened.appender.append_all(together).await.into_iter().map(Result::unwrap).collect();
        let answers: Vec<_> = answers.iter().map(|answer| (answer.last, answer.duplicate)).collect();
        assert_eq!(answers, [(2, false), (2, true), (3, false)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_is_forgotten_after_the_window() {
    let (clock, millis) = standing_clock();
    let options = Options { clock, deduplication_window: Duration::from_mins(1), ..Options::default() };
    for place in Place::of_every_engine(&options) {
        let opened = place.open();
        opened.append(known("a", 1, "key")).await;
        millis.fetch_add(60_000, Ordering::Relaxed);
        assert!(opened.append(known("a", 1, "key")).await.duplicate);
        millis.fetch_add(1, Ordering::Relaxed);
        assert_eq!(opened.journal.find("a", "key").await.unwrap(), None);
        assert!(!opened.append(known("a", 1, "key")).await.duplicate);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_is_forgotten_after_so_many_events() {
    for place in Place::of_every_engine(&Options { deduplication_events: 3, ..Options::default() }) {
        let opened = place.open();
        opened.append(known("a", 1, "key")).await;
        opened.append(several("a", 2)).await;
        assert!(opened.append(known("a", 1, "key")).await.duplicate);
        opened.append(Append::one(event("a", 4))).await;
        assert_eq!(opened.journal.find("a", "key").await.unwrap(), None);
        assert!(!opened.append(known("a", 1, "key")).await.duplicate);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_is_known_of_an_event_survives() {
    for place in places() {
        let opened = place.open();
        let mut expected = Vec::new();
        for (number, kind) in
            [Kind::Event, Kind::Message, Kind::Prompt, Kind::Replacement, Kind::Unknown(77)].into_iter().enumerate()
        {
            let plain = NewEvent::new(kind, "c", "user", format!("{{\"n\": {number}}}"));
            let full = NewEvent {
                shape: if number == 0 { Shape::Nested } else { Shape::Unknown(9) },
                user: Some("alice".into()),
                session: Some(format!("s{number}").into()),
                answers: Some(7),
                ..plain.clone().with_channel(Some("rest"))
            };
            for event in [plain, full] {
                opened.append(Append::one(event.clone())).await;
                expected.push(event);
            }
        }
        let opened = place.again(opened).await;
        let read = opened.journal.read(1, many(100)).await.unwrap();
        let id = opened.journal.id();
        let found: Vec<_> = read.events.iter().map(|event| (**event).clone()).collect();
        let expected: Vec<_> =
            (1..).zip(expected).zip(&found).map(|((offset, new), found)| new.recorded(id, found.time, offset)).collect();
        assert_eq!((found, read.damaged), (expected, Vec::new()), "{}", place.name());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_found_by_conversation_by_user_and_by_session() {
    for place in places() {
        let opened = place.open();
        let event = |conversation: &str, user: Option<&str>, session: Option<&str>| {
            let event = NewEvent::new(Kind::Event, conversation, "x", "{}");
            Append::one(NewEvent { user: user.map(Box::from), session: session.map(Box::from), ..event })
        };
        for append in [
            event("c1", Some("alice"), Some("s1")),
            event("c1", None, Some("s1")),
            event("c2", Some("alice"), Some("s2")),
            event("alice", Some("bob"), None),
            event("c1", Some("alice"), Some("s3")),
        ] {
            opened.append(append).await;
        }
        let opened = place.again(opened).await;
        let found = async |by: By<'_>| {
            let chunk = opened.journal.read_by(by, 1, many(10)).await.unwrap();
            chunk.events.iter().map(|event| event.offset).collect::<Vec<_>>()
        };
        for (by, expected) in [
            (By::Conversation("c1"), &[1, 2, 5][..]),
            (By::User("alice"), &[1, 3, 5]),
            (By::Session("s1"), &[1, 2]),
            (By::Conversation("alice"), &[4]),
            (By::User("c1"), &[]),
            (By::Session("alice"), &[]),
        ] {
            assert_eq!(found(by).await, expected, "{by:?} {}", place.name());
        }
        let page = opened.journal.read_by(By::User("alice"), 2, many(1)).await.unwrap();
        assert_eq!((page.events[0].offset, page.next), (3, 4));
        let conversations = opened.journal.conversations(10).await.unwrap();
        let names: Vec<_> = conversations.iter().map(|summary| (summary.conversation.as_str(), summary.events)).collect();
        assert_eq!(names, [("c1", 3), ("alice", 1), ("c2", 1)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_is_read_backwards_in_pages() {
    for place in places() {
        let opened = place.open();
        for number in 0..10 {
            opened.append(Append::one(event(if number % 2 == 0 { "even" } else { "odd" }, number))).await;
        }
        let back = async |before, limits| {
            let chunk = opened.journal.conversation_back("even", before, limits).await.unwrap();
            (chunk.events.iter().map(|event| event.offset).collect::<Vec<_>>(), chunk.next)
        };
        assert_eq!(back(Offset::MAX >> 1, many(2)).await, (vec![9, 7], 7));
        assert_eq!(back(7, many(2)).await, (vec![5, 3], 3));
        assert_eq!(back(3, many(2)).await, (vec![1], 0));
        assert_eq!(back(1, many(2)).await, (vec![], 0));
        assert_eq!(back(100, Limits { events: 10, bytes: 1 }).await, (vec![9], 9));
        let nobody = opened.journal.conversation_back("nobody", 100, many(2)).await.unwrap();
        assert_eq!((nobody.events.len(), nobody.next), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_by_time_finds_the_first_event_at_or_after() {
    let (clock, millis) = standing_clock();
    for place in Place::of_every_engine(&Options { clock: clock.clone(), ..Options::default() }) {
        let opened = place.open();
        let start = clock.now();
        for number in 0..50 {
            opened.append(Append::one(event("a", number))).await;
            millis.fetch_add(if number % 2 == 0 { 0 } else { 1000 }, Ordering::Relaxed);
        }
        for (time, offset) in [(0, 1), (start.0, 1), (start.0 + 1, 3), (start.0 + 5000, 11), (start.0 + 1_000_000, 51)] {
            assert_eq!(opened.journal.offset_at(Timestamp(time)).await.unwrap(), offset);
        }
        // A clock that is set back does not bring events out of order.
        millis.fetch_sub(60_000, Ordering::Relaxed);
        opened.append(Append::one(event("a", 0))).await;
        let times: Vec<_> = opened.journal.read(1, many(100)).await.unwrap().events.iter().map(|event| event.time).collect();
        assert!(times.is_sorted());
        millis.fetch_add(60_000, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_and_dead_letters_survive_a_restart() {
    for place in places() {
        let opened = place.open();
        opened.append(Append::one(event("a", 1))).await;
        opened.append(Append::one(event("a", 2))).await;
        let progress = Progress { position: 9, unsettled: vec![Unsettled { offset: 4, attempts: 2, since: 77 }] };
        opened.journal.save_progress("sql", progress.clone()).await.unwrap();
        let letter = async |offset, reason: &str| NewDeadLetter {
            subscription: "sql".to_owned(),
            event: opened.journal.event(offset).await.unwrap().unwrap(),
            reason: reason.to_owned(),
            attempts: 3,
            state: DeadLetterState::Dead,
        };
        // One that is handed in once more, because nobody said that it is recorded, is the same letter.
        let letters = vec![letter(1, "first").await, letter(2, "no").await, letter(1, "no").await];
        let ids = opened.journal.add_dead_letters(letters).await.unwrap();
        assert_eq!(ids, ["1", "2", "1"].map(DeadLetterId::new));
        let opened = place.again(opened).await;
        let journal = &opened.journal;
        assert_eq!(journal.subscriptions().await.unwrap()[0].progress, progress);
        let letters = journal.dead_letters(Some("sql".to_owned()), 9).await.unwrap();
        assert_eq!((letters.len(), letters[0].reason.as_str(), letters[0].attempts), (2, "no", 3));
        assert_eq!(letters[0].event, journal.event(1).await.unwrap().unwrap());
        let [one, two] = ["1", "2"].map(DeadLetterId::new);
        assert!(journal.set_dead_letter(&one, DeadLetterState::Replay, None).await.unwrap());
        assert!(journal.delete_dead_letter(&two).await.unwrap() && !journal.delete_dead_letter(&two).await.unwrap());
        let replayed = journal.dead_letter(&one).await.unwrap().unwrap();
        assert_eq!((replayed.state, replayed.reason.as_str(), replayed.attempts), (DeadLetterState::Replay, "no", 3));
        let death = Death { reason: "still no".to_owned(), attempts: 2 };
        assert!(journal.set_dead_letter(&one, DeadLetterState::Dead, Some(death)).await.unwrap());
        let dead = journal.dead_letter(&one).await.unwrap().unwrap();
        assert_eq!((dead.state, dead.reason.as_str(), dead.attempts), (DeadLetterState::Dead, "still no", 5));
        assert!(dead.died >= replayed.died);
        for nobody in ["3", "01", "+1", " 1", "one", ""].map(DeadLetterId::new) {
            assert!(journal.dead_letter(&nobody).await.unwrap().is_none(), "{nobody}");
            assert!(!journal.set_dead_letter(&nobody, DeadLetterState::Replay, None).await.unwrap());
            assert!(!journal.delete_dead_letter(&nobody).await.unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_in_short_by_what_they_wait_for() {
    use DeadLetterState::{Dead, Held, Replay};
    for place in places() {
        let opened = place.open();
        let journal = &opened.journal;
        for number in 0..6 {
            opened.append(Append::one(event(&format!("c{number}"), number))).await;
        }
        let mut letters = Vec::new();
        for (offset, state, subscription) in
            [(5, Replay, "sql"), (1, Held, "sql"), (4, Dead, "sql"), (2, Replay, "sql"), (3, Replay, "file"), (6, Held, "sql")]
        {
            let event = journal.event(offset).await.unwrap().unwrap();
            letters.push(NewDeadLetter {
                subscription: subscription.to_owned(),
                event,
                reason: String::new(),
                attempts: 1,
                state,
            });
        }
        journal.add_dead_letters(letters).await.unwrap();
        let open = async |replays| {
            let letters = journal.open_dead_letters("sql", replays).await.unwrap();
            let short = |letter: &trunkline_journal::OpenDeadLetter| {
                (letter.id.to_string(), letter.offset, letter.conversation.to_string(), letter.state)
            };
            letters.iter().map(short).collect::<Vec<_>>()
        };
        let expected = [("2", 1, "c0", Held), ("6", 6, "c5", Held), ("4", 2, "c1", Replay), ("1", 5, "c4", Replay)]
            .map(|(id, offset, conversation, state)| (id.to_owned(), offset, conversation.to_owned(), state));
        assert_eq!(open(usize::MAX).await, expected);
        assert_eq!(open(1).await, expected[..3]);
        let two = journal.dead_letters(None, 2).await.unwrap();
        assert_eq!(two.iter().map(|letter| letter.id.as_str()).collect::<Vec<_>>(), ["1", "2"]);

        let unsettled = [1, 2].map(|offset| Unsettled { offset, attempts: 0, since: 0 }).to_vec();
        let mut expected = HashSet::new();
        for offset in [1, 2, 5, 6] {
            expected.insert(journal.event(offset).await.unwrap().unwrap().id);
        }
        assert_eq!(journal.owed_dead_letters("sql", &Progress { position: 5, unsettled }).await.unwrap(), expected);
        assert!(journal.owed_dead_letters("sql", &Progress::at(7)).await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_that_are_not_configured_are_no_longer_active() {
    for place in places() {
        let opened = place.open();
        for name in ["one", "two"] {
            opened.journal.save_progress(name, Progress::at(1)).await.unwrap();
        }
        opened.journal.keep_active(vec!["two".to_owned(), "three".to_owned()]).await.unwrap();
        let opened = place.again(opened).await;
        let active = async || {
            let stored = opened.journal.subscriptions().await.unwrap();
            stored.into_iter().map(|stored| (stored.name, stored.active)).collect::<Vec<_>>()
        };
        assert_eq!(active().await, [("one".to_owned(), false), ("two".to_owned(), true)]);
        opened.journal.save_progress("one", Progress::at(2)).await.unwrap();
        assert_eq!(active().await, [("one".to_owned(), true), ("two".to_owned(), true)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_find_again_how_far_they_were() {
    for place in places() {
        let opened = place.open();
        assert_eq!(opened.journal.position("log").await.unwrap(), None);
        for position in ["byte 5", "byte 7"] {
            opened.journal.save_position("log", position.to_owned()).await.unwrap();
        }
        let opened = place.again(opened).await;
        assert_eq!(opened.journal.position("log").await.unwrap().as_deref(), Some("byte 7"));
        assert_eq!(opened.journal.position("other").await.unwrap(), None);
        let kept = opened.journal.set_aside("log", "{\"body\": \"no event\"}\n".to_owned()).await.unwrap();
        assert!(kept.place.contains("log") && !kept.older_deleted, "{kept:?}");
    }
}

#[test]
#[should_panic(expected = "an append is of one conversation")]
fn an_append_of_two_conversations_is_a_mistake_of_ours() {
    Append::new(vec![event("a", 1), event("b", 1)]);
}
