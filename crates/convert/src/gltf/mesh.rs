//! Primitives: attributes, triangles, and what is missing made anew.

use std::collections::BTreeMap;

use scene::{
    Mesh, Primitive, Vertices,
    math::{Vec2, Vec3, Vec4},
};

use super::{
    COORDINATE_MAX,
    accessor::{Data, unorm8},
    draco::Decoded,
    json,
    material::{Materials, Use},
    nodes::Tree,
    strokes::{self, POINTS_MAX, Strokes},
};
use crate::{Fault, Limits, normals, tangents, warnings::Warnings};

/// Above this many triangles a primitive without normals is shaded smoothly. Flat shading, which glTF asks for, would
/// triple its vertices, and facets of such meshes are too small to see.
const FLAT_TRIANGLES_MAX: usize = 1 << 20;

/// Reads the meshes of `tree`, in its order.
pub(super) fn read_all(
    json: &json::Root,
    data: &Data<'_>,
    tree: &Tree,
    limits: &Limits,
    materials: &mut Materials<'_>,
    warnings: &mut Warnings,
    progress: &mut dyn FnMut(f32),
) -> Result<Vec<Mesh>, Fault> {
    let mut reader = Reader { data, limits, n_vertices: 0, n_triangles: 0, memory: 0, strokes: Vec::new() };
    let mut meshes = Vec::with_capacity(tree.meshes.len());
    for (n, (index, n_uses)) in tree.meshes.iter().zip(&tree.n_uses).enumerate() {
        let mesh = &json.meshes[*index as usize];
        let mut primitives = Vec::with_capacity(mesh.primitives.len());
        for (p, primitive) in mesh.primitives.iter().enumerate() {
            let at = format!("meshes[{index}].primitives[{p}]");
            if primitive.mode.is_some_and(|mode| mode < 4) {
                reader.strokes(primitive, n, &at, *n_uses, materials, warnings)?;
            } else {
                primitives.extend(reader.primitive(primitive, &at, *n_uses, materials, warnings)?);
            }
        }
        meshes.push(Mesh { name: mesh.name.clone(), primitives });
        #[expect(clippy::cast_precision_loss, reason = "a share for display")]
        progress((n + 1) as f32 / tree.meshes.len() as f32);
    }
    strokes::solidify(&mut meshes, reader.strokes, tree);
    Ok(meshes)
}

/// Where the attributes of a primitive come from.
struct Source<'a> {
    data: &'a Data<'a>,
    draco: Option<&'a Decoded<'a>>,
    names: &'a BTreeMap<String, u32>,
    at: &'a str,
}

impl Source<'_> {
    /// Attribute `name`, empty if there is none: by `make` out of a Draco stream, by `plain` out of an accessor.
    fn array<T, const N: usize>(
        &self,
        name: &str,
        make: fn([f32; N]) -> T,
        plain: impl FnOnce(u32, &dyn Fn() -> String) -> Result<Vec<T>, Fault>,
    ) -> Result<Vec<T>, Fault> {
        let Some(index) = self.names.get(name).copied() else { return Ok(Vec::new()) };
        let at = || format!("{}.attributes.{name}", self.at);
        match self.draco.filter(|draco| draco.holds(name)) {
            Some(draco) => draco.floats(name, self.data.accessor(index, at)?, make, at),
            None => plain(index, &at),
        }
    }

    fn colors(&self, name: &str) -> Result<Vec<[u8; 4]>, Fault> {
        let Some(index) = self.names.get(name).copied() else { return Ok(Vec::new()) };
        let at = || format!("{}.attributes.{name}", self.at);
        match self.draco.filter(|draco| draco.holds(name)) {
            Some(draco) => {
                let colors = draco.colors(name, self.data.accessor(index, at)?, at)?;
                Ok(colors.into_iter().map(|rgba| rgba.map(unorm8)).collect())
            }
            None => self.data.colors(index, at),
        }
    }
}

