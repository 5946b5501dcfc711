//! What the golden images show: one scene for each thing that can go wrong.

use std::f32::consts::{FRAC_PI_2, FRAC_PI_4, PI, TAU};

use render::{Look, Sky, ToneMapping, View};
use scene::math::{Affine2, Affine3A, Mat3, Quat, Vec2, Vec3, Vec4};
use scene::{AlphaMode, Coating, LightKind, Material, Primitive, Sampler, TextureUse, Vertices, Wrap};

use crate::build::{Build, at, cube, everything, quad, sphere, texture, unlit};

/// Pixels.
pub(crate) const SIZE: (u32, u32) = (160, 120);

/// A scene and where it is seen from.
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    pub(crate) build: Build,
    pub(crate) view: View,
    /// One frame in motion, as video, instead of a picture at rest.
    pub(crate) moves: bool,
}

/// All of them.
pub(crate) fn all() -> Vec<Scene> {
    let scene = |name, build, view| Scene { name, build, view, moves: false };
    let front = || view(Vec3::new(0.0, 0.0, 5.0), Vec3::ZERO);
    vec![
        scene("metallic_roughness", roughness_and_metal(), front()),
        scene("metallic_roughness_texture", metallic_roughness_texture(), front()),
        scene("normal_map", normal_map(), view(Vec3::new(0.0, 0.8, 5.0), Vec3::ZERO)),
        scene("occlusion", occlusion(), front()),
        scene("emissive", emissive(), front()),
        scene("alpha_mask", alpha_mask(), front()),
        scene("alpha_blend", alpha_blend(), view(Vec3::new(1.5, 1.2, 4.4), Vec3::ZERO)),
        scene("double_sided", double_sided(), view(Vec3::new(0.0, 2.6, 4.2), Vec3::ZERO)),
        scene("texture_transform", texture_transform(), front()),
        scene("texture_wrap", texture_wrap(), front()),
        scene("texture_levels", texture_levels(), view(Vec3::new(0.0, 0.7, 0.0), Vec3::new(0.0, 0.2, -3.0))),
        scene("vertex_colors", vertex_colors(), view(Vec3::new(1.0, 1.2, 4.4), Vec3::ZERO)),
        scene("tone_mapping", tone_mapping(), front()),
        scene(
            "light_directional",
            lit(LightKind::Directional, 2.0),
            view(Vec3::new(0.0, 2.2, 4.6), Vec3::ZERO),
        ),
        scene("light_point", lit(LightKind::Point, 3.0), view(Vec3::new(0.0, 2.2, 4.6), Vec3::ZERO)),
        scene(
            "light_spot",
            lit(LightKind::Spot { inner_rad: 0.25, outer_rad: 0.45 }, 8.0),
            view(Vec3::new(0.0, 2.2, 4.6), Vec3::ZERO),
        ),
        scene("ior", coated(|share| Coating { f0: share * share * 0.3, ..Coating::default() }), front()),
        scene("specular", coated(specular), front()),
        scene("clearcoat", coated(clearcoat), front()),
        scene("clearcoat_normal", clearcoat_normal(), view(Vec3::new(0.0, 0.8, 5.0), Vec3::ZERO)),
        scene("sheen", coated(sheen), front()),
        scene("transmission", transmission(), front()),
        scene("near_plane", near_plane(), view(Vec3::new(0.2, 0.35, 0.9), Vec3::new(-0.1, -0.5, -1.0))),
        scene("horizon", horizon(), view(Vec3::new(0.0, 2.0, 0.0), Vec3::new(30.0, 0.5, -30.0))),
        scene("thin", thin(), front()),
        scene("mirrored", mirrored(), front()),
        scene("instances", instances(), view(Vec3::new(4.0, 3.0, 6.0), Vec3::ZERO)),
        scene("sky_day", roughness_and_metal(), under(Sky::Day, 0.0)),
        scene("sky_overcast", roughness_and_metal(), under(Sky::Overcast, 0.0)),
        scene("sky_dusk", roughness_and_metal(), under(Sky::Dusk, 0.0)),
        scene("sky_even", roughness_and_metal(), under(Sky::Even, 0.0)),
        scene("sky_turned", roughness_and_metal(), under(Sky::Studio, 2.0)),
        scene("tone_mapping_aces", tone_mapping(), aces()),
        Scene { moves: true, ..scene("motion", everything(), view(Vec3::new(0.0, 0.6, 4.5), Vec3::ZERO)) },
    ]
}

