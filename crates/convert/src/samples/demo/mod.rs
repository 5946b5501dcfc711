//! The demo: a nine-cylinder radial engine on a stand, its reduction gear behind glass.
//!
//! ```text
//!  y                 cylinder 1 (of 9, around z)
//!  │   magnetos ┐ ╔═══╗ ┌ pushrods, ignition leads
//!  │   carburettor╢   ╟── gear case: ring gear, six planets, sun, carrier
//!  └──── z        ╚═╤═╝   propeller shaft
//!                 stand, engraved ring, display
//! ```
//!
//! Sizes are metres, the crankshaft is the z axis, the propeller is in front (+z). Parts that repeat are one mesh that
//! many nodes show.

mod looks;

use std::f32::consts::{PI, TAU};

use scene::math::{Affine3A, Quat, Vec2, Vec3};

use self::looks::Look;
use super::{
    noise::Random,
    solid::{Contour, Solid, around, bevelled, bolt, circle, gear, rounded, through},
};
use crate::write::{Glb, Index};

const N_CYLINDERS: usize = 9;
/// From the crankshaft to the cylinders' feet.
const FOOT_M: f32 = 0.20;
/// From the crankshaft to the floor.
const FLOOR_M: f32 = 0.65;

const SUN_TEETH: usize = 30;
const PLANET_TEETH: usize = 21;
/// Ring and sun together are a multiple of the number of planets, or they could not be assembled.
const RING_TEETH: usize = SUN_TEETH + 2 * PLANET_TEETH;
const N_PLANETS: usize = 6;
const MODULE_M: f32 = 0.004;

/// A GLB of the demo model. Always the same bytes.
pub fn demo() -> Vec<u8> {
    let (pictures, meshes) = std::thread::scope(|scope| {
        let pictures =
            std::thread::Builder::new().name("textures".to_owned()).spawn_scoped(scope, looks::draw);
        let meshes = machine();
        // Without a thread they are drawn here.
        (pictures.ok().and_then(|p| p.join().ok()).unwrap_or_else(looks::draw), meshes)
    });
    let mut glb = Glb::new();
    let material = looks::add(&mut glb, &pictures);
    meshes.write(&mut glb, material)
}

/// A mesh: pieces by material.
struct Part {
    name: &'static str,
    pieces: Vec<(Look, Solid)>,
}

struct Placed {
    name: String,
    parent: Option<Index>,
    transform: Affine3A,
    part: Option<Index>,
}

/// Parts and where they are.
#[derive(Default)]
struct Machine {
    parts: Vec<Part>,
    nodes: Vec<Placed>,
}

impl Machine {
    fn part(&mut self, name: &'static str, pieces: Vec<(Look, Solid)>) -> Index {
        self.parts.push(Part { name, pieces });
        self.parts.len() - 1
    }

    fn place(
        &mut self,
        name: impl Into<String>,
        parent: Option<Index>,
        transform: Affine3A,
        part: Option<Index>,
    ) -> Index {
        self.nodes.push(Placed { name: name.into(), parent, transform, part });
        self.nodes.len() - 1
    }

    /// A part that is shown once.
    fn single(&mut self, name: &'static str, parent: Index, transform: Affine3A, pieces: Vec<(Look, Solid)>) {
        let part = self.part(name, pieces);
        self.place(name, Some(parent), transform, Some(part));
    }

    fn write(self, glb: &mut Glb, material: impl Fn(Look) -> Index) -> Vec<u8> {
        let meshes: Vec<Index> = self
            .parts
            .iter()
            .map(|part| {
                let pieces: Vec<_> = part
                    .pieces
                    .iter()
                    .map(|(look, solid)| (solid.finish(50.0), Some(material(*look))))
                    .collect();
                let pieces: Vec<_> =
                    pieces.iter().map(|(geometry, material)| (geometry, *material)).collect();
                glb.mesh(part.name, &pieces)
            })
            .collect();
        let mut indices: Vec<Index> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let parent = node.parent.map(|parent| indices[parent]);
            indices.push(glb.node(&node.name, parent, node.transform, node.part.map(|part| meshes[part])));
        }
        std::mem::take(glb).finish()
    }
}

fn at(x: f32, y: f32, z: f32) -> Affine3A {
    Affine3A::from_translation(Vec3::new(x, y, z))
}

/// Lays what was built around y along z.
fn along_z() -> Affine3A {
    Affine3A::from_quat(Quat::from_rotation_x(PI * 0.5))
}

/// About the crankshaft.
fn turned(angle: f32) -> Affine3A {
    Affine3A::from_quat(Quat::from_rotation_z(angle))
}

fn lathe(profile: &[(f32, f32)], bevel: f32, n: usize, turns: f32) -> Solid {
    Solid::lathe(&bevelled(profile, bevel), n, turns)
}

