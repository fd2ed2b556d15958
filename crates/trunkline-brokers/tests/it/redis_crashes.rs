//! Redis killed, stopped where it is, and deprived of its data while events are published.

use std::sync::Arc;
use std::time::Duration;

use trunkline_core::{Batch, Broker, CursorKey, Event, Outcome};
use trunkline_testkit::services::Private;

use crate::common::{batch, deliver, event, key as cursor};
use crate::redis_common::{bodies, broker, expected, list, run, unique};

/// Delivers as simply as can be: again and again, from the first event that was not delivered, with an end after two minutes.
async fn deliver_all(broker: &dyn Broker, cursor: &CursorKey, journal: &[Arc<Event>], size: usize) {
    let work = async {
        let mut rest = journal;
        while !rest.is_empty() {
            let end = rest.len().min(size);
            // Attempts are given up as the delivery gives them up, so some are still under way when the next begins.
            let attempt = batch(&rest[..end], cursor);
            let result = tokio::time::timeout(Duration::from_millis(200), broker.publish(&attempt)).await;
            let outcomes = result.unwrap_or_else(|_| Outcome::retry("no answer").all(end));
            let count = outcomes.iter().take_while(|outcome| **outcome == Outcome::Delivered).count();
            rest = &rest[count..];
            if count == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    tokio::time::timeout(Duration::from_mins(2), work).await.expect("all is delivered within two minutes");
}

fn conversation_events(count: u64) -> Vec<Arc<Event>> {
    (1..=count).map(|offset| event(offset, &format!("user{}", offset % 7), &format!("№ {offset}"))).collect()
}

#[tokio::test]
async fn a_server_killed_five_times_under_load_has_every_event_once_and_in_order() {
    let server = Private::start("redis").await;
    let url = format!("redis://127.0.0.1:{}", server.port("redis"));
    for structure in ["stream", "list"] {
        let (key, cursor, journal) = (unique("killed"), cursor(), conversation_events(40_000));
        run::<()>(&url, "CONFIG SET appendfsync always").await;
        let broker = broker(&format!("url: {url}\nstructure: {structure}\nkey: {key}"));
        let kills = async {
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_millis(150)).await;
                server.kill().await;
                server.start_again().await;
                run::<()>(&url, "CONFIG SET appendfsync always").await;
            }
        };
        tokio::join!(kills, deliver_all(&*broker, &cursor, &journal, 50));
        let found = if structure == "list" { list(&url, &key).await } else { bodies(&url, &key).await };
        assert_eq!(found.len(), journal.len(), "{structure}");
        assert!(found == expected(&journal), "{structure}: the order is that of the journal");
    }
}

#[tokio::test]
async fn a_server_that_hangs_and_wakes_finds_each_event_once_although_attempts_were_given_up() {
    let server = Private::start("redis").await;
    let url = format!("redis://127.0.0.1:{}", server.port("redis"));
    let (key, cursor, journal) = (unique("hangs"), cursor(), conversation_events(20_000));
    let broker = broker(&format!("url: {url}\nkey: {key}"));
    let naps = async {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            // What is sent meanwhile waits in its socket.
            server.hang().await;
            tokio::time::sleep(Duration::from_millis(700)).await;
            server.resume().await;
        }
    };
    tokio::join!(naps, deliver_all(&*broker, &cursor, &journal, 20));
    let found = bodies(&url, &key).await;
    assert_eq!(found.len(), journal.len());
    assert!(found == expected(&journal));
}

#[tokio::test]
async fn an_attempt_of_a_process_that_died_does_not_come_twice_when_the_server_wakes() {
    let server = Private::start("redis").await;
    let url = format!("redis://127.0.0.1:{}", server.port("redis"));
    let (key, cursor, journal) = (unique("died"), cursor(), conversation_events(9));
    let yaml = format!("url: {url}\nkey: {key}");
    let before = broker(&yaml);
    deliver(&*before, &batch(&journal[..3], &cursor)).await;
    server.hang().await;
    // Sent, and its answer is never read.
    let attempt = batch(&journal[3..6], &cursor);
    let given_up = tokio::time::timeout(Duration::from_millis(300), before.publish(&attempt)).await;
    assert!(given_up.is_err(), "{given_up:?}");
    drop(before);
    let now = broker(&yaml);
    let (position, ()) = tokio::join!(now.position(&cursor), server.resume());
    let next = position.unwrap().unwrap();
    let rest = &journal[journal.partition_point(|event| event.offset < next)..];
    deliver_all(&*now, &cursor, rest, 3).await;
    let found = bodies(&url, &key).await;
    assert_eq!(found, expected(&journal));
}

#[tokio::test]
async fn a_server_that_lost_its_data_goes_on_with_what_comes() {
    let server = Private::start("redis").await;
    let url = format!("redis://127.0.0.1:{}", server.port("redis"));
    let (key, cursor, journal) = (unique("lost"), cursor(), conversation_events(6));
    let broker = broker(&format!("url: {url}\nkey: {key}"));
    deliver(&*broker, &batch(&journal[..3], &cursor)).await;
    run::<()>(&url, "FLUSHALL").await;
    deliver(&*broker, &batch(&journal[3..], &cursor)).await;
    assert_eq!(bodies(&url, &key).await, expected(&journal[3..]));
    assert_eq!(broker.position(&cursor).await, Ok(Some(7)));
}

#[tokio::test]
async fn a_script_that_the_server_forgot_is_given_to_it_again() {
    let server = Private::start("redis").await;
    let url = format!("redis://127.0.0.1:{}", server.port("redis"));
    let (key, cursor, journal) = (unique("forgot"), cursor(), conversation_events(4));
    let broker = broker(&format!("url: {url}\nkey: {key}"));
    deliver(&*broker, &batch(&journal[..2], &cursor)).await;
    run::<()>(&url, "SCRIPT FLUSH").await;
    deliver(&*broker, &Batch { export: None, ..batch(&journal[2..], &cursor) }).await;
    assert_eq!(bodies(&url, &key).await, expected(&journal));
}
