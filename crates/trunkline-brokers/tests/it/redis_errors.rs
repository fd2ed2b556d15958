//! What the Redis broker says and does when the server refuses.

use ::redis::cmd;
use trunkline_core::{Batch, Broker, Outcome};
use trunkline_testkit::services::{self, PASSWORD, Private, USER};

use crate::common::{batch, deliver, event, journal, key as cursor, reason};
use crate::redis_common::{bodies, broker, client, expected, list, run, unique, url};

/// The reason why `broker` is not ready, and what publishing says; both must contain `part`.
async fn refused(broker: &dyn Broker, part: &str) {
    let not_ready = broker.is_ready().await.unwrap_err();
    assert!(not_ready.contains(part), "{not_ready}");
    assert!(!not_ready.contains(PASSWORD) && !not_ready.contains("hunter2"), "{not_ready}");
    let outcomes = broker.publish(&batch(&journal(2), &cursor())).await;
    assert!(matches!(&outcomes[0], Outcome::Retry { .. }), "{outcomes:?}");
    assert!(reason(&outcomes[0]).contains(part), "{outcomes:?}");
    assert_eq!(outcomes.len(), 2);
}

#[tokio::test]
async fn a_host_that_is_unknown_and_a_port_that_nobody_listens_on_are_named() {
    refused(&*broker("url: redis://nowhere.invalid:6379"), "the host of Redis at nowhere.invalid:6379 is unknown").await;
    refused(&*broker("url: redis://127.0.0.1:1"), "Redis at 127.0.0.1:1 does not run").await;
    refused(&*broker("url: [redis://127.0.0.1:1, redis://127.0.0.1:2]"), "the Redis cluster at 127.0.0.1:1, 127.0.0.1:2").await;
}

#[tokio::test]
async fn users_are_let_in_with_the_right_password_only() {
    let port = services::port("redis");
    let (key, cursor, journal) = (unique("user"), cursor(), journal(2));
    let yaml = |username: &str, password: &str| {
        format!("url: redis://127.0.0.1:{port}\nkey: {key}\nusername: {username}\npassword: '{password}'")
    };
    deliver(&*broker(&yaml(USER, PASSWORD)), &batch(&journal, &cursor)).await;
    assert_eq!(bodies(&url(), &key).await, expected(&journal));
    let in_url = format!("url: redis://{USER}:a%20secret%2F50%25@127.0.0.1:{port}\nkey: {key}");
    assert_eq!(broker(&in_url).is_ready().await, Ok(()));
    refused(&*broker(&yaml(USER, "hunter2")), "refuses the user name or the password").await;
    refused(&*broker(&yaml("nobody", PASSWORD)), "refuses the user name or the password").await;
    refused(&*broker(&format!("url: redis://{USER}:hunter2@127.0.0.1:{port}")), "refuses the user name or the password").await;
}

#[tokio::test]
async fn a_user_without_permission_learns_what_it_lacks() {
    let server = Private::start("redis").await;
    let url = format!("redis://127.0.0.1:{}", server.port("redis"));
    let mut admin = client(&url).await;
    let rules = |name: &str, rules: &str| {
        let mut set = cmd("ACL");
        set.arg("SETUSER").arg(name).arg("on").arg(">hunter2").arg(rules.split(' ').collect::<Vec<_>>());
        set
    };
    let as_user = |name: &str| broker(&format!("url: {url}\nusername: {name}\npassword: hunter2"));
    // What the manual says that it takes, and not more.
    let least = "~rasa_core_events ~trunkline:cursor:* +evalsha +script|load +get +set +setrange +type +xadd +xtrim";
    rules("enough", least).exec_async(&mut admin).await.unwrap();
    let (enough, cursor, journal) = (as_user("enough"), cursor(), journal(2));
    assert_eq!(enough.is_ready().await, Ok(()));
    deliver(&*enough, &batch(&journal, &cursor)).await;
    for (name, less) in [
        ("no_key", "~trunkline:cursor:* +@all"),
        ("no_cursor", "~rasa_core_events +@all"),
        ("no_script", "~* +@all -@scripting"),
        ("read_only", "~* +@read +@scripting"),
    ] {
        rules(name, less).exec_async(&mut admin).await.unwrap();
        refused(&*as_user(name), "does not let this user do that").await;
    }
    assert_eq!(bodies(&url, "rasa_core_events").await, expected(&journal));
    run::<()>(&url, "CONFIG SET requirepass hunter2").await;
    refused(&*broker(&format!("url: {url}")), "wants a password").await;
}

