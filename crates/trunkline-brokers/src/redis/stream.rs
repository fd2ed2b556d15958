//! Reads a stream as a group of consumers.
//!
//! Entries are only handed out from what the server has noted as delivered to us and not acknowledged. So it does not matter when
//! an answer is lost on the way: what it held is found at the next reading.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use redis::{RedisResult, Value, cmd, from_redis_value};
use trunkline_core::{Reader, Received};

use super::address::Connection;
use super::source::{BLOCK, MOST, RedisSource};
use super::{DATA, ID};

pub(super) struct StreamReader {
    source: RedisSource,
    connection: Connection,
    /// The id of the last entry handed out, or `0`.
    last: String,
    /// The ids of the entries that are not yet acknowledged.
    unsettled: Vec<String>,
}

struct Entry {
    id: String,
    /// None are left of an entry that was deleted or trimmed in the meantime.
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl StreamReader {
    /// Creates the group when there is none; it begins with the oldest entry.
    pub(super) async fn open(source: RedisSource, mut connection: Connection) -> Result<Self, String> {
        source.is_there(&mut connection).await?;
        let mut create = cmd("XGROUP");
        create.arg("CREATE").arg(&source.key).arg(&source.group).arg(0).arg("MKSTREAM");
        match create.exec_async(&mut connection).await {
            Err(error) if error.code() != Some("BUSYGROUP") => Err(source.explain(&error)),
            _ => Ok(Self { source, connection, last: "0".to_owned(), unsettled: Vec::new() }),
        }
    }

    /// What was delivered to us behind the last entry that was handed out.
    async fn delivered(&mut self) -> RedisResult<Vec<Entry>> {
        let group = &self.source.group;
        let mut read = cmd("XREADGROUP");
        read.arg("GROUP").arg(group).arg(group).arg("COUNT").arg(MOST).arg("STREAMS").arg(&self.source.key).arg(&self.last);
        entries(read.query_async(&mut self.connection).await?)
    }

    /// Waits until something more is delivered to us.
    async fn wait(&mut self) -> RedisResult<()> {
        let group = &self.source.group;
        let mut read = cmd("XREADGROUP");
        read.arg("GROUP").arg(group).arg(group).arg("COUNT").arg(MOST).arg("BLOCK").arg(BLOCK * 1000);
        read.arg("STREAMS").arg(&self.source.key).arg(">");
        while read.query_async::<Value>(&mut self.connection).await? == Value::Nil {}
        Ok(())
    }

    async fn next(&mut self) -> RedisResult<Vec<Received>> {
        loop {
            let entries = self.delivered().await?;
            let Some(last) = entries.last() else {
                self.wait().await?;
                continue;
            };
            self.last.clone_from(&last.id);
            self.unsettled.extend(entries.iter().map(|entry| entry.id.clone()));
            let received: Vec<Received> = entries.into_iter().filter_map(|entry| entry.received(&self.source.key)).collect();
            if !received.is_empty() {
                return Ok(received);
            }
        }
    }
}

impl Entry {
    /// Ours have the body under a name; of others the first value is taken.
    fn received(self, key: &str) -> Option<Received> {
        let find = |name: &str| self.fields.iter().position(|(field, _)| field == name.as_bytes());
        let ours = find(ID).and_then(|at| self.fields.get(at)).and_then(|(_, id)| std::str::from_utf8(id).ok());
        let id: Arc<str> = ours.map_or_else(|| format!("{key}/{}", self.id).into(), Into::into);
        let at = find(DATA).unwrap_or(0);
        let origin = format!("stream {key}, entry {}", self.id);
        let (_, body) = self.fields.into_iter().nth(at)?;
        Some(Received { body: Bytes::from(body), id: Some(id), origin })
    }
}

/// The entries in the answer of `XREADGROUP` for one stream.
fn entries(answer: Value) -> RedisResult<Vec<Entry>> {
    let Some(stream) = array(answer).into_iter().next() else { return Ok(Vec::new()) };
    let entries = array(stream).into_iter().nth(1).map(array).unwrap_or_default();
    entries
        .into_iter()
        .map(|entry| {
            let mut parts = array(entry).into_iter();
            let id = from_redis_value(parts.next().unwrap_or(Value::Nil))?;
            let mut values = parts.next().map(array).unwrap_or_default().into_iter();
            let mut fields = Vec::new();
            while let (Some(field), Some(value)) = (values.next(), values.next()) {
                fields.push((from_redis_value(field)?, from_redis_value(value)?));
            }
            Ok(Entry { id, fields })
        })
        .collect()
}

fn array(value: Value) -> Vec<Value> {
    if let Value::Array(values) = value { values } else { Vec::new() }
}

#[async_trait]
impl Reader for StreamReader {
    async fn receive(&mut self) -> Result<Option<Vec<Received>>, String> {
        self.next().await.map(Some).map_err(|error| self.source.explain(&error))
    }

    async fn settle(&mut self) -> Result<(), String> {
        while !self.unsettled.is_empty() {
            let count = self.unsettled.len().min(MOST);
            let mut acknowledge = cmd("XACK");
            acknowledge.arg(&self.source.key).arg(&self.source.group).arg(self.unsettled.get(..count));
            acknowledge.exec_async(&mut self.connection).await.map_err(|error| self.source.explain(&error))?;
            self.unsettled.drain(..count);
        }
        Ok(())
    }
}
