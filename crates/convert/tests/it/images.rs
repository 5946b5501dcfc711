//! Images of every kind, against what the encoder was given.

use base64::{Engine, engine::general_purpose::STANDARD};
use convert::{Limits, Loaded};
use image::{DynamicImage, ImageFormat, Luma, LumaA, Rgb, RgbImage, Rgba};
use serde_json::json;

use crate::own::{add_accessor, triangle};

/// A triangle that shows `bytes`, by EXT_texture_webp if they are that.
fn load(bytes: &[u8], limits: &Limits) -> Loaded {
    let mut json = triangle(&[0; 24]);
    add_accessor(&mut json, json!({ "bufferView": 1, "componentType": 5126, "type": "VEC2", "count": 3 }));
    json["meshes"][0]["primitives"] =
        json!([{ "attributes": { "POSITION": 0, "TEXCOORD_0": 1 }, "material": 0 }]);
    json["materials"] = json!([{ "emissiveTexture": { "index": 0 } }]);
    json["images"] = json!([{ "uri": format!("data:;base64,{}", STANDARD.encode(bytes)) }]);
    json["textures"] = if bytes.starts_with(b"RIFF") {
        json["extensionsRequired"] = json!(["EXT_texture_webp"]);
        json!([{ "extensions": { "EXT_texture_webp": { "source": 0 } } }])
    } else {
        json!([{ "source": 0 }])
    };
    convert::read_glb(json.to_string().as_bytes(), limits).unwrap()
}

fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// One picture with every number of channels and both depths.
fn kinds() -> Vec<DynamicImage> {
    let (w, h) = (33, 7);
    let r = |x: u32| u8::try_from(x * 7).unwrap();
    let g = |y: u32| u8::try_from(y * 36).unwrap();
    let wide = |x: u8| u16::from(x) * 257;
    vec![
        DynamicImage::ImageLuma8(image::ImageBuffer::from_fn(w, h, |x, _| Luma([r(x)]))),
        DynamicImage::ImageLumaA8(image::ImageBuffer::from_fn(w, h, |x, y| LumaA([r(x), g(y)]))),
        DynamicImage::ImageRgb8(RgbImage::from_fn(w, h, |x, y| Rgb([r(x), g(y), 9]))),
        DynamicImage::ImageRgba8(image::ImageBuffer::from_fn(w, h, |x, y| Rgba([r(x), 5, 9, g(y)]))),
        DynamicImage::ImageLuma16(image::ImageBuffer::from_fn(w, h, |x, _| Luma([wide(r(x))]))),
        DynamicImage::ImageRgba16(image::ImageBuffer::from_fn(w, h, |x, y| {
            Rgba([wide(r(x)), 0, 65535, wide(g(y))])
        })),
    ]
}

#[test]
fn every_kind_of_pixel_becomes_rgba() {
    for image in kinds() {
        let want = image.to_rgba8();
        let mut formats = vec![ImageFormat::Png];
        if matches!(image, DynamicImage::ImageRgb8(_) | DynamicImage::ImageRgba8(_)) {
            // The encoder's WebP is lossless.
            formats.push(ImageFormat::WebP);
        }
        for format in formats {
            let Loaded { model, warnings } = load(&encode(&image, format), &Limits::default());
            assert_eq!(warnings, [""; 0]);
            let got = &model.images[0];
            assert_eq!((got.width, got.height), want.dimensions());
            assert!(got.rgba == *want.as_raw(), "{:?} {format:?}", image.color());
        }
    }
    for image in [&kinds()[0], &kinds()[2]] {
        let Loaded { model, .. } = load(&encode(image, ImageFormat::Jpeg), &Limits::default());
        let far =
            model.images[0].rgba.iter().zip(image.to_rgba8().as_raw()).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(far <= Some(40), "{far:?}");
        assert!(model.images[0].rgba.iter().skip(3).step_by(4).all(|a| *a == 255));
    }
}

#[test]
fn sixteen_thousand_pixels_across_are_fine() {
    for (w, h) in [(16384, 32), (32, 16384)] {
        let image =
            RgbImage::from_fn(
                w,
                h,
                |x, y| if (x, y) == (w - 1, h - 1) { Rgb([1, 2, 3]) } else { Rgb([9; 3]) },
            );
        let Loaded { model, warnings } =
            load(&encode(&DynamicImage::ImageRgb8(image), ImageFormat::Png), &Limits::default());
        assert_eq!(warnings, [""; 0]);
        let got = &model.images[0];
        assert_eq!((got.width, got.height), (w, h));
        assert_eq!(
            (&got.rgba[..4], &got.rgba[got.rgba.len() - 4..]),
            (&[9, 9, 9, 255][..], &[1, 2, 3, 255][..])
        );
    }
}

#[test]
fn memory_for_decoding_is_counted_by_kind() {
    let n_pixels = 33 * 7;
    for (image, format, each) in [
        (&kinds()[0], ImageFormat::Png, 4),
        (&kinds()[2], ImageFormat::Png, 4),
        (&kinds()[5], ImageFormat::Png, 12),
        (&kinds()[2], ImageFormat::Jpeg, 10),
        (&kinds()[3], ImageFormat::WebP, 8),
    ] {
        let bytes = encode(image, format);
        let loaded = |image_bytes| load(&bytes, &Limits { image_bytes, ..Limits::default() });
        assert_eq!(loaded(n_pixels * each).model.images.len(), 1, "{format:?}");
        let Loaded { model, warnings } = loaded(n_pixels * each - 1);
        assert_eq!(model.images.len(), 0);
        assert!(warnings.iter().any(|w| w.contains("33x7 pixels take")), "{warnings:?}");
    }
}

#[test]
fn images_without_area_or_sense_cost_a_warning() {
    let whole = encode(&kinds()[2], ImageFormat::Png);
    let mut flat = whole.clone();
    flat[16..20].fill(0);
    // The header's check sum is not looked at before its numbers.
    for (bytes, word) in [
        (flat, "images[0]"),
        (whole[..40].to_vec(), "images[0]"),
        (Vec::new(), "neither PNG"),
        (b"GIF89a".to_vec(), "neither PNG"),
        (b"DDS ....".to_vec(), "DDS"),
    ] {
        let Loaded { model, warnings } = load(&bytes, &Limits::default());
        assert_eq!((model.triangles(), model.images.len()), (1, 0));
        assert!(model.materials.iter().all(|m| m.emissive_texture.is_none()));
        assert!(warnings.iter().any(|w| w.contains(word)), "{warnings:?}");
    }
}