/// `n` copies in a ring of `radius` about y.
fn ring_of(solid: &Solid, n: usize, radius: f32, phase: f32, y: f32) -> Solid {
    let mut out = Solid::default();
    for i in 0..n {
        let turn = Affine3A::from_quat(Quat::from_rotation_y(TAU * (i as f32 + phase) / n as f32));
        out.add(solid, turn * at(radius, y, 0.0));
    }
    out
}

fn machine() -> Machine {
    let mut machine = Machine::default();
    let root = machine.place("demo", None, Affine3A::IDENTITY, None);
    let engine = machine.place("radial engine", Some(root), at(0.0, FLOOR_M, 0.0), None);
    crankcase(&mut machine, engine);
    cylinders(&mut machine, engine);
    reduction_gear(&mut machine, engine);
    accessories(&mut machine, engine);
    let stand = machine.place("stand", Some(root), Affine3A::IDENTITY, None);
    self::stand(&mut machine, stand);
    machine
}

fn crankcase(machine: &mut Machine, engine: Index) {
    let drum = lathe(
        &[
            (0.05, -0.115),
            (0.165, -0.115),
            (0.165, -0.095),
            (0.185, -0.085),
            (0.185, 0.085),
            (0.165, 0.095),
            (0.178, 0.098),
            (0.178, 0.112),
            (0.05, 0.112),
        ],
        0.004,
        108,
        6.0,
    );
    let pad = lathe(&[(0.0, 0.0), (0.074, 0.0), (0.070, 0.052), (0.0, 0.052)], 0.003, 40, 2.0);
    let mut paint = drum;
    for i in 0..N_CYLINDERS {
        let angle = TAU * i as f32 / N_CYLINDERS as f32;
        // The drum lies along y here, so the cylinders point to where z and x are.
        let turn = Affine3A::from_quat(Quat::from_rotation_y(angle) * Quat::from_rotation_x(-PI * 0.5));
        paint.add(&pad, turn * at(0.0, FOOT_M - 0.052, 0.0));
    }
    let bolts = ring_of(&bolt(0.0075), 36, 0.1712, 0.5, 0.112);
    machine.single("crankcase", engine, along_z(), vec![(Look::Paint, paint), (Look::Steel, bolts)]);
}

/// A plate with a rounded rectangle for its outline.
fn plate(width: f32, depth: f32, corner: f32, y0: f32, y1: f32, bevel: f32) -> Solid {
    Solid::extrude(&rounded(width, depth, corner, 4), None, y0, y1, bevel)
}

fn cylinders(machine: &mut Machine, engine: Index) {
    let barrel = barrel(machine);
    let head = head(machine);
    let rocker = rocker_box(machine);
    let valve_gear = valve_gear(machine);
    let plug = spark_plug(machine);
    let pipes = pipes(machine);
    let mut random = Random::new(1962);
    let group = machine.place("cylinders", Some(engine), Affine3A::IDENTITY, None);
    for i in 0..N_CYLINDERS {
        let transform = turned(TAU * i as f32 / N_CYLINDERS as f32) * at(0.0, FOOT_M, 0.0);
        let one = machine.place(format!("cylinder {}", i + 1), Some(group), transform, None);
        machine.place("barrel", Some(one), Affine3A::IDENTITY, Some(barrel));
        machine.place("head", Some(one), Affine3A::IDENTITY, Some(head));
        for (name, side) in [("intake rocker", 1.0), ("exhaust rocker", -1.0)] {
            let turn = Affine3A::from_quat(Quat::from_rotation_z(-0.42 * side));
            machine.place(name, Some(one), at(0.062 * side, 0.297, 0.0) * turn, Some(rocker));
        }
        machine.place("pushrods", Some(one), Affine3A::IDENTITY, Some(valve_gear));
        machine.place("front plug", Some(one), plug_place(1.0), Some(plug));
        machine.place("rear plug", Some(one), plug_place(-1.0), Some(plug));
        machine.place("pipes", Some(one), Affine3A::IDENTITY, Some(pipes));
        // No two leads hang alike.
        let sag = random.between(-0.008, 0.012);
        machine.single("ignition lead", one, Affine3A::IDENTITY, lead(sag));
    }
}

fn barrel(machine: &mut Machine) -> Index {
    let mut foot =
        lathe(&[(0.0, 0.0), (0.0655, 0.0), (0.0655, 0.011), (0.050, 0.013), (0.0, 0.013)], 0.0015, 36, 2.0);
    foot.add(&ring_of(&bolt(0.0058), 10, 0.0578, 0.5, 0.011), Affine3A::IDENTITY);
    // Each fin is one repetition of the texture, from root to root.
    let (root, n_fins, pitch) = (0.051, 13, 0.0112);
    let mut profile = vec![(root, 0.012, 0.0)];
    for fin in 0..n_fins {
        let y = 0.020 + pitch * fin as f32;
        let tip = 0.0705 + 0.003 * (fin as f32 / n_fins as f32);
        let v = fin as f32;
        profile.extend([
            (root, y - 0.0026, v + 0.02),
            (tip - 0.0008, y - 0.0013, v + 0.46),
            (tip, y, v + 0.50),
            (tip - 0.0008, y + 0.0013, v + 0.54),
            (root, y + 0.0026, v + 0.98),
        ]);
    }
    profile.push((root, 0.168, n_fins as f32));
    let fins = Solid::lathe_with_v(&profile, 28, 3.0);
    machine.part("barrel", vec![(Look::Steel, foot), (Look::Fins, fins)])
}

