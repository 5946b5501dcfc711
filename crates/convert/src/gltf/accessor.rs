//! Typed arrays out of buffers. The type is looked at once per accessor, so that the loops over elements are plain copies.

use std::{borrow::Cow, cell::OnceCell};

use scene::math::{Vec2, Vec3, Vec4};

use super::{
    draco::{self, Decoded},
    files::Files,
    json::{
        Accessor, Draco, F32, I8, I16, Meshopt, MeshoptFilter, MeshoptMode, Root, Shape, Sparse, U8, U16, U32,
    },
};
use crate::{Fault, error::within, warnings::Warnings};

/// Bytes that accessors without a buffer view may stand for: they cost nothing in the file.
const ZEROS_LIMIT: u64 = 64 << 20;

/// A small file must not unfold to a large model: real ones, compressed, quantized and without normals, grow by less.
const MEMORY_BASE: u64 = 256 << 20;
const MEMORY_PER_BYTE: u64 = 64;

/// All binary data of a model, and the ways into it.
pub(super) struct Data<'a> {
    json: &'a Root,
    buffers: Vec<Option<Cow<'a, [u8]>>>,
    /// By view: the content of compressed ones, once somebody asked.
    decompressed: Vec<OnceCell<Vec<u8>>>,
    memory_limit: u64,
    /// Bytes that decompressing may still make.
    left: std::cell::Cell<u64>,
}

/// The bytes of an accessor.
struct Elements<'a> {
    bytes: &'a [u8],
    stride: usize,
    count: usize,
}

impl<'a> Data<'a> {
    /// Loads all buffers.
    pub(super) fn load(
        json: &'a Root,
        bin: Option<&'a [u8]>,
        files: &mut Files,
        warnings: &mut Warnings,
    ) -> Result<Self, Fault> {
        let mut buffers: Vec<Option<Cow<'a, [u8]>>> = Vec::with_capacity(json.buffers.len());
        for (i, buffer) in json.buffers.iter().enumerate() {
            let at = format!("buffers[{i}]");
            let bytes = match (&buffer.uri, bin) {
                _ if buffer.is_fallback() => None,
                (Some(uri), _) => Some(Cow::Owned(files.load(uri, &format!("{at}.uri"))?)),
                (None, Some(bin)) if i == 0 => Some(Cow::Borrowed(bin)),
                // A place-holder for views that an extension fills.
                (None, _) => None,
            };
            if let Some(bytes) = &bytes
                && (bytes.len() as u64) < buffer.byte_length
            {
                let problem = format!("{} bytes, but the data has only {}", buffer.byte_length, bytes.len());
                return Err(Fault::damaged(format!("{at}.byteLength"), problem));
            }
            buffers.push(bytes);
        }
        if bin.is_some() && json.buffers.first().is_none_or(|b| b.uri.is_some()) {
            warnings.say("The GLB's binary chunk is not used by any buffer.");
        }
        let decompressed = json.buffer_views.iter().map(|_| OnceCell::new()).collect();
        let n_bytes: u64 = buffers.iter().flatten().map(|buffer| buffer.len() as u64).sum();
        let memory_limit = MEMORY_BASE + MEMORY_PER_BYTE * n_bytes;
        Ok(Self { json, buffers, decompressed, memory_limit, left: memory_limit.into() })
    }

    /// Bytes that the meshes may take in memory.
    pub(super) fn memory_limit(&self) -> u64 {
        self.memory_limit
    }

