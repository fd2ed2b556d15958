//! A journal that cannot be read for a while, and a source that hangs.

use rusqlite::Connection;
use trunkline_testkit::Project;

use super::queue::{Queue, Trouble};
use super::{bodies, event, metric, start, status, stop, until};

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_our_own_waits_until_the_journal_can_tell() {
    // Nothing is kept in memory, so that every event is read from the disk.
    let project = Project::new().file("trunkline.yml", "journal: {recent_memory: 0}\n");
    let queue = Queue::default();
    let gateway = start(&project, &queue).await;
    queue.push(Some("m"), event(1));
    until("it is settled", async || queue.settled() == 1).await;
    let own = gateway.partitions().home().journal().event(1).await.unwrap().unwrap();
    let journal = Connection::open(project.path(".trunkline/journal.db")).unwrap();
    journal.execute_batch("ALTER TABLE events RENAME TO hidden").unwrap();
    queue.push(Some(&own.id.to_string()), own.body.clone());
    until("it waits", async || {
        status(&gateway).await["problem"].as_str().is_some_and(|problem| problem.contains("the journal could not be read"))
    })
    .await;
    journal.execute_batch("ALTER TABLE hidden RENAME TO events").unwrap();
    until("it is settled", async || queue.settled() == 2).await;
    assert_eq!((metric(&gateway, "duplicate_events_total").await, metric(&gateway, "appended_events_total").await), (1, 1));
    assert_eq!(status(&gateway).await["problem"], serde_json::Value::Null);
    stop(gateway).await;
    assert_eq!(bodies(&project), [event(1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_hangs_while_it_settles_does_not_hold_up_the_stop() {
    let (project, queue) = (Project::new().file("trunkline.yml", "server: {shutdown_grace: 25s}\n"), Queue::default());
    queue.trouble([Trouble::HangInSettle]);
    let gateway = start(&project, &queue).await;
    queue.push(Some("m"), event(1));
    until("it is appended", async || gateway.partitions().home().journal().head() == 1).await;
    // The time of grace is not used up: all else ends in order.
    stop(gateway).await;
    let gateway = start(&project, &queue).await;
    until("it is settled", async || queue.settled() == 1).await;
    stop(gateway).await;
    assert_eq!(bodies(&project), [event(1)]);
}
