//! KHR_texture_basisu, with files of Binomial's encoder and the pixels of Binomial's decoder.

use std::path::Path;

use base64::{Engine, engine::general_purpose::STANDARD};
use convert::{Limits, Loaded};
use image::RgbaImage;
use proptest::{prelude::*, sample::Index};
use serde_json::{Value, json};

macro_rules! sample {
    ($name:literal) => {
        (
            include_bytes!(concat!("../data/ktx2/", $name, ".ktx2")),
            include_bytes!(concat!("../data/ktx2/", $name, ".png")),
        )
    };
}

/// Files, and what they decode to.
const SAMPLES: [(&[u8], &[u8]); 4] = {
    let (a, b, c, d) = (
        sample!("etc1s_alpha"),
        sample!("etc1s_opaque"),
        sample!("uastc_alpha"),
        sample!("uastc_opaque_zstd"),
    );
    [(a.0, a.1), (b.0, b.1), (c.0, c.1), (d.0, d.1)]
};

/// A triangle with `ktx2` on it, and a PNG of one pixel for who cannot read that.
fn file(ktx2: &[u8]) -> Value {
    let mut png = std::io::Cursor::new(Vec::new());
    RgbaImage::new(1, 1).write_to(&mut png, image::ImageFormat::Png).unwrap();
    let bin: Vec<u8> =
        [0.0_f32, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    let uri = |bytes: &[u8]| format!("data:application/octet-stream;base64,{}", STANDARD.encode(bytes));
    json!({
        "asset": { "version": "2.0" },
        "extensionsUsed": ["KHR_texture_basisu"],
        "extensionsRequired": ["KHR_texture_basisu"],
        "scenes": [{ "nodes": [0] }],
        "nodes": [{ "mesh": 0 }],
        "meshes": [{ "primitives": [{
            "attributes": { "POSITION": 0, "TEXCOORD_0": 1 }, "material": 0,
        }] }],
        "materials": [{ "pbrMetallicRoughness": { "baseColorTexture": { "index": 0 } } }],
        "textures": [{ "source": 1, "extensions": { "KHR_texture_basisu": { "source": 0 } } }],
        "images": [{ "uri": uri(ktx2), "mimeType": "image/ktx2" }, { "uri": uri(png.get_ref()) }],
        "accessors": [
            { "bufferView": 0, "componentType": 5126, "type": "VEC3", "count": 3 },
            { "componentType": 5126, "type": "VEC2", "count": 3 },
        ],
        "bufferViews": [{ "buffer": 0, "byteLength": 36 }],
        "buffers": [{ "byteLength": 36, "uri": uri(&bin) }],
    })
}

fn read(ktx2: &[u8], limits: &Limits) -> Loaded {
    convert::read_glb(file(ktx2).to_string().as_bytes(), limits).unwrap()
}

#[test]
fn both_formats_decode_to_the_pixels_of_their_makers() {
    for (ktx2, png) in SAMPLES {
        let Loaded { model, warnings } = read(ktx2, &Limits::default());
        assert_eq!(warnings, [""; 0]);
        let want = image::load_from_memory(png).unwrap().into_rgba8();
        let got = &model.images[0];
        assert_eq!((got.width, got.height), want.dimensions());
        assert!(got.rgba == *want.as_raw());
        assert!(model.materials[0].base_color_texture.is_some());
    }
}

/// Writes `value` over the word at `at`.
fn with(ktx2: &[u8], at: usize, value: u32) -> Vec<u8> {
    let mut ktx2 = ktx2.to_vec();
    ktx2[at..at + 4].copy_from_slice(&value.to_le_bytes());
    ktx2
}

#[test]
fn what_cannot_be_decoded_is_said_and_the_rest_is_shown() {
    let [(etc1s, _), _, (uastc, _), (zstandard, _)] = SAMPLES;
    let model_at = u32::from_le_bytes(uastc[48..52].try_into().unwrap()) as usize + 12;
    for (ktx2, words) in [
        (with(uastc, 12, 43), "Vulkan format 43"),
        (with(uastc, 28, 2), "two-dimensional"),
        (with(uastc, 32, 2), "two-dimensional"),
        (with(uastc, 36, 6), "two-dimensional"),
        (with(uastc, 44, 1), "supercompression 1"),
        (with(uastc, 44, 3), "supercompression 3"),
        (with(uastc, model_at, 162), "colour model 162"),
        (with(uastc, 20, 0), "0x45"),
        (with(uastc, 20, 620), "620x45"),
        (with(uastc, 20, u32::MAX), "lengths do not fit"),
        (with(&with(etc1s, 20, 1 << 31), 24, 1 << 31), "more than"),
        (with(zstandard, 80, u32::MAX), "is cut"),
        (with(zstandard, 84, u32::MAX), "is cut"),
        (with(zstandard, 96, 1 << 30), "lengths do not fit"),
        (with(etc1s, 68, u32::MAX), "is cut"),
        (with(etc1s, 72, 20), "is cut"),
        (with(etc1s, 40, u32::MAX), "is cut"),
        (with(uastc, 52, 48), "descriptor"),
        (uastc[..90].to_vec(), "is cut"),
        (uastc[..uastc.len() - 1].to_vec(), "is cut"),
        (b"\xABKTX 11\xBB\r\n\x1A\n".to_vec(), "KTX 1"),
    ] {
        let Loaded { model, warnings } = read(&ktx2, &Limits::default());
        assert_eq!((model.triangles(), model.images.len()), (1, 0), "{words}");
        assert!(
            warnings.iter().any(|w| w.starts_with("images[0]") && w.contains(words)),
            "{words}: {warnings:?}"
        );
    }
}

#[test]
fn pixels_are_counted_before_they_are_decoded() {
    let limits = Limits { total_pixels: 31 * 22 - 1, image_pixels: 31 * 22, ..Limits::default() };
    for (ktx2, _) in SAMPLES {
        let Loaded { model, warnings } = read(ktx2, &limits);
        assert!(model.images.is_empty());
        assert!(warnings.iter().any(|w| w.contains("pixels")), "{warnings:?}");
    }
}

#[test]
fn a_smaller_level_is_taken_where_the_largest_is_too_large() {
    let [(etc1s, _), _, single, (uastc, _)] = SAMPLES;
    for (ktx2, png) in [
        (etc1s, &include_bytes!("../data/ktx2/etc1s_alpha_level_1.png")[..]),
        (uastc, &include_bytes!("../data/ktx2/uastc_opaque_zstd_level_1.png")[..]),
    ] {
        for limits in [
            Limits { image_pixels: 62 * 45 - 1, ..Limits::default() },
            Limits { image_bytes: 62 * 45 * 5 - 1, ..Limits::default() },
        ] {
            let Loaded { model, warnings } = read(ktx2, &limits);
            assert_eq!(warnings, [""; 0]);
            let [small] = &model.images[..] else { panic!("{:?}", model.images) };
            assert_eq!((small.width, small.height), (31, 22));
            assert!(small.rgba == *image::load_from_memory(png).unwrap().into_rgba8().as_raw());
        }
        let tiny = read(ktx2, &Limits { image_pixels: 1, ..Limits::default() }).model;
        assert_eq!((tiny.images[0].width, tiny.images[0].height), (1, 1));
    }
    // Where there is no smaller one, there is none.
    let Loaded { model, warnings } =
        read(single.0, &Limits { image_pixels: 62 * 45 - 1, ..Limits::default() });
    assert!(model.images.is_empty() && warnings.iter().any(|w| w.contains("62x45")), "{warnings:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_textures_cost_a_warning(
        which in 0..4_usize,
        changes in prop::collection::vec((any::<Index>(), any::<u8>(), any::<bool>()), 1..6),
        end in prop::option::of(any::<Index>()),
    ) {
        let mut ktx2 = SAMPLES[which].0.to_vec();
        for (at, value, early) in changes {
            // Half of them in the header and the tables behind it.
            let n = if early { 400 } else { ktx2.len() };
            ktx2[at.index(n)] = value;
        }
        if let Some(end) = end {
            ktx2.truncate(end.index(ktx2.len()).max(1));
        }
        // The smaller levels, too.
        let image_pixels = if end.is_none() { 700 } else { 1 << 20 };
        let limits = Limits { image_pixels, ..Limits::default() };
        let Loaded { model, warnings } = read(&ktx2, &limits);
        model.check().unwrap();
        prop_assert!(model.images.len() == 1 || warnings.iter().any(|w| w.starts_with("images[0]")));
    }
}

/// A file of others, where the test data is.
#[test]
fn a_model_with_both_formats_loads() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/testdata/gltf/generated/basisu/basisu.gltf");
    if !path.is_file() {
        println!("SKIPPED: ../shared/testdata is not there");
        return;
    }
    let Loaded { model, warnings } = convert::read(&path, &Limits::default(), &mut |_| ()).unwrap();
    assert_eq!(warnings, [""; 0]);
    // The same picture twice, so no channel's mean differs by much.
    let [a, b] = &model.images[..] else { panic!("{:?}", model.images) };
    assert_eq!((a.width, a.height, b.width, b.height), (40, 40, 40, 40));
    let mean = |image: &scene::Image, c: usize| {
        image.rgba.iter().skip(c).step_by(4).map(|x| u32::from(*x)).sum::<u32>() / 1600
    };
    for c in 0..4 {
        assert!(mean(a, c).abs_diff(mean(b, c)) < 16, "{c}: {} {}", mean(a, c), mean(b, c));
    }
}
