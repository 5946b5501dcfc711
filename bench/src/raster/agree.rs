//! Whether two pictures show the same: nobody wins by drawing nothing.

use render::Yuv420;

/// Which pixels show the model, and how bright they are; rows from the top.
pub(super) struct Shape {
    pub(super) covered: Vec<bool>,
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
        Self { covered: covered.collect(), luma }
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
        Self { covered, luma }
    }

    /// Share of the picture that is covered, 0 to 1.
    pub(super) fn share(&self) -> f64 {
        self.covered.iter().filter(|covered| **covered).count() as f64 / self.covered.len().max(1) as f64
    }

    /// Pixels that both cover by pixels that any covers, 0 to 1.
    pub(super) fn overlap(&self, other: &Self) -> f64 {
        if self.covered.len() != other.covered.len() {
            return 0.0;
        }
        let pairs = self.covered.iter().zip(&other.covered);
        let (both, any) = pairs.fold((0_u32, 0_u32), |(both, any), (a, b)| {
            (both + u32::from(*a && *b), any + u32::from(*a || *b))
        });
        f64::from(both) / f64::from(any.max(1))
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

    fn shape(rows: &[&str]) -> Shape {
        // The peers' rows come from the bottom.
        let texels = rows.iter().rev().flat_map(|row| row.bytes()).flat_map(|byte| match byte {
            b' ' => [0, 0, 255, 255],
            digit => [(digit - b'0') * 25, (digit - b'0') * 25, (digit - b'0') * 25, 255],
        });
        Shape::of_peer(&texels.collect::<Vec<u8>>(), 4)
    }

    #[test]
    fn coverage_and_overlap_count_pixels() {
        let (a, b) = (shape(&["12  ", "34  "]), shape(&["1   ", "3   "]));
        assert_eq!((a.share(), b.share()), (0.5, 0.25));
        assert_eq!((a.overlap(&a), a.overlap(&b)), (1.0, 0.5));
        assert_eq!(a.overlap(&shape(&["    ", "    "])), 0.0);
        assert_eq!(a.covered, [true, true, false, false, true, true, false, false], "rows from the top");
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
