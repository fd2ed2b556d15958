//! The examples in other languages, with the events of a real Rasa.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use trunkline_core::{Event, Outcome};
use trunkline_testkit::python;

use crate::common::{batch, deliver, event, key, reason};
use crate::exec::build;
use crate::exec_python::{assert_arrived, fixture, with_endless_number};

fn example(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/brokers").join(file)
}

#[tokio::test]
async fn the_one_in_python_keeps_each_message_once() {
    let directory = tempfile::tempdir().unwrap();
    let script = example("exec-python/broker.py");
    let yaml = format!("type: exec\ncommand: [{}, {}]\nsettings: {{database: kept.db}}", python().display(), script.display());
    let broker = build(&yaml, directory.path());
    broker.is_ready().await.unwrap();
    let events = fixture();
    deliver(&*broker, &batch(&events, &key())).await;
    // Those that come again change nothing.
    deliver(&*broker, &batch(&events[500..], &key())).await;
    let outcomes = broker.publish(&batch(&[with_endless_number(&events[0])], &key())).await;
    assert!(reason(&outcomes[0]).contains("4300"), "{outcomes:?}");
    assert!(matches!(outcomes[0], Outcome::Reject { .. }));
    broker.close().await;
    let messages: Vec<&Arc<Event>> = events.iter().filter(|event| ["user", "bot"].contains(&event.event_type.as_str())).collect();
    let database = rusqlite::Connection::open(directory.path().join("kept.db")).unwrap();
    let mut statement = database.prepare("SELECT id, conversation FROM messages ORDER BY conversation, rowid").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let kept: Vec<(String, String)> = rows.collect::<Result<_, _>>().unwrap();
    let mut expected: Vec<_> = messages.iter().map(|event| (event.id.to_string(), event.conversation.to_string())).collect();
    expected.sort_by(|one, other| one.1.cmp(&other.1));
    assert_eq!(kept, expected);
}

/// What was posted: the idempotency key and the body.
type Posted = Arc<Mutex<Vec<(String, String)>>>;

/// Takes HTTP requests one by one on each connection, and answers by the text of the event.
async fn receive(listener: TcpListener, posted: Posted) {
    // They end with this.
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.spawn(answer(stream, Arc::clone(&posted)));
    }
}

async fn answer(stream: TcpStream, posted: Posted) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut length, mut id, mut line) = (0, None, String::new());
        let mut method = None;
        while line != "\r\n" {
            line.clear();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            method.get_or_insert_with(|| line.split(' ').next().unwrap_or_default().to_owned());
            let (name, value) = line.trim_end().split_once(": ").unwrap_or_default();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap(),
                "idempotency-key" => id = Some(value.to_owned()),
                _ => {}
            }
        }
        if method.as_deref() == Some("HEAD") {
            stream.write_all(b"HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 3\r\n\r\n").await.ok()?;
            continue;
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        let body = String::from_utf8(body).unwrap();
        let status = match serde_json::from_str::<Value>(&body).unwrap()["text"].as_str().unwrap_or_default() {
            "too large" => "413 Content Too Large",
            "busy" => "503 Service Unavailable\r\nretry-after: 3",
            _ => "204 No Content",
        };
        if let Some(id) = id
            && status.starts_with("204")
        {
            posted.lock().unwrap().push((id, body));
        }
        let length = if status.starts_with("204") { "" } else { "content-length: 0\r\n" };
        stream.write_all(format!("HTTP/1.1 {status}\r\n{length}\r\n").as_bytes()).await.ok()?;
    }
}

#[tokio::test]
async fn the_one_in_node_posts_each_event_in_the_order_of_its_conversation() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let posted = Posted::default();
    let receiver = tokio::spawn(receive(listener, Arc::clone(&posted)));
    let directory = tempfile::tempdir().unwrap();
    let script = example("exec-node/broker.js");
    let yaml = format!("type: exec\ncommand: [node, {}]\nsettings: {{url: 'http://{address}/events'}}", script.display());
    let broker = build(&yaml, directory.path());
    broker.is_ready().await.expect("Node.js is there; if not, scripts/interpreters installs it");
    let events = fixture();
    deliver(&*broker, &batch(&events, &key())).await;
    let taken = std::mem::take(&mut *posted.lock().unwrap());
    let bodies: Vec<&str> = taken.iter().map(|(_, body)| body.as_str()).collect();
    assert_arrived(&bodies.join("\n"), &events);
    assert!(events.iter().all(|event| taken.iter().filter(|(id, _)| *id == event.id.to_string()).count() == 1));

    let odd = [event(1, "a", "too large"), event(2, "b", "busy"), event(3, "c", "fine")];
    let outcomes = broker.publish(&batch(&odd, &key())).await;
    assert_eq!(outcomes[0], Outcome::Reject { reason: "the receiver answered 413".to_owned() });
    let after = Some(Duration::from_secs(3));
    assert_eq!(outcomes[1], Outcome::Retry { after, reason: "the receiver answered 503".to_owned() });
    assert_eq!(outcomes[2], Outcome::Delivered);
    receiver.abort();
    assert!(receiver.await.unwrap_err().is_cancelled());
    let error = broker.is_ready().await.unwrap_err();
    assert!(error.contains("is not ready: "), "{error}");
    assert!(!reason(&broker.publish(&batch(&odd[2..], &key())).await[0]).is_empty());
    broker.close().await;
}

#[tokio::test]
async fn the_class_writes_its_rows() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::copy(example("python-class/my_brokers.py"), directory.path().join("my_brokers.py")).unwrap();
    let section = std::fs::read_to_string(example("python-class/endpoints.yml")).unwrap();
    let yaml = section.strip_prefix("event_broker:\n").unwrap().replace("\n  ", "\n");
    let broker = build(yaml.trim(), directory.path());
    broker.is_ready().await.unwrap();
    let events = fixture();
    deliver(&*broker, &batch(&events, &key())).await;
    broker.close().await;
    let rows = std::fs::read_to_string(directory.path().join("events.csv")).unwrap();
    assert!(rows.lines().filter(|row| row.contains(';')).count() >= events.len());
    assert!(rows.starts_with(&format!("{};", events[0].conversation)), "{}", rows.lines().next().unwrap());
}
