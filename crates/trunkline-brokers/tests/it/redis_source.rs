//! The Redis source on a real server.

use std::time::Duration;

use tokio::time::timeout;
use trunkline_core::{Reader, Received};
use trunkline_testkit::services::Private;

use crate::common::{batch, deliver, journal, key as cursor};
use crate::redis_common::{broker, expected, run, source, unique, url};

const STRUCTURES: [&str; 2] = ["stream", "list"];

async fn receive(reader: &mut dyn Reader) -> Vec<Received> {
    timeout(Duration::from_secs(20), reader.receive()).await.expect("something comes").unwrap().unwrap()
}

/// Receives so many.
async fn receive_all(reader: &mut dyn Reader, count: usize) -> Vec<Received> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(receive(reader).await);
    }
    all
}

fn texts(received: &[Received]) -> Vec<String> {
    received.iter().map(|received| String::from_utf8(received.body.to_vec()).unwrap()).collect()
}

#[tokio::test]
async fn what_the_broker_published_is_received_in_order_and_only_once_when_it_is_settled() {
    for structure in STRUCTURES {
        let (key, cursor, journal) = (unique("source"), cursor(), journal(700));
        let yaml = format!("url: {}\nstructure: {structure}\nkey: {key}", url());
        deliver(&*broker(&yaml), &batch(&journal[..600], &cursor)).await;
        let source = source(&yaml);
        assert!(source.place().to_string().contains(&format!("{structure} `{key}` of Redis at 127.0.0.1")), "{}", source.place());
        let mut reader = source.open().await.unwrap();
        let first = receive(&mut *reader).await;
        assert!(first.len() <= 256);
        reader.settle().await.unwrap();
        let second = receive_all(&mut *reader, 600 - first.len()).await;
        // Neither settled nor closed.
        drop(reader);
        let mut reader = source.open().await.unwrap();
        let again = receive_all(&mut *reader, second.len()).await;
        assert_eq!(again, second, "{structure}");
        assert_eq!([texts(&first), texts(&again)].concat(), expected(&journal[..600]), "{structure}");
        reader.settle().await.unwrap();
        // A reader that waits is woken.
        let broker = broker(&yaml);
        let more = batch(&journal[600..], &cursor);
        let (late, ()) = tokio::join!(receive_all(&mut *reader, 100), deliver(&*broker, &more));
        assert_eq!(texts(&late), expected(&journal[600..]));
        reader.settle().await.unwrap();
        drop(reader);
        let mut reader = source.open().await.unwrap();
        assert!(timeout(Duration::from_millis(300), reader.receive()).await.is_err(), "{structure}: nothing is left");
        if structure == "list" {
            assert_eq!(run::<i64>(&url(), &format!("EXISTS {key} {{{key}}}:processing")).await, 0);
        }
    }
}

#[tokio::test]
async fn ids_are_those_of_the_events_or_of_the_entries() {
    let (key, cursor, journal) = (unique("ids"), cursor(), journal(2));
    let yaml = format!("url: {}\nkey: {key}", url());
    deliver(&*broker(&yaml), &batch(&journal, &cursor)).await;
    let other: String = run(&url(), &format!("XADD {key} * event {{}}")).await;
    let mut reader = source(&yaml).open().await.unwrap();
    let received = receive_all(&mut *reader, 3).await;
    for (received, event) in received.iter().zip(&journal) {
        assert_eq!(received.id.as_deref(), Some(event.id.to_string().as_str()));
        assert!(received.origin.starts_with(&format!("stream {key}, entry ")), "{}", received.origin);
    }
    assert_eq!(received[2].id.as_deref(), Some(format!("{key}/{other}").as_str()));
    assert_eq!(&received[2].body[..], b"{}");

    let (key, yaml) = (unique("no-ids"), format!("url: {}\nstructure: list", url()));
    run::<()>(&url(), &format!("RPUSH {key} {{}}")).await;
    let mut reader = source(&format!("{yaml}\nkey: {key}")).open().await.unwrap();
    let received = receive(&mut *reader).await;
    assert_eq!((received[0].id.clone(), received[0].origin.as_str()), (None, format!("list {key}").as_str()));
}

