//! A primitive becomes clusters.
//!
//! Meshlets by meshoptimizer; shading vertices are packed by octahedral normals (Cigolle et al., "A Survey of Efficient
//! Representations for Independent Unit Vectors", JCGT 3(2), 2014).
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "values are clamped to their fields before they are packed"
)]

use std::ops::Range;

use meshopt::VertexDataAdapter;
use scene::Primitive;
use scene::math::Vec3;

use super::{CLUSTER_TRIANGLES, CLUSTER_VERTICES, Cluster, Clusters, Vertex, index};

/// How much meshlets prefer alike normals over compactness; more makes cone culling better.
const CONE_WEIGHT: f32 = 0.25;

/// Triangles that are cut into clusters by one thread. Clusters end there: a few in a thousand are smaller for it.
const PART_TRIANGLES: usize = 64 * 1024;

/// Which vertices of a primitive a part uses; kept from part to part.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// By vertex: its number in the part; [`UNUSED`] between parts.
    local: Vec<u32>,
}

const UNUSED: u32 = u32::MAX;

/// Indices in an order in which neighbours follow each other.
pub(super) fn ordered(primitive: &Primitive) -> Vec<u32> {
    meshopt::optimize_vertex_cache(&primitive.indices, primitive.vertices.positions.len())
}

/// Ranges of indices to build from.
pub(super) fn parts(n_indices: usize) -> impl Iterator<Item = Range<usize>> {
    let step = PART_TRIANGLES * 3;
    (0..n_indices).step_by(step).map(move |at| at..(at + step).min(n_indices))
}

/// The clusters of some triangles of `primitive`.
pub(super) fn build(
    primitive: &Primitive,
    indices: &[u32],
    with_uv1: bool,
    scratch: &mut Scratch,
) -> Clusters {
    let all = &primitive.vertices.positions;
    let local = &mut scratch.local;
    if local.len() < all.len() {
        local.resize(all.len(), UNUSED);
    }
    let mut used = Vec::new();
    let numbered = |vertex: &u32| {
        let number = &mut local[*vertex as usize];
        if *number == UNUSED {
            *number = index(used.len());
            used.push(*vertex as usize);
        }
        *number
    };
    let indices: Vec<u32> = indices.iter().map(numbered).collect();
    for vertex in &used {
        local[*vertex] = UNUSED;
    }
    let positions: Vec<Vec3> = used.iter().map(|vertex| all[*vertex]).collect();

    let mut out = Clusters::default();
    let bytes = meshopt::typed_to_bytes(&positions);
    let adapter = VertexDataAdapter::new(bytes, size_of::<Vec3>(), 0)
        .expect("twelve bytes a vertex, as the adapter is told");
    let meshlets =
        meshopt::build_meshlets(&indices, &adapter, CLUSTER_VERTICES, CLUSTER_TRIANGLES, CONE_WEIGHT);
    for meshlet in meshlets.iter() {
        let bounds = meshopt::compute_meshlet_bounds(meshlet, &adapter);
        let n_triangles = meshlet.triangles.len() / 3;
        out.clusters.push(Cluster {
            center: Vec3::from(bounds.center),
            radius: bounds.radius,
            cone_axis: Vec3::from(bounds.cone_axis),
            cone_cutoff: bounds.cone_cutoff,
            positions_at: index(out.positions.len()),
            triangles_at: index(out.triangles.len()),
            vertices_at: index(out.vertices.len()),
            uv1_at: if with_uv1 { index(out.uv1.len()) } else { u32::MAX },
            n_vertices: meshlet.vertices.len() as u8,
            n_triangles: n_triangles as u8,
        });
        for axis in 0..3 {
            for block in meshlet.vertices.chunks(8) {
                out.positions.push(std::array::from_fn(|lane| {
                    // Padding repeats the last vertex: harmless numbers.
                    let vertex = block[lane.min(block.len() - 1)];
                    positions[vertex as usize][axis]
                }));
            }
        }
        for block in meshlet.triangles[..n_triangles * 3].chunks(24) {
            let mut packed = [0; 8];
            for (packed, t) in packed.iter_mut().zip(block.chunks(3)) {
                *packed = u32::from(t[0]) | u32::from(t[1]) << 8 | u32::from(t[2]) << 16;
            }
            out.triangles.push(packed);
        }
        out.vertices.extend(meshlet.vertices.iter().map(|v| packed_vertex(primitive, used[*v as usize])));
        if with_uv1 {
            let uv1 = &primitive.vertices.uv1;
            out.uv1.extend(
                meshlet
                    .vertices
                    .iter()
                    .map(|v| uv1.get(used[*v as usize]).map_or([0.0; 2], |uv| uv.to_array())),
            );
        }
    }
    out
}

fn packed_vertex(primitive: &Primitive, at: usize) -> Vertex {
    let v = &primitive.vertices;
    let p = v.positions[at];
    let uv = v.uv0.get(at).map_or([0.0; 2], |uv| uv.to_array());
    let tangent = v.tangents.get(at).map_or(0, |t| {
        let [x, y] = octahedral(t.truncate());
        x & 0xffff | (y >> 1 & 0x7fff) << 16 | u32::from(t.w < 0.0) << 31
    });
    let [nx, ny] = octahedral(v.normals[at]);
    let color = v.colors.get(at).map_or(u32::MAX, |c| u32::from_le_bytes(*c));
    [
        p.x.to_bits(),
        p.y.to_bits(),
        p.z.to_bits(),
        nx & 0xffff | ny << 16,
        uv[0].to_bits(),
        uv[1].to_bits(),
        tangent,
        color,
    ]
}

/// Two signed 16-bit numbers (in the low bits) for a direction; any length will do.
fn octahedral(v: Vec3) -> [u32; 2] {
    let sum = v.x.abs() + v.y.abs() + v.z.abs();
    let v = if sum > 0.0 && sum.is_finite() { v / sum } else { Vec3::Z };
    let (x, y) = if v.z >= 0.0 {
        (v.x, v.y)
    } else {
        let sign = |x: f32| if x < 0.0 { -1.0 } else { 1.0 };
        ((1.0 - v.y.abs()) * sign(v.x), (1.0 - v.x.abs()) * sign(v.y))
    };
    [x, y].map(|x| (x.clamp(-1.0, 1.0) * 32767.0).round() as i32 as u32)
}
