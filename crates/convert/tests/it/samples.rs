//! The samples are what they say.

use convert::{Limits, samples};
use scene::{Model, math::Vec3};

fn model(bytes: &[u8]) -> Model {
    let loaded = convert::read_glb(bytes, &Limits::default()).unwrap();
    assert_eq!(loaded.warnings, [""; 0]);
    loaded.model
}

#[test]
fn spheres_are_as_fine_as_asked_and_closed() {
    for n in [48, 1000, 100_000] {
        let sphere = model(&samples::bumpy_sphere(n, 1));
        let got = sphere.triangles();
        assert!(got.abs_diff(u64::from(n)) * 100 <= u64::from(n) * 5, "{got} triangles for {n}");
        // Closed and facing outward: the signed volume is that of a ball of about this radius.
        let primitive = &sphere.meshes[0].primitives[0];
        let corner = |i: u32| primitive.vertices.positions[i as usize].as_dvec3();
        let volume: f64 = primitive
            .indices
            .chunks_exact(3)
            .map(|t| corner(t[0]).dot(corner(t[1]).cross(corner(t[2]))) / 6.0)
            .sum();
        let ball = 4.0 / 3.0 * std::f64::consts::PI * 0.92_f64.powi(3);
        assert!((volume / ball - 1.0).abs() < 0.35, "volume {volume} of {n} triangles");
        // Given normals fit the surface.
        for t in primitive.indices.chunks_exact(3) {
            let face = (corner(t[1]) - corner(t[0])).cross(corner(t[2]) - corner(t[0]));
            let mean: Vec3 = t.iter().map(|i| primitive.vertices.normals[*i as usize]).sum();
            assert!(face.dot(mean.as_dvec3()) > 0.0, "a normal points inward");
        }
    }
    assert_eq!(samples::bumpy_sphere(1000, 5), samples::bumpy_sphere(1000, 5));
    assert_ne!(samples::bumpy_sphere(1000, 5), samples::bumpy_sphere(1000, 6));
}

/// The sphere's own tangents point east by construction; generated ones must agree in direction and sign.
#[test]
fn generated_tangents_agree_with_analytic_ones() {
    let mut bytes = samples::bumpy_sphere(5000, 2);
    let given = model(&bytes);
    let at = bytes.windows(9).position(|w| w == b"\"TANGENT\"").unwrap();
    bytes[at..at + 9].copy_from_slice(b"\"_ANGENT\"");
    let made = model(&bytes);
    let [given, made] = [given, made].map(|mut m| m.meshes.remove(0).primitives.remove(0).vertices);
    assert_eq!(given.positions, made.positions);
    for ((a, b), p) in given.tangents.iter().zip(&made.tangents).zip(&given.positions) {
        // At the poles every direction is east.
        if p.y.abs() < 0.8 {
            assert!(a.w == b.w && a.truncate().dot(b.truncate()) > 0.9, "{a} {b} at {p}");
        }
    }
}

#[test]
fn the_marked_cube_has_its_colors_where_it_says() {
    let cube = model(&samples::marked_cube());
    assert_eq!(cube.materials.len(), 6);
    for (primitive, want) in cube.meshes[0].primitives.iter().zip(samples::FACE_COLORS) {
        let texture = cube.materials[primitive.material as usize].base_color_texture.unwrap().texture;
        let image = &cube.images[cube.textures[texture as usize].image as usize];
        let texel = |x: usize, y: usize| &image.rgba[(y * 64 + x) * 4..][..3];
        assert_eq!((texel(2, 2), texel(61, 2), texel(2, 61)), (&[255; 3][..], &[0; 3][..], &[128; 3][..]));
        let middle: Vec<f32> = texel(32, 32).iter().map(|x| f32::from(*x) / 255.0).collect();
        assert!(middle.iter().zip(want).all(|(a, b)| (a - b).abs() < 0.01));
        // Outward: the normal is where the face is.
        let centre: Vec3 = primitive.vertices.positions.iter().sum::<Vec3>() / 4.0;
        assert!((centre * 2.0 - primitive.vertices.normals[0]).length() < 1e-6);
    }
}

#[test]
fn small_samples_have_their_parts() {
    let chain = model(&samples::hierarchy(6));
    assert_eq!((chain.nodes.len(), chain.triangles()), (6, 72));
    assert_eq!(chain.nodes[5].parent, Some(4));
    assert_eq!(model(&samples::two_materials()).materials.len(), 2);
    assert_eq!(model(&samples::alpha_modes()).triangles(), 8);
}

#[test]
fn the_demo_is_worth_looking_at() {
    let bytes = samples::demo();
    assert!(bytes.len() < 25 << 20, "{} bytes", bytes.len());
    let demo = model(&bytes);
    let n = demo.triangles();
    assert!((150_000..300_000).contains(&n), "{n} triangles");
    assert_eq!(samples::demo(), bytes);
}