#[tokio::test]
async fn a_key_of_another_type_is_named_and_left_alone() {
    for (structure, other, found) in [("stream", "RPUSH", "list"), ("list", "SADD", "set")] {
        let (key, cursor, journal) = (unique("type"), cursor(), journal(3));
        run::<()>(&url(), &format!("{other} {key} theirs")).await;
        let broker = broker(&format!("url: {}\nstructure: {structure}\nkey: {key}", url()));
        refused(&*broker, &format!("the key `{key}` of Redis at 127.0.0.1:{} is a {found}", services::port("redis"))).await;
        assert_eq!(run::<String>(&url(), &format!("TYPE {key}")).await, found);
        run::<()>(&url(), &format!("DEL {key}")).await;
        deliver(&*broker, &batch(&journal, &cursor)).await;
    }
}

#[tokio::test]
async fn what_stands_before_an_event_with_a_faulty_key_is_there_once_and_nothing_behind_it() {
    let (prefix, cursor) = (unique("partial"), cursor());
    let events: Vec<_> = (1..=6).map(|offset| event(offset, &format!("user{}", offset % 3), "x")).collect();
    run::<()>(&url(), &format!("SET {prefix}.user0 theirs")).await;
    // Every event also goes to a key that is in order; it must not be there twice after the second attempt.
    let topics = format!("topic_map:\n  user: '{prefix}.all'\n  use: '{prefix}.$sender_id'");
    let broker = broker(&format!("url: {}\nstructure: list\nkey: {prefix}\n{topics}", url()));
    for _ in 0..2 {
        let outcomes = broker.publish(&batch(&events, &cursor)).await;
        assert_eq!(outcomes[..2], [Outcome::Delivered, Outcome::Delivered]);
        assert!(reason(&outcomes[2]).contains(&format!("the key `{prefix}.user0`")), "{outcomes:?}");
        assert!(outcomes[3..].iter().all(|outcome| reason(outcome).contains("not tried")), "{outcomes:?}");
        assert_eq!(list(&url(), &format!("{prefix}.all")).await, expected(&events[..2]));
    }
    run::<()>(&url(), &format!("DEL {prefix}.user0")).await;
    deliver(&*broker, &batch(&events[2..], &cursor)).await;
    assert_eq!(list(&url(), &format!("{prefix}.all")).await, expected(&events));
}

#[tokio::test]
async fn a_faulty_key_far_into_a_batch_stops_what_was_sent_behind_it() {
    for structure in ["stream", "list"] {
        let (prefix, cursor) = (unique("far"), cursor());
        let conversation = |offset| if offset == 401 { "faulty" } else { "u" };
        let events: Vec<_> = (1..=700).map(|offset| event(offset, conversation(offset), &format!("{offset}"))).collect();
        run::<()>(&url(), &format!("SET {prefix}.faulty theirs")).await;
        let broker = broker(&format!("url: {}\nstructure: {structure}\nkey: {prefix}.$sender_id", url()));
        for attempt in [&events[..], &events[400..]] {
            let outcomes = broker.publish(&batch(attempt, &cursor)).await;
            let delivered = outcomes.iter().take_while(|outcome| **outcome == Outcome::Delivered).count();
            assert_eq!(delivered, attempt.len() - 300);
            assert!(reason(&outcomes[delivered]).contains(&format!("the key `{prefix}.faulty`")), "{outcomes:?}");
            assert!(outcomes[delivered + 1..].iter().all(|outcome| reason(outcome).contains("not tried")), "{outcomes:?}");
            assert_eq!(broker.position(&cursor).await, Ok(Some(401)));
        }
        run::<()>(&url(), &format!("DEL {prefix}.faulty")).await;
        deliver(&*broker, &batch(&events[400..], &cursor)).await;
        let key = format!("{prefix}.u");
        let found = if structure == "list" { list(&url(), &key).await } else { bodies(&url(), &key).await };
        let wanted: Vec<_> = events.iter().filter(|event| event.conversation == "u").cloned().collect();
        assert_eq!(found, expected(&wanted));
    }
}

