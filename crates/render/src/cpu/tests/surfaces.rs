//! Lamps and coatings, against the formulas of their specifications.

use std::f32::consts::{FRAC_1_PI, FRAC_PI_2, FRAC_PI_3, PI};

use scene::{Coating, LightKind};

use super::*;
use crate::color::linear_from_srgb;
use crate::cpu::lamps::{Answer, Gloss};
use crate::cpu::split_sum::SplitSum;
use crate::simd::{Float, Isa, Portable};

/// Grey and perfectly diffuse.
fn chalk() -> Material {
    let coating = Coating { f0: 0.0, specular: 0.0, ..Coating::default() };
    coated(Vec3::splat(0.5), coating)
}

fn coated(color: Vec3, coating: Coating) -> Material {
    Material {
        base_color: color.extend(1.0),
        metallic: 0.0,
        coating: Some(Box::new(coating)),
        ..Material::default()
    }
}

/// Linear red of the middle. Between 0.04 and 0.76 it is the scene's light less 0.04.
fn red(build: &Build) -> f32 {
    let [red, ..] = rgb(build, &view_from(4.0), MIDDLE.0, MIDDLE.1);
    linear_from_srgb(red as f32 / 255.0)
}

/// What one lamp adds to the middle of a chalk quad that faces the camera, for each unit of `albedo / pi`.
fn added(lamp: impl Fn(Build) -> Build, quad: Affine3A) -> f32 {
    let dark = Build::default().quad(quad, chalk());
    let lit = lamp(dark.clone());
    (red(&lit) - red(&dark)) / (0.5 * FRAC_1_PI)
}

#[test]
fn a_directional_light_gives_its_lux_times_the_cosine() {
    let sun = |turn: f32| {
        move |b: Build| {
            b.light(Affine3A::from_rotation_x(turn), Vec3::splat(1.5), f32::INFINITY, LightKind::Directional)
        }
    };
    let flat = Affine3A::IDENTITY;
    assert!((added(sun(0.0), flat) - 1.5).abs() < 0.05, "{}", added(sun(0.0), flat));
    assert!((added(sun(-FRAC_PI_3), flat) - 0.75).abs() < 0.05, "{}", added(sun(-FRAC_PI_3), flat));
    // From behind it adds nothing.
    assert_eq!(added(sun(PI), flat), 0.0);
    // Scaled and far away it is the same light.
    let far = |b: Build| {
        let at =
            Affine3A::from_scale_rotation_translation(Vec3::splat(0.01), Quat::IDENTITY, Vec3::splat(1e4));
        b.light(at, Vec3::splat(1.5), 1.0, LightKind::Directional)
    };
    assert_eq!(added(far, flat), added(sun(0.0), flat));
}

#[test]
fn a_point_light_fades_with_the_square_of_the_distance_and_ends_at_its_range() {
    let lamp = |z: f32, range_m: f32| {
        move |b: Build| b.light(at(0.0, 0.0, z), Vec3::splat(6.0), range_m, LightKind::Point)
    };
    let flat = Affine3A::IDENTITY;
    let near = added(lamp(2.0, f32::INFINITY), flat);
    assert!((near - 1.5).abs() < 0.05, "{near}");
    let far = added(lamp(4.0, f32::INFINITY), flat);
    assert!((far - 0.375).abs() < 0.05, "{far}");
    // 1 - (1/2)^4 of it.
    let fading = added(lamp(2.0, 4.0), flat);
    assert!((fading - 1.5 * 15.0 / 16.0).abs() < 0.05, "{fading}");
    assert_eq!(added(lamp(2.0, 2.0), flat), 0.0);
    // A quad that is three times as large and as far from the origin of its mesh sees the same lamp.
    let large = Affine3A::from_scale(Vec3::splat(3.0));
    let same = added(lamp(2.0, f32::INFINITY), large);
    assert!((same - near).abs() < 0.03, "{same}");
}

#[test]
fn the_sun_in_its_real_lux_does_not_burn_the_picture() {
    let sun =
        |lux: f32| move |b: Build| b.light(at(0.0, 0.0, 9.0), Vec3::splat(lux), 1.0, LightKind::Directional);
    let flat = Affine3A::IDENTITY;
    let [bright, brightest] = [added(sun(4.0), flat), added(sun(100_000.0), flat)];
    assert_eq!(bright, brightest);
    // A weaker lamp is dimmed with it.
    let both = |b: Build| {
        let b = sun(100_000.0)(b);
        b.light(at(0.0, 0.0, 2.0), Vec3::splat(6.0), f32::INFINITY, LightKind::Point)
    };
    assert_eq!(added(both, flat), brightest);
}

