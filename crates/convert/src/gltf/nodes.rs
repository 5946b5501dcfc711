//! The scene's tree, flattened with parents before children, instances unfolded.

use scene::{
    Light, Node,
    math::{Affine3A, Mat4, Quat, Vec3, Vec4},
};

use super::{accessor::Data, json, light};
use crate::{Fault, Limits, error::within, warnings::Warnings};

/// Nodes of the scene that is shown.
pub(super) struct Tree {
    /// As in a model, but `mesh` counts in [`Tree::meshes`].
    pub(super) nodes: Vec<Node>,
    /// The file's meshes that nodes show, each once.
    pub(super) meshes: Vec<u32>,
    /// By entry of `meshes`: how many nodes show it.
    pub(super) n_uses: Vec<u64>,
    pub(super) lights: Vec<Light>,
}

impl Tree {
    fn push(&mut self, node: Node, limits: &Limits) -> Result<u32, Fault> {
        if self.nodes.len() >= limits.nodes {
            let problem = format!("more than {} nodes with instances", limits.nodes);
            return Err(Fault::too_large("nodes", problem));
        }
        if let Some(mesh) = node.mesh {
            self.n_uses[mesh as usize] += 1;
        }
        self.nodes.push(node);
        Ok(index(self.nodes.len() - 1))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "lists are shorter: bounded by Limits::nodes")]
fn index(i: usize) -> u32 {
    i.min(u32::MAX as usize) as u32
}

/// Follows the default scene from its roots.
pub(super) fn flatten(
    json: &json::Root,
    data: &Data<'_>,
    limits: &Limits,
    warnings: &mut Warnings,
) -> Result<Tree, Fault> {
    let parents = parents(json)?;
    check_skins(json, warnings)?;
    let roots = roots(json, &parents, warnings)?;

    let mut tree = Tree { nodes: Vec::new(), meshes: Vec::new(), n_uses: Vec::new(), lights: Vec::new() };
    let mut mesh_map: Vec<Option<u32>> = vec![None; json.meshes.len()];
    let mut visited = vec![false; json.nodes.len()];
    // Node of the file, its parent in the tree, its depth.
    let mut open: Vec<(u32, Option<u32>, usize)> = roots.iter().rev().map(|root| (*root, None, 1)).collect();
    while let Some((i, parent, depth)) = open.pop() {
        if std::mem::replace(&mut visited[i as usize], true) {
            // Only a root may come again, below another root: children have one parent.
            warnings.say(format!("scenes: node {i} is a root and a child as well; it is shown once."));
            continue;
        }
        if depth > limits.depth {
            let problem = format!("the hierarchy is deeper than {} levels", limits.depth);
            return Err(Fault::too_large(format!("nodes[{i}]"), problem));
        }
        let node = &json.nodes[i as usize];
        let mesh = match node.mesh {
            None => None,
            Some(mesh) => {
                let m = within(mesh, json.meshes.len(), "mesh", || format!("nodes[{i}].mesh"))?;
                Some(*mesh_map[m].get_or_insert_with(|| {
                    tree.meshes.push(mesh);
                    tree.n_uses.push(0);
                    index(tree.meshes.len() - 1)
                }))
            }
        };
        let instancing = node.extensions.instancing.as_ref();
        let own = tree.push(
            Node {
                name: node.name.clone(),
                parent,
                parent_from_node: transform(node, i, warnings)?,
                mesh: mesh.filter(|_| instancing.is_none()),
            },
            limits,
        )?;
        if let Some(light) = &node.extensions.light {
            tree.lights.extend(light::convert(json, light.light, own, i, warnings)?);
        }
        if let (Some(instancing), Some(_)) = (instancing, mesh) {
            for parent_from_node in instances(&instancing.attributes, data, i, limits, warnings)? {
                let instance = Node { name: String::new(), parent: Some(own), parent_from_node, mesh };
                tree.push(instance, limits)?;
            }
        }
        open.extend(node.children.iter().rev().map(|child| (*child, Some(own), depth + 1)));
    }
    if !visited.iter().all(|v| *v) && has_cycle(&parents) {
        warnings.say("Nodes outside the scene form a cycle; they are not shown.");
    }
    light::limit(&mut tree.lights, warnings);
    Ok(tree)
}

