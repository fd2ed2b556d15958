//! The addresses of a Rasa server.
//!
//! A conversation id stands in the path of its tracker's address, and Rasa takes it from there as it is: percent-escapes are
//! not decoded, and slashes belong to the id. So whatever a request can carry is sent raw, percent-escapes included: the id
//! `a%2Fb` is asked for as `a%2Fb`. What a request cannot carry (space, `?`, `#`, a lone `%`, letters beyond ASCII, …) is
//! escaped, which a server that decodes understands; Rasa answers for another conversation, which is noticed and refused.
//! The path segments `.` and `..` cannot be sent at all, because every client resolves them.

use std::fmt::Write as _;

use trunkline_http::Url;

/// Where the parts of a server are.
pub(super) struct Addresses {
    /// Answers messages.
    pub(super) webhook: Url,
    /// Says whether the channel is there.
    pub(super) health: Url,
    /// Says whether the server is there.
    pub(super) root: Url,
    /// The path before `/conversations`, without a slash at its end.
    base: String,
}

/// Which events a tracker is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Include {
    /// Of all sessions.
    All,
    /// None at all.
    None,
}

/// The address of a conversation's tracker.
#[derive(Debug)]
pub(super) struct TrackerAddress {
    pub(super) url: Url,
    /// Whether the id in it had to be escaped.
    pub(super) is_escaped: bool,
}

impl Addresses {
    /// From the URL of the server, or of its webhook in full: `…/webhooks/rest/webhook`, or another channel of that form.
    pub(super) fn new(url: &Url, stream: bool) -> Self {
        let path = url.path().trim_end_matches('/');
        let channel_of = |path: &'_ str| {
            let (base, channel) = path.strip_suffix("/webhook")?.rsplit_once("/webhooks/")?;
            let is_name = !channel.is_empty() && !channel.contains('/');
            is_name.then(|| (base.to_owned(), channel.to_owned()))
        };
        let (base, channel) = channel_of(path).unwrap_or_else(|| (path.to_owned(), "rest".to_owned()));
        let at = |path: String| {
            let mut url = url.clone();
            url.set_path(&path);
            url
        };
        let mut webhook = at(format!("{base}/webhooks/{channel}/webhook"));
        if stream {
            webhook.query_pairs_mut().append_pair("stream", "true");
        }
        Self { webhook, health: at(format!("{base}/webhooks/{channel}/")), root: at(format!("{base}/")), base }
    }

    /// Where the tracker of `conversation` is; the error says what is wrong with the id.
    pub(super) fn tracker(&self, conversation: &str, include: Include) -> Result<TrackerAddress, String> {
        let escaped = escape(conversation);
        let is_dots = |segment: &str| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
        if escaped.is_empty() || escaped.split('/').any(is_dots) {
            let what = if escaped.is_empty() { "is empty" } else { "has `.` or `..` between slashes" };
            return Err(format!("the conversation id {conversation:?}, which {what} and cannot stand in an address"));
        }
        let mut url = self.root.clone();
        url.set_path(&format!("{}/conversations/{escaped}/tracker", self.base));
        let value = if include == Include::All { "ALL" } else { "NONE" };
        url.query_pairs_mut().append_pair("include_events", value);
        Ok(TrackerAddress { url, is_escaped: escaped != conversation })
    }
}

/// Escapes what cannot stand in a path, and nothing else: the characters that browsers escape there, the backslash, which
/// they take for a slash, and a percent sign that begins no escape.
fn escape(conversation: &str) -> String {
    let bytes = conversation.as_bytes();
    let mut out = String::with_capacity(bytes.len());
    for (at, byte) in bytes.iter().copied().enumerate() {
        let is_hex = |offset| bytes.get(at + offset).is_some_and(u8::is_ascii_hexdigit);
        let raw = match byte {
            b'%' => is_hex(1) && is_hex(2),
            b'"' | b'#' | b'<' | b'>' | b'?' | b'\\' | b'^' | b'`' | b'{' | b'}' => false,
            _ => byte.is_ascii_graphic(),
        };
        if raw {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(url: &str) -> Addresses {
        Addresses::new(&Url::parse(url).unwrap(), false)
    }

    #[test]
    fn the_server_or_its_webhook_may_be_named() {
        for (url, webhook, health, root) in [
            ("http://h:5005", "http://h:5005/webhooks/rest/webhook", "http://h:5005/webhooks/rest/", "http://h:5005/"),
            ("http://h/bot/", "http://h/bot/webhooks/rest/webhook", "http://h/bot/webhooks/rest/", "http://h/bot/"),
            ("http://h/webhooks/rest/webhook", "http://h/webhooks/rest/webhook", "http://h/webhooks/rest/", "http://h/"),
            ("http://h/b/webhooks/mine/webhook/", "http://h/b/webhooks/mine/webhook", "http://h/b/webhooks/mine/", "http://h/b/"),
            ("http://h/?k=v", "http://h/webhooks/rest/webhook?k=v", "http://h/webhooks/rest/?k=v", "http://h/?k=v"),
        ] {
            let found = addresses(url);
            assert_eq!((found.webhook.as_str(), found.health.as_str(), found.root.as_str()), (webhook, health, root));
        }
        let stream = Addresses::new(&Url::parse("http://h/?k=v").unwrap(), true);
        assert_eq!(stream.webhook.as_str(), "http://h/webhooks/rest/webhook?k=v&stream=true");
    }

    #[test]
    fn ids_are_sent_as_raw_as_a_request_allows() {
        for (id, path, is_escaped) in [
            ("u1", "u1", false),
            ("a/b", "a/b", false),
            ("/a//b/", "/a//b/", false),
            ("a+b@c:d;e=f,g&h!i'j(k)l*m~n|o[p]q$r", "a+b@c:d;e=f,g&h!i'j(k)l*m~n|o[p]q$r", false),
            ("a%2Fb", "a%2Fb", false),
            ("...", "...", false),
            ("a b", "a%20b", true),
            ("é", "%C3%A9", true),
            ("a?b#c", "a%3Fb%23c", true),
            ("100%", "100%25", true),
            ("a\\b\t\n", "a%5Cb%09%0A", true),
        ] {
            let address = addresses("http://h/bot").tracker(id, Include::All).unwrap();
            assert_eq!(address.url.as_str(), format!("http://h/bot/conversations/{path}/tracker?include_events=ALL"));
            assert_eq!(address.is_escaped, is_escaped, "{id}");
        }
    }

    #[test]
    fn dots_between_slashes_cannot_be_sent() {
        for id in ["", ".", "..", "a/../b", "%2e%2E", "a/.%2e", "./a"] {
            let found = addresses("http://h").tracker(id, Include::All).unwrap_err();
            assert!(found.starts_with("the conversation id \""), "{found}");
        }
    }
}