pub(crate) fn view(eye: Vec3, target: Vec3) -> View {
    let back = (eye - target).normalize();
    let right = Vec3::Y.cross(back).normalize();
    let orientation = Quat::from_mat3(&Mat3::from_cols(right, back.cross(right), back));
    View { eye, orientation, fov_y: 0.62, width: SIZE.0, height: SIZE.1, look: Look::default() }
}

fn under(sky: Sky, sky_yaw: f32) -> View {
    View { look: Look { sky, sky_yaw, ..Look::default() }, ..view(Vec3::new(0.0, 0.0, 5.0), Vec3::ZERO) }
}

fn aces() -> View {
    View {
        look: Look { tone_mapping: ToneMapping::Aces, ..Look::default() },
        ..view(Vec3::new(0.0, 0.0, 5.0), Vec3::ZERO)
    }
}

fn scaled(x: f32, y: f32, size: f32) -> Affine3A {
    at(x, y, 0.0) * Affine3A::from_scale(Vec3::splat(size))
}

/// Like wax of this colour.
pub(crate) fn plastic(color: Vec3) -> Material {
    Material { base_color: color.extend(1.0), metallic: 0.0, roughness: 0.4, ..Material::default() }
}

/// A sphere without colours of its own.
pub(crate) fn ball(segments: u32) -> Primitive {
    let mut ball = sphere(segments);
    ball.vertices.colors.clear();
    ball
}

/// Texels of a square image from u and v of their centres, 0 to 1.
fn texels(edge: u32, texel: impl Fn(f32, f32) -> [f32; 4]) -> Vec<[u8; 4]> {
    let place = |n: u32| (n as f32 + 0.5) / edge as f32;
    let code = |x: f32| (x.clamp(0.0, 1.0) * 255.0 + 0.5) as u8;
    (0..edge * edge).map(|n| texel(place(n % edge), place(n / edge)).map(code)).collect()
}

fn checks(edge: u32, n: f32) -> Vec<[u8; 4]> {
    texels(edge, |u, v| {
        let even = ((u * n) as u32 + (v * n) as u32).is_multiple_of(2);
        let c = if even { 0.9 } else { 0.15 };
        [c, c * (0.5 + u * 0.5), c * (0.5 + v * 0.5), 1.0]
    })
}

fn roughness_and_metal() -> Build {
    let mut build = Build::default();
    for row in 0..3 {
        for column in 0..5 {
            let (color, metallic) = [
                (Vec3::new(1.0, 0.77, 0.34), 1.0),
                (Vec3::new(0.6, 0.1, 0.08), 0.0),
                (Vec3::splat(0.95), 1.0),
            ][row];
            let roughness = column as f32 / 4.0;
            let material = Material { metallic, roughness, ..plastic(color) };
            let place = scaled(column as f32 * 0.82 - 1.64, 0.95 - row as f32 * 0.95, 0.38);
            build = build.add(ball(40), place, material);
        }
    }
    build
}

fn metallic_roughness_texture() -> Build {
    let material = Material {
        base_color: Vec4::new(0.9, 0.5, 0.3, 1.0),
        metallic_roughness_texture: texture(0),
        ..Material::default()
    };
    Build::default()
        .image(64, 64, &texels(64, |u, v| [0.0, u, if v > 0.5 { 1.0 } else { 0.0 }, 1.0]), Sampler::default())
        .add(ball(48), Affine3A::from_scale(Vec3::splat(1.3)), material)
}

