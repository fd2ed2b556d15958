//! Output channels: how what the assistant says reaches a person.

use std::fmt::Write as _;

use async_trait::async_trait;

use crate::BotMessage;
use crate::json::{self, Document, Layout};

/// Where messages to a person go. The kinds a channel has no form for fall back to text, as in Rasa.
///
/// Values are raw JSON in [`Layout::Dumps`], texts are plain.
#[async_trait]
pub trait OutputChannel: Send {
    /// Sends a text.
    async fn send_text_message(&mut self, recipient: &str, text: &str);

    /// Sends a text with buttons, a JSON list. Here: the text, then a line for each button.
    async fn send_text_with_buttons(&mut self, recipient: &str, text: &str, buttons: &str) {
        self.send_text_message(recipient, text).await;
        for (index, button) in elements(buttons).iter().enumerate() {
            self.send_text_message(recipient, &button_line(index, button)).await;
        }
    }

    /// Sends a text with quick replies, a JSON list. Here: as buttons.
    async fn send_quick_replies(&mut self, recipient: &str, text: &str, quick_replies: &str) {
        self.send_text_with_buttons(recipient, text, quick_replies).await;
    }

    /// Sends an image by its address, a JSON string.
    async fn send_image_url(&mut self, recipient: &str, image: &str) {
        let address = json::unquote(image).unwrap_or(image.into()).into_owned();
        self.send_text_message(recipient, &format!("Image: {address}")).await;
    }

    /// Sends an attachment, any JSON.
    async fn send_attachment(&mut self, recipient: &str, attachment: &str) {
        let attachment = json::unquote(attachment).unwrap_or(attachment.into()).into_owned();
        self.send_text_message(recipient, &format!("Attachment: {attachment}")).await;
    }

    /// Sends cards, a JSON list. Here: a text with buttons for each.
    async fn send_elements(&mut self, recipient: &str, cards: &str) {
        for card in elements(cards) {
            let part = |key| card.get_str(key).unwrap_or_default();
            let text = format!("{} : {}", part("title"), part("subtitle"));
            self.send_text_with_buttons(recipient, &text, card.get("buttons").unwrap_or("[]")).await;
        }
    }

    /// Sends any JSON. Here: as its text.
    async fn send_custom_json(&mut self, recipient: &str, custom: &str) {
        self.send_text_message(recipient, custom).await;
    }
}

/// Sends `message` by the methods of `channel`, in Rasa's order: one of quick replies, buttons or text, then custom, image,
/// attachment, elements. An attachment that only repeats the image is left out.
pub async fn send_response(channel: &mut dyn OutputChannel, recipient: &str, message: &BotMessage) {
    let is_given = |list: &&String| !matches!(list.as_str(), "[]" | "{}" | "\"\"" | "null");
    let text = message.text.as_deref().unwrap_or_default();
    if let Some(quick_replies) = message.quick_replies.as_ref().filter(is_given) {
        channel.send_quick_replies(recipient, text, quick_replies).await;
    } else if let Some(buttons) = message.buttons.as_ref().filter(|list| is_given(list) || !text.is_empty()) {
        channel.send_text_with_buttons(recipient, text, buttons).await;
    } else if !text.is_empty() {
        channel.send_text_message(recipient, text).await;
    }
    if let Some(custom) = message.custom.as_ref().filter(is_given) {
        channel.send_custom_json(recipient, custom).await;
    }
    if let Some(image) = message.image.as_ref().filter(is_given) {
        channel.send_image_url(recipient, image).await;
    }
    if let Some(attachment) = message.attachment.as_ref().filter(|value| is_given(value) && message.image.as_ref() != Some(value))
    {
        channel.send_attachment(recipient, attachment).await;
    }
    if let Some(cards) = message.elements.as_ref().filter(is_given) {
        channel.send_elements(recipient, cards).await;
    }
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

/// Collects what is sent: the output channel of REST. Texts are stripped and split at blank lines, as in Rasa.
#[derive(Debug, Default)]
pub struct CollectingOutputChannel {
    /// What was sent so far.
    pub messages: Vec<CollectedMessage>,
}

impl CollectingOutputChannel {
    fn push(&mut self, recipient: &str, message: CollectedMessage) {
        self.messages.push(CollectedMessage { recipient_id: recipient.to_owned(), ..message });
    }
}

#[async_trait]
impl OutputChannel for CollectingOutputChannel {
    async fn send_text_message(&mut self, recipient: &str, text: &str) {
        for part in text.trim().split("\n\n") {
            self.push(recipient, CollectedMessage { text: Some(part.to_owned()), ..CollectedMessage::default() });
        }
    }

    async fn send_text_with_buttons(&mut self, recipient: &str, text: &str, buttons: &str) {
        let (text, buttons) = (Some(text.to_owned()), Some(buttons.to_owned()));
        self.push(recipient, CollectedMessage { text, buttons, ..CollectedMessage::default() });
    }

    async fn send_image_url(&mut self, recipient: &str, image: &str) {
        self.push(recipient, CollectedMessage { image: Some(image.to_owned()), ..CollectedMessage::default() });
    }

    async fn send_attachment(&mut self, recipient: &str, attachment: &str) {
        self.push(recipient, CollectedMessage { attachment: Some(attachment.to_owned()), ..CollectedMessage::default() });
    }

    async fn send_custom_json(&mut self, recipient: &str, custom: &str) {
        self.push(recipient, CollectedMessage { custom: Some(custom.to_owned()), ..CollectedMessage::default() });
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

    /// Polls a future that never waits.
    fn now<T>(future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        match future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
            std::task::Poll::Ready(value) => value,
            std::task::Poll::Pending => panic!("a collecting channel never waits"),
        }
    }

    fn collected(message: &BotMessage) -> Vec<String> {
        let mut channel = CollectingOutputChannel::default();
        now(send_response(&mut channel, "u1", message));
        channel.messages.iter().map(|message| message.to_json(Layout::Ujson)).collect()
    }

    #[test]
    fn every_kind_is_sent_in_rasas_order() {
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

    #[test]
    fn channels_without_buttons_write_them_as_lines() {
        struct Plain(Vec<String>);
        #[async_trait]
        impl OutputChannel for Plain {
            async fn send_text_message(&mut self, _recipient: &str, text: &str) {
                self.0.push(text.to_owned());
            }
        }
        let mut plain = Plain(Vec::new());
        let message = BotMessage {
            buttons: Some(r#"[{"title": "A", "payload": "/a"}, {"title": "B", "payload": "/b", "z": 1, "c": "d"}]"#.into()),
            attachment: Some("\"file.pdf\"".into()),
            image: Some("\"i.png\"".into()),
            ..BotMessage::text("pick")
        };
        now(send_response(&mut plain, "u1", &message));
        assert_eq!(
            plain.0,
            ["pick", "1: A (/a)", "2: B (/b) - {\"c\": \"d\", \"z\": 1}", "Image: i.png", "Attachment: file.pdf"]
        );
    }
}
