//! Axis-aligned boxes.

use glam::{Mat4, Vec3};

/// An axis-aligned box; `min <= max` in each axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Aabb {
    /// Smallest corner.
    pub min: Vec3,
    /// Largest corner.
    pub max: Vec3,
}

impl Aabb {
    /// The smallest box around `points`; `None` if there are none.
    pub fn of(points: &[Vec3]) -> Option<Self> {
        let (first, rest) = points.split_first()?;
        let start = Self { min: *first, max: *first };
        Some(rest.iter().fold(start, |b, p| Self { min: b.min.min(*p), max: b.max.max(*p) }))
    }

    /// The smallest box around both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    /// The middle.
    pub fn center(&self) -> Vec3 {
        // Halved first: the sum of two large numbers would overflow.
        self.min * 0.5 + self.max * 0.5
    }

    /// Half of the diagonal: the radius of the sphere around the box.
    pub fn radius(&self) -> f32 {
        (self.max * 0.5 - self.min * 0.5).length()
    }

    /// The box around the transformed box (not the tightest around the transformed content).
    #[must_use]
    pub fn transformed(&self, b_from_a: &Mat4) -> Self {
        // Arvo, "Transforming axis-aligned bounding boxes", Graphics Gems, 1990.
        let translation = b_from_a.w_axis.truncate();
        let (mut min, mut max) = (translation, translation);
        for (axis, low, high) in [
            (b_from_a.x_axis, self.min.x, self.max.x),
            (b_from_a.y_axis, self.min.y, self.max.y),
            (b_from_a.z_axis, self.min.z, self.max.z),
        ] {
            let (a, b) = (axis.truncate() * low, axis.truncate() * high);
            min += a.min(b);
            max += a.max(b);
        }
        Self { min, max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turned_box_contains_its_turned_corners() {
        let unit = Aabb { min: Vec3::ZERO, max: Vec3::new(1.0, 2.0, 3.0) };
        let turned = unit.transformed(&Mat4::from_rotation_z(std::f32::consts::FRAC_PI_2));
        assert!((turned.min - Vec3::new(-2.0, 0.0, 0.0)).length() < 1e-6, "{turned:?}");
        assert!((turned.max - Vec3::new(0.0, 1.0, 3.0)).length() < 1e-6, "{turned:?}");
    }

    #[test]
    fn nothing_has_no_box() {
        assert_eq!(Aabb::of(&[]), None);
    }
}