fn head(machine: &mut Machine) -> Index {
    let mut cast = lathe(&[(0.0, 0.158), (0.080, 0.158), (0.080, 0.172), (0.0, 0.172)], 0.002, 48, 2.0);
    cast.add(&plate(0.128, 0.112, 0.03, 0.165, 0.292, 0.004), Affine3A::IDENTITY);
    cast.add(&plate(0.092, 0.086, 0.02, 0.285, 0.306, 0.006), Affine3A::IDENTITY);
    let mut fins = Solid::default();
    let n_fins = 9;
    for i in 0..n_fins {
        let share = i as f32 / (n_fins - 1) as f32;
        let (width, depth) = (0.166 + 0.034 * share, 0.158 - 0.022 * share * share);
        let y = 0.180 + 0.0128 * i as f32;
        let outline = rounded(width, depth, 0.042, 4);
        fins.add(&Solid::shell(&outline, 0.045, y - 0.0016, y + 0.0016, 0.0007), Affine3A::IDENTITY);
    }
    // Bosses for the plugs, front and rear.
    let boss = lathe(&[(0.0, -0.03), (0.016, -0.03), (0.0145, 0.0), (0.0, 0.0)], 0.0015, 24, 1.0);
    for side in [1.0, -1.0] {
        cast.add(&boss, plug_place(side));
    }
    machine.part("head", vec![(Look::Cast, cast), (Look::Black, fins)])
}

fn rocker_box(machine: &mut Machine) -> Index {
    let mut body = plate(0.052, 0.118, 0.016, -0.028, 0.020, 0.003);
    body.add(&plate(0.058, 0.124, 0.018, 0.014, 0.022, 0.0015), Affine3A::IDENTITY);
    let mut lid = plate(0.058, 0.124, 0.018, 0.0225, 0.030, 0.002);
    lid.add(&plate(0.036, 0.098, 0.012, 0.028, 0.041, 0.005), Affine3A::IDENTITY);
    let mut bolts = Solid::default();
    for (x, z) in
        [(-0.023, -0.05), (0.023, -0.05), (-0.0245, 0.0), (0.0245, 0.0), (-0.023, 0.05), (0.023, 0.05)]
    {
        bolts.add(&bolt(0.0042), at(x, 0.030, z));
    }
    let mut cap =
        lathe(&[(0.0, 0.0), (0.013, 0.0), (0.013, 0.006), (0.009, 0.009), (0.0, 0.010)], 0.001, 18, 1.0);
    cap = cap.moved(along_z() * at(0.0, 0.059, 0.002));
    machine.part(
        "rocker box",
        vec![(Look::Paint, body), (Look::Cast, lid), (Look::Steel, bolts), (Look::Brass, cap)],
    )
}

/// Pushrod tubes with their glands.
fn valve_gear(machine: &mut Machine) -> Index {
    let (mut tubes, mut glands) = (Solid::default(), Solid::default());
    for side in [1.0_f32, -1.0] {
        let (low, high) = (Vec3::new(0.030 * side, -0.030, 0.088), Vec3::new(0.066 * side, 0.283, 0.064));
        let along = (high - low).normalize();
        tubes.add(&Solid::sweep(&[low, high], |_| 0.0082, 14, 1.0), Affine3A::IDENTITY);
        let gland = lathe(
            &[
                (0.0, -0.004),
                (0.0135, -0.004),
                (0.0135, 0.012),
                (0.0105, 0.020),
                (0.0105, 0.030),
                (0.0, 0.030),
            ],
            0.001,
            12,
            1.0,
        );
        for (end, direction) in [(low + along * 0.014, along), (high - along * 0.004, -along)] {
            let turn = Quat::from_rotation_arc(Vec3::Y, direction);
            glands.add(&gland, Affine3A::from_rotation_translation(turn, end));
        }
    }
    machine.part("pushrods", vec![(Look::Chrome, tubes), (Look::Black, glands)])
}

/// Where the front (1) or rear (-1) plug is screwed in; y points out.
fn plug_place(side: f32) -> Affine3A {
    let turn = Quat::from_rotation_x(PI * 0.5 * side - 0.35 * side);
    Affine3A::from_rotation_translation(turn, Vec3::new(0.0, 0.232, 0.082 * side))
}

