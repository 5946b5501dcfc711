//! What a file may ask for.

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
    /// Pixels of all decoded images.
    pub total_pixels: u64,
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
            // 8192 x 8192, 256 MiB decoded.
            image_pixels: 64 << 20,
            total_pixels: 256 << 20,
            warnings: 100,
        }
    }
}