#[tokio::test]
async fn without_a_cursor_other_conversations_go_on_beside_a_faulty_key() {
    let (prefix, cursor) = (unique("beside"), cursor());
    let events: Vec<_> = (1..=6).map(|offset| event(offset, &format!("user{}", offset % 3), "x")).collect();
    run::<()>(&url(), &format!("SET {prefix}.user1 theirs")).await;
    let broker = broker(&format!("url: {}\nstructure: list\nkey: {prefix}.$sender_id", url()));
    let outcomes = broker.publish(&Batch { next: None, ..batch(&events, &cursor) }).await;
    let delivered: Vec<bool> = outcomes.iter().map(|outcome| *outcome == Outcome::Delivered).collect();
    assert_eq!(delivered, [false, true, true, false, true, true]);
    assert!(reason(&outcomes[3]).contains("not tried"), "{outcomes:?}");
    for (user, own) in [("user2", [1, 4]), ("user0", [2, 5])] {
        let own: Vec<_> = own.iter().map(|&index: &usize| events[index].clone()).collect();
        assert_eq!(list(&url(), &format!("{prefix}.{user}")).await, expected(&own));
    }
}

#[tokio::test]
async fn a_cursor_that_somebody_else_wrote_over_is_not_believed() {
    let (key, cursor, journal) = (unique("foreign"), cursor(), journal(2));
    let place = format!("trunkline:cursor:{}:{}", cursor.journal, cursor.subscription);
    let broker = broker(&format!("url: {}\nkey: {key}", url()));
    run::<()>(&url(), &format!("SET {place} theirs")).await;
    assert!(broker.position(&cursor).await.unwrap_err().contains("should hold our cursor, but \"theirs\" is no cursor"));
    let outcomes = broker.publish(&batch(&journal, &cursor)).await;
    assert!(reason(&outcomes[0]).contains(&place), "{outcomes:?}");
    run::<()>(&url(), &format!("DEL {place}")).await;
    deliver(&*broker, &batch(&journal, &cursor)).await;
}

#[tokio::test]
async fn a_server_without_memory_takes_nothing_and_all_once_it_has_some() {
    let server = Private::start("redis").await;
    let url = format!("redis://127.0.0.1:{}", server.port("redis"));
    for structure in ["stream", "list"] {
        let (key, cursor, journal) = (unique("memory"), cursor(), journal(20));
        let broker = broker(&format!("url: {url}\nstructure: {structure}\nkey: {key}"));
        deliver(&*broker, &batch(&journal[..10], &cursor)).await;
        run::<()>(&url, "CONFIG SET maxmemory 1").await;
        assert!(broker.is_ready().await.unwrap_err().contains("has no memory left"));
        let outcomes = broker.publish(&batch(&journal[10..], &cursor)).await;
        assert!(reason(&outcomes[0]).contains("has no memory left (`maxmemory`)"), "{outcomes:?}");
        run::<()>(&url, "CONFIG SET maxmemory 0").await;
        deliver(&*broker, &batch(&journal[10..], &cursor)).await;
        let found = if structure == "list" { list(&url, &key).await } else { bodies(&url, &key).await };
        assert_eq!(found, expected(&journal));
    }
}

#[tokio::test]
async fn an_event_that_is_larger_than_the_server_takes_is_rejected_and_the_next_batch_begins_behind_it() {
    let server = Private::start("redis").await;
    let url = format!("redis://127.0.0.1:{}", server.port("redis"));
    run::<()>(&url, "CONFIG SET proto-max-bulk-len 1048576").await;
    let (key, cursor, mut journal) = (unique("bulk"), cursor(), journal(6));
    journal[2] = event(journal[2].offset, "user", &"x".repeat(2 << 20));
    let broker = broker(&format!("url: {url}\nkey: {key}"));
    let outcomes = broker.publish(&batch(&journal, &cursor)).await;
    assert_eq!(outcomes[..2], [Outcome::Delivered, Outcome::Delivered]);
    assert!(matches!(&outcomes[2], Outcome::Reject { reason } if reason.contains("1048576 at the most")), "{outcomes:?}");
    assert!(outcomes[3..].iter().all(|outcome| reason(outcome).contains("not tried")), "{outcomes:?}");
    assert_eq!(broker.position(&cursor).await, Ok(Some(journal[2].offset)));
    deliver(&*broker, &batch(&journal[3..], &cursor)).await;
    journal.remove(2);
    assert_eq!(bodies(&url, &key).await, expected(&journal));
}