/// A grid of round bumps, `n` in a row.
fn bumps(n: f32) -> Vec<[u8; 4]> {
    texels(128, |u, v| {
        let (x, y) = ((u * n).fract() * 2.0 - 1.0, (v * n).fract() * 2.0 - 1.0);
        let inside = x * x + y * y < 0.8;
        let (x, y) = if inside { (x, -y) } else { (0.0, 0.0) };
        let z = (1.0 - x * x * 0.6 - y * y * 0.6).max(0.1).sqrt();
        [x * 0.4 + 0.5, y * 0.4 + 0.5, z * 0.5 + 0.5, 1.0]
    })
}

fn normal_map() -> Build {
    let material = |normal_scale| Material {
        normal_texture: texture(0),
        normal_scale,
        roughness: 0.3,
        double_sided: true,
        ..plastic(Vec3::new(0.3, 0.5, 0.7))
    };
    let turned = Affine3A::from_rotation_y(PI);
    let mirror = Affine3A::from_scale(Vec3::new(-1.0, 1.0, 1.0));
    Build::default()
        .image(128, 128, &bumps(6.0), Sampler::default())
        .add(ball(40), scaled(-1.2, 0.0, 0.75), material(1.0))
        .quad(scaled(0.2, 0.55, 0.5), material(1.0))
        .quad(scaled(1.35, 0.55, 0.5) * mirror, material(1.0))
        .quad(scaled(0.2, -0.55, 0.5) * turned, material(1.0))
        .quad(scaled(1.35, -0.55, 0.5), material(0.3))
}

fn occlusion() -> Build {
    let stripes = texels(64, |u, _| [if (u * 8.0).fract() < 0.5 { 0.2 } else { 1.0 }, 0.6, 0.0, 1.0]);
    let material = |occlusion_strength, shared: bool| Material {
        occlusion_texture: texture(0),
        metallic_roughness_texture: if shared { texture(0) } else { None },
        occlusion_strength,
        ..plastic(Vec3::splat(0.7))
    };
    Build::default()
        .image(64, 64, &stripes, Sampler::default())
        .add(ball(32), scaled(-1.3, 0.0, 0.6), material(1.0, false))
        .add(ball(32), scaled(0.0, 0.0, 0.6), material(0.5, false))
        .add(ball(32), scaled(1.3, 0.0, 0.6), material(1.0, true))
}

fn emissive() -> Build {
    let glow = texels(64, |u, v| [u, v, 1.0 - u, 1.0]);
    let material = |strength: f32, image: bool| Material {
        emissive: Vec3::new(1.0, 0.6, 0.2) * strength,
        emissive_texture: if image { texture(0) } else { None },
        ..plastic(Vec3::splat(0.02))
    };
    let mut build = Build::default().image(64, 64, &glow, Sampler::default());
    for (n, strength) in [0.2, 0.7, 2.0, 8.0].into_iter().enumerate() {
        let x = n as f32 - 1.5;
        build = build
            .add(ball(24), scaled(x, 0.55, 0.42), material(strength, false))
            .quad(scaled(x, -0.55, 0.42), material(strength, true));
    }
    build
}

fn alpha_mask() -> Build {
    let disc = texels(64, |u, v| {
        let far = Vec2::new(u - 0.5, v - 0.5).length();
        [0.9, 0.3, 0.1, 1.0 - far * 2.0]
    });
    let mask = |cutoff| Material {
        base_color_texture: texture(0),
        alpha_mode: AlphaMode::Mask { cutoff },
        double_sided: true,
        ..plastic(Vec3::ONE)
    };
    Build::default()
        .image(64, 64, &disc, Sampler::default())
        .image(64, 64, &checks(64, 8.0), Sampler::default())
        .quad(
            at(0.0, 0.0, -0.5) * Affine3A::from_scale(Vec3::splat(1.6)),
            Material { base_color_texture: texture(1), ..plastic(Vec3::ONE) },
        )
        .quad(scaled(-1.25, 0.0, 0.6), mask(0.2))
        .quad(scaled(0.0, 0.0, 0.6), mask(0.5))
        .quad(scaled(1.25, 0.0, 0.6), mask(0.8))
        .quad(
            at(0.0, 0.95, 0.6) * Affine3A::from_rotation_y(1.1) * Affine3A::from_scale(Vec3::splat(0.5)),
            mask(0.3),
        )
}

