//! What is below a pixel: a ray against the clusters.

use scene::AlphaMode;
use scene::math::{DVec3, Vec3};

use super::Hit;
use crate::clusters::{Cluster, Instance, RenderScene, as_range, narrow};
use crate::texture::ShadedMaterial;
use crate::view::{Camera, View};

/// Blended surfaces with less alpha than this do not stop the ray.
const ALPHA_SEEN: f32 = 0.1;

/// A ray in an instance's mesh space. `t` means the same point in each space.
struct Ray {
    origin: DVec3,
    direction: DVec3,
}

impl Ray {
    fn passes(&self, center: Vec3, radius: f32) -> bool {
        let to_center = center.as_dvec3() - self.origin;
        let length_squared = self.direction.length_squared();
        let across = to_center.cross(self.direction).length_squared();
        // A little more, for rounding.
        let radius = f64::from(radius) * 1.0001 + 1e-30;
        across.is_nan() || across <= radius * radius * length_squared
    }
}

/// Sees what the picture shows: back faces are passed, holes and what is all but invisible too.
pub(super) fn pick(scene: &RenderScene, view: &View, x: f32, y: f32) -> Option<Hit> {
    if !(x.is_finite() && y.is_finite()) {
        return None;
    }
    let camera = Camera::of(view, (0.0, 0.0));
    let direction = camera.ray(x - 0.5, y - 0.5);
    let mut nearest: Option<(f64, u32)> = None;
    for instance in &scene.instances {
        let ray = Ray {
            origin: instance.mesh_from_world.transform_point3(camera.eye),
            direction: instance.mesh_from_world.matrix3 * direction,
        };
        let geometry = &scene.geometries[instance.geometry as usize];
        if !ray.passes(geometry.center, geometry.radius) {
            continue;
        }
        for cluster in &scene.clusters.clusters[as_range(&geometry.levels[0].clusters)] {
            if ray.passes(cluster.center, cluster.radius) {
                let t_max = nearest.map_or(f64::INFINITY, |(t, _)| t);
                if let Some(t) = pick_cluster(scene, instance, cluster, &ray, t_max) {
                    nearest = Some((t, instance.node));
                }
            }
        }
    }
    let (t, node) = nearest?;
    let p = camera.eye + direction * t;
    Some(Hit { position: Vec3::new(narrow(p.x), narrow(p.y), narrow(p.z)), node })
}

fn pick_cluster(
    scene: &RenderScene,
    instance: &Instance,
    cluster: &Cluster,
    ray: &Ray,
    t_max: f64,
) -> Option<f64> {
    let geometry = &scene.geometries[instance.geometry as usize];
    let material = &scene.materials[geometry.material as usize];
    let first = cluster.triangles_at as usize;
    let blocks = &scene.clusters.triangles[first..first + cluster.triangle_blocks()];
    let mut nearest = None;
    let mut t_max = t_max;
    for packed in blocks.as_flattened().iter().take(usize::from(cluster.n_triangles)) {
        let at = [0, 8, 16].map(|shift| (packed >> shift & 63) as usize);
        let corners = at.map(|at| scene.clusters.vertices[cluster.vertices_at as usize + at]);
        let position = corners.map(|v| {
            let [x, y, z] = [v[0], v[1], v[2]].map(|bits| f64::from(f32::from_bits(bits)));
            DVec3::new(x, y, z)
        });
        let Some((t, weights)) = intersect(ray, position, material.double_sided) else { continue };
        if t > 0.0 && t < t_max && solid(scene, material, cluster, at, weights) {
            t_max = t;
            nearest = Some(t);
        }
    }
    nearest
}

/// Distance along the ray and weights of the corners (Möller and Trumbore, "Fast, Minimum Storage Ray/Triangle
/// Intersection", JGT 2(1), 1997).
fn intersect(ray: &Ray, [a, b, c]: [DVec3; 3], double_sided: bool) -> Option<(f64, [f64; 3])> {
    let (e1, e2) = (b - a, c - a);
    let normal = e1.cross(e2);
    let toward = -ray.direction.dot(normal);
    if toward == 0.0 || (toward < 0.0 && !double_sided) {
        return None;
    }
    let from_a = ray.origin - a;
    let side = from_a.cross(ray.direction);
    let (u, v) = (e2.dot(side) / toward, -e1.dot(side) / toward);
    let inside = u >= 0.0 && v >= 0.0 && u + v <= 1.0;
    inside.then(|| (from_a.dot(normal) / toward, [1.0 - u - v, u, v]))
}

fn solid(
    scene: &RenderScene,
    material: &ShadedMaterial,
    cluster: &Cluster,
    corners: [usize; 3],
    weights: [f64; 3],
) -> bool {
    let alpha_min = match material.alpha_mode {
        AlphaMode::Opaque => return true,
        AlphaMode::Mask { cutoff } => cutoff,
        AlphaMode::Blend => ALPHA_SEEN,
    };
    let blend = |value: &dyn Fn(usize) -> f32| {
        corners.iter().zip(weights).map(|(at, w)| value(*at) * narrow(w)).sum::<f32>()
    };
    let vertex = |at: usize| &scene.clusters.vertices[cluster.vertices_at as usize + at];
    let mut alpha = material.base_color[3];
    alpha *= blend(&|at| f32::from(vertex(at)[7].to_le_bytes()[3]) / 255.0);
    if let Some(sampled) = &material.base_color_texture {
        let uv = [0, 1].map(|n| {
            blend(&|at| match scene.clusters.uv1.get(cluster.uv1_at as usize + at) {
                Some(uv) if sampled.second_uv => uv[n],
                _ if sampled.second_uv => 0.0,
                _ => f32::from_bits(vertex(at)[4 + n]),
            })
        });
        alpha *= scene.textures[sampled.texture as usize].nearest(sampled, uv)[3];
    }
    alpha >= alpha_min
}
