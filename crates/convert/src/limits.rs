//! What a file may ask for.

use std::num::NonZeroUsize;

/// What a file may ask for. Each is checked before memory is reserved.
///
/// The defaults admit the largest models that one host can show and refuse what only an attack would contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the file with all buffers and images beside it.
    pub file_bytes: u64,
    /// Bytes of JSON, with the data URIs in it.
    pub json_bytes: usize,
    /// Objects in the JSON. Each becomes some hundred bytes, whatever its text takes.
    pub json_objects: usize,
    /// Values in the JSON, by the commas between them. A string takes 24 bytes, a number 4.
    pub json_values: usize,
    /// Nesting of arrays and objects in the JSON; the parser itself stops at 127.
    pub json_depth: usize,
    /// Triangles as drawn: a mesh counts again for every node that shows it.
    pub triangles: u64,
    /// Vertices of all primitives as read, before unused ones are dropped.
    pub vertices: u64,
    /// Nodes of the scene, instances included.
    pub nodes: usize,
    /// Nodes from a root to a leaf.
    pub depth: usize,
    /// Pixels of one decoded image.
    pub image_pixels: u64,
    /// Bytes that one image may take while it is decoded, its pixels included.
    pub image_bytes: u64,
    /// Pixels of all decoded images.
    pub total_pixels: u64,
    /// Bytes of all meshes in memory.
    pub mesh_bytes: u64,
    /// Threads that decode images; each holds one at a time.
    pub n_threads: NonZeroUsize,
    /// Warnings kept in full.
    pub warnings: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 4 << 30,
            json_bytes: 1 << 30,
            // Materials are the largest: 400 MB of them.
            json_objects: 1 << 20,
            json_values: 16 << 20,
            json_depth: 64,
            // Indices of 100 million triangles take 1.2 GB; instances take none.
            triangles: 2_000_000_000,
            vertices: 100_000_000,
            nodes: 1 << 20,
            depth: 4096,
            // 16384 x 16384, 1 GiB decoded, and while that goes on with 16 bits in four channels three times as much.
            image_pixels: 256 << 20,
            image_bytes: 4 << 30,
            total_pixels: 256 << 20,
            mesh_bytes: u64::MAX,
            n_threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            warnings: 100,
        }
    }
}

impl Limits {
    /// These, and what reading needs is within `memory_bytes`, about: a half for the file and its JSON, a quarter for
    /// meshes, a quarter for images.
    #[must_use]
    pub fn within(self, memory_bytes: u64) -> Self {
        let count = |bytes_each: u64| usize::try_from(memory_bytes / bytes_each).unwrap_or(usize::MAX);
        Self {
            file_bytes: self.file_bytes.min(memory_bytes / 4),
            json_bytes: self.json_bytes.min(count(8)),
            // An eighth of the memory for each: 400 bytes an object, 24 a value.
            json_objects: self.json_objects.min(count(8 * 400)),
            json_values: self.json_values.min(count(8 * 24)),
            vertices: self.vertices.min(memory_bytes / 4 / 12),
            mesh_bytes: self.mesh_bytes.min(memory_bytes / 4),
            // An eighth for what is decoded, and as much again for the image that is being decoded.
            image_pixels: self.image_pixels.min(memory_bytes / 8 / 4),
            image_bytes: self.image_bytes.min(memory_bytes / 8),
            total_pixels: self.total_pixels.min(memory_bytes / 8 / 4),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A texture of 16384 x 16384 in the usual formats.
    #[test]
    fn eight_gigabytes_admit_the_largest_textures() {
        let limits = Limits::default().within(8 << 30);
        let n_pixels = 1_u64 << 28;
        assert!(limits.image_pixels >= n_pixels && limits.total_pixels >= n_pixels);
        assert!(limits.image_bytes >= 4 * n_pixels);
    }

    #[test]
    fn little_memory_admits_little_and_much_admits_no_more() {
        let whole = Limits::default();
        let little = whole.clone().within(256 << 20);
        assert_eq!((little.file_bytes, little.mesh_bytes), (64 << 20, 64 << 20));
        assert_eq!(
            (little.image_bytes, little.image_pixels, little.total_pixels),
            (32 << 20, 8 << 20, 8 << 20)
        );
        assert_eq!(little.nodes, whole.nodes);
        let much = Limits { mesh_bytes: u64::MAX, ..whole.clone().within(1 << 40) };
        assert_eq!(much, whole);
    }
}
