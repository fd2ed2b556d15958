//! A gateway put together in code: a RabbitMQ broker made from its arguments, connected, and added.
//!
//! `example-gateway DIRECTORY HOST PORT USERNAME PASSWORD QUEUE`: the journal lies below the directory, and every event of every
//! conversation goes to the queue.

use std::env;

use anyhow::{Context as _, anyhow, bail};
use serde_json::json;
use trunkline_gateway::{Adapters, Gateway, Plan, ServerPlan};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [directory, host, port, username, password, queue] = arguments.as_slice() else {
        bail!("expected DIRECTORY HOST PORT USERNAME PASSWORD QUEUE");
    };
    let rabbit = json!({
        "type": "pika",
        "name": "rabbit",
        "url": host,
        "port": port.parse::<u16>().context("PORT")?,
        "username": username,
        "password": password,
        "queues": [queue],
        "exchange_name": queue,
    });
    let rabbit = Adapters::default().broker(&rabbit)?;
    // The gateway would wait for a server that is not there yet; whoever starts this by hand wants to know now.
    rabbit.broker.is_ready().await.map_err(|reason| anyhow!(reason))?;

    let server = ServerPlan { interface: "127.0.0.1".to_owned(), port: 0, ..ServerPlan::default() };
    let plan = Plan { server, ..Plan::new(directory) }.with_broker(rabbit);
    let gateway = Gateway::start(plan).await?;
    report(format_args!("listening  http://{}", gateway.address()));
    tokio::signal::ctrl_c().await?;
    // What is under way is finished, unless somebody is in a hurry.
    gateway.stop(async { drop(tokio::signal::ctrl_c().await) }).await;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "where it listens is what was asked for")]
fn report(line: std::fmt::Arguments<'_>) {
    println!("{line}");
}