struct Reader<'a> {
    data: &'a Data<'a>,
    limits: &'a Limits,
    /// Vertices read so far, unused ones included: they cost time.
    n_vertices: u64,
    /// Triangles drawn so far, for all nodes.
    n_triangles: u64,
    /// Bytes of triangles and vertices kept so far.
    memory: u64,
    /// Points and lines that wait for the size of the model.
    strokes: Vec<Strokes>,
}

impl Reader<'_> {
    /// `None` if there is nothing to show in it.
    fn primitive(
        &mut self,
        primitive: &json::Primitive,
        at: &str,
        n_uses: u64,
        materials: &mut Materials<'_>,
        warnings: &mut Warnings,
    ) -> Result<Option<Primitive>, Fault> {
        let mode = primitive.mode.unwrap_or(4);
        if mode > 6 {
            let problem = format!("{mode}, but modes are from 0 to 6");
            return Err(Fault::damaged(format!("{at}.mode"), problem));
        }
        if !primitive.targets.is_empty() {
            warnings.say("Morph targets are not applied.");
        }
        let Some(&position) = primitive.attributes.get("POSITION") else {
            warnings.say(format!("{at}: has no POSITION and is not shown."));
            return Ok(None);
        };
        let accessor = self.data.accessor(position, || format!("{at}.attributes.POSITION"))?;
        let draco = self.draco(primitive, at)?;
        let n_vertices = draco.as_ref().map_or(accessor.count, Decoded::n_vertices);
        self.count_vertices(n_vertices, position)?;
        let mut indices = match &draco {
            Some(draco) => draco.indices(),
            None => self.triangles(primitive, mode, n_vertices, at, warnings)?,
        };
        self.count_triangles(indices.len() as u64 / 3, n_uses, at)?;
        let (mut vertices, has_tangents) =
            self.attributes(primitive, draco.as_ref(), n_vertices, at, warnings)?;
        drop_unfit_triangles(&mut vertices, &mut indices, at, warnings);
        if indices.is_empty() {
            return Ok(None);
        }
        drop_unused_vertices(&mut vertices, &mut indices);

        let has_uv = [!vertices.uv0.is_empty(), !vertices.uv1.is_empty()];
        let like = Use { has_uv, on_strokes: false, unlit: false };
        let (material, normal_uv) = materials.used(primitive.material, like, at, warnings)?;
        if vertices.normals.is_empty() {
            vertices.tangents.clear();
            if indices.len() / 3 <= FLAT_TRIANGLES_MAX {
                normals::flatten(&mut vertices, &mut indices);
            } else {
                vertices.normals = normals::smooth(&vertices.positions, &indices);
            }
        } else {
            normals::mend(&mut vertices, &indices, at, warnings);
        }
        match normal_uv {
            Some(set) if vertices.tangents.is_empty() || !has_tangents => {
                tangents::generate(&mut vertices, &mut indices, set);
            }
            Some(_) => tangents::mend(&mut vertices),
            None => vertices.tangents = Vec::new(),
        }
        let n_bytes = bytes_per_vertex(&vertices) * vertices.positions.len() as u64;
        self.account(n_bytes + size_of_val(&indices[..]) as u64, at)?;
        Ok(Some(Primitive { vertices, indices, material }))
    }

    /// Points and lines, put aside until the model's size is known.
    fn strokes(
        &mut self,
        primitive: &json::Primitive,
        mesh: usize,
        at: &str,
        n_uses: u64,
        materials: &mut Materials<'_>,
        warnings: &mut Warnings,
    ) -> Result<(), Fault> {
        let mode = primitive.mode.unwrap_or(0);
        let Some(&position) = primitive.attributes.get("POSITION") else {
            warnings.say(format!("{at}: has no POSITION and is not shown."));
            return Ok(());
        };
        let count = self.data.accessor(position, || format!("{at}.attributes.POSITION"))?.count;
        self.count_vertices(count, position)?;
        let given = self.indices(primitive, count, at)?;
        let (mut vertices, _) = self.attributes(primitive, None, count, at, warnings)?;
        let pairs = |window: &[u32]| [window[0], window[1]];
        let mut indices: Vec<u32> = match mode {
            0 | 1 => given,
            2 | 3 => {
                let mut strip: Vec<u32> = given.windows(2).flat_map(pairs).collect();
                if let (2, [first, _, .., last]) = (mode, &given[..]) {
                    strip.extend([*last, *first]);
                }
                strip
            }
            _ => Vec::new(),
        };
        let fit = |i: u32| is_fit(vertices.positions[i as usize]);
        if mode == 0 {
            indices.retain(|i| fit(*i));
            let step = indices.len().div_ceil(POINTS_MAX).max(1);
            if step > 1 {
                warnings.say(format!("{at}: of {} points one in {step} is shown.", indices.len()));
                indices = indices.into_iter().step_by(step).collect();
            }
        } else {
            let lines = indices.chunks_exact(2).filter(|line| line.iter().all(|i| fit(*i)));
            indices = lines.flatten().copied().collect();
        }
        if indices.is_empty() {
            warnings.say(format!("{at}: has no points or lines that can be shown."));
            return Ok(());
        }
        // What is not used must not count for the size.
        drop_unused_vertices(&mut vertices, &mut indices);
        vertices.tangents.clear();
        for normal in &mut vertices.normals {
            *normal = normal.normalize_or_zero();
        }
        if vertices.normals.contains(&Vec3::ZERO) {
            vertices.normals.clear();
        }
        let has_uv = [!vertices.uv0.is_empty(), !vertices.uv1.is_empty()];
        let like = Use { has_uv, on_strokes: true, unlit: vertices.normals.is_empty() };
        let (material, _) = materials.used(primitive.material, like, at, warnings)?;
        let strokes = Strokes { mesh, vertices, indices, are_points: mode == 0, material };
        let n_triangles = strokes.n_triangles();
        self.count_triangles(n_triangles, n_uses, at)?;
        // As many vertices as triangles, about, with a normal each whatever the file has.
        self.account(n_triangles * (bytes_per_vertex(&strokes.vertices) + 12 + 12), at)?;
        self.strokes.push(strokes);
        Ok(())
    }

    fn count_vertices(&mut self, n: u64, position: u32) -> Result<(), Fault> {
        self.n_vertices = self.n_vertices.saturating_add(n);
        if self.n_vertices > self.limits.vertices {
            let problem = format!("more than {} vertices", self.limits.vertices);
            return Err(Fault::too_large(format!("accessors[{position}].count"), problem));
        }
        Ok(())
    }

    fn count_triangles(&mut self, n: u64, n_uses: u64, at: &str) -> Result<(), Fault> {
        self.n_triangles = self.n_triangles.saturating_add(n.saturating_mul(n_uses));
        if self.n_triangles > self.limits.triangles {
            let problem = format!("more than {} drawn triangles", self.limits.triangles);
            return Err(Fault::too_large(at, problem));
        }
        Ok(())
    }

    /// Indices as in the file, each below `n_vertices`; all in order if there are none.
    fn indices(&self, primitive: &json::Primitive, n_vertices: u64, at: &str) -> Result<Vec<u32>, Fault> {
        let Some(accessor) = primitive.indices else {
            return Ok((0..u32::try_from(n_vertices).unwrap_or(u32::MAX)).collect());
        };
        let indices = self.data.indices(accessor, || format!("{at}.indices"))?;
        // The largest one decides; a loop without an exit is a fraction of the time of one with.
        let max = indices.iter().copied().max().unwrap_or(0);
        if !indices.is_empty() && u64::from(max) >= n_vertices {
            let problem = format!("has index {max}, but there are only {n_vertices} vertices ({at})");
            return Err(Fault::damaged(format!("accessors[{accessor}]"), problem));
        }
        Ok(indices)
    }

    /// The primitive's Draco stream, unless the same lies beside it uncompressed, which is exact and quick.
    fn draco<'a>(&self, primitive: &'a json::Primitive, at: &str) -> Result<Option<Decoded<'a>>, Fault> {
        let Some(draco) = &primitive.extensions.draco else { return Ok(None) };
        let named = primitive.attributes.iter().filter(|(name, _)| draco.attributes.contains_key(*name));
        let accessors = named.map(|(_, accessor)| *accessor).chain(primitive.indices);
        let mut plain = true;
        for accessor in accessors {
            plain &= self.data.accessor(accessor, || at.to_owned())?.buffer_view.is_some();
        }
        if plain && primitive.indices.is_some() {
            return Ok(None);
        }
        let n_left = self.limits.vertices.saturating_sub(self.n_vertices);
        let at = || format!("{at}.extensions.KHR_draco_mesh_compression");
        self.data.draco(draco, n_left, at).map(Some)
    }

    /// Vertex indices of triangles, three each.
    fn triangles(
        &self,
        primitive: &json::Primitive,
        mode: u32,
        n_vertices: u64,
        at: &str,
        warnings: &mut Warnings,
    ) -> Result<Vec<u32>, Fault> {
        let mut indices = self.indices(primitive, n_vertices, at)?;
        let whole = match mode {
            4 => indices.len() / 3 * 3,
            _ if indices.len() < 3 => 0,
            _ => indices.len(),
        };
        if whole < indices.len() {
            warnings.say(format!("{at}: the last {} indices make no triangle.", indices.len() - whole));
            indices.truncate(whole);
        }
        Ok(match mode {
            // glTF 2.0, section 3.7.2.1, "Overview" of meshes: every second triangle of a strip is turned.
            5 => indices
                .windows(3)
                .enumerate()
                .flat_map(|(i, w)| if i % 2 == 0 { [w[0], w[1], w[2]] } else { [w[0], w[2], w[1]] })
                .collect(),
            6 => match indices.split_first() {
                Some((first, rest)) => rest.windows(2).flat_map(|w| [w[0], w[1], *first]).collect(),
                None => indices,
            },
            _ => indices,
        })
    }

    fn attributes(
        &self,
        primitive: &json::Primitive,
        draco: Option<&Decoded<'_>>,
        count: u64,
        at: &str,
        warnings: &mut Warnings,
    ) -> Result<(Vertices, bool), Fault> {
        let data = self.data;
        let packed = |name: &str| draco.filter(|draco| draco.holds(name));
        for (name, accessor) in &primitive.attributes {
            if packed(name).is_some() {
                continue;
            }
            // Names come from the file: those with a meaning only, and only their counts.
            let at = || format!("{at}.attributes.{:.40}", name.escape_debug().to_string());
            let got = data.accessor(*accessor, at)?.count;
            if got != count {
                let problem = format!("has {got} elements, but POSITION has {count}");
                return Err(Fault::damaged(at(), problem));
            }
        }
        let source = Source { data, draco, names: &primitive.attributes, at };
        let positions = source.array("POSITION", Vec3::from_array, |a, at| data.vec3(a, at))?;
        let normals = source.array("NORMAL", Vec3::from_array, |a, at| data.vec3(a, at))?;
        let tangents = source.array("TANGENT", Vec4::from_array, |a, at| data.vec4(a, at))?;
        let mut uv = |name| -> Result<Vec<Vec2>, Fault> {
            let mut uv = source.array(name, Vec2::from_array, |a, at| data.vec2(a, at))?;
            let mut mended = false;
            for uv in &mut uv {
                // Beyond this, single precision has no fraction left to look up a texel with.
                if !uv.is_finite() || uv.abs().max_element() > 1e7 {
                    *uv = Vec2::ZERO;
                    mended = true;
                }
            }
            if mended {
                warnings.say(format!("{at}: texture coordinates that are not finite were set to 0."));
            }
            Ok(uv)
        };
        let (uv0, uv1) = (uv("TEXCOORD_0")?, uv("TEXCOORD_1")?);
        let colors = source.colors("COLOR_0")?;
        let has_tangents = !tangents.is_empty();
        Ok((Vertices { positions, normals, tangents, uv0, uv1, colors }, has_tangents))
    }

    /// Holds the kept geometry within memory that fits the size of the file.
    fn account(&mut self, n_bytes: u64, at: &str) -> Result<(), Fault> {
        self.memory = self.memory.saturating_add(n_bytes);
        let limit = self.data.memory_limit().min(self.limits.mesh_bytes);
        if self.memory > limit {
            let problem = format!("the meshes unfold to more than {limit} bytes");
            return Err(Fault::too_large(at, problem));
        }
        Ok(())
    }
}

