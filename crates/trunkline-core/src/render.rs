//! What is shown of what an assistant says: a pure function from a message to what one channel can show.
//!
//! A channel says which forms it has ([`Forms`]); a message without a form falls back to others, in the end to text, as in Rasa.

use std::fmt::Write as _;

use crate::BotMessage;
use crate::json::{self, Document, Layout};

/// One thing that is shown to a person. Values are raw JSON in [`Layout::Dumps`], texts are plain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// A text.
    Text(String),
    /// A text with buttons below it, a JSON list.
    Buttons {
        /// The text, perhaps empty.
        text: String,
        /// The list.
        buttons: String,
    },
    /// A text with quick replies below it, a JSON list.
    QuickReplies {
        /// The text, perhaps empty.
        text: String,
        /// The list.
        quick_replies: String,
    },
    /// An image by its address, a JSON string.
    Image(String),
    /// An attachment, any JSON.
    Attachment(String),
    /// Cards, a JSON list.
    Cards(String),
    /// Any JSON that the channel understands.
    Custom(String),
}

/// The forms that a channel has beside text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each form is there or not, whatever the others are")]
pub struct Forms {
    /// Buttons. Without: the text, then a line for each.
    pub buttons: bool,
    /// Quick replies. Without: buttons.
    pub quick_replies: bool,
    /// Images. Without: a text with the address.
    pub images: bool,
    /// Attachments. Without: a text with the address, or the JSON.
    pub attachments: bool,
    /// Cards. Without: a text with buttons for each.
    pub cards: bool,
    /// JSON of its own. Without: its text.
    pub custom: bool,
}

impl Forms {
    /// Text and nothing else.
    pub const TEXT: Self =
        Self { buttons: false, quick_replies: false, images: false, attachments: false, cards: false, custom: false };

    /// The forms of the REST and callback channels.
    pub const COLLECTED: Self = Self { buttons: true, images: true, attachments: true, custom: true, ..Self::TEXT };
}

/// What is shown of `message`, in Rasa's order: one of quick replies, buttons or text, then custom, image, attachment, cards. An
/// attachment that only repeats the image is left out. Nothing, when the message says nothing.
pub fn render(message: &BotMessage, forms: Forms) -> Vec<Shown> {
    let is_given = |list: &&String| !matches!(list.as_str(), "[]" | "{}" | "\"\"" | "null");
    let text = message.text.as_deref().unwrap_or_default();
    let mut shown = Vec::new();
    if let Some(quick_replies) = message.quick_replies.as_ref().filter(is_given) {
        if forms.quick_replies {
            shown.push(Shown::QuickReplies { text: text.to_owned(), quick_replies: quick_replies.clone() });
        } else {
            push_buttons(text, quick_replies, forms, &mut shown);
        }
    } else if let Some(buttons) = message.buttons.as_ref().filter(|list| is_given(list) || !text.is_empty()) {
        push_buttons(text, buttons, forms, &mut shown);
    } else if !text.is_empty() {
        shown.push(Shown::Text(text.to_owned()));
    }
    if let Some(custom) = message.custom.as_ref().filter(is_given) {
        shown.push(if forms.custom { Shown::Custom(custom.clone()) } else { Shown::Text(custom.clone()) });
    }
    if let Some(image) = message.image.as_ref().filter(is_given) {
        shown.push(if forms.images { Shown::Image(image.clone()) } else { Shown::Text(format!("Image: {}", plain(image))) });
    }
    let repeats_image = |value: &&String| message.image.as_ref() == Some(*value);
    if let Some(attachment) = message.attachment.as_ref().filter(is_given).filter(|value| !repeats_image(value)) {
        let text = || Shown::Text(format!("Attachment: {}", plain(attachment)));
        shown.push(if forms.attachments { Shown::Attachment(attachment.clone()) } else { text() });
    }
    match message.elements.as_ref().filter(is_given) {
        Some(cards) if forms.cards => shown.push(Shown::Cards(cards.clone())),
        Some(cards) => {
            for card in elements(cards) {
                let part = |key| card.get_str(key).unwrap_or_default();
                let text = format!("{} : {}", part("title"), part("subtitle"));
                push_buttons(&text, card.get("buttons").unwrap_or("[]"), forms, &mut shown);
            }
        }
        None => {}
    }
    shown
}

/// A text with buttons, or with a line for each.
fn push_buttons(text: &str, buttons: &str, forms: Forms, shown: &mut Vec<Shown>) {
    if forms.buttons {
        return shown.push(Shown::Buttons { text: text.to_owned(), buttons: buttons.to_owned() });
    }
    shown.push(Shown::Text(text.to_owned()));
    let lines = elements(buttons);
    shown.extend(lines.iter().enumerate().map(|(index, button)| Shown::Text(button_line(index, button))));
}