/// The parent of each node; refuses whatever is not a set of trees, cycles excepted.
fn parents(json: &json::Root) -> Result<Vec<Option<u32>>, Fault> {
    let mut parents: Vec<Option<u32>> = vec![None; json.nodes.len()];
    for (i, node) in json.nodes.iter().enumerate() {
        for (c, child) in node.children.iter().enumerate() {
            let at = || format!("nodes[{i}].children[{c}]");
            let n = within(*child, json.nodes.len(), "node", at)?;
            if let Some(other) = parents[n].replace(index(i)) {
                let problem =
                    format!("node {child} is a child of node {other} already; nodes must form a tree");
                return Err(Fault::damaged(at(), problem));
            }
        }
    }
    Ok(parents)
}

/// Roots of the default scene, else of the first, else all nodes without parents; each once, and none in a cycle.
fn roots(json: &json::Root, parents: &[Option<u32>], warnings: &mut Warnings) -> Result<Vec<u32>, Fault> {
    let scene = match json.scene {
        Some(scene) => Some(within(scene, json.scenes.len(), "scene", || "scene".to_owned())?),
        None if json.scenes.is_empty() => None,
        None => Some(0),
    };
    let Some(scene) = scene else {
        let orphans = parents.iter().enumerate().filter(|(_, parent)| parent.is_none());
        return Ok(orphans.map(|(i, _)| index(i)).collect());
    };
    let listed = &json.scenes[scene].nodes;
    let mut roots = Vec::with_capacity(listed.len());
    let mut seen = vec![false; json.nodes.len()];
    // Together no more steps than nodes: a chain walked once is not walked again.
    let mut safe = vec![false; json.nodes.len()];
    for (r, root) in listed.iter().enumerate() {
        let at = || format!("scenes[{scene}].nodes[{r}]");
        let i = within(*root, json.nodes.len(), "node", at)?;
        if std::mem::replace(&mut seen[i], true) {
            warnings.say(format!("{}: node {root} is listed twice; it is shown once.", at()));
            continue;
        }
        let mut chain = Vec::new();
        let mut up = Some(*root);
        while let Some(u) = up {
            if safe[u as usize] {
                break;
            }
            if chain.len() > json.nodes.len() {
                return Err(Fault::damaged(at(), format!("node {root} is its own descendant (a cycle)")));
            }
            chain.push(u);
            up = parents[u as usize];
        }
        chain.into_iter().for_each(|u| safe[u as usize] = true);
        roots.push(*root);
    }
    // A listed node that is also a child belongs to its parent, if that is shown: roots proper go first.
    let (proper, children): (Vec<u32>, Vec<u32>) =
        roots.into_iter().partition(|root| parents[*root as usize].is_none());
    Ok(proper.into_iter().chain(children).collect())
}

fn has_cycle(parents: &[Option<u32>]) -> bool {
    // 0 unknown, 1 on the way, 2 leads to a root.
    let mut state = vec![0_u8; parents.len()];
    for start in 0..parents.len() {
        let mut chain = Vec::new();
        let mut up = Some(start);
        while let Some(u) = up {
            match state[u] {
                1 => return true,
                2 => break,
                _ => state[u] = 1,
            }
            chain.push(u);
            up = parents[u].map(|p| p as usize);
        }
        chain.into_iter().for_each(|u| state[u] = 2);
    }
    false
}

