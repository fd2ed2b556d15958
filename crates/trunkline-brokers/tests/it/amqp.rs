//! RabbitMQ: what arrives, and what it looks like.

use std::path::Path;
use std::sync::Arc;

use lapin::types::FieldTable;
use trunkline_brokers::AmqpBroker;
use trunkline_core::{Batch, Broker as _, Event, JournalId, NewEvent, Outcome, Timestamp};

use crate::amqp_common::{Place, assert_complete_and_in_order, bodies, broker, broker_in, data, eval_shared, read};
use crate::common::{batch, deliver, event, journal, key};

#[tokio::test]
async fn a_message_is_what_the_original_sends_with_our_event_id() {
    let place = Place::new("wire");
    let environment = |name: &str| (name == "RASA_ENVIRONMENT").then(|| "staging".to_owned());
    let broker = broker_in(&place.yaml(""), &environment);
    let events = [event(7, "user/7 ü", "Hallo\n☃")];
    deliver(&broker, &batch(&events, &key())).await;

    let message = place.take(1).await.remove(0);
    assert_eq!(message.data, events[0].body);
    assert_eq!((message.exchange.as_str(), message.routing_key.as_str()), (place.exchange.as_str(), ""));
    let properties = &message.properties;
    assert_eq!(*properties.delivery_mode(), Some(2));
    assert_eq!(*properties.priority(), Some(0));
    assert_eq!(properties.headers().as_ref().map(|headers| headers.inner().len()), Some(0), "the table is there, and empty");
    assert_eq!(properties.app_id().as_ref().unwrap().as_str(), "staging");
    assert_eq!(properties.message_id().as_ref().unwrap().as_str(), events[0].id.to_string());
    assert!(properties.content_type().is_none() && properties.content_encoding().is_none());
    assert!(properties.timestamp().is_none() && properties.kind().is_none() && properties.correlation_id().is_none());
    assert!(properties.reply_to().is_none() && properties.expiration().is_none() && properties.user_id().is_none());
    broker.close().await;
}

#[tokio::test]
async fn there_is_no_app_id_without_an_environment() {
    let place = Place::new("no-app-id");
    let broker = broker_in(&place.yaml(""), &|_| Some(String::new()));
    deliver(&broker, &batch(&journal(1), &key())).await;
    assert!(place.take(1).await[0].properties.app_id().is_none());
}

#[tokio::test]
async fn the_events_of_an_export_say_so_in_a_header() {
    let place = Place::new("export");
    let broker = place.broker("");
    let export: Arc<str> = "0123456789abcdef0123456789abcdef".into();
    deliver(&broker, &Batch { export: Some(Arc::clone(&export)), ..batch(&journal(2), &key()) }).await;
    for message in place.take(2).await {
        let headers = message.properties.headers().as_ref().unwrap().inner().clone();
        let values: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_long_string().unwrap().as_bytes())).collect();
        assert_eq!(values, [("rasa-export-process-id", export.as_bytes())]);
    }
}

#[tokio::test]
async fn the_exchange_is_a_fanout_that_is_not_durable_and_the_queue_is_durable() {
    let place = Place::new("topology");
    let broker = place.broker("");
    assert_eq!(broker.is_ready().await, Ok(()));
    let client = place.client().await;
    let queue = |passive| lapin::options::QueueDeclareOptions { passive, durable: true, ..Default::default() };
    let missing = client.channel.queue_declare(place.queue.as_str().into(), queue(true), FieldTable::default()).await;
    assert!(missing.is_err(), "being asked creates nothing");

    deliver(&broker, &batch(&journal(1), &key())).await;
    let client = place.client().await;
    let exchange = lapin::options::ExchangeDeclareOptions::default();
    let (name, kind) = (place.exchange.as_str().into(), lapin::ExchangeKind::Fanout);
    client.channel.exchange_declare(name, kind, exchange, FieldTable::default()).await.unwrap();
    client.channel.queue_declare(place.queue.as_str().into(), queue(false), FieldTable::default()).await.unwrap();
    assert_eq!(broker.is_ready().await, Ok(()));
}

