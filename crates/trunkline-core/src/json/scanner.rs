//! The one pass: reads JSON, checks it, writes it in a layout.

use std::collections::HashSet;
use std::ops::Range;

use super::document::{Element, Member, Root};
use super::text::write_char;
use super::{Error, Layout, MAX_DEPTH};
use crate::limits::{MAX_INPUT_DEPTH, MAX_NUMBER_CHARS};

/// What a text may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Levels of nesting; there is room to remember 128.
    depth: u32,
    too_deep: &'static str,
    /// Characters of a number.
    number: usize,
}

impl Bounds {
    /// One that comes from outside.
    pub(super) const INPUT: Self =
        Self { depth: MAX_INPUT_DEPTH, too_deep: "more than 120 levels of nesting", number: MAX_NUMBER_CHARS };
    /// One that was accepted before.
    pub(super) const OURS: Self = Self { depth: MAX_DEPTH, too_deep: "more than 128 levels of nesting", number: usize::MAX };
}

/// `input` in `layout`, and the kind of its root.
pub(super) fn scan(input: &str, layout: Layout, bounds: Bounds) -> Result<(String, Root), Error> {
    let out = Vec::with_capacity(input.len() + input.len() / 8);
    let mut scanner = Scanner { text: input, input: input.as_bytes(), at: 0, out, layout, bounds };
    let root = scanner.document()?;
    Ok((String::from_utf8(scanner.out).expect("the scanner writes ASCII only"), root))
}

/// Reads `input`, writes `out`; a bit per open container says whether it is an object.
struct Scanner<'a> {
    text: &'a str,
    /// Its bytes.
    input: &'a [u8],
    at: usize,
    out: Vec<u8>,
    layout: Layout,
    bounds: Bounds,
}

