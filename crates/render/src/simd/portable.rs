//! Arrays of eight, for any target.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "lanes wrap and saturate as vector instructions do"
)]

use std::ops::{Add, BitAnd, BitOr, BitXor, Div, Mul, Neg, Sub};

use super::{Float, Int, Isa, LANES};

/// No particular instructions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portable;

impl Isa for Portable {
    type F = F8;
    type I = I8;
}

#[derive(Debug, Clone, Copy)]
#[repr(align(32))]
pub(crate) struct F8([f32; LANES]);

#[derive(Debug, Clone, Copy)]
#[repr(align(32))]
pub(crate) struct I8([i32; LANES]);

macro_rules! each {
    ($out:ident, |$i:ident| $x:expr) => {{
        let mut out = [Default::default(); LANES];
        for $i in 0..LANES {
            out[$i] = $x;
        }
        $out(out)
    }};
}

macro_rules! operator {
    ($ty:ident, $trait:ident, $name:ident, |$a:ident, $b:ident| $x:expr) => {
        impl $trait for $ty {
            type Output = Self;
            #[inline(always)]
            fn $name(self, other: Self) -> Self {
                each!($ty, |i| {
                    let ($a, $b) = (self.0[i], other.0[i]);
                    $x
                })
            }
        }
    };
}

operator!(F8, Add, add, |a, b| a + b);
operator!(F8, Sub, sub, |a, b| a - b);
operator!(F8, Mul, mul, |a, b| a * b);
operator!(F8, Div, div, |a, b| a / b);
operator!(I8, Add, add, |a, b| a.wrapping_add(b));
operator!(I8, Sub, sub, |a, b| a.wrapping_sub(b));
operator!(I8, Mul, mul, |a, b| a.wrapping_mul(b));
operator!(I8, BitAnd, bitand, |a, b| a & b);
operator!(I8, BitOr, bitor, |a, b| a | b);
operator!(I8, BitXor, bitxor, |a, b| a ^ b);

impl Neg for F8 {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        each!(F8, |i| -self.0[i])
    }
}

impl Float for F8 {
    type I = I8;
    #[inline(always)]
    fn splat(x: f32) -> Self {
        Self([x; LANES])
    }
    #[inline(always)]
    fn load(from: &[f32; LANES]) -> Self {
        Self(*from)
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; LANES]) {
        *to = self.0;
    }
    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        // Not f32::mul_add: without the instruction that is a slow library call.
        self * b + c
    }
    #[inline(always)]
    fn min(self, b: Self) -> Self {
        each!(F8, |i| if self.0[i] < b.0[i] { self.0[i] } else { b.0[i] })
    }
    #[inline(always)]
    fn max(self, b: Self) -> Self {
        each!(F8, |i| if self.0[i] > b.0[i] { self.0[i] } else { b.0[i] })
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        each!(F8, |i| self.0[i].sqrt())
    }
    #[inline(always)]
    fn floor(self) -> Self {
        each!(F8, |i| self.0[i].floor())
    }
    #[inline(always)]
    fn abs(self) -> Self {
        each!(F8, |i| self.0[i].abs())
    }
    #[inline(always)]
    fn lt(self, b: Self) -> I8 {
        each!(I8, |i| -i32::from(self.0[i] < b.0[i]))
    }
    #[inline(always)]
    fn ge(self, b: Self) -> I8 {
        each!(I8, |i| -i32::from(self.0[i] >= b.0[i]))
    }
    #[inline(always)]
    fn trunc_to_int(self) -> I8 {
        each!(I8, |i| self.0[i] as i32)
    }
    #[inline(always)]
    fn round_to_int(self) -> I8 {
        // Adding 1.5 * 2^23 leaves the rounded integer in the low bits, but only below 2^22; farther out f64 does it.
        const MAGIC: f64 = 6_755_399_441_055_744.0;
        each!(I8, |i| (f64::from(self.0[i]) + MAGIC).to_bits() as i32)
    }
    #[inline(always)]
    fn bits(self) -> I8 {
        each!(I8, |i| self.0[i].to_bits() as i32)
    }
    #[inline(always)]
    fn select(mask: I8, a: Self, b: Self) -> Self {
        each!(F8, |i| if mask.0[i] < 0 { a.0[i] } else { b.0[i] })
    }
    #[inline(always)]
    fn lookup(table: &[f32; 64], index: I8) -> Self {
        each!(F8, |i| table[index.0[i] as usize & 63])
    }
    #[inline(always)]
    fn pair_sums(self, b: Self) -> Self {
        each!(F8, |i| {
            let of = if i < 4 { self.0 } else { b.0 };
            of[i % 4 * 2] + of[i % 4 * 2 + 1]
        })
    }
}

