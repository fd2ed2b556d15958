//! Expressions of Erlang, run inside a RabbitMQ server.

use std::path::Path;
use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::services::{self, Private};

/// Runs an expression in a server of a test's own, and gives what comes of it.
pub async fn eval(server: &Private, expression: &str) -> String {
    eval_at(server.directory(), server.port("rabbitmq"), expression).await
}

/// Runs an expression in the server that all tests share, and gives what comes of it.
pub async fn eval_shared(expression: &str) -> String {
    eval_at(&services::dir(), services::port("rabbitmq"), expression).await
}

/// Has the server remember the queues that it has now, although it is going to be killed.
///
/// RabbitMQ 3.10 may forget a durable queue, with all that it has confirmed, when it is killed soon after the queue was created: of
/// that it keeps a log, which it writes out later. Any client sees that; so here the log is written out at once.
pub async fn keep_queues(server: &Private) {
    assert_eq!(eval(server, "mnesia:dump_log().").await, "dumped");
}

/// Asks as another node of Erlang: `rabbitmqctl` is a virtual machine of its own, which takes seconds to start.
async fn eval_at(directory: &Path, port: u16, expression: &str) -> String {
    let base = port - 1;
    let cookie = std::fs::read_to_string(directory.join("rabbitmq/.erlang.cookie")).unwrap();
    let mut call = Command::new("erl_call")
        .args(["-sname", &format!("trunkline-{base}@localhost"), "-c", cookie.trim(), "-e"])
        .env("ERL_EPMD_PORT", (base + 4).to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    call.stdin.take().unwrap().write_all(format!("{expression}\n").as_bytes()).await.unwrap();
    let answer = String::from_utf8(call.wait_with_output().await.unwrap().stdout).unwrap();
    let value = answer.strip_prefix("{ok, ").and_then(|answer| answer.strip_suffix('}'));
    value.unwrap_or_else(|| panic!("{expression} {answer}")).to_owned()
}
