//! What makes events the same as earlier ones.

use std::fmt;

use trunkline_core::Offset;

/// What makes events of a conversation the same as earlier ones of it: the second time nothing is recorded. Identities are made
/// here and nowhere else, so that no two doors make the same one; the journal stores their text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity(String);

/// A route on which clients give keys, each with its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<'r> {
    /// A channel, by its name.
    Channel(&'r str),
    /// `POST /conversations/{id}/tracker/events`.
    TrackerEvents,
    /// `POST /conversations/{id}/messages`.
    Messages,
    /// `POST /api/events`.
    Events,
}

impl Identity {
    /// The last event of the turn that answers the message at `message`, or several of which it is the last. It tells that they
    /// were answered.
    pub(crate) fn turn(message: Offset) -> Self {
        Self(format!("turn:{message}"))
    }

    /// What was said in that turn before its end, counted from 0.
    pub(crate) fn said(message: Offset, number: usize) -> Self {
        Self(format!("turn:{message}:{number}"))
    }

    /// The key that a client gave on a route, for a conversation.
    pub(crate) fn key(route: Route<'_>, conversation: &str, key: &str) -> Self {
        let length = conversation.len();
        Self(match route {
            Route::Channel(name) => format!("{name}:{length}:{conversation}:{key}"),
            Route::TrackerEvents => format!("api:conversation:{length}:{conversation}:{key}"),
            Route::Messages => format!("api:messages:{length}:{conversation}:{key}"),
            Route::Events => format!("api:events:{key}"),
        })
    }

    /// The id that a source gave.
    pub(crate) fn source(name: &str, id: &str) -> Self {
        Self(format!("source:{name}:{id}"))
    }

    /// As it is stored.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn identities_are_those_that_journals_have_already() {
        for (identity, text) in [
            (Identity::turn(6), "turn:6"),
            (Identity::said(14, 1), "turn:14:1"),
            (Identity::key(Route::Channel("rest"), "ann", "k-1"), "rest:3:ann:k-1"),
            (Identity::key(Route::TrackerEvents, "dora", "c-1"), "api:conversation:4:dora:c-1"),
            (Identity::key(Route::Messages, "dora", "m-1"), "api:messages:4:dora:m-1"),
            (Identity::key(Route::Events, "bob", "one-1"), "api:events:one-1"),
            (Identity::source("log", "7-0-ab"), "source:log:7-0-ab"),
        ] {
            assert_eq!(identity.to_string(), text);
        }
    }

    #[test]
    fn keys_of_other_routes_and_conversations_are_others() {
        let mut all = HashSet::new();
        for conversation in ["a", "a:b", "1:a", "1"] {
            for key in ["c", "b:c", "a:b"] {
                for route in [Route::Channel("rest"), Route::Channel("callback"), Route::TrackerEvents, Route::Messages] {
                    assert!(all.insert(Identity::key(route, conversation, key)));
                }
            }
        }
    }
}
