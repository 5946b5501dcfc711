//! Whether two pictures show the same: nobody wins by drawing nothing.

use render::Yuv420;

/// Which pixels show the model, and how bright they are; rows from the top.
pub(super) struct Shape {
    covered: Vec<bool>,
    width: usize,
    /// 0 to 1, as encoded.
    luma: Vec<f32>,
}

impl Shape {
    /// What of our picture differs from that of an empty scene.
    pub(super) fn of_ours(picture: &Yuv420, empty: &Yuv420) -> Self {
        let (width, chroma_width) = (picture.width as usize, picture.width.div_ceil(2) as usize);
        let covered = (0..picture.y.len()).map(|at| {
            let chroma = at / width / 2 * chroma_width + at % width / 2;
            // Four pixels share their colour: at the edge one of them tinges the others a little.
            picture.y[at].abs_diff(empty.y[at]) > 2
                || picture.u[chroma].abs_diff(empty.u[chroma]) > 6
                || picture.v[chroma].abs_diff(empty.v[chroma]) > 6
        });
        let luma = picture.y.iter().map(|y| (f32::from(*y) - 16.0) / 219.0).collect();
        Self { covered: covered.collect(), width, luma }
    }

    /// What of a peer's picture (RGBA, rows from the bottom) is not the pure blue of its background.
    pub(super) fn of_peer(rgba: &[u8], width: u32) -> Self {
        let (mut covered, mut luma) = (Vec::new(), Vec::new());
        for row in rgba.chunks_exact(width as usize * 4).rev() {
            for texel in row.chunks_exact(4) {
                covered.push(texel[..3] != [0, 0, 255]);
                let [r, g, b] = [0, 1, 2].map(|at| f32::from(texel[at]) / 255.0);
                luma.push(0.2126 * r + 0.7152 * g + 0.0722 * b);
            }
        }
        Self { covered, width: width as usize, luma }
    }

    /// Share of the picture that is covered, 0 to 1.
    pub(super) fn share(&self) -> f64 {
        self.covered.iter().filter(|covered| **covered).count() as f64 / self.covered.len().max(1) as f64
    }

    /// Of the pixels that any covers, the share on which they agree, 0 to 1: the other covers them too, or one beside
    /// them. Each side smooths edges in its own way, so a rim of one pixel says nothing.
    pub(super) fn overlap(&self, other: &Self) -> f64 {
        if (self.width, self.covered.len()) != (other.width, other.covered.len()) {
            return 0.0;
        }
        let any = self.covered.iter().zip(&other.covered).filter(|(a, b)| **a || **b).count();
        let alone = self.far_from(other) + other.far_from(self);
        if any == 0 { 0.0 } else { 1.0 - alone as f64 / any as f64 }
    }

    /// Covered pixels of which neither they nor one of the eight around them is covered by `other`, which is as large.
    fn far_from(&self, other: &Self) -> usize {
        let height = self.covered.len() / self.width.max(1);
        let around = |at: usize, end: usize| at.saturating_sub(1)..(at + 2).min(end);
        let is_alone = |at: &usize| {
            let (x, y) = (at % self.width, at / self.width);
            let row = |y: usize| &other.covered[y * self.width..][..self.width];
            !around(y, height).any(|y| row(y)[around(x, self.width)].contains(&true))
        };
        (0..height * self.width).filter(|at| self.covered[*at]).filter(is_alone).count()
    }

