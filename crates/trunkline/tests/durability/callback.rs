//! What is said to people through a channel that posts it, whatever dies in between.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use rustix::process::Signal;
use serde_json::Value;
use trunkline_testkit::http::{Heard, Server};
use trunkline_testkit::{Program, Project};

use super::clients::{Clients, Way};
use super::{BINARY, arrived, random, until, variable};

/// A request that arrived.
#[derive(Clone, Debug)]
struct Post {
    id: String,
    conversation: String,
    text: String,
    is_accepted: bool,
}

type Posts = Arc<Mutex<Vec<Post>>>;

/// Writes down every reply that arrives, and answers every third with an error all the same.
async fn sink(posts: &Posts) -> Server {
    let posts = Arc::clone(posts);
    Server::start(move |heard: Heard| {
        let mut posts = posts.lock().unwrap();
        let is_accepted = posts.len() % 3 != 2;
        if heard.method == "POST" {
            let body: Value = serde_json::from_slice(&heard.body).unwrap();
            let text = |key: &str| body[key].as_str().unwrap().to_owned();
            let id = heard.header("webhook-id").to_owned();
            posts.push(Post { id, conversation: text("recipient_id"), text: text("text"), is_accepted });
        }
        let status = if is_accepted { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
        async move { status.into_response() }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_arrive_in_order_and_repetitions_bear_their_ids_whatever_is_killed() {
    let (rounds, mut random) = (variable("TRUNKLINE_KILLS").unwrap_or(8), random());
    let posts = Posts::default();
    let server = sink(&posts).await;
    let project = Project::new()
        .file("credentials.yml", &format!("callback: {{url: 'http://{}/'}}\nrest:\n", server.address))
        .file("endpoints.yml", "event_broker: {type: file, path: events.log}\n");
    let mut clients = Clients::new(16, &[Way::Callback, Way::Message, Way::Callback, Way::Events]);
    for _ in 0..rounds {
        let program = Arc::new(Program::start(BINARY, project.directory()).await);
        let (seen, running) = clients.start(&program);
        let (acknowledged, arrived) = (random.u64(1..200), posts.lock().unwrap().len() + random.usize(0..40));
        until("enough is acknowledged", async || seen.acknowledged() >= acknowledged).await;
        until("enough has arrived", async || posts.lock().unwrap().len() >= arrived).await;
        program.signal(Signal::KILL);
        clients = running.await.unwrap();
        Arc::into_inner(program).unwrap().ended().await;
    }
    let program = Arc::new(Program::start(BINARY, project.directory()).await);
    let clients = clients.finish(&program).await;
    program.settled().await;
    program.settled_by("channel:callback").await;
    let exit = Arc::into_inner(program).unwrap().stop().await;
    arrived::assert_ended_well(&exit);
    arrived::assert_journal_has(&project.path(".trunkline"), &clients);

    let posts = std::mem::take(&mut *posts.lock().unwrap());
    let accepted = posts.iter().filter(|post| post.is_accepted).count();
    let (expected, ids) = (expected(&clients), assert_ids(&posts));
    println!(
        "{rounds} kills -9: {} replies, {} requests, {accepted} of them accepted, {} repetitions, each with its id",
        ids.len(),
        posts.len(),
        posts.len() - ids.len()
    );
    for accepted_only in [true, false] {
        let found = first_arrivals(posts.iter().filter(|post| post.is_accepted || !accepted_only));
        assert_eq!(found, expected, "accepted only: {accepted_only}");
    }
}

/// The texts of each conversation that must arrive, in order.
fn expected(clients: &Clients) -> BTreeMap<String, Vec<String>> {
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for client in &clients.all {
        for request in client.acknowledged.iter().filter(|request| request.way == Way::Callback) {
            expected.entry(request.conversation.clone()).or_default().push(request.token.clone());
        }
    }
    expected
}

/// The texts of each conversation in the order in which they came first.
fn first_arrivals<'p>(posts: impl Iterator<Item = &'p Post>) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for Post { conversation, text, .. } in posts {
        let texts = found.entry(conversation.clone()).or_default();
        if !texts.contains(text) {
            texts.push(text.clone());
        }
    }
    found
}

/// Each reply has one id, and each id is of one reply. Answers the ids.
fn assert_ids(posts: &[Post]) -> HashMap<&str, (&str, &str)> {
    let (mut of_id, mut of_reply) = (HashMap::new(), HashMap::new());
    for Post { id, conversation, text, .. } in posts {
        let reply = (conversation.as_str(), text.as_str());
        assert_eq!(*of_id.entry(id.as_str()).or_insert(reply), reply, "{id}");
        assert_eq!(*of_reply.entry(reply).or_insert(id.as_str()), id.as_str(), "{reply:?}");
    }
    of_id
}
