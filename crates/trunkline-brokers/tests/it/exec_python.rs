//! Classes written for Rasa, under the helper.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;
use trunkline_core::{Broker, Event, JournalId, NewEvent, Outcome, Timestamp};
use trunkline_testkit::python;

use crate::common::{batch, deliver, event, key, reason};
use crate::exec::build;

const EVENTS: &str = include_str!("../../../trunkline/tests/fixtures/rasa-3.6.21-events.jsonl");

/// A class in a module of its own directory, under our helper.
struct Class {
    directory: TempDir,
    broker: Arc<dyn Broker>,
}

impl Class {
    /// `my.module.Broker` with this source, its section being `endpoint`; with Rasa installed.
    fn with_rasa(source: &str, endpoint: &str) -> Self {
        Self::new(source, "my.module.Broker", endpoint, &[])
    }

    /// The same without Rasa, or anything else that is not of Python itself.
    fn without_rasa(source: &str, endpoint: &str) -> Self {
        Self::new(source, "my.module.Broker", endpoint, &["-S"])
    }

    fn new(source: &str, class: &str, endpoint: &str, options: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("my")).unwrap();
        std::fs::write(directory.path().join("my/module.py"), source).unwrap();
        let helper = concat!(env!("CARGO_MANIFEST_DIR"), "/src/exec/helper.py").to_owned();
        let python = python().display().to_string();
        let command: Vec<_> =
            [python].into_iter().chain(options.iter().map(|&option| option.to_owned())).chain([helper]).collect();
        let yaml = format!(
            "type: exec\nname: mine\ncommand: [{}]\nsettings: {{class: {class}, endpoint: {{type: {class}, {endpoint}}}}}",
            command.join(", ")
        );
        Self { broker: build(&yaml, directory.path()), directory }
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(name)).unwrap_or_default()
    }

    async fn publish(&self, events: &[Arc<Event>]) -> Vec<Outcome> {
        self.broker.publish(&batch(events, &key())).await
    }
}

/// What a real Rasa published, as the journal holds it.
pub(crate) fn fixture() -> Vec<Arc<Event>> {
    let journal = JournalId::random();
    let event = |(index, line): (usize, &str)| {
        let offset = index as u64 + 1;
        let new = NewEvent::parse(line.as_bytes(), None, 1.0).unwrap();
        Arc::new(new.recorded(journal, Timestamp(1), offset))
    };
    EVENTS.lines().enumerate().map(event).collect()
}

