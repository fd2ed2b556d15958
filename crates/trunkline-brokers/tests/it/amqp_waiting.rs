//! RabbitMQ: a server that takes its time, or no events at all.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::time::{timeout, timeout_at};
use trunkline_core::{Batch, Broker as _, Event, Outcome};
use trunkline_testkit::services::Private;

use crate::amqp_cable::Cable;
use crate::amqp_common::{PATIENCE, Place, assert_complete_and_in_order, broker, clear_alarm, eval, set_alarm};
use crate::common::{batch, deliver, event, journal, key, reason, until};

/// A batch for which the caller waits so many seconds.
fn batch_within(seconds: u64, events: &[Arc<Event>]) -> Batch {
    Batch { deadline: Instant::now() + Duration::from_secs(seconds), ..batch(events, &key()) }
}

#[tokio::test]
async fn what_has_no_time_left_follows_in_the_next_call_and_nothing_comes_twice() {
    let place = Place::new("slow");
    let cable = Cable::slow(&place, Duration::from_millis(100)).await;
    let broker = broker(&cable.yaml(&place, ""));
    // One after the other they take twelve seconds.
    let events: Vec<_> = (1..=120).map(|number| event(number, "one", &format!("№ {number}"))).collect();
    let (mut rest, mut calls) = (&events[..], 0);
    while !rest.is_empty() {
        let batch = batch_within(10, rest);
        let outcomes = timeout_at(batch.deadline.into(), broker.publish(&batch)).await.expect("the caller hears the answer");
        let delivered = outcomes.iter().take_while(|outcome| **outcome == Outcome::Delivered).count();
        for outcome in &outcomes[delivered..] {
            assert!(matches!(outcome, Outcome::Retry { reason, .. } if reason.contains("follows in the next")), "{outcome:?}");
        }
        rest = &rest[delivered..];
        calls += 1;
    }
    assert!(calls > 1, "not all of it has time in one call");
    broker.close().await;
    let arrived = place.client().await.drain(&place.queue).await;
    assert!(arrived.iter().map(|message| &message.body[..]).eq(events.iter().map(|event| &event.body[..])), "each once");
}

#[tokio::test]
async fn confirms_that_do_not_come_are_waited_for_together_and_not_longer_than_the_caller_waits() {
    let place = Place::new("silent");
    let cable = Cable::to(&place).await;
    let (broker, events) = (broker(&cable.yaml(&place, "")), journal(60));
    deliver(&broker, &batch(&events[..1], &key())).await;
    cable.set_silent(true);
    let waiting = batch_within(10, &events[1..]);
    let outcomes = timeout_at(waiting.deadline.into(), broker.publish(&waiting)).await.expect("the caller hears the answer");
    let said = reason(&outcomes[0]);
    assert!(said.contains("did not confirm the event within"), "{said}");
    assert_eq!(outcomes, Outcome::retry(said).all(59));
    cable.set_silent(false);
    assert_eq!(broker.is_ready().await.unwrap_err(), said, "no event is at fault");
    deliver(&broker, &batch(&events[1..], &key())).await;
    assert_eq!(broker.is_ready().await, Ok(()));
    assert_complete_and_in_order(&events, &place.client().await.drain(&place.queue).await);
}

#[tokio::test]
async fn what_was_confirmed_does_not_hide_that_the_rest_was_not() {
    let place = Place::new("half");
    let cable = Cable::to(&place).await;
    let (broker, events) = (broker(&cable.yaml(&place, "strict_order: false")), journal(60));
    deliver(&broker, &batch(&events[..1], &key())).await;
    // All go out together, and the server hears the first of them.
    cable.hold_after(events[1..].iter().map(|event| event.body.len()).sum::<usize>() / 2);
    let outcomes = broker.publish(&batch_within(10, &events[1..])).await;
    assert_eq!(outcomes[0], Outcome::Delivered);
    let said = reason(&outcomes[58]);
    assert!(said.contains("did not confirm the event within"), "{said}");
    cable.hold_after(usize::MAX);
    assert_eq!(broker.is_ready().await.unwrap_err(), said);
    let taken = outcomes.iter().take_while(|outcome| **outcome == Outcome::Delivered).count();
    deliver(&broker, &batch(&events[1 + taken..], &key())).await;
    assert_eq!(broker.is_ready().await, Ok(()));
    assert_complete_and_in_order(&events, &place.client().await.drain(&place.queue).await);
}

#[tokio::test(start_paused = true)]
async fn what_listens_and_never_answers_is_named_and_left() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let broker = broker(&Place::at(port, "never").yaml(""));
    let outcomes = broker.publish(&batch(&journal(1), &key())).await;
    assert_eq!(
        reason(&outcomes[0]),
        format!("what listens at 127.0.0.1:{port} does not answer as RabbitMQ does; is this its port?")
    );
    tokio::time::resume();
    let (mut connection, _) = listener.accept().await.unwrap();
    timeout(PATIENCE, connection.read_to_end(&mut Vec::new())).await.expect("the connection is cut").unwrap();
}

/// Says to [`publishes_in_vain`] where the server is, and so that it is the child: in a process of its own nobody else has threads.
const CHILD: &str = "TRUNKLINE_TEST_AMQP_PORT";

/// The threads of the client library, which has one for each connection.
fn threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    // One may end while it is looked at.
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim() == "lapin-io-loop").count()
}

/// Demands of our own side that a server which takes no messages is not burdened with connections, nor this process with threads.
pub(crate) async fn attempts_in_vain_cost_no_threads_and_no_connections(server: &Private) {
    set_alarm(server).await;
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "amqp_waiting::publishes_in_vain", "--nocapture"]);
    child.env(CHILD, server.port("rabbitmq").to_string());
    let child = tokio::task::spawn_blocking(move || child.output().unwrap()).await.unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    // The server does not notice the end of a connection from which it takes nothing.
    assert_eq!(eval(server, "length(rabbit_networking:connections()).").await, "1");
    clear_alarm(server).await;
}

/// The child; alone it has nothing to do.
#[tokio::test]
async fn publishes_in_vain() {
    let Some(port) = std::env::var_os(CHILD) else { return };
    let place = Place::at(port.to_str().unwrap().parse().unwrap(), "alarm");
    let short = broker(&place.yaml(""));
    for _ in 0..4 {
        // The server may take the first before it takes no more.
        let outcomes = short.publish(&batch(&journal(300), &key())).await;
        let said = reason(outcomes.last().unwrap());
        assert!(said.contains("takes no events now: it is short of memory or disk"), "{said}");
        assert_eq!(threads(), 1);
        assert_eq!(short.is_ready().await.unwrap_err(), said);
        until(|| threads() == 1).await;
    }

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let never = broker(&Place::at(silent.local_addr().unwrap().port(), "never").yaml(""));
    for _ in 0..3 {
        let batch = batch(&journal(1), &key());
        let heard = async {
            let (mut connection, _) = silent.accept().await.unwrap();
            connection.read_exact(&mut [0; 8]).await.unwrap();
            connection
        };
        // The call is given up while it waits for an answer.
        let _connection = tokio::select! {
            outcomes = never.publish(&batch) => panic!("{outcomes:?}"),
            connection = heard => connection,
        };
        until(|| threads() == 1).await;
    }
    short.close().await;
    until(|| threads() == 0).await;
}
