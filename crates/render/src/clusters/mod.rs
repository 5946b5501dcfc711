//! A model, cut into clusters: what the renderers draw.
//!
//! ```text
//! Model ── primitive ──► Geometry ── levels ──► clusters (≤ 64 vertices, ≤ 124 triangles)
//!       ── node ───────► Instance (of a Geometry)
//!       ── material, texture, image ──► Material, MipTexture
//! ```
//! A mesh that many nodes show is stored once. A cluster's data lie twice: positions by component, padded to eights,
//! for the rasterizer; 32-byte vertices with everything for shading.

mod meshlets;

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use scene::math::{DAffine3, DMat3, DVec3, Vec3};
use scene::{Aabb, Light, LightKind, Model, Primitive};

use crate::parallel::each_in_order;
use crate::texture::{MaterialSet, MipTexture, ShadedMaterial};

/// Most vertices of a cluster.
pub(crate) const CLUSTER_VERTICES: usize = 64;
/// Most triangles of a cluster; their numbers fit 7 bits.
pub(crate) const CLUSTER_TRIANGLES: usize = 124;
/// Most clusters that can be in one picture, instances counted each: ids are 32 bits, 7 of them the triangle's.
const DRAWN_CLUSTERS_MAX: u64 = (1 << 25) - 2;
/// Most stored triangles: about 8 GB of clusters.
const STORED_TRIANGLES_MAX: u64 = 100_000_000;
/// Most stored vertices; meshlets may duplicate these a few times, and indices are 31 bits.
const STORED_VERTICES_MAX: u64 = 300_000_000;
/// Most instances of primitives.
const INSTANCES_MAX: u64 = 1 << 22;

/// Why a model cannot be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// More than the renderer's ids can count or a sensible memory can hold.
    #[error("the model has {got} {what}; at most {limit} can be shown")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How many the model has.
        got: u64,
        /// How many are possible.
        limit: u64,
    },
    /// The model breaks its own rules.
    #[error("the model is broken")]
    Defect(#[from] scene::Defect),
}

/// What is drawn: built once from a model, immutable, shared by threads.
#[derive(Debug)]
pub struct RenderScene {
    /// Unlike that of any other scene of the process.
    pub(crate) id: u64,
    pub(crate) geometries: Vec<Geometry>,
    pub(crate) instances: Vec<Instance>,
    pub(crate) clusters: Clusters,
    pub(crate) materials: Vec<ShadedMaterial>,
    pub(crate) textures: Vec<MipTexture>,
    pub(crate) lights: Vec<Lamp>,
    pub(crate) bounds: Option<Aabb>,
}

/// The clusters of all geometries.
#[derive(Debug, Default)]
pub(crate) struct Clusters {
    pub(crate) clusters: Vec<Cluster>,
    /// For each cluster its blocks of x, then of y, then of z.
    pub(crate) positions: Vec<[f32; 8]>,
    /// Three vertex numbers below 64 per triangle, from the low byte; padded with 0 (a triangle without area).
    pub(crate) triangles: Vec<[u32; 8]>,
    pub(crate) vertices: Vec<Vertex>,
    /// Second texture coordinates, of the geometries that use them.
    pub(crate) uv1: Vec<[f32; 2]>,
}

impl Clusters {
    /// Moves `more` to the end; says which clusters they became.
    fn append(&mut self, mut more: Self) -> Range<u32> {
        let start = index(self.clusters.len());
        let moved = |at: u32, by: usize| index(at as usize + by);
        for cluster in &mut more.clusters {
            cluster.positions_at = moved(cluster.positions_at, self.positions.len());
            cluster.triangles_at = moved(cluster.triangles_at, self.triangles.len());
            cluster.vertices_at = moved(cluster.vertices_at, self.vertices.len());
            if cluster.uv1_at != u32::MAX {
                cluster.uv1_at = moved(cluster.uv1_at, self.uv1.len());
            }
        }
        self.clusters.append(&mut more.clusters);
        self.positions.append(&mut more.positions);
        self.triangles.append(&mut more.triangles);
        self.vertices.append(&mut more.vertices);
        self.uv1.append(&mut more.uv1);
        start..index(self.clusters.len())
    }
}

/// Position x, y, z; normal (octahedral, 2 x 16 bits); uv0; tangent (octahedral, 16 + 15 bits, sign on top);
/// RGBA8 colour.
pub(crate) type Vertex = [u32; 8];

