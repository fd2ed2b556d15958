//! The bare client libraries, as well as they can be used for the same batches and the same certainty.

use std::{
    fs::File,
    future::Future,
    io::Write as _,
    pin::Pin,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures_util::future::try_join_all;
use lapin::{
    BasicProperties, Connection, ConnectionProperties, ExchangeKind,
    options::{BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::FieldTable,
};
use sqlx::{Connection as _, postgres::PgConnectOptions};
use trunkline_core::NewEvent;

use super::{BATCH, CONVERSATIONS, Place, TURN};
use crate::{ingest, request::user_event};

/// Sends one batch and waits until it is certain.
pub(super) type Send = Box<dyn FnMut(Vec<NewEvent>) -> Pin<Box<dyn Future<Output = anyhow::Result<()>>>>>;
/// Connects.
pub(super) type Connect = fn(Place) -> Pin<Box<dyn Future<Output = anyhow::Result<Send>>>>;

const USER: &str = "trunkline";
const PASSWORD: &str = "a secret/50%";

/// How many events a second one batch after another makes.
pub(super) async fn rate(connect: Connect, place: &Place, duration: Duration) -> anyhow::Result<f64> {
    let batch = (0..BATCH).map(|number| event(number / TURN % CONVERSATIONS)).collect::<Result<Vec<_>, _>>()?;
    let mut send = connect(place.clone()).await.context("the bare client failed to connect")?;
    send(batch.clone()).await?;
    let (began, mut batches) = (Instant::now(), 0_u32);
    while began.elapsed() < duration {
        send(batch.clone()).await?;
        batches += 1;
    }
    Ok(f64::from(batches) * BATCH as f64 / began.elapsed().as_secs_f64())
}

/// An event of the usual size, in the conversation of this number.
pub(super) fn event(conversation: usize) -> anyhow::Result<NewEvent> {
    Ok(NewEvent::parse(user_event(ingest::USUAL_SIZE).as_ref(), Some(&format!("s{conversation:07}")), 1.0)?)
}

pub(super) fn rabbitmq(place: Place) -> Pin<Box<dyn Future<Output = anyhow::Result<Send>>>> {
    Box::pin(async move {
        let uri = format!("amqp://{USER}:a%20secret%2F50%25@127.0.0.1:{}/%2f", place.port);
        let connection = Connection::connect(&uri, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let name = place.name.as_str();
        let none = FieldTable::default;
        channel.exchange_declare(name.into(), ExchangeKind::Fanout, ExchangeDeclareOptions::default(), none()).await?;
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(name.into(), durable, none()).await?;
        channel.queue_bind(name.into(), name.into(), "".into(), QueueBindOptions::default(), none()).await?;
        let send: Send = Box::new(move |batch| {
            let (channel, _connection, exchange) = (channel.clone(), &connection, place.name.clone());
            Box::pin(async move {
                let mut confirms = Vec::with_capacity(batch.len());
                for event in batch {
                    let properties = BasicProperties::default().with_delivery_mode(2);
                    let options = BasicPublishOptions::default();
                    confirms.push(
                        channel.basic_publish(exchange.as_str().into(), "".into(), options, &event.body, properties).await?,
                    );
                }
                try_join_all(confirms).await?;
                Ok(())
            })
        });
        Ok(send)
    })
}

#[cfg(feature = "kafka")]
pub(super) fn kafka(place: Place) -> Pin<Box<dyn Future<Output = anyhow::Result<Send>>>> {
    use rdkafka::message::{Header, OwnedHeaders};
    use rdkafka::producer::{FutureProducer, FutureRecord};

    Box::pin(async move {
        let producer: FutureProducer = rdkafka::ClientConfig::new()
            .set("bootstrap.servers", format!("127.0.0.1:{}", place.port))
            .set("enable.idempotence", "true")
            .set("linger.ms", "1")
            .create()?;
        let send: Send = Box::new(move |batch| {
            let (producer, topic) = (producer.clone(), place.name.clone());
            Box::pin(async move {
                let mut confirms = Vec::with_capacity(batch.len());
                for event in &batch {
                    let header = |key, value| Header { key, value: Some(value) };
                    let headers = OwnedHeaders::new()
                        .insert(header("RASA_ENVIRONMENT", "RASA_ENVIRONMENT_NOT_SET"))
                        .insert(header("trunkline-event-id", "01890a5d-ac96-774b-bcce-b302099a8057"));
                    let record = FutureRecord::to(&topic).key(event.conversation.as_bytes()).payload(event.body.as_ref());
                    let record = record.headers(headers);
                    confirms.push(producer.send_result(record).map_err(|(error, _)| error)?);
                }
                for confirm in try_join_all(confirms).await? {
                    confirm.map_err(|(error, _)| error)?;
                }
                Ok(())
            })
        });
        Ok(send)
    })
}

fn postgresql_options(place: &Place, database: &str) -> PgConnectOptions {
    PgConnectOptions::new().host("127.0.0.1").port(place.port).username(USER).password(PASSWORD).database(database)
}

pub(super) async fn create_database(place: &Place) -> anyhow::Result<()> {
    let mut connection = sqlx::PgConnection::connect_with(&postgresql_options(place, USER)).await?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {}", place.name))).execute(&mut connection).await?;
    Ok(())
}

pub(super) fn postgresql(place: Place) -> Pin<Box<dyn Future<Output = anyhow::Result<Send>>>> {
    Box::pin(async move {
        let mut connection = sqlx::PgConnection::connect_with(&postgresql_options(&place, &place.name)).await?;
        let create = "CREATE TABLE events (id SERIAL PRIMARY KEY, sender_id VARCHAR(255), data TEXT)";
        sqlx::raw_sql(create).execute(&mut connection).await?;
        let connection = std::rc::Rc::new(tokio::sync::Mutex::new(connection));
        let send: Send = Box::new(move |batch| {
            let connection = std::rc::Rc::clone(&connection);
            Box::pin(async move {
                let senders: Vec<String> = batch.iter().map(|event| event.conversation.to_string()).collect();
                let bodies: Vec<String> = batch.iter().map(|event| String::from_utf8_lossy(&event.body).into_owned()).collect();
                let insert = "INSERT INTO events (sender_id, data) SELECT * FROM UNNEST($1::text[], $2::text[])";
                sqlx::query(insert).bind(senders).bind(bodies).execute(&mut *connection.lock().await).await?;
                Ok(())
            })
        });
        Ok(send)
    })
}

pub(super) fn redis(place: Place) -> Pin<Box<dyn Future<Output = anyhow::Result<Send>>>> {
    Box::pin(async move {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", place.port))?;
        let connection = client.get_multiplexed_async_connection().await?;
        let send: Send = Box::new(move |batch| {
            let (mut connection, key) = (connection.clone(), place.name.clone());
            Box::pin(async move {
                let mut pipe = redis::pipe();
                for event in &batch {
                    let (body, sender) = (event.body.as_ref(), event.conversation.as_bytes());
                    let fields: [(&str, &[u8]); 4] = [
                        ("id", &b"01890a5d-ac96-774b-bcce-b302099a8057"[..]),
                        ("sender_id", sender),
                        ("type", b"user"),
                        ("data", body),
                    ];
                    pipe.xadd(&key, "*", &fields).ignore();
                }
                Ok(pipe.query_async::<()>(&mut connection).await?)
            })
        });
        Ok(send)
    })
}

pub(super) fn sqlite(place: Place) -> Pin<Box<dyn Future<Output = anyhow::Result<Send>>>> {
    Box::pin(async move {
        let mut connection = rusqlite::Connection::open(place.directory.join(format!("{}.db", place.name)))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch("CREATE TABLE events (id INTEGER NOT NULL PRIMARY KEY, sender_id VARCHAR(255), data TEXT)")?;
        let send: Send = Box::new(move |batch| {
            let result = insert(&mut connection, &batch);
            Box::pin(async move { result })
        });
        Ok(send)
    })
}

fn insert(connection: &mut rusqlite::Connection, batch: &[NewEvent]) -> anyhow::Result<()> {
    let transaction = connection.transaction()?;
    let mut statement = transaction.prepare_cached("INSERT INTO events (sender_id, data) VALUES (?1, ?2)")?;
    for event in batch {
        statement.execute((event.conversation.as_str(), std::str::from_utf8(&event.body)?))?;
    }
    drop(statement);
    Ok(transaction.commit()?)
}

pub(super) fn file(place: Place) -> Pin<Box<dyn Future<Output = anyhow::Result<Send>>>> {
    Box::pin(async move {
        let mut file = File::create(place.directory.join(format!("{}.log", place.name)))?;
        let send: Send = Box::new(move |batch| {
            let mut lines = Vec::new();
            for event in &batch {
                lines.extend_from_slice(&event.body);
                lines.push(b'\n');
            }
            let result = file.write_all(&lines).and_then(|()| file.sync_data());
            Box::pin(async move { Ok(result?) })
        });
        Ok(send)
    })
}