fn spark_plug(machine: &mut Machine) -> Index {
    let hexagon = Solid::extrude(&circle(0.0125, 6), None, 0.002, 0.014, 0.0012);
    let mut steel = lathe(&[(0.0, 0.0), (0.013, 0.0), (0.013, 0.002), (0.0, 0.002)], 0.0005, 16, 1.0);
    steel.add(&hexagon, Affine3A::IDENTITY);
    let mut profile = vec![(0.0085, 0.014), (0.0085, 0.017)];
    for i in 0..4 {
        let y = 0.018 + 0.0045 * i as f32;
        profile.extend([(0.0068, y), (0.0082, y + 0.0014), (0.0082, y + 0.0024), (0.0068, y + 0.0038)]);
    }
    profile.extend([(0.0055, 0.038), (0.0055, 0.042)]);
    let insulator = Solid::lathe(&profile, 14, 1.0);
    let boot = lathe(
        &[(0.0, 0.036), (0.0085, 0.036), (0.0095, 0.040), (0.0095, 0.052), (0.0065, 0.062), (0.0, 0.062)],
        0.0012,
        14,
        1.0,
    );
    machine.part("spark plug", vec![(Look::Brass, steel), (Look::Ceramic, insulator), (Look::Red, boot)])
}

/// From the harness ring to the front plug.
fn lead(sag: f32) -> Vec<(Look, Solid)> {
    let plug = plug_place(1.0);
    let end = plug.transform_point3(Vec3::Y * 0.058);
    let out = plug.transform_vector3(Vec3::Y);
    let start = Vec3::new(0.004, 0.058, 0.118);
    let path = through(
        &[
            start,
            start + Vec3::new(0.004 + sag, 0.028, 0.016),
            start + Vec3::new(0.010 + sag, 0.085, 0.036 + sag),
            end + out * 0.030 + Vec3::new(sag * 0.6, -0.012, 0.004),
            end + out * 0.012,
            end,
        ],
        9,
    );
    let hose = Solid::sweep(&path, |_| 0.0052, 12, 2.0);
    let nut = Solid::extrude(&circle(0.0092, 6), None, -0.004, 0.012, 0.001);
    vec![(Look::Braid, hose), (Look::Brass, nut.moved(at(start.x, start.y, start.z)))]
}

/// Exhaust (heat-blued) and intake (painted) behind each cylinder.
fn pipes(machine: &mut Machine) -> Index {
    let exhaust = through(
        &[
            Vec3::new(-0.050, 0.262, -0.050),
            Vec3::new(-0.062, 0.262, -0.098),
            Vec3::new(-0.064, 0.230, -0.140),
            Vec3::new(-0.058, 0.175, -0.165),
            Vec3::new(-0.052, 0.130, -0.178),
        ],
        5,
    );
    let intake = through(
        &[
            Vec3::new(0.050, 0.262, -0.050),
            Vec3::new(0.058, 0.258, -0.092),
            Vec3::new(0.052, 0.205, -0.118),
            Vec3::new(0.040, 0.100, -0.122),
            Vec3::new(0.026, -0.010, -0.148),
        ],
        5,
    );
    let flange = |p: Vec3, q: Vec3, r: f32| {
        let disc = lathe(&[(0.0, -0.004), (r, -0.004), (r, 0.004), (0.0, 0.004)], 0.001, 28, 1.0);
        let mut out = disc;
        out.add(&ring_of(&bolt(0.0042), 4, r * 0.82, 0.5, 0.004), Affine3A::IDENTITY);
        out.moved(Affine3A::from_rotation_translation(
            Quat::from_rotation_arc(Vec3::Y, (q - p).normalize()),
            p,
        ))
    };
    let mut flanges = flange(exhaust[3], exhaust[4], 0.034);
    flanges.add(&flange(intake[3], intake[4], 0.030), Affine3A::IDENTITY);
    machine.part(
        "pipes",
        vec![
            (Look::Blued, Solid::sweep(&exhaust, |_| 0.0225, 16, 1.0)),
            (Look::Cast, Solid::sweep(&intake, |_| 0.0185, 14, 1.0)),
            (Look::Steel, flanges),
        ],
    )
}

