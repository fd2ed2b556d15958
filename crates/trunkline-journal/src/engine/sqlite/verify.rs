//! Reading everything once, and saying what is wrong.

use std::collections::HashMap;
use std::ops::ControlFlow;

use serde::Serialize;
use trunkline_core::{Offset, Timestamp};

use super::index;
use super::read::{self, Connections};
use super::row::Found;
use crate::engine::Record;

/// What a complete reading of a journal found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verification {
    /// The records read.
    pub records: u64,
    /// The bytes of their bodies.
    pub bytes: u64,
    /// The offsets of records that are not as they were written, or cannot be read.
    pub damaged: Vec<Offset>,
    /// Ranges of offsets without a record, the first and the last of each, after the oldest record.
    pub missing: Vec<(Offset, Offset)>,
    /// Offsets at which the time is earlier than before.
    pub out_of_order: Vec<Offset>,
    /// Identities that stand in more than one record, with the offsets: a deduplication that failed, unless the window had
    /// passed between them.
    pub repeated_identities: Vec<(String, Vec<Offset>)>,
    /// What SQLite's own check of the file says; empty when nothing.
    pub database: Vec<String>,
}

impl Verification {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty() && self.missing.is_empty() && self.out_of_order.is_empty() && self.database.is_empty()
    }
}

pub(super) fn verify(reader: &Connections, progress: &mut dyn FnMut(Offset, Offset)) -> Result<Verification, rusqlite::Error> {
    let mut found = Verification::default();
    let Some((first, last)) = read::bounds(&reader.events)? else { return Ok(found) };
    let mut identities: HashMap<i64, Vec<Offset>> = HashMap::new();
    let (mut expected, mut latest) = (first, Timestamp::default());
    read::visit(&reader.events, reader.journal, first, last, &mut |record| {
        let offset = match record {
            Found::Event(Record { event, identity }) => {
                found.records += 1;
                found.bytes += event.body.len() as u64;
                if event.time < latest {
                    found.out_of_order.push(event.offset);
                }
                latest = event.time;
                if let Some(identity) = identity {
                    let hash = index::hash(&event.conversation, &identity);
                    identities.entry(hash).or_default().push(event.offset);
                }
                event.offset
            }
            Found::Damaged(offset) => {
                found.damaged.push(offset);
                offset
            }
        };
        if offset > expected {
            found.missing.push((expected, offset - 1));
        }
        expected = offset + 1;
        if offset % 65_536 == 0 {
            progress(offset, last);
        }
        ControlFlow::Continue(())
    })?;
    progress(last, last);
    for offsets in identities.into_values().filter(|offsets| offsets.len() > 1) {
        let mut by_identity: HashMap<String, Vec<Offset>> = HashMap::new();
        for offset in offsets {
            if let Some(Found::Event(Record { identity: Some(identity), .. })) = reader.get(offset)? {
                by_identity.entry(identity).or_default().push(offset);
            }
        }
        found.repeated_identities.extend(by_identity.into_iter().filter(|(_, offsets)| offsets.len() > 1));
    }
    found.repeated_identities.sort_unstable();
    let mut check = reader.events.prepare("PRAGMA quick_check(20)")?;
    let lines = check.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    found.database = lines.into_iter().filter(|line| line != "ok").collect();
    Ok(found)
}
