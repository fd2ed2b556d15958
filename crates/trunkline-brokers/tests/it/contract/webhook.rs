//! Webhooks, with one event in a request and with batches.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::value::RawValue;
use tokio::sync::watch;
use trunkline_core::Broker;
use trunkline_testkit::contract::{self, Arrived, Subject};
use trunkline_testkit::contract_tests;
use trunkline_testkit::http::{Authority, Heard, Served, Server};

use crate::webhook::{broker, broker_for, status};

/// Holds what every receiver that is put in its place remembers.
struct Receiver {
    server: Server,
    content: &'static str,
    taken: Arc<Mutex<Vec<Heard>>>,
    is_up: watch::Sender<bool>,
}

impl Receiver {
    async fn new(content: &'static str) -> Self {
        let taken: Arc<Mutex<Vec<Heard>>> = Arc::default();
        let (is_up, watched) = watch::channel(true);
        let list = Arc::clone(&taken);
        let server = Server::start(move |heard| {
            let code = match &*watched.borrow() {
                false => 503,
                true if heard.method != "POST" => 204,
                true if String::from_utf8_lossy(&heard.body).contains("poison") => 422,
                true => {
                    list.lock().unwrap().push(heard);
                    200
                }
            };
            async move { status(code) }
        })
        .await;
        Self { server, content, taken, is_up }
    }
}

#[async_trait]
impl Subject for Receiver {
    fn broker(&self) -> Arc<dyn Broker> {
        broker_for(&self.server, &format!("content: {}", self.content))
    }

    async fn arrived(&self) -> Vec<Arrived> {
        let taken = self.taken.lock().unwrap().clone();
        taken.iter().flat_map(|heard| if self.content == "batch" { several(heard) } else { vec![one(heard)] }).collect()
    }

    fn is_exactly_once(&self) -> bool {
        false
    }
}

fn one(heard: &Heard) -> Arrived {
    Arrived { body: heard.body.to_vec(), id: Some(heard.header("webhook-id").to_owned()) }
}

fn several(heard: &Heard) -> Vec<Arrived> {
    let bodies: Vec<&RawValue> = serde_json::from_slice(&heard.body).unwrap();
    let ids: Vec<&str> = heard.header("trunkline-event-ids").split(',').collect();
    assert_eq!(bodies.len(), ids.len());
    bodies.iter().zip(ids).map(|(body, id)| Arrived { body: body.get().into(), id: Some(id.to_owned()) }).collect()
}

mod single {
    use super::*;

    contract_tests!(Receiver::new("single").await);
}

mod batch {
    use super::*;

    contract_tests!(Receiver::new("batch").await);
}

#[tokio::test]
async fn a_receiver_that_is_overloaded_for_a_while() {
    for content in ["single", "batch"] {
        let receiver = Receiver::new(content).await;
        let turn = async |is_up| {
            receiver.is_up.send_replace(is_up);
        };
        contract::outage(&receiver, turn(false), turn(true)).await;
    }
}

#[tokio::test]
async fn a_receiver_that_goes_and_comes_back_under_load() {
    for content in ["single", "batch"] {
        let receiver = Receiver::new(content).await;
        let again_and_again = async {
            for is_up in [false, true].into_iter().cycle().take(20) {
                receiver.is_up.send_replace(is_up);
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        contract::fault_under_load(&receiver, again_and_again).await;
    }
}

#[tokio::test]
async fn an_event_that_the_receiver_refuses() {
    for content in ["single", "batch"] {
        contract::poison(&Receiver::new(content).await, r#"{"sender_id": "user4", "event": "poison"}"#).await;
    }
}

#[tokio::test]
async fn a_receiver_that_lets_nobody_in_and_one_that_nobody_trusts() {
    let server = Server::start(|_| async { status(401) }).await;
    let strict =
        broker_for(&server, "token: hunter2\nbasic_auth: {username: me, password: passw0rd}\nsecret: whsec_c3JjcjNjcjN0");
    let place = server.address.to_string();
    contract::refused(&*strict, &[&place, "401", "`basic_auth`"], &["hunter2", "passw0rd", "whsec_c3JjcjNjcjN0", "bWU6"]).await;

    let directory = tempfile::tempdir().unwrap();
    let files = Authority::new(directory.path(), "ours").sign("localhost", false);
    let server = Server::start_tls(&Served { files, clients_of: None }, |_| async { status(200) }).await;
    let wary = broker(&format!("https://me:hunter2@localhost:{}/?t=hunter2", server.address.port()), "");
    contract::refused(&*wary, &["https://localhost:", "`cafile`"], &["hunter2"]).await;
}