fn reduction_gear(machine: &mut Machine, engine: Index) {
    let group = machine.place("reduction gear", Some(engine), at(0.0, 0.0, 0.112) * along_z(), None);
    // From here on y is forward. The case is open in front.
    let case = lathe(
        &[
            (0.168, 0.0),
            (0.186, 0.0),
            (0.186, 0.010),
            (0.176, 0.016),
            (0.178, 0.080),
            (0.190, 0.086),
            (0.190, 0.098),
            (0.166, 0.098),
            (0.166, 0.010),
            (0.02, 0.008),
        ],
        0.0025,
        108,
        6.0,
    );
    // The ignition harness rides on the case.
    let harness = Solid::torus(0.2565, 0.0105, 108, 18).moved(at(0.0, 0.007, 0.0));
    let mut brackets = Solid::default();
    let bracket = plate(0.075, 0.016, 0.004, -0.003, 0.003, 0.001);
    for i in 0..N_CYLINDERS {
        let turn = Quat::from_rotation_y(TAU * (i as f32 + 0.5) / N_CYLINDERS as f32);
        brackets.add(&bracket, Affine3A::from_quat(turn) * at(0.217, 0.006, 0.0));
    }
    machine.single(
        "gear case",
        group,
        Affine3A::IDENTITY,
        vec![(Look::Paint, case), (Look::Copper, harness), (Look::Steel, brackets)],
    );

    let pitch = |teeth: usize| teeth as f32 * MODULE_M * 0.5;
    let arm = pitch(SUN_TEETH) + pitch(PLANET_TEETH);
    let ring_teeth = gear(RING_TEETH, MODULE_M, 0.0);
    let ring = Solid::bore(&ring_teeth, 0.1665, 0.030, 0.068, 0.0009);
    machine.single("ring gear", group, Affine3A::IDENTITY, vec![(Look::Steel, ring)]);

    let outline = gear(SUN_TEETH, MODULE_M, 0.0001);
    let sun = Solid::extrude(&outline, Some(&around(&outline, 0.030)), 0.026, 0.074, 0.0009);
    machine.single("sun gear", group, Affine3A::IDENTITY, vec![(Look::Blued, sun)]);

    let planet = planet(machine);
    for k in 0..N_PLANETS {
        let angle = TAU * k as f32 / N_PLANETS as f32;
        // A gap of the planet meets a tooth of the sun: the planet rolls on it from where both are in phase.
        let spin = angle + PI - PI / PLANET_TEETH as f32 + angle * SUN_TEETH as f32 / PLANET_TEETH as f32;
        let place = Vec2::from_angle(angle) * arm;
        let transform = at(place.x, 0.031, -place.y) * Affine3A::from_quat(Quat::from_rotation_y(spin));
        machine.place(format!("planet {}", k + 1), Some(group), transform, Some(planet));
    }
    carrier(machine, group, arm);
    nose(machine, group);
}

fn planet(machine: &mut Machine) -> Index {
    let outline = gear(PLANET_TEETH, MODULE_M, 0.0001);
    // The web is thinner than the rim: a groove on each side, as turned.
    let rim = Solid::extrude(&outline, Some(&around(&outline, 0.031)), 0.0, 0.036, 0.0009);
    let web = lathe(&[(0.012, 0.010), (0.0325, 0.010), (0.0325, 0.026), (0.012, 0.026)], 0.0005, 48, 2.0);
    let hub = lathe(
        &[(0.0095, 0.002), (0.017, 0.002), (0.017, 0.0355), (0.0095, 0.0355), (0.0095, 0.002)],
        0.0012,
        40,
        1.0,
    );
    let mut brass = rim;
    brass.add(&web, Affine3A::IDENTITY);
    let pin = lathe(&[(0.0, 0.0), (0.0092, 0.0), (0.0092, 0.043), (0.0, 0.043)], 0.0015, 32, 1.0);
    // Oil holes, plugged by rivets.
    let rivet = lathe(&[(0.0035, 0.0), (0.0035, 0.001), (0.0022, 0.0022), (0.0, 0.0025)], 0.0004, 14, 1.0);
    let rivets = ring_of(&rivet, 6, 0.0245, 0.0, 0.026);
    machine.part(
        "planet",
        vec![(Look::Brass, brass), (Look::Steel, hub), (Look::Chrome, pin), (Look::Copper, rivets)],
    )
}

/// The red spider that the planets run on, and the shaft that it drives.
fn carrier(machine: &mut Machine, group: Index, arm: f32) {
    let n = 180;
    // Lobes at the planets' pins.
    let outline: Contour = (0..n)
        .map(|i| {
            let angle = TAU * i as f32 / n as f32;
            let lobe = (0.5 + 0.5 * (angle * N_PLANETS as f32).cos()).powf(2.2);
            Vec2::from_angle(angle) * (0.058 + (arm - 0.038) * lobe)
        })
        .collect();
    let mut spider = Solid::extrude(&outline, Some(&around(&outline, 0.036)), 0.0715, 0.0795, 0.0014);
    let collar = lathe(&[(0.034, 0.070), (0.054, 0.070), (0.054, 0.088), (0.034, 0.088)], 0.0015, 64, 2.0);
    spider.add(&collar, Affine3A::IDENTITY);
    let mut bolts = ring_of(&bolt(0.0050), 12, 0.0445, 0.5, 0.088);
    bolts.add(&ring_of(&bolt(0.0088), N_PLANETS, arm, 0.0, 0.0795), Affine3A::IDENTITY);
    machine.single(
        "planet carrier",
        group,
        Affine3A::IDENTITY,
        vec![(Look::Red, spider), (Look::Steel, bolts)],
    );

    // Splines on the shaft, then the flange for the propeller.
    let splines = gear(26, 0.0026, 0.0003);
    let splined = Solid::extrude(&splines, None, 0.080, 0.136, 0.0008);
    let shaft = lathe(
        &[
            (0.0305, 0.130),
            (0.0305, 0.205),
            (0.038, 0.212),
            (0.038, 0.222),
            (0.082, 0.226),
            (0.082, 0.240),
            (0.046, 0.240),
            (0.042, 0.252),
            (0.026, 0.262),
            (0.026, 0.285),
            (0.022, 0.290),
            (0.018, 0.290),
            (0.018, 0.250),
            (0.0, 0.248),
        ],
        0.0018,
        72,
        3.0,
    );
    let bolts = ring_of(&bolt(0.0105), 8, 0.064, 0.0, 0.240);
    let thread: Vec<(f32, f32)> =
        (0..17).map(|i| (if i % 2 == 0 { 0.0272 } else { 0.0255 }, 0.264 + 0.0012 * i as f32)).collect();
    let thread = Solid::lathe(&thread, 48, 1.0);
    machine.single(
        "propeller shaft",
        group,
        Affine3A::IDENTITY,
        vec![(Look::Chrome, shaft), (Look::Steel, splined), (Look::Brass, bolts), (Look::Steel, thread)],
    );
}

