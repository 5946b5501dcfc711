//! Images, decoded once each, several at a time.

use std::{
    borrow::Cow,
    io::Cursor,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use ::image::{ColorType, ImageDecoder, ImageFormat, ImageReader};
use scene::Image;

use super::{accessor::Data, files::Files, json, ktx2};
use crate::{Fault, Limits, warnings::Warnings};

/// An image of the file, and what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Source {
    /// Index in the file.
    pub(super) image: u32,
    /// If there, the image is glossiness in alpha, to be turned into roughness; the factor's bits.
    pub(super) glossiness_bits: Option<u32>,
}

/// A file image on its way: its bytes, then its pixels or why there are none.
struct Job<'a> {
    index: u32,
    bytes: Cow<'a, [u8]>,
    result: Mutex<Result<Arc<Image>, String>>,
}

/// Decodes the images behind `sources`; by source the index of the decoded one, `None` (and a warning) if there is none.
pub(super) fn decode_all(
    json: &json::Root,
    data: &Data<'_>,
    sources: &[Source],
    files: &mut Files,
    limits: &Limits,
    warnings: &mut Warnings,
) -> (Vec<Arc<Image>>, Vec<Option<u32>>) {
    let mut job_by_image: Vec<Option<usize>> = vec![None; json.images.len()];
    let mut jobs: Vec<Job<'_>> = Vec::new();
    let mut pixels_left = limits.total_pixels;
    for source in sources {
        let i = source.image;
        if job_by_image[i as usize].is_some() {
            continue;
        }
        job_by_image[i as usize] = Some(jobs.len());
        let (bytes, result) = match bytes_of(json, data, i, files) {
            Err(fault) => (Cow::Borrowed(&[][..]), Err(fault.to_string())),
            Ok(bytes) => match admit(&bytes, limits, &mut pixels_left) {
                // A place-holder until the pixels are there.
                Ok(()) => (bytes, Err(String::new())),
                Err(why) => (Cow::Borrowed(&[][..]), Err(why)),
            },
        };
        jobs.push(Job { index: i, bytes, result: Mutex::new(result) });
    }
    run(&jobs, limits);

    let mut images = Vec::new();
    let mut decoded: Vec<Option<(Arc<Image>, Option<u32>)>> = Vec::with_capacity(jobs.len());
    for job in jobs {
        let result = job.result.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        decoded.push(match result {
            Ok(image) => Some((image, None)),
            Err(why) => {
                warnings.say(format!("images[{}] is not shown: {}.", job.index, why.trim_end_matches('.')));
                None
            }
        });
    }
    let image_from_source = sources.iter().map(|source| {
        let (image, place) = decoded[job_by_image[source.image as usize]?].as_mut()?;
        let mut add = |image: Arc<Image>| {
            images.push(image);
            u32::try_from(images.len() - 1).unwrap_or(u32::MAX)
        };
        Some(match source.glossiness_bits {
            None => *place.get_or_insert_with(|| add(Arc::clone(image))),
            Some(bits) => add(Arc::new(roughness_image(image, f32::from_bits(bits)))),
        })
    });
    let image_from_source = image_from_source.collect();
    (images, image_from_source)
}

/// Decodes jobs on as many threads as pay.
fn run(jobs: &[Job<'_>], limits: &Limits) {
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            if job.bytes.is_empty() {
                continue;
            }
            let result = decode(&job.bytes, limits).map(Arc::new);
            *job.result.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = result;
        }
    };
    let n_jobs = jobs.iter().filter(|job| !job.bytes.is_empty()).count();
    // Each thread holds one image while it decodes, so their number bounds memory, too.
    let n_threads = limits.n_threads.get().min(8).min(n_jobs);
    std::thread::scope(|scope| {
        for n in 1..n_threads {
            let thread = std::thread::Builder::new().name(format!("decode-image-{n}"));
            // Without another thread this one does all.
            if thread.spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
}

fn bytes_of<'a>(
    json: &json::Root,
    data: &'a Data<'_>,
    index: u32,
    files: &mut Files,
) -> Result<Cow<'a, [u8]>, Fault> {
    let image = &json.images[index as usize];
    let at = format!("images[{index}]");
    match (&image.uri, image.buffer_view) {
        (Some(uri), _) => Ok(Cow::Owned(files.load(uri, &format!("{at}.uri"))?)),
        (None, Some(view)) => Ok(Cow::Borrowed(data.view(view, || format!("{at}.bufferView"))?.0)),
        (None, None) => Err(Fault::damaged(at, "has neither uri nor bufferView")),
    }
}

/// Format by content: media types and names lie.
fn format_of(bytes: &[u8]) -> Result<ImageFormat, String> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => Ok(ImageFormat::Png),
        [0xFF, 0xD8, 0xFF, ..] => Ok(ImageFormat::Jpeg),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Ok(ImageFormat::WebP),
        [0xAB, b'K', b'T', b'X', ..] => Err("KTX 1 is not supported; use KTX2, PNG, JPEG or WebP".to_owned()),
        [b'D', b'D', b'S', b' ', ..] => Err("DDS is not supported; use KTX2, PNG, JPEG or WebP".to_owned()),
        _ => Err("it is neither PNG nor JPEG nor WebP nor KTX2".to_owned()),
    }
}

