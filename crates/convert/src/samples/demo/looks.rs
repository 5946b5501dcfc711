//! Materials of the demo, with their textures.

use scene::math::Vec3;
use serde_json::{Value, json};

use super::super::{
    noise::tiled2,
    textures::{Field, Picture, field},
};
use crate::write::{Glb, Index};

/// What a piece is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Steel,
    Chrome,
    Brass,
    Copper,
    Blued,
    Fins,
    Cast,
    Black,
    Red,
    Paint,
    Braid,
    Rubber,
    Ceramic,
    Glass,
    Ticks,
    Display,
    Led,
}

/// All textures, encoded. Made apart from the geometry, on several threads.
pub(super) struct Pictures(Vec<(&'static str, Vec<u8>)>);

const SIZE: u32 = 512;

type Painter = fn() -> Vec<(&'static str, Vec<u8>)>;

/// Draws all textures.
pub(super) fn draw() -> Pictures {
    // Balanced by hand: each takes about as long as the others.
    let painters: [Painter; 6] = [brushed, cast, paint, wear, braid, signs];
    let mut all = Vec::new();
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for (n, painter) in painters.iter().enumerate() {
            let thread = std::thread::Builder::new().name(format!("texture-{n}"));
            threads.push((painter, thread.spawn_scoped(scope, painter).ok()));
        }
        for (painter, thread) in threads {
            // Without a thread it is done here.
            all.extend(thread.and_then(|t| t.join().ok()).unwrap_or_else(painter));
        }
    });
    Pictures(all)
}

/// Layers of noise, each `gain` as strong and twice as fine as the last.
fn layers(x: f32, y: f32, cells: (u32, u32), n: u32, gain: f32, seed: u32) -> f32 {
    let (mut sum, mut weight, mut total) = (0.0, 1.0, 0.0);
    for octave in 0..n {
        let period = (cells.0 << octave, cells.1 << octave);
        sum += weight * tiled2(x * period.0 as f32, y * period.1 as f32, period, seed ^ (octave * 0x51ed));
        total += weight;
        weight *= gain;
    }
    sum / total
}

/// Metal that was turned or ground: fine lines along u, with stains.
fn brushed() -> Vec<(&'static str, Vec<u8>)> {
    let lines = field(SIZE, |x, y| layers(x, y, (4, 128), 3, 0.8, 11));
    let stains = field(SIZE, |x, y| layers(x, y, (5, 5), 4, 0.55, 12));
    let both = |color: fn(f32, f32) -> Vec3| blend(&lines, &stains, color).png();
    vec![
        ("brushed colour", both(|line, stain| Vec3::splat(0.90 + 0.06 * line + 0.08 * (stain - 0.5)))),
        (
            "brushed roughness",
            both(|line, stain| {
                let smudge = ((stain - 0.52) * 5.0).clamp(0.0, 1.0);
                Vec3::new(1.0, 0.52 + 0.34 * line + 0.22 * smudge, 1.0)
            }),
        ),
        ("brushed normals", Picture::normals(&lines, 0.55).png()),
    ]
}

/// Cast metal; with the shade between cooling fins, which repeat once along v.
fn cast() -> Vec<(&'static str, Vec<u8>)> {
    let grain = field(SIZE, |x, y| layers(x, y, (48, 48), 3, 0.7, 21));
    let shade = |v: f32| {
        // Light comes in from the fin's tip, half-way.
        let depth = (2.0 * v - 1.0).abs();
        1.0 - 0.8 * depth.powi(2)
    };
    let n = SIZE as f32;
    let at = |x: f32, y: f32| grain.at(x * n, y * n);
    let fins = Picture::from_fn(128, SIZE, |x, v| Vec3::new(shade(v), 0.50 + 0.25 * at(x, v), 1.0));
    let fin_color = Picture::from_fn(128, SIZE, |x, v| {
        let soot = Vec3::new(0.50, 0.47, 0.44);
        soot.lerp(Vec3::splat(0.93), shade(v).powf(0.7)) * (0.9 + 0.1 * at(x, v))
    });
    vec![
        ("fins occlusion roughness", fins.png()),
        ("fins colour", fin_color.png()),
        ("cast normals", Picture::normals(&grain, 1.6).png()),
        ("cast roughness", Picture::of(&grain, |h| Vec3::new(1.0, 0.55 + 0.3 * h, 1.0)).png()),
    ]
}

/// Sprayed paint: an even skin with the swell that is called orange peel.
fn paint() -> Vec<(&'static str, Vec<u8>)> {
    let peel = field(SIZE, |x, y| layers(x, y, (40, 40), 2, 0.4, 31));
    let dust = field(SIZE, |x, y| layers(x, y, (6, 6), 5, 0.6, 32));
    vec![
        ("paint normals", Picture::normals(&peel, 1.5).png()),
        (
            "paint roughness",
            Picture::of(&dust, |h| Vec3::new(1.0, 0.6 + 0.7 * (h - 0.4).max(0.0), 1.0)).png(),
        ),
        ("paint colour", Picture::of(&dust, |h| Vec3::splat(0.86 + 0.18 * h)).png()),
    ]
}

/// Anodised metal, a little worn; and steel that got hot.
fn wear() -> Vec<(&'static str, Vec<u8>)> {
    let wear = field(SIZE, |x, y| layers(x, y, (7, 7), 5, 0.65, 41));
    let rough = Picture::of(&wear, |h| {
        let worn = ((h - 0.60) * 8.0).clamp(0.0, 1.0);
        Vec3::new(1.0, 0.95 - 0.25 * worn - 0.2 * (h - 0.5), 1.0)
    });
    let color = Picture::of(&wear, |h| {
        let worn = ((h - 0.66) * 5.0).clamp(0.0, 0.6);
        Vec3::splat(0.72).lerp(Vec3::ONE, worn)
    });
    // Oxide colours by the temperature that steel has seen: straw, brown, purple, blue, grey.
    let tempers = [
        Vec3::new(0.80, 0.72, 0.55),
        Vec3::new(0.78, 0.58, 0.30),
        Vec3::new(0.55, 0.32, 0.36),
        Vec3::new(0.26, 0.30, 0.58),
        Vec3::new(0.36, 0.50, 0.66),
        Vec3::new(0.62, 0.64, 0.66),
    ];
    let temper = Picture::from_fn(256, 256, |x, y| {
        let n = SIZE as f32;
        let spread = wear.at(x * n, y * n) - 0.5;
        let wave = 0.5 + 0.5 * (y * std::f32::consts::TAU).cos();
        let heat = ((wave + 0.7 * spread).clamp(0.0, 0.999)) * 5.0;
        let (low, share) = (heat.floor(), heat.fract());
        // 0 to 4, as clamped.
        let step = (0..5).rev().find(|i| low >= *i as f32).unwrap_or(0);
        // Oxide is a thin veil over steel.
        tempers[step].lerp(tempers[step + 1], share).lerp(Vec3::new(0.50, 0.48, 0.47), 0.42)
    });
    vec![("worn roughness", rough.png()), ("worn colour", color.png()), ("temper colours", temper.png())]
}

/// A hose woven of strands that cross.
fn braid() -> Vec<(&'static str, Vec<u8>)> {
    const N: u32 = 256;
    let weave = field(N, |x, y| {
        let (a, b) = ((x + y) * 8.0, (x - y) * 8.0);
        let strand = |t: f32| (1.0 - (2.0 * t.rem_euclid(1.0) - 1.0).powi(2)).max(0.0).sqrt();
        // Over and under by turns.
        let over = (a.floor() + b.floor()).rem_euclid(2.0) < 0.5;
        if over { strand(a) } else { strand(b) }
    });
    vec![
        ("braid normals", Picture::normals(&weave, 5.0).png()),
        ("braid roughness", Picture::of(&weave, |h| Vec3::new(0.35 + 0.65 * h, 0.5, 1.0)).png()),
        ("braid colour", Picture::of(&weave, |h| Vec3::splat(0.25 + 0.65 * h)).png()),
    ]
}

/// The engraved ring and the display.
fn signs() -> Vec<(&'static str, Vec<u8>)> {
    // Over one twelfth of the ring: six marks, one of them long. Depth 1 is engraved.
    let engraved = |x: f32, y: f32| {
        let tick = (x * 6.0).fract() - 0.5;
        let place = (x * 6.0).floor();
        let (length, width) = match place {
            0.0 => (0.80, 0.15),
            3.0 => (0.55, 0.11),
            _ => (0.38, 0.08),
        };
        f32::from((tick.abs() < width && y > 0.90 - length && y < 0.90) || (y - 0.955).abs() < 0.018)
    };
    let marks = field(SIZE, engraved);
    let display = Picture::from_fn(512, 128, |x, y| {
        let on = digits(x * 16.0, y * 4.0);
        let glow = Vec3::new(1.0, 0.42, 0.08);
        let line = 0.85 + 0.15 * (y * 128.0 * 1.57).sin();
        glow * (on * line) + Vec3::new(0.035, 0.012, 0.004)
    });
    vec![
        ("ring colour", Picture::of(&marks, |h| Vec3::ONE.lerp(Vec3::splat(0.06), h)).png()),
        ("ring roughness", Picture::of(&marks, |h| Vec3::new(1.0 - 0.4 * h, 0.6 + 0.4 * h, 1.0 - h)).png()),
        ("ring normals", Picture::normals(&marks, -1.2).png()),
        ("display", display.png()),
    ]
}

/// How bright seven-segment digits shine at a place of 16 x 4 units.
fn digits(x: f32, y: f32) -> f32 {
    // Bits: top, upper right, lower right, bottom, lower left, upper left, middle.
    const TEXT: [u8; 6] = [0b101_0000, 0, 0b101_1011, 0b100_1111, 0b011_1111, 0b011_1111];
    let column = ((x - 1.0) / 2.3).floor();
    let Some(bits) = (0..TEXT.len()).find(|i| *i as f32 == column).map(|i| TEXT[i]) else { return 0.0 };
    // Within the digit, slanted: 0 to 1.4 across, 0 to 2.6 down.
    let (px, py) = (x - 1.0 - column * 2.3 - 0.25 + 0.12 * (y - 2.0), y - 0.7);
    let bar = |x0: f32, y0: f32, x1: f32, y1: f32| {
        let (dx, dy) = ((x0 - px).max(px - x1).max(0.0), (y0 - py).max(py - y1).max(0.0));
        1.0 - ((dx * dx + dy * dy).sqrt() / 0.16 - 0.45).clamp(0.0, 1.0)
    };
    let segments = [
        bar(0.15, 0.0, 1.25, 0.0),
        bar(1.4, 0.15, 1.4, 1.15),
        bar(1.4, 1.45, 1.4, 2.45),
        bar(0.15, 2.6, 1.25, 2.6),
        bar(0.0, 1.45, 0.0, 2.45),
        bar(0.0, 0.15, 0.0, 1.15),
        bar(0.15, 1.3, 1.25, 1.3),
    ];
    let lit = |i: usize| if bits >> i & 1 == 1 { segments[i] } else { segments[i] * 0.03 };
    (0..7).map(lit).fold(0.0, f32::max)
}

/// A picture of two fields.
fn blend(a: &Field, b: &Field, color: impl Fn(f32, f32) -> Vec3) -> Picture {
    let n = a.size as f32;
    Picture::from_fn(a.size, a.size, |x, y| color(a.at(x * n, y * n), b.at(x * n, y * n)))
}

/// Adds all materials to the file; index by [`Look`].
pub(super) fn add(glb: &mut Glb, pictures: &Pictures) -> impl Fn(Look) -> Index + use<> {
    let textures: Vec<(&str, Index)> =
        pictures.0.iter().map(|(name, png)| (*name, glb.png(name, png))).collect();
    let texture = |name: &str| {
        let found = textures.iter().find(|(n, _)| *n == name).map(|(_, index)| *index);
        json!({ "index": found.unwrap_or_default() })
    };
    let metal = |name: &str, color: [f32; 3], roughness: f32| {
        json!({
            "name": name,
            "pbrMetallicRoughness": {
                "baseColorFactor": [color[0], color[1], color[2], 1.0],
                "baseColorTexture": texture("brushed colour"),
                "metallicRoughnessTexture": texture("brushed roughness"),
                "metallicFactor": 1.0,
                "roughnessFactor": roughness,
            },
            "normalTexture": texture("brushed normals"),
        })
    };
    let plain = |name: &str, color: [f32; 4], metallic: f32, roughness: f32| {
        json!({
            "name": name,
            "pbrMetallicRoughness": {
                "baseColorFactor": color, "metallicFactor": metallic, "roughnessFactor": roughness,
            },
        })
    };
    let textured = |mut material: Value, color: &str, rough: &str, normals: &str| {
        if !color.is_empty() {
            material["pbrMetallicRoughness"]["baseColorTexture"] = texture(color);
        }
        material["pbrMetallicRoughness"]["metallicRoughnessTexture"] = texture(rough);
        if !normals.is_empty() {
            material["normalTexture"] = texture(normals);
        }
        material
    };
    let with_occlusion = |mut material: Value, occlusion: &str| {
        material["occlusionTexture"] = texture(occlusion);
        material
    };
    let mut glass = plain("glass", [0.55, 0.66, 0.70, 0.08], 0.0, 0.04);
    glass["alphaMode"] = json!("BLEND");
    glass["doubleSided"] = json!(true);
    let mut display = plain("display", [0.01, 0.01, 0.012, 1.0], 0.0, 0.45);
    display["emissiveTexture"] = texture("display");
    display["emissiveFactor"] = json!([1.0, 1.0, 1.0]);
    display["extensions"] = json!({ "KHR_materials_emissive_strength": { "emissiveStrength": 4.0 } });
    let mut led = plain("status light", [0.02, 0.05, 0.03, 1.0], 0.0, 0.3);
    led["emissiveFactor"] = json!([0.1, 1.0, 0.35]);
    led["extensions"] = json!({ "KHR_materials_emissive_strength": { "emissiveStrength": 3.0 } });
    let ticks = textured(
        plain("engraved brass", [0.64, 0.44, 0.18, 1.0], 1.0, 0.5),
        "ring colour",
        "ring roughness",
        "ring normals",
    );
    // In the order of Look.
    let materials = [
        metal("brushed steel", [0.46, 0.47, 0.49], 0.48),
        metal("polished steel", [0.62, 0.63, 0.65], 0.24),
        metal("brass", [0.76, 0.53, 0.22], 0.40),
        metal("copper", [0.76, 0.36, 0.22], 0.36),
        textured(
            plain("heat-blued steel", [0.85, 0.85, 0.88, 1.0], 1.0, 0.42),
            "temper colours",
            "brushed roughness",
            "brushed normals",
        ),
        with_occlusion(
            textured(
                plain("finned aluminium", [0.50, 0.51, 0.53, 1.0], 0.9, 0.75),
                "fins colour",
                "fins occlusion roughness",
                "cast normals",
            ),
            "fins occlusion roughness",
        ),
        textured(
            plain("cast aluminium", [0.43, 0.44, 0.46, 1.0], 0.95, 0.75),
            "",
            "cast roughness",
            "cast normals",
        ),
        textured(
            plain("black anodised", [0.040, 0.041, 0.046, 1.0], 0.2, 0.52),
            "worn colour",
            "worn roughness",
            "cast normals",
        ),
        textured(
            plain("red anodised", [0.66, 0.035, 0.030, 1.0], 0.9, 0.36),
            "worn colour",
            "worn roughness",
            "brushed normals",
        ),
        textured(
            plain("paint", [0.055, 0.115, 0.135, 1.0], 0.0, 0.42),
            "paint colour",
            "paint roughness",
            "paint normals",
        ),
        with_occlusion(
            textured(
                plain("braided hose", [0.62, 0.60, 0.56, 1.0], 1.0, 0.7),
                "braid colour",
                "braid roughness",
                "braid normals",
            ),
            "braid roughness",
        ),
        textured(
            plain("rubber", [0.022, 0.022, 0.024, 1.0], 0.0, 0.95),
            "",
            "cast roughness",
            "cast normals",
        ),
        plain("ceramic", [0.86, 0.84, 0.79, 1.0], 0.0, 0.18),
        glass,
        ticks,
        display,
        led,
    ];
    let indices: Vec<Index> = materials.into_iter().map(|material| glb.material(material)).collect();
    move |look| indices[look as usize]
}
