//! Sentences about troubles that were mended, as many as one can read.

/// Collects warnings; keeps the first ones and counts the rest.
#[derive(Debug)]
pub(crate) struct Warnings {
    kept: Vec<String>,
    n_dropped: usize,
    limit: usize,
}

impl Warnings {
    pub(crate) fn new(limit: usize) -> Self {
        Self { kept: Vec::new(), n_dropped: 0, limit }
    }

    /// Adds a sentence unless it was said before.
    pub(crate) fn say(&mut self, sentence: impl Into<String>) {
        let sentence = sentence.into();
        // Linear, but over no more than the limit.
        if self.kept.contains(&sentence) {
            return;
        }
        if self.kept.len() < self.limit {
            self.kept.push(sentence);
        } else {
            self.n_dropped += 1;
        }
    }

    pub(crate) fn into_sentences(mut self) -> Vec<String> {
        if self.n_dropped > 0 {
            self.kept.push(format!("… and {} more", self.n_dropped));
        }
        self.kept
    }
}
