//! The source: reads what is in a stream or a list, and takes it away only when it is settled.

use async_trait::async_trait;
use redis::cmd;
use trunkline_core::{Place, Reader, Source};

use super::address::{Address, Connection, RESPONSE_TIMEOUT};
use super::list::ListReader;
use super::stream::StreamReader;
use super::{End, Structure};

/// The longest that the server is asked to wait for the next entry, in seconds. Then it is asked again, so a connection that died
/// without a word is noticed.
pub(super) const BLOCK: u64 = 5;

/// How many entries are read at a time.
pub(super) const MOST: usize = 256;

/// Reads events from a stream or a list.
///
/// A stream is read as a group of consumers, with the group's name as that of the consumer, and entries are acknowledged when they
/// are settled. The elements of a list are moved to another list, `…:processing`, and removed from there when they are settled. So
/// only one reader may use the same group or list at a time; unsettled events come first when it begins anew. A second
/// reader of a list takes over from the first, which fails when it settles, and nothing is lost for both.
#[derive(Clone, Debug)]
pub struct RedisSource {
    pub(super) address: Address,
    pub(super) structure: Structure,
    /// Where events are added to a list; they are read from the other end.
    pub(super) end: End,
    pub(super) key: String,
    /// The list beside `key` that holds what is not yet settled.
    pub(super) processing: String,
    /// The key beside the list that holds the token of its reader.
    pub(super) reader: String,
    pub(super) group: String,
}

#[async_trait]
impl Source for RedisSource {
    fn place(&self) -> Place {
        self.structure.place(&self.key, &self.address.place).into()
    }

    async fn open_at(&self, _position: Option<&str>) -> Result<Box<dyn Reader>, String> {
        let connection = self.address.connect(RESPONSE_TIMEOUT + std::time::Duration::from_secs(BLOCK)).await?;
        Ok(match self.structure {
            Structure::Stream => Box::new(StreamReader::open(self.clone(), connection).await?),
            Structure::List => Box::new(ListReader::open(self.clone(), connection).await?),
        })
    }

    async fn is_ready(&self) -> Result<(), String> {
        let mut connection = self.address.connect(RESPONSE_TIMEOUT).await?;
        let is_there = self.is_there(&mut connection).await?;
        let mut probe = match self.structure {
            Structure::Stream => cmd("XACK"),
            Structure::List => cmd("LTRIM"),
        };
        match self.structure {
            Structure::Stream if !is_there => {
                return Err(format!("there is no {}; it appears with the first event that is published", self.place()));
            }
            // Both are refused where reading would be, and change nothing: no entry has this id, and all elements are kept.
            Structure::Stream => probe.arg(&self.key).arg(&self.group).arg("0-0"),
            Structure::List => probe.arg(&self.processing).arg(0).arg(-1),
        };
        probe.exec_async(&mut connection).await.map_err(|error| self.explain(&error))
    }
}

impl RedisSource {
    pub(super) fn explain(&self, error: &redis::RedisError) -> String {
        self.address.explain(error)
    }

    /// Whether there is anything at the key; an error when it is of another type.
    pub(super) async fn is_there(&self, connection: &mut Connection) -> Result<bool, String> {
        let found: String = cmd("TYPE").arg(&self.key).query_async(connection).await.map_err(|error| self.explain(&error))?;
        match found.as_str() {
            "none" => Ok(false),
            found if found == self.structure.name() => Ok(true),
            found => Err(self.wrong_type(found)),
        }
    }

    /// An error that names the key when it is of another type.
    fn wrong_type(&self, found: &str) -> String {
        let (place, key, expected) = (&self.address.place, &self.key, self.structure.name());
        format!("the key `{key}` of {place} is a {found}, and a {expected} is expected; set `structure` or another `key`")
    }
}