#[tokio::test]
async fn a_list_that_is_pushed_on_the_left_is_read_on_the_right() {
    let (key, cursor, journal) = (unique("left"), cursor(), journal(300));
    let yaml = format!("url: {}\nstructure: list\npush: left\nkey: {key}", url());
    deliver(&*broker(&yaml), &batch(&journal, &cursor)).await;
    let mut reader = source(&yaml).open().await.unwrap();
    assert_eq!(texts(&receive_all(&mut *reader, 300).await), expected(&journal));
}

#[tokio::test]
async fn receiving_may_be_given_up_at_any_moment() {
    for structure in STRUCTURES {
        let (key, cursor, journal) = (unique("dropped"), cursor(), journal(400));
        let yaml = format!("url: {}\nstructure: {structure}\nkey: {key}", url());
        let (source, broker) = (source(&yaml), broker(&yaml));
        let mut reader = source.open().await.unwrap();
        let mut found = Vec::new();
        let publish = async {
            for events in journal.chunks(5) {
                deliver(&*broker, &batch(events, &cursor)).await;
                tokio::task::yield_now().await;
            }
        };
        let read = async {
            let mut tries = 0;
            while found.len() < journal.len() {
                tries += 1;
                // On a busy machine every moment may be too soon, so they become later.
                let moment = tries * 37 % (1500 + tries);
                if let Ok(received) = timeout(Duration::from_micros(moment), reader.receive()).await {
                    found.extend(texts(&received.unwrap().unwrap()));
                    let _ = timeout(Duration::from_micros(moment * 2), reader.settle()).await;
                }
            }
        };
        timeout(Duration::from_mins(1), async { tokio::join!(publish, read) }).await.unwrap();
        // Settling may be given up as well, and then some come again.
        found.dedup();
        let mut seen = std::collections::HashSet::new();
        found.retain(|text| seen.insert(text.clone()));
        assert_eq!(found, expected(&journal), "{structure}");
    }
}

#[tokio::test]
async fn entries_that_were_deleted_before_they_were_settled_are_passed_over() {
    let (key, cursor, journal) = (unique("deleted"), cursor(), journal(4));
    let yaml = format!("url: {}\nkey: {key}", url());
    let source = source(&yaml);
    deliver(&*broker(&yaml), &batch(&journal, &cursor)).await;
    let mut reader = source.open().await.unwrap();
    assert_eq!(receive(&mut *reader).await.len(), 4);
    drop(reader);
    run::<()>(&url(), &format!("XTRIM {key} MAXLEN 1")).await;
    let mut reader = source.open().await.unwrap();
    assert_eq!(texts(&receive(&mut *reader).await), expected(&journal[3..]));
    reader.settle().await.unwrap();
    let pending: Vec<redis::Value> = run(&url(), &format!("XPENDING {key} trunkline - + 10")).await;
    assert_eq!(pending, []);
}

#[tokio::test]
async fn groups_read_the_same_stream_on_their_own() {
    let (key, cursor, journal) = (unique("groups"), cursor(), journal(3));
    let yaml = format!("url: {}\nkey: {key}", url());
    deliver(&*broker(&yaml), &batch(&journal, &cursor)).await;
    for group in ["", "\ngroup: other"] {
        let mut reader = source(&format!("{yaml}{group}")).open().await.unwrap();
        assert_eq!(texts(&receive(&mut *reader).await), expected(&journal));
        reader.settle().await.unwrap();
    }
}

#[tokio::test]
async fn a_reader_of_a_server_that_was_killed_fails_and_the_next_begins_with_what_was_not_settled() {
    let server = Private::start("redis").await;
    let url = format!("redis://127.0.0.1:{}", server.port("redis"));
    for structure in STRUCTURES {
        let (key, cursor, journal) = (unique("killed"), cursor(), journal(9));
        let yaml = format!("url: {url}\nstructure: {structure}\nkey: {key}");
        deliver(&*broker(&yaml), &batch(&journal, &cursor)).await;
        let source = source(&yaml);
        let mut reader = source.open().await.unwrap();
        assert_eq!(receive(&mut *reader).await.len(), 9);
        server.kill().await;
        assert!(reader.settle().await.unwrap_err().contains("Redis at 127.0.0.1"));
        assert!(source.open().await.is_err());
        server.start_again().await;
        let mut reader = source.open().await.unwrap();
        assert_eq!(texts(&receive(&mut *reader).await), expected(&journal), "{structure}");
    }
}

