//! What can be wrong in a section `type: webhook`.

use crate::settings::said;

fn about(more: &str) -> Vec<String> {
    said(&format!("type: webhook\nurl: https://host/x\n{more}"))
        .into_iter()
        .map(|said| said.replace("event_broker.", ""))
        .collect()
}

#[test]
fn every_option_is_taken() {
    for more in [
        "",
        "content: batch\ntimeout: 5",
        "content: single\nconcurrency: 64\ntimeout: 1.5s",
        "headers: {Authorization: Bearer x}\ntoken: t\ntoken_name: n",
        "basic_auth: {username: u, password: p}\ncafile: ca.pem\ncertfile: c.pem\nkeyfile: k.pem",
        "secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "secret: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw, whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD]\nsignature: standard",
        "secret: x\nsignature: hub-sha256",
        "secret: x\nsignature: hub-sha1",
        "secret: x\nsignature: hub",
        "params: {a: b}",
        "signature: none",
    ] {
        assert_eq!(about(more), [""; 0], "{more}");
    }
}

#[test]
fn every_mistake_is_answered_at_its_place() {
    for (more, expected) in [
        ("content: all", "error: content: expected one of single, batch"),
        ("concurrency: 0", "error: concurrency: expected an integer from 1 to 64"),
        ("concurrency: 4\ncontent: batch", "warning: concurrency: `concurrency` has no effect with `content: batch`"),
        ("timeout: 0", "error: timeout: expected a duration of more than nothing and at most 5 minutes"),
        ("timeout: 6m", "error: timeout: expected a duration of more than nothing and at most 5 minutes"),
        ("token_name: x", "warning: token_name: `token_name` has no effect without `token`"),
        ("basic_auth: {password: p}", "error: basic_auth.username: required key is missing"),
        ("basic_auth: {username: 'a:b'}", "error: basic_auth.username: expected a name without a colon"),
        (
            "basic_auth: {username: a}\nheaders: {authorization: b}",
            "error: headers: the header `Authorization` is given beside a user and password",
        ),
        ("headers: {'no name': b}", "error: headers.no name: this is not the name of a header"),
        ("headers: {a: \"b\\nc\"}", "error: headers.a: expected the value of a header, on one line"),
        ("headers: {Content-Length: 3}", "error: headers.Content-Length: the header `content-length` cannot be set"),
        ("headers: {Webhook-Id: 3}", "error: headers.Webhook-Id: the header `webhook-id` cannot be set"),
        ("certfile: x", "error: certfile: a certificate is of no use without its key"),
        ("keyfile: x", "error: keyfile: a certificate is of no use without its key"),
        ("signature: standard", "error: signature: a signature needs a secret"),
        ("signature: hub", "error: signature: a signature needs a secret"),
        ("signature: none\nsecret: x", "error: secret: `secret` has no use with `signature: none`"),
        ("signature: hub\nsecret: [x, y]", "error: secret: there is room for one signature, and so for one secret"),
        ("signature: md5\nsecret: x", "error: signature: expected one of"),
        ("secret: ''", "error: secret: the secret is empty"),
        ("secret: whsec_%", "error: secret: what follows `whsec_` is not base64"),
        (
            "secret: whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "error: secret: this is a key for Ed25519, and requests are signed with",
        ),
        (
            "secret: [whsec_MfKQ, a, b]",
            "warning: secret: of a secret without `whsec_` the bytes are the key, while most receivers",
        ),
        ("secrets: x", "error: secrets: unknown key `secrets` (did you mean `secret`?)"),
        ("param: {a: b}", "error: param: unknown key `param` (did you mean `params`?)"),
    ] {
        let said = about(more);
        assert!(said.len() == 1 && said[0].starts_with(expected), "{more}: {said:?}");
    }
}

#[test]
fn the_address_is_needed_and_is_one_of_http() {
    for (section, expected) in [
        ("type: webhook", "error: event_broker.url: required key is missing (add `url: …`)"),
        ("type: webhook\nurl: host", "error: event_broker.url: expected a URL such as `https://host/path`"),
        ("type: webhook\nurl: ftp://host/", "error: event_broker.url: expected an http or https address"),
        ("type: webhook\nurl: http://", "error: event_broker.url: "),
        (
            "type: webhook\nurl: http://a:b@host/\nbasic_auth: {username: u}",
            "error: event_broker.basic_auth: `url` names a user as well",
        ),
        ("type: webhook\nurl: http://a%3Ab:c@host/", "error: event_broker.url: the name of a user cannot have a colon"),
        (
            "type: webhook\nurl: http://a:b@host/\nheaders: {authorization: x}",
            "error: event_broker.headers: the header `Authorization` is given beside a user and password",
        ),
        ("type: webhook\nurl: http://host/\ncafile: x", "warning: event_broker.cafile: `cafile` has no effect without https"),
    ] {
        let said = said(section);
        assert!(said.len() == 1 && said[0].starts_with(expected), "{section}: {said:?}");
    }
}
