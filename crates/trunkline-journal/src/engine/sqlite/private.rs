//! Files and a directory that only the user of the gateway may read: they hold what people write.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Of a file.
pub(super) const FILE: u32 = 0o600;
/// Of a directory.
const DIRECTORY: u32 = 0o700;
/// Those of group and others.
const SHARED: u32 = 0o077;

/// The files of a journal.
const FILES: [&str; 7] =
    ["journal.db", "journal.db-wal", "journal.db-shm", "index.db", "index.db-wal", "index.db-shm", "journal.lock"];
/// What else a gateway keeps in its directory. One that holds anything more is not ours alone.
const OTHERS: [&str; 4] = ["gateway.json", "rejected", "exports", "positions"];

/// Makes the directory of a journal, or takes the rights of others on it away. Where it holds files of others too, or belongs to
/// somebody else, that is said and no more: the files are private in any case.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(DIRECTORY).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let mode = mode_of(path)?;
    if mode & SHARED != 0 && !(is_ours_alone(path)? && restrict(path).is_ok()) {
        let directory = path.display();
        tracing::warn!(
            %directory,
            mode = format!("{mode:04o}"),
            "Directory of the journal is open to other users of this machine; give the journal one of its own, with mode 0700"
        );
    }
    for file in FILES.map(|name| path.join(name)).iter().filter(|file| file.exists()) {
        if let Err(error) = restrict(file) {
            let file = file.display();
            tracing::warn!(%file, %error, "Other users of this machine may read this file, and that cannot be changed");
        }
    }
    Ok(())
}

/// Makes the file of a database before SQLite does, which would let others read it. Its log and its shared memory get the rights that
/// it has.
pub(super) fn make_file(path: &Path) -> io::Result<()> {
    OpenOptions::new().create(true).append(true).mode(FILE).open(path).map(drop)
}

fn is_ours_alone(directory: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        if !FILES.iter().chain(&OTHERS).any(|ours| name == *ours) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Takes the rights of others away from what is there.
fn restrict(path: &Path) -> io::Result<()> {
    let mode = mode_of(path)?;
    if mode & SHARED == 0 { Ok(()) } else { fs::set_permissions(path, Permissions::from_mode(mode & !SHARED)) }
}

fn mode_of(path: &Path) -> io::Result<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o7777)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn mode(path: &Path) -> u32 {
        mode_of(path).unwrap()
    }

    #[test]
    fn a_directory_is_made_for_its_user_alone_and_its_parents_as_usual() {
        let home = TempDir::new().unwrap();
        let path = home.path().join("var/journal");
        make_directory(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&home.path().join("var")) & 0o700, 0o700);
        make_file(&path.join("journal.db")).unwrap();
        assert_eq!(mode(&path.join("journal.db")), 0o600);
    }

    #[test]
    fn what_is_there_is_taken_from_others_unless_it_is_theirs() {
        for (other, expected) in [(None, 0o700), (Some("notes.txt"), 0o755)] {
            let home = TempDir::new().unwrap();
            let path = home.path().join("journal");
            fs::create_dir(&path).unwrap();
            for name in FILES.into_iter().chain(other) {
                fs::write(path.join(name), b"").unwrap();
                fs::set_permissions(path.join(name), Permissions::from_mode(0o664)).unwrap();
            }
            fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
            make_directory(&path).unwrap();
            assert_eq!(mode(&path), expected);
            assert!(FILES.iter().all(|name| mode(&path.join(name)) == 0o600));
            assert!(other.is_none_or(|other| mode(&path.join(other)) == 0o664));
        }
    }
}
