//! Plans made in code that contradict themselves.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use trunkline_adapter::Concurrency;
use trunkline_channels::{Channel, Door, Rest};
use trunkline_core::{Batch, Broker, Outcome, Place, Reader, Source};
use trunkline_gateway::{BrokerPlan, Gateway, Plan, ServerPlan, SourcePlan, StartError};
use trunkline_journal::{Journal, Options};

/// A broker and a source that stand at one place.
struct At(Place);

#[async_trait]
impl Broker for At {
    async fn publish(&self, batch: &Batch) -> Vec<Outcome> {
        vec![Outcome::Delivered; batch.events.len()]
    }

    async fn is_ready(&self) -> Result<(), String> {
        Ok(())
    }

    fn writes_without_ids_to(&self) -> Option<Place> {
        Some(self.0.clone())
    }
}

#[async_trait]
impl Source for At {
    fn place(&self) -> Place {
        self.0.clone()
    }

    async fn open_at(&self, _position: Option<&str>) -> Result<Box<dyn Reader>, String> {
        Err("nobody is to open it".to_owned())
    }

    async fn is_ready(&self) -> Result<(), String> {
        Ok(())
    }
}

struct Called(&'static str);

impl Channel for Called {
    fn name(&self) -> &str {
        self.0
    }

    fn routes(&self, _mount: &str, _door: Door) -> Router {
        Router::new()
    }
}

fn broker(name: &str, place: impl Into<Place>) -> BrokerPlan {
    BrokerPlan::new(name, "double", Concurrency::Lanes(1), Arc::new(At(place.into())))
}

fn source(name: &str, place: impl Into<Place>) -> SourcePlan {
    SourcePlan { name: name.to_owned(), kind: "double", source: Arc::new(At(place.into())) }
}

/// What is said of a plan that does not start.
async fn refused(plan: Plan) -> String {
    let server = ServerPlan { interface: "127.0.0.1".to_owned(), port: 0, ..ServerPlan::default() };
    let (_, appender, _) = Journal::in_memory(Options::default());
    match Gateway::start_on(Plan { server, ..plan }, appender).await {
        Err(StartError::Contradiction(contradiction)) => contradiction.to_string(),
        other => panic!("{other:?}"),
    }
}

fn plan() -> Plan {
    Plan::new("/nowhere")
}

#[tokio::test]
async fn two_of_one_name_are_refused() {
    let brokers = vec![broker("a", "x"), broker("b", "y"), broker("a", "z")];
    let said = refused(Plan { brokers, ..plan() }).await;
    assert!(said.starts_with("two brokers are called `a`; "), "{said}");
    let said = refused(Plan { sources: vec![source("in", "x"), source("in", "y")], ..plan() }).await;
    assert!(said.starts_with("two sources are called `in`; "), "{said}");
    let said = refused(Plan { channels: vec![Arc::new(Rest), Arc::new(Called("rest"))], ..plan() }).await;
    assert!(said.starts_with("two channels are called `rest`; "), "{said}");
}

#[tokio::test]
async fn names_that_stand_for_something_else_are_refused() {
    let long = "x".repeat(65);
    for name in ["assistant", "channel:callback", "", ".hidden", "a/b", &long] {
        let said = refused(plan().with_broker(broker(name, "x"))).await;
        assert!(said.starts_with(&format!("no broker can be called `{name}`: ")), "{said}");
    }
    for name in ["{name}", "a b", "../x", ""] {
        let said = refused(Plan { channels: vec![Arc::new(Called(name))], ..plan() }).await;
        assert!(said.starts_with(&format!("no channel can be called `{name}`: ")), "{said}");
    }
}

#[tokio::test]
async fn a_source_does_not_read_what_a_broker_writes() {
    let sources = vec![source("in", "queue x at y"), source("again", "queue z at y")];
    let circle = Plan { sources, ..plan() }.with_broker(broker("out", "queue z at y"));
    assert_eq!(
        refused(circle).await,
        "source `again` reads the queue z at y that broker `out` writes; every event would be appended again, for ever"
    );
}

#[tokio::test]
async fn what_only_looks_alike_is_fine() {
    let plan = Plan { sources: vec![source("assistant", "x"), source("a", "y")], ..plan() }.with_broker(broker("a", "z"));
    let server = ServerPlan { interface: "127.0.0.1".to_owned(), port: 0, ..ServerPlan::default() };
    let (_, appender, _) = Journal::in_memory(Options::default());
    let gateway = Gateway::start_on(Plan { server, ..plan }, appender).await.unwrap();
    super::stop(gateway).await;
}