fn reader<'a>(bytes: &'a [u8], limits: &Limits) -> Result<ImageReader<Cursor<&'a [u8]>>, String> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format_of(bytes)?);
    let mut own = ::image::Limits::default();
    own.max_alloc = Some(limits.image_bytes.saturating_add(16 << 20));
    reader.limits(own);
    Ok(reader)
}

/// RGBA, and a byte for the blocks when decompressed.
const KTX2_BYTES_PER_PIXEL: u64 = 5;

/// The largest level that fits the limits.
fn ktx2_texture<'a>(bytes: &'a [u8], limits: &Limits) -> Result<ktx2::Texture<'a>, String> {
    ktx2::Texture::parse(bytes, limits.image_pixels.min(limits.image_bytes / KTX2_BYTES_PER_PIXEL))
}

/// Width, height, and bytes that decoding takes for each pixel at its height, the decoded image included.
fn measure(bytes: &[u8], limits: &Limits) -> Result<(u32, u32, u64), String> {
    if ktx2::is_ktx2(bytes) {
        let texture = ktx2_texture(bytes, limits)?;
        return Ok((texture.width, texture.height, KTX2_BYTES_PER_PIXEL));
    }
    let decoder = reader(bytes, limits)?.into_decoder().map_err(|e| e.to_string())?;
    let (width, height) = decoder.dimensions();
    let color = decoder.color_type();
    // Coefficients of progressive JPEG, planes of WebP.
    let own = match format_of(bytes)? {
        ImageFormat::Jpeg => 6,
        ImageFormat::WebP => 4,
        _ => 0,
    };
    let pixels = if is_8_bit(color) { 4 } else { 4 + u64::from(color.bytes_per_pixel()) };
    Ok((width, height, own + pixels))
}

/// Whether decoded pixels can be made RGBA in their place.
fn is_8_bit(color: ColorType) -> bool {
    matches!(color, ColorType::L8 | ColorType::La8 | ColorType::Rgb8 | ColorType::Rgba8)
}

/// Checks the size that the header gives against the limits.
fn admit(bytes: &[u8], limits: &Limits, pixels_left: &mut u64) -> Result<(), String> {
    let (width, height, bytes_per_pixel) = measure(bytes, limits)?;
    let n_pixels = u64::from(width) * u64::from(height);
    if n_pixels == 0 {
        return Err("it has no pixels".to_owned());
    }
    if n_pixels > limits.image_pixels {
        return Err(format!("{width}x{height} pixels are more than the {} allowed", limits.image_pixels));
    }
    let n_bytes = n_pixels.saturating_mul(bytes_per_pixel);
    if n_bytes > limits.image_bytes {
        let [needed, allowed] = [n_bytes, limits.image_bytes].map(|n| n >> 20);
        return Err(format!("{width}x{height} pixels take {needed} MiB to decode, {allowed} are allowed"));
    }
    // No decoder of the other formats makes more than 2^14 pixels of one byte.
    if !ktx2::is_ktx2(bytes) && n_pixels >> 14 > bytes.len() as u64 {
        return Err(format!("{} bytes cannot hold {width}x{height} pixels", bytes.len()));
    }
    match pixels_left.checked_sub(n_pixels) {
        Some(left) => *pixels_left = left,
        None => return Err(format!("all images together have more than {} pixels", limits.total_pixels)),
    }
    Ok(())
}

fn decode(bytes: &[u8], limits: &Limits) -> Result<Image, String> {
    if ktx2::is_ktx2(bytes) {
        return ktx2_texture(bytes, limits)?.decode();
    }
    let decoder = reader(bytes, limits)?.into_decoder().map_err(|e| e.to_string())?;
    let (width, height) = decoder.dimensions();
    let color = decoder.color_type();
    if !is_8_bit(color) {
        let image = ::image::DynamicImage::from_decoder(decoder).map_err(|e| e.to_string())?;
        return Ok(Image { width, height, rgba: image.into_rgba8().into_raw() });
    }
    let n_pixels = width as usize * height as usize;
    let n_channels = usize::from(color.channel_count());
    let mut rgba = vec![0; n_pixels * 4];
    decoder.read_image(&mut rgba[..n_pixels * n_channels]).map_err(|e| e.to_string())?;
    widen(&mut rgba, n_pixels, n_channels);
    Ok(Image { width, height, rgba })
}

/// Makes RGBA of grey (1 channel), grey with alpha (2) or RGB (3) that lies at the start of `texels`.
fn widen(texels: &mut [u8], n_pixels: usize, n_channels: usize) {
    if n_channels == 4 {
        return;
    }
    // From the end: nothing is written over before it was read.
    for i in (0..n_pixels).rev() {
        let at = i * n_channels;
        let rgba = match n_channels {
            1 => [texels[at], texels[at], texels[at], 255],
            2 => [texels[at], texels[at], texels[at], texels[at + 1]],
            _ => [texels[at], texels[at + 1], texels[at + 2], 255],
        };
        texels[i * 4..][..4].copy_from_slice(&rgba);
    }
}

/// Roughness in green and no effect on metalness in blue, of glossiness in alpha.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 255")]
fn roughness_image(image: &Image, glossiness: f32) -> Image {
    let rgba = image
        .rgba
        .chunks_exact(4)
        .flat_map(|texel| {
            let roughness = 255.0 - f32::from(texel[3]) * glossiness;
            [255, roughness.round() as u8, 255, 255]
        })
        .collect();
    Image { width: image.width, height: image.height, rgba }
}
