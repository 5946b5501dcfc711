//! Whatever happens to a file on its way, reading it ends, and what comes out keeps the rules.

use std::sync::LazyLock;

use convert::{Limits, samples};
use proptest::{
    prelude::*,
    sample::{Index, select},
};

static FILES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    vec![
        samples::marked_cube(),
        samples::alpha_modes(),
        samples::two_materials(),
        samples::hierarchy(5),
        samples::bumpy_sphere(48, 3),
    ]
});

/// Small, so that a lucky number costs no time.
fn limits() -> Limits {
    Limits { vertices: 100_000, triangles: 100_000, nodes: 1000, image_pixels: 1 << 20, ..Limits::default() }
}

fn read(bytes: &[u8]) {
    if let Ok(loaded) = convert::read_glb(bytes, &limits()) {
        loaded.model.check().unwrap();
        assert!(loaded.warnings.len() <= 101);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_bytes(file in 0..5_usize, changes in prop::collection::vec((any::<Index>(), any::<u8>()), 1..8)) {
        let mut bytes = FILES[file].clone();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        read(&bytes);
    }

    /// In the JSON alone, where a digit does more than in a texture.
    #[test]
    fn changed_digits(
        file in 0..5_usize,
        changes in prop::collection::vec((any::<Index>(), select(b"0123456789-.eE[]{},:\"".to_vec())), 1..4),
    ) {
        let mut bytes = FILES[file].clone();
        let json = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
        let digits: Vec<usize> = (20..20 + json).filter(|i| bytes[*i].is_ascii_digit()).collect();
        for (at, value) in changes {
            bytes[digits[at.index(digits.len())]] = value;
        }
        read(&bytes);
    }

    #[test]
    fn cut_files(file in 0..5_usize, end in any::<Index>(), fix_length in any::<bool>()) {
        let mut bytes = FILES[file].clone();
        bytes.truncate(end.index(bytes.len()));
        if fix_length && bytes.len() >= 12 {
            let length = u32::try_from(bytes.len()).unwrap();
            bytes[8..12].copy_from_slice(&length.to_le_bytes());
        }
        prop_assert!(convert::read_glb(&bytes, &limits()).is_err());
    }

    #[test]
    fn noise(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(convert::read_glb(&bytes, &limits()).is_err());
    }
}
