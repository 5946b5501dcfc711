//! Vectors of three components, eight at a time.

use scene::math::Vec3;

use crate::simd::{Float, Int, Isa};

/// Three components, eight of each.
pub(super) type V3<S> = [<S as Isa>::F; 3];

#[inline(always)]
pub(super) fn splat3<S: Isa>(v: Vec3) -> V3<S> {
    [S::F::splat(v.x), S::F::splat(v.y), S::F::splat(v.z)]
}
#[inline(always)]
pub(super) fn dot<S: Isa>(a: V3<S>, b: V3<S>) -> S::F {
    a[0].mul_add(b[0], a[1].mul_add(b[1], a[2] * b[2]))
}
#[inline(always)]
pub(super) fn cross<S: Isa>(a: V3<S>, b: V3<S>) -> V3<S> {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}
#[inline(always)]
pub(super) fn sub<S: Isa>(a: V3<S>, b: V3<S>) -> V3<S> {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}
#[inline(always)]
pub(super) fn scaled<S: Isa>(a: V3<S>, t: S::F) -> V3<S> {
    [a[0] * t, a[1] * t, a[2] * t]
}
/// `a + b * t`.
#[inline(always)]
pub(super) fn along<S: Isa>(a: V3<S>, b: V3<S>, t: S::F) -> V3<S> {
    [b[0].mul_add(t, a[0]), b[1].mul_add(t, a[1]), b[2].mul_add(t, a[2])]
}
#[inline(always)]
pub(super) fn normalized<S: Isa>(a: V3<S>) -> V3<S> {
    let length = dot::<S>(a, a).max(S::F::splat(1e-30)).sqrt();
    scaled::<S>(a, S::F::splat(1.0) / length)
}
#[inline(always)]
pub(super) fn transformed<S: Isa>(m: &[Vec3; 3], v: V3<S>) -> V3<S> {
    let first = scaled::<S>(splat3::<S>(m[0]), v[0]);
    along::<S>(along::<S>(first, splat3::<S>(m[1]), v[1]), splat3::<S>(m[2]), v[2])
}

#[inline(always)]
pub(super) fn load3<S: Isa>([x, y, z]: &[[f32; 8]; 3]) -> V3<S> {
    [S::F::load(x), S::F::load(y), S::F::load(z)]
}
#[inline(always)]
pub(super) fn store3<S: Isa>(v: V3<S>, [x, y, z]: &mut [[f32; 8]; 3]) {
    v[0].store(x);
    v[1].store(y);
    v[2].store(z);
}
/// Lanes from bits.
#[inline(always)]
#[expect(clippy::cast_possible_wrap, reason = "eight bits")]
pub(super) fn mask<S: Isa>(bits: u32) -> S::I {
    let bit = S::I::load(&[1, 2, 4, 8, 16, 32, 64, 128]);
    (S::I::splat(bits as i32) & bit).eq(bit)
}