    pub(super) fn accessor(&self, index: u32, at: impl FnOnce() -> String) -> Result<&'a Accessor, Fault> {
        let i = within(index, self.json.accessors.len(), "accessor", at)?;
        Ok(&self.json.accessors[i])
    }

    /// Content of a view, decompressed if need be, and its stride.
    pub(super) fn view(
        &self,
        index: u32,
        at: impl FnOnce() -> String,
    ) -> Result<(&[u8], Option<u64>), Fault> {
        let i = within(index, self.json.buffer_views.len(), "buffer view", at)?;
        let view = &self.json.buffer_views[i];
        if let Some((name, meshopt)) = view.extensions.meshopt() {
            let bytes = match self.decompressed[i].get() {
                Some(bytes) => bytes,
                None => {
                    let bytes = self.decompress(meshopt, name, i)?;
                    self.decompressed[i].get_or_init(|| bytes)
                }
            };
            return Ok((bytes, Some(meshopt.byte_stride)));
        }
        if let Some(stride) = view.byte_stride
            && !(4..=252).contains(&stride)
        {
            let problem = format!("{stride}, but strides are from 4 to 252");
            return Err(Fault::damaged(format!("bufferViews[{i}].byteStride"), problem));
        }
        let at = || format!("bufferViews[{i}]");
        Ok((self.slice(view.buffer, view.byte_offset, view.byte_length, at)?, view.byte_stride))
    }

    fn slice(&self, buffer: u32, offset: u64, length: u64, at: impl Fn() -> String) -> Result<&[u8], Fault> {
        let i = within(buffer, self.buffers.len(), "buffer", || format!("{}.buffer", at()))?;
        let Some(bytes) = &self.buffers[i] else {
            return Err(Fault::damaged(format!("buffers[{i}]"), "has neither a uri nor a GLB binary chunk"));
        };
        let length_of_buffer = self.json.buffers[i].byte_length;
        let range = offset
            .checked_add(length)
            .filter(|end| *end <= length_of_buffer)
            .and_then(|end| Some(usize::try_from(offset).ok()?..usize::try_from(end).ok()?));
        range.and_then(|range| bytes.get(range)).ok_or_else(|| {
            let problem =
                format!("{length} bytes at offset {offset} end after buffer {i} of {length_of_buffer} bytes");
            Fault::damaged(at(), problem)
        })
    }

    /// EXT_meshopt_compression and KHR_meshopt_compression.
    fn decompress(&self, meshopt: &Meshopt, name: &str, view: usize) -> Result<Vec<u8>, Fault> {
        let at = || format!("bufferViews[{view}].extensions.{name}");
        let bad = |problem: &str| Err(Fault::damaged(at(), problem));
        let source = self.slice(meshopt.buffer, meshopt.byte_offset, meshopt.byte_length, at)?;
        let Some(n_bytes) = meshopt.count.checked_mul(meshopt.byte_stride) else {
            return bad("count times byteStride is too large");
        };
        if n_bytes > self.left.get() {
            return Err(Fault::too_large(at(), format!("{n_bytes} bytes when decompressed")));
        }
        let stride = meshopt.byte_stride;
        let fits = match meshopt.mode {
            MeshoptMode::Attributes => stride.is_multiple_of(4) && (4..=256).contains(&stride),
            MeshoptMode::Triangles => meshopt.count.is_multiple_of(3) && (stride == 2 || stride == 4),
            MeshoptMode::Indices => stride == 2 || stride == 4,
        };
        let filter_fits = match meshopt.filter {
            MeshoptFilter::None => true,
            _ if meshopt.mode != MeshoptMode::Attributes => false,
            MeshoptFilter::Octahedral | MeshoptFilter::Color => stride == 4 || stride == 8,
            MeshoptFilter::Quaternion => stride == 8,
            MeshoptFilter::Exponential => stride.is_multiple_of(4),
        };
        if !fits || !filter_fits {
            return bad("byteStride or count does not fit mode and filter");
        }
        let (Ok(count), Ok(stride)) = (usize::try_from(meshopt.count), usize::try_from(stride)) else {
            return bad("count is too large");
        };
        self.left.set(self.left.get() - n_bytes);
        let mut out = decode_meshopt(source, count, stride, meshopt.mode)
            .ok_or_else(|| Fault::damaged(at(), "the compressed data is damaged"))?;
        unfilter(&mut out, count, stride, meshopt.filter);
        Ok(bytes_of(&out, count * stride))
    }

    /// KHR_draco_mesh_compression; of at most `n_vertices`.
    pub(super) fn draco<'b>(
        &self,
        draco: &'b Draco,
        n_vertices: u64,
        at: impl Fn() -> String,
    ) -> Result<Decoded<'b>, Fault> {
        let (stream, _) = self.view(draco.buffer_view, || format!("{}.bufferView", at()))?;
        let bounds = draco::Bounds { vertices: n_vertices, bytes: self.left.get() };
        let (decoded, n_bytes) = draco::decode(stream, &draco.attributes, &bounds, at)?;
        self.left.set(self.left.get().saturating_sub(n_bytes));
        Ok(decoded)
    }

    /// `count` elements of `size` bytes at the accessor's place; `None` if it stands for zeros.
    fn elements(&self, accessor: &Accessor, size: usize, index: u32) -> Result<Option<Elements<'_>>, Fault> {
        let at = || format!("accessors[{index}]");
        let Some(view) = accessor.buffer_view else {
            let bytes = accessor.count.saturating_mul(size as u64);
            if bytes > ZEROS_LIMIT {
                let problem = format!("stands for {bytes} bytes of zeros, {ZEROS_LIMIT} are allowed");
                return Err(Fault::too_large(at(), problem));
            }
            return Ok(None);
        };
        let (bytes, stride) = self.view(view, || format!("{}.bufferView", at()))?;
        range(bytes, accessor.byte_offset, accessor.count, size, stride, at).map(Some)
    }

    /// All elements as `T`, sparse ones replaced.
    fn array<T: Copy, C: Component, const N: usize>(
        &self,
        accessor: &Accessor,
        index: u32,
        convert: impl Fn([C; N]) -> T + Copy,
    ) -> Result<Vec<T>, Fault> {
        let mut out = match self.elements(accessor, C::SIZE * N, index)? {
            Some(elements) => gather(&elements, convert),
            None => {
                let count = usize::try_from(accessor.count).unwrap_or(usize::MAX);
                vec![convert([C::ZERO; N]); count]
            }
        };
        if let Some(sparse) = &accessor.sparse {
            self.replace_sparse(&mut out, sparse, index, convert)?;
        }
        Ok(out)
    }

    fn replace_sparse<T: Copy, C: Component, const N: usize>(
        &self,
        out: &mut [T],
        sparse: &Sparse,
        index: u32,
        convert: impl Fn([C; N]) -> T + Copy,
    ) -> Result<(), Fault> {
        let at = || format!("accessors[{index}].sparse");
        if sparse.count > out.len() as u64 {
            let problem = format!("{}, more than the accessor's {}", sparse.count, out.len());
            return Err(Fault::damaged(format!("{}.count", at()), problem));
        }
        let places = {
            let source = &sparse.indices;
            let at = || format!("{}.indices", at());
            let (bytes, stride) = self.view(source.buffer_view, at)?;
            let size = index_size(source.component_type, at)?;
            let elements = range(bytes, source.byte_offset, sparse.count, size, stride, at)?;
            gather_indices(&elements, size)
        };
        let values = {
            let source = &sparse.values;
            let at = || format!("{}.values", at());
            let (bytes, stride) = self.view(source.buffer_view, at)?;
            gather(&range(bytes, source.byte_offset, sparse.count, C::SIZE * N, stride, at)?, convert)
        };
        for (place, value) in places.into_iter().zip(values) {
            let i = within(place, out.len(), "element", || format!("{}.indices", at()))?;
            out[i] = value;
        }
        Ok(())
    }

    /// Indices of any integer type.
    pub(super) fn indices(&self, index: u32, at: impl FnOnce() -> String) -> Result<Vec<u32>, Fault> {
        let accessor = self.accessor(index, at)?;
        expect_shape(accessor, index, &[Shape::Scalar])?;
        match accessor.component_type {
            U8 => self.array(accessor, index, |[x]: [u8; 1]| u32::from(x)),
            U16 => self.array(accessor, index, |[x]: [u16; 1]| u32::from(x)),
            U32 => self.array(accessor, index, |[x]: [u32; 1]| x),
            other => Err(wrong_component(index, other, "indices are unsigned integers")),
        }
    }

    /// `VEC2` of any type.
    pub(super) fn vec2(&self, index: u32, at: impl FnOnce() -> String) -> Result<Vec<Vec2>, Fault> {
        let accessor = self.accessor(index, at)?;
        expect_shape(accessor, index, &[Shape::Vec2])?;
        self.floats(accessor, index, Vec2::from_array)
    }

    /// `VEC3` of any type.
    pub(super) fn vec3(&self, index: u32, at: impl FnOnce() -> String) -> Result<Vec<Vec3>, Fault> {
        let accessor = self.accessor(index, at)?;
        expect_shape(accessor, index, &[Shape::Vec3])?;
        self.floats(accessor, index, Vec3::from_array)
    }

    /// `VEC4` of any type.
    pub(super) fn vec4(&self, index: u32, at: impl FnOnce() -> String) -> Result<Vec<Vec4>, Fault> {
        let accessor = self.accessor(index, at)?;
        expect_shape(accessor, index, &[Shape::Vec4])?;
        self.floats(accessor, index, Vec4::from_array)
    }

    /// `VEC3` or `VEC4` of any type as RGBA, 255 is 1.
    pub(super) fn colors(&self, index: u32, at: impl FnOnce() -> String) -> Result<Vec<[u8; 4]>, Fault> {
        let accessor = self.accessor(index, at)?;
        expect_shape(accessor, index, &[Shape::Vec3, Shape::Vec4])?;
        if accessor.component_type == U8 && accessor.shape == Shape::Vec4 {
            return self.array(accessor, index, |rgba: [u8; 4]| rgba);
        }
        let normalized = accessor.component_type == F32 || accessor.normalized;
        // Integers that are not marked as normalized are colours all the same: nothing else makes sense.
        let scale = match accessor.component_type {
            _ if normalized => 1.0,
            U16 => 1.0 / 65535.0,
            _ => 1.0 / 255.0,
        };
        if accessor.shape == Shape::Vec3 {
            self.floats(accessor, index, |[r, g, b]| [r, g, b, 1.0 / scale].map(|x| unorm8(x * scale)))
        } else {
            self.floats(accessor, index, |rgba: [f32; 4]| rgba.map(|x| unorm8(x * scale)))
        }
    }

    fn floats<T: Copy, const N: usize>(
        &self,
        accessor: &Accessor,
        index: u32,
        make: impl Fn([f32; N]) -> T + Copy,
    ) -> Result<Vec<T>, Fault> {
        // glTF 2.0, section 3.6.2.2, "Accessor Data Types".
        match (accessor.component_type, accessor.normalized) {
            (F32, _) => self.array(accessor, index, make),
            (U8, true) => self.array(accessor, index, |v: [u8; N]| make(v.map(|x| f32::from(x) / 255.0))),
            (U8, false) => self.array(accessor, index, |v: [u8; N]| make(v.map(f32::from))),
            (I8, true) => {
                self.array(accessor, index, |v: [i8; N]| make(v.map(|x| (f32::from(x) / 127.0).max(-1.0))))
            }
            (I8, false) => self.array(accessor, index, |v: [i8; N]| make(v.map(f32::from))),
            (U16, true) => self.array(accessor, index, |v: [u16; N]| make(v.map(|x| f32::from(x) / 65535.0))),
            (U16, false) => self.array(accessor, index, |v: [u16; N]| make(v.map(f32::from))),
            (I16, true) => {
                self.array(accessor, index, |v: [i16; N]| make(v.map(|x| (f32::from(x) / 32767.0).max(-1.0))))
            }
            (I16, false) => self.array(accessor, index, |v: [i16; N]| make(v.map(f32::from))),
            (other, _) => Err(wrong_component(index, other, "this attribute has floats or small integers")),
        }
    }
}

