//! AVX2 and FMA.
//!
//! Every function here is inlined into a caller that was compiled for both; [`Proof`] is how that caller knows that
//! the processor has them.
#![expect(clippy::cast_sign_loss, reason = "bit masks")]

use std::arch::x86_64::*;
use std::ops::{Add, BitAnd, BitOr, BitXor, Div, Mul, Neg, Sub};

use super::{Float, Int, Isa, LANES};

/// That this processor has AVX2 and FMA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Proof(());

impl Proof {
    pub(super) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }
}

/// AVX2 and FMA.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx2;

impl Isa for Avx2 {
    type F = F8;
    type I = I8;
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct F8(__m256);

#[derive(Debug, Clone, Copy)]
pub(crate) struct I8(__m256i);

/// Calls an intrinsic that works on registers alone.
macro_rules! op {
    ($x:expr) => {
        // SAFETY: the features are there (see the module), and registers are all that is touched.
        unsafe { $x }
    };
}

/// Gathers elements of 4 bytes.
///
/// # Safety
/// The features are there, and each index is that of an element.
macro_rules! gathered {
    ($gather:ident, $table:expr, $index:expr) => {{
        let (table, index): (*const _, __m256i) = ($table, $index);
        if cfg!(sanitized) {
            // AddressSanitizer does not look into gathers, so it is shown what they read.
            for at in I8(index).array() {
                table.offset(at as isize).read_volatile();
            }
        }
        $gather::<4>(table, index)
    }};
}

macro_rules! operator {
    ($ty:ident, $trait:ident, $name:ident, $intrinsic:ident) => {
        impl $trait for $ty {
            type Output = Self;
            #[inline(always)]
            fn $name(self, b: Self) -> Self {
                Self(op!($intrinsic(self.0, b.0)))
            }
        }
    };
}

operator!(F8, Add, add, _mm256_add_ps);
operator!(F8, Sub, sub, _mm256_sub_ps);
operator!(F8, Mul, mul, _mm256_mul_ps);
operator!(F8, Div, div, _mm256_div_ps);
operator!(I8, Add, add, _mm256_add_epi32);
operator!(I8, Sub, sub, _mm256_sub_epi32);
operator!(I8, Mul, mul, _mm256_mullo_epi32);
operator!(I8, BitAnd, bitand, _mm256_and_si256);
operator!(I8, BitOr, bitor, _mm256_or_si256);
operator!(I8, BitXor, bitxor, _mm256_xor_si256);

impl Neg for F8 {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Self(op!(_mm256_xor_ps(self.0, _mm256_set1_ps(-0.0))))
    }
}

impl Float for F8 {
    type I = I8;
    #[inline(always)]
    fn splat(x: f32) -> Self {
        Self(op!(_mm256_set1_ps(x)))
    }
    #[inline(always)]
    fn load(from: &[f32; LANES]) -> Self {
        // SAFETY: eight floats to read.
        Self(unsafe { _mm256_loadu_ps(from.as_ptr()) })
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; LANES]) {
        // SAFETY: eight floats to write.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr(), self.0) }
    }
    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        Self(op!(_mm256_fmadd_ps(self.0, b.0, c.0)))
    }
    #[inline(always)]
    fn min(self, b: Self) -> Self {
        Self(op!(_mm256_min_ps(self.0, b.0)))
    }
    #[inline(always)]
    fn max(self, b: Self) -> Self {
        Self(op!(_mm256_max_ps(self.0, b.0)))
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        Self(op!(_mm256_sqrt_ps(self.0)))
    }
    #[inline(always)]
    fn floor(self) -> Self {
        Self(op!(_mm256_floor_ps(self.0)))
    }
    #[inline(always)]
    fn abs(self) -> Self {
        Self(op!(_mm256_andnot_ps(_mm256_set1_ps(-0.0), self.0)))
    }
    #[inline(always)]
    fn lt(self, b: Self) -> I8 {
        I8(op!(_mm256_castps_si256(_mm256_cmp_ps::<_CMP_LT_OQ>(self.0, b.0))))
    }
    #[inline(always)]
    fn ge(self, b: Self) -> I8 {
        I8(op!(_mm256_castps_si256(_mm256_cmp_ps::<_CMP_GE_OQ>(self.0, b.0))))
    }
    #[inline(always)]
    fn trunc_to_int(self) -> I8 {
        I8(op!(_mm256_cvttps_epi32(self.0)))
    }
    #[inline(always)]
    fn round_to_int(self) -> I8 {
        I8(op!(_mm256_cvtps_epi32(self.0)))
    }
    #[inline(always)]
    fn bits(self) -> I8 {
        I8(op!(_mm256_castps_si256(self.0)))
    }
    #[inline(always)]
    fn select(mask: I8, a: Self, b: Self) -> Self {
        Self(op!(_mm256_blendv_ps(b.0, a.0, _mm256_castsi256_ps(mask.0))))
    }
    #[inline(always)]
    fn lookup(table: &[f32; 64], index: I8) -> Self {
        // SAFETY: each index is below 64 after the mask.
        Self(unsafe {
            let index = _mm256_and_si256(index.0, _mm256_set1_epi32(63));
            gathered!(_mm256_i32gather_ps, table.as_ptr(), index)
        })
    }
    #[inline(always)]
    fn pair_sums(self, b: Self) -> Self {
        // Sums of each 128 bits of one and the other; halves of these change places.
        let sums = op!(_mm256_castps_pd(_mm256_hadd_ps(self.0, b.0)));
        Self(op!(_mm256_castpd_ps(_mm256_permute4x64_pd::<0xd8>(sums))))
    }
}

