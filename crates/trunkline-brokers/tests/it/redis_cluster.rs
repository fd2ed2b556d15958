//! The Redis broker and source on a real cluster of three nodes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::cmd;
use tokio::process::Command;
use trunkline_core::{Batch, Broker, Event, Outcome};
use trunkline_testkit::services::{self, PASSWORD, Private, USER};

use crate::common::{batch, deliver, event, journal, key as cursor, reason, replay, rest};
use crate::redis_common::{broker, client, cluster, cluster_bodies, expected, source, typed, unique};

fn node() -> String {
    format!("redis://127.0.0.1:{}", services::port("redis-cluster"))
}

async fn list(url: &str, key: &str) -> Vec<String> {
    cmd("LRANGE").arg(key).arg(0).arg(-1).query_async(&mut cluster(url).await).await.unwrap()
}

/// Clients of the three nodes, the first of which listens on `port`.
async fn nodes(port: u16) -> Vec<MultiplexedConnection> {
    let mut nodes = Vec::new();
    for node in port..port + 3 {
        nodes.push(client(&format!("redis://127.0.0.1:{node}")).await);
    }
    nodes
}

/// Which of them has a key.
async fn home(nodes: &mut [MultiplexedConnection], key: &str) -> usize {
    let slot: u32 = cmd("CLUSTER").arg("KEYSLOT").arg(key).query_async(&mut nodes[0]).await.unwrap();
    for (number, node) in nodes.iter_mut().enumerate() {
        let found: usize = cmd("CLUSTER").arg("COUNTKEYSINSLOT").arg(slot).query_async(node).await.unwrap();
        if found > 0 {
            return number;
        }
    }
    panic!("no node has the key {key}");
}

#[tokio::test]
async fn with_one_key_the_cursor_stands_in_its_slot_and_each_event_is_there_once() {
    for key in [unique("plain"), format!("{{{}}}.events", unique("tag"))] {
        let (cursor, journal) = (cursor(), journal(9));
        let yaml = format!("url: {}\ncluster: true\nkey: '{key}'\nusername: {USER}\npassword: {PASSWORD}", node());
        let before = broker(&yaml);
        assert_eq!(before.is_ready().await, Ok(()));
        assert_eq!(before.position(&cursor).await, Ok(None));
        deliver(&*before, &batch(&journal[..4], &cursor)).await;
        let now = broker(&yaml);
        let rest = rest(&*now, &journal, &cursor).await;
        assert_eq!(rest.len(), 5);
        deliver(&*before, &batch(&rest[..3], &cursor)).await;
        deliver(&*now, &batch(rest, &cursor)).await;
        assert_eq!(cluster_bodies(&node(), &key).await, expected(&journal));
    }
}

#[tokio::test]
async fn keys_with_a_tag_before_the_first_placeholder_share_the_slot_of_the_cursor() {
    let (tag, cursor, journal) = (unique("tag"), cursor(), journal(9));
    let broker = broker(&format!("url: {}\ncluster: true\nstructure: list\nkey: '{{{tag}}}.$sender_id'", node()));
    deliver(&*broker, &batch(&journal, &cursor)).await;
    assert_eq!(broker.position(&cursor).await, Ok(Some(journal[8].offset + 1)));
    for user in ["user0", "user1", "user2"] {
        let own: Vec<_> = journal.iter().filter(|event| event.conversation == user).cloned().collect();
        assert_eq!(list(&node(), &format!("{{{tag}}}.{user}")).await, expected(&own));
    }
}

