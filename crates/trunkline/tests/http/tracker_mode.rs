//! `type: rasa` with `events: tracker`: the assistant's own events are recorded, once, in its order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::response::Response;
use serde_json::{Value, json};
use trunkline_testkit::{Program, Project, file_events};

use crate::support::{self, Heard, broken, gist, serve, start};

const SORRY: &str = "Please call us.";

/// A Rasa with its own tracker of each conversation, as far as it matters here.
#[derive(Default)]
struct Rasa {
    trackers: Mutex<BTreeMap<String, Vec<Value>>>,
    clock: Mutex<u32>,
    dies: Mutex<Dies>,
}

/// When it dies.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Dies {
    #[default]
    Never,
    /// It does not take messages.
    BeforeTheTurn,
    /// It took the message into its tracker.
    BeforeItsAnswer,
    /// It has answered the message.
    BeforeItsTracker,
}

impl Rasa {
    async fn start() -> (Arc<Self>, String) {
        let rasa = Arc::new(Self::default());
        let there = Arc::clone(&rasa);
        let url = serve(move |heard| std::future::ready(there.answer(&heard))).await;
        (rasa, url)
    }

    fn answer(&self, heard: &Heard) -> Response {
        let dies = *self.dies.lock().unwrap();
        if heard.method == "POST" {
            if dies == Dies::BeforeTheTurn {
                return broken();
            }
            let reply = self.turn(heard.sender(), &heard.body["message"]);
            return if dies == Dies::BeforeItsAnswer { broken() } else { support::json(reply.to_string()) };
        }
        match heard.path.strip_prefix("/conversations/").and_then(|path| path.strip_suffix("/tracker")) {
            Some(_) if dies != Dies::Never => broken(),
            Some(id) => support::json(json!({"sender_id": id, "events": self.events(id)}).to_string()),
            None => support::json("{}"),
        }
    }

    fn turn(&self, sender: &str, text: &Value) -> Value {
        let mut trackers = self.trackers.lock().unwrap();
        let events = trackers.entry(sender.to_owned()).or_default();
        let mut event = |mut event: Value| {
            *self.clock.lock().unwrap() += 1;
            let members = event.as_object_mut().unwrap();
            members.insert("timestamp".to_owned(), json!(f64::from(*self.clock.lock().unwrap()) + 0.25));
            members.insert("metadata".to_owned(), json!({"model_id": "77eb", "assistant_id": "demo"}));
            events.push(event);
        };
        if *text == "first" {
            event(json!({"event": "action", "name": "action_session_start", "policy": null, "confidence": 1.0}));
            event(json!({"event": "session_started"}));
            event(json!({"event": "action", "name": "action_listen", "policy": null, "confidence": null}));
        }
        event(
            json!({"event": "user", "text": text, "parse_data": {"intent": {"name": "order", "confidence": 0.98}}, "message_id": "m"}),
        );
        event(json!({"event": "slot", "name": "size", "value": {"é": [1.50, null]}}));
        event(json!({"event": "user_featurization", "use_text_for_featurization": false}));
        event(json!({"event": "action", "name": "utter_ok", "policy": "RulePolicy", "confidence": 1.0, "hide_rule_turn": false}));
        let said = format!("ok {}", text.as_str().unwrap());
        event(json!({"event": "bot", "text": said, "data": {"buttons": null}}));
        event(json!({"event": "action", "name": "action_listen", "policy": "RulePolicy", "confidence": 1.0}));
        json!([{"recipient_id": sender, "text": said}])
    }

    fn events(&self, sender: &str) -> Vec<Value> {
        self.trackers.lock().unwrap().get(sender).cloned().unwrap_or_default()
    }
}

async fn start_with_tracker(url: &str) -> (Project, Program) {
    let settings = format!("assistant:\n  type: rasa\n  url: {url}\n  events: tracker\n  apology: {SORRY}\n  timeout: 5s\n");
    let project = Project::with_brokers().file("trunkline.yml", &settings);
    let program = start(&project).await;
    (project, program)
}

/// What the file broker has of `sender`, without the `sender_id`.
async fn published(project: &Project, program: &Program, sender: &str) -> Vec<Value> {
    program.settled().await;
    let lines = file_events(&project.path("events.log"));
    let events = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let without_sender = |mut event: Value| {
        let of = event.as_object_mut().unwrap().shift_remove("sender_id").unwrap();
        (of == sender).then_some(event)
    };
    events.filter_map(without_sender).collect()
}