#[tokio::test]
async fn a_replica_and_a_server_that_misses_its_replicas_are_named() {
    let server = Private::start("redis").await;
    let url = format!("redis://127.0.0.1:{}", server.port("redis"));
    run::<()>(&url, "CONFIG SET min-replicas-to-write 1").await;
    refused(&*broker(&format!("url: {url}")), "`min-replicas-to-write`").await;
    run::<()>(&url, "CONFIG SET min-replicas-to-write 0").await;
    run::<()>(&url, &format!("REPLICAOF 127.0.0.1 {}", services::port("redis"))).await;
    refused(&*broker(&format!("url: {url}")), "is a replica and cannot be written to").await;
}

#[tokio::test]
async fn a_certificate_is_checked_on_both_sides() {
    let port = services::port("redis-tls");
    let (key, cursor, journal) = (unique("tls"), cursor(), journal(2));
    let file = |name: &str| services::tls(name).display().to_string();
    let yaml = |host: &str, files: &str| format!("url: rediss://{host}:{port}\nkey: {key}\n{files}");
    let ours = format!("cafile: {}\ncertfile: {}\nkeyfile: {}", file("ca.pem"), file("client.pem"), file("client.key"));
    deliver(&*broker(&yaml("localhost", &ours)), &batch(&journal, &cursor)).await;
    assert_eq!(bodies(&url(), &key).await, expected(&journal));
    assert_eq!(broker(&yaml("127.0.0.1", &format!("cafile: {}", file("ca.pem")))).is_ready().await, Ok(()));
    refused(&*broker(&yaml("localhost", &format!("cafile: {}", file("other-ca.pem")))), "do not agree on TLS").await;
    refused(&*broker(&yaml("localhost", "")), "do not agree on TLS").await;
    refused(&*broker(&yaml("localhost", "cafile: /nowhere/ca.pem")), "cannot read `/nowhere/ca.pem`").await;
    refused(&*broker(&yaml("localhost", &format!("cafile: {}", file("client.key")))), "there is no certificate in PEM in `")
        .await;
    // TLS where there is none, and none where there is.
    let plain = services::port("redis");
    refused(&*broker(&format!("url: rediss://localhost:{plain}")), "Redis at localhost").await;
    refused(&*broker(&format!("url: redis://localhost:{port}")), "Redis at localhost").await;
}

#[tokio::test]
async fn certificates_that_have_expired_or_are_for_another_host_are_refused() {
    for (shown, part) in [("expired", "has expired"), ("wrong-host", "is for another host")] {
        let server = Private::with("redis", &[("TRUNKLINE_SERVICES_CERTIFICATE", shown)]).await;
        let yaml = format!("url: rediss://localhost:{}\ncafile: {}", server.port("redis-tls"), server.tls("ca.pem").display());
        let broker = broker(&yaml);
        refused(&*broker, "do not agree on TLS").await;
        let said = broker.is_ready().await.unwrap_err();
        assert!(said.contains(part), "{said}");
    }
}

#[tokio::test]
async fn a_server_that_demands_a_certificate_gets_ours() {
    let server = Private::start("redis").await;
    run::<()>(&format!("redis://127.0.0.1:{}", server.port("redis")), "CONFIG SET tls-auth-clients yes").await;
    let file = |name: &str| server.tls(name).display().to_string();
    let without = format!("url: rediss://localhost:{}\ncafile: {}", server.port("redis-tls"), file("ca.pem"));
    refused(&*broker(&without), "Redis at localhost").await;
    let with = format!("{without}\ncertfile: {}\nkeyfile: {}", file("client.pem"), file("client.key"));
    assert_eq!(broker(&with).is_ready().await, Ok(()));
}

#[tokio::test]
async fn a_node_of_a_cluster_and_a_server_that_is_none_are_told_apart() {
    let node = services::port("redis-cluster");
    let said = broker(&format!("url: redis://127.0.0.1:{node}")).is_ready().await.unwrap_err();
    assert!(said.contains("is a node of a cluster; set `cluster: true`"), "{said}");
    refused(&*broker(&format!("url: {}\ncluster: true", url())), "is not a cluster").await;
}
