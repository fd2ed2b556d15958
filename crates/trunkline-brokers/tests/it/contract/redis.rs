//! Redis: streams and lists of a single server, and of a cluster with one slot and with many.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use trunkline_core::Broker;
use trunkline_testkit::contract::{self, Arrived, Subject};
use trunkline_testkit::services::{self, Private};

use crate::redis_common::{broker, cluster_keys, cluster_stream, list, run, stream, unique};

struct Redis {
    url: String,
    yaml: String,
    key: String,
    shape: Shape,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Stream,
    List,
    Cluster,
    /// A key per conversation, in as many slots.
    ClusterKeys,
}

impl Redis {
    fn new(port: u16, shape: Shape) -> Self {
        let (url, key) = (format!("redis://127.0.0.1:{port}"), unique("contract"));
        let yaml = match shape {
            Shape::Stream => format!("url: {url}\nkey: {key}"),
            Shape::List => format!("url: {url}\nkey: {key}\nstructure: list"),
            Shape::Cluster => format!("url: {url}\nkey: {key}\ncluster: true"),
            Shape::ClusterKeys => format!("url: {url}\nkey: '{key}.$sender_id'\ncluster: true"),
        };
        Self { url, yaml, key, shape }
    }

    fn shared(shape: Shape) -> Self {
        let is_cluster = matches!(shape, Shape::Cluster | Shape::ClusterKeys);
        Self::new(services::port(if is_cluster { "redis-cluster" } else { "redis" }), shape)
    }
}

fn entry(mut fields: HashMap<String, String>) -> Arrived {
    Arrived { body: fields.remove("data").unwrap().into(), id: fields.remove("id") }
}

#[async_trait]
impl Subject for Redis {
    fn broker(&self) -> Arc<dyn Broker> {
        broker(&self.yaml)
    }

    async fn arrived(&self) -> Vec<Arrived> {
        match self.shape {
            Shape::List => list(&self.url, &self.key).await.into_iter().map(Arrived::body).collect(),
            Shape::Stream => stream(&self.url, &self.key).await.into_iter().map(entry).collect(),
            Shape::Cluster => cluster_stream(&self.url, &self.key).await.into_iter().map(entry).collect(),
            Shape::ClusterKeys => {
                let mut arrived = Vec::new();
                for key in cluster_keys(&self.url, &format!("{}.", self.key)).await {
                    arrived.extend(cluster_stream(&self.url, &key).await.into_iter().map(entry));
                }
                arrived
            }
        }
    }

    fn is_exactly_once(&self) -> bool {
        self.shape != Shape::ClusterKeys
    }
}

mod a_stream {
    use super::*;
    trunkline_testkit::contract_tests!(Redis::shared(Shape::Stream));
}

mod a_list {
    use super::*;
    trunkline_testkit::contract_tests!(Redis::shared(Shape::List));
}

mod a_stream_of_a_cluster {
    use super::*;
    trunkline_testkit::contract_tests!(Redis::shared(Shape::Cluster));
}

mod streams_all_over_a_cluster {
    use super::*;
    trunkline_testkit::contract_tests!(Redis::shared(Shape::ClusterKeys));
}

#[tokio::test]
async fn a_server_that_is_killed_for_a_while_and_one_that_hangs() {
    let server = Private::start("redis").await;
    contract::outage(&Redis::new(server.port("redis"), Shape::Stream), server.kill(), server.start_again()).await;
    contract::outage(&Redis::new(server.port("redis"), Shape::List), server.hang(), server.resume()).await;
}

#[tokio::test]
async fn a_server_that_is_killed_under_load() {
    let server = Private::start("redis").await;
    for shape in [Shape::Stream, Shape::List] {
        let fault = async {
            for _ in 0..3 {
                server.kill().await;
                server.start_again().await;
            }
        };
        contract::fault_under_load(&Redis::new(server.port("redis"), shape), fault).await;
    }
}

#[tokio::test]
async fn a_cluster_that_is_killed_under_load() {
    let server = Private::start("redis-cluster").await;
    for shape in [Shape::Cluster, Shape::ClusterKeys] {
        let fault = async {
            server.kill().await;
            server.start_again().await;
        };
        contract::fault_under_load(&Redis::new(server.port("redis-cluster"), shape), fault).await;
    }
}

#[tokio::test]
async fn a_server_without_memory() {
    let server = Private::start("redis").await;
    let url = format!("redis://127.0.0.1:{}", server.port("redis"));
    for shape in [Shape::Stream, Shape::List] {
        let fill = run::<()>(&url, "CONFIG SET maxmemory 1");
        let free = run::<()>(&url, "CONFIG SET maxmemory 0");
        contract::full(&Redis::new(server.port("redis"), shape), fill, free).await;
    }
}

#[tokio::test]
async fn a_server_with_a_full_disk() {
    let server = Private::with("redis", &[("TRUNKLINE_SERVICES_DISK", "100m")]).await;
    // With `always` it ends when it cannot write.
    run::<()>(&format!("redis://127.0.0.1:{}", server.port("redis")), "CONFIG SET appendfsync everysec").await;
    let subject = Redis::new(server.port("redis"), Shape::Stream);
    contract::full(&subject, server.fill_disk(), server.free_disk()).await;
}

#[tokio::test]
async fn an_event_that_the_server_will_never_take() {
    let server = Private::start("redis").await;
    run::<()>(&format!("redis://127.0.0.1:{}", server.port("redis")), "CONFIG SET proto-max-bulk-len 1048576").await;
    for shape in [Shape::Stream, Shape::List] {
        contract::poison(&Redis::new(server.port("redis"), shape), vec![b'x'; 2 << 20]).await;
    }
}

#[tokio::test]
async fn a_server_that_will_not_have_us() {
    let port = services::port("redis");
    let refused = broker(&format!("url: redis://127.0.0.1:{port}\nusername: nobody\npassword: hunter2"));
    contract::refused(&*refused, &[&format!("Redis at 127.0.0.1:{port}"), "user name"], &["hunter2"]).await;
}