#[tokio::test]
async fn every_queue_gets_every_event() {
    let place = Place::new("several");
    let queues = [format!("{}-a", place.queue), format!("{}-b", place.queue)];
    let yaml = place.yaml("").replace(&format!("queues: {}", place.queue), &format!("queues: [{}, {}]", queues[0], queues[1]));
    let events = journal(5);
    deliver(&broker(&yaml), &batch(&events, &key())).await;
    for queue in &queues {
        assert_eq!(data(&place.client().await.take(queue, 5).await), bodies(&events));
    }
}

#[tokio::test]
async fn a_virtual_host_may_have_a_slash_in_its_name() {
    let place = Place { vhost: "events/eu", ..Place::new("vhost") };
    let events = journal(3);
    deliver(&place.broker(""), &batch(&events, &key())).await;
    assert_eq!(data(&place.take(3).await), bodies(&events));

    let other = place.yaml("").replace("events%2Feu", "events/eu");
    deliver(&broker(&other), &batch(&events, &key())).await;
    assert_eq!(data(&place.take(3).await), bodies(&events));
}

#[tokio::test]
async fn a_login_in_the_url_will_do() {
    let place = Place::new("url-login");
    let yaml = format!(
        "url: amqp://trunkline:a%20secret%2F50%25@localhost:{}/?heartbeat=30&name=test\nexchange_name: {}\nqueues: [{}]",
        place.port, place.exchange, place.queue
    );
    deliver(&broker(&yaml), &batch(&journal(1), &key())).await;
    place.take(1).await;
}

#[tokio::test]
async fn the_heartbeat_of_the_server_can_be_shortened_and_not_lengthened() {
    for (query, seconds) in [("", "60"), ("&heartbeat=7", "7"), ("&heartbeat=600", "60")] {
        let place = Place::new("heartbeat");
        let yaml = place.yaml("").replace("/%2F", &format!("/%2F?name={}{query}", place.exchange));
        let broker = broker(&yaml);
        deliver(&broker, &batch(&journal(1), &key())).await;
        let name = format!("{{<<\"connection_name\">>, longstr, <<\"{}\">>}}", place.exchange);
        let agreed = format!(
            "lists:sum([Timeout || [{{client_properties, Properties}}, {{timeout, Timeout}}] \
             <- rabbit_networking:connection_info_all([client_properties, timeout]), is_list(Properties), lists:member({name}, Properties)])."
        );
        assert_eq!(eval_shared(&agreed).await, seconds, "{query}");
        broker.close().await;
    }
}

#[tokio::test]
async fn a_bare_host_beside_a_port_will_do() {
    let place = Place::new("host");
    let yaml = place
        .yaml(&format!("port: '{}'", place.port))
        .replace(&format!("url: amqp://127.0.0.1:{}/%2F", place.port), "url: localhost");
    deliver(&broker(&yaml), &batch(&journal(1), &key())).await;
    place.take(1).await;
}

#[tokio::test]
async fn extras_are_there_for_those_who_name_them() {
    let place = Place::new("extras");
    let more = "exchange_type: topic\nexchange_durable: true\nqueue_type: quorum\ncontent_type: application/json\nrouting_key: rasa.$event.$sender_id";
    let broker = place.broker(more);
    deliver(&broker, &batch(&[event(1, "user7", "Hallo")], &key())).await;
    let message = place.take(1).await.remove(0);
    assert_eq!(message.routing_key.as_str(), "rasa.user.user7");
    assert_eq!(message.properties.content_type().as_ref().unwrap().as_str(), "application/json");
    assert_eq!(broker.is_ready().await, Ok(()));

    let place = Place::new("direct");
    deliver(&place.broker("exchange_type: direct\nrouting_key: events"), &batch(&journal(1), &key())).await;
    assert_eq!(place.take(1).await[0].routing_key.as_str(), "events");
}

/// The events that a real Rasa published.
fn rasa_events() -> Vec<Arc<Event>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../trunkline/tests/fixtures/rasa-3.6.21-events.jsonl");
    let text = std::fs::read_to_string(Path::new(path)).unwrap();
    let journal = JournalId::random();
    let events = text.lines().zip(1..).map(|(line, offset)| {
        let new = NewEvent::parse(line.as_bytes(), None, 1.0).unwrap();
        Arc::new(new.recorded(journal, Timestamp(1), offset))
    });
    events.collect()
}

