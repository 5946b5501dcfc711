//! The conformance checklist as a whole: no item may lose its test.

use std::collections::BTreeSet;
use std::path::Path;

/// Sessions, token service and common rules (1 to 62), limits and errors (82 to 86), SDKs and scripts (87 to 90), the
/// management plane (95). 63 to 81 are about conversions, 91 to 94 about an API that was old in 2021: neither is there.
fn expected() -> BTreeSet<u32> {
    (1..=62).chain(82..=90).chain([95]).collect()
}

/// The numbers that a name such as `items_2_to_5_and_84_every_answer` carries.
fn numbers(name: &str) -> Vec<u32> {
    let Some((_, rest)) = ["items_", "item_"].iter().find_map(|word| name.split_once(word)) else {
        return Vec::new();
    };
    let mut numbers = Vec::new();
    let mut to = false;
    for word in rest.split(['_', ' ', ')', ',']) {
        match (word.parse(), word) {
            (Ok(number), _) => {
                let first = if to { numbers.last().map_or(number, |last| last + 1) } else { number };
                numbers.extend(first..=number);
                to = false;
            }
            (Err(_), "to") => to = true,
            (Err(_), "and") => {}
            (Err(_), _) => break,
        }
    }
    numbers
}

/// The lines of all files below a folder that are tests of this kind.
fn lines(dir: &Path, extension: &str, lines_of: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            lines(&path, extension, lines_of);
        } else if path.extension().is_some_and(|found| found == extension) {
            lines_of.extend(std::fs::read_to_string(&path).unwrap().lines().map(str::to_owned));
        }
    }
}

#[test]
fn every_item_has_a_test_with_its_number() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut rust, mut others) = (Vec::new(), Vec::new());
    lines(&root.join("tests/it"), "rs", &mut rust);
    for extension in ["py", "mjs"] {
        lines(&root.join("../../conformance"), extension, &mut others);
    }
    // In Rust by the function's name, elsewhere by words such as `(item 95)`.
    let named = rust.iter().filter(|line| line.contains("fn item")).flat_map(|line| numbers(line));
    let said = others.iter().filter_map(|line| line.split_once("(item")).flat_map(|(_, rest)| {
        let rest = rest.trim_start_matches('s').trim_start().replace(", ", "_").replace(' ', "_");
        numbers(&format!("items_{rest}"))
    });
    let found: BTreeSet<u32> = named.chain(said).collect();
    let missing: Vec<u32> = expected().difference(&found).copied().collect();
    assert!(missing.is_empty(), "items without a test: {missing:?}");
}

#[test]
fn names_carry_numbers() {
    for (name, expected) in [
        ("async fn items_2_to_5_8_to_11_and_84_every_answer()", vec![2, 3, 4, 5, 8, 9, 10, 11, 84]),
        ("fn item_25_tokens", vec![25]),
        ("fn items_17_to_19_and_21_keys_of_2_kinds", vec![17, 18, 19, 21]),
        ("fn nothing_3", vec![]),
    ] {
        assert_eq!(numbers(name), expected, "{name}");
    }
}