fn alpha_blend() -> Build {
    let pane = |r, g, b| Material {
        base_color: Vec4::new(r, g, b, 0.5),
        alpha_mode: AlphaMode::Blend,
        double_sided: true,
        roughness: 0.2,
        ..plastic(Vec3::ONE)
    };
    Build::default()
        .add(ball(24), scaled(0.0, 0.0, 0.4), plastic(Vec3::splat(0.8)))
        .quad(at(0.0, 0.0, 0.7), pane(0.9, 0.1, 0.1))
        .quad(at(0.3, 0.2, -0.7), pane(0.1, 0.9, 0.1))
        // Two that cross each other.
        .quad(Affine3A::from_rotation_y(FRAC_PI_4), pane(0.1, 0.2, 0.9))
        .quad(Affine3A::from_rotation_y(-FRAC_PI_4), pane(0.9, 0.8, 0.1))
}

/// A tube without ends around y, seen from outside.
fn tube(segments: u32) -> Primitive {
    let mut vertices = Vertices::default();
    let mut indices = Vec::new();
    for n in 0..=segments {
        let turn = n as f32 / segments as f32;
        let (sin, cos) = (turn * TAU).sin_cos();
        for y in [-1.0, 1.0] {
            vertices.positions.push(Vec3::new(sin, y, cos));
            vertices.normals.push(Vec3::new(sin, 0.0, cos));
            vertices.tangents.push(Vec4::new(cos, 0.0, -sin, 1.0));
            vertices.uv0.push(Vec2::new(turn, 0.5 - y * 0.5));
        }
        if n < segments {
            let a = n * 2;
            indices.extend([a, a + 2, a + 1, a + 1, a + 2, a + 3]);
        }
    }
    Primitive { vertices, indices, material: 0 }
}

fn double_sided() -> Build {
    let material = |double_sided| Material { double_sided, ..plastic(Vec3::new(0.7, 0.4, 0.2)) };
    Build::default().add(tube(32), scaled(-0.85, 0.0, 0.7), material(true)).add(
        tube(32),
        scaled(0.85, 0.0, 0.7),
        material(false),
    )
}

fn texture_transform() -> Build {
    let mut build = Build::default().image(64, 64, &checks(64, 4.0), Sampler::default());
    let transforms = [
        (Affine2::IDENTITY, 0),
        (Affine2::from_translation(Vec2::new(0.2, 0.1)), 0),
        (Affine2::from_angle(-0.5), 0),
        (Affine2::from_scale(Vec2::new(2.0, 0.5)), 0),
        (Affine2::from_scale_angle_translation(Vec2::splat(1.5), 0.7, Vec2::new(0.3, 0.0)), 0),
        (Affine2::from_scale(Vec2::new(1.0, 3.0)), 1),
    ];
    for (n, (image_from_uv, uv_set)) in transforms.into_iter().enumerate() {
        let place = scaled(n as f32 % 3.0 * 1.2 - 1.2, 0.6 - (n / 3) as f32 * 1.2, 0.52);
        let base_color_texture = Some(TextureUse { texture: 0, uv_set, image_from_uv });
        let material = Material { base_color_texture, ..unlit(1.0, 1.0, 1.0, 1.0) };
        let mut shape = if uv_set == 1 { ball(24) } else { quad() };
        if uv_set == 1 {
            // What the first coordinates say must not matter.
            shape.vertices.uv0.fill(Vec2::ZERO);
        }
        build = build.add(shape, place, material);
    }
    build
}

