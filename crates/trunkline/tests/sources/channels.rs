//! A filter of channels lets whole conversations through, whoever brought their events.

use trunkline_testkit::{Project, file_events};

use super::queue::Queue;
use super::{start, stop, until, written};

fn line(conversation: &str, event: &str, rest: &str) -> String {
    format!(r#"{{"sender_id": "{conversation}", "event": "{event}", "timestamp": 1.5{rest}}}"#)
}

fn user(conversation: &str, channel: &str) -> String {
    line(conversation, "user", &format!(r#", "text": "hi", "input_channel": "{channel}""#))
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_do_not_say_their_channel_have_that_of_their_conversation() {
    let brokers = "event_broker: {type: file, path: events.log, filter: {channels: [rest]}}\n";
    let (project, queue) = (Project::new().file("endpoints.yml", brokers), Queue::default());
    let bot = |conversation: &str| line(conversation, "bot", r#", "text": "yes""#);
    // As a Rasa publishes a turn: only the user's event names the channel, and others stand before it.
    let turns = [
        line("ann", "session_started", ""),
        line("bob", "session_started", ""),
        user("ann", "rest"),
        bot("ann"),
        user("bob", "cmdline"),
        bot("bob"),
    ];
    let mut number = 0;
    let mut push = |lines: &[String]| {
        for line in lines {
            number += 1;
            queue.push(Some(&format!("m{number}")), line.clone());
        }
    };
    push(&turns);
    let gateway = start(&project, &queue).await;
    until("they are settled", async || queue.settled() == 6).await;
    stop(gateway).await;
    // A gateway that knows nothing but its journal.
    push(&[bot("bob"), bot("ann"), user("bob", "rest"), bot("bob")]);
    let gateway = start(&project, &queue).await;
    until("they are settled", async || queue.settled() == 10).await;
    let log = project.path("events.log");
    until("the broker has them", async || written(&log) >= 6).await;
    let expected = [turns[0].clone(), turns[2].clone(), turns[3].clone(), bot("ann"), user("bob", "rest"), bot("bob")];
    assert_eq!(file_events(&log), expected);
    stop(gateway).await;
}
