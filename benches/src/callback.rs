//! Replies that are posted to a URL: from the first message until the last reply has arrived, in turn with REST on the same program.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::time;

use crate::{
    Bench,
    compare::{fresh, project},
    load::{self, Connection, Expect},
    report::{Aim, Figure, Report},
    request::{Template, rest_message},
    rest,
    server::Server,
};

/// Where messages are posted whose replies go to the URL.
const PATH: &str = "/webhooks/callback/webhook";
/// The subscription that posts them.
const SUBSCRIPTION: &str = "channel:callback";
/// How long the replies that are still owed may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Measures with every number of clients.
pub(crate) async fn measure(bench: &Bench, report: &mut Report) {
    for &clients in &bench.clients {
        eprintln!("measuring callback, {clients} clients");
        match rounds(bench, clients).await {
            Ok((rest, callback)) => {
                let ratios = callback.iter().zip(&rest).map(|(callback, rest)| callback / rest).collect();
                let aim = (clients == 64).then_some(Aim::AtLeast(0.5));
                for (what, unit, samples, aim) in [
                    ("messages answered by REST", "/s", rest, None),
                    ("replies posted by callback", "/s", callback, None),
                    ("callback against REST", "ratio", ratios, aim),
                ] {
                    report.figures.push(Figure::new("callback", format!("{clients} clients, {what}"), unit, samples, aim));
                }
            }
            Err(error) => report.fail(&format!("callback, {clients} clients"), &error),
        }
    }
}

/// The rate of REST and the rate of replies posted, for each round.
async fn rounds(bench: &Bench, clients: u16) -> anyhow::Result<(Vec<f64>, Vec<f64>)> {
    let home = fresh(&bench.dir)?;
    let project = project(&home);
    let sink = Server::constant(&project).await?;
    let credentials = format!("rest:\ncallback:\n  url: http://{}{}\n", sink.address, rest::PATH);
    fs::write(project.join("credentials.yml"), credentials)?;
    let server = Server::trunkline(&bench.binary, &project).await?;
    let (mut rest, mut callback) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        let template = Template::post(rest::PATH, &rest_message());
        rest.push(load::run(&server, &template, Expect::Messages, clients, bench.duration).await?.rate);
        server.settle().await?;
        callback.push(posted(&server, clients, bench.duration).await?);
        server.settle().await?;
    }
    server.stop().await?;
    sink.stop().await?;
    Ok((rest, callback))
}

/// Replies posted a second, until the last of them has arrived. The messages of the warm-up count too.
async fn posted(server: &Server, clients: u16, duration: Duration) -> anyhow::Result<f64> {
    let begin = Instant::now();
    let before = settled(server).await?.1;
    load::run(server, &Template::post(PATH, &rest_message()), Expect::Accepted, clients, duration).await?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (is_idle, settled) = settled(server).await?;
        if is_idle {
            // A turn of echo is three events, beside session starts, which are few.
            let replies = (settled - before) as f64 / 3.0;
            return Ok(replies / begin.elapsed().as_secs_f64());
        }
        ensure!(Instant::now() < deadline, "not every reply was posted in {} s", PATIENCE.as_secs());
        time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether every message is answered and every answer posted, and up to which offset.
async fn settled(server: &Server) -> anyhow::Result<(bool, u64)> {
    let mut connection = Connection::open(server.address).await?;
    let request = b"GET /status/ready HTTP/1.1\r\nhost: t\r\n\r\n";
    let ready: Value = serde_json::from_slice(connection.exchange(request).await?.body)?;
    let subscriptions = ready["subscriptions"].as_array().context("/status/ready lists no subscriptions")?;
    let below = |name: &str| {
        let subscription = subscriptions.iter().find(|it| it["name"] == name);
        subscription.and_then(|it| it["settled_below"].as_u64()).with_context(|| format!("there is no subscription {name}"))
    };
    let (posted, answered) = (below(SUBSCRIPTION)?, below("assistant")?);
    let owes = |name: &str| subscriptions.iter().any(|it| it["name"] == name && it["owed"] != 0);
    Ok((posted == answered && !owes(SUBSCRIPTION) && !owes("assistant"), posted))
}
