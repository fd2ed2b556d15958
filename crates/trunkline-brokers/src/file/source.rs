//! A file as a source: follows it as it grows, through rotations.
//!
//! A line is handed out when it is complete. When the file has been renamed and another has taken its place, what is left of
//! the old one is read first, then the files that were rotated in between, as far as they lie beside it uncompressed, then the
//! new one. When the file becomes shorter than what was read of it, it is read from its beginning.
//!
//! A line's id is the inode of its file, its place there, and a digest of its bytes: the same when the line is read again, also
//! after a restart or under another name, and different for all others, also when the system gives an inode out again. With
//! `position` it is remembered in a small file how far everything is settled; when the file that was read last is gone by then,
//! reading goes on with the oldest that was written after it. Without, every start begins where `start` says, and whoever takes
//! the events knows from the ids what it already has.

use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;
use tracing::{info, warn};
use trunkline_core::{Reader, Received, Source};

use super::place::{FilePosition, read_at_most};
use super::siblings::{next_file, siblings};
use crate::paths::{Identity, describe, missing_directory};

/// How often a file without news is looked at.
const INTERVAL: Duration = Duration::from_millis(200);

/// The most lines handed out at once.
const MOST_LINES: usize = 256;

/// How much is read at once, unless a single line is longer.
const CHUNK: usize = 256 << 10;

/// The longest line.
const MOST_LINE: usize = 64 << 20;

/// Where a file without a remembered position is begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With its first line.
    #[default]
    Beginning,
    /// With what is appended from now on.
    Now,
}

/// Follows a file. See the [module](crate::file) for what it promises.
#[derive(Debug)]
pub struct FileSource {
    path: Arc<Path>,
    start: Start,
    /// The file that remembers the position; without one whoever reads does.
    position: Option<Arc<Path>>,
}

impl FileSource {
    /// A source that follows `path`, and remembers how far in the file at `position`. Nothing is opened yet.
    pub fn new(path: impl Into<PathBuf>, start: Start, position: Option<PathBuf>) -> Self {
        Self { path: path.into().into(), start, position: position.map(Into::into) }
    }
}

#[async_trait]
impl Source for FileSource {
    fn place(&self) -> trunkline_core::Place {
        super::place(&self.path)
    }

    /// Begins to read. A file that does not exist yet is waited for, provided that its directory exists.
    async fn open_at(&self, position: Option<&str>) -> Result<Box<dyn Reader>, String> {
        let known = position.filter(|_| self.position.is_none()).map(FilePosition::parse).transpose()?;
        let (path, position, start) = (Arc::clone(&self.path), self.position.clone(), self.start);
        let work = move || open(&path, known, position.as_deref(), start);
        let cursor = spawn_blocking(work).await.map_err(|error| error.to_string()).flatten()?;
        Ok(Box::new(Following { path: Arc::clone(&self.path), cursor, position: self.position.clone() }))
    }

    async fn is_ready(&self) -> Result<(), String> {
        let (path, position, start) = (Arc::clone(&self.path), self.position.clone(), self.start);
        spawn_blocking(move || open(&path, None, position.as_deref(), start).map(drop))
            .await
            .map_err(|error| error.to_string())
            .flatten()
    }
}

/// What is being read, and how far it was.
#[derive(Clone)]
struct Cursor {
    /// `None` while there is no file.
    file: Option<Arc<File>>,
    offset: u64,
    /// The inodes of the last files that were read to their end.
    finished: VecDeque<u64>,
}

/// How many finished files are remembered; more are not rotated in the shortest time that a file system tells apart.
const MOST_FINISHED: usize = 256;

struct Following {
    path: Arc<Path>,
    cursor: Cursor,
    position: Option<Arc<Path>>,
}

#[async_trait]
impl Reader for Following {
    async fn receive(&mut self) -> Result<Option<Vec<Received>>, String> {
        loop {
            let (path, cursor) = (Arc::clone(&self.path), self.cursor.clone());
            // Nothing changes here before the work has come back, so that a call may be given up at any time.
            let result = spawn_blocking(move || cursor.read(&path).map_err(|error| describe("read", &path, &error))).await;
            let (cursor, step) = result.map_err(|error| error.to_string()).flatten()?;
            self.cursor = cursor;
            match step {
                Step::Lines(lines) => return Ok(Some(lines)),
                Step::Again => {}
                Step::Wait => tokio::time::sleep(INTERVAL).await,
            }
        }
    }