#[test]
fn a_spot_shines_in_its_cone() {
    let spot = |x: f32, inner_rad: f32, outer_rad: f32| {
        let kind = LightKind::Spot { inner_rad, outer_rad };
        move |b: Build| b.light(at(x, 0.0, 2.0), Vec3::splat(6.0), f32::INFINITY, kind)
    };
    let flat = Affine3A::IDENTITY;
    let straight = added(spot(0.0, 0.1, 0.2), flat);
    assert!((straight - 1.5).abs() < 0.05, "{straight}");
    // The middle is 45 degrees off the axis: outside, inside, and half-way between the cosines.
    assert_eq!(added(spot(2.0, 0.1, 0.7), flat), 0.0);
    let [cosine, squared] = [0.5_f32.sqrt(), 8.0];
    let inside = added(spot(2.0, 0.9, 1.0), flat);
    assert!((inside - 6.0 / squared * cosine).abs() < 0.04, "{inside}");
    let between = added(spot(2.0, (cosine + 0.1).acos(), (cosine - 0.1).acos()), flat);
    assert!((between - 6.0 / squared * cosine * 0.25).abs() < 0.04, "{between}");
}

/// What a white gloss without diffuse part reflects of light from everywhere, and the share of it that is grazing.
fn reflected(roughness: f32, facing: f32) -> [f32; 2] {
    const STEPS: usize = 256;
    let splat = <Portable as Isa>::F::splat;
    let to_eye = [(1.0 - facing * facing).sqrt(), 0.0, facing].map(splat);
    let normal = [0.0, 0.0, 1.0].map(splat);
    let gloss = Gloss::<Portable> { normal, to_eye, facing: splat(facing), roughness: splat(roughness) };
    let mut sums = [0.0; 2];
    for i in 0..STEPS {
        let theta = (i as f32 + 0.5) / STEPS as f32 * FRAC_PI_2;
        for j in 0..STEPS {
            let phi = (j as f32 + 0.5) / STEPS as f32 * PI;
            let to_lamp = [theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()].map(splat);
            let Answer { cosine, highlight, grazing } = gloss.answer(to_lamp);
            let weight = (cosine * highlight).array()[0] * theta.sin();
            sums[0] += weight;
            sums[1] += weight * grazing.array()[0];
        }
    }
    sums.map(|sum| sum * (FRAC_PI_2 / STEPS as f32) * (PI / STEPS as f32) * 2.0)
}

#[test]
fn highlights_lose_light_with_roughness_alone_and_never_gain() {
    for facing in [0.3_f32, 0.6, 1.0] {
        let all: Vec<f32> = [0.3, 0.5, 0.8, 1.0].map(|roughness| reflected(roughness, facing)[0]).to_vec();
        assert!(all[0] > 0.93 && all[0] < 1.005, "{facing}: {all:?}");
        assert!(all.windows(2).all(|pair| pair[1] < pair[0]), "{facing}: {all:?}");
    }
    // With alpha = 1 the integral has a closed form: that of x / (x + 1) from 0 to 1.
    let rough = reflected(1.0, 1.0)[0];
    assert!((rough - (1.0 - std::f32::consts::LN_2)).abs() < 1e-3, "{rough}");
    // Head-on nothing grazes a smooth surface; from the side much does.
    assert!(reflected(0.3, 1.0)[1] < 0.01);
    assert!(reflected(0.3, 0.3)[1] > 0.1);
}

#[test]
fn surroundings_and_lamps_see_the_same_gloss() {
    for roughness in [0.3_f32, 0.4, 0.6, 0.8, 1.0] {
        for facing in [0.1_f32, 0.3, 0.6, 1.0] {
            let [all, grazing] = reflected(roughness, facing);
            let splat = <Portable as Isa>::F::splat;
            let of = SplitSum::get().at::<Portable>(splat(roughness), splat(facing), true);
            let [scale, bias] = of.map(|x| x.array()[0]);
            assert!((scale + bias - all).abs() < 0.012, "{roughness} {facing}: {scale} + {bias}, not {all}");
            assert!((bias - grazing).abs() < 0.012, "{roughness} {facing}: {bias}, not {grazing}");
        }
    }
}