fn check_skins(json: &json::Root, warnings: &mut Warnings) -> Result<(), Fault> {
    for (s, skin) in json.skins.iter().enumerate() {
        for (j, joint) in skin.joints.iter().enumerate() {
            within(*joint, json.nodes.len(), "node", || format!("skins[{s}].joints[{j}]"))?;
        }
    }
    if json.nodes.iter().any(|node| node.skin.is_some()) {
        warnings.say("Skinned meshes are shown in their rest pose.");
    }
    Ok(())
}

fn transform(node: &json::Node, i: u32, warnings: &mut Warnings) -> Result<Affine3A, Fault> {
    let parent_from_node = match &node.matrix {
        Some(matrix) => {
            let matrix = Mat4::from_cols_array(matrix);
            if matrix.row(3) != Vec4::W {
                warnings.say(format!("nodes[{i}].matrix: the fourth row is not 0 0 0 1; it was ignored."));
            }
            Affine3A::from_mat4(matrix)
        }
        None => {
            let rotation = rotation(Vec4::from_array(node.rotation.unwrap_or([0.0, 0.0, 0.0, 1.0])))
                .unwrap_or_else(|| {
                    warnings.say(format!("nodes[{i}].rotation: has no direction; the node is not turned."));
                    Quat::IDENTITY
                });
            Affine3A::from_scale_rotation_translation(
                Vec3::from_array(node.scale.unwrap_or([1.0; 3])),
                rotation,
                Vec3::from_array(node.translation.unwrap_or([0.0; 3])),
            )
        }
    };
    if parent_from_node.is_finite() {
        Ok(parent_from_node)
    } else {
        Err(Fault::damaged(format!("nodes[{i}]"), "the transform has numbers that are too large"))
    }
}

/// A unit quaternion of any that has a length.
fn rotation(xyzw: Vec4) -> Option<Quat> {
    let length = xyzw.length();
    (length > 1e-6 && length.is_finite()).then(|| Quat::from_vec4(xyzw / length))
}

/// EXT_mesh_gpu_instancing.
fn instances(
    attributes: &json::InstancingAttributes,
    data: &Data<'_>,
    i: u32,
    limits: &Limits,
    warnings: &mut Warnings,
) -> Result<Vec<Affine3A>, Fault> {
    let at = |name: &str| format!("nodes[{i}].extensions.EXT_mesh_gpu_instancing.attributes.{name}");
    let mut count = None;
    for (name, accessor) in [
        ("TRANSLATION", attributes.translation),
        ("ROTATION", attributes.rotation),
        ("SCALE", attributes.scale),
    ] {
        let Some(accessor) = accessor else { continue };
        let n = data.accessor(accessor, || at(name))?.count;
        if n > limits.nodes as u64 {
            return Err(Fault::too_large(at(name), format!("{n} instances, {} are allowed", limits.nodes)));
        }
        if *count.get_or_insert(n) != n {
            return Err(Fault::damaged(at(name), "its count differs from that of the other attributes"));
        }
    }
    let count = usize::try_from(count.unwrap_or(0)).unwrap_or(0);
    let translations = attributes.translation.map(|a| data.vec3(a, || at("TRANSLATION"))).transpose()?;
    let rotations = attributes.rotation.map(|a| data.vec4(a, || at("ROTATION"))).transpose()?;
    let scales = attributes.scale.map(|a| data.vec3(a, || at("SCALE"))).transpose()?;
    let mut all = Vec::with_capacity(count);
    for n in 0..count {
        let instance = Affine3A::from_scale_rotation_translation(
            scales.as_ref().map_or(Vec3::ONE, |v| v[n]),
            rotations.as_ref().map_or(Some(Quat::IDENTITY), |v| rotation(v[n])).unwrap_or(Quat::IDENTITY),
            translations.as_ref().map_or(Vec3::ZERO, |v| v[n]),
        );
        if instance.is_finite() {
            all.push(instance);
        } else {
            warnings.say(format!("nodes[{i}]: instances with numbers that are not finite are not shown."));
        }
    }
    Ok(all)
}
