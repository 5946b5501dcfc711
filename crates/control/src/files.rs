//! The data folder: who holds it, and files that only its owner reads.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// The right to use a data folder, for as long as it lives.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _file: File,
}

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Somebody else serves from it.
    #[error("{dir:?} is in use by another server{}", .pid.as_ref().map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    InUse {
        /// The folder.
        dir: PathBuf,
        /// Who, as far as the lock file says.
        pid: Option<u32>,
    },
    /// It cannot be made or opened.
    #[error(
        "the data folder {dir:?} cannot be used; give the service's user the right to write there, or name another folder"
    )]
    Open {
        /// The folder.
        dir: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// Makes `dir` if needed and takes it for this process.
pub(crate) fn lock_folder(dir: &Path) -> Result<FolderLock, FolderError> {
    let open = |source| FolderError::Open { dir: dir.to_owned(), source };
    make_private_folder(dir).map_err(open)?;
    let path = dir.join("lock");
    // The file is never removed: whoever removes a lock file races with whoever just opened it.
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(open)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            return Err(FolderError::InUse { dir: dir.to_owned(), pid });
        }
        Err(error) => return Err(open(error.into())),
    }
    file.set_len(0).map_err(open)?;
    file.rewind().map_err(open)?;
    writeln!(file, "{}", std::process::id()).map_err(open)?;
    Ok(FolderLock { _file: file })
}

/// Makes a folder that only its owner enters, with its parents.
pub(crate) fn make_private_folder(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Writes `path` at once and for its owner's eyes only: readers see the old content or the new one.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    // The mode above counts only if the file is new.
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_server() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("a/b");
        let first = lock_folder(&dir).unwrap();
        let refused = lock_folder(&dir).unwrap_err();
        assert!(matches!(refused, FolderError::InUse { pid: Some(pid), .. } if pid == std::process::id()));
        assert!(refused.to_string().contains("in use by another server (pid "), "{refused}");
        drop(first);
        lock_folder(&dir).unwrap();
    }

    #[test]
    fn private_files_are_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(&path, "old").unwrap();
        write_private(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