#[tokio::test]
async fn keys_in_many_slots_each_have_their_events_in_order_and_there_is_no_cursor() {
    let (prefix, cursor) = (unique("slots"), cursor());
    let types = ["user", "bot", "action"];
    let journal: Vec<Arc<Event>> = (1..=300)
        .map(|offset| typed(&event(offset, &format!("user{}", offset % 20), "x"), types[usize::try_from(offset % 3).unwrap()]))
        .collect();
    let broker = broker(&format!("url: {}\ncluster: true\nstructure: list\nkey: '{prefix}.$event.$sender_id'", node()));
    assert_eq!(broker.is_ready().await, Ok(()));
    for events in journal.chunks(128) {
        deliver(&*broker, &batch(events, &cursor)).await;
    }
    assert_eq!(broker.position(&cursor).await, Ok(None));
    let mut keys: BTreeMap<String, Vec<Arc<Event>>> = BTreeMap::new();
    for event in &journal {
        keys.entry(format!("{prefix}.{}.{}", event.event_type, event.conversation)).or_default().push(event.clone());
    }
    for (key, events) in keys {
        assert_eq!(list(&node(), &key).await, expected(&events), "{key}");
    }
}

#[tokio::test]
async fn behind_an_event_that_fails_its_conversation_stops_in_every_slot_and_others_go_on() {
    let (prefix, cursor) = (unique("stops"), cursor());
    let events = [("a", "user"), ("b", "user"), ("a", "bot"), ("a", "slot"), ("b", "bot"), ("b", "slot")];
    let events: Vec<_> =
        (1..).zip(events).map(|(offset, (conversation, kind))| typed(&event(offset, conversation, "x"), kind)).collect();
    cmd("SET").arg(format!("{prefix}.bot.a")).arg("theirs").exec_async(&mut cluster(&node()).await).await.unwrap();
    let broker = broker(&format!("url: {}\ncluster: true\nstructure: list\nkey: '{prefix}.$event.$sender_id'", node()));
    let outcomes = broker.publish(&batch(&events, &cursor)).await;
    let delivered: Vec<bool> = outcomes.iter().map(|outcome| *outcome == Outcome::Delivered).collect();
    assert_eq!(delivered, [true, true, false, false, true, true]);
    assert!(reason(&outcomes[2]).contains(&format!("the key `{prefix}.bot.a`")), "{outcomes:?}");
    assert_eq!(list(&node(), &format!("{prefix}.slot.a")).await, [""; 0]);
    assert_eq!(list(&node(), &format!("{prefix}.slot.b")).await, expected(&events[5..]));
}