/// Up to 124 neighbouring triangles.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cluster {
    /// Bounding sphere in mesh space.
    pub(crate) center: Vec3,
    pub(crate) radius: f32,
    /// All triangles face away from an eye for which `dot(center - eye, axis) >= cutoff * distance + radius`.
    pub(crate) cone_axis: Vec3,
    pub(crate) cone_cutoff: f32,
    /// Index of the first block of x positions.
    pub(crate) positions_at: u32,
    /// Index of the first block of triangles.
    pub(crate) triangles_at: u32,
    pub(crate) vertices_at: u32,
    /// `u32::MAX`: none.
    pub(crate) uv1_at: u32,
    /// 1 to 64.
    pub(crate) n_vertices: u8,
    /// 1 to 124.
    pub(crate) n_triangles: u8,
}

impl Cluster {
    pub(crate) fn vertex_blocks(&self) -> usize {
        usize::from(self.n_vertices).div_ceil(8)
    }
    pub(crate) fn triangle_blocks(&self) -> usize {
        usize::from(self.n_triangles).div_ceil(8)
    }
}

/// A primitive of the model.
#[derive(Debug)]
pub(crate) struct Geometry {
    pub(crate) material: u32,
    /// Bounding sphere in mesh space.
    pub(crate) center: Vec3,
    pub(crate) radius: f32,
    /// From full detail to coarse; never empty.
    pub(crate) levels: Vec<DetailLevel>,
}

impl Geometry {
    /// `None` if there is nothing.
    fn of(primitive: &Primitive, clusters: Range<u32>) -> Option<Self> {
        let positions = &primitive.vertices.positions;
        let center = Aabb::of(positions)?.center();
        let radius = positions.iter().map(|p| p.distance(center)).fold(0.0, f32::max);
        let levels = vec![DetailLevel { clusters, error: 0.0 }];
        Some(Self { material: primitive.material, center, radius, levels })
    }
}

/// A geometry at some detail.
#[derive(Debug)]
pub(crate) struct DetailLevel {
    /// Indices of clusters.
    pub(crate) clusters: Range<u32>,
    /// How far the surface is from the full one, mesh units.
    pub(crate) error: f32,
}

/// A geometry in the world.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) geometry: u32,
    /// Index of the model's node.
    pub(crate) node: u32,
    pub(crate) world_from_mesh: DAffine3,
    pub(crate) mesh_from_world: DAffine3,
    /// Upper bound of how much lengths grow from mesh to world.
    pub(crate) scale: f32,
    /// The transform turns counter-clockwise into clockwise.
    pub(crate) mirrored: bool,
    /// Bounding sphere in the world.
    pub(crate) center: DVec3,
    pub(crate) radius: f32,
}

/// Lux beyond which lamps are dimmed. Files state anything from 1 to the 100,000 of the sun, and pictures have one
/// exposure, that of the surroundings, which are about as bright as this.
const LUX_MAX: f32 = 4.0;

/// Dims all lamps alike so that the strongest gives at most [`LUX_MAX`] where the model is.
fn expose(lamps: &mut [Lamp], bounds: Option<Aabb>) {
    let (center, radius) = bounds.map_or((DVec3::ZERO, 1.0), |b| (b.center().as_dvec3(), b.radius()));
    let lux = |lamp: &Lamp| {
        let most = lamp.color.into_iter().fold(0.0, f32::max);
        let Some(position) = lamp.position else { return most };
        // A lamp within the model lights what is half-way to its edge.
        let distance = narrow(position.distance(center)).max(radius * 0.5).max(1e-3);
        most / (distance * distance)
    };
    let strongest = lamps.iter().map(lux).fold(0.0, f32::max);
    if strongest > LUX_MAX {
        for lamp in lamps {
            lamp.color = lamp.color.map(|x| x * (LUX_MAX / strongest));
        }
    }
}

/// A [`scene::Light`] in the world.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lamp {
    /// `None`: infinitely far away.
    pub(crate) position: Option<DVec3>,
    /// Unit vector along which it shines.
    pub(crate) direction: Vec3,
    /// Linear RGB: lux, or candela if it has a position.
    pub(crate) color: [f32; 3],
    /// 1 / metres; 0 if it never ends.
    pub(crate) inverse_range: f32,
    /// Share of light at an angle: `clamp(cos(angle) * scale + offset)` squared.
    pub(crate) cone_scale: f32,
    pub(crate) cone_offset: f32,
}

impl Lamp {
    /// `None` if its node's transform has no direction.
    fn of(light: &Light, world_from_node: &DAffine3) -> Option<Self> {
        let direction = (world_from_node.matrix3 * DVec3::NEG_Z).try_normalize()?.as_vec3();
        let position = world_from_node.translation;
        let (position, [cone_scale, cone_offset]) = match light.kind {
            LightKind::Directional => (None, [0.0, 1.0]),
            LightKind::Point => (Some(position), [0.0, 1.0]),
            LightKind::Spot { inner_rad, outer_rad } => {
                let scale = 1.0 / (inner_rad.cos() - outer_rad.cos()).max(0.001);
                (Some(position), [scale, -outer_rad.cos() * scale])
            }
        };
        let inverse_range = 1.0 / light.range_m;
        (direction.is_finite() && position.is_none_or(DVec3::is_finite)).then(|| Self {
            position,
            direction,
            color: light.color.to_array(),
            inverse_range,
            cone_scale,
            cone_offset,
        })
    }
}

