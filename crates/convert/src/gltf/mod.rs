//! glTF 2.0 (Khronos, ISO/IEC 12113:2022) with the extensions of [`SUPPORTED`].

mod accessor;
mod container;
mod draco;
mod files;
mod image;
mod json;
mod ktx2;
mod light;
mod material;
mod mesh;
mod nodes;
mod strokes;

use std::path::Path;

use scene::{Model, math::Affine3A};

use self::{accessor::Data, container::Container, files::Files};
use crate::{Fault, Limits, Loaded, ReadError, warnings::Warnings};

/// Extensions that a file may require.
const SUPPORTED: &[&str] = &[
    "EXT_mesh_gpu_instancing",
    "EXT_meshopt_compression",
    "EXT_texture_webp",
    "KHR_draco_mesh_compression",
    "KHR_lights_punctual",
    "KHR_materials_clearcoat",
    "KHR_materials_emissive_strength",
    "KHR_materials_ior",
    "KHR_materials_pbrSpecularGlossiness",
    "KHR_materials_sheen",
    "KHR_materials_specular",
    "KHR_materials_transmission",
    "KHR_materials_unlit",
    "KHR_materials_volume",
    "KHR_mesh_quantization",
    "KHR_meshopt_compression",
    "KHR_texture_basisu",
    "KHR_texture_transform",
    // Without effect on what is shown, or shown a little plainer.
    "KHR_materials_anisotropy",
    "KHR_materials_dispersion",
    "KHR_materials_iridescence",
    "KHR_materials_variants",
    "KHR_xmp_json_ld",
];

/// No coordinate beyond this, so that squares and sums of squares stay finite in single precision.
const COORDINATE_MAX: f32 = 1e18;

/// Reads a file with those beside it.
pub(crate) fn read(path: &Path, limits: &Limits, progress: &mut dyn FnMut(f32)) -> Result<Loaded, ReadError> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let mut load = || {
        let unreadable = |source| Fault::Unreadable { what: "the file".to_owned(), source };
        let bytes = files::read_file(path, limits.file_bytes).map_err(unreadable)?;
        let Some(bytes) = bytes else {
            return Err(Fault::too_large("file", format!("more than {} bytes", limits.file_bytes)));
        };
        progress(0.2);
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = folder.canonicalize().map_err(unreadable)?;
        let left = limits.file_bytes - bytes.len() as u64;
        assemble(&bytes, Files::new(Some(folder), left), limits, progress)
    };
    load().map_err(|fault| fault.in_file(&name))
}

/// Reads a file in memory.
pub(crate) fn read_bytes(bytes: &[u8], limits: &Limits) -> Result<Loaded, ReadError> {
    let left = limits.file_bytes.saturating_sub(bytes.len() as u64);
    assemble(bytes, Files::new(None, left), limits, &mut |_| ()).map_err(|fault| fault.in_file("model"))
}

fn assemble(
    bytes: &[u8],
    mut files: Files,
    limits: &Limits,
    progress: &mut dyn FnMut(f32),
) -> Result<Loaded, Fault> {
    let mut warnings = Warnings::new(limits.warnings);
    let Container { json, bin } = container::open(bytes, limits, &mut warnings)?;
    container::survey(json, limits)?;
    let json = parse(json)?;
    refuse_foreign(&json.asset, &json.extensions_required)?;
    if !json.animations.is_empty() {
        warnings.say("Animations are not played.");
    }

    let data = Data::load(&json, bin, &mut files, &mut warnings)?;
    progress(0.3);

    let tree = nodes::flatten(&json, &data, limits, &mut warnings)?;
    let mut materials = material::Materials::new(&json);
    let meshes = mesh::read_all(&json, &data, &tree, limits, &mut materials, &mut warnings, &mut |share| {
        progress(0.3 + 0.4 * share);
    })?;
    let looks = materials.finish();
    let (images, image_from) =
        image::decode_all(&json, &data, &looks.images, &mut files, limits, &mut warnings);
    progress(0.95);

    let mut model = Model {
        nodes: tree.nodes,
        meshes,
        materials: looks.materials,
        textures: looks.textures,
        images,
        lights: tree.lights,
    };
    material::resolve_images(&mut model, &image_from);
    hide_far_nodes(&mut model, &mut warnings);
    if model.triangles() == 0 {
        warnings.say("There is nothing to show: the scene has no triangles.");
    }
    // Everything was checked on the way; this holds us to it whatever the input was.
    model.check().map_err(|defect| Fault::damaged("model", defect.to_string()))?;
    progress(1.0);
    Ok(Loaded { model, warnings: warnings.into_sentences() })
}

/// Parses the JSON; faults name the property.
fn parse(text: &str) -> Result<json::Root, Fault> {
    // Without tracking the path this is faster, and nearly all files are fine.
    if let Ok(root) = serde_json::from_str(text) {
        return Ok(root);
    }
    // A file of another version or with foreign extensions need not look like ours.
    if let Ok(head) = serde_json::from_str::<json::Head>(text) {
        refuse_foreign(&head.asset, &head.extensions_required)?;
    }
    let deserializer = &mut serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(deserializer).map_err(|e| {
        let path = e.path().to_string();
        let at = if path == "." { "JSON".to_owned() } else { path };
        Fault::damaged(at, e.inner().to_string())
    })
}

/// Refuses other versions of glTF and required extensions that we lack.
fn refuse_foreign(asset: &json::Asset, required: &[String]) -> Result<(), Fault> {
    if let Some(min) = &asset.min_version
        && min != "2.0"
    {
        return Err(Fault::Unsupported {
            what: format!("glTF {:.16} (asset.minVersion)", min.escape_debug().to_string()),
            advice: "export the model as glTF 2.0".to_owned(),
        });
    }
    let version = asset.version.trim();
    if !(version == "2" || version.starts_with("2.")) {
        return Err(container::old_version(&format!(
            "glTF {:.16} (asset.version)",
            version.escape_debug().to_string()
        )));
    }
    let Some(missing) = required.iter().find(|name| !SUPPORTED.contains(&name.as_str())) else {
        return Ok(());
    };
    Err(Fault::Unsupported {
        what: format!("the required extension {:.80}", missing.escape_debug().to_string()),
        advice: "export the model without it".to_owned(),
    })
}

/// Takes nodes out of sight that a transform moves to where single precision ends.
fn hide_far_nodes(model: &mut Model, warnings: &mut Warnings) {
    let bounds: Vec<_> = model.meshes.iter().map(scene::Mesh::bounds).collect();
    let world_from_node = model.world_from_node();
    let mut mended = false;
    for (node, world_from_node) in model.nodes.iter_mut().zip(world_from_node) {
        let Some(bounds) = node.mesh.and_then(|mesh| bounds[mesh as usize]) else { continue };
        let bounds = bounds.transformed(&scene::math::Mat4::from(world_from_node));
        let far = |v: scene::math::Vec3| !v.is_finite() || v.abs().max_element() > COORDINATE_MAX;
        if far(bounds.min) || far(bounds.max) {
            let name = node.name.escape_debug().to_string();
            warnings.say(format!("Node \"{name:.60}\" is not shown: its transform leads out of all bounds."));
            node.mesh = None;
            mended = true;
        }
    }
    if mended {
        // An infinite product further down must not turn up in someone's arithmetic.
        let world_from_node = model.world_from_node();
        for (node, world) in model.nodes.iter_mut().zip(world_from_node) {
            if !world.is_finite() {
                node.parent_from_node = Affine3A::IDENTITY;
                node.parent = None;
                node.mesh = None;
            }
        }
    }
}