#[test]
fn white_surfaces_lose_and_gain_nothing_in_a_white_furnace() {
    // Half transparent before black, so that too much light would show as well.
    let wall = at(0.0, 0.0, -1.5) * Affine3A::from_scale(Vec3::splat(4.0));
    let look = Look { sky: Sky::Even, tone_mapping: ToneMapping::Clipped, ..Look::default() };
    let view = View { look, ..view_from(4.0) };
    for (metallic, roughness) in
        [(1.0, 0.0), (1.0, 0.25), (1.0, 0.5), (1.0, 0.75), (1.0, 1.0), (0.0, 0.0), (0.0, 0.4), (0.0, 1.0)]
    {
        let white = Material {
            base_color: Vec4::new(1.0, 1.0, 1.0, 0.5),
            metallic,
            roughness,
            alpha_mode: AlphaMode::Blend,
            ..Material::default()
        };
        let mut ball = sphere(48);
        ball.vertices.colors.clear();
        let build =
            Build::default().quad(wall, unlit(0.0, 0.0, 0.0, 1.0)).add(ball, Affine3A::IDENTITY, white);
        // The rim is 14.9 pixels from the middle.
        for x in [0, 4, 8, 11, 13] {
            for light in
                rgb(&build, &view, W / 2 + x, H / 2).map(|code| linear_from_srgb(code as f32 / 255.0))
            {
                assert!((light - 0.5).abs() < 0.01, "metal {metallic}, roughness {roughness}, {x}: {light}");
            }
        }
    }
}

#[test]
fn who_turns_with_the_surroundings_sees_the_same() {
    let turn = Quat::from_rotation_y(1.1);
    let shiny = Material { roughness: 0.2, ..Material::default() };
    let mut ball = sphere(64);
    ball.vertices.colors.clear();
    let scene = Build::default().add(ball, Affine3A::IDENTITY, shiny).scene();
    let still = |view: &View| Renderer::new(threads(1)).still(&scene, view, 8);
    let here = view_from(4.0);
    let look = Look { sky_yaw: 1.1, ..Look::default() };
    let there = View { eye: turn * here.eye, orientation: turn, look, ..here };
    let same = psnr(&still(&here), &still(&there));
    assert!(same > 42.0, "{same} dB");
    let other = psnr(&still(&here), &still(&View { look: Look::default(), ..there }));
    assert!(other < 30.0, "{other} dB");
}

#[test]
fn textures_of_coatings_multiply_their_factors() {
    let texel = |texel: [u8; 4]| Build::default().image(1, 1, &[texel], Sampler::default());
    let picture = |build: Build, coating: Coating| {
        let lit = build.quad(Affine3A::IDENTITY, coated(Vec3::new(0.3, 0.2, 0.1), coating)).light(
            at(0.0, 0.5, 3.0),
            Vec3::splat(3.0),
            f32::INFINITY,
            LightKind::Point,
        );
        rgb(&lit, &view_from(4.0), MIDDLE.0, MIDDLE.1)
    };
    let nothing = || Coating::default();
    let with = |coating| picture(texel([0; 4]), coating);
    let plain = with(nothing());

    let clearcoat = |clearcoat_texture| Coating { clearcoat: 1.0, clearcoat_texture, ..nothing() };
    assert_eq!(picture(texel([0, 255, 255, 255]), clearcoat(texture(0))), plain);
    assert_ne!(with(clearcoat(None)), plain);
    assert_eq!(picture(texel([255, 0, 0, 0]), clearcoat(texture(0))), with(clearcoat(None)));

    let roughness = |clearcoat_roughness, clearcoat_roughness_texture| Coating {
        clearcoat_roughness,
        clearcoat_roughness_texture,
        ..clearcoat(None)
    };
    assert_eq!(picture(texel([0, 51, 0, 0]), roughness(1.0, texture(0))), with(roughness(0.2, None)));

    let specular = |specular, specular_texture| Coating { specular, specular_texture, ..nothing() };
    assert_eq!(picture(texel([0, 0, 0, 51]), specular(1.0, texture(0))), with(specular(0.2, None)));
    assert_ne!(with(specular(0.2, None)), plain);

    let tinted = |specular_color, specular_color_texture| Coating {
        specular_color,
        specular_color_texture,
        ..nothing()
    };
    let blue = Vec3::new(0.0, 0.0, 1.0);
    assert_eq!(picture(texel([0, 0, 255, 0]), tinted(Vec3::ONE, texture(0))), with(tinted(blue, None)));

    let sheen = |sheen_color, sheen_color_texture| Coating {
        sheen_color,
        sheen_color_texture,
        sheen_roughness: 0.5,
        ..nothing()
    };
    assert_eq!(picture(texel([0, 0, 255, 0]), sheen(Vec3::ONE, texture(0))), with(sheen(blue, None)));
    assert_ne!(with(sheen(blue, None)), plain);
}

