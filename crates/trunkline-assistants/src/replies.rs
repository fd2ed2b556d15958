//! The replies in an answer.

use std::collections::VecDeque;

use bytes::{Buf, BytesMut};
use trunkline_core::json::{self, Document, Layout};
use trunkline_core::{AssistantError, BotMessage};

use crate::answer::IncomingAnswer;

/// What a body that is no stream of lines may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A JSON list, as Rasa's REST channel answers.
    List,
    /// A JSON list, one JSON object, or nothing at all.
    Any,
}

impl Form {
    pub(crate) fn expected(self) -> &'static str {
        match self {
            Self::List => "a JSON list of replies",
            Self::Any => "a JSON list of replies, one reply, or an empty body",
        }
    }
}

/// Gives the replies one after another: those of a stream as they arrive, those of a document once all are known to be good.
pub(crate) struct Replies<'e> {
    answer: IncomingAnswer<'e>,
    form: Form,
    ready: VecDeque<BotMessage>,
    /// What has arrived of a stream and is not yet a line.
    pending: BytesMut,
    given: usize,
    ended: bool,
}

impl<'e> Replies<'e> {
    pub(crate) fn new(answer: IncomingAnswer<'e>, form: Form) -> Self {
        Self { answer, form, ready: VecDeque::new(), pending: BytesMut::new(), given: 0, ended: false }
    }

    /// The next reply.
    pub(crate) async fn next(&mut self) -> Result<Option<BotMessage>, AssistantError> {
        if self.answer.is_lines() {
            return self.next_line().await;
        }
        if !self.ended {
            self.ended = true;
            let body = self.answer.body().await?;
            self.ready = self.document(&body)?;
        }
        Ok(self.ready.pop_front())
    }

    async fn next_line(&mut self) -> Result<Option<BotMessage>, AssistantError> {
        let mut searched = 0;
        loop {
            let unread = self.pending.get(searched..).unwrap_or_default();
            let line = match unread.iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    let line = self.pending.split_to(searched + end);
                    self.pending.advance(1);
                    line
                }
                None if self.ended => std::mem::take(&mut self.pending),
                None => {
                    searched = self.pending.len();
                    match self.answer.chunk().await? {
                        Some(chunk) => self.pending.extend_from_slice(&chunk),
                        None => self.ended = true,
                    }
                    continue;
                }
            };
            searched = 0;
            let is_blank = line.trim_ascii().is_empty();
            if !is_blank {
                self.given += 1;
                let document = self.parse(&line, "a JSON object on every line")?;
                return self.reply(self.given, document.as_str()).map(Some);
            }
            if self.ended && self.pending.is_empty() {
                return Ok(None);
            }
        }
    }

    fn document(&self, body: &[u8]) -> Result<VecDeque<BotMessage>, AssistantError> {
        if self.form == Form::Any && body.trim_ascii().is_empty() {
            return Ok(VecDeque::new());
        }
        let document = self.parse(body, self.form.expected())?;
        match document.elements() {
            Some(replies) => replies.enumerate().map(|(index, raw)| self.reply(index + 1, raw)).collect(),
            None if self.form == Form::Any && document.is_object() => Ok([self.reply(1, document.as_str())?].into()),
            None => Err(self.answer.place().failed(&self.answer.place().excerpt(body), self.form.expected())),
        }
    }

    fn parse(&self, text: &[u8], expected: &str) -> Result<Document, AssistantError> {
        json::lay_out_input(text, Layout::Dumps).map_err(|error| {
            let place = self.answer.place();
            place.failed(&format!("what is not JSON ({error}) in {}", place.excerpt(text)), expected)
        })
    }

    fn reply(&self, number: usize, raw: &str) -> Result<BotMessage, AssistantError> {
        let wrong = |expected| {
            let place = self.answer.place();
            place.failed(&format!("as reply {number} {}", place.excerpt(raw.as_bytes())), expected)
        };
        let reply = BotMessage::from_reply(raw).ok_or_else(|| wrong("a JSON object whose `text`, if any, is a string"))?;
        let BotMessage { text, buttons, quick_replies, elements, custom, image, attachment, metadata: _ } = &reply;
        let says_something =
            text.is_some() || [buttons, quick_replies, elements, custom, image, attachment].into_iter().any(Option::is_some);
        if says_something {
            Ok(reply)
        } else {
            Err(wrong("at least one of `text`, `buttons`, `quick_replies`, `elements`, `custom`, `image` and `attachment`"))
        }
    }
}