impl RenderScene {
    /// Builds from `model` on all processors; `progress` hears 0 to 1. Nodes whose transform flattens everything are
    /// left out.
    ///
    /// # Errors
    /// If the model breaks its rules or is too large.
    pub fn build(model: &Model, progress: &mut dyn FnMut(f32)) -> Result<Self, BuildError> {
        let n_threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self::build_on(n_threads, model, progress)
    }

    /// About how many bytes of memory [`Self::build`] takes from `model`, at most, beside the model itself.
    ///
    /// A triangle becomes 80 bytes of clusters, which grow by doubling; a texel becomes 4 bytes and a third for its
    /// smaller levels, twice where an image is used as colours and as numbers.
    pub fn bytes_needed(model: &Model) -> u64 {
        let primitives = model.meshes.iter().flat_map(|mesh| &mesh.primitives);
        let n_triangles: u64 = primitives.map(|primitive| primitive.indices.len() as u64 / 3).sum();
        let texels = model.images.iter().map(|image| u64::from(image.width) * u64::from(image.height));
        n_triangles.saturating_mul(160).saturating_add(texels.sum::<u64>().saturating_mul(11))
    }

    /// [`Self::build`] on up to `n_threads` threads.
    ///
    /// # Errors
    /// Likewise.
    pub fn build_on(
        n_threads: NonZeroUsize,
        model: &Model,
        progress: &mut dyn FnMut(f32),
    ) -> Result<Self, BuildError> {
        model.check()?;
        check_sizes(model)?;
        progress(0.02);
        let used = used_primitives(model);
        let set = MaterialSet::build(model, n_threads)?;
        progress(0.2);

        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let mut scene = Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            geometries: Vec::new(),
            instances: Vec::new(),
            clusters: Clusters::default(),
            materials: Vec::new(),
            textures: Vec::new(),
            lights: Vec::new(),
            bounds: None,
        };
        // Geometry indices by mesh.
        let mut geometries_of_mesh: Vec<Vec<u32>> = vec![Vec::new(); model.meshes.len()];
        let primitive = |n: usize| &model.meshes[used[n].0].primitives[used[n].1];
        let mut parts = Vec::new();
        let mut ordered = Vec::with_capacity(used.len());
        each_in_order(
            n_threads,
            used.len(),
            |(): &mut (), n| meshlets::ordered(primitive(n)),
            |n, indices| {
                parts.extend(meshlets::parts(indices.len()).map(|part| (n, part)));
                ordered.push(indices);
                progress(0.2 + 0.2 * (n + 1) as f32 / used.len() as f32);
            },
        );
        each_in_order(
            n_threads,
            parts.len(),
            |scratch, n| {
                let (at, part) = &parts[n];
                let primitive = primitive(*at);
                let with_uv1 = set.materials[primitive.material as usize].uses_uv1;
                meshlets::build(primitive, &ordered[*at][part.clone()], with_uv1, scratch)
            },
            |n, made| {
                let (at, part) = &parts[n];
                let clusters = scene.clusters.append(made);
                if part.start > 0
                    && let Some(geometry) = scene.geometries.last_mut()
                {
                    geometry.levels[0].clusters.end = clusters.end;
                } else if let Some(geometry) = Geometry::of(primitive(*at), clusters) {
                    geometries_of_mesh[used[*at].0].push(index(scene.geometries.len()));
                    scene.geometries.push(geometry);
                }
                progress(0.4 + 0.6 * (n + 1) as f32 / parts.len() as f32);
            },
        );
        (scene.materials, scene.textures) = (set.materials, set.textures);
        scene.place(model, &geometries_of_mesh);
        scene.check_drawn()?;
        progress(1.0);
        Ok(scene)
    }

    /// Bounds in world space; `None` if nothing is shown.
    pub fn bounds(&self) -> Option<Aabb> {
        self.bounds
    }

    /// Triangles at full detail, instances counted each.
    pub fn triangles(&self) -> u64 {
        let per_geometry: Vec<u64> = self
            .geometries
            .iter()
            .map(|g| {
                let clusters = &self.clusters.clusters[as_range(&g.levels[0].clusters)];
                clusters.iter().map(|c| u64::from(c.n_triangles)).sum()
            })
            .collect();
        self.instances.iter().map(|i| per_geometry[i.geometry as usize]).sum()
    }

    fn place(&mut self, model: &Model, geometries_of_mesh: &[Vec<u32>]) {
        let world = world_from_node(model);
        self.lights =
            model.lights.iter().filter_map(|light| Lamp::of(light, &world[light.node as usize])).collect();
        for (node, world_from_mesh) in world.into_iter().enumerate() {
            let Some(mesh) = model.nodes[node].mesh else { continue };
            let mesh_from_world = world_from_mesh.inverse();
            // Zero scale hides a node; what is not finite cannot be shown.
            if !mesh_from_world.is_finite() || !world_from_mesh.is_finite() {
                continue;
            }
            for &geometry in &geometries_of_mesh[mesh as usize] {
                let scale = scale_bound(&world_from_mesh.matrix3);
                let Geometry { center, radius, .. } = self.geometries[geometry as usize];
                self.instances.push(Instance {
                    geometry,
                    node: index(node),
                    world_from_mesh,
                    mesh_from_world,
                    scale,
                    mirrored: world_from_mesh.matrix3.determinant() < 0.0,
                    center: world_from_mesh.transform_point3(center.as_dvec3()),
                    radius: radius * scale,
                });
            }
        }
        self.bounds = model.bounds_in_world();
        expose(&mut self.lights, self.bounds);
    }

    fn check_drawn(&self) -> Result<(), BuildError> {
        let drawn = self
            .instances
            .iter()
            .map(|i| {
                let clusters = &self.geometries[i.geometry as usize].levels[0].clusters;
                u64::from(clusters.end - clusters.start)
            })
            .sum();
        within("clusters", drawn, DRAWN_CLUSTERS_MAX)
    }
}