/// The glass with its frame, and the ball bearing in its middle.
fn nose(machine: &mut Machine, group: Index) {
    let frame = lathe(
        &[(0.158, 0.096), (0.190, 0.098), (0.190, 0.106), (0.170, 0.110), (0.160, 0.108), (0.158, 0.096)],
        0.0015,
        108,
        6.0,
    );
    let bolts = ring_of(&bolt(0.0062), 24, 0.1795, 0.0, 0.1075);
    machine.single(
        "glass frame",
        group,
        Affine3A::IDENTITY,
        vec![(Look::Black, frame), (Look::Brass, bolts)],
    );

    let (outer, inner) = (0.162_f32, 0.064_f32);
    let n = 16;
    let pane: Vec<(f32, f32)> = (0..=n)
        .map(|i| {
            let share = i as f32 / n as f32;
            (outer + (inner - outer) * share, 0.102 + 0.046 * (share * PI * 0.5).sin())
        })
        .collect();
    machine.single("glass", group, Affine3A::IDENTITY, vec![(Look::Glass, Solid::lathe(&pane, 72, 4.0))]);

    let y = 0.150;
    let race = |profile: [(f32, f32); 5]| lathe(&profile, 0.001, 72, 3.0);
    let mut races = race([
        (0.055, y - 0.008),
        (0.066, y - 0.008),
        (0.066, y + 0.008),
        (0.055, y + 0.008),
        (0.055, y - 0.008),
    ]);
    races.add(
        &race([
            (0.031, y - 0.008),
            (0.040, y - 0.008),
            (0.040, y + 0.008),
            (0.031, y + 0.008),
            (0.031, y - 0.008),
        ]),
        Affine3A::IDENTITY,
    );
    let cage = lathe(
        &[
            (0.0455, y - 0.004),
            (0.0505, y - 0.004),
            (0.0505, y + 0.0035),
            (0.0455, y + 0.0035),
            (0.0455, y - 0.004),
        ],
        0.0008,
        72,
        3.0,
    );
    machine.single(
        "nose bearing",
        group,
        Affine3A::IDENTITY,
        vec![(Look::Steel, races), (Look::Brass, cage)],
    );
    let ball = machine.part("ball", vec![(Look::Chrome, Solid::ball(0.0072, 20))]);
    for i in 0..16 {
        let place = Vec2::from_angle(TAU * i as f32 / 16.0) * 0.0479;
        machine.place(format!("ball {}", i + 1), Some(group), at(place.x, y + 0.0015, -place.y), Some(ball));
    }
}

