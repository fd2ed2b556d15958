//! What becomes of rotated files: the oldest are removed, the others compressed, behind the back of those who wait for a
//! batch.
//!
//! A file is compressed under another name, which becomes `….gz` when it is on the disk; only then the original is removed. So
//! nothing is lost when this is cut short at any point: what is still there uncompressed is compressed at the next start or
//! rotation.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::runtime::Handle;
use tracing::{Span, warn};

use super::Rotation;
use super::rotation::{Stamp, directory_of, with_suffix};
use crate::paths::Identity;

/// How long closing waits for what is under way.
const LONGEST_END: Duration = Duration::from_secs(5);

/// Puts the rotated files of one path in order, on one thread at a time.
#[derive(Debug)]
pub(super) struct Tidy(Arc<Work>);

#[derive(Debug)]
struct Work {
    path: PathBuf,
    rotation: Rotation,
    progress: Mutex<Progress>,
    has_ended: Condvar,
}

#[derive(Debug, Default)]
struct Progress {
    is_running: bool,
    /// Something was rotated that was not looked at yet.
    is_wanted: bool,
    is_stopped: bool,
}

impl Tidy {
    pub(super) fn new(path: &Path, rotation: &Rotation) -> Self {
        let (path, rotation) = (path.to_owned(), rotation.clone());
        Self(Arc::new(Work { path, rotation, progress: Mutex::default(), has_ended: Condvar::new() }))
    }

    /// Begins, or sees to it that what is under way looks once more.
    pub(super) fn start(&self) {
        if self.0.rotation.keep.is_none() && !self.0.rotation.compress {
            return;
        }
        let mut progress = self.0.progress();
        (progress.is_wanted, progress.is_stopped) = (true, false);
        if !progress.is_running {
            progress.is_running = true;
            let (work, span) = (Arc::clone(&self.0), Span::current());
            Handle::current().spawn_blocking(move || span.in_scope(|| work.run()));
        }
    }

    /// Ends what is under way, and waits for it; it is done at the next start.
    pub(super) fn stop(&self) {
        let mut progress = self.0.progress();
        progress.is_stopped = true;
        // It ends with the piece that it is at. The limit is for a disk that hangs.
        drop(self.0.has_ended.wait_timeout_while(progress, LONGEST_END, |progress| progress.is_running));
    }
}

impl Drop for Tidy {
    fn drop(&mut self) {
        self.0.progress().is_stopped = true;
    }
}

impl Work {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        loop {
            {
                let mut progress = self.progress();
                if progress.is_stopped || !progress.is_wanted {
                    progress.is_running = false;
                    self.has_ended.notify_all();
                    return;
                }
                progress.is_wanted = false;
            }
            if let Err(error) = self.look() {
                warn!(%error, path = %self.path.display(), "Rotated files were not put in order; tried again at the next rotation");
            }
        }
    }

    fn look(&self) -> io::Result<()> {
        // Where the file is a symbolic link, the rotated ones lie beside what it leads to.
        let path = fs::canonicalize(&self.path)?;
        let stamps = Stamp::all(&path)?;
        let surplus = self.rotation.keep.map_or(0, |keep| stamps.len().saturating_sub(keep));
        for stamp in stamps.iter().take(surplus) {
            let plain = stamp.path(&path);
            for file in [compressed(&plain), unfinished(&plain), plain] {
                remove(&file)?;
            }
        }
        if self.rotation.compress {
            for stamp in stamps.iter().skip(surplus) {
                if self.progress().is_stopped {
                    return Ok(());
                }
                self.compress(&stamp.path(&path))?;
            }
        }
        Ok(())
    }

    fn compress(&self, plain: &Path) -> io::Result<()> {
        let mut source = match File::open(plain) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            source => source?,
        };
        // Another broker of this path, or one that was just closed, may be at it. Without locks it is done twice at worst.
        if matches!(source.try_lock(), Err(TryLockError::WouldBlock)) {
            return Ok(());
        }
        let metadata = source.metadata()?;
        if !Identity::new(&metadata).is_at(plain) {
            return Ok(());
        }
        let unfinished = unfinished(plain);
        let sink = OpenOptions::new().write(true).create(true).truncate(true).mode(metadata.mode() & 0o7777).open(&unfinished)?;
        if sink.metadata()?.mode() != metadata.mode() {
            sink.set_permissions(metadata.permissions())?;
        }
        match self.copy(&mut source, sink) {
            Ok(Some(sink)) => {
                sink.set_modified(metadata.modified()?)?;
                sink.sync_all()?;
                fs::rename(&unfinished, compressed(plain))?;
                File::open(directory_of(plain))?.sync_all()?;
                remove(plain)
            }
            Ok(None) => remove(&unfinished),
            Err(error) => {
                remove(&unfinished)?;
                Err(error)
            }
        }
    }

    /// `None` when it was stopped.
    fn copy(&self, source: &mut File, sink: File) -> io::Result<Option<File>> {
        let mut encoder = GzEncoder::new(sink, Compression::default());
        let mut chunk = vec![0; 64 << 10];
        loop {
            let count = source.read(&mut chunk)?;
            if count == 0 {
                return encoder.finish().map(Some);
            }
            if self.progress().is_stopped {
                return Ok(None);
            }
            encoder.write_all(chunk.get(..count).unwrap_or_default())?;
        }
    }
}

fn compressed(plain: &Path) -> PathBuf {
    with_suffix(plain, ".gz")
}

fn unfinished(plain: &Path) -> PathBuf {
    with_suffix(plain, ".gz.tmp")
}

/// Removes a file that somebody else may remove as well.
fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
