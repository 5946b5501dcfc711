//! Why a file was refused.

use std::io;

/// A file that was refused: which, and why.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {fault}")]
pub struct ReadError {
    /// Name of the file, without its folder.
    pub file: String,
    /// Why.
    pub fault: Fault,
}

/// Why a file was refused, in words for whoever made or chose it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The file, or one that it needs, cannot be opened or read.
    #[error("{what} cannot be read: {}", reason(source))]
    Unreadable {
        /// The file or the property that names it.
        what: String,
        /// What the system says. Not a `source`: the message has it already.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("{at}: {problem}")]
    Damaged {
        /// Property, chunk or line and column.
        at: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// The file is good, but needs something that we lack.
    #[error("{what} is not supported; {advice}")]
    Unsupported {
        /// What it needs.
        what: String,
        /// What to do.
        advice: String,
    },
    /// The file asks for more than the limits allow.
    #[error("{at}: {problem}; split or simplify the model")]
    TooLarge {
        /// Property.
        at: String,
        /// How much, and how much is allowed.
        problem: String,
    },
}

impl Fault {
    pub(crate) fn damaged(at: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Damaged { at: at.into(), problem: problem.into() }
    }

    pub(crate) fn too_large(at: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::TooLarge { at: at.into(), problem: problem.into() }
    }

    pub(crate) fn in_file(self, file: &str) -> ReadError {
        ReadError { file: file.to_owned(), fault: self }
    }
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// `index` if it is below `len`; otherwise a fault at `at` that says so.
pub(crate) fn within(
    index: u32,
    len: usize,
    what: &str,
    at: impl FnOnce() -> String,
) -> Result<usize, Fault> {
    let i = index as usize;
    if i < len {
        return Ok(i);
    }
    Err(Fault::damaged(at(), format!("refers to {what} {index}, but there are only {len}")))
}
