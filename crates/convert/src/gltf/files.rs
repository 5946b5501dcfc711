//! References out of the JSON: data URIs, and files beside the model. Nothing outside the model's own folder is opened.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use base64::Engine;

use crate::Fault;

/// Reads what URIs name, within a budget of bytes.
#[derive(Debug)]
pub(super) struct Files {
    /// Canonical folder of the model; `None` if the model came from memory.
    folder: Option<PathBuf>,
    /// Bytes that may still be read.
    left: u64,
}

impl Files {
    pub(super) fn new(folder: Option<PathBuf>, left: u64) -> Self {
        Self { folder, left }
    }

    /// The bytes that `uri` stands for. `at` names the property for messages.
    pub(super) fn load(&mut self, uri: &str, at: &str) -> Result<Vec<u8>, Fault> {
        if uri.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:")) {
            return data_uri(&uri[5..], at);
        }
        let path = self.inside(uri, at)?;
        let what = || format!("{at} ({})", shown(uri));
        let bytes =
            read_file(&path, self.left).map_err(|source| Fault::Unreadable { what: what(), source })?;
        let Some(bytes) = bytes else {
            return Err(Fault::too_large(what(), "the model's files together are larger than allowed"));
        };
        self.left -= bytes.len() as u64;
        Ok(bytes)
    }

    /// The real path of a relative URI; refuses everything that leads out of the folder.
    fn inside(&self, uri: &str, at: &str) -> Result<PathBuf, Fault> {
        let refuse = |why: &str| {
            let problem = format!("{} {why}; only files in the model's own folder are read", shown(uri));
            Fault::damaged(at, problem)
        };
        let name = percent_decoded(uri).ok_or_else(|| refuse("is not a valid URI"))?;
        if name.is_empty() {
            return Err(refuse("is empty"));
        }
        if name.len() > 1024 {
            return Err(refuse("is too long"));
        }
        // A colon before any slash makes a scheme or a drive.
        let first = name.split('/').next().unwrap_or_default();
        if first.contains(':') || name.starts_with('/') {
            return Err(refuse("is not a relative path"));
        }
        if name.contains('\\') || name.contains(char::is_control) {
            return Err(refuse("has backslashes or control characters"));
        }
        let mut depth = 0_i32;
        for part in name.split('/') {
            match part {
                "" | "." => (),
                ".." => depth -= 1,
                _ => depth += 1,
            }
            if depth < 0 {
                return Err(refuse("leads out of the folder"));
            }
        }
        let Some(folder) = &self.folder else {
            return Err(refuse("cannot be followed, because the model was not read from a folder"));
        };
        let unreadable = |source| Fault::Unreadable { what: format!("{at} ({})", shown(uri)), source };
        // Symbolic links may lead anywhere, so the answer counts, not the name.
        let path = folder.join(&name).canonicalize().map_err(unreadable)?;
        if !path.starts_with(folder) {
            return Err(refuse("leads out of the folder"));
        }
        Ok(path)
    }
}

/// Reads a regular file of at most `limit` bytes; `None` if it is longer.
///
/// Devices and pipes, which may never end or never start, are refused without opening them.
pub(super) fn read_file(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let metadata = path.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    if metadata.len() > limit {
        return Ok(None);
    }
    let file = File::open(path)?;
    // One more than the length, so that the end is noticed without growing.
    let capacity = usize::try_from(metadata.len()).map_err(io::Error::other)?.saturating_add(1);
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(capacity).map_err(io::Error::other)?;
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

fn data_uri(uri: &str, at: &str) -> Result<Vec<u8>, Fault> {
    let Some((head, body)) = uri.split_once(',') else {
        return Err(Fault::damaged(at, "the data URI has no comma"));
    };
    if !head.to_ascii_lowercase().ends_with(";base64") {
        return percent_bytes(body).ok_or_else(|| Fault::damaged(at, "the data URI has a bad % escape"));
    }
    let decoded = if body.contains('%') {
        // Rare, but legal: "=" may stand as "%3D".
        let plain =
            percent_bytes(body).ok_or_else(|| Fault::damaged(at, "the data URI has a bad % escape"))?;
        LENIENT.decode(plain)
    } else {
        LENIENT.decode(body)
    };
    decoded.map_err(|e| Fault::damaged(at, format!("the data URI is not base64: {e}")))
}

/// Padding may be missing, as some writers have it.
const LENIENT: base64::engine::GeneralPurpose = base64::engine::GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    base64::engine::GeneralPurposeConfig::new()
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

fn percent_decoded(text: &str) -> Option<String> {
    String::from_utf8(percent_bytes(text)?).ok()
}

fn percent_bytes(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let hex = [rest.next()?, rest.next()?];
        let hex = std::str::from_utf8(&hex).ok().filter(|h| h.bytes().all(|b| b.is_ascii_hexdigit()))?;
        out.push(u8::from_str_radix(hex, 16).ok()?);
    }
    Some(out)
}

/// A URI as it may appear in a message: short, without control characters.
fn shown(uri: &str) -> String {
    let short: String = uri.chars().take(80).collect();
    if short.len() < uri.len() { format!("{short:?}…") } else { format!("{short:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_uris_are_decoded() {
        assert_eq!(data_uri("application/octet-stream;base64,AAEC", "x").unwrap(), [0, 1, 2]);
        assert_eq!(data_uri(";base64,AA%3D%3D", "x").unwrap(), [0]);
        assert_eq!(data_uri("text/plain,a%20b", "x").unwrap(), b"a b");
        assert!(data_uri(";base64,A*==", "x").is_err());
        assert!(data_uri(";base64", "x").is_err());
    }

    #[test]
    fn only_files_below_the_folder_are_opened() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("model");
        std::fs::create_dir_all(folder.join("sub dir")).unwrap();
        std::fs::write(outer.path().join("secret"), b"secret").unwrap();
        std::fs::write(folder.join("sub dir/ä.bin"), b"fine").unwrap();
        std::os::unix::fs::symlink("../secret", folder.join("link")).unwrap();
        std::os::unix::fs::symlink("sub dir/ä.bin", folder.join("good link")).unwrap();
        let mut files = Files::new(Some(folder.canonicalize().unwrap()), 9);
        for good in ["sub%20dir/%C3%A4.bin", "sub dir/../good link"] {
            assert_eq!(files.load(good, "x").unwrap(), b"fine", "{good}");
        }
        let bad = [
            "../secret",
            "%2e%2e/secret",
            "link",
            "/etc/passwd",
            "file:///etc/passwd",
            "http://127.0.0.1/x",
            "C:/x",
            "..\\secret",
            "a\0b",
            "sub dir/../../secret",
            "sub dir",
            ".",
            "",
            "%zz",
            "nowhere",
        ];
        for bad in bad {
            let message = files.load(bad, "buffers[0].uri").unwrap_err().to_string();
            assert!(message.contains("buffers[0].uri") && !message.contains("root:"), "{bad}: {message}");
        }
        // The budget holds over all files: 8 of 9 bytes are used.
        assert!(matches!(files.load("good link", "x"), Err(Fault::TooLarge { .. })));
    }
}