pub(crate) fn assert_arrived(lines: &str, events: &[Arc<Event>]) {
    let mut arrived: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut expected: Vec<Value> = events.iter().map(|event| serde_json::from_slice(&event.body).unwrap()).collect();
    // The order inside each conversation is what is promised; the sort is stable.
    for list in [&mut arrived, &mut expected] {
        list.sort_by_key(|event| event["sender_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(arrived.len(), expected.len());
    for (found, expected) in arrived.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
}

/// `event` with a number that has more digits than Python reads.
pub(crate) fn with_endless_number(event: &Event) -> Arc<Event> {
    let body = format!(r#"{{"sender_id": "a", "event": "slot", "timestamp": 1.5, "name": "n", "value": {}}}"#, "9".repeat(4_301));
    Arc::new(Event { body: body.into(), ..event.clone() })
}

#[tokio::test]
async fn an_event_that_python_cannot_read_is_rejected_and_the_class_goes_on() {
    let source = r#"
class Broker:
    @classmethod
    def from_endpoint_config(cls, config):
        return cls()

    def publish(self, event):
        with open("arrived", "a") as arrived:
            arrived.write(event["text"] + "\n")
"#;
    let class = Class::without_rasa(source, "url: x");
    let outcomes = class.publish(&[event(1, "a", "1"), with_endless_number(&event(2, "b", "2")), event(3, "c", "3")]).await;
    assert!(
        matches!(&outcomes[1], Outcome::Reject { reason } if reason.contains("Python cannot read the event")),
        "{outcomes:?}"
    );
    assert_eq!((&outcomes[0], &outcomes[2]), (&Outcome::Delivered, &Outcome::Delivered));
    assert_eq!(class.file("arrived").lines().count(), 2);
}

#[tokio::test]
async fn a_subclass_of_rasas_own_runs_unchanged() {
    let source = r#"
import json
from typing import Any, Dict, Optional, Text

from rasa.core.brokers.broker import EventBroker
from rasa.utils.endpoints import EndpointConfig


class Broker(EventBroker):
    def __init__(self, host: Text, path: Text, retries: int = 3, **kwargs: Any) -> None:
        self.file = open(path, "a")
        self.file.write(json.dumps([host, path, retries, kwargs]) + "\n")

    @classmethod
    async def from_endpoint_config(cls, broker_config: EndpointConfig) -> Optional["Broker"]:
        assert isinstance(broker_config, EndpointConfig)
        assert broker_config.type == "my.module.Broker" and broker_config.token == "t0ken"
        return cls(broker_config.url, **broker_config.kwargs)

    def publish(self, event: Dict[Text, Any]) -> None:
        self.file.write(json.dumps(event) + "\n")

    async def close(self) -> None:
        self.file.write("closed\n")
        self.file.close()
"#;
    let class =
        Class::with_rasa(source, "url: somewhere, token: t0ken, path: arrived, retries: 5, deep: {list: [1, 2.5, null, yes]}");
    class.broker.is_ready().await.unwrap();
    let events = fixture();
    assert_eq!(events.len(), 1_106);
    deliver(&*class.broker, &batch(&events, &key())).await;
    class.broker.close().await;
    let arrived = class.file("arrived");
    let (settings, rest) = arrived.split_once('\n').unwrap();
    assert_eq!(settings, r#"["somewhere", "arrived", 5, {"deep": {"list": [1, 2.5, null, "yes"]}}]"#);
    assert_arrived(rest.strip_suffix("closed\n").unwrap(), &events);
}

/// The same methods with no Rasa in sight. `publish` and `is_ready` do what the files of its directory say.
const PLAIN: &str = r#"
import json
import os


class Broker:
    def __init__(self, config):
        self.config = config
        self.file = open("arrived", "a", buffering=1)

    @classmethod
    async def from_endpoint_config(cls, config):
        print("this goes to standard error")
        return cls(config)

    def publish(self, event):
        print("and this")
        if os.path.exists("down") or event.get("text") == "poison":
            raise ValueError("cannot\n store it")
        self.file.write(json.dumps(event) + "\n")

    def is_ready(self):
        return not os.path.exists("not ready")
"#;

#[tokio::test]
async fn a_class_with_the_same_methods_needs_no_rasa() {
    let class = Class::without_rasa(PLAIN, "url: somewhere");
    let events = fixture();
    deliver(&*class.broker, &batch(&events, &key())).await;
    assert_arrived(&class.file("arrived"), &events);
    class.broker.close().await;
}

/// How often it takes until the first event has another outcome than "try again".
async fn calls_until_settled(class: &Class, events: &[Arc<Event>], most: usize) -> Option<(usize, Outcome)> {
    for call in 1..=most {
        let mut outcomes = class.publish(events).await;
        if !matches!(outcomes[0], Outcome::Retry { .. }) {
            return Some((call, outcomes.swap_remove(0)));
        }
    }
    None
}

#[tokio::test]
async fn an_event_on_which_it_raises_is_rejected_when_others_go_through() {
    let class = Class::without_rasa(PLAIN, "");
    let poison = event(1, "a", "poison");
    let rejected = Outcome::Reject { reason: "`publish` of the class raised ValueError: cannot store it".to_owned() };
    let first = class.publish(&[poison.clone(), event(2, "b", "fine"), event(3, "a", "after")]).await;
    assert_eq!(first[1], Outcome::Delivered);
    assert_eq!(calls_until_settled(&class, &[poison], 9).await, Some((2, rejected)));
    deliver(&*class.broker, &batch(&[event(3, "a", "after")], &key())).await;
}

#[tokio::test]
async fn an_event_that_fails_alone_is_rejected_after_more_attempts() {
    let class = Class::without_rasa(PLAIN, "");
    let (call, outcome) = calls_until_settled(&class, &[event(1, "a", "poison")], 20).await.unwrap();
    assert!(call == 8 && matches!(outcome, Outcome::Reject { .. }), "{call} {outcome:?}");
    // A second one in a row looks like a receiver that is down, until something goes through.
    let second = [event(2, "a", "poison")];
    assert_eq!(calls_until_settled(&class, &second, 20).await, None);
    deliver(&*class.broker, &batch(&[event(3, "b", "fine")], &key())).await;
    assert_eq!(calls_until_settled(&class, &second, 20).await.unwrap().0, 1);
}

#[tokio::test]
async fn no_event_is_given_up_while_the_receiver_is_down() {
    let class = Class::without_rasa(PLAIN, "");
    std::fs::write(class.directory.path().join("down"), "").unwrap();
    let events: Vec<_> = (1..=4).map(|offset| event(offset, &format!("user{offset}"), "fine")).collect();
    assert_eq!(calls_until_settled(&class, &events, 30).await, None);
    std::fs::remove_file(class.directory.path().join("down")).unwrap();
    deliver(&*class.broker, &batch(&events, &key())).await;
}

#[tokio::test]
async fn a_class_that_is_not_ready_is_believed() {
    let class = Class::without_rasa(PLAIN, "");
    class.broker.is_ready().await.unwrap();
    std::fs::write(class.directory.path().join("not ready"), "").unwrap();
    let error = class.broker.is_ready().await.unwrap_err();
    assert_eq!(error.split_once("is not ready: ").unwrap().1, "`is_ready` of the class returned False");
    deliver(&*class.broker, &batch(&[event(1, "b", "fine")], &key())).await;
    let poison = [event(2, "a", "poison")];
    for _ in 0..12 {
        let outcome = class.publish(&poison).await.swap_remove(0);
        assert!(reason(&outcome).ends_with("ValueError: cannot store it; `is_ready` of the class returned False"), "{outcome:?}");
        assert!(matches!(outcome, Outcome::Retry { .. }));
    }
}

#[tokio::test]
async fn coroutines_are_awaited_and_tasks_are_given_time() {
    let source = r#"
import asyncio
import sys


class Broker:
    @classmethod
    def from_endpoint_config(cls, config):
        assert sys.stdin.read() == ""
        return cls()

    async def publish(self, event):
        await asyncio.sleep(0.001)
        asyncio.get_running_loop().create_task(self.write(event["text"] + "\n"))

    async def write(self, text):
        with open("arrived", "a") as file:
            file.write(text)

    async def is_ready(self):
        await asyncio.sleep(0)
        return True

    def close(self):
        with open("arrived", "a") as file:
            file.write("closed\n")
"#;
    let class = Class::without_rasa(source, "");
    class.broker.is_ready().await.unwrap();
    deliver(&*class.broker, &batch(&[event(1, "a", "one"), event(2, "a", "two")], &key())).await;
    class.broker.is_ready().await.unwrap();
    class.broker.close().await;
    assert_eq!(class.file("arrived"), "one\ntwo\nclosed\n");
}

#[tokio::test]
async fn what_is_wrong_with_a_class_is_said_in_a_sentence() {
    let factory = "class Broker:\n    @classmethod\n    async def from_endpoint_config(cls, config):\n        ";
    for (class, source, expected) in [
        ("your.module.Broker", "", "there is no Python module `your` in "),
        ("my.modul.Broker", "", "there is no Python module `my.modul` in "),
        (
            "my.module.Broker",
            "import no_such_thing",
            "module `my.module` needs the module `no_such_thing`, which is not installed",
        ),
        ("my.module.Broker", "1 / 0", "module `my.module` could not be imported: ZeroDivisionError: division by zero"),
        ("my.module.Broker", "class", "module `my.module` could not be imported: SyntaxError: "),
        ("my.module.Brokr", "class Broker: pass", "module `my.module` has no class `Brokr`; did you mean `my.module.Broker`?"),
        ("my.module.Broker", "def Broker(): pass", "`my.module.Broker` is not a class, but a function"),
        ("my.module.Broker", "class Broker: pass", "class `my.module.Broker` has no class method `from_endpoint_config`"),
        (
            "my.module.Broker",
            &format!("{factory}return cls(config.kwargs['port'])"),
            "`my.module.Broker.from_endpoint_config` raised KeyError: 'port'",
        ),
        ("my.module.Broker", &format!("{factory}return None"), "`my.module.Broker.from_endpoint_config` returned None"),
        ("my.module.Broker", &format!("{factory}return cls()"), "a Broker, has no method `publish`"),
    ] {
        let class = Class::new(source, class, "", &["-S"]);
        let error = class.broker.is_ready().await.unwrap_err();
        assert!(
            error.contains("ended (exit status: 1); the last line of its standard error: ") && error.contains(expected),
            "{error}"
        );
        assert!(matches!(class.publish(&[event(1, "a", "one")]).await[0], Outcome::Retry { .. }));
    }
}

#[tokio::test]
async fn a_dotted_path_is_a_class_in_the_directory_of_the_project() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("plain.py"), PLAIN).unwrap();
    let broker = build("type: plain.Broker\nurl: somewhere\nfavourite: 5", directory.path());
    let events = fixture();
    deliver(&*broker, &batch(&events[..50], &key())).await;
    broker.close().await;
    assert_arrived(&std::fs::read_to_string(directory.path().join("arrived")).unwrap(), &events[..50]);
    assert!(Path::new(&directory.path().join("plain.py")).exists());
}