fn accessories(machine: &mut Machine, engine: Index) {
    let back = Affine3A::from_quat(Quat::from_rotation_x(-PI * 0.5));
    let group = machine.place("accessories", Some(engine), at(0.0, 0.0, -0.115) * back, None);
    // From here on y is backward. The blower's volute, then the rear cover.
    let cast = lathe(
        &[
            (0.03, 0.0),
            (0.172, 0.0),
            (0.172, 0.008),
            (0.192, 0.016),
            (0.196, 0.040),
            (0.178, 0.058),
            (0.140, 0.064),
            (0.140, 0.076),
            (0.125, 0.082),
            (0.118, 0.150),
            (0.126, 0.153),
            (0.126, 0.165),
            (0.08, 0.172),
            (0.0, 0.172),
        ],
        0.004,
        96,
        6.0,
    );
    let mut bolts = ring_of(&bolt(0.0068), 24, 0.1325, 0.0, 0.0745);
    bolts.add(&ring_of(&bolt(0.0062), 16, 0.117, 0.0, 0.1655), Affine3A::IDENTITY);
    machine.single("blower", group, Affine3A::IDENTITY, vec![(Look::Cast, cast), (Look::Steel, bolts)]);

    let collector = Solid::torus(0.3300, 0.0285, 120, 24).moved(at(0.0, 0.068, 0.0));
    machine.single("exhaust collector", group, Affine3A::IDENTITY, vec![(Look::Blued, collector)]);

    let body = lathe(
        &[
            (0.0, 0.0),
            (0.036, 0.0),
            (0.036, 0.012),
            (0.042, 0.016),
            (0.042, 0.064),
            (0.036, 0.070),
            (0.0, 0.070),
        ],
        0.002,
        40,
        2.0,
    );
    let cap = lathe(&[(0.038, 0.068), (0.038, 0.088), (0.026, 0.098), (0.0, 0.100)], 0.003, 40, 1.0);
    let terminal = lathe(&[(0.006, 0.0), (0.006, 0.014), (0.004, 0.018), (0.0, 0.018)], 0.0008, 16, 1.0);
    let terminals = ring_of(&terminal, 9, 0.026, 0.0, 0.088);
    let magneto =
        machine.part("magneto", vec![(Look::Black, body), (Look::Red, cap), (Look::Brass, terminals)]);
    for (name, side) in [("left magneto", 1.0), ("right magneto", -1.0)] {
        let tilt = Affine3A::from_quat(Quat::from_rotation_z(-0.5 * side));
        machine.place(name, Some(group), at(0.066 * side, 0.150, 0.045) * tilt, Some(magneto));
    }

    let mut generator =
        lathe(&[(0.0, 0.0), (0.045, 0.0), (0.045, 0.085), (0.039, 0.092), (0.0, 0.092)], 0.003, 48, 2.0);
    let slot = plate(0.006, 0.008, 0.0028, -0.030, 0.030, 0.001);
    generator.add(&ring_of(&slot, 24, 0.0455, 0.0, 0.045), Affine3A::IDENTITY);
    let pulley = lathe(
        &[
            (0.0, 0.092),
            (0.028, 0.092),
            (0.030, 0.096),
            (0.022, 0.102),
            (0.030, 0.108),
            (0.028, 0.112),
            (0.0, 0.112),
        ],
        0.001,
        40,
        1.0,
    );
    machine.single(
        "generator",
        group,
        at(0.0, 0.160, -0.055),
        vec![(Look::Black, generator), (Look::Chrome, pulley)],
    );

    // A spring that pulls the throttle, and oil lines.
    let coil: Vec<Vec3> = (0..=180)
        .map(|i| {
            let share = i as f32 / 180.0;
            let (sin, cos) = (share * TAU * 11.0).sin_cos();
            Vec3::new(0.009 * cos, 0.105 * share, 0.009 * sin)
        })
        .collect();
    let spring = Solid::sweep(&coil, |_| 0.0017, 8, 1.0)
        .moved(at(-0.10, 0.178, -0.055) * Affine3A::from_quat(Quat::from_rotation_z(-0.9)));
    let mut lines = Solid::default();
    let mut nuts = Solid::default();
    for (k, side) in [(0.0, 1.0_f32), (1.0, 1.0), (0.0, -1.0), (1.0, -1.0)] {
        let start = Vec3::new(0.105 * side, 0.120 + 0.022 * k, 0.070 - 0.030 * k);
        let path = through(
            &[
                start,
                start + Vec3::new(0.045 * side, 0.004, 0.006),
                Vec3::new(0.200 * side, 0.105 + 0.02 * k, 0.020 - 0.03 * k),
                Vec3::new(0.215 * side, 0.060, -0.020 - 0.05 * k),
                Vec3::new(0.188 * side, 0.030, -0.040 - 0.07 * k),
            ],
            8,
        );
        lines.add(&Solid::sweep(&path, |_| 0.0062, 14, 1.0), Affine3A::IDENTITY);
        let nut = Solid::extrude(&circle(0.0115, 6), None, -0.008, 0.010, 0.001);
        let turn = Quat::from_rotation_arc(Vec3::Y, Vec3::X * side);
        nuts.add(&nut, Affine3A::from_rotation_translation(turn, start + Vec3::X * (0.010 * side)));
    }
    machine.single(
        "oil lines",
        group,
        Affine3A::IDENTITY,
        vec![(Look::Copper, lines), (Look::Brass, nuts), (Look::Chrome, spring)],
    );
}