/// Bumps on a ball, and on quads as seen from behind and mirrored.
fn bumpy(material: &Material) -> Vec<u8> {
    let half = |x: f32, y: f32| at(x, y, 0.0) * Affine3A::from_scale(Vec3::splat(0.45));
    let bumps: Vec<[u8; 4]> = (0..32 * 32u32)
        .map(|n| {
            let wave = |x: u32| (f32::from((x % 32) as u16) * PI / 8.0).sin() * 0.25 + 0.5;
            [wave(n), wave(n / 32 + 3), 0.95, 1.0].map(|x| (x * 255.0) as u8)
        })
        .collect();
    let build = Build::default()
        .image(32, 32, &bumps, Sampler::default())
        .image(1, 1, &[[200, 90, 220, 255]], Sampler::default())
        .add(sphere(32), half(-0.5, 0.5), material.clone())
        .quad(half(0.5, 0.5), material.clone())
        .quad(half(-0.5, -0.5) * Affine3A::from_rotation_y(PI), material.clone())
        .quad(half(0.5, -0.5) * Affine3A::from_scale(Vec3::new(-1.0, 1.0, 1.0)), material.clone())
        .light(Affine3A::from_rotation_x(-0.4), Vec3::splat(1.5), 1.0, LightKind::Directional);
    Renderer::new(threads(1)).still(&build.scene(), &View { width: 128, height: 96, ..view_from(2.6) }, 4)
}

#[test]
fn lacquer_has_bumps_of_its_own_alone() {
    let lacquer = |clearcoat_normal_texture, clearcoat_normal_scale, normal_texture| Material {
        normal_texture,
        double_sided: true,
        ..coated(
            Vec3::ZERO,
            Coating {
                specular: 0.0,
                clearcoat: 1.0,
                clearcoat_roughness: 0.3,
                clearcoat_normal_texture,
                clearcoat_normal_scale,
                ..Coating::default()
            },
        )
    };
    // Lacquer on black is black plastic, but for what bounces twice.
    let plastic = |normal_texture, normal_scale| Material {
        normal_texture,
        normal_scale,
        roughness: 0.3,
        double_sided: true,
        ..coated(Vec3::ZERO, Coating::default())
    };
    for (map, scale) in [(None, 1.0), (texture(0), 1.0), (texture(0), -0.4), (texture(1), 1.0)] {
        let own = bumpy(&lacquer(map, scale, None));
        let same = psnr(&own, &bumpy(&plastic(map, scale)));
        assert!(same > 50.0, "{same} dB with {map:?} times {scale}");
        // The surface's bumps do not show in it, with or without bumps of its own.
        assert_eq!(own, bumpy(&lacquer(map, scale, texture(0))));
    }
    let (smooth, bumps) = (bumpy(&plastic(None, 1.0)), bumpy(&plastic(texture(0), 1.0)));
    assert!(psnr(&smooth, &bumps) < 35.0, "{} dB", psnr(&smooth, &bumps));
}

#[test]
fn a_surface_without_reflection_is_as_black_as_its_color() {
    let black = |coating| Build::default().quad(Affine3A::IDENTITY, coated(Vec3::ZERO, coating));
    let middle = |build: &Build| rgb(build, &view_from(4.0), MIDDLE.0, MIDDLE.1);
    let matte = Coating { specular: 0.0, ..Coating::default() };
    assert_eq!(middle(&black(matte)), [0; 3]);
    // Diamond reflects more than water.
    let of = |ior: f32| Coating { f0: ((ior - 1.0) / (ior + 1.0)).powi(2), ..Coating::default() };
    assert!(middle(&black(of(2.42)))[0] > middle(&black(of(1.33)))[0] + 20);
}

