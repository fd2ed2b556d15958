//! Taking requests apart: conversation ids in paths, parameters in queries.

use std::borrow::Cow;

use axum::http::Uri;
use percent_encoding::percent_decode_str;

/// What a path below `/conversations/` is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ConversationPath<'a> {
    /// The id. It may contain slashes, plain or escaped; all percent escapes are decoded. (Rasa leaves them as they are, so that
    /// some of its own conversations cannot be addressed.)
    pub(super) id: Cow<'a, str>,
    /// The resource behind it.
    pub(super) resource: &'static str,
    /// The methods that it has, as the header `Allow` lists them.
    pub(super) methods: &'static str,
}

/// The resources of a conversation with their methods, longer ones first.
const RESOURCES: [(&str, &str); 3] = [("tracker/events", "POST,PUT"), ("tracker", "GET,HEAD"), ("messages", "POST")];

/// Takes the path of a request apart; `None` when it is no known resource of a conversation, or its id is not UTF-8.
pub(super) fn conversation(path: &str) -> Option<ConversationPath<'_>> {
    let rest = path.strip_prefix("/conversations/")?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    RESOURCES.into_iter().find_map(|(resource, methods)| {
        let id = rest.strip_suffix(resource)?.strip_suffix('/')?;
        Some(ConversationPath { id: percent_decode_str(id).decode_utf8().ok()?, resource, methods })
    })
}

/// The parameter `key` of the query, decoded; `None` when it has no value.
pub(super) fn query<'a>(uri: &'a Uri, key: &str) -> Option<Cow<'a, str>> {
    let pairs = uri.query()?.split('&').filter(|pair| pair.contains('='));
    let mut pairs = pairs.flat_map(|pair| form_urlencoded::parse(pair.as_bytes()));
    pairs.find(|(name, _)| name == key).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_may_contain_anything() {
        for (path, id, resource) in [
            ("/conversations/u1/tracker", "u1", "tracker"),
            ("/conversations/u1/tracker/", "u1", "tracker"),
            ("/conversations/a/b/tracker/events", "a/b", "tracker/events"),
            ("/conversations/user%2F7%20%C3%BC/tracker/events", "user/7 ü", "tracker/events"),
            ("/conversations/+41%/messages", "+41%", "messages"),
            ("/conversations/tracker/tracker", "tracker", "tracker"),
        ] {
            let found = conversation(path).unwrap();
            assert_eq!((found.id.as_ref(), found.resource), (id, resource), "{path}");
        }
        for path in ["/conversations/u1", "/conversations/tracker", "/conversations/u1/story", "/conversations/%ff/tracker", "/x"]
        {
            assert_eq!(conversation(path), None, "{path}");
        }
    }

    #[test]
    fn parameters_are_decoded() {
        let uri: Uri = "/x?token=a%26b&until=1.5&text=a+b%2B&flag".parse().unwrap();
        assert_eq!(query(&uri, "token").as_deref(), Some("a&b"));
        assert_eq!(query(&uri, "text").as_deref(), Some("a b+"));
        assert_eq!(query(&uri, "until").as_deref(), Some("1.5"));
        assert_eq!(query(&uri, "flag"), None);
    }
}
