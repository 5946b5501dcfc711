//! Where the eye is, and the pinhole camera that follows from it.

use scene::Aabb;
use scene::math::{DMat3, DQuat, DVec3, Mat3, Quat, Vec3};

use crate::look::Look;

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
    /// Light and colours.
    pub look: Look,
}

/// Fov of [`frame_camera`]: 45°.
pub const FRAME_FOV_Y: f32 = std::f32::consts::FRAC_PI_4;

/// A camera that shows all of `bounds`, slightly from above: eye, orientation (`world_from_view`) and vertical angle
/// of view. The viewer starts with the same formula.
///
/// The direction from the middle of the bounds to the eye has a yaw of 35° to the right of +z and a pitch of 20° up.
/// All corners of the bounds are in the picture with a margin of 5 %; and the eye is far enough away that a long
/// model seen from its end does not fill much more than the picture when the camera goes around it.
pub fn frame_camera(bounds: Option<Aabb>, aspect: f32) -> (Vec3, Quat, f32) {
    let (target, half) = bounds.map_or((Vec3::ZERO, Vec3::ZERO), |b| (b.center(), b.max * 0.5 - b.min * 0.5));
    let radius = if half.length() > 0.0 && half.is_finite() { half.length() } else { 1.0 };
    let aspect = if aspect.is_finite() && aspect > 0.0 { aspect } else { 1.0 };
    let (yaw, pitch) = (35f32.to_radians(), 20f32.to_radians());
    let to_eye = Vec3::new(yaw.sin() * pitch.cos(), pitch.sin(), yaw.cos() * pitch.cos());
    let right = Vec3::Y.cross(to_eye).normalize();
    let up = to_eye.cross(right);
    let orientation = Quat::from_mat3(&Mat3::from_cols(right, up, to_eye));
    let tan_y = (FRAME_FOV_Y / 2.0).tan();
    let tan_x = tan_y * aspect;
    // Corners come in pairs that mirror each other at the middle, so four signs and an absolute value do for eight.
    let corners =
        [(1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)].map(|(x, y)| half * Vec3::new(x, y, 1.0));
    let box_fits = corners.into_iter().fold(0.0, |most: f32, corner| {
        let aside = (corner.dot(right).abs() / tan_x).max(corner.dot(up).abs() / tan_y);
        most.max(corner.dot(to_eye).abs() + aside)
    });
    let sphere_fits = radius / tan_x.min(tan_y).atan().sin();
    let without_bounds = half == Vec3::ZERO || !half.is_finite();
    let distance = if without_bounds { sphere_fits } else { box_fits.max(0.75 * sphere_fits) } * 1.05;
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
    pub(crate) look: Look,
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
        let sky_yaw = view.look.sky_yaw;
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
            look: Look { sky_yaw: if sky_yaw.is_finite() { sky_yaw } else { 0.0 }, ..view.look },
        }
    }

    /// Where the samples are, from the centres of their pixels.
    pub(crate) fn jitter_px(&self) -> (f32, f32) {
        let middle = |size: u32| size as f32 * 0.5 - 0.5;
        (middle(self.width) - self.center_x_px, middle(self.height) - self.center_y_px)
    }

    /// What makes homogeneous pixel positions of positions from the eye (world axes): the scalar products with these are
    /// pixel x and y, each times w, and w, the distance along `forward`.
    pub(crate) fn pixel_rows(&self) -> [DVec3; 3] {
        let focal = f64::from(self.focal_px);
        let x = self.right * focal + self.forward * f64::from(self.center_x_px);
        let y = self.up * -focal + self.forward * f64::from(self.center_y_px);
        [x, y, self.forward]
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

    /// The same numbers are in `web/sdk/test/camera.test.ts`.
    #[test]
    fn the_framing_camera_is_as_far_as_the_viewers() {
        for (half, aspect, distance) in [
            ([2.0, 2.0, 2.0], 16.0 / 9.0, 9.209_182),
            ([1.0, 5.0, 1.0], 0.5, 20.177_068),
            ([0.1, 0.1, 10.0], 16.0 / 9.0, 20.580_424),
        ] {
            let half = Vec3::from(half);
            let (eye, ..) = frame_camera(Some(Aabb { min: -half, max: half }), aspect);
            assert!((eye.length() - distance).abs() < 1e-4, "{half}: {} instead of {distance}", eye.length());
        }
    }

    #[test]
    fn the_middle_ray_goes_forward() {
        let (eye, orientation, fov_y) = frame_camera(None, 2.0);
        let camera = Camera::of(
            &View { eye, orientation, fov_y, width: 200, height: 100, look: Look::default() },
            (0.0, 0.0),
        );
        let middle = camera.ray(99.5, 49.5).normalize();
        assert!((middle + eye.as_dvec3().normalize()).length() < 1e-6, "{middle}");
    }
}
