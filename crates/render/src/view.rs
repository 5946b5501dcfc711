//! Where the eye is, and the pinhole camera that follows from it.

use scene::Aabb;
use scene::math::{DMat3, DQuat, DVec3, Mat3, Quat, Vec3};

/// Smallest width and height of a picture, in pixels.
pub const SIZE_MIN: u32 = 16;
/// Largest width and height of a picture, in pixels.
pub const SIZE_MAX: u32 = 4096;

/// A pose and a picture size. Anything is allowed: numbers that are not finite fall back to harmless ones and sizes
/// are clamped to [`SIZE_MIN`]..=[`SIZE_MAX`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View {
    /// Position in world space, metres.
    pub eye: Vec3,
    /// `world_from_view`: the camera looks along its -z, y is up. Need not be exactly of unit length.
    pub orientation: Quat,
    /// Vertical angle of view, radians.
    pub fov_y: f32,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

/// Fov of [`frame_camera`]: 45°.
pub const FRAME_FOV_Y: f32 = std::f32::consts::FRAC_PI_4;

/// A camera that shows all of `bounds`, slightly from above: eye, orientation (`world_from_view`) and vertical angle
/// of view. The viewer starts with the same formula.
///
/// The direction from the middle of the bounds to the eye has a yaw of 35° to the right of +z and a pitch of 20° up.
pub fn frame_camera(bounds: Option<Aabb>, aspect: f32) -> (Vec3, Quat, f32) {
    let (target, radius) = bounds.map_or((Vec3::ZERO, 1.0), |b| (b.center(), b.radius()));
    let radius = if radius > 0.0 && radius.is_finite() { radius } else { 1.0 };
    let aspect = if aspect.is_finite() && aspect > 0.0 { aspect } else { 1.0 };
    let (yaw, pitch) = (35f32.to_radians(), 20f32.to_radians());
    let to_eye = Vec3::new(yaw.sin() * pitch.cos(), pitch.sin(), yaw.cos() * pitch.cos());
    let fov_x = 2.0 * ((FRAME_FOV_Y / 2.0).tan() * aspect).atan();
    let distance = radius / (FRAME_FOV_Y.min(fov_x) / 2.0).sin() * 1.05;
    let right = Vec3::Y.cross(to_eye).normalize();
    let orientation = Quat::from_mat3(&Mat3::from_cols(right, to_eye.cross(right), to_eye));
    (target + to_eye * distance, orientation, FRAME_FOV_Y)
}

/// A checked [`View`] as a pinhole camera. The ray through the centre of pixel (x, y) is
/// `forward * focal_px + right * (x - center_x_px) - up * (y - center_y_px)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Camera {
    pub(crate) eye: DVec3,
    pub(crate) right: DVec3,
    pub(crate) up: DVec3,
    pub(crate) forward: DVec3,
    /// Focal length in pixels, the same in x and y.
    pub(crate) focal_px: f32,
    /// Where the optical axis meets the picture; (0, 0) is the *centre* of the top left pixel.
    pub(crate) center_x_px: f32,
    pub(crate) center_y_px: f32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl Camera {
    /// `jitter_px` moves the samples within their pixels: (0, 0) is the centre.
    pub(crate) fn of(view: &View, jitter_px: (f32, f32)) -> Self {
        // Beyond this the geometry of a model is lost in rounding anyway, and squares still fit an f32.
        const FAR_AWAY_M: f32 = 1e15;
        let (width, height) = (view.width.clamp(SIZE_MIN, SIZE_MAX), view.height.clamp(SIZE_MIN, SIZE_MAX));
        let eye = if view.eye.is_finite() { view.eye } else { Vec3::ZERO };
        let eye = eye.clamp(Vec3::splat(-FAR_AWAY_M), Vec3::splat(FAR_AWAY_M));
        let q = view.orientation;
        let length = q.as_dquat().length();
        let q = if length.is_finite() && length > 1e-12 { q.as_dquat() / length } else { DQuat::IDENTITY };
        let axes = DMat3::from_quat(q);
        let fov_y = if view.fov_y.is_finite() { view.fov_y.clamp(0.002, 3.0) } else { FRAME_FOV_Y };
        Self {
            eye: eye.as_dvec3(),
            right: axes.x_axis,
            up: axes.y_axis,
            forward: -axes.z_axis,
            focal_px: height as f32 * 0.5 / (fov_y * 0.5).tan(),
            center_x_px: width as f32 * 0.5 - 0.5 - jitter_px.0,
            center_y_px: height as f32 * 0.5 - 0.5 - jitter_px.1,
            width,
            height,
        }
    }

    /// Ray direction (not of unit length: its part along `forward` is `focal_px`) at a pixel position, where (0, 0)
    /// is the centre of the top left pixel.
    pub(crate) fn ray(&self, x_px: f32, y_px: f32) -> DVec3 {
        self.forward * f64::from(self.focal_px) + self.right * f64::from(x_px - self.center_x_px)
            - self.up * f64::from(y_px - self.center_y_px)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_framing_camera_sees_every_corner() {
        let bounds = Aabb { min: Vec3::new(-1.0, 2.0, 3.0), max: Vec3::new(5.0, 3.0, 4.0) };
        for aspect in [0.3, 1.0, 16.0 / 9.0] {
            let (eye, orientation, fov_y) = frame_camera(Some(bounds), aspect);
            for corner in 0..8u8 {
                let pick = |bit: u8, a: f32, b: f32| if corner >> bit & 1 == 0 { a } else { b };
                let corner = Vec3::new(
                    pick(0, bounds.min.x, bounds.max.x),
                    pick(1, bounds.min.y, bounds.max.y),
                    pick(2, bounds.min.z, bounds.max.z),
                );
                let p = orientation.inverse() * (corner - eye);
                let t = (fov_y / 2.0).tan();
                assert!(p.z < 0.0 && (p.y / p.z).abs() < t && (p.x / p.z).abs() < t * aspect, "{p}");
            }
        }
    }

    #[test]
    fn the_middle_ray_goes_forward() {
        let (eye, orientation, fov_y) = frame_camera(None, 2.0);
        let camera = Camera::of(&View { eye, orientation, fov_y, width: 200, height: 100 }, (0.0, 0.0));
        let middle = camera.ray(99.5, 49.5).normalize();
        assert!((middle + eye.as_dvec3().normalize()).length() < 1e-6, "{middle}");
    }
}
