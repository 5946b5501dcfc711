//! Tangents for normal maps.

use scene::{
    Vertices,
    math::{Vec2, Vec3, Vec4},
};

/// Generates tangents from normals and texture coordinates of set `uv_set`.
///
/// As MikkTSpace, which normal maps are baked for: each triangle's tangent is projected into the plane of the vertex'
/// normal and weighted by the angle there; mirrored and unmirrored triangles are kept apart, for which shared vertices are
/// doubled. Unlike it we trust the index buffer for which vertices are shared. (Mikkelsen, "Simulation of Wrinkled
/// Surfaces Revisited", 2008, section 3.)
pub(crate) fn generate(vertices: &mut Vertices, indices: &mut [u32], uv_set: u8) {
    let n = vertices.positions.len();
    let uv = if uv_set == 0 { &vertices.uv0 } else { &vertices.uv1 };
    if uv.len() != n {
        // Cannot be: a texture without its coordinates is not used. Any frame is better than none.
        vertices.tangents = vertices.normals.iter().map(|n| any_perpendicular(*n).extend(1.0)).collect();
        return;
    }
    let mirrored: Vec<bool> = indices.chunks_exact(3).map(|t| uv_area(uv, t) > 0.0).collect();
    split_mirrored(vertices, indices, &mirrored);

    let uv = if uv_set == 0 { &vertices.uv0 } else { &vertices.uv1 };
    let (positions, normals) = (&vertices.positions, &vertices.normals);
    let mut sums = vec![Vec4::ZERO; positions.len()];
    for (triangle, mirrored) in indices.chunks_exact(3).zip(&mirrored) {
        let [a, b, c] = [triangle[0] as usize, triangle[1] as usize, triangle[2] as usize];
        let sign = if *mirrored { -1.0 } else { 1.0 };
        let (e1, e2) = (positions[b] - positions[a], positions[c] - positions[a]);
        let (d1, d2) = (uv[b] - uv[a], uv[c] - uv[a]);
        let tangent = unit((e2 * d1.y - e1 * d2.y) * sign);
        for (i, next, previous) in [(a, b, c), (b, c, a), (c, a, b)] {
            sums[i].w = sign;
            let Some(tangent) = tangent else { continue };
            let normal = normals[i];
            let project = |v: Vec3| unit(v - normal * normal.dot(v));
            let to_next = project(positions[next] - positions[i]);
            let to_previous = project(positions[previous] - positions[i]);
            let (Some(tangent), Some(to_next), Some(to_previous)) = (project(tangent), to_next, to_previous)
            else {
                continue;
            };
            let angle = to_next.dot(to_previous).clamp(-1.0, 1.0).acos();
            sums[i] += (tangent * angle).extend(0.0);
        }
    }
    vertices.tangents = sums
        .iter()
        .zip(normals)
        .map(|(sum, normal)| {
            let tangent = unit(sum.truncate()).unwrap_or_else(|| any_perpendicular(*normal));
            tangent.extend(if sum.w < 0.0 { -1.0 } else { 1.0 })
        })
        .collect();
}

/// Makes given tangents units with a sign, whatever the file had.
pub(crate) fn mend(vertices: &mut Vertices) {
    for (tangent, normal) in vertices.tangents.iter_mut().zip(&vertices.normals) {
        let direction = tangent.truncate();
        let sign = if tangent.w < 0.0 { -1.0 } else { 1.0 };
        if (direction.length_squared() - 1.0).abs() > 1e-5 || tangent.w != sign {
            *tangent = unit(direction).unwrap_or_else(|| any_perpendicular(*normal)).extend(sign);
        }
    }
}

/// Gives mirrored triangles vertices of their own where they share some with others.
fn split_mirrored(vertices: &mut Vertices, indices: &mut [u32], mirrored: &[bool]) {
    // 1: used plainly, 2: used mirrored.
    let mut uses = vec![0_u8; vertices.positions.len()];
    for (triangle, mirrored) in indices.chunks_exact(3).zip(mirrored) {
        for i in triangle {
            uses[*i as usize] |= if *mirrored { 2 } else { 1 };
        }
    }
    if !uses.contains(&3) {
        return;
    }
    let mut doubles = vec![None; uses.len()];
    for (triangle, _) in indices.chunks_exact_mut(3).zip(mirrored).filter(|(_, mirrored)| **mirrored) {
        for i in triangle {
            let old = *i as usize;
            if uses[old] == 3 {
                *i = *doubles[old].get_or_insert_with(|| {
                    vertices.positions.push(vertices.positions[old]);
                    vertices.normals.push(vertices.normals[old]);
                    if !vertices.uv0.is_empty() {
                        vertices.uv0.push(vertices.uv0[old]);
                    }
                    if !vertices.uv1.is_empty() {
                        vertices.uv1.push(vertices.uv1[old]);
                    }
                    if !vertices.colors.is_empty() {
                        vertices.colors.push(vertices.colors[old]);
                    }
                    u32::try_from(vertices.positions.len() - 1).unwrap_or(u32::MAX)
                });
            }
        }
    }
}

/// Negative if the image lies on the front of the triangle, positive if it is mirrored.
fn uv_area(uv: &[Vec2], triangle: &[u32]) -> f32 {
    let [a, b, c] = [triangle[0] as usize, triangle[1] as usize, triangle[2] as usize];
    // v points down in images, so a counter-clockwise triangle that is plainly mapped turns clockwise in uv.
    (uv[b] - uv[a]).perp_dot(uv[c] - uv[a])
}

fn unit(v: Vec3) -> Option<Vec3> {
    let scaled = v / v.abs().max_element();
    let unit = scaled / scaled.length();
    unit.is_finite().then_some(unit)
}

fn any_perpendicular(normal: Vec3) -> Vec3 {
    let axis = if normal.x.abs() < 0.7 { Vec3::X } else { Vec3::Y };
    unit(axis - normal * normal.dot(axis)).unwrap_or(Vec3::X)
}
