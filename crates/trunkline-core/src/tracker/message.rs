//! What the user said: the parse data of a `user` event.

use std::collections::HashSet;

use serde_json::Value;

use super::history::Entry;
use super::writer::{self, ObjectWriter};
use crate::json::{self, Document, Layout};

/// The members that parse data always has, in their order, with what they are when the event says nothing.
const ALWAYS: [(&str, &str); 5] =
    [("intent", "{}"), ("entities", "[]"), ("text", "null"), ("message_id", "null"), ("metadata", "{}")];

/// Integers up to here are the same number as a float.
const MAX_EXACT_INTEGER: u64 = 1 << 53;

/// The parse data of `user`, of an empty message without one.
///
/// What parse data lacks comes from the event itself. Without parse data, which Rasa does not accept, it is all taken from
/// there.
pub(super) fn parse_data(user: Option<&Entry>, layout: Layout) -> String {
    assemble(user, layout, str::to_owned)
}

/// The same as `latest_message` shows it: with the entities of the events `added` that are not in it yet.
pub(super) fn latest_message<'a>(user: Option<&Entry>, added: impl Iterator<Item = &'a Entry>, layout: Layout) -> String {
    let added: Vec<Document> = added.filter_map(|entry| entities_of(entry, layout)).collect();
    assemble(user, layout, |given| match given {
        "null" => with_added("[]", &added, layout),
        given => with_added(given, &added, layout),
    })
}

fn assemble(user: Option<&Entry>, layout: Layout, entities: impl Fn(&str) -> String) -> String {
    let event = user.map(|entry| entry.document(layout));
    let parsed = event.as_ref().and_then(|event| part(event, "parse_data", layout)).filter(Document::is_object);
    let mut object = ObjectWriter::new(layout);
    for (name, default) in ALWAYS {
        let parsed = parsed.as_ref().and_then(|parsed| parsed.get(name));
        let value = parsed.or_else(|| of_event(event.as_ref()?, name)).unwrap_or(default);
        if name == "entities" { object.member(name, &entities(value)) } else { object.member(name, value) }
    }
    for (key, value) in parsed.iter().flat_map(Document::members).filter(|(key, _)| !is_always(key)) {
        object.raw_member(key, value);
    }
    object.finish()
}

/// What the event itself says about a member that its parse data lacks.
fn of_event<'a>(event: &'a Document, name: &str) -> Option<&'a str> {
    matches!(name, "text" | "message_id" | "metadata").then(|| event.get(name))?.filter(|value| *value != "null")
}

fn is_always(key: &str) -> bool {
    ALWAYS.iter().any(|(name, _)| key.strip_prefix('"').and_then(|key| key.strip_suffix('"')) == Some(name))
}

fn entities_of(entry: &Entry, layout: Layout) -> Option<Document> {
    part(&entry.document(layout), "entities", layout)
}

/// The member `name` of `object` with its own parts found.
fn part(object: &Document, name: &str, layout: Layout) -> Option<Document> {
    json::lay_out(object.get(name)?.as_bytes(), layout).ok()
}

fn with_added(given: &str, added: &[Document], layout: Layout) -> String {
    let list = json::lay_out(given.as_bytes(), layout).ok();
    let Some(elements) = list.as_ref().and_then(Document::elements).filter(|_| !added.is_empty()) else {
        return given.to_owned();
    };
    let mut entities: Vec<&str> = elements.collect();
    let mut known: HashSet<Value> = entities.iter().map(|raw| comparable(raw)).collect();
    for raw in added.iter().filter_map(Document::elements).flatten() {
        if known.insert(comparable(raw)) {
            entities.push(raw);
        }
    }
    writer::array(entities.into_iter(), layout)
}

/// `raw` as a value that equals another when Python says so: in any order of keys, and 1 is 1.0. What `serde_json` does not
/// read, as 1e999, is compared as it is written.
fn comparable(raw: &str) -> Value {
    let mut value = serde_json::from_str(raw).unwrap_or_else(|_| Value::from(raw));
    integers_to_floats(&mut value);
    value
}

fn integers_to_floats(value: &mut Value) {
    match value {
        Value::Number(number) if number.as_i64().is_some_and(|integer| integer.unsigned_abs() <= MAX_EXACT_INTEGER) => {
            *value = number.as_f64().into();
        }
        Value::Array(elements) => elements.iter_mut().for_each(integers_to_floats),
        Value::Object(members) => members.values_mut().for_each(integers_to_floats),
        _ => {}
    }
}