#[test]
fn sheen_glows_at_the_rim() {
    let cloth = Coating { sheen_color: Vec3::ONE, sheen_roughness: 0.4, specular: 0.0, ..Coating::default() };
    let ball = Build::default().add(sphere(48), Affine3A::IDENTITY, coated(Vec3::ZERO, cloth));
    let view = view_from(4.0);
    let [middle, ..] = rgb(&ball, &view, W / 2, H / 2);
    // The rim is 14.9 pixels from the middle.
    let [rim, ..] = rgb(&ball, &view, W / 2 + 13, H / 2);
    assert!(rim > middle + 15, "{rim} {middle}");
}

#[test]
fn glass_shows_what_is_behind_and_reflects_as_much_as_opaque_black() {
    let red = unlit(0.8, 0.0, 0.0, 1.0);
    let pane = |color: Vec3, transmission: f32| Material {
        alpha_mode: AlphaMode::Blend,
        ..coated(color, Coating { transmission, ..Coating::default() })
    };
    let seen = |behind: Option<Material>, front: Material| {
        let mut build = Build::default().quad(at(0.0, 0.0, 0.0), front);
        if let Some(behind) = behind {
            build = build.quad(at(0.0, 0.0, -1.0) * Affine3A::from_scale(Vec3::splat(3.0)), behind);
        }
        rgb(&build, &view_from(4.0), MIDDLE.0, MIDDLE.1)
    };
    let clear = seen(Some(red.clone()), pane(Vec3::ONE, 1.0));
    assert!(clear[0] > 200 && clear[1] < 90, "{clear:?}");
    assert!(seen(Some(red.clone()), pane(Vec3::ONE, 0.0))[1] > 150, "paint hides it");
    // What comes through green glass is green.
    let mut bottle = pane(Vec3::ONE, 1.0);
    bottle.coating =
        Some(Box::new(Coating { transmission: 1.0, tint: Vec3::new(0.1, 0.8, 0.2), ..Coating::default() }));
    let [r, g, b] = seen(Some(unlit(0.8, 0.8, 0.8, 1.0)), bottle);
    assert!(g > r + 60 && g > b + 40, "{r} {g} {b}");
    // In front of black, glass shows its reflections, as black paint does.
    let black = unlit(0.0, 0.0, 0.0, 1.0);
    let glass = seen(Some(black), pane(Vec3::ONE, 1.0));
    let paint = seen(None, pane(Vec3::ZERO, 0.0));
    assert!(glass.iter().zip(paint).all(|(a, b)| (a - b).abs() <= 6), "{glass:?} {paint:?}");
}

/// Lamps and coatings of all kinds over the scene with everything.
fn all_surfaces() -> Build {
    let mut build = everything();
    for (n, material) in build.0.materials.iter_mut().enumerate() {
        let share = n as f32 / 6.0;
        material.coating = Some(Box::new(Coating {
            specular_color: Vec3::new(1.0, share, 0.5),
            specular_texture: texture(1),
            clearcoat: share,
            clearcoat_roughness: 0.2,
            clearcoat_texture: texture(0),
            clearcoat_normal_texture: texture(1),
            sheen_color: Vec3::new(share, 0.2, 1.0 - share),
            sheen_roughness: 0.3,
            transmission: 0.5,
            tint: Vec3::new(0.9, 0.5, 1.0),
            ..Coating::default()
        }));
    }
    build
        .light(Affine3A::from_rotation_x(-0.5), Vec3::new(2.0, 1.0, 0.5), 1.0, LightKind::Directional)
        .light(at(1.0, 1.0, 2.0), Vec3::splat(4.0), 6.0, LightKind::Point)
        .light(
            at(-1.0, 0.5, 3.0),
            Vec3::new(0.0, 3.0, 9.0),
            f32::INFINITY,
            LightKind::Spot { inner_rad: 0.2, outer_rad: 0.5 },
        )
}

#[test]
fn every_instruction_set_shades_all_surfaces_alike() {
    let scene = all_surfaces().scene();
    let view = View { width: 200, height: 150, ..view_from(4.0) };
    let draw = |level, n| {
        let mut out = Yuv420::default();
        Renderer::with_level(threads(n), level).render(&scene, &view, &mut out);
        out
    };
    let (a, b) = (draw(Level::detect(), 2), draw(Level::Portable, 1));
    for (a, b) in [(&a.y, &b.y), (&a.u, &b.u), (&a.v, &b.v)] {
        let db = psnr(a, b);
        assert!(db > 48.0, "{db} dB");
    }
    assert_eq!(a, draw(Level::detect(), 1));
}
