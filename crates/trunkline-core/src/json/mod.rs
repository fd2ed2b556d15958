//! JSON as Rasa's Python writes it, from any JSON text, without building a tree.
//!
//! Bodies travel as they came: numbers keep every digit, unknown members and their order survive. What changes is the
//! layout, because consumers compare and parse lines that the originals wrote. [`lay_out`] checks a document and rewrites its
//! white space and string escapes in one pass, and remembers where the parts of its outermost value stand.
//!
//! Refused, because a receiver behind us might refuse it: anything after the document, more than [`MAX_INPUT_DEPTH`] levels,
//! numbers of more than [`MAX_NUMBER_CHARS`] characters, lone surrogates, control characters inside strings, `NaN` and `Infinity`.
//!
//! [`MAX_INPUT_DEPTH`]: crate::limits::MAX_INPUT_DEPTH
//! [`MAX_NUMBER_CHARS`]: crate::limits::MAX_NUMBER_CHARS

mod document;
mod scanner;
#[cfg(test)]
mod tests;
mod text;

pub use document::{Document, Error, Layout, MAX_DEPTH, lay_out, lay_out_input};
pub use text::{quote, unquote};
