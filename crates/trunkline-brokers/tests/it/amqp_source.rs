//! RabbitMQ as a source.

use futures_util::FutureExt as _;
use trunkline_core::{Broker as _, Reader, Received, Source as _};

use crate::amqp_common::{PATIENCE, Place, bodies, data, source};
use crate::common::{batch, deliver, journal, key};

/// Receives until there are `count`.
async fn receive(reader: &mut dyn Reader, count: usize) -> Vec<Received> {
    let mut received = Vec::new();
    while received.len() < count {
        let next = tokio::time::timeout(PATIENCE, reader.receive()).await.expect("in time");
        received.extend(next.unwrap().expect("a queue has no end"));
    }
    assert_eq!(received.len(), count);
    received
}

fn bodies_of(received: &[Received]) -> Vec<Vec<u8>> {
    received.iter().map(|received| received.body.to_vec()).collect()
}

#[tokio::test]
async fn what_was_published_is_read_with_its_id_and_comes_again_until_it_is_settled() {
    let place = Place::new("source");
    let (broker, source, events) = (place.broker(""), place.source("prefetch: 10"), journal(40));
    assert_eq!(source.place().to_string(), format!("queue {} at 127.0.0.1:{}", place.queue, place.port));
    deliver(&broker, &batch(&events, &key())).await;

    let mut reader = source.open().await.unwrap();
    let first = receive(&mut *reader, 10).await;
    assert_eq!(bodies_of(&first), bodies(&events[..10]));
    for (received, event) in first.iter().zip(&events) {
        assert_eq!(received.id.as_deref(), Some(event.id.to_string().as_str()));
    }
    assert_eq!(first[2].origin, format!("queue {}, delivery 3", place.queue));
    reader.settle().await.unwrap();
    let second = receive(&mut *reader, 10).await;
    assert_eq!(bodies_of(&second), bodies(&events[10..20]));
    drop(reader);
    place.until_it_holds(30).await;

    let mut reader = source.open().await.unwrap();
    let mut again = Vec::new();
    for _ in 0..3 {
        again.extend(receive(&mut *reader, 10).await);
        reader.settle().await.unwrap();
        reader.settle().await.unwrap();
    }
    assert_eq!(bodies_of(&again), bodies(&events[10..]));
    assert_eq!(again[0].id, second[0].id, "it keeps its id");
    drop(reader);
    assert_eq!(place.client().await.drain(&place.queue).await, []);
}

#[tokio::test]
async fn several_queues_are_read_and_settled_each_for_itself() {
    let place = Place::new("source-several");
    let queues = [format!("{}-a", place.queue), format!("{}-b", place.queue)];
    let list = format!("queues: [{}, {}]", queues[0], queues[1]);
    let both = |yaml: String| yaml.replace(&format!("queues: {}", place.queue), &list);
    let events = journal(30);
    deliver(&crate::amqp_common::broker(&both(place.yaml(""))), &batch(&events, &key())).await;
    let yaml = format!("url: amqp://127.0.0.1:{}\nusername: trunkline\npassword: a secret/50%\n{list}", place.port);
    let mut reader = source(&yaml).open().await.unwrap();
    let received = receive(&mut *reader, 60).await;
    for queue in &queues {
        let of_queue = received.iter().filter(|received| received.origin.contains(queue.as_str()));
        assert_eq!(of_queue.map(|received| received.body.to_vec()).collect::<Vec<_>>(), bodies(&events));
    }
    reader.settle().await.unwrap();
    drop(reader);
    for queue in &queues {
        assert_eq!(place.client().await.drain(queue).await, []);
    }
}

#[tokio::test]
async fn giving_up_waiting_loses_nothing() {
    let place = Place::new("source-cancel");
    let (broker, events) = (place.broker(""), journal(60));
    deliver(&broker, &batch(&events[..1], &key())).await;
    let mut reader = place.source("").open().await.unwrap();
    let mut received = receive(&mut *reader, 1).await;
    let mut given_up = 0;
    for part in events[1..].chunks(10) {
        let part = batch(part, &key());
        let mut publishing = std::pin::pin!(deliver(&broker, &part));
        // While messages arrive, it waits for a moment again and again.
        while (&mut publishing).now_or_never().is_none() {
            match reader.receive().now_or_never() {
                Some(next) => received.extend(next.unwrap().expect("a queue has no end")),
                None => given_up += 1,
            }
            tokio::task::yield_now().await;
        }
    }
    assert!(given_up > 0);
    let missing = events.len() - received.len();
    received.extend(receive(&mut *reader, missing).await);
    assert_eq!(bodies_of(&received), bodies(&events));
    broker.close().await;
}

#[tokio::test]
async fn asking_whether_it_is_ready_takes_nothing_and_disturbs_nobody() {
    let place = Place::new("source-ready");
    let (broker, source, events) = (place.broker(""), place.source("prefetch: 5"), journal(20));
    deliver(&broker, &batch(&events, &key())).await;
    let mut reader = source.open().await.unwrap();
    receive(&mut *reader, 5).await;
    assert_eq!(source.is_ready().await, Ok(()));
    reader.settle().await.unwrap();
    receive(&mut *reader, 5).await;
    reader.settle().await.unwrap();
    assert_eq!(source.is_ready().await, Ok(()));
    drop(reader);
    place.until_it_holds(10).await;
    // Five were sent ahead to the reader; nobody has seen the others.
    let left = place.take(10).await;
    assert_eq!(data(&left), bodies(&events[10..]));
    assert!(left[5..].iter().all(|message| !message.redelivered));
}

#[tokio::test]
async fn a_queue_that_is_not_there_is_named_and_not_created() {
    let place = Place::new("source-missing");
    for _ in 0..2 {
        let said = place.source("").open().await.map(drop).unwrap_err();
        assert_eq!(place.source("").is_ready().await.unwrap_err(), said);
        assert!(said.contains(&format!("cannot read from the queue `{}`", place.queue)), "{said}");
        assert!(said.contains("NOT_FOUND"), "{said}");
    }
}

#[tokio::test]
async fn a_queue_that_is_deleted_while_it_is_read_ends_the_reader() {
    let place = Place::new("source-deleted");
    let broker = place.broker("");
    deliver(&broker, &batch(&journal(1), &key())).await;
    let mut reader = place.source("").open().await.unwrap();
    receive(&mut *reader, 1).await;
    place.client().await.delete_queue(&place.queue).await;
    let said = tokio::time::timeout(PATIENCE, reader.receive()).await.unwrap().unwrap_err();
    assert!(said.contains("was deleted"), "{said}");
    deliver(&broker, &batch(&journal(1), &key())).await;
    assert_eq!(data(&place.take(1).await).len(), 1);
}