/// Meshes and their primitives that some node shows.
fn used_primitives(model: &Model) -> Vec<(usize, usize)> {
    let mut shown = vec![false; model.meshes.len()];
    for mesh in model.nodes.iter().filter_map(|node| node.mesh) {
        shown[mesh as usize] = true;
    }
    let meshes = model.meshes.iter().enumerate().filter(|(at, _)| shown[*at]);
    meshes.flat_map(|(at, mesh)| (0..mesh.primitives.len()).map(move |p| (at, p))).collect()
}

fn check_sizes(model: &Model) -> Result<(), BuildError> {
    let primitives = || model.meshes.iter().flat_map(|m| &m.primitives);
    let triangles = primitives().map(|p| p.indices.len() as u64 / 3).sum();
    within("triangles", triangles, STORED_TRIANGLES_MAX)?;
    let vertices = primitives().map(|p| p.vertices.positions.len() as u64).sum();
    within("vertices", vertices, STORED_VERTICES_MAX)?;
    let parts = |mesh: u32| model.meshes[mesh as usize].primitives.len() as u64;
    let instances = model.nodes.iter().filter_map(|n| n.mesh).map(parts).sum();
    within("instances", instances, INSTANCES_MAX)
}

pub(crate) fn within(what: &'static str, got: u64, limit: u64) -> Result<(), BuildError> {
    if got <= limit { Ok(()) } else { Err(BuildError::TooLarge { what, got, limit }) }
}

/// An index that the limits above keep within 32 bits.
pub(crate) fn index(x: usize) -> u32 {
    u32::try_from(x).expect("limits keep indices within 32 bits")
}

pub(crate) fn as_range(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

/// As `Model::world_from_node`, in double precision: a building in map coordinates keeps its details.
fn world_from_node(model: &Model) -> Vec<DAffine3> {
    let mut world: Vec<DAffine3> = Vec::with_capacity(model.nodes.len());
    for node in &model.nodes {
        let m = node.parent_from_node;
        let columns = [m.matrix3.x_axis, m.matrix3.y_axis, m.matrix3.z_axis];
        let [x, y, z] = columns.map(|c| Vec3::from(c).as_dvec3());
        let translation = Vec3::from(m.translation).as_dvec3();
        let local = DAffine3 { matrix3: DMat3::from_cols(x, y, z), translation };
        let parent = node.parent.map_or(DAffine3::IDENTITY, |parent| world[parent as usize]);
        world.push(parent * local);
    }
    world
}

/// An upper bound of the largest singular value; tight if the axes are orthogonal, as they mostly are.
fn scale_bound(m: &DMat3) -> f32 {
    let (x, y, z) = (m.x_axis, m.y_axis, m.z_axis);
    let longest = x.length().max(y.length()).max(z.length());
    let skew = |a: DVec3, b: DVec3| a.dot(b).abs() > 1e-5 * longest * longest;
    let bound = if skew(x, y) || skew(y, z) || skew(z, x) {
        (x.length_squared() + y.length_squared() + z.length_squared()).sqrt()
    } else {
        longest * 1.0001
    };
    narrow(bound)
}

/// The nearest `f32`; infinity beyond.
#[expect(clippy::cast_possible_truncation, reason = "rounding is what is asked for")]
pub(crate) fn narrow(x: f64) -> f32 {
    x as f32
}
