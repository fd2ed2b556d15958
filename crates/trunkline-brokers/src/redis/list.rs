//! Reads a list.
//!
//! Elements are moved to the end of a second list and read from there, so that it does not matter when an answer is lost on the
//! way: what was moved is found at the next reading.
//!
//! Whoever begins to read leaves a token beside the list, and removes nothing once it is the token of another: both were handed
//! the same elements, and what both removed would be twice as many.

use async_trait::async_trait;
use bytes::Bytes;
use redis::cmd;
use trunkline_core::{Reader, Received, Source as _};
use uuid::Uuid;

use super::End;
use super::address::Connection;
use super::source::{BLOCK, MOST, RedisSource};

/// KEYS: the second list, the key of the token. ARGV: our token, how many elements to remove.
const SETTLE: &str = r"
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('LTRIM', KEYS[1], ARGV[2], -1)
return 1
";

pub(super) struct ListReader {
    source: RedisSource,
    connection: Connection,
    token: String,
    /// How many elements at the head of the second list were handed out and are not yet settled.
    handed_out: usize,
}

impl ListReader {
    pub(super) async fn open(source: RedisSource, mut connection: Connection) -> Result<Self, String> {
        source.is_there(&mut connection).await?;
        let token = Uuid::new_v4().simple().to_string();
        let mut take_over = cmd("SET");
        take_over.arg(&source.reader).arg(&token);
        take_over.exec_async(&mut connection).await.map_err(|error| source.explain(&error))?;
        Ok(Self { source, connection, token, handed_out: 0 })
    }

    /// What was moved and not yet handed out.
    async fn moved(&mut self) -> redis::RedisResult<Vec<Vec<u8>>> {
        let mut range = cmd("LRANGE");
        range.arg(&self.source.processing).arg(self.handed_out).arg(self.handed_out + MOST - 1);
        range.query_async(&mut self.connection).await
    }

    /// Waits until something could be moved.
    async fn wait(&mut self) -> redis::RedisResult<()> {
        let from = if self.source.end == End::Right { "LEFT" } else { "RIGHT" };
        let (key, processing) = (&self.source.key, &self.source.processing);
        let mut first = cmd("BLMOVE");
        first.arg(key).arg(processing).arg(from).arg("RIGHT").arg(BLOCK);
        while first.query_async::<Option<Vec<u8>>>(&mut self.connection).await?.is_none() {}
        let more: usize = cmd("LLEN").arg(key).query_async(&mut self.connection).await?;
        if more > 0 {
            let mut rest = redis::pipe();
            for _ in 0..more.min(MOST - 1) {
                rest.cmd("LMOVE").arg(key).arg(processing).arg(from).arg("RIGHT").ignore();
            }
            rest.exec_async(&mut self.connection).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Reader for ListReader {
    async fn receive(&mut self) -> Result<Option<Vec<Received>>, String> {
        let explain = |source: &RedisSource, error| source.explain(&error);
        loop {
            let bodies = self.moved().await.map_err(|error| explain(&self.source, error))?;
            if !bodies.is_empty() {
                self.handed_out += bodies.len();
                let origin = format!("list {}", self.source.key);
                let received = |body| Received { body: Bytes::from(body), id: None, origin: origin.clone() };
                return Ok(Some(bodies.into_iter().map(received).collect()));
            }
            self.wait().await.map_err(|error| explain(&self.source, error))?;
        }
    }

    async fn settle(&mut self) -> Result<(), String> {
        // First: what is removed twice would be lost, what is removed never comes again.
        let count = std::mem::take(&mut self.handed_out);
        if count == 0 {
            return Ok(());
        }
        let RedisSource { processing, reader, .. } = &self.source;
        let mut settle = cmd("EVAL");
        settle.arg(SETTLE).arg(2).arg(processing).arg(reader).arg(&self.token).arg(count);
        let is_ours: bool = settle.query_async(&mut self.connection).await.map_err(|error| self.source.explain(&error))?;
        if is_ours {
            return Ok(());
        }
        Err(format!("another reader took over the {}; only one may read it at a time", self.source.place()))
    }
}