fn is_rasas(event: &Value) -> bool {
    event["metadata"]["model_id"] == "77eb"
}

#[tokio::test]
async fn brokers_get_exactly_the_events_of_the_tracker_in_its_order() {
    let (rasa, url) = Rasa::start().await;
    let (project, program) = start_with_tracker(&url).await;
    for text in ["first", "second", "third"] {
        for sender in ["ann", "user/7"] {
            assert_eq!(program.say(sender, text).await, json!([{"recipient_id": sender, "text": format!("ok {text}")}]));
        }
    }
    for sender in ["ann", "user/7"] {
        let (found, expected) = (published(&project, &program, sender).await, rasa.events(sender));
        assert_eq!(found.len(), 3 + 3 * 6);
        // As text, because the order of keys counts too.
        assert_eq!(Value::from(found).to_string(), Value::from(expected).to_string());
        let tracker = program.get(&format!("/conversations/{sender}/tracker?include_events=ALL")).await.json();
        assert_eq!(tracker["events"], Value::from(rasa.events(sender)));
        assert_eq!(tracker["slots"]["size"], json!({"é": [1.5, null]}));
    }
}

#[tokio::test]
async fn a_restart_of_ours_repeats_nothing() {
    let (rasa, url) = Rasa::start().await;
    let (project, program) = start_with_tracker(&url).await;
    program.say("ann", "first").await;
    program.stop().await;
    let program = start(&project).await;
    program.say("ann", "second").await;
    assert_eq!(published(&project, &program, "ann").await, rasa.events("ann"));
}

#[tokio::test]
async fn when_rasa_dies_in_a_turn_the_message_and_an_apology_are_recorded_and_nothing_is_repeated_later() {
    for dies in [Dies::BeforeTheTurn, Dies::BeforeItsAnswer, Dies::BeforeItsTracker] {
        let (rasa, url) = Rasa::start().await;
        let (project, program) = start_with_tracker(&url).await;
        program.say("ann", "first").await;
        *rasa.dies.lock().unwrap() = dies;
        for _ in 0..2 {
            assert_eq!(program.say("ann", "lost").await, json!([{"recipient_id": "ann", "text": SORRY}]), "{dies:?}");
        }
        *rasa.dies.lock().unwrap() = Dies::Never;
        for text in ["third", "fourth"] {
            assert_eq!(program.say("ann", text).await[0]["text"], format!("ok {text}"), "{dies:?}");
        }
        let (rasas, ours): (Vec<_>, Vec<_>) = published(&project, &program, "ann").await.into_iter().partition(is_rasas);
        assert_eq!(rasas, rasa.events("ann"), "{dies:?}");
        let turn = ["user", "bot", "action:action_listen"];
        assert_eq!(gist(&ours), [turn, turn].concat(), "{dies:?}");
        assert_eq!((&ours[0]["text"], &ours[1]["text"]), (&json!("lost"), &json!(SORRY)));
    }
}

#[tokio::test]
async fn a_tracker_that_begins_anew_is_recorded_from_its_beginning() {
    let (rasa, url) = Rasa::start().await;
    let (project, program) = start_with_tracker(&url).await;
    program.say("ann", "first").await;
    let mut expected = rasa.events("ann");
    rasa.trackers.lock().unwrap().clear();
    program.say("ann", "first").await;
    expected.extend(rasa.events("ann"));
    assert_eq!(published(&project, &program, "ann").await, expected);
}

#[tokio::test]
async fn a_repeated_message_is_answered_from_the_tracker_that_was_recorded() {
    let (_rasa, url) = Rasa::start().await;
    let (_project, program) = start_with_tracker(&url).await;
    let post = async |text: &str, key: &str| {
        let request = program.request(reqwest::Method::POST, support::REST).header("idempotency-key", key);
        program.send(request.body(json!({"sender": "ann", "message": text}).to_string())).await.unwrap().body
    };
    let first = post("first", "k1").await;
    let second = post("second", "k2").await;
    assert_eq!((post("first", "k1").await, post("second", "k2").await), (first, second));
}
