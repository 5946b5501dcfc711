//! Which pictures are measured: all of the matrix, or those that `raster=WORD,…` names.

use std::fmt;

use anyhow::{Result, bail};

/// Triangles of the meshes.
const TRIANGLES: [u32; 4] = [10_000, 100_000, 1_000_000, 5_000_000];
/// Pixels of the pictures.
const SIZES: [(u32, u32); 3] = [(640, 360), (1280, 720), (1920, 1080)];

/// Where the camera is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Distance {
    /// All of the model is in the picture.
    Object,
    /// So near that the model is all of the picture.
    Full,
}

/// What the model is made of, and what lights it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Look {
    /// Three textures, in the surroundings.
    Textured,
    /// One plain material, in the surroundings.
    Plain,
    /// The same, but the peers have one light at the camera instead of surroundings: less work than ours.
    Lamp,
}

impl Look {
    /// As the filter and the peers take it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Textured => "textured",
            Self::Plain => "plain",
            Self::Lamp => "lamp",
        }
    }
}

/// One kind of picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) triangles: u32,
    /// Pixels.
    pub(crate) size: (u32, u32),
    pub(crate) distance: Distance,
    pub(crate) look: Look,
}

impl Cell {
    /// Words for its triangles, size, distance and look.
    pub(crate) fn words(&self) -> [String; 4] {
        let distance = if self.distance == Distance::Full { "full" } else { "object" };
        let Self { triangles, size: (_, height), look, .. } = self;
        [format!("{}k", triangles / 1000), format!("{height}p"), distance.to_owned(), look.word().to_owned()]
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().join(" "))
    }
}

/// The cells to measure.
///
/// `words` is what follows `raster=`: words of [`Cell::words`] with commas between. Words of one kind add up, a kind that
/// is not named is measured whole: `1000k,5000k,720p` are both meshes at 720p, near and far, in all looks. Only of 720p
/// there is [`Look::Lamp`].
///
/// # Errors
/// For a word that no cell has.
pub(crate) fn cells(words: &str) -> Result<Vec<Cell>> {
    let words: Vec<&str> = words.split(',').filter(|word| !word.is_empty()).collect();
    let mut all = Vec::new();
    for triangles in TRIANGLES {
        for look in [Look::Textured, Look::Plain, Look::Lamp] {
            for size in SIZES.into_iter().filter(|size| look != Look::Lamp || size.1 == 720) {
                let at = |distance| Cell { triangles, size, distance, look };
                all.extend([Distance::Object, Distance::Full].map(at));
            }
        }
    }
    // By place in `Cell::words`: the words that were given.
    let mut wanted: [Vec<&str>; 4] = Default::default();
    for word in words {
        let kind = all.iter().find_map(|cell| cell.words().iter().position(|one| one == word));
        let Some(kind) = kind else {
            bail!(
                "raster={word}: the words are 10k 100k 1000k 5000k, 360p 720p 1080p, object full, textured plain lamp"
            )
        };
        wanted[kind].push(word);
    }
    let named = |cell: &Cell| {
        cell.words().iter().zip(&wanted).all(|(word, wanted)| wanted.is_empty() || wanted.contains(&&**word))
    };
    Ok(all.into_iter().filter(named).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_words_all_of_the_matrix_is_measured() {
        let all = cells("").unwrap();
        assert_eq!(all.len(), 4 * (3 * 2 * 2 + 2));
        assert!(all.is_sorted_by_key(|cell| (cell.triangles, cell.look)), "each scene is built once");
    }

    #[test]
    fn words_of_a_kind_add_up_and_kinds_narrow() {
        for (words, n) in [
            ("720p", 4 * 2 * 3),
            ("1000k,5000k,720p", 2 * 2 * 3),
            ("10k,1080p,full,textured", 1),
            ("object,full,plain,textured", 48),
            ("lamp", 8),
            ("lamp,1080p", 0),
        ] {
            assert_eq!(cells(words).unwrap().len(), n, "{words}");
        }
        let one = cells("5000k,360p,object,plain").unwrap();
        let expected =
            Cell { triangles: 5_000_000, size: (640, 360), distance: Distance::Object, look: Look::Plain };
        assert_eq!(one, [expected]);
        assert_eq!(expected.to_string(), "5000k 360p object plain");
    }

    #[test]
    fn other_words_are_refused() {
        for words in ["1M", "720", "720p,near", "full textured"] {
            assert!(cells(words).is_err(), "{words}");
        }
    }
}
