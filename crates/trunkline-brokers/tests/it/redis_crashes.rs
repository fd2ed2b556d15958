//! Redis stopped where it is, out of reach, and deprived of its data while events are published.

use std::fmt::{Debug, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tracing::field::Field;
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};
use trunkline_core::{Batch, Broker, CursorKey, Event, Outcome};
use trunkline_testkit::services::{self, Private};

use crate::common::{batch, deliver, event, key as cursor, reason};
use crate::redis_common::{bodies, broker, cursor_key as key_of, expected, run, unique, url};

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
async fn a_server_that_lost_its_data_goes_on_with_what_comes_and_the_log_says_what_is_missing() {
    let server = Private::start("redis").await;
    let url = format!("redis://127.0.0.1:{}", server.port("redis"));
    let (key, cursor, journal) = (unique("lost"), cursor(), conversation_events(6));
    let broker = broker(&format!("url: {url}\nkey: {key}"));
    deliver(&*broker, &batch(&journal[..3], &cursor)).await;
    run::<()>(&url, "FLUSHALL").await;
    let said = Said::default();
    {
        let _guard = tracing::subscriber::set_default(said.clone());
        deliver(&*broker, &batch(&journal[3..], &cursor)).await;
    }
    assert_eq!(bodies(&url, &key).await, expected(&journal[3..]));
    assert_eq!(broker.position(&cursor).await, Ok(Some(7)));
    let said = said.0.lock().unwrap();
    let said = said.iter().find(|said| said.contains("Redis lost its cursor")).unwrap();
    for part in ["before=4", "minimum_timestamp=1 ", "maximum_timestamp=4 ", &key_of(&cursor)] {
        assert!(said.contains(part), "{said}");
    }
}

/// What is logged, each entry in a line.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<String>>>);

impl Subscriber for Said {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = String::new();
        event.record(&mut |field: &Field, value: &dyn Debug| write!(line, "{field}={value:?} ").unwrap());
        self.0.lock().unwrap().push(line.replace('"', ""));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn a_server_that_went_back_is_behind_and_gets_the_lost_events_again() {
    let (key, cursor, journal) = (unique("back"), cursor(), conversation_events(800));
    let broker = broker(&format!("url: {}\nkey: {key}", url()));
    let (place, saved) = (key_of(&cursor), unique("saved"));
    // As a replica that takes over without the newest: data and cursor are those of an earlier moment.
    let copies = [(key.clone(), format!("{saved}.events")), (place.clone(), format!("{saved}.cursor"))];
    deliver(&*broker, &batch(&journal[..100], &cursor)).await;
    for (now, before) in &copies {
        run::<()>(&url(), &format!("COPY {now} {before}")).await;
    }
    deliver(&*broker, &batch(&journal[100..150], &cursor)).await;
    for (now, before) in &copies {
        run::<()>(&url(), &format!("COPY {before} {now} REPLACE")).await;
    }
    let found = broker.publish(&batch(&journal[150..], &cursor)).await;
    assert_eq!(found.len(), 650);
    for outcome in &found {
        assert!(matches!(outcome, Outcome::Behind { .. }), "{outcome:?}");
        let said = reason(outcome);
        assert!(said.contains(&format!("the cursor `{place}` stood at 151 and stands at 101")), "{said}");
    }
    assert_eq!(bodies(&url(), &key).await, expected(&journal[..100]));
    assert_eq!(broker.position(&cursor).await, Ok(Some(101)));
    deliver(&*broker, &batch(&journal[100..], &cursor)).await;
    assert_eq!(bodies(&url(), &key).await, expected(&journal));
}

#[tokio::test]
async fn a_connection_through_which_nothing_comes_is_left_with_the_attempt_that_was_given_up() {
    let proxy = Proxy::to(services::port("redis")).await;
    let (key, cursor, journal) = (unique("swallowed"), cursor(), conversation_events(6));
    let broker = broker(&format!("url: redis://127.0.0.1:{}\nkey: {key}", proxy.port));
    deliver(&*broker, &batch(&journal[..3], &cursor)).await;
    proxy.swallows.store(true, Ordering::SeqCst);
    let attempt = batch(&journal[3..], &cursor);
    tokio::select! {
        outcomes = broker.publish(&attempt) => panic!("nobody has it: {outcomes:?}"),
        () = proxy.has_swallowed.notified() => {}
    }
    proxy.swallows.store(false, Ordering::SeqCst);
    deliver(&*broker, &attempt).await;
    assert_eq!(bodies(&url(), &key).await, expected(&journal));
}

/// Stands before a server. While it swallows, a connection on which something comes is dead from then on, and stays open.
struct Proxy {
    port: u16,
    swallows: Arc<AtomicBool>,
    has_swallowed: Arc<Notify>,
}

impl Proxy {
    async fn to(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (swallows, has_swallowed) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
        let (is_on, notify) = (Arc::clone(&swallows), Arc::clone(&has_swallowed));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                tokio::spawn(Self::pass(client, server, Arc::clone(&is_on), Arc::clone(&notify)));
            }
        });
        Self { port, swallows, has_swallowed }
    }

    async fn pass(client: TcpStream, server: TcpStream, swallows: Arc<AtomicBool>, has_swallowed: Arc<Notify>) {
        let ((mut from_client, mut to_client), (mut from_server, mut to_server)) = (client.into_split(), server.into_split());
        tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
        let (mut bytes, mut is_dead) = (vec![0; 1 << 16], false);
        while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
            if swallows.load(Ordering::SeqCst) {
                is_dead = true;
                has_swallowed.notify_one();
            }
            if !is_dead {
                to_server.write_all(&bytes[..count]).await.unwrap();
            }
        }
    }
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