fn wrong_component(index: u32, component: u32, want: &str) -> Fault {
    Fault::damaged(format!("accessors[{index}].componentType"), format!("{component}, but {want}"))
}

fn expect_shape(accessor: &Accessor, index: u32, allowed: &[Shape]) -> Result<(), Fault> {
    if allowed.contains(&accessor.shape) {
        return Ok(());
    }
    let problem = format!("{:?}, but its use needs {:?}", accessor.shape, allowed[0]);
    Err(Fault::damaged(format!("accessors[{index}].type"), problem))
}

fn index_size(component: u32, at: impl Fn() -> String) -> Result<usize, Fault> {
    match component {
        U8 => Ok(1),
        U16 => Ok(2),
        U32 => Ok(4),
        _ => Err(Fault::damaged(
            format!("{}.componentType", at()),
            format!("{component}, but indices are unsigned integers"),
        )),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=255")]
pub(super) fn unorm8(x: f32) -> u8 {
    // NaN becomes 0 in the cast.
    (x.clamp(0.0, 1.0) * 255.0 + 0.5) as u8
}

/// Checks that `count` elements of `size` bytes lie within `bytes` from `offset` on.
fn range(
    bytes: &[u8],
    offset: u64,
    count: u64,
    size: usize,
    stride: Option<u64>,
    at: impl Fn() -> String,
) -> Result<Elements<'_>, Fault> {
    let stride = stride.unwrap_or(size as u64);
    if stride < size as u64 {
        let problem = format!("elements of {size} bytes do not fit a stride of {stride}");
        return Err(Fault::damaged(at(), problem));
    }
    let needed = match count {
        0 => Some(0),
        _ => stride.checked_mul(count - 1).and_then(|n| n.checked_add(size as u64)),
    };
    let end = needed.and_then(|needed| needed.checked_add(offset)).filter(|end| *end <= bytes.len() as u64);
    let converted = (usize::try_from(offset), usize::try_from(stride), usize::try_from(count));
    let (Some(_), (Ok(offset), Ok(stride), Ok(count))) = (end, converted) else {
        let problem = format!(
            "{count} elements of {size} bytes, {stride} apart, from offset {offset} on end after their \
             buffer view of {} bytes",
            bytes.len()
        );
        return Err(Fault::damaged(at(), problem));
    };
    // With no elements the offset may lie anywhere.
    Ok(Elements { bytes: bytes.get(offset..).unwrap_or_default(), stride, count })
}

/// A number as it lies in a buffer.
trait Component: Copy {
    const SIZE: usize;
    const ZERO: Self;
    /// From exactly `SIZE` bytes.
    fn read(bytes: &[u8]) -> Self;
}

macro_rules! component {
    ($($t:ty)*) => {$(
        impl Component for $t {
            const SIZE: usize = size_of::<$t>();
            const ZERO: Self = 0 as $t;
            #[inline(always)]
            fn read(bytes: &[u8]) -> Self {
                let mut own = [0; size_of::<$t>()];
                own.copy_from_slice(bytes);
                <$t>::from_le_bytes(own)
            }
        }
    )*};
}
component!(u8 i8 u16 i16 u32 f32);

/// Converts all elements. The branch for tightly packed ones compiles to straight copies.
fn gather<T, C: Component, const N: usize>(elements: &Elements<'_>, convert: impl Fn([C; N]) -> T) -> Vec<T> {
    let size = C::SIZE * N;
    let read = |bytes: &[u8]| {
        let bytes = &bytes[..size];
        convert(std::array::from_fn(|i| C::read(&bytes[i * C::SIZE..(i + 1) * C::SIZE])))
    };
    let &Elements { bytes, stride, count } = elements;
    if stride == size {
        bytes[..count * size].chunks_exact(size).map(read).collect()
    } else {
        (0..count).map(|i| read(&bytes[i * stride..])).collect()
    }
}

fn gather_indices(elements: &Elements<'_>, size: usize) -> Vec<u32> {
    match size {
        1 => gather(elements, |[x]: [u8; 1]| u32::from(x)),
        2 => gather(elements, |[x]: [u16; 1]| u32::from(x)),
        _ => gather(elements, |[x]: [u32; 1]| x),
    }
}

/// Decodes `count` elements of `stride` bytes; `None` if the data is damaged. The result has whole words, 4-byte aligned
/// as the filters need it.
fn decode_meshopt(source: &[u8], count: usize, stride: usize, mode: MeshoptMode) -> Option<Vec<u32>> {
    let mut out = vec![0_u32; (count * stride).div_ceil(4)];
    let (to, from, len) = (out.as_mut_ptr().cast(), source.as_ptr(), source.len());
    // SAFETY: `out` has room for `count` elements of `stride` bytes, `source` is readable for `len`; stride and count
    // fit the mode (checked by `decompress`). The decoders are documented as safe for untrusted input.
    let status = unsafe {
        match mode {
            MeshoptMode::Attributes => meshopt::ffi::meshopt_decodeVertexBuffer(to, count, stride, from, len),
            MeshoptMode::Triangles => meshopt::ffi::meshopt_decodeIndexBuffer(to, count, stride, from, len),
            MeshoptMode::Indices => meshopt::ffi::meshopt_decodeIndexSequence(to, count, stride, from, len),
        }
    };
    (status == 0).then_some(out)
}

fn unfilter(words: &mut [u32], count: usize, stride: usize, filter: MeshoptFilter) {
    assert!(words.len() * 4 >= count * stride, "the buffer holds all elements");
    let buffer = words.as_mut_ptr().cast();
    // SAFETY: `buffer` holds `count` elements of `stride` bytes, aligned to 4; the stride fits the filter (checked by
    // `decompress`). The filters work in place.
    unsafe {
        match filter {
            MeshoptFilter::None => (),
            MeshoptFilter::Octahedral => meshopt::ffi::meshopt_decodeFilterOct(buffer, count, stride),
            MeshoptFilter::Quaternion => meshopt::ffi::meshopt_decodeFilterQuat(buffer, count, stride),
            MeshoptFilter::Exponential => meshopt::ffi::meshopt_decodeFilterExp(buffer, count, stride),
            MeshoptFilter::Color => meshopt::ffi::meshopt_decodeFilterColor(buffer, count, stride),
        }
    }
}

fn bytes_of(words: &[u32], n_bytes: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    bytes.truncate(n_bytes);
    bytes
}
