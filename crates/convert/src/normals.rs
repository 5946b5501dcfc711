//! Normals where a file has none, or useless ones.

use scene::{Vertices, math::Vec3};

use crate::warnings::Warnings;

/// Gives each triangle vertices of its own with its face's normal.
pub(crate) fn flatten(vertices: &mut Vertices, indices: &mut [u32]) {
    fn unshare<T: Copy>(values: &mut Vec<T>, indices: &[u32]) {
        if !values.is_empty() {
            *values = indices.iter().map(|i| values[*i as usize]).collect();
        }
    }
    unshare(&mut vertices.positions, indices);
    unshare(&mut vertices.uv0, indices);
    unshare(&mut vertices.uv1, indices);
    unshare(&mut vertices.colors, indices);
    vertices.normals = Vec::with_capacity(indices.len());
    for corners in vertices.positions.chunks_exact(3) {
        let normal = unit_or_up(face(corners[0], corners[1], corners[2]));
        vertices.normals.extend([normal; 3]);
    }
    for (i, index) in (0_u32..).zip(indices) {
        *index = i;
    }
}

/// Normals averaged over the triangles around each vertex, weighted by area.
pub(crate) fn smooth(positions: &[Vec3], indices: &[u32]) -> Vec<Vec3> {
    let mut normals = vec![Vec3::ZERO; positions.len()];
    for triangle in indices.chunks_exact(3) {
        let [a, b, c] = [triangle[0] as usize, triangle[1] as usize, triangle[2] as usize];
        let normal = face(positions[a], positions[b], positions[c]);
        for i in [a, b, c] {
            normals[i] += normal;
        }
    }
    for normal in &mut normals {
        *normal = unit_or_up(*normal);
    }
    normals
}

/// Makes all normals unit length; those without a direction are made of the triangles around.
pub(crate) fn mend(vertices: &mut Vertices, indices: &[u32], at: &str, warnings: &mut Warnings) {
    let mut n_bad = 0_usize;
    for normal in &mut vertices.normals {
        let length_squared = normal.length_squared();
        // Nearly all are units already, but for rounding.
        if (length_squared - 1.0).abs() <= 1e-5 {
            continue;
        }
        // Of very small or large ones the square is out of range, not the direction.
        let scaled = *normal / normal.abs().max_element();
        let unit = scaled / scaled.length();
        if unit.is_finite() {
            *normal = unit;
        } else {
            *normal = Vec3::ZERO;
            n_bad += 1;
        }
    }
    if n_bad == 0 {
        return;
    }
    warnings.say(format!("{at}: {n_bad} normals had no direction and were made anew."));
    let made = smooth(&vertices.positions, indices);
    for (normal, made) in vertices.normals.iter_mut().zip(made) {
        if *normal == Vec3::ZERO {
            *normal = made;
        }
    }
}

/// Along the face's normal; the length is twice its area over the square of its largest coordinate difference.
fn face(a: Vec3, b: Vec3, c: Vec3) -> Vec3 {
    let (ab, ac) = (b - a, c - a);
    let cross = ab.cross(ac);
    if cross.length_squared() > 1e-30 && cross.is_finite() && cross.length_squared().is_finite() {
        return cross;
    }
    // Out of range either way: only the direction matters.
    let scale = ab.abs().max_element().max(ac.abs().max_element());
    if scale > 0.0 { (ab / scale).cross(ac / scale) * 1e-15 } else { Vec3::ZERO }
}

fn unit_or_up(v: Vec3) -> Vec3 {
    let scaled = v / v.abs().max_element();
    let unit = scaled / scaled.length();
    if unit.is_finite() { unit } else { Vec3::Y }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faces_of_any_size_have_a_direction() {
        for scale in [1e-18_f32, 1e-9, 1.0, 1e9, 1e18] {
            let normals = smooth(&[Vec3::ZERO, Vec3::X * scale, Vec3::Y * scale], &[0, 1, 2]);
            assert_eq!(normals, [Vec3::Z; 3], "{scale}");
        }
    }

    #[test]
    fn flat_triangles_share_nothing() {
        let positions = vec![Vec3::ZERO, Vec3::X, Vec3::Y, Vec3::Z];
        let mut vertices = Vertices { positions, ..Vertices::default() };
        let mut indices = vec![0, 1, 2, 0, 2, 3];
        flatten(&mut vertices, &mut indices);
        assert_eq!(indices, [0, 1, 2, 3, 4, 5]);
        assert_eq!(vertices.normals[0], Vec3::Z);
        assert_eq!(vertices.normals[3], Vec3::X);
    }

    #[test]
    fn only_useless_normals_are_replaced() {
        let positions = vec![Vec3::ZERO, Vec3::X, Vec3::Y];
        let normals = vec![Vec3::ZERO, Vec3::X * 1e-25, Vec3::new(f32::NAN, 0.0, 0.0)];
        let mut vertices = Vertices { positions, normals, ..Vertices::default() };
        let mut warnings = Warnings::new(10);
        mend(&mut vertices, &[0, 1, 2], "mesh", &mut warnings);
        assert_eq!(vertices.normals, [Vec3::Z, Vec3::X, Vec3::Z]);
        assert_eq!(warnings.into_sentences().len(), 1);
    }
}
