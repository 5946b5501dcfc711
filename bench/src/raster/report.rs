//! The matrix as a table that reads the same in a terminal and in Markdown, and what was expected of it.

use std::fmt;

use serde::Serialize;

use super::filter::{Cell, Distance, Look};
use crate::table::median;

/// What one side took, picture by picture.
#[derive(Debug, Default, Clone)]
pub(super) struct Side {
    /// Milliseconds until the picture was in memory.
    pub(super) wall_ms: Vec<f64>,
    /// Milliseconds of all threads and processes.
    pub(super) cpu_ms: Vec<f64>,
}

impl Side {
    fn cpu_mean(&self) -> f64 {
        self.cpu_ms.iter().sum::<f64>() / self.cpu_ms.len() as f64
    }

    /// How many times as long as `ours` it took: median, least and most of the walls of pictures that followed each other,
    /// and all processor time by all.
    fn over(&self, ours: &Self) -> Ratio {
        let ratios: Vec<f64> = self.wall_ms.iter().zip(&ours.wall_ms).map(|(a, b)| a / b).collect();
        Ratio {
            median: median(&ratios),
            min: ratios.iter().copied().fold(f64::INFINITY, f64::min),
            max: ratios.iter().copied().fold(0.0, f64::max),
            cpu: self.cpu_mean() / ours.cpu_mean(),
        }
    }
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Ratio {
    median: f64,
    min: f64,
    max: f64,
    cpu: f64,
}

#[derive(Debug, Clone, Serialize)]
struct Figures {
    wall_ms: f64,
    wall_ms_min: f64,
    wall_ms_max: f64,
    cpu_ms: f64,
}

impl Figures {
    fn of(side: &Side) -> Self {
        Self {
            wall_ms: median(&side.wall_ms),
            wall_ms_min: side.wall_ms.iter().copied().fold(f64::INFINITY, f64::min),
            wall_ms_max: side.wall_ms.iter().copied().fold(0.0, f64::max),
            cpu_ms: side.cpu_mean(),
        }
    }
}

/// A peer's part of a row.
#[derive(Debug, Clone, Serialize)]
struct Beside {
    figures: Figures,
    ratio: Ratio,
    /// Overlap of the silhouettes, 0 to 1.
    overlap: f64,
    /// Correlation of light and dark, -1 to 1.
    likeness: f64,
}

/// What one kind of picture took.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    /// As the filter takes them.
    words: [String; 4],
    #[serde(skip)]
    cell: Cell,
    pictures: usize,
    /// Share of the picture that the model covers, 0 to 1.
    coverage: f64,
    ours: Figures,
    /// Ours with less detail, as under load.
    under_load: Figures,
    /// In the order of [`Matrix::peers`].
    peers: Vec<Beside>,
}

impl Row {
    /// `own`: at full detail and as under load; `peers` with overlap and likeness.
    pub(super) fn new(cell: Cell, coverage: f64, own: [&Side; 2], peers: &[(Side, f64, f64)]) -> Self {
        let [ours, under_load] = own;
        let beside = |(side, overlap, likeness): &(Side, f64, f64)| Beside {
            figures: Figures::of(side),
            ratio: side.over(ours),
            overlap: *overlap,
            likeness: *likeness,
        };
        Self {
            words: cell.words(),
            cell,
            pictures: ours.wall_ms.len(),
            coverage,
            ours: Figures::of(ours),
            under_load: Figures::of(under_load),
            peers: peers.iter().map(beside).collect(),
        }
    }

