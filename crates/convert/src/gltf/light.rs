//! KHR_lights_punctual.

use std::f32::consts::{FRAC_PI_2, FRAC_PI_4};

use scene::{LIGHTS_MAX, Light, LightKind, math::Vec3};

use super::json;
use crate::{Fault, error::within, warnings::Warnings};

/// Brighter than any lamp; keeps products finite.
const COLOR_MAX: f32 = 1e9;

/// The light `index` on node `node` of the model, which is node `i` of the file; none if it would shine nothing.
pub(super) fn convert(
    json: &json::Root,
    index: u32,
    node: u32,
    i: u32,
    warnings: &mut Warnings,
) -> Result<Option<Light>, Fault> {
    let lights = json.extensions.lights.as_ref().map_or(&[][..], |lights| &lights.lights);
    let at = || format!("nodes[{i}].extensions.KHR_lights_punctual.light");
    let from = &lights[within(index, lights.len(), "light", at)?];
    let at = format!("extensions.KHR_lights_punctual.lights[{index}]");

    let color = Vec3::from_array(from.color.unwrap_or([1.0; 3])) * from.intensity.unwrap_or(1.0);
    let color = color.map(|x| if x.is_nan() { 0.0 } else { x.clamp(0.0, COLOR_MAX) });
    if color == Vec3::ZERO {
        return Ok(None);
    }
    let range_m = match from.range {
        Some(range) if range > 0.0 => range,
        None => f32::INFINITY,
        Some(_) => {
            warnings.say(format!("{at}.range: must be more than 0; the light shines without end."));
            f32::INFINITY
        }
    };
    let kind = match from.kind {
        json::LightKind::Directional => LightKind::Directional,
        json::LightKind::Point => LightKind::Point,
        json::LightKind::Spot => {
            let spot = from.spot.unwrap_or_default();
            let inner = spot.inner_cone_angle.unwrap_or(0.0);
            let outer = spot.outer_cone_angle.unwrap_or(FRAC_PI_4);
            if 0.0 <= inner && inner < outer && outer <= FRAC_PI_2 * 1.0001 {
                LightKind::Spot { inner_rad: inner, outer_rad: outer.min(FRAC_PI_2) }
            } else {
                warnings.say(format!(
                    "{at}.spot: angles must satisfy 0 <= inner < outer <= pi/2; they were mended."
                ));
                let outer_rad = if outer > 0.01 { outer.min(FRAC_PI_2) } else { FRAC_PI_4 };
                LightKind::Spot {
                    inner_rad: if inner > 0.0 { inner.min(outer_rad * 0.99) } else { 0.0 },
                    outer_rad,
                }
            }
        }
    };
    Ok(Some(Light { node, color, range_m, kind }))
}

/// Keeps the brightest [`LIGHTS_MAX`], in their order.
pub(super) fn limit(lights: &mut Vec<Light>, warnings: &mut Warnings) {
    if lights.len() <= LIGHTS_MAX {
        return;
    }
    warnings.say(format!("Of {} lights only the brightest {LIGHTS_MAX} shine.", lights.len()));
    // Lux and candela are the same at a metre's distance.
    let mut order: Vec<usize> = (0..lights.len()).collect();
    order.sort_by(|a, b| lights[*b].color.element_sum().total_cmp(&lights[*a].color.element_sum()));
    order.truncate(LIGHTS_MAX);
    order.sort_unstable();
    *lights = order.into_iter().map(|at| lights[at]).collect();
}
