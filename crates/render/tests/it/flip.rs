//! How different two pictures look to a person who flips between them: LDR-FLIP of Andersson, Nilsson, Akenine-Möller,
//! Oskarsson, Åström and Fairchild, "FLIP: A Difference Evaluator for Alternating Images", HPG 2020.
//!
//! Colours are blurred as the eye blurs them at a distance and compared in Hunt-adjusted L*a*b* (section 4.1); edges and
//! points are compared apart (4.2); and where those differ, the colour difference counts more (4.3). Names are the
//! paper's. It was compared with the authors' own program; the numbers are in the tests below.

use std::f32::consts::PI;

/// Pixels in a degree of the observer's field of view: 0.7 m from a monitor with 3840 pixels on 0.7 m.
const PIXELS_PER_DEGREE: f32 = 67.020_64;
/// Compresses colour differences.
const QC: f32 = 0.7;
/// Compresses feature differences.
const QF: f32 = 0.5;
/// Differences below this share of the largest are spread over the first [`PT`] of the range.
const PC: f32 = 0.4;
const PT: f32 = 0.95;
/// Width of the edges that features are made of, degrees.
const W: f32 = 0.082;

/// Of each pixel, 0 (equal) to 1.
#[derive(Debug)]
pub(crate) struct Differences {
    pub(crate) width: usize,
    pub(crate) pixels: Vec<f32>,
}

impl Differences {
    pub(crate) fn mean(&self) -> f64 {
        self.pixels.iter().map(|x| f64::from(*x)).sum::<f64>() / self.pixels.len().max(1) as f64
    }

    pub(crate) fn most(&self) -> f32 {
        self.pixels.iter().copied().fold(0.0, f32::max)
    }

    /// The mean of the square of `edge` pixels that differs most: tells small from nothing.
    pub(crate) fn worst_square(&self, edge: usize) -> f32 {
        let height = self.pixels.len() / self.width;
        let mean = |x: usize, y: usize| {
            let rows = (y..y + edge).map(|y| self.pixels[y * self.width + x..][..edge].iter().sum::<f32>());
            rows.sum::<f32>() / (edge * edge) as f32
        };
        let corners = |n: usize| (0..n.saturating_sub(edge - 1)).step_by(edge / 2);
        corners(height)
            .flat_map(|y| corners(self.width).map(move |x| (x, y)))
            .fold(0.0, |most, (x, y)| most.max(mean(x, y)))
    }
}

/// Compares pictures of the same size, `width` wide, encoded in sRGB.
pub(crate) fn flip(reference: &[[u8; 3]], test: &[[u8; 3]], width: usize) -> Differences {
    assert_eq!(reference.len(), test.len());
    let [reference, test] = [reference, test].map(|rgb| Planes::opponent(rgb, width));
    let [seen, seen_test] = [&reference, &test].map(Planes::as_seen);
    let features = [&reference, &test].map(Planes::features);
    let most = hyab(hunt_lab([0.0, 1.0, 0.0]), hunt_lab([0.0, 0.0, 1.0])).powf(QC);
    let pixel = |n: usize| {
        let color = hyab(seen[n], seen_test[n]).powf(QC);
        let color = if color < PC * most {
            color * PT / (PC * most)
        } else {
            PT + (color - PC * most) / (most - PC * most) * (1.0 - PT)
        };
        let [a, b] = [features[0][n], features[1][n]];
        let feature = (a[0] - b[0]).abs().max((a[1] - b[1]).abs());
        let feature = (feature / 2f32.sqrt()).powf(QF);
        color.powf(1.0 - feature)
    };
    Differences { width, pixels: (0..reference.planes[0].len()).map(pixel).collect() }
}

/// A picture, channel by channel: luma and two colour differences that are linear in light (YCxCz).
struct Planes {
    width: usize,
    planes: [Vec<f32>; 3],
}

impl Planes {
    fn opponent(rgb: &[[u8; 3]], width: usize) -> Self {
        let mut planes = [vec![], vec![], vec![]];
        for pixel in rgb {
            let [x, y, z] = xyz(pixel.map(|code| linear(f32::from(code) / 255.0)));
            planes[0].push(116.0 * y - 16.0);
            planes[1].push(500.0 * (x - y));
            planes[2].push(200.0 * (y - z));
        }
        Self { width, planes }
    }