fn stand(machine: &mut Machine, stand: Index) {
    let mut plinth = lathe(
        &[(0.30, 0.008), (0.398, 0.008), (0.410, 0.016), (0.410, 0.030), (0.396, 0.050), (0.31, 0.050)],
        0.004,
        120,
        10.0,
    );
    plinth.add(&Solid::extrude(&circle(0.3145, 72), None, 0.020, 0.0515, 0.002), Affine3A::IDENTITY);
    // Knurled: twice as many corners as one can count.
    let n = 2 * 180;
    let knurl: Contour = (0..n)
        .map(|i| Vec2::from_angle(TAU * i as f32 / n as f32) * if i % 2 == 0 { 0.4200 } else { 0.4155 })
        .collect();
    let knurled = Solid::extrude(&knurl, Some(&around(&knurl, 0.400)), 0.012, 0.032, 0.003);
    let feet = ring_of(
        &lathe(&[(0.0, 0.0), (0.03, 0.0), (0.034, 0.010), (0.0, 0.010)], 0.002, 28, 1.0),
        6,
        0.33,
        0.5,
        0.0,
    );
    let dial = Solid::lathe_with_v(
        &[(0.392, 0.0490, 0.0), (0.389, 0.0525, 0.03), (0.319, 0.0525, 0.97), (0.315, 0.0490, 1.0)],
        180,
        12.0,
    );
    machine.single(
        "plinth",
        stand,
        Affine3A::IDENTITY,
        vec![(Look::Black, plinth), (Look::Chrome, knurled), (Look::Rubber, feet), (Look::Ticks, dial)],
    );

    // The post carries the engine by its blower; struts hold it upright.
    let hub = Vec3::new(0.0, FLOOR_M, -0.30);
    let post = through(
        &[
            Vec3::new(0.0, 0.045, -0.235),
            Vec3::new(0.0, 0.24, -0.330),
            Vec3::new(0.0, 0.45, -0.400),
            Vec3::new(0.0, 0.600, -0.395),
            hub + Vec3::new(0.0, -0.012, -0.035),
            hub + Vec3::new(0.0, 0.0, 0.040),
        ],
        8,
    );
    let mut tubes = Solid::sweep(&post, |share| 0.040 - 0.012 * share, 28, 2.0);
    let mut shoes = Solid::default();
    let shoe = lathe(
        &[(0.0, 0.048), (0.040, 0.048), (0.040, 0.056), (0.026, 0.062), (0.024, 0.074), (0.0, 0.074)],
        0.002,
        32,
        1.0,
    );
    for side in [1.0_f32, -1.0] {
        let low = Vec3::new(0.225 * side, 0.050, -0.165);
        let high = Vec3::new(0.105 * side, FLOOR_M - 0.085, -0.235);
        tubes.add(&Solid::sweep(&[low, high], |_| 0.0150, 20, 1.0), Affine3A::IDENTITY);
        shoes.add(&shoe, at(low.x, 0.0, low.z));
        shoes.add(&ring_of(&bolt(0.0055), 5, 0.032, 0.0, 0.056), at(low.x, 0.0, low.z));
    }
    let big = lathe(
        &[(0.0, 0.048), (0.075, 0.048), (0.075, 0.058), (0.052, 0.068), (0.046, 0.095), (0.0, 0.095)],
        0.003,
        48,
        2.0,
    );
    shoes.add(&big, at(0.0, 0.0, -0.237));
    shoes.add(&ring_of(&bolt(0.0075), 8, 0.063, 0.0, 0.058), at(0.0, 0.0, -0.237));
    machine.single("post", stand, Affine3A::IDENTITY, vec![(Look::Paint, tubes), (Look::Steel, shoes)]);

    console(machine, stand);
}

/// The display with its status light, in front on the plinth.
fn console(machine: &mut Machine, stand: Index) {
    let tilt = Affine3A::from_quat(Quat::from_rotation_x(0.85));
    let group = machine.place("console", Some(stand), at(0.0, 0.078, 0.235) * tilt, None);
    let mut body = plate(0.210, 0.074, 0.012, -0.022, 0.008, 0.003);
    let foot = plate(0.120, 0.030, 0.006, -0.050, -0.015, 0.002);
    body.add(&foot, at(0.0, 0.0, 0.006));
    let outline = rounded(0.176, 0.052, 0.006, 6);
    let bezel_outline = rounded(0.188, 0.064, 0.010, 6);
    let bezel = Solid::extrude(&bezel_outline, Some(&outline), 0.006, 0.0125, 0.0016);
    let mut screws = Solid::default();
    for (x, z) in [(-0.098, -0.030), (0.098, -0.030), (-0.098, 0.030), (0.098, 0.030)] {
        screws.add(&bolt(0.0036), at(x, 0.008, z));
    }
    let lamp = lathe(&[(0.0052, 0.0), (0.0052, 0.003), (0.0036, 0.0058), (0.0, 0.0068)], 0.0008, 24, 1.0);
    let lamp = lamp.moved(at(0.076, 0.0095, 0.0));
    let screen = Solid::screen(0.172, 0.050, 0.0095);
    machine.single(
        "display",
        group,
        Affine3A::IDENTITY,
        vec![
            (Look::Black, body),
            (Look::Brass, bezel),
            (Look::Steel, screws),
            (Look::Display, screen),
            (Look::Led, lamp),
        ],
    );
}