#[tokio::test]
async fn a_second_reader_of_a_list_takes_over_and_nothing_is_lost_for_both() {
    let (key, cursor, journal) = (unique("two"), cursor(), journal(6));
    let yaml = format!("url: {}\nstructure: list\nkey: {key}", url());
    let broker = broker(&yaml);
    let source = source(&yaml);
    deliver(&*broker, &batch(&journal[..3], &cursor)).await;
    let mut first = source.open().await.unwrap();
    assert_eq!(texts(&receive_all(&mut *first, 3).await), expected(&journal[..3]));
    let mut second = source.open().await.unwrap();
    assert_eq!(texts(&receive_all(&mut *second, 3).await), expected(&journal[..3]));
    deliver(&*broker, &batch(&journal[3..], &cursor)).await;
    // Moved, and handed out to nobody who settles it.
    assert_eq!(texts(&receive_all(&mut *first, 3).await), expected(&journal[3..]));
    let said = first.settle().await.unwrap_err();
    assert!(said.contains(&format!("another reader took over the list `{key}` of Redis")), "{said}");
    second.settle().await.unwrap();
    drop((first, second));
    let mut third = source.open().await.unwrap();
    assert_eq!(texts(&receive_all(&mut *third, 3).await), expected(&journal[3..]));
    third.settle().await.unwrap();
}

#[tokio::test]
async fn asking_whether_it_is_ready_takes_and_creates_nothing() {
    for structure in STRUCTURES {
        let (key, cursor, journal) = (unique("ready"), cursor(), journal(3));
        let yaml = format!("url: {}\nstructure: {structure}\nkey: {key}", url());
        let source = source(&yaml);
        let before = source.is_ready().await;
        match structure {
            // An empty list is none.
            "list" => assert_eq!(before, Ok(())),
            _ => assert!(before.unwrap_err().contains(&format!("there is no stream `{key}` of Redis"))),
        }
        let beside = format!("{key} {{{key}}}:processing {{{key}}}:reader");
        assert_eq!(run::<i64>(&url(), &format!("EXISTS {beside}")).await, 0);
        deliver(&*broker(&yaml), &batch(&journal, &cursor)).await;
        assert_eq!(source.is_ready().await, Ok(()));
        if structure == "stream" {
            assert_eq!(run::<Vec<redis::Value>>(&url(), &format!("XINFO GROUPS {key}")).await, []);
        }
        // Nor is a reader disturbed.
        let mut reader = source.open().await.unwrap();
        assert_eq!(source.is_ready().await, Ok(()));
        assert_eq!(texts(&receive(&mut *reader).await), expected(&journal), "{structure}");
        assert_eq!(source.is_ready().await, Ok(()));
        reader.settle().await.unwrap();
    }
}

#[tokio::test]
async fn a_user_with_the_rights_of_the_manual_reads() {
    for (structure, rights) in [
        ("stream", "+type +xgroup|create +xreadgroup +xack"),
        ("list", "+type +eval +get +set +blmove +lmove +llen +lrange +ltrim"),
    ] {
        let (user, key, cursor, journal) = (unique("user"), unique("rights"), cursor(), journal(3));
        let yaml = format!("url: {}\nstructure: {structure}\nkey: {key}", url());
        deliver(&*broker(&yaml), &batch(&journal, &cursor)).await;
        let keys = format!("~{key} ~{{{key}}}:processing ~{{{key}}}:reader");
        run::<()>(&url(), &format!("ACL SETUSER {user} on >hunter2 {keys} {rights}")).await;
        let source = source(&format!("{yaml}\nusername: {user}\npassword: hunter2"));
        assert_eq!(source.is_ready().await, Ok(()));
        let mut reader = source.open().await.unwrap();
        assert_eq!(texts(&receive(&mut *reader).await), expected(&journal));
        reader.settle().await.unwrap();
        run::<i64>(&url(), &format!("ACL DELUSER {user}")).await;
    }
}

#[tokio::test]
async fn a_key_of_another_type_is_named() {
    for (structure, found) in [("stream", "list"), ("list", "stream")] {
        let (key, cursor) = (unique("type"), cursor());
        deliver(&*broker(&format!("url: {}\nstructure: {found}\nkey: {key}", url())), &batch(&journal(1), &cursor)).await;
        let source = source(&format!("url: {}\nstructure: {structure}\nkey: {key}", url()));
        let said = source.open().await.err().unwrap();
        assert_eq!(source.is_ready().await.as_ref(), Err(&said));
        assert!(said.contains(&format!("the key `{key}` of Redis at")) && said.contains(&format!("is a {found}")), "{said}");
    }
}