fn bytes_per_vertex(vertices: &Vertices) -> u64 {
    let present = |there: bool, size: usize| if there { size as u64 } else { 0 };
    present(true, size_of::<Vec3>())
        + present(!vertices.normals.is_empty(), size_of::<Vec3>())
        + present(!vertices.tangents.is_empty(), size_of::<Vec4>())
        + present(!vertices.uv0.is_empty(), size_of::<Vec2>())
        + present(!vertices.uv1.is_empty(), size_of::<Vec2>())
        + present(!vertices.colors.is_empty(), 4)
}

/// Whether one can compute with a position.
fn is_fit(p: Vec3) -> bool {
    p.abs().max_element() <= COORDINATE_MAX && p.is_finite()
}

/// Drops triangles with positions that are infinite, NaN or too large to compute with.
fn drop_unfit_triangles(vertices: &mut Vertices, indices: &mut Vec<u32>, at: &str, warnings: &mut Warnings) {
    let fit = |p: &Vec3| is_fit(*p);
    if vertices.positions.iter().all(fit) {
        return;
    }
    let n_before = indices.len() / 3;
    let mut kept = Vec::with_capacity(indices.len());
    for triangle in indices.chunks_exact(3) {
        if triangle.iter().all(|i| fit(&vertices.positions[*i as usize])) {
            kept.extend_from_slice(triangle);
        }
    }
    for position in &mut vertices.positions {
        if !fit(position) {
            *position = Vec3::ZERO;
        }
    }
    let n_dropped = n_before - kept.len() / 3;
    *indices = kept;
    warnings.say(format!(
        "{at}: {n_dropped} triangles are not shown, because positions are infinite, not numbers or too large."
    ));
}