/// What a JSON string says, or other JSON as it is.
fn plain(raw: &str) -> String {
    json::unquote(raw).unwrap_or(raw.into()).into_owned()
}

/// A message as the REST and callback channels answer it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CollectedMessage {
    /// The conversation.
    pub recipient_id: String,
    /// A text.
    pub text: Option<String>,
    /// The address of an image: a JSON string.
    pub image: Option<String>,
    /// A JSON list of buttons.
    pub buttons: Option<String>,
    /// Any JSON.
    pub attachment: Option<String>,
    /// Any JSON.
    pub custom: Option<String>,
}

impl CollectedMessage {
    /// What is shown of `message` in the conversation `recipient`. Texts are stripped and split at blank lines, as in Rasa, but not
    /// those with buttons.
    pub fn all_of(message: &BotMessage, recipient: &str) -> Vec<Self> {
        let mut collected = Vec::new();
        let mut push = |message: Self| collected.push(Self { recipient_id: recipient.to_owned(), ..message });
        for shown in render(message, Forms::COLLECTED) {
            match shown {
                Shown::Text(text) => {
                    for part in text.trim().split("\n\n") {
                        push(Self { text: Some(part.to_owned()), ..Self::default() });
                    }
                }
                Shown::Buttons { text, buttons } | Shown::QuickReplies { text, quick_replies: buttons } => {
                    push(Self { text: Some(text), buttons: Some(buttons), ..Self::default() });
                }
                Shown::Image(image) => push(Self { image: Some(image), ..Self::default() }),
                Shown::Attachment(attachment) => push(Self { attachment: Some(attachment), ..Self::default() }),
                Shown::Cards(custom) | Shown::Custom(custom) => push(Self { custom: Some(custom), ..Self::default() }),
            }
        }
        collected
    }

    /// The JSON object, absent parts left out.
    pub fn to_json(&self, layout: Layout) -> String {
        let (comma, colon) = if layout == Layout::Dumps { (", ", ": ") } else { (",", ":") };
        let mut out = format!("{{\"recipient_id\"{colon}{}", json::quote(&self.recipient_id, layout));
        let text = self.text.as_deref().map(|text| json::quote(text, layout));
        let raw = |value: &Option<String>| value.as_deref().map(|raw| relaid(raw, layout));
        for (key, value) in [
            ("text", text),
            ("image", raw(&self.image)),
            ("buttons", raw(&self.buttons)),
            ("attachment", raw(&self.attachment)),
            ("custom", raw(&self.custom)),
        ] {
            if let Some(value) = value {
                let _ = write!(out, "{comma}\"{key}\"{colon}{value}");
            }
        }
        out.push('}');
        out
    }
}

/// `1: title (payload)`, with what else the button has behind it.
fn button_line(index: usize, button: &Document) -> String {
    let part = |key| button.get_str(key).unwrap_or_default();
    let mut line = format!("{}: {} ({})", index + 1, part("title"), part("payload"));
    let mut rest: Vec<_> = button.members().filter(|(key, _)| !matches!(*key, "\"title\"" | "\"payload\"")).collect();
    if !rest.is_empty() {
        rest.sort_unstable();
        let rest: Vec<_> = rest.into_iter().map(|(key, value)| format!("{key}: {value}")).collect();
        let _ = write!(line, " - {{{}}}", rest.join(", "));
    }
    line
}

fn elements(list: &str) -> Vec<Document> {
    let Ok(document) = json::lay_out(list.as_bytes(), Layout::Dumps) else { return Vec::new() };
    let Some(elements) = document.elements() else { return Vec::new() };
    elements.filter_map(|raw| json::lay_out(raw.as_bytes(), Layout::Dumps).ok()).collect()
}

