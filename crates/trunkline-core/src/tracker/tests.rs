//! The notation of these tests: one word an event, `type` or `type:argument`, with timestamps 1, 2, 3 …

use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::RawValue;

use super::applied::applied;
use super::effect::Effect;
use super::history::Entry;
use super::{IncludeEvents, Tracker, UnknownIncludeEvents};
use crate::json::{self, Layout};

/// Recorded from Rasa 3.6.21: a first message that a form answers, and one that was not understood.
const PIZZERIA: &str = include_str!("tests/pizzeria.jsonl");

const EMPTY_MESSAGE: &str = r#"{"intent":{},"entities":[],"text":null,"message_id":null,"metadata":{}}"#;

fn body(word: &str, timestamp: usize) -> String {
    let (name, argument) = word.split_once(':').unwrap_or((word, ""));
    let quoted = if argument.is_empty() { "null".to_owned() } else { json::quote(argument, Layout::Ujson) };
    let (event, rest) = match name {
        "user" => (
            "user",
            format!(
                r#","text":{quoted},"parse_data":{{"intent":{{"name":"i"}},"entities":[],"text":{quoted}}},"input_channel":"{argument}-channel","message_id":null,"metadata":{{}}"#
            ),
        ),
        "listen" => ("action", r#","name":"action_listen","action_text":null"#.to_owned()),
        "says" => ("action", format!(r#","name":null,"action_text":{quoted}"#)),
        "loop" => ("active_loop", format!(r#","name":{quoted}"#)),
        "rejected" => ("action_execution_rejected", format!(r#","name":{quoted}"#)),
        "interrupted" => ("loop_interrupted", format!(r#","is_interrupted":{argument}"#)),
        "validate" => ("form_validation", format!(r#","validate":{argument}"#)),
        "entities" => ("entities", format!(r#","entities":{argument}"#)),
        "slot" => {
            let (name, value) = argument.split_once('=').unwrap();
            ("slot", format!(r#","name":"{name}","value":{value}"#))
        }
        "action" | "followup" | "form" => (name, format!(r#","name":{quoted}"#)),
        other => (other, String::new()),
    };
    format!(r#"{{"sender_id":"u","event":"{event}","timestamp":{timestamp}{rest}}}"#)
}

fn tracker(words: &str) -> Tracker {
    let mut tracker = Tracker::new("u", Layout::Ujson);
    for (index, word) in words.split_whitespace().enumerate() {
        tracker.apply(&body(word, index + 1));
    }
    tracker
}

/// The member `name` of the state after the bodies `events`, as it is written.
fn member(tracker: &Tracker, name: &str, include: IncludeEvents) -> String {
    json::lay_out(tracker.to_json(include).as_bytes(), Layout::Ujson).unwrap().get(name).unwrap().to_owned()
}

fn check(words: &str, name: &str, expected: &str) {
    assert_eq!(member(&tracker(words), name, IncludeEvents::None), expected, "{name} after {words:?}");
}

/// The timestamps of the events that are included.
fn check_events(words: &str, include: IncludeEvents, expected: &[u64]) {
    let events: Value = serde_json::from_str(&member(&tracker(words), "events", include)).unwrap();
    let found: Vec<_> = events.as_array().unwrap().iter().map(|event| event["timestamp"].as_u64().unwrap()).collect();
    assert_eq!(found, expected, "{include:?} after {words:?}");
}

fn message(text: &str) -> String {
    format!(r#"{{"intent":{{"name":"i"}},"entities":[],"text":"{text}","message_id":null,"metadata":{{}}}}"#)
}

fn active(name: &str, is_interrupted: bool, rejected: bool, message: &str) -> String {
    format!(r#"{{"name":"{name}","is_interrupted":{is_interrupted},"rejected":{rejected},"trigger_message":{message}}}"#)
}

#[test]
fn an_empty_tracker_waits_for_a_message() {
    let expected = r#"{"sender_id": "a\u00e9/b", "slots": {}, "latest_message": {"intent": {}, "entities": [], "text": null, "message_id": null, "metadata": {}}, "latest_event_time": null, "followup_action": "action_listen", "paused": false, "events": [], "latest_input_channel": null, "active_loop": {}, "latest_action": {}, "latest_action_name": null}"#;
    assert_eq!(Tracker::new("aé/b", Layout::Dumps).to_json(IncludeEvents::default()), expected);
    assert!(Tracker::new("u", Layout::Dumps).is_empty());
}

#[test]
fn slots_are_set_and_reset_and_stay_known() {
    for (words, expected) in [
        ("slot:b=1.50 slot:a=[1,{}] slot:b=12345678901234567890", r#"{"b":12345678901234567890,"a":[1,{}]}"#),
        ("slot:a=1 slot:b=2 reset_slots slot:b=3", r#"{"a":null,"b":3}"#),
        ("slot:a=1 restart slot:b=2", r#"{"a":null,"b":2}"#),
        ("slot:a=1 listen session_started slot:a=2", r#"{"a":2}"#),
        ("slot:a=1 session_started", r#"{"a":null}"#),
        ("listen user:hi slot:a=1 rewind slot:b=2", r#"{"a":null,"b":2}"#),
        ("slot:a=1 listen user:hi slot:a=2 rewind", r#"{"a":1}"#),
        ("slot:a=1 action:x slot:a=2 reset_slots undo", r#"{"a":1}"#),
    ] {
        check(words, "slots", expected);
    }
}

#[test]
fn the_latest_message_is_that_of_the_last_user_event_that_counts() {
    for (words, expected) in [
        ("listen user:hi action:x bot listen", message("hi").as_str()),
        ("listen user:hi listen user:bye", &message("bye")),
        ("listen user:hi listen user:bye rewind", &message("hi")),
        ("listen user:hi rewind", EMPTY_MESSAGE),
        ("listen user:hi restart", EMPTY_MESSAGE),
        ("listen user:hi session_started", EMPTY_MESSAGE),
        ("listen user:hi action:x undo", &message("hi")),
    ] {
        check(words, "latest_message", expected);
    }
}

#[test]
fn the_latest_input_channel_is_that_of_the_last_user_event_ever() {
    check("user:hi listen user:bye rewind", "latest_input_channel", r#""bye-channel""#);
    check("user:hi restart", "latest_input_channel", r#""hi-channel""#);
    check("listen", "latest_input_channel", "null");
}

#[test]
fn parse_data_is_completed_from_the_event() {
    let shown = |user: &str| {
        let mut tracker = Tracker::new("u", Layout::Ujson);
        tracker.apply(&format!(r#"{{"event":"user","timestamp":1,{user}}}"#));
        member(&tracker, "latest_message", IncludeEvents::None)
    };
    for (user, expected) in [
        (
            r#""text":"a","parse_data":{},"message_id":"m","metadata":{"k":1e2}"#,
            r#"{"intent":{},"entities":[],"text":"a","message_id":"m","metadata":{"k":1e2}}"#,
        ),
        (
            r#""text":"a","message_id":"m","parse_data":{"z":1.0,"text":"b","metadata":{},"entities":null,"intent":null}"#,
            r#"{"intent":null,"entities":[],"text":"b","message_id":"m","metadata":{},"z":1.0}"#,
        ),
        (r#""text":"a""#, r#"{"intent":{},"entities":[],"text":"a","message_id":null,"metadata":{}}"#),
        (r#""parse_data":7,"metadata":null"#, EMPTY_MESSAGE),
    ] {
        assert_eq!(shown(user), expected);
    }
}

#[test]
fn entities_join_the_message_once_and_only_while_the_assistant_listens() {
    let with = |entities: &str| message("hi").replace("[]", entities);
    for (words, expected) in [
        (r#"listen user:hi entities:[{"entity":"a","value":1}]"#, with(r#"[{"entity":"a","value":1}]"#)),
        (
            r#"listen user:hi entities:[{"a":1,"b":true},{"b":true,"a":1.0}] entities:[{"a":2},{"a":1,"b":true}]"#,
            with(r#"[{"a":1,"b":true},{"a":2}]"#),
        ),
        (r#"listen user:hi action:x entities:[{"a":1}]"#, message("hi")),
        (r#"user:hi entities:[{"a":1}]"#, message("hi")),
        (r#"listen user:hey entities:[{"a":1}] user:hi"#, message("hi")),
        (r#"user:hi listen entities:[{"a":1}] undo"#, message("hi")),
        (r#"listen user:hi entities:{"a":1}"#, message("hi")),
        (r#"listen user:hi entities:[1e999,{"a":1e999},1e999]"#, with(r#"[1e999,{"a":1e999}]"#)),
        (r#"listen entities:[{"a":1}]"#, EMPTY_MESSAGE.replace("[]", r#"[{"a":1}]"#)),
    ] {
        check(words, "latest_message", &expected);
    }
}

#[test]
fn a_followup_action_waits_for_the_next_message_or_action() {
    for (words, expected) in [
        ("followup:x", r#""x""#),
        ("followup:x bot slot:a=1 pause", r#""x""#),
        ("followup:x user:hi", "null"),
        ("followup:x action:y", "null"),
        ("followup:", "null"),
        ("user:hi restart", r#""action_session_start""#),
        ("user:hi session_started", r#""action_listen""#),
        ("user:hi rewind", r#""action_listen""#),
        ("action:x followup:y action:z undo", r#""y""#),
    ] {
        check(words, "followup_action", expected);
    }
}

#[test]
fn pausing_lasts_until_the_conversation_goes_on_or_starts_over() {
    for (words, expected) in [
        ("pause", "true"),
        ("pause user:hi listen", "true"),
        ("pause resume", "false"),
        ("pause restart", "false"),
        ("pause session_started", "false"),
        ("action:x pause undo", "false"),
        ("pause action:x undo", "true"),
    ] {
        check(words, "paused", expected);
    }
}

#[test]
fn the_latest_action_has_a_name_or_says_something() {
    for (words, action, name) in [
        ("listen", r#"{"action_name":"action_listen"}"#, r#""action_listen""#),
        ("listen says:hello", r#"{"action_text":"hello"}"#, r#""hello""#),
        ("listen action:", r#"{"action_name":"action_listen"}"#, r#""action_listen""#),
        ("action:x restart", "{}", "null"),
        ("action:x action:y undo", r#"{"action_name":"x"}"#, r#""x""#),
        ("listen user:a action:x listen user:b action:y rewind", r#"{"action_name":"x"}"#, r#""x""#),
    ] {
        check(words, "latest_action", action);
        check(words, "latest_action_name", name);
    }
}

#[test]
fn a_loop_remembers_what_began_it_and_how_it_goes() {
    let (hi, hey) = (message("hi"), message("hey"));
    for (words, expected) in [
        ("user:hi action:f loop:f", active("f", false, false, &hi)),
        ("user:hi form:f user:hey", active("f", false, false, &hi)),
        ("loop:f", active("f", false, false, EMPTY_MESSAGE)),
        ("user:hi loop:f loop:", "{}".to_owned()),
        ("user:hi loop:f user:hey loop:g", active("g", false, false, &hey)),
        ("user:hi loop:f interrupted:true", active("f", true, false, &hi)),
        ("user:hi loop:f interrupted:true interrupted:false", active("f", false, false, &hi)),
        ("user:hi loop:f validate:false", active("f", true, false, &hi)),
        ("user:hi loop:f interrupted:true validate:true", active("f", false, false, &hi)),
        ("user:hi loop:f interrupted:true action:x", active("f", false, false, &hi)),
        ("user:hi loop:f rejected:f", active("f", false, true, &hi)),
        ("user:hi loop:f rejected:g", active("f", false, false, &hi)),
        ("user:hi loop:f rejected:f action:x", active("f", false, true, &hi)),
        ("user:hi loop:f rejected:f action:f", active("f", false, false, &hi)),
        ("interrupted:true rejected:f", "{}".to_owned()),
        ("user:hi loop:f restart", "{}".to_owned()),
        ("listen user:hi action:f loop:f listen user:hey loop: rewind", active("f", false, false, &hi)),
    ] {
        check(words, "active_loop", &expected);
    }
}

#[test]
fn the_rest_only_joins_the_list() {
    let quiet = "listen user:hi bot agent reminder cancel_reminder export user_featurization my_own";
    let (before, after) = (tracker("listen user:hi"), tracker(quiet));
    assert_eq!(after.len(), 9);
    for name in ["slots", "latest_message", "followup_action", "paused", "active_loop", "latest_action"] {
        assert_eq!(member(&before, name, IncludeEvents::None), member(&after, name, IncludeEvents::None));
    }
    check(quiet, "latest_event_time", "9");
}

#[test]
fn what_is_no_object_is_no_event() {
    for text in ["", "[]", "1", "{", "null", "\u{0}"] {
        let mut tracker = Tracker::new("u", Layout::Dumps);
        tracker.apply(text);
        assert!(tracker.is_empty(), "{text:?}");
    }
}

#[test]
fn events_are_shown_as_they_were_recorded_without_their_conversation() {
    let mut tracker = Tracker::new("u", Layout::Dumps);
    tracker.apply(r#"{"sender_id":"u","zeta":[1.50],"event":"my/own","timestamp":1.0,"é":{"sender_id":1}}"#);
    tracker.apply(r#"{"event":"restart"}"#);
    assert_eq!(
        json::lay_out(tracker.to_json(IncludeEvents::All).as_bytes(), Layout::Dumps).unwrap().get("events"),
        Some(r#"[{"zeta": [1.50], "event": "my/own", "timestamp": 1.0, "\u00e9": {"sender_id": 1}}, {"event": "restart"}]"#)
    );
    assert_eq!(member(&tracker, "latest_event_time", IncludeEvents::None), "null");
}

#[test]
fn restarts_and_sessions_decide_which_events_are_included() {
    use IncludeEvents::{AfterRestart, All, Applied};

    let words = "listen session_started user:a restart listen user:b restart action:x session_started listen";
    check_events(words, All, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    check_events(words, AfterRestart, &[8, 9, 10]);
    check_events(words, Applied, &[10]);
    check_events("listen session_started listen", AfterRestart, &[1, 2, 3]);
    check_events("listen user:a restart", AfterRestart, &[]);
    check(words, "events", "null");
}

#[test]
fn what_was_taken_back_is_not_applied() {
    for (words, expected) in [
        ("listen user:a action:x bot undo", &[1, 2][..]),
        ("listen user:a action:x bot action:y slot:s=1 undo undo bot", &[1, 2, 9]),
        ("listen user:a action:x listen user:b slot:s=1 action:y rewind listen", &[1, 2, 3, 9]),
        ("listen user:a action:x listen user:b action:y listen user:c rewind rewind", &[1, 2, 3]),
        ("listen user:a listen user:b rewind rewind rewind", &[]),
        ("slot:s=1 bot undo bot", &[4]),
        ("slot:s=1 listen bot rewind bot", &[5]),
        ("slot:s=1 user:a rewind bot", &[4]),
    ] {
        check_events(words, IncludeEvents::Applied, expected);
    }
}

#[test]
fn a_loop_looks_like_one_turn_while_all_goes_well() {
    let question = "listen user:a action:f loop:f listen user:b slot:s=1 user_featurization action:f";
    for (rest, expected) in [
        ("", &[1, 2, 3, 4, 7][..]),
        ("listen user:c slot:t=1 action:f", &[1, 2, 3, 4, 7, 12]),
        ("listen user:c action:x action:f", &[1, 2, 3, 4, 7, 10, 11, 12, 13]),
        ("listen user:c says:x action:f", &[1, 2, 3, 4, 7]),
        ("listen user:c rejected:f action:x listen action:f", &[1, 2, 3, 4, 7, 10, 11, 12, 13, 14, 15]),
        ("loop: listen action:f", &[1, 2, 3, 4, 7, 10, 11, 12]),
        ("rejected:g listen action:f", &[1, 2, 3, 4, 7, 10]),
        ("listen user:c rewind", &[1, 2, 3, 4, 7]),
        ("rewind", &[]),
    ] {
        check_events(&format!("{question} {rest}"), IncludeEvents::Applied, expected);
    }
    // Whether an action is a loop is known only afterwards.
    check_events("action:f user:a action:f", IncludeEvents::Applied, &[1, 2, 3]);
    check_events("action:f user:a action:f loop:f", IncludeEvents::Applied, &[1, 4]);
}

#[test]
fn a_state_rebuilt_after_a_loop_sees_only_its_first_turn() {
    let turns = "listen user:hi action:f loop:f listen user:hey action:f listen user:oops";
    check(turns, "latest_message", &message("oops"));
    check(&format!("{turns} rewind"), "latest_message", &message("hi"));
    check(&format!("{turns} rewind"), "latest_action_name", r#""f""#);
}

#[test]
fn until_stops_at_the_first_later_event() {
    let at = |times: &[&str], until: f64| {
        let mut tracker = Tracker::new("u", Layout::Ujson);
        for time in times {
            tracker.apply(&format!(r#"{{"event":"slot","timestamp":{time},"name":"s{time}","value":1}}"#));
        }
        tracker.until(until)
    };
    for (times, until, expected) in [
        (&["1", "2", "3"][..], 2.0, 2),
        (&["1", "2.5", "2"], 2.0, 1),
        (&["1.5", "2e0", "2.000001"], 2.0, 2),
        (&["1"], 0.5, 0),
        (&["1", "2"], f64::INFINITY, 2),
        (&["1", "null", "5"], 2.0, 2),
        (&["1"], f64::NAN, 0),
    ] {
        assert_eq!(at(times, until).len(), expected, "{times:?} until {until}");
    }
    let before = at(&["1", "2"], 1.0);
    assert_eq!(member(&before, "slots", IncludeEvents::None), r#"{"s1":1,"s2":null}"#);
    assert_eq!(member(&before, "latest_event_time", IncludeEvents::None), "1");
}

#[test]
fn until_forgets_what_was_taken_back_later() {
    let tracker = tracker("listen user:hi slot:a=1 action:x rewind");
    assert_eq!(member(&tracker, "slots", IncludeEvents::None), r#"{"a":null}"#);
    assert_eq!(member(&tracker.until(4.0), "slots", IncludeEvents::None), r#"{"a":1}"#);
}

#[test]
fn the_events_to_include_are_named_in_any_case() {
    for (name, expected) in [
        ("NONE", IncludeEvents::None),
        ("applied", IncludeEvents::Applied),
        ("After_Restart", IncludeEvents::AfterRestart),
        ("all", IncludeEvents::All),
    ] {
        assert_eq!(name.parse(), Ok(expected));
    }
    assert_eq!("some".parse::<IncludeEvents>(), Err(UnknownIncludeEvents));
    assert_eq!(UnknownIncludeEvents.to_string(), "should be one of NONE, APPLIED, AFTER_RESTART, ALL");
    assert!(IncludeEvents::NAMES.iter().all(|name| name.parse::<IncludeEvents>().is_ok()));
}

fn pizzeria() -> Tracker {
    let mut tracker = Tracker::new("ann", Layout::Dumps);
    PIZZERIA.lines().for_each(|line| tracker.apply(line));
    tracker
}

#[test]
fn a_recorded_conversation_gives_the_state_that_rasa_gave() {
    let order = r#"{"intent": {"name": "order", "confidence": 1.0}, "entities": [{"entity": "size", "value": "large", "start": 6, "end": 22, "extractor": "RegexMessageHandler"}], "text": "/order{\"size\":\"large\"}", "message_id": "f351e8efe4e846b8ad7f188fce31991f", "metadata": {"tenant": "t1", "n": 0}, "intent_ranking": [{"name": "order", "confidence": 1.0}]}"#;
    let slots = r#"{"session_started_metadata": {"tenant": "t1", "n": 0}, "size": "large", "requested_slot": null}"#;
    assert_eq!(
        pizzeria().to_json(IncludeEvents::None),
        format!(
            r#"{{"sender_id": "ann", "slots": {slots}, "latest_message": {order}, "latest_event_time": 1795248186.344373, "followup_action": null, "paused": false, "events": null, "latest_input_channel": "rest", "active_loop": {{}}, "latest_action": {{"action_name": "action_listen"}}, "latest_action_name": "action_listen"}}"#
        )
    );
    assert_eq!(
        pizzeria().until(1_795_248_186.298_342_2).to_json(IncludeEvents::None),
        format!(
            r#"{{"sender_id": "ann", "slots": {slots}, "latest_message": {order}, "latest_event_time": 1795248186.2983422, "followup_action": null, "paused": false, "events": null, "latest_input_channel": "rest", "active_loop": {{"name": "order_form", "is_interrupted": false, "rejected": false, "trigger_message": {order}}}, "latest_action": {{"action_name": "order_form"}}, "latest_action_name": "order_form"}}"#
        )
    );
}

#[test]
fn a_recorded_conversation_gives_the_events_that_rasa_gave() {
    let recorded: Vec<String> = PIZZERIA.lines().map(|line| line.replacen(r#""sender_id": "ann", "#, "", 1)).collect();
    let all = format!("[{}]", recorded.join(", "));
    assert!(pizzeria().to_json(IncludeEvents::All).contains(&all));
    assert!(pizzeria().to_json(IncludeEvents::AfterRestart).contains(&all));
    let applied: Vec<&str> = (3..14).chain([19]).map(|index| recorded[index].as_str()).collect();
    assert!(pizzeria().to_json(IncludeEvents::Applied).contains(&format!("[{}]", applied.join(", "))));
}

/// Replaying at every event that takes others back, or walking back at every run of a loop, would be quadratic here.
#[test]
fn long_conversations_take_no_longer_than_their_length() {
    const TURNS: usize = 10_000;
    let lengthy = |words: &str| words.repeat(TURNS);
    for words in [
        lengthy("listen user:a rewind "),
        lengthy("action:x ") + &lengthy("undo "),
        "action:f loop:f ".to_owned() + &lengthy("listen user:a slot:s=1 rejected:g action:f ") + "undo",
        lengthy("action:x ") + &lengthy("undo action:f ") + "loop:f undo",
        lengthy("slot:s=1 reset_slots "),
        "listen user:a ".to_owned() + &lengthy(r#"entities:[{"a":1}] "#),
    ] {
        assert!(tracker(&words).to_json(IncludeEvents::Applied).starts_with('{'));
    }
}

/// The rules of `applied` told in the order in which one thinks of them, walking backwards, at whatever cost.
fn applied_by_walking(events: &[Entry]) -> Vec<usize> {
    let is_loop = |name: &str| events.iter().any(|entry| entry.effect == Effect::ActiveLoop(Some(name.into())));
    let effect = |index: usize| &events[index].effect;
    let mut done: Vec<usize> = Vec::new();
    for index in 0..events.len() {
        match effect(index) {
            Effect::Restart | Effect::SessionStarted => done.clear(),
            Effect::Undo => cut(&mut done, |step| matches!(effect(step), Effect::Action(_))),
            Effect::Rewind => {
                cut(&mut done, |step| matches!(effect(step), Effect::User));
                cut(&mut done, |step| matches!(effect(step), Effect::Action(_)));
            }
            Effect::Action(action) => match action.name.as_deref().filter(|name| is_loop(name)) {
                Some(name) => match happy_run(&done, events, name) {
                    Some(run) => {
                        let said_or_done =
                            |step: usize| matches!(effect(step), Effect::User | Effect::Action(_) | Effect::UserFeaturization);
                        done.retain(|&step| step <= run || !said_or_done(step));
                    }
                    None => done.push(index),
                },
                None => done.push(index),
            },
            _ => done.push(index),
        }
    }
    done
}

fn cut(done: &mut Vec<usize>, is_last: impl Fn(usize) -> bool) {
    let kept = done.iter().rposition(|&step| is_last(step)).unwrap_or(0);
    done.truncate(kept);
}

/// The last run of the loop, if nothing left its happy path since.
fn happy_run(done: &[usize], events: &[Entry], name: &str) -> Option<usize> {
    let mut next = None;
    for &step in done.iter().rev() {
        match &events[step].effect {
            Effect::ActiveLoop(None) => return None,
            Effect::Rejected(rejected) if rejected == name => return None,
            Effect::User if next.is_some_and(|next| next != name) => return None,
            Effect::Action(action) if action.name.as_deref() == Some(name) => return Some(step),
            Effect::Action(action) => next = action.name.as_deref(),
            _ => {}
        }
    }
    None
}

fn any_word() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "user:a",
        "user:b",
        "user_featurization",
        "listen",
        "action:f",
        "action:f",
        "action:g",
        "action:x",
        "says:x",
        "loop:f",
        "loop:g",
        "loop:",
        "rejected:f",
        "rejected:g",
        "slot:s=1",
        "bot",
        "undo",
        "rewind",
        "restart",
        "session_started",
        "interrupted:true",
        "followup:f",
        "pause",
        "reset_slots",
    ])
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((any_key(), inner), 0..6).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_key() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "name",
        "value",
        "text",
        "parse_data",
        "entities",
        "intent",
        "metadata",
        "timestamp",
        "sender_id",
        "input_channel",
        "action_text",
        "is_interrupted",
        "validate",
    ]);
    prop_oneof![3 => known.prop_map(str::to_owned), 1 => ".*"]
}

/// Objects that are nearly events: a known type, and members of known names with any values.
fn any_object() -> impl Strategy<Value = Value> {
    let types = prop::sample::select(vec![
        "user",
        "bot",
        "slot",
        "action",
        "followup",
        "active_loop",
        "form",
        "loop_interrupted",
        "form_validation",
        "entities",
        "action_execution_rejected",
        "rewind",
        "undo",
        "restart",
        "session_started",
        "reset_slots",
        "mine",
    ]);
    (types, prop::collection::vec((any_key(), any_json()), 0..6)).prop_map(|(event, members)| {
        Value::Object([("event".to_owned(), Value::from(event))].into_iter().chain(members).collect())
    })
}

proptest! {
    #[test]
    fn applied_events_are_those_that_walking_finds(words in prop::collection::vec(any_word(), 0..40)) {
        let tracker = tracker(&words.join(" "));
        prop_assert_eq!(applied(&tracker.events), applied_by_walking(&tracker.events));
    }

    #[test]
    fn any_objects_give_valid_json(bodies in prop::collection::vec(any_object(), 0..8), until in any::<f64>()) {
        for layout in [Layout::Dumps, Layout::Ujson] {
            let mut tracker = Tracker::new("u", layout);
            for body in &bodies {
                tracker.apply(&body.to_string());
            }
            prop_assert_eq!(tracker.len(), bodies.len());
            for tracker in [tracker.clone(), tracker.until(until)] {
                for name in IncludeEvents::NAMES {
                    let text = tracker.to_json(name.parse().unwrap());
                    prop_assert!(serde_json::from_str::<&RawValue>(&text).is_ok());
                    prop_assert_eq!(json::lay_out(text.as_bytes(), layout).unwrap().into_string(), text);
                }
            }
        }
    }

    #[test]
    fn any_text_is_survived(text in r#"[\[\]{},:"a1\\u0-e. ]{0,24}"#) {
        let mut tracker = Tracker::new(&text, Layout::Dumps);
        tracker.apply(&text);
        prop_assert!(serde_json::from_str::<&RawValue>(&tracker.to_json(IncludeEvents::All)).is_ok());
    }
}