/// `of` the product of the low halves and that of the high halves.
#[inline(always)]
fn halves(a: i32, b: i32, of: impl Fn(u32) -> u32) -> i32 {
    let (a, b) = (a as u32, b as u32);
    (of((a & 0xffff) * (b & 0xffff)) | of((a >> 16) * (b >> 16)) << 16) as i32
}

impl Int for I8 {
    type F = F8;
    #[inline(always)]
    fn splat(x: i32) -> Self {
        Self([x; LANES])
    }
    #[inline(always)]
    fn load(from: &[i32; LANES]) -> Self {
        Self(*from)
    }
    #[inline(always)]
    fn load_u32(from: &[u32; LANES]) -> Self {
        each!(I8, |i| from[i] as i32)
    }
    #[inline(always)]
    fn store(self, to: &mut [i32; LANES]) {
        *to = self.0;
    }
    #[inline(always)]
    fn store_u32(self, to: &mut [u32; LANES]) {
        for i in 0..LANES {
            to[i] = self.0[i] as u32;
        }
    }
    #[inline(always)]
    fn store_bytes(self, to: &mut [u8; LANES]) {
        for i in 0..LANES {
            to[i] = self.0[i] as u8;
        }
    }
    #[inline(always)]
    fn shl<const N: i32>(self) -> Self {
        each!(I8, |i| self.0[i] << N)
    }
    #[inline(always)]
    fn shr<const N: i32>(self) -> Self {
        each!(I8, |i| ((self.0[i] as u32) >> N) as i32)
    }
    #[inline(always)]
    fn sar<const N: i32>(self) -> Self {
        each!(I8, |i| self.0[i] >> N)
    }
    #[inline(always)]
    fn mul_halves_low(self, b: Self) -> Self {
        each!(I8, |i| halves(self.0[i], b.0[i], |product| product & 0xffff))
    }
    #[inline(always)]
    fn mul_halves_high(self, b: Self) -> Self {
        each!(I8, |i| halves(self.0[i], b.0[i], |product| product >> 16))
    }
    #[inline(always)]
    fn min(self, b: Self) -> Self {
        each!(I8, |i| self.0[i].min(b.0[i]))
    }
    #[inline(always)]
    fn max(self, b: Self) -> Self {
        each!(I8, |i| self.0[i].max(b.0[i]))
    }
    #[inline(always)]
    fn eq(self, b: Self) -> Self {
        each!(I8, |i| -i32::from(self.0[i] == b.0[i]))
    }
    #[inline(always)]
    fn gt(self, b: Self) -> Self {
        each!(I8, |i| -i32::from(self.0[i] > b.0[i]))
    }
    #[inline(always)]
    fn to_float(self) -> F8 {
        each!(F8, |i| self.0[i] as f32)
    }
    #[inline(always)]
    fn float_bits(self) -> F8 {
        each!(F8, |i| f32::from_bits(self.0[i] as u32))
    }
    #[inline(always)]
    fn signs(self) -> u32 {
        let mut out = 0;
        for i in 0..LANES {
            out |= u32::from(self.0[i] < 0) << i;
        }
        out
    }
    #[inline(always)]
    fn select(mask: Self, a: Self, b: Self) -> Self {
        each!(I8, |i| if mask.0[i] < 0 { a.0[i] } else { b.0[i] })
    }
    #[inline(always)]
    fn gather(table: &[u32], index: Self) -> Self {
        let Some(last) = table.len().checked_sub(1) else { return Self::splat(0) };
        each!(I8, |i| table[(index.0[i] as u32 as usize).min(last)] as i32)
    }
    #[inline(always)]
    fn gather_pairs(table: &[u32], index: Self) -> (Self, Self) {
        let Some(last) = table.len().checked_sub(2) else { return (Self::splat(0), Self::splat(0)) };
        let (mut first, mut second) = ([0; LANES], [0; LANES]);
        for i in 0..LANES {
            let at = (index.0[i] as u32 as usize).min(last);
            (first[i], second[i]) = (table[at] as i32, table[at + 1] as i32);
        }
        (Self(first), Self(second))
    }
    #[inline(always)]
    fn lookup(table: &[i32; 64], index: Self) -> Self {
        each!(I8, |i| table[index.0[i] as usize & 63])
    }
    #[inline(always)]
    fn rows(table: &[[u32; LANES]], index: Self) -> [Self; LANES] {
        let mut out = [Self([0; LANES]); LANES];
        let Some(last) = table.len().checked_sub(1) else { return out };
        for lane in 0..LANES {
            for (column, x) in table[(index.0[lane] as u32 as usize).min(last)].iter().enumerate() {
                out[column].0[lane] = *x as i32;
            }
        }
        out
    }
}
