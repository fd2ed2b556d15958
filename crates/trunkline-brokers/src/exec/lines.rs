//! Lines of a bounded length, read so that the wait for one may be given up.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, BufReader};

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line without its end.
    Whole(Vec<u8>),
    /// The first part of a line that is longer than it may be; the rest follows.
    Part(Vec<u8>),
}

/// Reads lines. What was read of one stays here when the future of [`next`](Self::next) is dropped.
#[derive(Debug)]
pub(super) struct Lines<R> {
    reader: R,
    partial: Vec<u8>,
    longest: usize,
}

impl<R: tokio::io::AsyncRead + Unpin> Lines<BufReader<R>> {
    /// Lines of up to `longest` bytes.
    pub(super) fn new(reader: R, longest: usize) -> Self {
        Self { reader: BufReader::with_capacity(64 << 10, reader), partial: Vec::new(), longest }
    }
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    /// The next line; `None` at the end, and what stood there without a line feed is a line too.
    pub(super) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let available = self.reader.fill_buf().await?;
            if available.is_empty() {
                return Ok((!self.partial.is_empty()).then(|| Line::Whole(std::mem::take(&mut self.partial))));
            }
            let room = self.longest.saturating_sub(self.partial.len());
            let end = available.iter().position(|&byte| byte == b'\n');
            let length = end.unwrap_or(available.len());
            if length > room {
                self.partial.extend_from_slice(available.get(..room).unwrap_or_default());
                self.reader.consume(room);
                return Ok(Some(Line::Part(std::mem::take(&mut self.partial))));
            }
            self.partial.extend_from_slice(available.get(..length).unwrap_or_default());
            self.reader.consume(length + usize::from(end.is_some()));
            if end.is_some() {
                return Ok(Some(Line::Whole(std::mem::take(&mut self.partial))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(text: &[u8], longest: usize, capacity: usize) -> Vec<Line> {
        let mut lines = Lines { reader: BufReader::with_capacity(capacity, text), partial: Vec::new(), longest };
        let mut all = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            all.push(line);
        }
        all
    }

    #[tokio::test]
    async fn lines_come_whole_however_they_are_cut() {
        let whole = |text: &str| Line::Whole(text.as_bytes().to_vec());
        for capacity in [1, 2, 3, 64] {
            assert_eq!(read(b"one\n\ntwo\nend", 8, capacity).await, [whole("one"), whole(""), whole("two"), whole("end")]);
        }
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_comes_in_parts() {
        let part = |text: &str| Line::Part(text.as_bytes().to_vec());
        for capacity in [1, 3, 64] {
            let expected = [part("abc"), part("def"), Line::Whole(b"g".to_vec()), Line::Whole(b"xyz".to_vec())];
            assert_eq!(read(b"abcdefg\nxyz\n", 3, capacity).await, expected);
        }
    }
}