impl Scanner<'_> {
    fn document(&mut self) -> Result<Root, Error> {
        self.space();
        let root = match self.peek() {
            Some(b'{') => {
                let mut members = Vec::new();
                self.container(b'{', b'}', |scanner| {
                    let key = scanner.spanned(Self::key)?;
                    let value = scanner.spanned(|scanner| scanner.value(1))?;
                    members.push(Member { key, value });
                    Ok(())
                })?;
                Root::Object(without_repeated(members, &self.out))
            }
            Some(b'[') => {
                let mut elements = Vec::new();
                self.container(b'[', b']', |scanner| {
                    let start = scanner.at;
                    let laid_out = scanner.spanned(|scanner| scanner.value(1))?;
                    elements.push(Element { laid_out, source: start..scanner.at });
                    Ok(())
                })?;
                Root::Array(elements)
            }
            _ => {
                self.value(0)?;
                Root::Scalar
            }
        };
        self.space();
        if self.at < self.input.len() { Err(self.error("something after the end of the document")) } else { Ok(root) }
    }

    /// Runs `read` and answers which part of the output it wrote; a key's range ends before its colon.
    fn spanned(&mut self, read: impl FnOnce(&mut Self) -> Result<(), Error>) -> Result<Range<usize>, Error> {
        let start = self.out.len();
        read(self)?;
        let mut end = self.out.len();
        while end > start && matches!(self.out[end - 1], b':' | b' ') {
            end -= 1;
        }
        Ok(start..end)
    }

    /// An object or array, each entry read by `entry`.
    fn container(&mut self, open: u8, close: u8, mut entry: impl FnMut(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        self.take(open);
        self.space();
        if self.peek() == Some(close) {
            self.take(close);
            return Ok(());
        }
        loop {
            self.space();
            entry(self)?;
            self.space();
            match self.peek() {
                Some(b',') => self.comma(),
                Some(found) if found == close => {
                    self.take(close);
                    return Ok(());
                }
                Some(_) => return Err(self.error("expected a comma or the end of the list")),
                None => return Err(self.error("the text ends too early")),
            }
        }
    }

    /// Any value inside `depth` open containers. Does not recurse: a bit of `objects` per open container says its kind.
    fn value(&mut self, depth: u32) -> Result<(), Error> {
        let mut objects: u128 = 0;
        let mut open = 0;
        loop {
            self.space();
            match self.peek() {
                Some(found @ (b'{' | b'[')) => {
                    if depth + open >= self.bounds.depth {
                        return Err(self.error(self.bounds.too_deep));
                    }
                    let is_object = found == b'{';
                    self.take(found);
                    self.space();
                    open += 1;
                    objects = (objects << 1) | u128::from(is_object);
                    if self.peek() == Some(if is_object { b'}' } else { b']' }) {
                        // Empty: closed below like any other.
                    } else {
                        if is_object {
                            self.key()?;
                        }
                        continue;
                    }
                }
                Some(b'"') => self.string()?,
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.literal(b"true")?,
                Some(b'f') => self.literal(b"false")?,
                Some(b'n') => self.literal(b"null")?,
                Some(_) => return Err(self.error("expected a value")),
                None => return Err(self.error("the text ends too early")),
            }
            loop {
                if open == 0 {
                    return Ok(());
                }
                let is_object = objects & 1 == 1;
                self.space();
                match (self.peek(), is_object) {
                    (Some(b','), _) => {
                        self.comma();
                        if is_object {
                            self.space();
                            self.key()?;
                        }
                        break;
                    }
                    (Some(close @ b'}'), true) | (Some(close @ b']'), false) => {
                        self.take(close);
                        open -= 1;
                        objects >>= 1;
                    }
                    (Some(_), _) => return Err(self.error("expected a comma or the end of the list")),
                    (None, _) => return Err(self.error("the text ends too early")),
                }
            }
        }
    }

    /// A key and its colon.
    fn key(&mut self) -> Result<(), Error> {
        if self.peek() != Some(b'"') {
            return Err(self.error("expected a key in double quotes"));
        }
        self.string()?;
        self.space();
        if self.peek() != Some(b':') {
            return Err(self.error("expected a colon"));
        }
        self.at += 1;
        self.out.extend_from_slice(if self.layout == Layout::Dumps { b": " } else { b":" });
        Ok(())
    }

    fn string(&mut self) -> Result<(), Error> {
        self.take(b'"');
        loop {
            let rest = &self.input[self.at..];
            let plain = rest.iter().position(|&byte| !is_plain(byte)).unwrap_or(rest.len());
            self.out.extend_from_slice(&rest[..plain]);
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.take(b'"');
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(0..=0x1f) => return Err(self.error("a control character inside a string")),
                Some(b'/') => {
                    self.at += 1;
                    write_char('/', self.layout, &mut self.out);
                }
                Some(_) => {
                    let rest = self.text.get(self.at..).expect("a character begins after a character");
                    let char = rest.chars().next().expect("a byte was there");
                    self.at += char.len_utf8();
                    write_char(char, self.layout, &mut self.out);
                }
                None => return Err(self.error("the text ends inside a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Error> {
        let start = self.at;
        self.at += 1;
        let char = match self.peek() {
            Some(plain @ (b'"' | b'\\' | b'/')) => char::from(plain),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                let char = self.unicode_escape().map_err(|reason| Error { reason, at: start })?;
                write_char(char, self.layout, &mut self.out);
                return Ok(());
            }
            _ => return Err(Error { reason: "an unknown escape inside a string", at: start }),
        };
        self.at += 1;
        write_char(char, self.layout, &mut self.out);
        Ok(())
    }

    /// The character of `XXXX` or `XXXX\uXXXX`, the first `\u` being read.
    fn unicode_escape(&mut self) -> Result<char, &'static str> {
        let first = self.hex4()?;
        let code = match first {
            0xd800..=0xdbff if self.input[self.at..].starts_with(b"\\u") => {
                self.at += 2;
                let second = self.hex4()?;
                if !(0xdc00..=0xdfff).contains(&second) {
                    return Err("a lone surrogate inside a string");
                }
                0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            code => code,
        };
        char::from_u32(code).ok_or("a lone surrogate inside a string")
    }

    fn hex4(&mut self) -> Result<u32, &'static str> {
        let digits = self.input.get(self.at..self.at + 4).ok_or("the text ends inside a string")?;
        let mut code = 0;
        for &digit in digits {
            code = code * 16 + char::from(digit).to_digit(16).ok_or("an escape that is not four hexadecimal digits")?;
        }
        self.at += 4;
        Ok(code)
    }

    /// A number, digits untouched.
    fn number(&mut self) -> Result<(), Error> {
        let start = self.at;
        self.skip(|byte| byte == b'-', 1);
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return Err(self.error("expected a digit")),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.skip(|byte| matches!(byte, b'+' | b'-'), 1);
            self.digits()?;
        }
        if self.at - start > self.bounds.number {
            return Err(Error { reason: "a number of more than 1000 characters", at: start });
        }
        self.out.extend_from_slice(&self.input[start..self.at]);
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Error> {
        if self.skip(|byte| byte.is_ascii_digit(), usize::MAX) == 0 { Err(self.error("expected a digit")) } else { Ok(()) }
    }

    fn literal(&mut self, word: &'static [u8]) -> Result<(), Error> {
        if !self.input[self.at..].starts_with(word) {
            return Err(self.error("expected a value"));
        }
        self.at += word.len();
        self.out.extend_from_slice(word);
        Ok(())
    }

    fn comma(&mut self) {
        self.at += 1;
        self.out.extend_from_slice(if self.layout == Layout::Dumps { b", " } else { b"," });
    }

    fn take(&mut self, byte: u8) {
        self.at += 1;
        self.out.push(byte);
    }

    fn space(&mut self) {
        self.skip(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t'), usize::MAX);
    }

    fn skip(&mut self, accept: impl Fn(u8) -> bool, most: usize) -> usize {
        let count = self.input[self.at..].iter().take(most).take_while(|&&byte| accept(byte)).count();
        self.at += count;
        count
    }

    fn peek(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    fn error(&self, reason: &'static str) -> Error {
        Error { reason, at: self.at }
    }
}

/// `members` with the last of each key only.
fn without_repeated(mut members: Vec<Member>, out: &[u8]) -> Vec<Member> {
    let key = |member: &Member| &out[member.key.clone()];
    // Comparing a few is quicker than hashing them; comparing many would take a time that a sender could choose.
    let few = members.len() <= 16;
    if few && members.iter().enumerate().all(|(index, member)| !members[..index].iter().any(|other| key(other) == key(member))) {
        return members;
    }
    let mut seen = HashSet::with_capacity(members.len());
    let mut keep: Vec<bool> = members.iter().rev().map(|member| seen.insert(key(member))).collect();
    members.retain(|_| keep.pop().unwrap_or(true));
    members
}

/// Stands for itself in every layout.
fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7f) && !matches!(byte, b'"' | b'\\' | b'/')
}
