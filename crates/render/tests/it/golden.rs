//! Golden images: each scene is drawn and compared with the picture in `golden/`.
//!
//! `UPDATE_GOLDEN=1 cargo test -p render --test it` writes them anew, after a change that is meant to be seen: look at
//! each before you commit it.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use render::{Renderer, Yuv420};

use crate::flip::{Differences, flip};
use crate::scenes::{SIZE, Scene, all};

/// Means of FLIP above this are a failure. Other instruction sets and processors stay below a tenth of it.
const MEAN_MAX: f64 = 0.002;
/// Likewise of the worst square of [`SQUARE`] pixels: a fault in a corner of the picture.
const SQUARE_MAX: f32 = 0.02;
const SQUARE: usize = 16;
/// Of a picture at rest, as hosts draw it.
const SAMPLES: u32 = 16;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden").join(name).with_extension("png")
}

fn draw(scene: &Scene) -> Vec<[u8; 3]> {
    let mut renderer = Renderer::new(NonZeroUsize::MIN);
    if scene.moves {
        let mut video = Yuv420::default();
        renderer.render(&scene.build.scene(), &scene.view, &mut video);
        return rgb_of(&video);
    }
    let rgba = renderer.still(&scene.build.scene(), &scene.view, SAMPLES);
    rgba.as_chunks::<4>().0.iter().map(|&[r, g, b, _]| [r, g, b]).collect()
}

/// As a player shows it: BT.709, limited range.
fn rgb_of(video: &Yuv420) -> Vec<[u8; 3]> {
    let (width, half) = (video.width as usize, video.width.div_ceil(2) as usize);
    let pixel = |n: usize| {
        let at = n / width / 2 * half + n % width / 2;
        let y = (f32::from(video.y[n]) - 16.0) / 219.0;
        let [u, v] = [video.u[at], video.v[at]].map(|c| (f32::from(c) - 128.0) / 224.0);
        let rgb = [y + 1.5748 * v, y - 0.187_324 * u - 0.468_124 * v, y + 1.8556 * u];
        rgb.map(|x| (x.clamp(0.0, 1.0) * 255.0 + 0.5) as u8)
    };
    (0..video.y.len()).map(pixel).collect()
}

fn write(path: &Path, rgb: &[[u8; 3]]) {
    let mut bytes = Vec::new();
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Best, FilterType::Adaptive)
        .write_image(rgb.as_flattened(), SIZE.0, SIZE.1, ExtendedColorType::Rgb8)
        .unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// Black where equal, then red, yellow, white.
fn shown(differences: &Differences) -> Vec<[u8; 3]> {
    let part = |x: f32| (x.clamp(0.0, 1.0) * 255.0) as u8;
    differences.pixels.iter().map(|x| [x * 4.0, x * 4.0 - 1.0, x * 2.0 - 1.0].map(part)).collect()
}

/// What is wrong with a scene, if anything.
fn trouble(scene: &Scene) -> Option<String> {
    let drawn = draw(scene);
    let path = golden(scene.name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        write(&path, &drawn);
        return None;
    }
    let Ok(bytes) = std::fs::read(&path) else {
        return Some(format!("{}: there is no {}; UPDATE_GOLDEN=1 writes it", scene.name, path.display()));
    };
    let reference = image::load_from_memory(&bytes).unwrap().to_rgb8();
    assert_eq!(reference.dimensions(), SIZE, "{}", path.display());
    let reference: Vec<[u8; 3]> = reference.pixels().map(|p| p.0).collect();
    let differences = flip(&reference, &drawn, SIZE.0 as usize);
    let (mean, square) = (differences.mean(), differences.worst_square(SQUARE));
    if std::env::var_os("SHOW_FLIP").is_some() {
        println!(
            "{:28} mean {mean:.5}, worst square {square:.4}, worst pixel {:.3}",
            scene.name,
            differences.most()
        );
    }
    if mean <= MEAN_MAX && square <= SQUARE_MAX {
        return None;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("golden");
    std::fs::create_dir_all(&folder).unwrap();
    let file = |what: &str| folder.join(format!("{}.{what}.png", scene.name));
    write(&file("drawn"), &drawn);
    write(&file("difference"), &shown(&differences));
    Some(format!(
        "{}: mean FLIP {mean:.4} (at most {MEAN_MAX}), worst square {square:.3} (at most {SQUARE_MAX})\n  \
         wanted     {}\n  drawn      {}\n  difference {}",
        scene.name,
        path.display(),
        file("drawn").display(),
        file("difference").display()
    ))
}

#[test]
fn pictures_look_as_they_did() {
    let troubles: Vec<String> = all().iter().filter_map(trouble).collect();
    assert!(troubles.is_empty(), "{} scenes look different:\n{}", troubles.len(), troubles.join("\n"));
}