fn relaid(raw: &str, layout: Layout) -> String {
    match layout {
        Layout::Dumps => raw.to_owned(),
        Layout::Ujson => json::lay_out(raw.as_bytes(), layout).map_or_else(|_| "null".to_owned(), Document::into_string),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collected(message: &BotMessage) -> Vec<String> {
        CollectedMessage::all_of(message, "u1").iter().map(|message| message.to_json(Layout::Ujson)).collect()
    }

    /// A message of every kind, and what is shown of each by a channel with all forms, and by one with none.
    #[test]
    fn every_kind_has_a_form_or_falls_back_to_text() {
        let all = Forms { buttons: true, quick_replies: true, images: true, attachments: true, cards: true, custom: true };
        let text = |text: &str| Shown::Text(text.to_owned());
        let some = |raw: &str| Some(raw.to_owned());
        let (none, pick) = (BotMessage::default(), BotMessage::text("pick"));
        let buttons = r#"[{"title": "A", "payload": "/a"}, {"title": "B", "payload": "/b", "z": 1, "c": "d"}]"#;
        let lines = [text("1: A (/a)"), text("2: B (/b) - {\"c\": \"d\", \"z\": 1}")];
        let cards = r#"[{"title": "Pizza", "subtitle": "large", "buttons": [{"title": "Yes", "payload": "/y"}]}, {}]"#;
        for (message, with_all, with_none) in [
            (none.clone(), vec![], vec![]),
            (BotMessage::text(""), vec![], vec![]),
            (BotMessage::text(" a\n\nb "), vec![text(" a\n\nb ")], vec![text(" a\n\nb ")]),
            (
                BotMessage { buttons: some(buttons), ..pick.clone() },
                vec![Shown::Buttons { text: "pick".to_owned(), buttons: buttons.to_owned() }],
                [&[text("pick")], &lines[..]].concat(),
            ),
            (
                BotMessage { quick_replies: some(buttons), ..pick.clone() },
                vec![Shown::QuickReplies { text: "pick".to_owned(), quick_replies: buttons.to_owned() }],
                [&[text("pick")], &lines[..]].concat(),
            ),
            (
                BotMessage { buttons: some("[]"), ..pick.clone() },
                vec![Shown::Buttons { text: "pick".to_owned(), buttons: "[]".to_owned() }],
                vec![text("pick")],
            ),
            (BotMessage { buttons: some("[]"), quick_replies: some("[]"), ..none.clone() }, vec![], vec![]),
            (
                BotMessage { image: some("\"i.png\""), ..none.clone() },
                vec![Shown::Image("\"i.png\"".to_owned())],
                vec![text("Image: i.png")],
            ),
            (
                BotMessage { attachment: some("\"file.pdf\""), ..none.clone() },
                vec![Shown::Attachment("\"file.pdf\"".to_owned())],
                vec![text("Attachment: file.pdf")],
            ),
            (
                BotMessage { attachment: some(r#"{"url": "u"}"#), ..none.clone() },
                vec![Shown::Attachment(r#"{"url": "u"}"#.to_owned())],
                vec![text(r#"Attachment: {"url": "u"}"#)],
            ),
            (
                BotMessage { custom: some(r#"{"k": 1}"#), ..none.clone() },
                vec![Shown::Custom(r#"{"k": 1}"#.to_owned())],
                vec![text(r#"{"k": 1}"#)],
            ),
            (BotMessage { custom: some("{}"), image: some("\"\""), attachment: some("null"), ..none.clone() }, vec![], vec![]),
            (
                BotMessage { elements: some(cards), ..none },
                vec![Shown::Cards(cards.to_owned())],
                vec![text("Pizza : large"), text("1: Yes (/y)"), text(" : ")],
            ),
        ] {
            assert_eq!(render(&message, all), with_all, "{message:?}");
            assert_eq!(render(&message, Forms::TEXT), with_none, "{message:?}");
        }
    }

    #[test]
    fn every_kind_is_collected_in_rasas_order() {
        let message = BotMessage {
            text: Some("Héllo".into()),
            custom: Some(r#"{"k": "v", "n": null}"#.into()),
            image: Some("\"http://x/y.png\"".into()),
            attachment: Some(r#"{"type": "file", "url": "u"}"#.into()),
            elements: Some(r#"[{"title": "Pizza", "subtitle": "{size}"}]"#.into()),
            ..BotMessage::default()
        };
        assert_eq!(
            collected(&message),
            [
                r#"{"recipient_id":"u1","text":"H\u00e9llo"}"#,
                r#"{"recipient_id":"u1","custom":{"k":"v","n":null}}"#,
                r#"{"recipient_id":"u1","image":"http:\/\/x\/y.png"}"#,
                r#"{"recipient_id":"u1","attachment":{"type":"file","url":"u"}}"#,
                r#"{"recipient_id":"u1","text":"Pizza : {size}","buttons":[]}"#,
            ]
        );
    }

    #[test]
    fn text_is_split_at_blank_lines_but_not_with_buttons() {
        assert_eq!(collected(&BotMessage::text(" a\n\nb ")).len(), 2);
        let message = BotMessage { buttons: Some(r#"[{"title": "A", "payload": "/a"}]"#.into()), ..BotMessage::text("a\n\nb") };
        assert_eq!(collected(&message), [r#"{"recipient_id":"u1","text":"a\n\nb","buttons":[{"title":"A","payload":"\/a"}]}"#]);
    }

    #[test]
    fn quick_replies_win_over_buttons_and_the_image_is_not_attached_twice() {
        let message = BotMessage {
            quick_replies: Some(r#"[{"title": "Q"}]"#.into()),
            buttons: Some(r#"[{"title": "B"}]"#.into()),
            image: Some("\"i\"".into()),
            attachment: Some("\"i\"".into()),
            ..BotMessage::text("t")
        };
        assert_eq!(
            collected(&message),
            [r#"{"recipient_id":"u1","text":"t","buttons":[{"title":"Q"}]}"#, r#"{"recipient_id":"u1","image":"i"}"#]
        );
    }
}
