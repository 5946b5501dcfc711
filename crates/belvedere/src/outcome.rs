//! How commands end badly: an exit code for scripts, words and a way out for people.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

/// What a script can tell from the exit code. 0 is success, and 2 a command line that is wrong (clap's).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Anything that has no code of its own.
    Failure = 1,
    /// There is no such session, account, or file.
    NotFound = 3,
    /// Who asks may not: a wrong key, a token of another account, a role that is too weak.
    Refused = 4,
    /// The service does not answer, or is not to be trusted.
    Unreachable = 5,
    /// The session ended before it was Ready.
    SessionEnded = 6,
    /// The time given by `--timeout` was over before the session was Ready. It goes on starting.
    StillStarting = 7,
}

/// The table of [`Exit`] for `--help`, the man pages and the docs.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  it failed
  2  the command line is wrong
  3  there is no such session, account or file
  4  refused: wrong key, or not allowed
  5  the service cannot be reached or is not trusted
  6  the session ended before it was Ready
  7  --timeout was over before the session was Ready; it goes on starting";

/// An error that says what to do.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    hints: Vec<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hints: Vec::new(), source: None }
    }

    /// Adds what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds the cause, which is told after the message.
    pub(crate) fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

/// Tells the error on standard error; gives the code to end with.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    eprint!("{}", told(error));
    let failure = error.downcast_ref::<Failure>();
    ExitCode::from(failure.map_or(Exit::Failure, |failure| failure.exit) as u8)
}

fn told(error: &anyhow::Error) -> String {
    let mut text = format!("error: {error}\n");
    let mut last = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // Some libraries repeat their cause in their own words.
        if !last.contains(&cause) {
            text.push_str(&format!("  because {cause}\n"));
        }
        last = cause;
    }
    for hint in error.downcast_ref::<Failure>().iter().flat_map(|failure| &failure.hints) {
        text.push_str(&format!("hint: {hint}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_and_hints_are_told_in_order() {
        let io = std::io::Error::other("the disk is on fire");
        let error = anyhow::Error::from(
            Failure::new(Exit::NotFound, "no file").because(io).hint("extinguish it").hint("or leave"),
        );
        let text = "error: no file\n  because the disk is on fire\nhint: extinguish it\nhint: or leave\n";
        assert_eq!(told(&error), text);
        assert_eq!(told(&anyhow::anyhow!("plain")), "error: plain\n");
    }

    #[test]
    fn the_table_of_exit_codes_is_complete() {
        let codes = [
            Exit::Failure,
            Exit::NotFound,
            Exit::Refused,
            Exit::Unreachable,
            Exit::SessionEnded,
            Exit::StillStarting,
        ];
        for code in codes.map(|code| code as u8).into_iter().chain([0, 2]) {
            assert!(EXIT_CODES.contains(&format!("\n  {code}  ")), "{code}");
        }
    }
}
