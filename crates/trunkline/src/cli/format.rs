//! How times, events and tables are written.

use clap::builder::styling::{AnsiColor, Style};
use serde::Serialize;
use trunkline_core::{Event, Kind, Offset, Timestamp};
use trunkline_journal::{Chunk, DeadLetter};

use super::gist::{gist, shortened};
use super::output::{self, Failure};

/// For what is less important than what stands beside it. Colours reach terminals only; see [`output::print`].
const FAINT: Style = Style::new().dimmed();
const USER: Style = AnsiColor::Green.on_default();
const BOT: Style = AnsiColor::Cyan.on_default();
const MARK: Style = AnsiColor::Yellow.on_default();

/// `2026-03-01 18:00:00.250`, in local time.
pub(super) fn local(time: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(time.0) {
        Ok(instant) => instant.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string(),
        Err(_) => "?".to_owned(),
    }
}

/// `2026-03-01T17:00:00.250Z`: RFC 3339, to the millisecond.
pub(super) fn rfc3339(time: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(time.0).map_or_else(|_| time.0.to_string(), |instant| format!("{instant:.3}"))
}

/// `1 record`, `2 records`.
pub(super) fn count(number: u64, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

/// Prints the events of a chunk, and on standard error which records were damaged; answers whether none was.
pub(super) fn print_chunk(chunk: &Chunk, json: bool) -> Result<bool, Failure> {
    for offset in &chunk.damaged {
        output::note(format!("the record at offset {offset} is damaged and left out"));
    }
    if json {
        let lines: String = chunk.events.iter().map(|event| event_json(event) + "\n").collect();
        output::print_exactly(lines)?;
    } else {
        output::print_lines(chunk.events.iter().map(|event| event_line(event)))?;
    }
    Ok(chunk.damaged.is_empty())
}

/// Time, offset, conversation, type and gist.
pub(super) fn event_line(event: &Event) -> String {
    let style = match event.event_type.as_str() {
        "user" => USER,
        "bot" => BOT,
        _ => Style::new(),
    };
    let mark = match event.kind {
        Kind::Event | Kind::Message => String::new(),
        kind => format!("{MARK}({}){MARK:#} ", kind_name(kind)),
    };
    format!(
        "{FAINT}{}{FAINT:#}  {:>7}  {}  {style}{:<8}{style:#}  {mark}{}",
        local(event.time),
        event.offset,
        shortened(&event.conversation, 40),
        shortened(&event.event_type, 40),
        gist(event)
    )
    .trim_end()
    .to_owned()
}

/// A message that is no event: its number, where it stood, why it is none, and its beginning.
pub(super) fn stranger_line(number: u64, origin: &str, reason: &str, text: &str) -> String {
    format!(
        "{FAINT}{:23}{FAINT:#}  {number:>7}  {}  {MARK}no event{MARK:#}  ({}) {}",
        "",
        shortened(origin, 80),
        shortened(reason, 200),
        shortened(text, 200)
    )
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Event => "event",
        Kind::Message => "message",
        Kind::Prompt => "prompt",
        Kind::Replacement => "replacement",
        Kind::Unknown(_) => "unknown",
    }
}

/// An event as one JSON object, its body as it stands in the journal.
pub(super) fn event_json(event: &Event) -> String {
    #[derive(Serialize)]
    struct Head<'e> {
        offset: Offset,
        id: String,
        time: String,
        conversation: &'e str,
        #[serde(rename = "type")]
        event_type: &'e str,
        kind: &'static str,
        channel: Option<&'e str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<&'e str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        session: Option<&'e str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        answers: Option<Offset>,
    }
    let head = Head {
        offset: event.offset,
        id: event.id.to_string(),
        time: rfc3339(event.time),
        conversation: &event.conversation,
        event_type: &event.event_type,
        kind: kind_name(event.kind),
        channel: event.channel.as_deref(),
        user: event.user.as_deref(),
        session: event.session.as_deref(),
        answers: event.answers,
    };
    with_event(&head, event)
}

/// A dead letter as one JSON object, the body of its event as it stands in the journal.
pub(super) fn dead_letter_json(letter: &DeadLetter) -> String {
    #[derive(Serialize)]
    struct Head<'l> {
        id: &'l str,
        subscription: &'l str,
        state: &'static str,
        reason: &'l str,
        attempts: u32,
        died: String,
        offset: Offset,
        event_id: String,
        conversation: &'l str,
        #[serde(rename = "type")]
        event_type: &'l str,
    }
    let head = Head {
        id: letter.id.as_str(),
        subscription: &letter.subscription,
        state: letter.state.as_str(),
        reason: &letter.reason,
        attempts: letter.attempts,
        died: rfc3339(letter.died),
        offset: letter.event.offset,
        event_id: letter.event.id.to_string(),
        conversation: &letter.event.conversation,
        event_type: &letter.event.event_type,
    };
    with_event(&head, &letter.event)
}

/// The object `head` with the member `event` behind its own. Nothing is parsed, so nothing of the body can change.
fn with_event(head: &impl Serialize, event: &Event) -> String {
    let head = serde_json::to_string(head).unwrap_or_default();
    format!("{},\"event\":{}}}", head.strip_suffix('}').unwrap_or_default(), event.body_str())
}

/// Columns with a line of headings. Columns named in `right` have their values at the right edge.
pub(super) fn table(headings: &[&str], right: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([headings[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..headings.len()).map(width).collect();
    let line = |cells: &[&str]| {
        let padded = cells.iter().zip(headings).zip(&widths).map(|((cell, heading), &width)| {
            if right.contains(heading) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut text = format!("{FAINT}{}{FAINT:#}\n", line(headings));
    for row in rows {
        text += &line(&row.iter().map(String::as_str).collect::<Vec<_>>());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use trunkline_core::{JournalId, NewEvent};

    use super::*;

    fn event(kind: Kind, body: &'static str) -> Event {
        let (journal, time) = (JournalId::parse("00000000000040008000000000000001").unwrap(), Timestamp(1_772_387_200_250));
        NewEvent::new(kind, "ann \"x\"", "user", body).recorded(journal, time, 7)
    }

    #[test]
    fn an_event_keeps_its_bytes() {
        let event = event(Kind::Message, r#"{"a": 1.50,  "b":"\u00e9"}"#);
        let expected = r#"{"offset":7,"id":"ID","time":"2026-03-01T17:46:40.250Z","conversation":"ann \"x\"","type":"user","kind":"message","channel":null,"event":{"a": 1.50,  "b":"\u00e9"}}"#;
        assert_eq!(event_json(&event), expected.replace("ID", &event.id.to_string()));
    }

    #[test]
    fn what_brokers_do_not_see_is_marked() {
        let line = |kind| anstream::adapter::strip_str(&event_line(&event(kind, r#"{"text": "hi"}"#))).to_string();
        assert!(line(Kind::Message).ends_with("        7  ann \"x\"  user      hi"), "{}", line(Kind::Message));
        assert!(line(Kind::Prompt).ends_with("user      (prompt) hi"));
        assert!(line(Kind::Replacement).ends_with("user      (replacement) hi"));
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["a".to_owned(), "5".to_owned()], vec!["bcde".to_owned(), "10".to_owned()]];
        let text = anstream::adapter::strip_str(&table(&["id", "events"], &["events"], &rows)).to_string();
        assert_eq!(text, "id    events\na          5\nbcde      10\n");
    }
}
