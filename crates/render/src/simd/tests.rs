//! Every operation of every instruction set beside a scalar twin: one lane at a time, written with the standard library.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "lanes wrap as vector instructions do"
)]

use proptest::prelude::*;

use super::*;

/// What operations are given.
#[derive(Debug, Clone)]
struct Inputs {
    i: [i32; 8],
    j: [i32; 8],
    a: [f32; 8],
    b: [f32; 8],
    c: [f32; 8],
    table: Vec<u32>,
    ints: [i32; 64],
    floats: [f32; 64],
    rows: [[u32; 8]; 8],
}

/// What an operation gives, by lane.
type Lanes = [i32; 8];

/// Name, and what the operation made of the inputs.
type Results = Vec<(&'static str, Lanes)>;

fn all_of<S: Isa>(inputs: &Inputs) -> Results {
    let Inputs { table, ints, floats, rows, .. } = inputs;
    let (i, j) = (S::I::load(&inputs.i), S::I::load(&inputs.j));
    let (a, b, c) = (S::F::load(&inputs.a), S::F::load(&inputs.b), S::F::load(&inputs.c));
    let (pair0, pair1) = S::I::gather_pairs(table, i);
    let mut bytes = [0; 8];
    i.store_bytes(&mut bytes);
    let mut words = [0; 8];
    i.store_u32(&mut words);
    let mut out = vec![
        ("add", i + j),
        ("subtract", i - j),
        ("multiply", i * j),
        ("and", i & j),
        ("or", i | j),
        ("exclusive or", i ^ j),
        ("shift left", i.shl::<3>()),
        ("shift left by 31", i.shl::<31>()),
        ("shift right", i.shr::<3>()),
        ("shift right by 31", i.shr::<31>()),
        ("shift right with sign", i.sar::<3>()),
        ("shift right with sign by 31", i.sar::<31>()),
        ("multiply halves, low", i.mul_halves_low(j)),
        ("multiply halves, high", i.mul_halves_high(j)),
        ("least", Int::min(i, j)),
        ("most", Int::max(i, j)),
        ("equal", i.eq(j)),
        ("equal to itself", i.eq(i)),
        ("greater", i.gt(j)),
        ("to float", i.to_float().bits()),
        ("bits of float", a.bits()),
        ("float of bits", i.float_bits().bits()),
        ("select", S::I::select(i, j, S::I::splat(99))),
        ("select floats", S::F::select(i, a, b).bits()),
        ("gather", S::I::gather(table, i)),
        ("gather pairs, first", pair0),
        ("gather pairs, second", pair1),
        ("look up", S::I::lookup(ints, i)),
        ("look up floats", S::F::lookup(floats, i).bits()),
        ("signs", S::I::splat(i.signs() as i32)),
        ("store bytes", S::I::load(&bytes.map(i32::from))),
        ("store words", S::I::load_u32(&words)),
        ("iota", S::I::iota()),
        ("add floats", (a + b).bits()),
        ("subtract floats", (a - b).bits()),
        ("multiply floats", (a * b).bits()),
        ("divide", (a / b).bits()),
        ("negate", (-a).bits()),
        ("multiply and add", a.mul_add(b, c).bits()),
        ("least float", Float::min(a, b).bits()),
        ("most float", Float::max(a, b).bits()),
        ("root", a.sqrt().bits()),
        ("floor", a.floor().bits()),
        ("absolute", a.abs().bits()),
        ("less", a.lt(b)),
        ("not less", a.ge(b)),
        ("truncate", a.trunc_to_int()),
        ("round", a.round_to_int()),
        ("sums of pairs", a.pair_sums(b).bits()),
    ];
    out.extend(S::I::rows(rows, i & S::I::splat(15)).map(|column| ("rows", column)));
    out.extend(S::I::rows(rows, i).map(|column| ("rows, far out", column)));
    out.extend(S::I::rows(&[], i).map(|column| ("rows of nothing", column)));
    out.into_iter().map(|(name, lanes)| (name, lanes.array())).collect()
}

vectorized! {
    fn all(inputs: &Inputs) -> Results = all_of;
}

/// What is right: one or two possible bit patterns, or nothing that must hold.
#[derive(Debug, Clone, Copy)]
enum Right {
    Is(i32),
    /// Any NaN if this is one.
    Float(f32),
    /// Fused or not.
    Either(f32, f32),
    Anything,
}

impl Right {
    fn accepts(self, got: i32) -> bool {
        let same = |want: f32| {
            let got = f32::from_bits(got as u32);
            want.to_bits() == got.to_bits() || (want.is_nan() && got.is_nan())
        };
        match self {
            Self::Is(want) => got == want,
            Self::Float(want) => same(want),
            Self::Either(a, b) => same(a) || same(b),
            Self::Anything => true,
        }
    }
}

/// The scalar twin: what lane `n` of each operation must be, in the order of [`all_of`].
fn expected(inputs: &Inputs, n: usize) -> Vec<Right> {
    use Right::{Anything, Either, Float, Is};
    let Inputs { table, ints, floats, rows, .. } = inputs;
    let (i, j) = (inputs.i[n], inputs.j[n]);
    let (a, b, c) = (inputs.a[n], inputs.b[n], inputs.c[n]);
    let mask = |yes: bool| Is(if yes { -1 } else { 0 });
    let halves = |of: fn(u32) -> u32| {
        let product = |shift: u32| of((i as u32 >> shift & 0xffff) * (j as u32 >> shift & 0xffff));
        Is((product(0) & 0xffff | product(16) << 16) as i32)
    };
    let at = |index: i32, reach: usize| -> i32 {
        let Some(last) = table.len().checked_sub(reach) else { return 0 };
        table[(index as u32 as usize).min(last) + reach - 1] as i32
    };
    let first_of_pair =
        if table.len() < 2 { 0 } else { table[(i as u32 as usize).min(table.len() - 2)] as i32 };
    let signs = (0..8).map(|lane| i32::from(inputs.i[lane] < 0) << lane).sum();
    let fits = a.abs() < 2_147_483_520.0;
    let mut out = vec![
        Is(i.wrapping_add(j)),
        Is(i.wrapping_sub(j)),
        Is(i.wrapping_mul(j)),
        Is(i & j),
        Is(i | j),
        Is(i ^ j),
        Is(i << 3),
        Is(i << 31),
        Is((i as u32 >> 3) as i32),
        Is((i as u32 >> 31) as i32),
        Is(i >> 3),
        Is(i >> 31),
        halves(|product| product & 0xffff),
        halves(|product| product >> 16),
        Is(Ord::min(i, j)),
        Is(Ord::max(i, j)),
        mask(i == j),
        mask(true),
        mask(i > j),
        Float(i as f32),
        Is(a.to_bits() as i32),
        Is(i),
        Is(if i < 0 { j } else { 99 }),
        Is(if i < 0 { a } else { b }.to_bits() as i32),
        Is(at(i, 1)),
        Is(first_of_pair),
        Is(at(i, 2)),
        Is(ints[i as usize % 64]),
        Is(floats[i as usize % 64].to_bits() as i32),
        Is(signs),
        Is(i & 0xff),
        Is(i),
        Is(n as i32),
        Float(a + b),
        Float(a - b),
        Float(a * b),
        Float(a / b),
        Float(-a),
        Either(a.mul_add(b, c), a * b + c),
        Is(if a < b { a } else { b }.to_bits() as i32),
        Is(if a > b { a } else { b }.to_bits() as i32),
        Float(a.sqrt()),
        Float(a.floor()),
        Float(a.abs()),
        mask(a < b),
        mask(a >= b),
        if fits { Is(a.trunc() as i32) } else { Anything },
        if fits { Is(a.round_ties_even() as i32) } else { Anything },
        Float({
            let of = if n < 4 { &inputs.a } else { &inputs.b };
            of[n % 4 * 2] + of[n % 4 * 2 + 1]
        }),
    ];
    let row = |index: i32| rows[(index as u32 as usize).min(7)];
    out.extend((0..8).map(|column| Is(row(i & 15)[column] as i32)));
    out.extend((0..8).map(|column| Is(row(i)[column] as i32)));
    out.extend([Is(0); 8]);
    out
}

const INTS: [i32; 16] = [
    0,
    1,
    -1,
    7,
    63,
    64,
    255,
    256,
    i32::MAX,
    i32::MIN,
    i32::MAX - 1,
    i32::MIN + 1,
    -32768,
    0x0080_8000,
    0x7fff_8000,
    0x00ff_00ff,
];

const FLOATS: [f32; 22] = [
    0.0,
    -0.0,
    1.0,
    -1.5,
    0.5,
    -0.49999997,
    2.5,
    f32::NAN,
    -f32::NAN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::MAX,
    f32::MIN,
    f32::MIN_POSITIVE,
    // Denormals: the largest, the smallest.
    1.175_494_2e-38,
    1e-45,
    -1e-45,
    8_388_607.5,
    16_777_217.0,
    2_147_483_500.0,
    2_147_483_600.0,
    -2_147_483_600.0,
];

fn int() -> impl Strategy<Value = i32> {
    prop_oneof![prop::sample::select(INTS.to_vec()), any::<i32>(), -200..200]
}

fn float() -> impl Strategy<Value = f32> {
    prop_oneof![
        prop::sample::select(FLOATS.to_vec()),
        any::<u32>().prop_map(f32::from_bits),
        -1000.0f32..1000.0,
        -3e9f32..3e9,
    ]
}

fn inputs() -> impl Strategy<Value = Inputs> {
    let ints = || prop::array::uniform8(int());
    let floats = || prop::array::uniform8(float());
    let table = prop_oneof![0usize..4, 4usize..300].prop_flat_map(|n| prop::collection::vec(any::<u32>(), n));
    ((ints(), ints()), (floats(), floats(), floats()), table, any::<u32>()).prop_map(
        |((i, j), (a, b, c), table, seed)| Inputs {
            i,
            j,
            a,
            b,
            c,
            table,
            ints: std::array::from_fn(|n| (seed as i32).wrapping_mul(n as i32 + 1)),
            floats: std::array::from_fn(|n| FLOATS[(seed as usize + n) % FLOATS.len()]),
            rows: std::array::from_fn(|r| std::array::from_fn(|c| seed.wrapping_add((r * 8 + c) as u32))),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn every_operation_agrees_with_its_scalar_twin(inputs in inputs()) {
        for level in [Level::detect(), Level::Portable] {
            let got = all(level, &inputs);
            for lane in 0..8 {
                let expected = expected(&inputs, lane);
                prop_assert_eq!(expected.len(), got.len());
                for ((name, got), want) in got.iter().zip(expected) {
                    prop_assert!(
                        want.accepts(got[lane]),
                        "{:?}: {} in lane {}: {:#x} instead of {:?}", level, name, lane, got[lane], want
                    );
                }
            }
        }
    }
}

#[test]
fn every_pair_of_edge_cases_agrees_with_its_scalar_twin() {
    let n = INTS.len() * FLOATS.len();
    for first in 0..n {
        let inputs = Inputs {
            i: std::array::from_fn(|lane| INTS[(first + lane) % INTS.len()]),
            j: std::array::from_fn(|lane| INTS[(first / INTS.len() + lane * 5) % INTS.len()]),
            a: std::array::from_fn(|lane| FLOATS[(first + lane) % FLOATS.len()]),
            b: std::array::from_fn(|lane| FLOATS[(first / FLOATS.len() + lane * 3) % FLOATS.len()]),
            c: std::array::from_fn(|lane| FLOATS[(first * 7 + lane) % FLOATS.len()]),
            table: (0..first as u32 % 70).collect(),
            ints: std::array::from_fn(|n| n as i32),
            floats: [0.5; 64],
            rows: [[first as u32; 8]; 8],
        };
        for level in [Level::detect(), Level::Portable] {
            let got = all(level, &inputs);
            for lane in 0..8 {
                for ((name, got), want) in got.iter().zip(expected(&inputs, lane)) {
                    assert!(
                        want.accepts(got[lane]),
                        "{level:?}: {name}, lane {lane} of {inputs:?}: {:#x}",
                        got[lane]
                    );
                }
            }
        }
    }
}