    /// How alike light and dark are distributed where both show the model: Pearson's correlation, -1 to 1.
    pub(super) fn likeness(&self, other: &Self) -> f64 {
        let both = || {
            let covered = self.covered.iter().zip(&other.covered).map(|(a, b)| *a && *b);
            let luma = self.luma.iter().zip(&other.luma).map(|(a, b)| (f64::from(*a), f64::from(*b)));
            covered.zip(luma).filter(|(covered, _)| *covered).map(|(_, luma)| luma)
        };
        let n = both().count().max(1) as f64;
        let (sum_a, sum_b) = both().fold((0.0, 0.0), |(sa, sb), (a, b)| (sa + a, sb + b));
        let (mean_a, mean_b) = (sum_a / n, sum_b / n);
        let (mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0);
        for (a, b) in both() {
            let (a, b) = (a - mean_a, b - mean_b);
            (aa, bb, ab) = (aa + a * a, bb + b * b, ab + a * b);
        }
        if aa * bb > 0.0 { ab / (aa * bb).sqrt() } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A digit is a covered pixel, darker or lighter.
    fn shape(rows: &[&str]) -> Shape {
        let width = u32::try_from(rows[0].len()).unwrap();
        // The peers' rows come from the bottom.
        let texels = rows.iter().rev().flat_map(|row| row.bytes()).flat_map(|byte| match byte {
            b' ' => [0, 0, 255, 255],
            digit => [(digit - b'0') * 25, (digit - b'0') * 25, (digit - b'0') * 25, 255],
        });
        Shape::of_peer(&texels.collect::<Vec<u8>>(), width)
    }

    #[test]
    fn coverage_counts_pixels() {
        let (a, b) = (shape(&["12  ", "34  "]), shape(&["1   ", "    "]));
        assert_eq!((a.share(), b.share()), (0.5, 0.125));
        assert_eq!(a.covered, [true, true, false, false, true, true, false, false], "rows from the top");
    }

    #[test]
    fn a_rim_of_one_pixel_is_no_disagreement() {
        let small = shape(&["      ", "  11  ", "  11  ", "      ", "      "]);
        let large = shape(&[" 1111 ", " 1111 ", " 1111 ", " 1111 ", "      "]);
        assert_eq!((small.overlap(&small), small.overlap(&large), large.overlap(&small)), (1.0, 1.0, 1.0));
        // Diagonally beside is beside.
        assert_eq!(shape(&["1   ", "    "]).overlap(&shape(&["    ", " 1  "])), 1.0);
    }

    #[test]
    fn what_one_side_alone_shows_is_disagreement() {
        let ball = shape(&[" 11   ", " 11   ", "      "]);
        // One pixel beyond the rim, of 7.
        assert_eq!(ball.overlap(&shape(&[" 1111 ", " 11   ", " 1    "])), 1.0 - 1.0 / 7.0);
        assert_eq!(shape(&[" 1111 ", " 11   ", " 1    "]).overlap(&ball), 1.0 - 1.0 / 7.0);
        // Elsewhere, nowhere, everywhere.
        assert_eq!(ball.overlap(&shape(&["     1", "     1", "     1"])), 0.0);
        assert_eq!(ball.overlap(&shape(&["      ", "      ", "      "])), 0.0);
        assert_eq!(ball.overlap(&shape(&["111111", "111111", "111111"])), 1.0 - 6.0 / 18.0);
        // Rows do not go on in the next one.
        assert_eq!(shape(&["   1", "    "]).overlap(&shape(&["    ", "1   "])), 0.0);
        // A hole of one pixel is forgiven, a hole of three across is not: its middle is alone.
        let full = shape(&["11111", "11111", "11111", "11111", "11111"]);
        let holed = shape(&["11111", "1   1", "1   1", "1   1", "11111"]);
        assert_eq!(full.overlap(&holed), 1.0 - 1.0 / 25.0);
        // Other sizes have nothing in common.
        assert_eq!(ball.overlap(&shape(&["111111111", "111111111"])), 0.0);
    }

    #[test]
    fn likeness_is_of_light_and_dark() {
        let (a, darker, turned) =
            (shape(&["2468", "2468"]), shape(&["1234", "1234"]), shape(&["8642", "8642"]));
        assert!((a.likeness(&darker) - 1.0).abs() < 1e-6);
        assert!((a.likeness(&turned) + 1.0).abs() < 1e-6);
        assert_eq!(a.likeness(&shape(&["5555", "5555"])), 0.0, "a flat picture is like nothing");
    }

    #[test]
    fn our_background_is_not_covered() {
        let grey = |y: u8| Yuv420 { width: 2, height: 2, y: vec![y; 4], u: vec![128], v: vec![128] };
        let mut picture = grey(90);
        picture.y[3] = 120;
        assert_eq!(Shape::of_ours(&picture, &grey(90)).covered, [false, false, false, true]);
        picture.v[0] = 140;
        assert_eq!(Shape::of_ours(&picture, &grey(90)).share(), 1.0, "colour counts too");
    }
}
