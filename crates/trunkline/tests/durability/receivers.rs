//! Receivers on real servers: what to write into `endpoints.yml`, and what has arrived there.

use std::collections::{HashMap, HashSet};
use std::process::Stdio;

use serde::Deserialize;
use serde_json::Value;
use tokio::process::Command;
use trunkline_testkit::{python, services};

const CONSUME: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/consumers/consume.py");

/// A queue, topic, database or key of a server, for one test alone.
#[derive(Clone, Debug)]
pub(crate) struct Receiver {
    /// The name of the broker, and of what reads it back.
    pub(crate) name: &'static str,
    port: u16,
    place: String,
}

/// An event as a receiver has it.
#[derive(Debug, Deserialize)]
pub(crate) struct Arrived {
    /// Our id of it, where the receiver keeps one.
    id: Option<String>,
    body: String,
}

impl Receiver {
    /// `place` is made of letters, digits and `_`, and new.
    pub(crate) fn new(name: &'static str, port: u16, place: &str) -> Self {
        Self { name, port, place: place.to_owned() }
    }

    /// The port of its server.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The name of the queue, topic, database or key.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Whether an event is there once, whatever happens.
    pub(crate) fn is_exactly_once(&self) -> bool {
        matches!(self.name, "postgresql" | "mariadb" | "redis")
    }

    /// Its element of the list `event_broker`.
    pub(crate) fn section(&self) -> String {
        let Self { name, port, place } = self;
        let (user, password) = (services::USER, services::PASSWORD);
        let credentials = format!("username: \"{user}\"\n    password: \"{password}\"");
        let rest = match *name {
            "rabbitmq" => {
                format!(
                    "type: pika\n    url: 127.0.0.1\n    port: {port}\n    {credentials}\n    queues: [{place}]\n    exchange_name: {place}"
                )
            }
            "kafka" => {
                format!(
                    "type: kafka\n    security_protocol: PLAINTEXT\n    url: 127.0.0.1:{port}\n    topic: {place}\n    partition_by_sender: true"
                )
            }
            "postgresql" | "mariadb" => {
                let dialect = if *name == "mariadb" { "mysql+pymysql" } else { "postgresql" };
                format!(
                    "type: sql\n    dialect: {dialect}\n    url: 127.0.0.1\n    port: {port}\n    db: {place}\n    {credentials}"
                )
            }
            "redis" => format!("type: redis\n    url: redis://127.0.0.1:{port}\n    {credentials}\n    key: {place}"),
            other => panic!("{other}"),
        };
        format!("  - name: {name}\n    {rest}\n")
    }

    /// Makes what the broker does not make by itself: the database.
    pub(crate) async fn prepare(&self) {
        if !matches!(self.name, "postgresql" | "mariadb") {
            return;
        }
        let create = match self.name {
            "postgresql" => {
                "import psycopg,sys,os; psycopg.connect(host='127.0.0.1', port=int(sys.argv[1]), dbname='trunkline', \
                 user=os.environ['RECEIVER_USER'], password=os.environ['RECEIVER_PASSWORD'], autocommit=True)\
                 .execute('CREATE DATABASE ' + sys.argv[2])"
            }
            _ => {
                "import pymysql,sys,os; pymysql.connect(host='127.0.0.1', port=int(sys.argv[1]), \
                 user=os.environ['RECEIVER_USER'], password=os.environ['RECEIVER_PASSWORD'])\
                 .cursor().execute('CREATE DATABASE ' + sys.argv[2])"
            }
        };
        run(&["-c", create, &self.port.to_string(), &self.place]).await;
    }

    /// Everything that is there, in its order, read with the client that people in the field use.
    pub(crate) async fn arrived(&self) -> Vec<Arrived> {
        let output = run(&[CONSUME, self.name, &self.port.to_string(), &self.place]).await;
        output.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

async fn run(arguments: &[&str]) -> String {
    let mut command = Command::new(python());
    command.args(arguments).env("RECEIVER_USER", services::USER).env("RECEIVER_PASSWORD", services::PASSWORD);
    let output = command.stderr(Stdio::inherit()).output().await.unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Every expected event arrived, and each conversation's for the first time in their order; what arrived twice has the same id both
/// times. Gives the number of duplicates.
pub(crate) fn assert_complete_and_in_order(what: &str, arrived: &[Arrived], expected: &[String]) -> usize {
    let mut bodies: HashMap<&str, &str> = HashMap::new();
    let mut ids: HashMap<&str, &str> = HashMap::new();
    for Arrived { id, body } in arrived {
        let Some(id) = id else { continue };
        assert_eq!(*bodies.entry(id).or_insert(body), body, "{what}: two events with the id {id}");
        assert_eq!(*ids.entry(body).or_insert(id), id, "{what}: two ids of the event {body}");
    }
    let mut seen = HashSet::new();
    let firsts: Vec<&str> = arrived.iter().map(|event| event.body.as_str()).filter(|body| seen.insert(*body)).collect();
    let (found, wanted) = (by_conversation(&firsts), by_conversation(&expected.iter().map(String::as_str).collect::<Vec<_>>()));
    for (conversation, wanted) in &wanted {
        let none = Vec::new();
        let found = found.get(conversation).unwrap_or(&none);
        if let Some(at) = (0..wanted.len()).find(|at| found.get(*at) != wanted.get(*at)) {
            panic!("{what}: conversation {conversation} at {at}: {:?} in place of {}", found.get(at), wanted[at]);
        }
    }
    assert_eq!(firsts.len(), expected.len(), "{what}: it has what nobody sent");
    arrived.len() - firsts.len()
}

fn by_conversation<'a>(bodies: &[&'a str]) -> HashMap<String, Vec<&'a str>> {
    let mut conversations: HashMap<String, Vec<&str>> = HashMap::new();
    for body in bodies {
        let event: Value = serde_json::from_str(body).unwrap();
        let conversation = event["sender_id"].as_str().or_else(|| event["conversation_id"].as_str());
        conversations.entry(conversation.unwrap().to_owned()).or_default().push(body);
    }
    conversations
}

/// A name for a queue, topic, database or key that nobody else uses.
pub(crate) fn unique(prefix: &str) -> String {
    format!("trunkline_{prefix}_{:x}", fastrand::u64(..))
}
