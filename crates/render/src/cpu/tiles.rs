//! What is hidden for sure: the farthest depth of each square of a band's pixels (hierarchical depth; Greene, Kass and
//! Miller, "Hierarchical Z-Buffer Visibility", SIGGRAPH 1993, of which this is one level).
//!
//! Depths only grow while a band is drawn, so a value from earlier is never wrong, only less useful. Squares that were
//! drawn to are marked and looked at again when somebody asks, not before.

/// Edge of a square, pixels.
const EDGE: usize = 8;

/// Pixels of the picture, ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rect {
    pub(super) left: i32,
    pub(super) right: i32,
    pub(super) top: i32,
    pub(super) bottom: i32,
}

/// Squares of a band.
#[derive(Debug, Default)]
pub(super) struct Tiles {
    /// No pixel of the square is farther than this; larger is nearer.
    farthest: Vec<f32>,
    /// Drawn to since.
    stale: Vec<bool>,
    columns: usize,
    rows: usize,
}

impl Tiles {
    /// For an empty band.
    pub(super) fn clear(&mut self, width: usize, rows: usize) {
        (self.columns, self.rows) = (width.div_ceil(EDGE), rows.div_ceil(EDGE));
        let n = self.columns * self.rows;
        self.farthest.clear();
        self.farthest.resize(n, 0.0);
        self.stale.clear();
        self.stale.resize(n, false);
    }

    /// Something was drawn in `rect`, rows counted from the band's first.
    pub(super) fn touch(&mut self, rect: Rect) {
        for row in self.rows_of(rect) {
            let columns = self.columns_of(rect);
            self.stale[row * self.columns + columns.start..row * self.columns + columns.end].fill(true);
        }
    }

    /// Whether all of `rect` shows what is nearer than `depth`. `depths`: of the band, with `stride` from row to row;
    /// what is beyond the width must be nearer than anything.
    pub(super) fn hide(&mut self, rect: Rect, depth: f32, depths: &[f32], stride: usize) -> bool {
        for row in self.rows_of(rect) {
            for column in self.columns_of(rect) {
                let at = row * self.columns + column;
                if self.farthest[at] > depth {
                    continue;
                }
                if !self.stale[at] {
                    return false;
                }
                self.stale[at] = false;
                self.farthest[at] = farthest(&depths[row * EDGE * stride + column * EDGE..], stride);
                if self.farthest[at] <= depth {
                    return false;
                }
            }
        }
        true
    }

    fn rows_of(&self, rect: Rect) -> std::ops::Range<usize> {
        tiles(rect.top, rect.bottom, self.rows)
    }

    fn columns_of(&self, rect: Rect) -> std::ops::Range<usize> {
        tiles(rect.left, rect.right, self.columns)
    }
}

#[expect(clippy::cast_sign_loss, reason = "clamped before")]
fn tiles(first: i32, last: i32, n: usize) -> std::ops::Range<usize> {
    let end = if last < 0 { 0 } else { (last as usize / EDGE + 1).min(n) };
    (first.max(0) as usize / EDGE).min(end)..end
}

/// Of a square whose rows are `stride` apart; there may be fewer rows. On its own: few squares are looked at again, and
/// what it needs would be prepared for all.
#[inline(never)]
fn farthest(mut depths: &[f32], stride: usize) -> f32 {
    // Not f32::min, which cares for NaN.
    let farther = |a: f32, b: f32| if a < b { a } else { b };
    let mut least = [f32::INFINITY; EDGE];
    for _ in 0..EDGE {
        let Some(row) = depths.first_chunk::<EDGE>() else { break };
        least = std::array::from_fn(|n| farther(least[n], row[n]));
        depths = depths.get(stride..).unwrap_or(&[]);
    }
    let [a, b, c, d, e, f, g, h] = least;
    farther(farther(farther(a, e), farther(b, f)), farther(farther(c, g), farther(d, h)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_behind_every_pixel_of_its_squares_is_hidden() {
        let (width, rows, stride) = (20, 10, 32);
        let mut tiles = Tiles::default();
        tiles.clear(width, rows);
        let mut depths = vec![0.0; stride * rows];
        for row in depths.chunks_mut(stride) {
            row[width..].fill(f32::INFINITY);
        }
        let all = Rect { left: 0, right: 19, top: 0, bottom: 9 };
        assert!(!tiles.hide(all, 0.1, &depths, stride), "an empty band hides nothing");
        for row in depths.chunks_mut(stride) {
            row[..width].fill(0.5);
        }
        assert!(!tiles.hide(all, 0.1, &depths, stride), "nobody said that something was drawn");
        tiles.touch(all);
        assert!(tiles.hide(all, 0.4, &depths, stride));
        assert!(!tiles.hide(all, 0.5, &depths, stride), "as near is not hidden");
        // A hole in the last square.
        depths[9 * stride + 19] = 0.2;
        tiles.clear(width, rows);
        tiles.touch(Rect { left: -5, right: 500, top: -7, bottom: 99 });
        assert!(!tiles.hide(all, 0.4, &depths, stride));
        assert!(tiles.hide(Rect { bottom: 7, ..all }, 0.4, &depths, stride));
        assert!(tiles.hide(all, 0.1, &depths, stride));
        // Nothing of the picture: nothing to see.
        assert!(tiles.hide(Rect { left: 40, right: 50, top: 0, bottom: 9 }, 0.9, &depths, stride));
    }
}
