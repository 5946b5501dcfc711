//! Eight numbers at a time.
//!
//! Kernels are written once, generic over an [`Isa`], and compiled for each: AVX2 + FMA where the processor has them
//! (chosen at run time, so a portable build is fast too), plain arrays elsewhere, which compilers turn into SSE2 or
//! NEON. The two differ by the rounding of fused multiply-adds alone.
//!
//! How it gets inlined: everything here and every generic kernel is `inline(always)`; the outermost call is a function
//! with `target_feature`, made by [`vectorized!`](crate::simd::vectorized).

use std::fmt::Debug;
use std::ops::{Add, BitAnd, BitOr, BitXor, Div, Mul, Neg, Sub};

#[cfg(target_arch = "x86_64")]
mod avx2;
mod portable;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
pub(crate) use portable::Portable;

/// Lanes of every vector.
pub(crate) const LANES: usize = 8;

/// Which instructions the kernels use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// AVX2 and FMA. Only [`Level::detect`] makes this, when the processor has both.
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Proof),
    /// Whatever the build's target has.
    Portable,
}

impl Level {
    /// The best that this processor has.
    pub(crate) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(proof) = avx2::Proof::detect() {
            return Self::Avx2(proof);
        }
        Self::Portable
    }
}

/// Defines `$name(level, args…)` that runs the generic kernel `$kernel::<Isa>(args…)` at `level`.
macro_rules! vectorized {
    ($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? = $kernel:path;) => {
        $(#[$doc])*
        $vis fn $name(level: $crate::simd::Level, $($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $ty),*) $(-> $ret)? {
                use $kernel as kernel;
                kernel::<$crate::simd::Avx2>($($arg),*)
            }
            fn portable($($arg: $ty),*) $(-> $ret)? {
                use $kernel as kernel;
                kernel::<$crate::simd::Portable>($($arg),*)
            }
            match level {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the level holds the proof that this processor has both features.
                $crate::simd::Level::Avx2(_) => unsafe { avx2($($arg),*) },
                $crate::simd::Level::Portable => portable($($arg),*),
            }
        }
    };
}
pub(crate) use vectorized;

/// An instruction set: its vectors of floats and of integers.
pub(crate) trait Isa: Copy + 'static {
    /// Eight `f32`.
    type F: Float<I = Self::I>;
    /// Eight `i32`; also masks, where all bits of a lane are the same.
    type I: Int<F = Self::F>;
}

/// Eight `f32`.
pub(crate) trait Float:
    Copy
    + Debug
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// Integers and masks of the same width.
    type I: Int<F = Self>;
    fn splat(x: f32) -> Self;
    fn load(from: &[f32; LANES]) -> Self;
    fn store(self, to: &mut [f32; LANES]);
    /// `self * b + c`, fused or not.
    fn mul_add(self, b: Self, c: Self) -> Self;
    /// `b` where either is NaN.
    fn min(self, b: Self) -> Self;
    /// `b` where either is NaN.
    fn max(self, b: Self) -> Self;
    fn sqrt(self) -> Self;
    fn floor(self) -> Self;
    fn abs(self) -> Self;
    fn lt(self, b: Self) -> Self::I;
    fn ge(self, b: Self) -> Self::I;
    /// Towards zero. What does not fit becomes any number.
    fn trunc_to_int(self) -> Self::I;
    /// To nearest, ties to even. What does not fit becomes any number.
    fn round_to_int(self) -> Self::I;
    /// Bit patterns.
    fn bits(self) -> Self::I;
    /// `a` where the mask's sign is set, else `b`.
    fn select(mask: Self::I, a: Self, b: Self) -> Self;
    /// `table[index & 63]`.
    fn lookup(table: &[f32; 64], index: Self::I) -> Self;
    /// Lanes 0 + 1, 2 + 3, 4 + 5 and 6 + 7, then those of `b`.
    fn pair_sums(self, b: Self) -> Self;

    #[inline(always)]
    fn zero() -> Self {
        Self::splat(0.0)
    }
    #[inline(always)]
    fn clamp01(self) -> Self {
        self.max(Self::zero()).min(Self::splat(1.0))
    }
    /// From `self` to `b` as `t` goes from 0 to 1.
    #[inline(always)]
    fn mix(self, b: Self, t: Self) -> Self {
        (b - self).mul_add(t, self)
    }
    #[inline(always)]
    fn array(self) -> [f32; LANES] {
        let mut out = [0.0; LANES];
        self.store(&mut out);
        out
    }
}

/// Eight `i32`.
pub(crate) trait Int:
    Copy
    + Debug
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + BitAnd<Output = Self>
    + BitOr<Output = Self>
    + BitXor<Output = Self>
{
    /// Floats of the same width.
    type F: Float<I = Self>;
    fn splat(x: i32) -> Self;
    fn load(from: &[i32; LANES]) -> Self;
    fn load_u32(from: &[u32; LANES]) -> Self;
    fn store(self, to: &mut [i32; LANES]);
    fn store_u32(self, to: &mut [u32; LANES]);
    /// The low byte of each lane.
    fn store_bytes(self, to: &mut [u8; LANES]);
    fn shl<const N: i32>(self) -> Self;
    /// Fills with zeros.
    fn shr<const N: i32>(self) -> Self;
    /// Fills with the sign.
    fn sar<const N: i32>(self) -> Self;
    /// Products of the unsigned 16-bit halves, low 16 bits of each.
    fn mul_halves_low(self, b: Self) -> Self;
    /// Products of the unsigned 16-bit halves, high 16 bits of each.
    fn mul_halves_high(self, b: Self) -> Self;
    fn min(self, b: Self) -> Self;
    fn max(self, b: Self) -> Self;
    fn eq(self, b: Self) -> Self;
    fn gt(self, b: Self) -> Self;
    fn to_float(self) -> Self::F;
    /// The same bits as floats.
    fn float_bits(self) -> Self::F;
    /// Bit n is the sign of lane n.
    fn signs(self) -> u32;
    /// `a` where the mask's sign is set, else `b`.
    fn select(mask: Self, a: Self, b: Self) -> Self;
    /// `table[min(index, len - 1)]`, index unsigned; 0 from an empty table.
    fn gather(table: &[u32], index: Self) -> Self;
    /// `table[i]` and `table[i + 1]`, where i is the unsigned index or, if that is less, `len - 2`; 0 from a table that
    /// is too short. Half the price of two gathers.
    fn gather_pairs(table: &[u32], index: Self) -> (Self, Self);
    /// `table[index & 63]`.
    fn lookup(table: &[i32; 64], index: Self) -> Self;
    /// Rows `table[min(index, len - 1)]`, index unsigned; zeros from an empty table. Element i of the result holds element i
    /// of each lane's row.
    fn rows(table: &[[u32; LANES]], index: Self) -> [Self; LANES];

    /// 0, 1, … 7.
    #[inline(always)]
    fn iota() -> Self {
        Self::load(&[0, 1, 2, 3, 4, 5, 6, 7])
    }
    #[inline(always)]
    fn array(self) -> [i32; LANES] {
        let mut out = [0; LANES];
        self.store(&mut out);
        out
    }
}

#[cfg(test)]
mod tests;