#[tokio::test]
async fn a_slot_that_moves_to_another_node_is_followed() {
    let server = Private::start("redis-cluster").await;
    let port = server.port("redis-cluster");
    let url = format!("redis://127.0.0.1:{port}");
    let (key, cursor, journal) = (unique("moves"), cursor(), journal(60));
    let broker = broker(&format!("url: {url}\ncluster: true\nkey: {key}"));
    deliver(&*broker, &batch(&journal[..10], &cursor)).await;
    let mut nodes = nodes(port).await;
    let slot: u32 = cmd("CLUSTER").arg("KEYSLOT").arg(&key).query_async(&mut nodes[0]).await.unwrap();
    let mut ids: Vec<String> = Vec::new();
    for node in &mut nodes {
        ids.push(cmd("CLUSTER").arg("MYID").query_async(node).await.unwrap());
    }
    let from = home(&mut nodes, &key).await;
    let to = (from + 1) % 3;
    let set = async |node: &mut MultiplexedConnection, state: &str, id: &str| {
        cmd("CLUSTER").arg("SETSLOT").arg(slot).arg(state).arg(id).exec_async(node).await.unwrap();
    };
    set(&mut nodes[to], "IMPORTING", &ids[from]).await;
    set(&mut nodes[from], "MIGRATING", &ids[to]).await;
    let publish = async {
        let mut next = 10;
        while next < journal.len() {
            let outcomes = broker.publish(&batch(&journal[next..next + 5], &cursor)).await;
            next += outcomes.iter().take_while(|outcome| **outcome == Outcome::Delivered).count();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let migrate = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let keys: Vec<String> =
            cmd("CLUSTER").arg("GETKEYSINSLOT").arg(slot).arg(10).query_async(&mut nodes[from]).await.unwrap();
        let target = port + u16::try_from(to).unwrap();
        for key in keys {
            let mut migrate = cmd("MIGRATE");
            migrate.arg("127.0.0.1").arg(target).arg(key).arg(0).arg(5000).exec_async(&mut nodes[from]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for node in [to, from, 3 - from - to] {
            set(&mut nodes[node], "NODE", &ids[to]).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), async { tokio::join!(publish, migrate) }).await.unwrap();
    assert_eq!(cluster_bodies(&url, &key).await, expected(&journal));
}

#[tokio::test]
async fn a_cluster_without_one_of_its_nodes_says_so_and_goes_on_once_it_is_back() {
    let server = Private::start("redis-cluster").await;
    let port = server.port("redis-cluster");
    let url = format!("redis://127.0.0.1:{port}");
    let (key, cursor, journal) = (unique("killed"), cursor(), journal(12));
    let broker = broker(&format!("url: [{url}, redis://127.0.0.1:{}, redis://127.0.0.1:{}]\nkey: {key}", port + 1, port + 2));
    deliver(&*broker, &batch(&journal[..4], &cursor)).await;
    let home = home(&mut nodes(port).await, &key).await;
    let pid = server.directory().join("redis-cluster").join(if home == 0 { "pid".to_owned() } else { format!("pid.{home}") });
    let pid = std::fs::read_to_string(pid).unwrap();
    let killed = Command::new("kill").args(["-KILL", pid.split(' ').next().unwrap()]).status().await.unwrap();
    assert!(killed.success());
    let outcomes = broker.publish(&batch(&journal[4..], &cursor)).await;
    assert!(reason(&outcomes[0]).contains("the Redis cluster at 127.0.0.1"), "{outcomes:?}");
    server.start_again().await;
    let again = async {
        while broker.publish(&batch(&journal[4..], &cursor)).await != Outcome::Delivered.all(8) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), again).await.unwrap();
    assert_eq!(cluster_bodies(&url, &key).await, expected(&journal));
}

#[tokio::test]
async fn a_user_with_the_rights_of_the_manual_publishes_to_a_cluster() {
    let (user, key, cursor, journal) = (unique("user"), unique("rights"), cursor(), journal(9));
    let least = "+evalsha +script|load +get +set +setrange +type +xadd +xtrim +cluster|slots +asking +ping";
    let mut nodes = nodes(services::port("redis-cluster")).await;
    for node in &mut nodes {
        let mut set = cmd("ACL");
        set.arg("SETUSER").arg(&user).arg("on").arg(">hunter2").arg(format!("~{key}")).arg("~trunkline:cursor:*");
        set.arg(least.split(' ').collect::<Vec<_>>()).exec_async(node).await.unwrap();
    }
    let broker = broker(&format!("url: {}\ncluster: true\nkey: {key}\nusername: {user}\npassword: hunter2", node()));
    assert_eq!(broker.is_ready().await, Ok(()));
    deliver(&*broker, &batch(&journal, &cursor)).await;
    assert_eq!(cluster_bodies(&node(), &key).await, expected(&journal));
    for node in &mut nodes {
        cmd("ACL").arg("DELUSER").arg(&user).exec_async(node).await.unwrap();
    }
}

#[tokio::test]
async fn a_source_reads_lists_and_streams_of_a_cluster() {
    for structure in ["list", "stream"] {
        let (key, cursor, journal) = (unique("source"), cursor(), journal(8));
        let yaml = format!("url: {}\ncluster: true\nstructure: {structure}\nkey: {key}", node());
        deliver(&*broker(&yaml), &Batch { next: None, ..replay(&journal, &cursor) }).await;
        let mut reader = source(&yaml).open().await.unwrap();
        let received = reader.receive().await.unwrap().unwrap();
        let found: Vec<&[u8]> = received.iter().map(|received| &received.body[..]).collect();
        let wanted: Vec<&[u8]> = journal.iter().map(|event| &event.body[..]).collect();
        assert_eq!(found, wanted);
        reader.settle().await.unwrap();
    }
}
