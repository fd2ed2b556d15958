//! What a tree may cost, so that a small file of aliases cannot grow into a large tree.

use super::{MAX_DEPTH, MAX_NODES};
use crate::node::{Node, Value};

/// The largest amount of text in a tree, with what aliases copy and variables bring in, in bytes.
const MAX_TEXT: usize = 8 << 20;

/// What is used up so far.
#[derive(Default)]
pub(super) struct Budget {
    nodes: usize,
    text: usize,
}

type Charged = std::result::Result<(), String>;

impl Budget {
    /// Counts a key or value at `depth` with `text` bytes.
    pub(super) fn charge(&mut self, text: usize, depth: usize) -> Charged {
        self.nodes += 1;
        self.text += text;
        if depth > MAX_DEPTH {
            return Err(format!("nested deeper than {MAX_DEPTH} levels"));
        }
        if self.nodes > MAX_NODES {
            return Err(format!("more than {MAX_NODES} keys and values, counting what aliases copy"));
        }
        if self.text > MAX_TEXT {
            return Err(format!("more than {MAX_TEXT} bytes of text, counting what aliases copy"));
        }
        Ok(())
    }

    /// Counts a tree that is to be copied to `depth`.
    pub(super) fn charge_tree(&mut self, node: &Node, depth: usize) -> Charged {
        self.charge(node.text().map_or(0, str::len), depth)?;
        match &node.value {
            Value::Sequence(items) => items.iter().try_for_each(|item| self.charge_tree(item, depth + 1)),
            Value::Mapping(entries) => entries.iter().try_for_each(|(key, value)| {
                self.charge(key.name.len(), depth)?;
                self.charge_tree(value, depth + 1)
            }),
            _ => Ok(()),
        }
    }
}
