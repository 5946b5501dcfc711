//! The demo.
/// For now a sphere.
pub fn demo() -> Vec<u8> {
    super::bumpy_sphere(200_000, 7)
}