impl Int for I8 {
    type F = F8;
    #[inline(always)]
    fn splat(x: i32) -> Self {
        Self(op!(_mm256_set1_epi32(x)))
    }
    #[inline(always)]
    fn load(from: &[i32; LANES]) -> Self {
        // SAFETY: eight integers to read.
        Self(unsafe { _mm256_loadu_si256(from.as_ptr().cast()) })
    }
    #[inline(always)]
    fn load_u32(from: &[u32; LANES]) -> Self {
        // SAFETY: eight integers to read.
        Self(unsafe { _mm256_loadu_si256(from.as_ptr().cast()) })
    }
    #[inline(always)]
    fn store(self, to: &mut [i32; LANES]) {
        // SAFETY: eight integers to write.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), self.0) }
    }
    #[inline(always)]
    fn store_u32(self, to: &mut [u32; LANES]) {
        // SAFETY: eight integers to write.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), self.0) }
    }
    #[inline(always)]
    fn store_bytes(self, to: &mut [u8; LANES]) {
        // SAFETY: eight bytes to write.
        unsafe {
            // The low bytes of each half's lanes go to its lowest four bytes.
            let low = _mm256_set1_epi32(0x0c08_0400);
            let packed = _mm256_shuffle_epi8(self.0, low);
            let (a, b) = (_mm256_castsi256_si128(packed), _mm256_extracti128_si256::<1>(packed));
            _mm_storel_epi64(to.as_mut_ptr().cast(), _mm_unpacklo_epi32(a, b));
        }
    }
    #[inline(always)]
    fn shl<const N: i32>(self) -> Self {
        Self(op!(_mm256_slli_epi32::<N>(self.0)))
    }
    #[inline(always)]
    fn shr<const N: i32>(self) -> Self {
        Self(op!(_mm256_srli_epi32::<N>(self.0)))
    }
    #[inline(always)]
    fn sar<const N: i32>(self) -> Self {
        Self(op!(_mm256_srai_epi32::<N>(self.0)))
    }
    #[inline(always)]
    fn mul_halves_low(self, b: Self) -> Self {
        Self(op!(_mm256_mullo_epi16(self.0, b.0)))
    }
    #[inline(always)]
    fn mul_halves_high(self, b: Self) -> Self {
        Self(op!(_mm256_mulhi_epu16(self.0, b.0)))
    }
    #[inline(always)]
    fn min(self, b: Self) -> Self {
        Self(op!(_mm256_min_epi32(self.0, b.0)))
    }
    #[inline(always)]
    fn max(self, b: Self) -> Self {
        Self(op!(_mm256_max_epi32(self.0, b.0)))
    }
    #[inline(always)]
    fn eq(self, b: Self) -> Self {
        Self(op!(_mm256_cmpeq_epi32(self.0, b.0)))
    }
    #[inline(always)]
    fn gt(self, b: Self) -> Self {
        Self(op!(_mm256_cmpgt_epi32(self.0, b.0)))
    }
    #[inline(always)]
    fn to_float(self) -> F8 {
        F8(op!(_mm256_cvtepi32_ps(self.0)))
    }
    #[inline(always)]
    fn float_bits(self) -> F8 {
        F8(op!(_mm256_castsi256_ps(self.0)))
    }
    #[inline(always)]
    fn signs(self) -> u32 {
        op!(_mm256_movemask_ps(_mm256_castsi256_ps(self.0))) as u32
    }
    #[inline(always)]
    fn select(mask: Self, a: Self, b: Self) -> Self {
        // By the sign of each lane; the integer instruction would go by the sign of each byte.
        let (a, b, mask) = (a.float_bits(), b.float_bits(), mask.float_bits());
        F8(op!(_mm256_blendv_ps(b.0, a.0, mask.0))).bits()
    }
    #[inline(always)]
    fn gather(table: &[u32], index: Self) -> Self {
        // Scene limits keep tables below 2^31 elements, which is what signed indices can reach.
        let Some(last) = table.len().checked_sub(1).and_then(|last| i32::try_from(last).ok()) else {
            return Self::splat(0);
        };
        // SAFETY: each index is at most the last element's, as unsigned and, since that fits an i32, as signed.
        Self(unsafe {
            let index = _mm256_min_epu32(index.0, _mm256_set1_epi32(last));
            gathered!(_mm256_i32gather_epi32, table.as_ptr().cast::<i32>(), index)
        })
    }
    #[inline(always)]
    fn gather_pairs(table: &[u32], index: Self) -> (Self, Self) {
        let Some(last) = table.len().checked_sub(2).and_then(|last| i32::try_from(last).ok()) else {
            return (Self::splat(0), Self::splat(0));
        };
        let mut at = [0; LANES];
        Self(op!(_mm256_min_epu32(index.0, _mm256_set1_epi32(last)))).store(&mut at);
        // Eight plain loads: on Zen 3 a little faster than gather instructions.
        macro_rules! pair {
            ($lane:expr) => {
                table.as_ptr().add(at[$lane] as usize).cast::<i64>().read_unaligned()
            };
        }
        // SAFETY: each index is at most that of the last element but one, so eight bytes from there are the table's.
        unsafe {
            let low = _mm256_castsi256_ps(_mm256_set_epi64x(pair!(3), pair!(2), pair!(1), pair!(0)));
            let high = _mm256_castsi256_ps(_mm256_set_epi64x(pair!(7), pair!(6), pair!(5), pair!(4)));
            // Each half holds pairs; the even and the odd elements are wanted, in order.
            let first = _mm256_castps_si256(_mm256_shuffle_ps::<0x88>(low, high));
            let second = _mm256_castps_si256(_mm256_shuffle_ps::<0xdd>(low, high));
            (Self(_mm256_permute4x64_epi64::<0xd8>(first)), Self(_mm256_permute4x64_epi64::<0xd8>(second)))
        }
    }
    #[inline(always)]
    fn lookup(table: &[i32; 64], index: Self) -> Self {
        // SAFETY: each index is below 64 after the mask.
        Self(unsafe {
            let index = _mm256_and_si256(index.0, _mm256_set1_epi32(63));
            gathered!(_mm256_i32gather_epi32, table.as_ptr(), index)
        })
    }
    #[inline(always)]
    fn rows(table: &[[u32; LANES]], index: Self) -> [Self; LANES] {
        let Some(last) = table.len().checked_sub(1).and_then(|last| i32::try_from(last).ok()) else {
            return [Self::splat(0); LANES];
        };
        let mut at = [0; LANES];
        Self(op!(_mm256_min_epu32(index.0, _mm256_set1_epi32(last)))).store(&mut at);
        // Half a row of lane n, and of lane n + 4.
        macro_rules! halves {
            ($lane:expr, $half:expr) => {{
                let low = table.as_ptr().add(at[$lane] as usize).cast::<__m128i>().add($half);
                let high = table.as_ptr().add(at[$lane + 4] as usize).cast::<__m128i>().add($half);
                _mm256_set_m128i(_mm_loadu_si128(high), _mm_loadu_si128(low))
            }};
        }
        macro_rules! columns {
            ($half:expr) => {{
                let (a, b, c, d) =
                    (halves!(0, $half), halves!(1, $half), halves!(2, $half), halves!(3, $half));
                let (ab_low, ab_high) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
                let (cd_low, cd_high) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
                [
                    Self(_mm256_unpacklo_epi64(ab_low, cd_low)),
                    Self(_mm256_unpackhi_epi64(ab_low, cd_low)),
                    Self(_mm256_unpacklo_epi64(ab_high, cd_high)),
                    Self(_mm256_unpackhi_epi64(ab_high, cd_high)),
                ]
            }};
        }
        // SAFETY: each index is at most that of the last row, and a row has two halves.
        let ([a, b, c, d], [e, f, g, h]) = unsafe { (columns!(0), columns!(1)) };
        [a, b, c, d, e, f, g, h]
    }
}
