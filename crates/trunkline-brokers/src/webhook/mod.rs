//! Broker `webhook`: HTTP POST requests to an address, with one event each or with a batch.
//!
//! `Delivered` means that the receiver answered with a status of 200 to 299. What it did with the event before it answered is
//! its own affair.
//!
//! What makes a redelivery harmless: the receiver, when it remembers ids. A request with one event has the event's id as
//! `webhook-id`, the same on every attempt. A request with a batch has the ids of its events in `trunkline-event-ids`, in the
//! order of the body, because after a failure batches may be cut differently; its `webhook-id` is made from those ids, and so
//! is only the same for the same events. It is at least once: an answer that is lost makes the request come again.
//!
//! | answer | outcome |
//! | --- | --- |
//! | 200 to 299 | delivered |
//! | 413 | rejected: this event as it stands; a batch is cut in halves until the event is found |
//! | 400, 422 | the same, once the receiver has accepted an event in the life of this process; before that again |
//! | 410 | rejected: the receiver wants no more; under the same condition |
//! | 3xx, all other 4xx, 5xx, no answer | again, not before `Retry-After` |
//!
//! Within one call the events of a conversation go strictly one after the other, those of different conversations side by side.
//! A failure of one conversation holds back that conversation only; when the receiver is not there, is overloaded or does not
//! let us in, nothing more is tried in the same call.

mod broker;
mod request;
mod settings;

pub use broker::WebhookBroker;
pub use request::{Content, EVENT_IDS_HEADER, MOST_BATCH, Signature};
pub use settings::{WebhookSettings, webhook_from_section};
