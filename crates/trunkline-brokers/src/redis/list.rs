//! Reads a list.
//!
//! Elements are moved to the end of a second list and read from there, so that it does not matter when an answer is lost on the
//! way: what was moved is found at the next reading.

use async_trait::async_trait;
use bytes::Bytes;
use redis::cmd;
use trunkline_core::{Reader, Received};

use super::End;
use super::address::Connection;
use super::source::{BLOCK, MOST, RedisSource};

pub(super) struct ListReader {
    source: RedisSource,
    connection: Connection,
    /// How many elements at the head of the second list were handed out and are not yet settled.
    handed_out: usize,
}

impl ListReader {
    pub(super) async fn open(source: RedisSource, mut connection: Connection) -> Result<Self, String> {
        let found: String =
            cmd("TYPE").arg(&source.key).query_async(&mut connection).await.map_err(|error| source.explain(&error))?;
        if found != "none" && found != source.structure.name() {
            return Err(source.wrong_type(&found));
        }
        Ok(Self { source, connection, handed_out: 0 })
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
        let mut trim = cmd("LTRIM");
        trim.arg(&self.source.processing).arg(count).arg(-1);
        trim.exec_async(&mut self.connection).await.map_err(|error| self.source.explain(&error))
    }
}