    async fn settle(&mut self) -> Result<(), String> {
        let Some(position) = self.position.clone() else { return Ok(()) };
        let Some(place) = self.place().await? else { return Ok(()) };
        let store = move || place.store(&position).map_err(|error| describe("write", &position, &error));
        spawn_blocking(store).await.map_err(|error| error.to_string()).flatten()
    }

    async fn position(&mut self) -> Result<Option<String>, String> {
        if self.position.is_some() {
            return Ok(None);
        }
        Ok(self.place().await?.as_ref().map(ToString::to_string))
    }
}

impl Following {
    /// Where it stands; `None` while there is no file.
    async fn place(&self) -> Result<Option<FilePosition>, String> {
        let cursor = self.cursor.clone();
        let work = move || cursor.file.as_ref().map(|file| FilePosition::new(file, cursor.offset)).transpose();
        let place = spawn_blocking(work).await.map_err(|error| error.to_string())?;
        place.map_err(|error| describe("read", &self.path, &error))
    }
}

impl fmt::Debug for Following {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Following").field("path", &self.path).field("offset", &self.cursor.offset).finish_non_exhaustive()
    }
}

fn open(path: &Path, known: Option<FilePosition>, position: Option<&Path>, start: Start) -> Result<Cursor, String> {
    let known = match position {
        Some(position) => FilePosition::load(position).map_err(|error| describe("read", position, &error))?,
        None => known,
    };
    let file = match fs::metadata(path) {
        // It is waited for.
        Err(error) if error.kind() == ErrorKind::NotFound && missing_directory(path).is_none() => None,
        Err(error) => return Err(describe("open", path, &error)),
        // Opening a pipe would wait for somebody to write.
        Ok(metadata) if !metadata.is_file() => {
            return Err(format!("`{}` is no regular file and cannot be followed", path.display()));
        }
        Ok(_) => Some(File::open(path).map_err(|error| describe("open", path, &error))?),
    };
    let explain = |error: io::Error| describe("read", path, &error);
    if let Some(place) = known {
        return go_on(path, &place);
    }
    let offset = match (&file, start) {
        (Some(file), Start::Now) => file.metadata().map_err(explain)?.len(),
        _ => 0,
    };
    Ok(Cursor::at(file, offset))
}

/// Finds the place again: in the file itself, or else in a copy of it. When it is in neither, the file is gone, and what was
/// written after it comes next; what was read of that before is known by its ids.
fn go_on(path: &Path, place: &FilePosition) -> Result<Cursor, String> {
    let explain = |error: io::Error| describe("read", path, &error);
    let others = siblings(path).map_err(explain)?.into_iter().map(|sibling| sibling.path);
    let candidates: Vec<_> = std::iter::once(path.to_owned()).chain(others).collect();
    for is_there in [FilePosition::is_in, FilePosition::is_in_copy] {
        for candidate in &candidates {
            match File::open(candidate) {
                Ok(file) if is_there(place, &file).map_err(explain)? => return Ok(Cursor::at(Some(file), place.offset)),
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(describe("open", candidate, &error)),
                _ => {}
            }
        }
    }
    let next = next_file(path, &VecDeque::new(), place.written()).map_err(explain)?;
    warn!(path = %path.display(), next = %next.display(), "File that was read last is gone with what was not read of it");
    match File::open(&next) {
        Ok(file) => Ok(Cursor::at(Some(file), 0)),
        Err(error) if error.kind() == ErrorKind::NotFound && next == path => Ok(Cursor::at(None, 0)),
        Err(error) => Err(describe("open", &next, &error)),
    }
}

/// What one look brought.
enum Step {
    Lines(Vec<Received>),
    /// Something else is to be read now.
    Again,
    /// Nothing yet.
    Wait,
}

