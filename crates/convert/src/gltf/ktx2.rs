//! KHR_texture_basisu: KTX2 files with Basis Universal textures, ETC1S and UASTC.
//!
//! The largest level that the limits admit is decoded; smaller ones are made anew, as for other images. `basisu`
//! decodes. It trusts what a container says, so it gets one of ours, with that level and nothing else. (Khronos, "KTX
//! File Format Specification 2.0", sections 3 and 5; BasisLZ global data.)

use basisu::{DecodeFlags, TargetFormat, Transcoder};
use scene::Image;

const MAGIC: &[u8] = b"\xABKTX 20\xBB\r\n\x1A\n";
/// Bytes of the header and of what the index says about each level.
const HEADER: usize = 80;
const LEVEL: usize = 24;
/// Bytes of the header of BasisLZ's global data, and of what follows it for each image.
const GLOBAL_HEADER: usize = 20;
const IMAGE: usize = 20;

/// Models of the data format descriptor.
const ETC1S: u8 = 163;
const UASTC: u8 = 166;

// Supercompression schemes.
const UNCOMPRESSED: u32 = 0;
const BASIS_LZ: u32 = 1;
const ZSTANDARD: u32 = 2;

/// One level of a KTX2 file that can be decoded, as far as one sees from outside.
pub(super) struct Texture<'a> {
    pub(super) width: u32,
    pub(super) height: u32,
    scheme: u32,
    /// Data format descriptor.
    descriptor: &'a [u8],
    /// BasisLZ: header, what is said about the level, code books and tables; else empty.
    global: [&'a [u8]; 3],
    /// The level, and its size once decompressed.
    level: &'a [u8],
    n_bytes: u64,
}

pub(super) fn is_ktx2(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

impl<'a> Texture<'a> {
    /// Looks at all but the pixels: of the largest level with up to `max_pixels`, or of the largest at all.
    pub(super) fn parse(file: &'a [u8], max_pixels: u64) -> Result<Self, String> {
        Self::parts(file, max_pixels).unwrap_or_else(|| Err("the KTX2 file is cut".to_owned()))
    }

    /// `None` if something lies beyond the end.
    fn parts(file: &'a [u8], max_pixels: u64) -> Option<Result<Self, String>> {
        let word = |at: usize| Some(u32::from_le_bytes(file.get(at..at + 4)?.try_into().ok()?));
        let long = |at: usize| Some(u64::from_le_bytes(file.get(at..at + 8)?.try_into().ok()?));
        let part = |offset: u64, length: u64| {
            let end = offset.checked_add(length)?;
            file.get(usize::try_from(offset).ok()?..usize::try_from(end).ok()?)
        };
        let (format, scheme, n_levels) = (word(12)?, word(44)?, word(40)?);
        let (width, height) = (word(20)?, word(24)?);
        // Not below 1, but 0 stays.
        let halved = |x: u32, level: u32| (x >> level).max(x.min(1));
        let size = |level: u32| (halved(width, level), halved(height, level));
        let fits = |level: &u32| u64::from(size(*level).0) * u64::from(size(*level).1) <= max_pixels;
        let n = (0..n_levels.min(32)).find(fits).unwrap_or(0);
        let (width, height) = size(n);
        let n = n as usize;
        let [depth, n_layers, n_faces] = [word(28)?, word(32)?, word(36)?];
        if format != 0 {
            let problem =
                format!("it is KTX2 with Vulkan format {format}, and only ETC1S and UASTC are read");
            return Some(Err(problem));
        }
        if depth != 0 || n_layers > 1 || n_faces != 1 {
            return Some(Err("the KTX2 file is not one two-dimensional picture".to_owned()));
        }
        let descriptor = part(word(48)?.into(), word(52)?.into())?;
        let global = part(long(64)?, long(72)?)?;
        let entry = HEADER + LEVEL * n;
        let level = part(long(entry)?, long(entry + 8)?)?;
        let uncompressed = long(entry + 16)?;

        // Block header, then one sample for colour and maybe one for alpha.
        let (44 | 60, Some(model)) = (descriptor.len(), descriptor.get(12)) else {
            return Some(Err("the KTX2 file's data format descriptor has a wrong length".to_owned()));
        };
        let n_bytes = (u64::from(width.div_ceil(4)) * u64::from(height.div_ceil(4))).saturating_mul(16);
        let (global, n_bytes, fits) = match (*model, scheme) {
            (ETC1S, BASIS_LZ) => {
                let images = usize::try_from(n_levels).ok()?.max(1).checked_mul(IMAGE)?;
                let (header, rest) = global.split_at_checked(GLOBAL_HEADER)?;
                let (images, tables) = rest.split_at_checked(images)?;
                ([header, images.get(IMAGE * n..IMAGE * (n + 1))?, tables], 0, true)
            }
            (UASTC, UNCOMPRESSED) => ([&[][..]; 3], n_bytes, level.len() as u64 == n_bytes),
            (UASTC, ZSTANDARD) => ([&[][..]; 3], n_bytes, uncompressed == n_bytes),
            (ETC1S | UASTC, _) => {
                let problem =
                    format!("the KTX2 file has supercompression {scheme}, which its format cannot have");
                return Some(Err(problem));
            }
            _ => {
                let problem =
                    format!("it is KTX2 of colour model {model}, and only ETC1S and UASTC are read");
                return Some(Err(problem));
            }
        };
        if !fits {
            return Some(Err(format!("the KTX2 file's lengths do not fit {width}x{height} pixels")));
        }
        Some(Ok(Self { width, height, scheme, descriptor, global, level, n_bytes }))
    }

    /// Decodes it. Takes 5 bytes for each pixel, so look at the size before.
    pub(super) fn decode(&self) -> Result<Image, String> {
        let file = self.file();
        let rgba = Transcoder::new(&file)
            .and_then(|texture| texture.transcode(0, TargetFormat::Rgba32, DecodeFlags::NONE))
            .map_err(|e| format!("the KTX2 file is damaged ({e:?})"))?;
        let &Self { width, height, .. } = self;
        if rgba.len() as u64 != u64::from(width) * u64::from(height) * 4 {
            return Err("the KTX2 file is damaged: it has other pixels than it says".to_owned());
        }
        Ok(Image { width, height, rgba })
    }

    /// A file with this alone in it.
    fn file(&self) -> Vec<u8> {
        let n_global: usize = self.global.iter().map(|part| part.len()).sum();
        let descriptor_at = HEADER + LEVEL;
        let global_at = descriptor_at + self.descriptor.len();
        let level_at = global_at + n_global;
        let mut file = Vec::with_capacity(level_at + self.level.len());
        file.extend(MAGIC);
        // Format, type size, extent, layers, faces, levels.
        for word in [0, 1, self.width, self.height, 0, 0, 1, 1, self.scheme] {
            file.extend(word.to_le_bytes());
        }
        // The lengths are those of parts of one file: the descriptor's is 44 or 60.
        for word in [descriptor_at, self.descriptor.len(), 0, 0] {
            file.extend(u32::try_from(word).unwrap_or(u32::MAX).to_le_bytes());
        }
        for long in [global_at, n_global, level_at, self.level.len()] {
            file.extend((long as u64).to_le_bytes());
        }
        file.extend(self.n_bytes.to_le_bytes());
        for part in [self.descriptor].iter().chain(&self.global).chain([&self.level]) {
            file.extend_from_slice(part);
        }
        file
    }
}
