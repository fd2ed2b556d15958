//! A client that cannot be told whether its request was recorded, and sends it again.

use serde_json::{Value, json};
use trunkline_gateway::Gateway;
use trunkline_journal::{Limits, Status};

use super::{post, start, stop};

/// What a client does with 503: the same again until it is answered. The number of tries, and the answer.
async fn until_answered(gateway: &Gateway, path: &str, body: &Value) -> (u32, Value) {
    let mut tries = 0;
    loop {
        tries += 1;
        let (status, answer) = post(gateway, path, body, "k-1").await;
        if status < 300 {
            return (tries, answer);
        }
        assert_eq!(status, 503, "{answer}");
        let message = answer["message"].as_str().unwrap();
        if tries == 1 {
            assert!(message.contains("may have been recorded") && message.contains("Idempotency-Key"), "{message}");
        }
        let journal = gateway.partitions().home().journal();
        while journal.status() != Status::Available {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    }
}

async fn types(gateway: &Gateway) -> Vec<String> {
    let chunk = gateway.partitions().home().journal().read(1, Limits::default()).await.unwrap();
    chunk.events.iter().map(|event| event.event_type.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_sent_again_under_its_key_gets_one_answer_and_is_one_event() {
    for is_recorded in [true, false] {
        let (gateway, faults) = start().await;
        faults.lose_sight(is_recorded);
        let message = json!({"sender": "ann", "message": "hello"});
        let (tries, answer) = until_answered(&gateway, "/webhooks/rest/webhook", &message).await;
        assert_eq!((tries, answer), (2, json!([{"recipient_id": "ann", "text": "hello"}])));
        let turn = ["action", "session_started", "action", "user", "bot", "action"];
        assert_eq!(types(&gateway).await, turn);
        stop(gateway).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_sent_again_under_their_key_are_recorded_once() {
    for is_recorded in [true, false] {
        let (gateway, faults) = start().await;
        faults.lose_sight(is_recorded);
        let event = |conversation: &str| json!({"sender_id": conversation, "event": "restart", "timestamp": 1.5});
        let (tries, answer) = until_answered(&gateway, "/api/events", &json!([event("ann"), event("bob")])).await;
        assert_eq!((tries, &answer["duplicate"]), (2, &json!(is_recorded)));
        assert_eq!(types(&gateway).await, ["restart", "restart"]);
        // The routes of a conversation.
        for (path, body) in [
            ("/conversations/ann/tracker/events", event("ann")),
            ("/conversations/ann/messages", json!({"text": "hi", "sender": "user"})),
        ] {
            let before = types(&gateway).await.len();
            faults.lose_sight(is_recorded);
            assert_eq!(until_answered(&gateway, path, &body).await.0, 2, "{path}");
            assert_eq!(types(&gateway).await.len(), before + 1, "{path}");
        }
        stop(gateway).await;
    }
}