#[tokio::test]
async fn the_events_of_a_real_rasa_arrive_equal_and_in_order() {
    for more in ["", "strict_order: false"] {
        let (place, events) = (Place::new("fixture"), rasa_events());
        assert_eq!(events.len(), 1106);
        let broker = place.broker(more);
        for part in events.chunks(512) {
            deliver(&broker, &batch(part, &key())).await;
        }
        let arrived = place.client().await.drain(&place.queue).await;
        if !more.is_empty() {
            assert!(
                arrived.iter().map(|message| &message.body[..]).eq(events.iter().map(|event| &event.body[..])),
                "a batch keeps its order"
            );
        }
        assert_complete_and_in_order(&events, &arrived);
    }
}

#[tokio::test]
async fn a_closed_broker_leaves_nothing_behind_and_may_be_used_again() {
    let place = Place::new("close");
    let broker = place.broker("");
    broker.close().await;
    deliver(&broker, &batch(&journal(2), &key())).await;
    broker.close().await;
    broker.close().await;
    deliver(&broker, &batch(&journal(2), &key())).await;
    place.take(4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_publish_side_by_side() {
    let place = Place::new("lanes");
    let broker = Arc::new(place.broker(""));
    deliver(&*broker, &batch(&[event(1, "first", "1")], &key())).await;
    place.take(1).await;
    let lanes: Vec<Vec<_>> =
        (0..8).map(|lane| (1..=200).map(|n| event(n, &format!("lane{lane}"), &format!("№ {n}"))).collect()).collect();
    let publishing = lanes.iter().cloned().map(|events: Vec<_>| {
        let broker = Arc::clone(&broker);
        tokio::spawn(async move {
            for part in events.chunks(20) {
                deliver(&*broker, &batch(part, &key())).await;
            }
        })
    });
    for lane in publishing.collect::<Vec<_>>() {
        lane.await.unwrap();
    }
    broker.close().await;
    assert_complete_and_in_order(&lanes.concat(), &place.client().await.drain(&place.queue).await);
}

#[tokio::test]
async fn a_batch_that_is_given_up_does_not_disturb_the_next() {
    let place = Place::new("given-up");
    let (broker, events) = (place.broker(""), journal(300));
    deliver(&broker, &batch(&events[..1], &key())).await;
    let (given_up, key) = (batch(&events[1..], &key()), key());
    for _ in 0..5 {
        // It is polled once, which puts the messages under way, and then dropped.
        tokio::select! { biased;
            _ = broker.publish(&given_up) => {}
            () = std::future::ready(()) => {}
        }
    }
    deliver(&broker, &batch(&events[1..], &key)).await;
    broker.close().await;
    let arrived = place.client().await.drain(&place.queue).await;
    assert_complete_and_in_order(&events, &arrived);
}

#[tokio::test]
async fn a_routing_key_that_is_too_long_rejects_its_event_and_holds_back_its_conversation() {
    let place = Place::new("long-key");
    let broker = place.broker("exchange_type: topic\nrouting_key: $sender_id.$sender_id");
    let (long, short) = ("x".repeat(200), "short");
    let events = [event(1, &long, "a"), event(2, short, "b"), event(3, &long, "c")];
    let outcomes = broker.publish(&batch(&events, &key())).await;
    assert!(matches!(&outcomes[0], Outcome::Reject { reason } if reason.contains("401 bytes")), "{outcomes:?}");
    assert_eq!(outcomes[1], Outcome::Delivered);
    assert!(matches!(&outcomes[2], Outcome::Retry { .. }), "{outcomes:?}");
    assert_eq!(data(&place.take(1).await), bodies(&events[1..2]));
}

#[test]
fn a_password_is_shown_nowhere() {
    let yaml = "url: amqp://u:hunter2@h\nusername: u\npassword: hunter2";
    let (broker, said) = read(yaml, |section| AmqpBroker::from_section(section, Path::new("/nowhere"), &|_| None));
    assert!(!format!("{broker:?} {said:?}").contains("hunter2"));
}