fn texture_wrap() -> Build {
    let mut build = Build::default();
    let arrow = texels(8, |u, v| if v > u { [0.9, 0.2, 0.1, 1.0] } else { [0.1, 0.3 + 0.6 * u, 0.8, 1.0] });
    let wraps = [Wrap::Repeat, Wrap::Mirror, Wrap::Clamp];
    for row in 0..2 {
        for (column, wrap) in wraps.into_iter().enumerate() {
            let sampler = Sampler { wrap_u: wrap, wrap_v: wraps[2 - column], nearest: row == 1 };
            let texture = build.0.textures.len() as u32;
            let image_from_uv =
                Affine2::from_scale_angle_translation(Vec2::splat(3.0), 0.0, Vec2::splat(-1.0));
            let base_color_texture = Some(TextureUse { texture, uv_set: 0, image_from_uv });
            let material = Material { base_color_texture, ..unlit(1.0, 1.0, 1.0, 1.0) };
            let place = scaled(column as f32 * 1.2 - 1.2, 0.6 - row as f32 * 1.2, 0.52);
            build = build.image(8, 8, &arrow, sampler).quad(place, material);
        }
    }
    build
}

/// A floor to walk along: the x-z plane, texture coordinates in metres.
fn floor(half: f32, per_metre: f32) -> Primitive {
    let mut shape = quad();
    for n in 0..4 {
        let p = shape.vertices.positions[n] * half;
        shape.vertices.positions[n] = Vec3::new(p.x, 0.0, -p.y);
        shape.vertices.normals[n] = Vec3::Y;
        shape.vertices.uv0[n] = Vec2::new(p.x, -p.y) * per_metre;
    }
    shape
}

fn texture_levels() -> Build {
    let material = Material { base_color_texture: texture(0), ..unlit(1.0, 1.0, 1.0, 1.0) };
    Build::default().image(256, 256, &checks(256, 16.0), Sampler::default()).add(
        floor(60.0, 0.25),
        Affine3A::IDENTITY,
        material,
    )
}

fn vertex_colors() -> Build {
    let mut corners = cube();
    let side = |p: f32| if p > 0.0 { 255 } else { 20 };
    corners.vertices.colors =
        corners.vertices.positions.iter().map(|p| [side(p.x), side(p.y), side(p.z), 255]).collect();
    Build::default().add(corners, scaled(-0.9, 0.0, 0.55), plastic(Vec3::ONE)).add(
        ball(32),
        scaled(0.9, 0.0, 0.75),
        plastic(Vec3::new(0.9, 0.9, 0.3)),
    )
}

/// Ramps: what comes out of greys, of colours, and of light that is too bright.
fn tone_mapping() -> Build {
    let mut build = Build::default();
    for n in 0..12 {
        let x = n as f32 * 0.29 - 1.6;
        let size = Vec3::new(0.14, 0.22, 1.0);
        let place = |y: f32| at(x, y, 0.0) * Affine3A::from_scale(size);
        let share = n as f32 / 11.0;
        let light = 0.05 * 1.7f32.powi(n);
        let glow = |color: Vec3| Material {
            emissive: color * light,
            coating: Some(Box::new(Coating { specular: 0.0, ..Coating::default() })),
            ..plastic(Vec3::ZERO)
        };
        build = build
            .quad(place(1.1), unlit(share, share, share, 1.0))
            .quad(place(0.55), unlit(share, 0.5 * share, 1.0 - share, 1.0))
            .quad(place(0.0), glow(Vec3::ONE))
            .quad(place(-0.55), glow(Vec3::new(1.0, 0.1, 0.05)))
            .quad(place(-1.1), glow(Vec3::new(0.05, 0.2, 1.0)));
    }
    build
}

/// A floor and three balls below one lamp.
fn lit(kind: LightKind, strength: f32) -> Build {
    let down = at(0.4, 1.6, 0.6) * Affine3A::from_rotation_x(-FRAC_PI_2 + 0.3);
    let mut build = Build::default()
        .add(floor(1.9, 1.0), at(0.0, -0.6, 0.0), plastic(Vec3::splat(0.35)))
        .light(down, Vec3::new(1.0, 0.9, 0.7) * strength, 6.0, kind);
    for (n, (metallic, roughness)) in [(0.0, 0.25), (1.0, 0.35), (0.0, 1.0)].into_iter().enumerate() {
        let material = Material { metallic, roughness, ..plastic(Vec3::new(0.3, 0.35, 0.5)) };
        build = build.add(ball(32), scaled(n as f32 * 1.1 - 1.1, 0.0, 0.45), material);
    }
    build
}

