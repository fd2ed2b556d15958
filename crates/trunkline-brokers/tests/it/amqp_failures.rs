//! RabbitMQ: what is refused, deleted, cut and killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueuePurgeOptions};
use lapin::types::FieldTable;
use trunkline_core::{Broker, Event, Outcome};
use trunkline_testkit::contract::Arrived;
use trunkline_testkit::services::Private;

use crate::amqp_cable::Cable;
use crate::amqp_common::{Client, PATIENCE, Place, assert_complete_and_in_order, bodies, broker, data, eval, eval_shared};
use crate::common::{batch, deliver, event, journal, key, reason};

/// What a broker says about a server that it cannot use, to `is_ready` and to `publish` alike.
async fn complaint(broker: &dyn Broker) -> String {
    let said = broker.is_ready().await.unwrap_err();
    let outcomes = broker.publish(&batch(&journal(2), &key())).await;
    for outcome in &outcomes {
        assert_eq!(*outcome, Outcome::retry(said.clone()));
    }
    said
}

#[tokio::test]
async fn a_server_that_does_not_let_us_in_is_complained_of_in_words() {
    let place = Place::new("refused");
    let (port, yaml) = (place.port, place.yaml(""));
    for (yaml, expected) in [
        (
            yaml.replace("password: a", "password: another"),
            format!("RabbitMQ at 127.0.0.1:{port} does not let user `trunkline` in: wrong user name or password"),
        ),
        (
            yaml.replace("username: trunkline", "username: nobody"),
            format!("RabbitMQ at 127.0.0.1:{port} does not let user `nobody` in: wrong user name or password"),
        ),
        (yaml.replace("/%2F", "/nope"), format!("RabbitMQ at 127.0.0.1:{port} has no virtual host `nope`")),
        (
            yaml.replace("127.0.0.1", "no-such-host.invalid"),
            "cannot find the host `no-such-host.invalid` of RabbitMQ: ".to_owned(),
        ),
        (yaml.replace(&format!(":{port}"), ":1"), "cannot reach RabbitMQ at 127.0.0.1:1: Connection refused".to_owned()),
    ] {
        let said = complaint(&broker(&yaml)).await;
        assert!(said.starts_with(&expected), "{said}");
        assert!(!said.contains("secret"), "{said}");
    }
}

#[tokio::test]
async fn what_a_user_may_not_do_is_held_against_no_event() {
    let place = Place::new("rights");
    // As unique as the queue: the server may have seen this test before.
    let yaml = place.yaml("").replace("username: trunkline", &format!("username: {}", place.queue));
    let user = format!("<<\"{}\">>", place.queue);
    eval_shared(&format!("rabbit_auth_backend_internal:add_user({user}, <<\"a secret/50%\">>, {user}).")).await;
    let allow_to_write = async |pattern: &str| {
        let all = "<<\".*\">>";
        eval_shared(&format!(
            "rabbit_auth_backend_internal:set_permissions({user}, <<\"/\">>, {all}, <<\"{pattern}\">>, {all}, {user})."
        ))
        .await;
    };
    for (pattern, action) in [("^$", "cannot bind the queue"), (&*format!("^{}$", place.queue), "publishing failed")] {
        allow_to_write(pattern).await;
        let broker = broker(&yaml);
        assert_eq!(broker.is_ready().await, Ok(()), "it may look");
        let outcomes = broker.publish(&batch(&journal(2), &key())).await;
        let said = reason(&outcomes[0]);
        assert!(said.contains(action) && said.contains("ACCESS_REFUSED"), "{said}");
        assert_eq!(broker.is_ready().await.unwrap_err(), said);
        allow_to_write(".*").await;
        deliver(&broker, &batch(&journal(2), &key())).await;
        assert_eq!(broker.is_ready().await, Ok(()));
        broker.close().await;
    }
}

#[tokio::test]
async fn after_a_failed_connection_the_given_delay_is_asked_for() {
    let place = Place::new("delay");
    let yaml = place.yaml("retry_delay_in_seconds: 2.5").replace(&format!(":{}", place.port), ":1");
    let outcomes = broker(&yaml).publish(&batch(&journal(1), &key())).await;
    assert!(matches!(&outcomes[0], Outcome::Retry { after: Some(after), .. } if after.as_millis() == 2500), "{outcomes:?}");
}

#[tokio::test]
async fn what_exists_with_other_settings_is_named_with_the_option_that_fits() {
    let place = Place::new("mismatch");
    deliver(&place.broker("exchange_durable: true"), &batch(&journal(1), &key())).await;
    for (more, expected) in [
        ("", "; set `exchange_durable: true` to use the exchange as it is"),
        ("exchange_durable: true\nexchange_type: topic", "; set `exchange_type: fanout` to use the exchange as it is"),
        ("exchange_durable: true\nqueue_type: quorum", "; leave out `queue_type` to use the queue as it is"),
    ] {
        let said = complaint(&place.broker(more)).await;
        assert!(said.contains("PRECONDITION_FAILED") && said.ends_with(expected), "{said}");
    }
    let place = Place::new("quorum");
    deliver(&place.broker("queue_type: quorum"), &batch(&journal(1), &key())).await;
    let said = complaint(&place.broker("")).await;
    assert!(said.ends_with("; set `queue_type: quorum` to use the queue as it is"), "{said}");
}

