//! KHR_draco_mesh_compression: one Draco stream holds a primitive's triangles and attributes.
//!
//! The decoder forbids unsafe code and takes limits on what a stream may unfold to; these are set from what is left of
//! the model's. Positions and the like come out as floats whatever the stream holds, as from accessors.

use std::collections::BTreeMap;

use draco_core::{
    DataType, DecodeLimits, DecoderBuffer, ErrorKind, FaceIndex, Mesh, MeshDecoder, PointAttribute,
};

use super::json::{Accessor, I8, I16, U8, U16};
use crate::Fault;

/// What the decoder holds for a triangle beside the result, by its corner tables.
const BYTES_PER_FACE: u64 = 64;

/// A decoded stream.
pub(super) struct Decoded<'a> {
    mesh: Mesh,
    /// Attribute name → unique id in the stream.
    ids: &'a BTreeMap<String, u32>,
}

/// What a stream may unfold to.
pub(super) struct Bounds {
    pub(super) vertices: u64,
    pub(super) bytes: u64,
}

/// Decodes `stream`; `ids` and `at` are those of the extension. Also how many bytes the result has.
pub(super) fn decode<'a>(
    stream: &[u8],
    ids: &'a BTreeMap<String, u32>,
    bounds: &Bounds,
    at: impl Fn() -> String,
) -> Result<(Decoded<'a>, u64), Fault> {
    let limits = DecodeLimits::default()
        .with_max_points(bounds.vertices)
        .with_max_faces(bounds.bytes / BYTES_PER_FACE)
        .with_max_decoded_bytes(bounds.bytes);
    let mut buffer = DecoderBuffer::new(stream).with_limits(limits);
    let mut mesh = Mesh::new();
    MeshDecoder::new().decode(&mut buffer, &mut mesh).map_err(|e| match e.kind() {
        ErrorKind::LimitExceeded => Fault::too_large(at(), e.message()),
        _ => {
            // What the decoder says may quote the stream.
            let why: String = e.message().escape_debug().take(200).collect();
            Fault::damaged(at(), format!("the Draco stream cannot be decoded: {why}"))
        }
    })?;
    let n_bytes = (0..mesh.num_attributes()).map(|i| mesh.attribute(i).buffer().data().len() as u64);
    let n_bytes = n_bytes.sum::<u64>() + mesh.num_faces() as u64 * 12;
    Ok((Decoded { mesh, ids }, n_bytes))
}

impl Decoded<'_> {
    pub(super) fn n_vertices(&self) -> u64 {
        self.mesh.num_points() as u64
    }

    /// Three for each triangle. A strip, which the extension allows as a mode, is decoded to the same.
    pub(super) fn indices(&self) -> Vec<u32> {
        let mut indices = Vec::with_capacity(self.mesh.num_faces() * 3);
        for face in (0_u32..).take(self.mesh.num_faces()) {
            indices.extend(self.mesh.face(FaceIndex(face)).map(|point| point.0));
        }
        indices
    }

    /// Whether the stream is meant to have `name`.
    pub(super) fn holds(&self, name: &str) -> bool {
        self.ids.contains_key(name)
    }

    fn attribute(
        &self,
        name: &str,
        n_components: &[u8],
        at: impl Fn() -> String,
    ) -> Result<&PointAttribute, Fault> {
        let id = self.ids.get(name).copied();
        let mut all = (0..self.mesh.num_attributes()).map(|i| self.mesh.attribute(i));
        let Some(attribute) = all.find(|attribute| Some(attribute.unique_id()) == id) else {
            return Err(Fault::damaged(at(), "the Draco stream has no attribute with this id"));
        };
        if !n_components.contains(&attribute.num_components()) {
            let problem =
                format!("{} components, but {n_components:?} are needed", attribute.num_components());
            return Err(Fault::damaged(at(), problem));
        }
        Ok(attribute)
    }

    /// Vectors, scaled as `accessor` says.
    pub(super) fn floats<T, const N: usize>(
        &self,
        name: &str,
        accessor: &Accessor,
        make: impl Fn([f32; N]) -> T,
        at: impl Fn() -> String,
    ) -> Result<Vec<T>, Fault> {
        let n = u8::try_from(N).unwrap_or(u8::MAX);
        let attribute = self.attribute(name, &[n], at)?;
        let scale = if accessor.normalized { scale(attribute, accessor) } else { 1.0 };
        let values = attribute.read_f32s(self.mesh.num_points(), N);
        let vectors = values.chunks_exact(N);
        Ok(vectors.map(|v| make(std::array::from_fn(|i| (v[i] * scale).max(lowest(scale))))).collect())
    }

    /// RGBA from 0 to 1, alpha 1 if the stream has none.
    pub(super) fn colors(
        &self,
        name: &str,
        accessor: &Accessor,
        at: impl Fn() -> String,
    ) -> Result<Vec<[f32; 4]>, Fault> {
        let attribute = self.attribute(name, &[3, 4], at)?;
        let n = usize::from(attribute.num_components());
        // Integers are colours whether or not they are marked as normalized, as in accessors.
        let scale = scale(attribute, accessor);
        let values = attribute.read_f32s(self.mesh.num_points(), n);
        let rgba = |v: &[f32]| std::array::from_fn(|i| v.get(i).map_or(1.0, |x| x * scale));
        Ok(values.chunks_exact(n).map(rgba).collect())
    }
}

/// What makes the largest integer of the accessor's type 1.
fn scale(attribute: &PointAttribute, accessor: &Accessor) -> f32 {
    if matches!(attribute.data_type(), DataType::Float32 | DataType::Float64) {
        return 1.0;
    }
    match accessor.component_type {
        I8 => 1.0 / 127.0,
        U8 => 1.0 / 255.0,
        I16 => 1.0 / 32767.0,
        U16 => 1.0 / 65535.0,
        _ => 1.0,
    }
}

/// glTF 2.0, section 3.6.2.2: normalized integers do not go below -1.
fn lowest(scale: f32) -> f32 {
    if scale == 1.0 { f32::NEG_INFINITY } else { -1.0 }
}