impl Cursor {
    fn at(file: Option<File>, offset: u64) -> Self {
        Self { file: file.map(Arc::new), offset, finished: VecDeque::new() }
    }

    /// Looks for complete lines behind the cursor; answers where the cursor is then.
    fn read(mut self, path: &Path) -> io::Result<(Self, Step)> {
        let Some(file) = &self.file else {
            return match File::open(path) {
                Ok(file) => Ok((Self::at(Some(file), 0), Step::Again)),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok((self, Step::Wait)),
                Err(error) => Err(error),
            };
        };
        let metadata = file.metadata()?;
        // Looked at before the end is read, so that nothing is left behind there. Whoever wrote goes on in the old file until it is
        // told to open the new one, which is empty until then.
        let is_replaced = !Identity::new(&metadata).is_at(path) && fs::metadata(path).is_ok_and(|new| new.len() > 0);
        let length = metadata.len();
        if length < self.offset {
            warn!(path = %path.display(), length, read = self.offset, "File is shorter than it was and is read from its beginning");
            self.offset = 0;
            return Ok((self, Step::Again));
        }
        let (lines, offset) = lines(file, &metadata, self.offset, path, is_replaced)?;
        if offset > self.offset {
            self.offset = offset;
            return Ok((self, if lines.is_empty() { Step::Again } else { Step::Lines(lines) }));
        }
        if !is_replaced {
            return Ok((self, Step::Wait));
        }
        self.finished.push_back(metadata.ino());
        let next = next_file(path, &self.finished, metadata.modified()?)?;
        match File::open(&next) {
            Ok(file) => {
                info!(path = %path.display(), next = %next.display(), "File was rotated");
                if self.finished.len() > MOST_FINISHED {
                    self.finished.pop_front();
                }
                Ok((Self { file: Some(Arc::new(file)), offset: 0, ..self }, Step::Again))
            }
            // Renamed or compressed just now; the next look finds out.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.finished.pop_back();
                Ok((self, Step::Wait))
            }
            Err(error) => Err(error),
        }
    }
}

/// The complete lines from `start` on, and where what follows them begins; the last line of a file to which nobody writes any
/// more (`is_over`) is complete as it is. Empty lines are passed over.
fn lines(file: &File, metadata: &Metadata, start: u64, path: &Path, is_over: bool) -> io::Result<(Vec<Received>, u64)> {
    let left = usize::try_from(metadata.len().saturating_sub(start)).unwrap_or(usize::MAX);
    let mut size = CHUNK;
    let (bytes, end) = loop {
        let mut bytes = vec![0; size.min(left)];
        let count = read_at_most(file, &mut bytes, start)?;
        bytes.truncate(count);
        if let Some(at) = bytes.iter().rposition(|&byte| byte == b'\n') {
            break (bytes, at + 1);
        }
        if count < size {
            break if is_over { (bytes, count) } else { (bytes, 0) };
        }
        if size >= MOST_LINE {
            let text = format!("the line at byte {start} is longer than 64 MiB");
            return Err(io::Error::new(ErrorKind::InvalidData, text));
        }
        size *= 2;
    };
    let bytes = Bytes::from(bytes).slice(..end);
    let (mut lines, mut at) = (Vec::new(), 0);
    while at < bytes.len() && lines.len() < MOST_LINES {
        let rest = bytes.slice(at..);
        let length = rest.iter().position(|&byte| byte == b'\n');
        let line = rest.slice(..length.unwrap_or(rest.len()));
        let offset = start + at as u64;
        at += length.map_or(rest.len(), |length| length + 1);
        if !line.trim_ascii().is_empty() {
            lines.push(received(line, metadata.ino(), offset, path));
        }
    }
    Ok((lines, start + at as u64))
}

fn received(line: Bytes, inode: u64, offset: u64, path: &Path) -> Received {
    let digest = Sha256::digest(&line);
    let id = digest.iter().take(16).fold(format!("{inode}-{offset}-"), |text, byte| format!("{text}{byte:02x}"));
    Received { body: line, id: Some(id.into()), origin: format!("{}, byte {offset}", path.display()) }
}