#[tokio::test]
async fn a_deleted_queue_or_exchange_is_created_again() {
    let place = Place::new("deleted");
    let (broker, client, events) = (place.broker(""), place.client().await, journal(30));
    deliver(&broker, &batch(&events[..10], &key())).await;
    client.take(&place.queue, 10).await;

    let client = place.client().await;
    client.delete_queue(&place.queue).await;
    deliver(&broker, &batch(&events[10..20], &key())).await;
    assert_eq!(data(&place.take(10).await), bodies(&events[10..20]));

    client.delete_exchange(&place.exchange).await;
    deliver(&broker, &batch(&events[20..], &key())).await;
    assert_eq!(data(&place.take(10).await), bodies(&events[20..]));
}

/// The most events in a batch.
const MOST: usize = 128;

/// Publishes until everything is delivered, as the delivery would: what is to be tried again keeps its order.
async fn publish_all(broker: &dyn Broker, events: &[Arc<Event>]) {
    let mut rest = events.to_vec();
    while !rest.is_empty() {
        let part = &rest[..rest.len().min(MOST)];
        let outcomes = broker.publish(&batch(part, &key())).await;
        assert_eq!(outcomes.len(), part.len());
        if outcomes.iter().all(|outcome| matches!(outcome, Outcome::Retry { .. })) {
            // Somebody who is down, or starts, needs the machine more than we do.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut outcomes = outcomes.into_iter();
        rest.retain(|_| match outcomes.next() {
            None | Some(Outcome::Retry { .. }) => true,
            Some(Outcome::Delivered) => false,
            Some(Outcome::Reject { reason } | Outcome::Behind { reason }) => panic!("{reason}"),
        });
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_inverted_when_the_connection_is_cut_again_and_again() {
    let place = Place::new("cut");
    let cable = Cable::to(&place).await;
    let broker = broker(&cable.yaml(&place, ""));
    let events: Vec<_> =
        (1..=2000).map(|number| event(number, &format!("user{}", number % 50), &format!("№ {number}"))).collect();
    let publishing = publish_all(&broker, &events);
    let client = place.client().await;
    tokio::pin!(publishing);
    let mut cuts = 0;
    loop {
        tokio::select! {
            () = &mut publishing => break,
            () = tokio::time::sleep(Duration::from_millis(20)), if cuts < 10 => {
                cable.cut();
                cuts += 1;
            }
        }
    }
    assert!(cuts > 0, "there was something to cut");
    let arrived = client.drain(&place.queue).await;
    assert_complete_and_in_order(&events, &arrived);
}

#[tokio::test]
async fn a_connection_that_was_cut_while_idle_is_not_noticed() {
    let place = Place::new("idle");
    let cable = Cable::to(&place).await;
    let (broker, events) = (broker(&cable.yaml(&place, "")), journal(20));
    for part in events.chunks(5) {
        deliver(&broker, &batch(part, &key())).await;
        cable.cut();
    }
    assert_complete_and_in_order(&events, &place.client().await.drain(&place.queue).await);
}

#[tokio::test]
async fn a_full_queue_means_to_try_again() {
    let place = Place::new("full");
    let (broker, client, events) = (place.broker("strict_order: false"), place.client().await, journal(20));
    deliver(&broker, &batch(&events[..1], &key())).await;
    let small = format!("{}-small", place.queue);
    client.small_queue(&small, &place.exchange, 5).await;
    let outcomes = broker.publish(&batch(&events[1..], &key())).await;
    assert_eq!(outcomes[..5], Outcome::Delivered.all(5));
    assert!(reason(&outcomes[5]).contains("a queue behind the exchange"), "{outcomes:?}");
    assert!(outcomes[5..].iter().all(|outcome| matches!(outcome, Outcome::Retry { .. })), "{outcomes:?}");

    client.channel.queue_purge(small.as_str().into(), QueuePurgeOptions::default()).await.unwrap();
    let outcomes = broker.publish(&batch(&events[6..11], &key())).await;
    assert_eq!(outcomes, Outcome::Delivered.all(5));
    // The other queue has taken those too that this one refused.
    assert_complete_and_in_order(&events, &client.drain(&place.queue).await);
}

/// Publishes to a queue that refuses while a slow consumer makes room one by one; what that consumer saw.
async fn squeeze(more: &str) -> (Vec<Arc<Event>>, Vec<Arrived>) {
    let place = Place::new("squeeze");
    let (broker, client) = (place.broker(more), place.client().await);
    deliver(&broker, &batch(&journal(1), &key())).await;
    let small = format!("{}-small", place.queue);
    client.small_queue(&small, &place.exchange, 20).await;
    let Client { channel, .. } = &client;
    channel.basic_qos(1, BasicQosOptions::default()).await.unwrap();
    let consuming =
        channel.basic_consume(small.as_str().into(), "".into(), BasicConsumeOptions::default(), FieldTable::default());
    let mut consumer = consuming.await.unwrap();
    let events: Vec<_> = (1..=1000).map(|number| event(number, &format!("user{}", number % 3), &format!("№ {number}"))).collect();
    let (saw, ()) = tokio::join!(
        async {
            let mut saw = Vec::new();
            let mut enough = std::collections::HashSet::new();
            while enough.len() < 1000 {
                let delivery = tokio::time::timeout(PATIENCE, consumer.next()).await.unwrap().unwrap().unwrap();
                delivery.ack(BasicAckOptions::default()).await.unwrap();
                enough.insert(delivery.data.clone());
                saw.push(Arrived::body(delivery.data));
            }
            saw
        },
        publish_all(&broker, &events)
    );
    (events, saw)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strict_order_holds_where_a_queue_refuses_and_makes_room_again() {
    let (events, saw) = squeeze("").await;
    assert_complete_and_in_order(&events, &saw);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_a_queue_has_refused_an_event_the_order_is_strict() {
    let (events, saw) = squeeze("strict_order: false").await;
    // The first batch has met the limit while all of it was under way.
    let (_, later) = events.split_at(MOST);
    let is_later = |message: &Arrived| later.iter().any(|event| event.body == message.body);
    assert_complete_and_in_order(later, &saw.into_iter().filter(is_later).collect::<Vec<_>>());
}

/// Demands of a server that it refuses a message over its limit, and that this costs the events behind it alone their turn.
pub(crate) async fn a_message_over_the_limit_is_rejected_alone(server: &Private) {
    eval(server, "application:set_env(rabbit, max_message_size, 5000).").await;
    let place = Place::at(server.port("rabbitmq"), "large");
    let broker = place.broker("");
    let long = "x".repeat(6000);
    let events = [
        event(1, "a", "1"),
        event(2, "b", &long),
        event(3, "b", "3"),
        event(4, "c", "4"),
        event(5, "c", &long),
        event(6, "d", "6"),
    ];
    for _ in 0..2 {
        let outcomes = broker.publish(&batch(&events, &key())).await;
        for at in [0, 3, 5] {
            assert_eq!(outcomes[at], Outcome::Delivered, "{outcomes:?}");
        }
        for at in [1, 4] {
            assert!(matches!(&outcomes[at], Outcome::Reject { reason } if reason.contains("takes 5000")), "{outcomes:?}");
        }
        assert!(matches!(&outcomes[2], Outcome::Retry { .. }), "{outcomes:?}");
    }
    let arrived = place.client().await.drain(&place.queue).await;
    assert_complete_and_in_order(&[events[0].clone(), events[3].clone(), events[5].clone()], &arrived);
}

/// Publishes events of many conversations until `is_over`; those are all that it published. `size` is that of each text, by its
/// number.
async fn publish_until(broker: &dyn Broker, first: u64, size: fn(u64) -> usize, is_over: &AtomicBool) -> Vec<Arc<Event>> {
    let mut events = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let next = first + events.len() as u64;
        let part: Vec<_> =
            (next..next + 512).map(|number| event(number, &format!("user{}", number % 20), &"x".repeat(size(number)))).collect();
        publish_all(broker, &part).await;
        events.extend(part);
    }
    events
}

/// Kills a server while events flow, so many times in turn as there are sizes, and demands that all arrive in order.
async fn kill_in_the_middle(more: &str, sizes: &[fn(u64) -> usize]) {
    let server = Private::start("rabbitmq").await;
    let place = Place::at(server.port("rabbitmq"), "killed");
    place.create_for_good(&server).await;
    let mut all = Vec::new();
    // A durable exchange is not needed: it is declared again.
    let broker = place.broker(more);
    for &size in sizes {
        let is_over = AtomicBool::new(false);
        let kill = async {
            let client = place.client().await;
            let reached = async {
                while client.count(&place.queue).await <= all.len() + 300 {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(PATIENCE, reached).await.unwrap();
            server.kill().await;
            server.start_again().await;
            is_over.store(true, Ordering::Relaxed);
        };
        let (events, ()) = tokio::join!(publish_until(&broker, all.len() as u64 + 1, size, &is_over), kill);
        all.extend(events);
    }
    let arrived = place.client().await.drain(&place.queue).await;
    assert!(arrived.len() < all.len() + sizes.len() * MOST, "what comes twice is at most what was under way");
    assert_complete_and_in_order(&all, &arrived);
}

/// Some of the texts are kept in one place by a classic queue, some in another.
fn mixed(number: u64) -> usize {
    if number.is_multiple_of(7) { 8000 } else { 100 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_inverted_when_the_server_is_killed_in_the_middle() {
    kill_in_the_middle("", &[mixed, mixed, mixed]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_inverts_nothing_that_a_queue_keeps_in_one_place() {
    kill_in_the_middle("strict_order: false", &[mixed, |_| 100, |_| 8000]).await;
}
