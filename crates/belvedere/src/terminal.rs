//! What people see: tables that fit their content, colour and a status line where there is a terminal.

use std::io::{IsTerminal, Write as _};
use std::time::{Duration, Instant};

/// ANSI's names for how a text looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Style {
    #[default]
    Plain,
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
}

/// Whether standard output takes colours: a terminal does, unless it is told not to (<https://no-color.org>).
pub(crate) fn has_colour() -> bool {
    std::io::stdout().is_terminal() && takes_escapes()
}

fn takes_escapes() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

pub(crate) fn paint(text: &str, style: Style, colour: bool) -> String {
    let code = match style {
        Style::Plain => return text.to_owned(),
        Style::Bold => 1,
        Style::Dim => 2,
        Style::Red => 31,
        Style::Green => 32,
        Style::Yellow => 33,
    };
    if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// Rows under headings, each column as wide as its longest entry.
pub(crate) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<(String, Style)>>,
}

impl Table {
    /// Headings that begin with `>` stand, with their column, at the right.
    pub(crate) fn new(head: &[&'static str]) -> Self {
        Self { head: head.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: Vec<(String, Style)>) {
        self.rows.push(cells);
    }

    pub(crate) fn text(&self, colour: bool) -> String {
        let names: Vec<&str> = self.head.iter().map(|name| name.trim_start_matches('>')).collect();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            let longest = cells.map(|(text, _)| text.chars().count()).max().unwrap_or(0);
            longest.max(names.get(column).map_or(0, |name| name.len()))
        };
        let widths: Vec<usize> = (0..names.len()).map(width).collect();
        let line = |cells: &mut dyn Iterator<Item = (&str, Style)>| {
            let mut line = String::new();
            for ((text, style), (width, name)) in cells.zip(widths.iter().zip(&self.head)) {
                if !line.is_empty() {
                    line.push_str("  ");
                }
                let space = " ".repeat(width.saturating_sub(text.chars().count()));
                let text = paint(text, style, colour);
                line.push_str(&if name.starts_with('>') { space + &text } else { text + &space });
            }
            line.truncate(line.trim_end().len());
            line + "\n"
        };
        let mut text = line(&mut names.iter().map(|name| (*name, Style::Dim)));
        for row in &self.rows {
            text += &line(&mut row.iter().map(|(text, style)| (text.as_str(), *style)));
        }
        text
    }
}

/// How often the status line is drawn while something is waited for.
const DRAW_INTERVAL: Duration = Duration::from_millis(100);

/// Waits shorter than this are not worth a line.
const QUIET: Duration = Duration::from_millis(300);

/// A line on standard error that says what is waited for, and is gone afterwards. Silent without a terminal.
pub(crate) struct Status {
    visible: bool,
    text: String,
}

impl Status {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        let visible = std::io::stderr().is_terminal() && takes_escapes();
        Self { visible, text: text.into() }
    }

    /// Waits for `future`, with the line.
    pub(crate) async fn during<T>(&self, future: impl Future<Output = T>) -> T {
        if !self.visible {
            return future.await;
        }
        let began = Instant::now();
        let mut future = std::pin::pin!(future);
        let mut interval = tokio::time::interval_at(tokio::time::Instant::now() + QUIET, DRAW_INTERVAL);
        let mut drawn = false;
        let done = loop {
            tokio::select! {
                done = &mut future => break done,
                _ = interval.tick() => {
                    draw(&line(&self.text, began.elapsed()));
                    drawn = true;
                }
            }
        };
        if drawn {
            draw("");
        }
        done
    }
}

fn line(text: &str, elapsed: Duration) -> String {
    const FRAMES: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
    let n_frames = u128::try_from(FRAMES.len()).unwrap_or(1);
    let frame = usize::try_from(elapsed.as_millis() / DRAW_INTERVAL.as_millis() % n_frames).unwrap_or(0);
    format!("{} {text} … {} s", FRAMES.get(frame).unwrap_or(&' '), elapsed.as_secs())
}

/// Replaces the line on standard error. What fails there has nobody to be told to.
fn draw(line: &str) {
    let mut stderr = std::io::stderr().lock();
    let _unseen = write!(stderr, "\r\x1b[K{line}").and_then(|()| stderr.flush()).is_err();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["ID", ">MINUTES", "NOTE"]);
        table.row(vec![("a".into(), Style::Bold), ("5".into(), Style::Plain), (String::new(), Style::Plain)]);
        table.row(vec![
            ("longer-id".into(), Style::Bold),
            ("1440".into(), Style::Plain),
            ("ä".into(), Style::Red),
        ]);
        table
    }

    #[test]
    fn columns_fit_their_content() {
        let text = "ID         MINUTES  NOTE\na                5\nlonger-id     1440  ä\n";
        assert_eq!(table().text(false), text);
    }

    #[test]
    fn colours_do_not_shift_columns() {
        let plain = table().text(false);
        let mut coloured = table().text(true);
        assert!(coloured.contains("\x1b[31mä\x1b[0m"));
        for code in ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[31m"] {
            coloured = coloured.replace(code, "");
        }
        let trimmed: Vec<&str> = coloured.lines().map(str::trim_end).collect();
        assert_eq!(trimmed, plain.lines().collect::<Vec<_>>());
    }

    #[test]
    fn the_status_line_turns_and_counts() {
        assert_eq!(line("Starting", Duration::from_millis(2_150)), "⠙ Starting … 2 s");
    }
}