    /// Blurred by the eye's sensitivity to contrast, in Hunt-adjusted L*a*b*.
    fn as_seen(&self) -> Vec<[f32; 3]> {
        // Achromatic, red-green, blue-yellow: sums of Gaussians of amplitude a and width b.
        let luma = self.blurred(0, &[(1.0, 0.0047)]);
        let red_green = self.blurred(1, &[(1.0, 0.0053)]);
        let blue_yellow = self.blurred(2, &[(34.1, 0.04), (13.5, 0.025)]);
        let pixel = |n: usize| {
            let y = (luma[n] + 16.0) / 116.0;
            let [x, z] = [y + red_green[n] / 500.0, y - blue_yellow[n] / 200.0];
            hunt_lab(rgb([x, y, z]).map(|light| light.clamp(0.0, 1.0)))
        };
        (0..luma.len()).map(pixel).collect()
    }

    fn blurred(&self, plane: usize, gaussians: &[(f32, f32)]) -> Vec<f32> {
        // Three standard deviations of the widest of them all.
        let radius = (3.0 * (0.04 / (2.0 * PI * PI)).sqrt() * PIXELS_PER_DEGREE).ceil();
        let mut sums = vec![0.0; self.planes[plane].len()];
        let mut total = 0.0;
        for (a, b) in gaussians {
            let kernel = kernel(radius, |x| (-(PI * x / PIXELS_PER_DEGREE).powi(2) / b).exp());
            let amplitude = a * (PI / b).sqrt();
            for (sum, x) in sums.iter_mut().zip(self.convolved(plane, &kernel, &kernel)) {
                *sum += amplitude * x;
            }
            total += amplitude * kernel.iter().sum::<f32>().powi(2);
        }
        sums.iter().map(|sum| sum / total).collect()
    }

    /// Strength of edges and of points.
    fn features(&self) -> Vec<[f32; 2]> {
        let sigma = 0.5 * W * PIXELS_PER_DEGREE;
        let radius = (3.0 * sigma).ceil();
        let gauss = |x: f32| (-x * x / (2.0 * sigma * sigma)).exp();
        let smooth = balanced(kernel(radius, gauss));
        let edge = balanced(kernel(radius, |x| -x * gauss(x)));
        let point = balanced(kernel(radius, |x| (x * x / (sigma * sigma) - 1.0) * gauss(x)));
        let lengths = |across: &[f32]| {
            let [x, y] = [self.convolved(0, across, &smooth), self.convolved(0, &smooth, across)];
            // Of luma between 0 and 1.
            x.iter().zip(y).map(|(x, y)| x.hypot(y) / 116.0).collect::<Vec<f32>>()
        };
        lengths(&edge).into_iter().zip(lengths(&point)).map(|(edge, point)| [edge, point]).collect()
    }

    /// By row, then by column; what is outside repeats the edge.
    fn convolved(&self, plane: usize, across: &[f32], down: &[f32]) -> Vec<f32> {
        let height = self.planes[plane].len() / self.width;
        let rows = along(&self.planes[plane], across, self.width, height, [1, self.width]);
        along(&rows, down, height, self.width, [self.width, 1])
    }
}

/// Convolves `lines` lines of `n` values; `steps`: between values and between lines.
fn along(values: &[f32], kernel: &[f32], n: usize, lines: usize, steps: [usize; 2]) -> Vec<f32> {
    let mut out = vec![0.0; values.len()];
    let radius = kernel.len() / 2;
    for line in 0..lines {
        for at in 0..n {
            let tap = |(k, weight): (usize, &f32)| {
                values[line * steps[1] + (at + k).saturating_sub(radius).min(n - 1) * steps[0]] * weight
            };
            out[line * steps[1] + at * steps[0]] = kernel.iter().enumerate().map(tap).sum();
        }
    }
    out
}

fn kernel(radius: f32, at: impl Fn(f32) -> f32) -> Vec<f32> {
    let n = (2.0 * radius) as usize + 1;
    (0..n).map(|k| at(k as f32 - radius)).collect()
}

/// Positive weights add up to 1 and negative ones to -1.
fn balanced(kernel: Vec<f32>) -> Vec<f32> {
    let sum = |sign: f32| kernel.iter().map(|x| (x * sign).max(0.0)).sum::<f32>().max(1e-12);
    let (positive, negative) = (sum(1.0), sum(-1.0));
    kernel.iter().map(|x| if *x > 0.0 { x / positive } else { x / negative }).collect()
}

fn linear(x: f32) -> f32 {
    if x <= 0.04045 { x / 12.92 } else { ((x + 0.055) / 1.055).powf(2.4) }
}