/// Keeps the vertices that triangles use, if that is worth it: several primitives may share one large array.
fn drop_unused_vertices(vertices: &mut Vertices, indices: &mut [u32]) {
    let n = vertices.positions.len();
    let mut used = vec![false; n];
    for index in indices.iter() {
        used[*index as usize] = true;
    }
    let n_used = used.iter().filter(|used| **used).count();
    if n_used == n {
        return;
    }
    let mut new_from_old = vec![0_u32; n];
    let mut next = 0;
    for (new, used) in new_from_old.iter_mut().zip(&used) {
        *new = next;
        next += u32::from(*used);
    }
    for index in indices {
        *index = new_from_old[*index as usize];
    }
    keep(&mut vertices.positions, &used, n_used);
    keep(&mut vertices.normals, &used, n_used);
    keep::<Vec4>(&mut vertices.tangents, &used, n_used);
    keep(&mut vertices.uv0, &used, n_used);
    keep(&mut vertices.uv1, &used, n_used);
    keep(&mut vertices.colors, &used, n_used);
}

fn keep<T: Copy>(values: &mut Vec<T>, used: &[bool], n_used: usize) {
    if values.is_empty() {
        return;
    }
    let mut kept = Vec::with_capacity(n_used);
    kept.extend(values.iter().zip(used).filter(|(_, used)| **used).map(|(value, _)| *value));
    *values = kept;
}
