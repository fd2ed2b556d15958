//! Requests built once, in which only the conversation and the message id change between sendings.

/// Conversations that the requests are spread over.
pub(crate) const CONVERSATIONS: u64 = 1_000;

/// Stands in a body where the three digits of the conversation go.
const CONVERSATION: &str = "@@@";
/// Stands in a body where the 32 hexadecimal digits of a message id go.
const MESSAGE_ID: &str = "################################";

/// A whole HTTP request as bytes, with the places that are overwritten before each sending.
///
/// Every place is of fixed width, so a request is never measured, moved or allocated again.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    conversations: Vec<usize>,
    message_ids: Vec<usize>,
}

impl Template {
    /// A POST of a JSON body to a path.
    pub(crate) fn post(path: &str, body: &str) -> Self {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        Self {
            conversations: request.match_indices(CONVERSATION).map(|(at, _)| at).collect(),
            message_ids: request.match_indices(MESSAGE_ID).map(|(at, _)| at).collect(),
            bytes: request.into_bytes(),
        }
    }

    /// The `number`th request: its conversations follow in turn and its message ids occur in no other request.
    pub(crate) fn numbered(&mut self, number: u64) -> &[u8] {
        let events = self.conversations.len() as u64;
        for (event, &at) in (number * events..).zip(&self.conversations) {
            let mut rest = event % CONVERSATIONS;
            for digit in self.bytes[at..at + CONVERSATION.len()].iter_mut().rev() {
                *digit = b"0123456789"[(rest % 10) as usize];
                rest /= 10;
            }
        }
        for (event, &at) in (number * events..).zip(&self.message_ids) {
            // People's message ids are random, and an index over them feels the difference, so a plain counter would flatter.
            let (high, low) = (scatter(event), scatter(!event));
            hexadecimal(high, &mut self.bytes[at..at + 16]);
            hexadecimal(low, &mut self.bytes[at + 16..at + 32]);
        }
        &self.bytes
    }
}

/// A tracker event of a person's message, written as Rasa writes it and padded in its text to exactly `size` bytes.
pub(crate) fn user_event(size: usize) -> String {
    let event = |text: &str| {
        format!(
            "{{\"sender_id\": \"s{CONVERSATION}\", \"event\": \"user\", \"timestamp\": 1795245025.5860035, \
             \"metadata\": {{\"assistant_id\": \"pizzeria\"}}, \"text\": \"{text}\", \
             \"parse_data\": {{\"intent\": {{\"name\": \"greet\", \"confidence\": 0.98}}, \"entities\": [], \
             \"text\": \"hello there\", \"metadata\": {{}}, \"text_tokens\": [[0, 5], [6, 11]]}}, \
             \"input_channel\": \"rest\", \"message_id\": \"{MESSAGE_ID}\"}}"
        )
    };
    let padding = size.checked_sub(event("").len()).expect("an event is asked for that is larger than its fixed part");
    let text: String = "hello there, one large margherita please, ".chars().cycle().take(padding).collect();
    event(&text)
}

/// A person's message as the REST channel takes it.
pub(crate) fn rest_message() -> String {
    format!("{{\"sender\":\"s{CONVERSATION}\",\"message\":\"hello there\"}}")
}

/// One-to-one and without visible order.
fn scatter(number: u64) -> u64 {
    // Odd multipliers and shifted exclusive-ors can each be undone, so different numbers stay different.
    let mixed = (number ^ (number >> 31)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    mixed ^ (mixed >> 32)
}

fn hexadecimal(mut number: u64, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number % 16) as usize];
        number /= 16;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::Value;

    use super::*;

    fn body(request: &[u8]) -> &str {
        std::str::from_utf8(request).unwrap().split_once("\r\n\r\n").unwrap().1
    }

    #[test]
    fn an_event_has_exactly_the_size_asked_for() {
        for size in [520, 4_096] {
            let mut template = Template::post("/api/events", &user_event(size));
            let request = template.numbered(12_345);
            assert_eq!(body(request).len(), size);
            let event: Value = serde_json::from_str(body(request)).unwrap();
            assert_eq!(event["sender_id"], "s345");
            assert_eq!(event["message_id"].as_str().unwrap().len(), 32);
        }
    }

    #[test]
    fn conversations_follow_in_turn_and_message_ids_never_repeat() {
        let batch = format!("[{0},{0},{0}]", user_event(520));
        let mut template = Template::post("/api/events", &batch);
        let mut message_ids = HashSet::new();
        let mut conversations = Vec::new();
        for number in 0..1_000 {
            let events: Vec<Value> = serde_json::from_str(body(template.numbered(number))).unwrap();
            for event in events {
                assert!(message_ids.insert(event["message_id"].clone()));
                conversations.push(event["sender_id"].as_str().unwrap().to_owned());
            }
        }
        let expected: Vec<_> = (0..3_000).map(|event| format!("s{:03}", event % 1_000)).collect();
        assert_eq!(conversations, expected);
    }
}