/// CIE XYZ over that of white (D65).
fn xyz([r, g, b]: [f32; 3]) -> [f32; 3] {
    [
        (0.412_386_56 * r + 0.357_591_5 * g + 0.180_450_49 * b) / 0.950_428_55,
        0.212_636_82 * r + 0.715_183 * g + 0.072_180_2 * b,
        (0.019_330_62 * r + 0.119_197_16 * g + 0.950_372_6 * b) / 1.088_900_4,
    ]
}

fn rgb([x, y, z]: [f32; 3]) -> [f32; 3] {
    let (x, z) = (x * 0.950_428_55, z * 1.088_900_4);
    [
        3.241_003_3 * x - 1.537_399 * y - 0.498_615_86 * z,
        -0.969_224_3 * x + 1.875_930_1 * y + 0.041_554_224 * z,
        0.055_639_423 * x - 0.204_011_2 * y + 1.057_148_9 * z,
    ]
}

/// L*a*b* with less colour where it is dark, of linear light.
fn hunt_lab(light: [f32; 3]) -> [f32; 3] {
    const DELTA: f32 = 6.0 / 29.0;
    let f = |t: f32| if t > DELTA.powi(3) { t.cbrt() } else { t / (3.0 * DELTA * DELTA) + 4.0 / 29.0 };
    let [x, y, z] = xyz(light).map(f);
    let l = 116.0 * y - 16.0;
    [l, 500.0 * (x - y) * 0.01 * l, 200.0 * (y - z) * 0.01 * l]
}

/// The distance of Abasi, Tehran and Fairchild for large differences.
fn hyab(a: [f32; 3], b: [f32; 3]) -> f32 {
    (a[0] - b[0]).abs() + (a[1] - b[1]).hypot(a[2] - b[2])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: (u32, u32) = (64, 48);

    fn picture(pixel: impl Fn(u32, u32) -> [u32; 3]) -> Vec<[u8; 3]> {
        let codes = |n: u32| pixel(n % SIZE.0, n / SIZE.0).map(|code| (code % 256) as u8);
        (0..SIZE.0 * SIZE.1).map(codes).collect()
    }

    fn mean(a: &[[u8; 3]], b: &[[u8; 3]]) -> f64 {
        flip(a, b, SIZE.0 as usize).mean()
    }

    fn soft() -> Vec<[u8; 3]> {
        picture(|x, y| [x * 4, y * 5, (x + y) * 2])
    }

    #[test]
    fn it_agrees_with_the_program_of_its_authors() {
        let busy = |moved: u32| {
            picture(move |x, y| [(x + moved) * 7 + y * 13, (x + moved).pow(2) + y, (x + moved) * y])
        };
        let mut brighter = soft();
        brighter.as_flattened_mut().iter_mut().for_each(|code| *code = code.saturating_add(20));
        let mut dot = soft();
        let at = (24 * SIZE.0 + 32) as usize;
        dot[at] = dot[at].map(|code| 255 - code);
        let plain = |rgb: [u32; 3]| picture(move |_, _| rgb);
        // Means that flip-evaluator 1.7 (github.com/NVlabs/flip) gives for the same pictures.
        for (name, a, b, wanted) in [
            ("moved by a pixel", busy(0), busy(1), 0.351_515),
            ("brighter", soft(), brighter, 0.327_978),
            ("one pixel", soft(), dot, 0.000_495),
            ("black and white", plain([0; 3]), plain([255; 3]), 0.967_365),
            ("green and blue", plain([0, 255, 0]), plain([0, 0, 255]), 1.0),
            ("grey and brown", plain([128; 3]), plain([140, 124, 120]), 0.151_459),
        ] {
            let got = mean(&a, &b);
            assert!((got - wanted).abs() < 2e-4 * (1.0 + wanted), "{name}: {got}, not {wanted}");
        }
    }

    #[test]
    fn it_is_nothing_for_equal_pictures_and_the_same_in_both_orders() {
        let (a, b) = (soft(), picture(|x, y| [x * 3, y * 5, 90]));
        assert_eq!(mean(&a, &a), 0.0);
        assert_eq!(mean(&a, &b), mean(&b, &a));
    }

    #[test]
    fn a_square_tells_a_corner_from_the_rest() {
        let mut spot = soft();
        for y in 4..10 {
            for x in 6..12 {
                spot[y * SIZE.0 as usize + x] = [255, 0, 255];
            }
        }
        let differences = flip(&soft(), &spot, SIZE.0 as usize);
        assert!(
            f64::from(differences.worst_square(16)) > 5.0 * differences.mean(),
            "{}",
            differences.worst_square(16)
        );
        assert!(differences.worst_square(16) <= differences.most());
    }
}