    fn cells(&self) -> Vec<String> {
        let took = |Figures { wall_ms, cpu_ms, .. }: &Figures| {
            format!("{}, {}", significant(*wall_ms), significant(*cpu_ms))
        };
        let mut cells = self.words.to_vec();
        cells.extend([
            format!("{:.0} %", self.coverage * 100.0),
            self.pictures.to_string(),
            took(&self.ours),
            took(&self.under_load),
        ]);
        cells.extend(self.peers.iter().map(|peer| took(&peer.figures)));
        for Beside { ratio: Ratio { median, min, max, cpu }, .. } in &self.peers {
            let [median, min, max] = [median, min, max].map(|x| significant(*x));
            cells.extend([format!("{median} ({min}–{max})"), significant(*cpu)]);
        }
        cells
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| {} |", self.cells().join(" | "))?;
        for Beside { overlap, likeness, .. } in &self.peers {
            write!(f, "  alike {overlap:.3}, {likeness:.2}")?;
        }
        Ok(())
    }
}

/// Two digits, three from 100 on.
fn significant(x: f64) -> String {
    if x.abs() < 9.95 { format!("{x:.1}") } else { format!("{x:.0}") }
}

/// What was expected of the ratio to a peer at 720p with this many triangles or more.
const EXPECTED_TIMES: [(&str, f64); 2] = [("VTK", 6.0), ("three.js", 12.0)];
const EXPECTED_TRIANGLES: u32 = 1_000_000;
/// What was expected of 1080p, filled and textured.
const EXPECTED_FPS: f64 = 30.0;

/// All rows.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Matrix {
    /// Name of each peer, and what it is in its own words.
    pub(super) peers: Vec<(&'static str, String)>,
    pub(super) rows: Vec<Row>,
}

impl Matrix {
    /// What was expected, whether it came true, and where it was nearest to not coming true.
    fn expectations(&self) -> Vec<String> {
        let verdict = |met| if met { "met" } else { "MISSED" };
        let mut lines = Vec::new();
        for (at, (name, _)) in self.peers.iter().enumerate() {
            let Some((_, times)) = EXPECTED_TIMES.iter().find(|(of, _)| of == name) else { continue };
            let large = |cell: &Cell| cell.size.1 == 720 && cell.triangles >= EXPECTED_TRIANGLES;
            // In the same light.
            let counts = |row: &&Row| large(&row.cell) && row.cell.look != Look::Lamp;
            let rows = self.rows.iter().filter(counts);
            let ratios = rows.filter_map(|row| Some((row.peers.get(at)?.ratio.median, row.cell)));
            if let Some((least, cell)) = ratios.min_by(|(a, _), (b, _)| a.total_cmp(b)) {
                lines.push(format!(
                    "{name} : Belvedere ≥ {times} at 720p from 1 M triangles on: {} with {least:.1} ({cell})",
                    verdict(least >= *times)
                ));
            }
        }
        let filled = self.rows.iter().filter(|row| {
            row.cell.size.1 == 1080 && row.cell.distance == Distance::Full && row.cell.look == Look::Textured
        });
        if let Some(slowest) = filled.max_by(|a, b| a.ours.wall_ms.total_cmp(&b.ours.wall_ms)) {
            let [full, under_load] = [&slowest.ours, &slowest.under_load].map(|took| 1000.0 / took.wall_ms);
            lines.push(format!(
                "1080p, filled and textured, ≥ {EXPECTED_FPS} pictures a second: {} with {full:.0}, under load {} with {under_load:.0} ({})",
                verdict(full >= EXPECTED_FPS),
                verdict(under_load >= EXPECTED_FPS),
                slowest.cell
            ));
        }
        lines
    }
}

impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut header: Vec<String> =
            ["triangles", "size", "view", "look", "covered", "n", "Belvedere", "under load"]
                .map(String::from)
                .to_vec();
        header.extend(self.peers.iter().map(|(name, _)| (*name).to_owned()));
        header.extend(
            self.peers.iter().flat_map(|(name, _)| [format!("{name} : Belvedere"), "CPU".to_owned()]),
        );
        let mut lines = vec![header];
        lines.extend(self.rows.iter().map(Row::cells));
        let n_columns = lines[0].len();
        let widths: Vec<usize> = (0..n_columns)
            .map(|at| lines.iter().filter_map(|cells| cells.get(at)).map(|cell| cell.chars().count()).max())
            .map(|width| width.unwrap_or_default().max(3))
            .collect();
        for (at, cells) in lines.iter().enumerate() {
            for (cell, width) in cells.iter().zip(&widths) {
                write!(f, "| {cell:<width$} ")?;
            }
            writeln!(f, "|")?;
            if at == 0 {
                for width in &widths {
                    write!(f, "|{:-<1$}", "", width + 2)?;
                }
                writeln!(f, "|")?;
            }
        }
        writeln!(
            f,
            "\nMilliseconds a picture: wall (median), processor time (mean). Ratios: median (min–max)."
        )?;
        for (_, about) in &self.peers {
            writeln!(f, "{about}")?;
        }
        for line in self.expectations() {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::filter::cells;
    use super::*;

    fn side(wall_ms: &[f64], cpu_ms: &[f64]) -> Side {
        Side { wall_ms: wall_ms.to_vec(), cpu_ms: cpu_ms.to_vec() }
    }

    #[test]
    fn ratios_are_of_pictures_that_followed_each_other() {
        let ours = side(&[10.0, 20.0, 10.0], &[20.0, 20.0, 20.0]);
        let theirs = side(&[100.0, 120.0, 70.0], &[150.0, 190.0, 140.0]);
        let Ratio { median, min, max, cpu } = theirs.over(&ours);
        assert_eq!((median, min, max, cpu), (7.0, 6.0, 10.0, 8.0));
    }

    #[test]
    fn figures_have_two_digits() {
        for (x, text) in [(0.04, "0.0"), (3.44, "3.4"), (9.96, "10"), (56.6, "57"), (319.2, "319")] {
            assert_eq!(significant(x), text);
        }
    }

    fn matrix(vtk_ms: f64, ours_ms: f64) -> Matrix {
        let row = |words: &str| {
            let cell = cells(words).unwrap()[0];
            let ours = side(&[ours_ms], &[ours_ms * 2.0]);
            let under_load = side(&[ours_ms * 0.75], &[ours_ms * 1.5]);
            Row::new(cell, 0.27, [&ours, &under_load], &[(side(&[vtk_ms], &[vtk_ms * 1.5]), 0.99, 0.8)])
        };
        Matrix {
            peers: vec![("VTK", "VTK 9, llvmpipe".to_owned())],
            rows: vec![row("1000k,720p,object,plain"), row("10k,1080p,full,textured")],
        }
    }

    #[test]
    fn the_table_is_markdown_with_straight_columns() {
        let text = matrix(80.0, 10.0).to_string();
        let table: Vec<&str> = text.lines().take_while(|line| line.starts_with('|')).collect();
        assert_eq!(table.len(), 4, "{text}");
        assert!(table.iter().all(|line| line.chars().count() == table[0].chars().count()), "{text}");
        assert!(table[1].chars().all(|c| "|-".contains(c)), "{text}");
        let words: Vec<&str> = table[2].split('|').map(str::trim).collect();
        assert_eq!(words[1..8], ["1000k", "720p", "object", "plain", "27 %", "1", "10, 20"]);
        assert_eq!(words[8..12], ["7.5, 15", "80, 120", "8.0 (8.0–8.0)", "6.0"]);
    }

    #[test]
    fn expectations_name_the_weakest_place() {
        let met = matrix(80.0, 10.0).expectations();
        assert_eq!(
            met,
            [
                "VTK : Belvedere ≥ 6 at 720p from 1 M triangles on: met with 8.0 (1000k 720p object plain)",
                "1080p, filled and textured, ≥ 30 pictures a second: met with 100, under load met with 133 (10k 1080p full textured)"
            ]
        );
        let missed = matrix(200.0, 40.0).expectations();
        assert!(missed.iter().all(|line| line.contains("MISSED")), "{missed:?}");
        assert!(Matrix::default().expectations().is_empty(), "what was not measured is not judged");
    }
}
