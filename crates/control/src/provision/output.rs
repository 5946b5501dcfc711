//! What a host writes: copied to our log, and its last lines kept to explain its end.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use protocol::HostId;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

use super::local::lock;

/// Lines of a host's log that are kept, and the bytes that they may have together: a session's error is read by people
/// and goes into every answer about the session.
const TAIL_LINES: usize = 5;
const TAIL_BYTES: usize = 1_024;

/// Longest line of a host's log; the rest is cut into further lines.
const LINE_BYTES: u64 = 4_096;

/// Between two lines in one text.
const BETWEEN: &str = " | ";

/// The last lines of a log.
#[derive(Clone, Default)]
pub(super) struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    fn push(&self, line: String) {
        if line.trim().is_empty() {
            return;
        }
        let mut lines = lock(&self.0);
        if lines.len() == TAIL_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// The newest lines that fit, oldest first.
    pub(super) fn words(&self) -> Option<String> {
        let lines = lock(&self.0);
        let mut n_left = TAIL_BYTES;
        let mut fitting: Vec<&str> = Vec::new();
        for line in lines.iter().rev() {
            let text = &line[..line.floor_char_boundary(n_left)];
            if text.len() < line.len() && !fitting.is_empty() {
                break;
            }
            fitting.push(text);
            n_left = n_left.saturating_sub(text.len() + BETWEEN.len());
        }
        fitting.reverse();
        (!fitting.is_empty()).then(|| fitting.join(BETWEEN))
    }
}

/// Copies a host's output to our log, line by line. `secret` is what nobody may read there.
pub(super) async fn read(host: HostId, output: impl AsyncRead + Unpin, secret: String, tail: Tail) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut output).take(LINE_BYTES).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let mut text = plain(&String::from_utf8_lossy(&line));
        if text.contains(&secret) {
            text = text.replace(&secret, "(secret)");
        }
        tracing::info!(target: "belvedere::host", %host, "{text}");
        tail.push(text);
    }
}

/// A log line without colours (`ESC [ … letter`) and other control characters.
fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut parts = line.split("\u{1b}[");
    text.extend(parts.next());
    for part in parts {
        // Parameters, then one letter.
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, ';' | ':' | '?'));
        text.extend(rest.chars().skip(1));
    }
    text.retain(|c| !c.is_control());
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_taken_off() {
        assert_eq!(
            plain("\u{1b}[2m12:00\u{1b}[0m \u{1b}[38;5;1mWARN\u{1b}[0m \u{7}end \r\n"),
            "12:00 WARN end"
        );
        assert_eq!(plain("[x] \u{1b}["), "[x]");
    }

    #[test]
    fn the_tail_is_short_whatever_is_said() {
        let words = |lines: &[&str]| {
            let tail = Tail::default();
            for line in lines {
                tail.push((*line).to_owned());
            }
            tail.words()
        };
        assert_eq!(words(&[]), None);
        assert_eq!(words(&["1", "", "2", "3", "4", "5", "6", "  "]).as_deref(), Some("2 | 3 | 4 | 5 | 6"));
        let long = "ä".repeat(2_000);
        assert_eq!(words(&["1", &long]).unwrap().len(), TAIL_BYTES);
        assert_eq!(words(&[&long, "the last"]).as_deref(), Some("the last"), "whole lines, if one is whole");
        let many = "x".repeat(400);
        assert_eq!(words(&[many.as_str(); 5]).unwrap().len(), 2 * 400 + BETWEEN.len());
    }
}