/// Six balls with more and more of a coating, dark above and light below.
fn coated(coating: impl Fn(f32) -> Coating) -> Build {
    let mut build = Build::default();
    for n in 0..6 {
        let color = if n < 3 { Vec3::new(0.08, 0.06, 0.1) } else { Vec3::new(0.6, 0.25, 0.2) };
        let coating = Some(Box::new(coating((n % 3) as f32 / 2.0)));
        let material = Material { coating, roughness: 0.5, ..plastic(color) };
        let place = scaled((n % 3) as f32 * 1.25 - 1.25, 0.65 - (n / 3) as f32 * 1.3, 0.56);
        build = build.add(ball(40), place, material);
    }
    build.light(Affine3A::from_rotation_x(-0.9), Vec3::splat(0.8), 1.0, LightKind::Directional)
}

fn specular(share: f32) -> Coating {
    Coating {
        f0: 0.2,
        specular: share,
        specular_color: Vec3::new(1.0, 0.6, 1.0 - share),
        ..Coating::default()
    }
}

fn clearcoat(share: f32) -> Coating {
    Coating { clearcoat: share, clearcoat_roughness: 0.1, ..Coating::default() }
}

/// Bumps below smooth lacquer, in the lacquer alone, in both, and faint ones; quads from the front and mirrored.
fn clearcoat_normal() -> Build {
    let material = |below: bool, above: bool, scale| Material {
        normal_texture: if below { texture(0) } else { None },
        coating: Some(Box::new(Coating {
            clearcoat: 1.0,
            clearcoat_roughness: 0.1,
            clearcoat_normal_texture: if above { texture(1) } else { None },
            clearcoat_normal_scale: scale,
            ..Coating::default()
        })),
        metallic: 1.0,
        roughness: 0.5,
        ..plastic(Vec3::new(0.5, 0.12, 0.1))
    };
    let mirror = Affine3A::from_scale(Vec3::new(-1.0, 1.0, 1.0));
    Build::default()
        .image(128, 128, &bumps(8.0), Sampler::default())
        .image(128, 128, &bumps(3.0), Sampler::default())
        .add(ball(40), scaled(-1.35, 0.6, 0.56), material(true, false, 1.0))
        .add(ball(40), scaled(0.0, 0.6, 0.56), material(false, true, 1.0))
        .add(ball(40), scaled(1.35, 0.6, 0.56), material(true, true, 1.0))
        .quad(scaled(-1.35, -0.6, 0.5), material(false, true, 1.0))
        .quad(scaled(0.0, -0.6, 0.5) * mirror, material(false, true, 1.0))
        .add(ball(40), scaled(1.35, -0.6, 0.56), material(false, true, 0.3))
        .light(Affine3A::from_rotation_x(-0.9), Vec3::splat(0.8), 1.0, LightKind::Directional)
}

fn sheen(share: f32) -> Coating {
    Coating {
        sheen_color: Vec3::new(0.9, 0.9, 1.0) * share,
        sheen_roughness: 0.25 + share * 0.3,
        specular: 0.0,
        ..Coating::default()
    }
}

fn transmission() -> Build {
    let glass = |transmission, tint| Material {
        alpha_mode: AlphaMode::Blend,
        coating: Some(Box::new(Coating { transmission, tint, ..Coating::default() })),
        roughness: 0.05,
        ..plastic(Vec3::ONE)
    };
    Build::default()
        .image(64, 64, &checks(64, 8.0), Sampler::default())
        .quad(
            at(0.0, 0.0, -1.0) * Affine3A::from_scale(Vec3::splat(1.7)),
            Material { base_color_texture: texture(0), ..plastic(Vec3::ONE) },
        )
        .add(ball(40), scaled(-1.2, 0.0, 0.55), glass(0.5, Vec3::ONE))
        .add(ball(40), scaled(0.0, 0.0, 0.55), glass(1.0, Vec3::ONE))
        .add(ball(40), scaled(1.2, 0.0, 0.55), glass(1.0, Vec3::new(0.15, 0.8, 0.3)))
}

