//! The channel of events that do not name one.

use crate::common::{Answered, event};

const REST: &str = r#", "input_channel": "rest""#;

#[tokio::test(flavor = "multi_thread")]
async fn the_channel_of_a_conversation_is_remembered_and_else_looked_up() {
    let directory = tempfile::tempdir().unwrap();
    let answered = Answered::at(directory.path()).await;
    let said = [event("ann", "x", ""), event("ann", "x", REST), event("bob", "x", ""), event("ann", "x", "")];
    let later = [event("ann", "x", ""), event("bob", "x", "")];
    answered.carry(&said, None).await;
    answered.carry(&later, None).await;
    answered.stop().await;
    let answered = Answered::at(directory.path()).await;
    answered.carry(&later, None).await;
    answered.carry(&[event("bob", "x", r#", "input_channel": "cmdline""#)], None).await;
    answered.carry(&later, None).await;
    let channels = |name: &'static str| {
        let answered = &answered;
        async move {
            let events = answered.events().await;
            let events = events.iter().filter(|event| event.conversation == name);
            events.map(|event| event.channel.clone().unwrap_or_default().to_string()).collect::<Vec<_>>()
        }
    };
    assert_eq!(channels("ann").await, ["rest"; 6]);
    assert_eq!(channels("bob").await, ["", "", "", "cmdline", "cmdline"]);
    answered.stop().await;
}
