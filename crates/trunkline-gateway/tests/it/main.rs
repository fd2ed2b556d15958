//! A gateway put together in code, on a journal that does wrong when it is told to.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod contradictions;
mod maybe;

use std::future::pending;

use serde_json::{Value, json};
use trunkline_gateway::{ApiPlan, Gateway, Plan, ServerPlan, Stopped};
use trunkline_journal::{Faults, Journal, Options};

/// A gateway whose assistant says what it hears, and its journal's faults.
async fn start() -> (Gateway, Faults) {
    let plan = Plan {
        server: ServerPlan { interface: "127.0.0.1".to_owned(), port: 0, ..ServerPlan::default() },
        api: ApiPlan { enabled: true, ..ApiPlan::default() },
        ..Plan::new("/nowhere")
    };
    let (_, appender, faults) = Journal::in_memory(Options::default());
    (Gateway::start_on(plan, appender).await.unwrap(), faults)
}

async fn stop(gateway: Gateway) {
    assert_eq!(gateway.stop(pending()).await, Stopped::Drained);
}

/// Posts `body` under an `Idempotency-Key`; the status and the answer.
async fn post(gateway: &Gateway, path: &str, body: &Value, key: &str) -> (u16, Value) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.post(format!("http://{}{path}", gateway.address())).json(body).header("idempotency-key", key);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_else(|_| json!(null)))
}