/// From within: walls beside and behind the eye, and one that almost touches it.
fn near_plane() -> Build {
    let wall = Material { base_color_texture: texture(0), double_sided: true, ..plastic(Vec3::ONE) };
    Build::default()
        .image(64, 64, &checks(64, 8.0), Sampler::default())
        .add(floor(40.0, 0.5), at(0.0, -0.6, 0.0), wall.clone())
        .add(tube(48), Affine3A::from_scale(Vec3::new(1.2, 0.8, 1.2)), wall)
        .quad(
            at(0.5, 0.2, 0.85) * Affine3A::from_rotation_y(1.4),
            Material { double_sided: true, ..plastic(Vec3::new(0.2, 0.5, 0.2)) },
        )
        .add(
            ball(24),
            at(-0.2, -0.4, -0.2) * Affine3A::from_scale(Vec3::splat(0.2)),
            plastic(Vec3::splat(0.8)),
        )
}

/// Triangles of hundreds of kilometres, far beyond what fixed point holds.
fn horizon() -> Build {
    let sea = Material { roughness: 0.2, ..plastic(Vec3::new(0.02, 0.1, 0.15)) };
    let tower = |x: f32, z: f32| at(x, 0.0, z) * Affine3A::from_scale(Vec3::new(0.5, 3.0, 0.5));
    Build::default()
        .add(floor(4e5, 0.0), Affine3A::IDENTITY, sea)
        .add(cube(), tower(12.0, -10.0), plastic(Vec3::new(0.8, 0.3, 0.2)))
        .add(cube(), tower(30.0, -40.0), plastic(Vec3::new(0.8, 0.6, 0.2)))
        .add(cube(), tower(190.0, -170.0), plastic(Vec3::new(0.8, 0.8, 0.8)))
}

/// Wires and slivers, narrower than pixels.
fn thin() -> Build {
    let mut build = Build::default();
    let black = unlit(0.01, 0.01, 0.01, 1.0);
    for n in 0..24 {
        let turn = Affine3A::from_rotation_z(n as f32 / 24.0 * PI);
        let width = 0.001 + n as f32 * 0.0004;
        build = build.quad(turn * Affine3A::from_scale(Vec3::new(1.5, width, 1.0)), black.clone());
    }
    build.add(tube(200), at(0.0, 0.0, 0.1) * Affine3A::from_scale(Vec3::new(1.0, 0.01, 0.05)), black)
}

/// Each with a determinant below 0, some squeezed and sheared.
fn mirrored() -> Build {
    let material = Material { base_color_texture: texture(0), ..plastic(Vec3::ONE) };
    let sheared = Affine3A::from_mat3(Mat3::from_cols(
        Vec3::new(-0.6, 0.2, 0.0),
        Vec3::new(0.3, 0.5, 0.0),
        Vec3::new(0.0, 0.2, 0.6),
    ));
    Build::default()
        .image(64, 64, &checks(64, 4.0), Sampler::default())
        .add(ball(32), at(-1.3, 0.0, 0.0) * Affine3A::from_scale(Vec3::new(-0.6, 0.6, 0.6)), material.clone())
        .add(ball(32), at(0.0, 0.0, 0.0) * Affine3A::from_scale(Vec3::new(0.3, -0.9, 0.5)), material.clone())
        .add(ball(32), at(1.3, 0.0, 0.0) * sheared, material)
}

/// 1000 nodes of one mesh.
fn instances() -> Build {
    let mut build = Build::default().add(cube(), Affine3A::IDENTITY, plastic(Vec3::new(0.5, 0.55, 0.6)));
    let node = build.0.nodes.remove(0);
    for n in 0..1000u32 {
        let [x, y, z] = [n % 10, n / 10 % 10, n / 100].map(|n| n as f32 * 0.36 - 1.62);
        let turn = Affine3A::from_rotation_y(n as f32 * 0.37);
        let parent_from_node = at(x, y, z) * turn * Affine3A::from_scale(Vec3::splat(0.08));
        build.0.nodes.push(scene::Node { parent_from_node, ..node.clone() });
    }
    build
}
