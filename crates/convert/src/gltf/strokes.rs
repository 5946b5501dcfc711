//! Points and lines as what the renderer draws: small octahedra and thin three-sided rods.
//!
//! glTF leaves their width to the viewer. A width in pixels would need a renderer of its own; a share of the model's
//! size is as wide as a pixel or two when the whole model is in view, and grows when one comes near.

use scene::{
    Aabb, Mesh, Primitive, Vertices,
    math::{Mat4, Vec3},
};

use super::nodes::Tree;

/// Half the width of a line, and of a point, over the diagonal of the model's box.
const LINE: f32 = 0.0012;
const POINT: f32 = 0.0025;

/// More points than these are thinned: 8 triangles each, 16 million together.
pub(super) const POINTS_MAX: usize = 2 << 20;

/// Triangles of a point and of a line.
pub(super) const POINT_TRIANGLES: u64 = 8;
pub(super) const LINE_TRIANGLES: u64 = 6;

/// Points or lines of a primitive that wait for the size of the model.
pub(super) struct Strokes {
    /// Index in [`Tree::meshes`].
    pub(super) mesh: usize,
    /// As in the file; positions are fit, normals may be missing.
    pub(super) vertices: Vertices,
    /// One vertex for each point, or two for each line.
    pub(super) indices: Vec<u32>,
    pub(super) are_points: bool,
    pub(super) material: u32,
}

impl Strokes {
    /// Triangles that these will become.
    pub(super) fn n_triangles(&self) -> u64 {
        let n = self.indices.len() as u64;
        if self.are_points { n * POINT_TRIANGLES } else { n / 2 * LINE_TRIANGLES }
    }
}

/// Corners of a solid on their way to [`Vertices`].
#[derive(Default)]
struct Solids {
    /// The vertex of the file, and where the corner is.
    corners: Vec<(u32, Vec3)>,
    normals: Vec<Vec3>,
    indices: Vec<u32>,
}

/// Adds `strokes` to `meshes`, which are those of `tree`.
pub(super) fn solidify(meshes: &mut [Mesh], strokes: Vec<Strokes>, tree: &Tree) {
    if strokes.is_empty() {
        return;
    }
    let scales = scales(meshes, &strokes, tree);
    for stroke in strokes {
        let mut solids = Solids::default();
        let size = scales[stroke.mesh];
        let positions = &stroke.vertices.positions;
        if stroke.are_points {
            for point in &stroke.indices {
                solids.octahedron(*point, positions[*point as usize], size * POINT);
            }
        } else {
            for line in stroke.indices.chunks_exact(2) {
                let ends = [line[0], line[1]].map(|i| (i, positions[i as usize]));
                solids.rod(ends, size * LINE);
            }
        }
        let (vertices, indices) = solids.finish(&stroke.vertices);
        if !indices.is_empty() {
            meshes[stroke.mesh].primitives.push(Primitive { vertices, indices, material: stroke.material });
        }
    }
}

/// By mesh: the diagonal of the whole model in the mesh's units.
fn scales(meshes: &[Mesh], strokes: &[Strokes], tree: &Tree) -> Vec<f32> {
    let mut bounds: Vec<Option<Aabb>> = meshes.iter().map(Mesh::bounds).collect();
    for stroke in strokes {
        let own = Aabb::of(&stroke.vertices.positions);
        let all = &mut bounds[stroke.mesh];
        *all = match (*all, own) {
            (Some(a), Some(b)) => Some(a.union(b)),
            (a, b) => a.or(b),
        };
    }
    let mut world_from_node: Vec<Mat4> = Vec::with_capacity(tree.nodes.len());
    let mut whole: Option<Aabb> = None;
    let mut stretch = vec![0.0_f32; meshes.len()];
    for node in &tree.nodes {
        let own = Mat4::from(node.parent_from_node);
        let world = node.parent.map_or(own, |parent| world_from_node[parent as usize] * own);
        world_from_node.push(world);
        let Some(mesh) = node.mesh.map(|mesh| mesh as usize) else { continue };
        let Some(bounds) = bounds[mesh].map(|b| b.transformed(&world)) else { continue };
        if bounds.min.is_finite() && bounds.max.is_finite() {
            whole = Some(whole.map_or(bounds, |all| all.union(bounds)));
            let axes = [world.x_axis, world.y_axis, world.z_axis].map(|axis| axis.truncate().length());
            stretch[mesh] = axes.into_iter().fold(stretch[mesh], f32::max);
        }
    }
    let diagonal = whole.map_or(0.0, |whole| (whole.max - whole.min).length());
    let diagonal = if diagonal > 0.0 && diagonal.is_finite() { diagonal } else { 1.0 };
    stretch.into_iter().map(|s| if s > 0.0 { (diagonal / s).min(1e18) } else { diagonal }).collect()
}

impl Solids {
    fn octahedron(&mut self, source: u32, center: Vec3, radius: f32) {
        let first = self.next();
        for axis in [Vec3::X, Vec3::NEG_X, Vec3::Y, Vec3::NEG_Y, Vec3::Z, Vec3::NEG_Z] {
            self.corners.push((source, center + axis * radius));
            self.normals.push(axis);
        }
        const FACES: [[u32; 3]; 8] =
            [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]];
        self.indices.extend(FACES.as_flattened().iter().map(|corner| first + corner));
    }

    fn rod(&mut self, [from, to]: [(u32, Vec3); 2], radius: f32) {
        let along = to.1 - from.1;
        let Some(along) = (along / along.abs().max_element()).try_normalize() else { return };
        let (side, up) = along.any_orthonormal_pair();
        let first = self.next();
        for (source, center) in [from, to] {
            for (x, y) in [(1.0, 0.0), (-0.5, 0.866), (-0.5, -0.866)] {
                let out = side * x + up * y;
                self.corners.push((source, center + out * radius));
                self.normals.push(out.normalize());
            }
        }
        // Counter-clockwise from outside: `side`, `up` and `along` are right-handed.
        for i in 0..3 {
            let j = (i + 1) % 3;
            self.indices.extend([i, j, i + 3, j, j + 3, i + 3].map(|corner| first + corner));
        }
    }

    fn next(&self) -> u32 {
        u32::try_from(self.corners.len()).unwrap_or(u32::MAX)
    }

    /// The corners with the attributes of `source`. Normals of the file win.
    fn finish(self, source: &Vertices) -> (Vertices, Vec<u32>) {
        fn spread<T: Copy>(values: &[T], corners: &[(u32, Vec3)]) -> Vec<T> {
            if values.is_empty() {
                return Vec::new();
            }
            corners.iter().map(|(source, _)| values[*source as usize]).collect()
        }
        let given = spread(&source.normals, &self.corners);
        let vertices = Vertices {
            positions: self.corners.iter().map(|(_, position)| *position).collect(),
            normals: if given.is_empty() { self.normals } else { given },
            tangents: Vec::new(),
            uv0: spread(&source.uv0, &self.corners),
            uv1: spread(&source.uv1, &self.corners),
            colors: spread(&source.colors, &self.corners),
        };
        (vertices, self.indices)
    }
}
