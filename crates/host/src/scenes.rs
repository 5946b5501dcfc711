//! Models that can be shown: where they come from, and the thread that loads them.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use protocol::live::rpc;
use render::RenderScene;
use scene::{Aabb, Model};
use tokio::sync::mpsc;

use crate::limits::{CACHED_SCENES, LISTED_DEPTH, LISTED_ENTRIES, LISTED_MODELS, SOURCE_BYTES};
use crate::memory::Memory;
use crate::session::News;

/// What the generated demo model is called.
pub(crate) const DEMO: &str = "builtin://demo";

/// A scene that can be drawn.
pub(crate) struct Scene {
    /// What clients call it; empty for the empty scene.
    pub(crate) source: String,
    pub(crate) render: RenderScene,
    pub(crate) bounds: Option<Aabb>,
    info: rpc::SceneInfo,
    node_names: Vec<String>,
}

impl Scene {
    /// Nothing but background.
    pub(crate) fn empty() -> Result<Self, LoadError> {
        Self::build(String::new(), &convert::Loaded::default(), NonZeroUsize::MIN, &mut |_| ())
    }

    fn build(
        source: String,
        loaded: &convert::Loaded,
        n_threads: NonZeroUsize,
        progress: &mut dyn FnMut(f32),
    ) -> Result<Self, LoadError> {
        let model: &Model = &loaded.model;
        let render = RenderScene::build_on(n_threads, model, progress).map_err(|error| match error {
            render::BuildError::TooLarge { .. } => LoadError::new("ModelTooLarge", error.to_string()),
            other => LoadError::new("ModelInvalid", other.to_string()),
        })?;
        let bounds = model.bounds_in_world();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let vec3 = |v: scene::math::Vec3| rpc::Vec3 { x: v.x, y: v.y, z: v.z };
        let info = rpc::SceneInfo {
            revision: 0,
            source: source.clone(),
            bounds_min: bounds.map(|bounds| vec3(bounds.min)),
            bounds_max: bounds.map(|bounds| vec3(bounds.max)),
            triangles: model.triangles(),
            nodes: count(model.nodes.len()),
            materials: count(model.materials.len()),
            textures: count(model.textures.len()),
            warnings: loaded.warnings.iter().take(100).cloned().collect(),
        };
        let node_names = model.nodes.iter().map(|node| node.name.clone()).collect();
        Ok(Self { source, render, bounds, info, node_names })
    }

    /// What clients are told about it.
    pub(crate) fn info(&self, revision: u32) -> rpc::SceneInfo {
        rpc::SceneInfo { revision, ..self.info.clone() }
    }

    pub(crate) fn node_name(&self, node: u32) -> &str {
        self.node_names.get(node as usize).map_or("", String::as_str)
    }
}

/// Why a model is not shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct LoadError {
    /// As in `api/live.proto`.
    pub(crate) code: &'static str,
    /// For people.
    pub(crate) message: String,
}

impl LoadError {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Where a model is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// Generated.
    Demo,
    /// A file that may be opened.
    File(PathBuf),
}

/// Finds what a client calls `source`. It may name what lies below `models_dir`, and nothing else.
pub(crate) fn find(source: &str, models_dir: Option<&Path>) -> Result<Place, LoadError> {
    if source == DEMO {
        return Ok(Place::Demo);
    }
    let not_found = || {
        LoadError::new(
            "ModelNotFound",
            format!("there is no model {source:?}; ListModels says what there is"),
        )
    };
    let bad = |why: &str| {
        Err(LoadError::new(
            "BadRequest",
            format!("{why}; a source is {DEMO} or a path like folder/model.glb"),
        ))
    };
    if source.is_empty() || source.len() > SOURCE_BYTES {
        return bad("the source is empty or too long");
    }
    if source.contains(['\\', '\0', ':']) {
        return bad("the source has characters that it may not have");
    }
    let relative = Path::new(source);
    if !relative.components().all(|component| matches!(component, Component::Normal(_))) {
        return bad("the source must stay below the shared folder");
    }
    let Some(root) = models_dir else { return Err(not_found()) };
    // Symbolic links are followed first: where they lead is what counts.
    let root = root.canonicalize().map_err(|_gone| not_found())?;
    let file = root.join(relative).canonicalize().map_err(|_missing| not_found())?;
    if !file.starts_with(&root) || !file.is_file() {
        return Err(not_found());
    }
    Ok(Place::File(file))
}

/// What the operator chose for the session; any path.
pub(crate) fn trusted(model: &str) -> Place {
    if model == DEMO { Place::Demo } else { Place::File(PathBuf::from(model)) }
}

/// The models below `models_dir`, sorted, the demo first. Looks at a bounded number of entries.
pub(crate) fn list(models_dir: Option<&Path>) -> Vec<String> {
    let mut found = Vec::new();
    let root = models_dir.and_then(|dir| dir.canonicalize().ok());
    let mut folders: VecDeque<(PathBuf, usize)> = root.iter().map(|root| (root.clone(), 0)).collect();
    let mut n_entries = 0;
    while let (Some(root), Some((folder, depth))) = (&root, folders.pop_front()) {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            n_entries += 1;
            if n_entries > LISTED_ENTRIES {
                folders.clear();
                break;
            }
            let (path, Ok(kind)) = (entry.path(), entry.file_type()) else { continue };
            if kind.is_dir() {
                if depth < LISTED_DEPTH {
                    folders.push_back((path, depth + 1));
                }
                continue;
            }
            let is_model = path
                .extension()
                .is_some_and(|e| e.eq_ignore_ascii_case("glb") || e.eq_ignore_ascii_case("gltf"));
            let Some(source) = path.strip_prefix(root).ok().and_then(Path::to_str) else { continue };
            // Only what can be loaded is listed.
            if is_model && find(source, Some(root)).is_ok() {
                found.push(source.to_owned());
            }
        }
    }
    found.sort_unstable();
    found.truncate(LISTED_MODELS);
    found.insert(0, DEMO.to_owned());
    found
}

/// Lets threads that serve a client go first; what this thread makes, nobody waits for by the millisecond.
pub(crate) fn step_back() {
    // Priorities are per thread on Linux only; elsewhere this would slow the whole process.
    #[cfg(target_os = "linux")]
    let _refused = rustix::process::setpriority_process(None, 5).is_err();
}

/// What a model may need.
#[derive(Debug, Clone)]
pub(crate) struct ModelLimits {
    /// Threads that prepare it.
    pub(crate) n_threads: NonZeroUsize,
    /// Most primitives as drawn.
    pub(crate) max_primitives: Option<u64>,
    /// What there is for it.
    pub(crate) memory: Memory,
}

impl ModelLimits {
    /// What a file may ask for now.
    fn of_files(&self) -> convert::Limits {
        let mut limits = convert::Limits { n_threads: self.n_threads, ..convert::Limits::default() };
        limits.triangles = limits.triangles.min(self.max_primitives.unwrap_or(u64::MAX));
        match self.memory.free() {
            Some(free) => limits.within(free),
            None => limits,
        }
    }
}

/// An error with the ways out that a model of such a size has.
fn advised(error: &dyn std::fmt::Display) -> String {
    format!("{error}; or use a session of a larger size, or let the operator raise the limits of this one")
}

/// What a client asked to see.
pub(crate) struct Order {
    /// Counts up; news repeats it.
    pub(crate) number: u64,
    /// What clients call it.
    pub(crate) source: String,
    pub(crate) place: Place,
}

/// News of an order.
pub(crate) enum LoadNews {
    Progress { number: u64, source: String, fraction: f32, stage: &'static str },
    Done { number: u64, result: Result<Arc<Scene>, LoadError> },
}

/// The thread that loads. It does one order at a time; of those that wait, the newest.
pub(crate) struct Loader {
    shared: Arc<Waiting>,
}

#[derive(Default)]
struct Waiting {
    order: Mutex<(Option<Order>, bool)>,
    changed: Condvar,
}

impl Loader {
    pub(crate) fn start(limits: ModelLimits, news: mpsc::Sender<News>) -> std::io::Result<Self> {
        let shared = Arc::new(Waiting::default());
        let waiting = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("host-loader".into())
            .spawn(move || work(&waiting, &limits, &news))?;
        Ok(Self { shared })
    }

    /// Loads this next; forgets an order that waits.
    pub(crate) fn order(&self, order: Order) {
        self.shared.order.lock().unwrap_or_else(PoisonError::into_inner).0 = Some(order);
        self.shared.changed.notify_one();
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.shared.order.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        self.shared.changed.notify_one();
    }
}

fn work(waiting: &Waiting, limits: &ModelLimits, news: &mpsc::Sender<News>) {
    step_back();
    let mut cache = Cache::default();
    loop {
        let order = {
            let mut order = waiting.order.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                if order.1 {
                    return;
                }
                match order.0.take() {
                    Some(order) => break order,
                    None => order = waiting.changed.wait(order).unwrap_or_else(PoisonError::into_inner),
                }
            }
        };
        let result = cache.load(&order, limits, news);
        if news.blocking_send(News::Load(LoadNews::Done { number: order.number, result })).is_err() {
            return;
        }
    }
}

/// The scenes loaded last, newest first.
#[derive(Default)]
struct Cache(VecDeque<(Key, Arc<Scene>)>);

/// A file that was not touched since is the same model. The name is part of it because clients are told it.
type Key = (String, Place, Option<(SystemTime, u64)>);

impl Cache {
    fn load(
        &mut self,
        order: &Order,
        limits: &ModelLimits,
        news: &mpsc::Sender<News>,
    ) -> Result<Arc<Scene>, LoadError> {
        let stamp = match &order.place {
            Place::Demo => None,
            Place::File(file) => {
                file.metadata().ok().and_then(|meta| Some((meta.modified().ok()?, meta.len())))
            }
        };
        let key: Key = (order.source.clone(), order.place.clone(), stamp);
        if let Some(at) = self.0.iter().position(|(known, _)| *known == key)
            && let Some(hit) = self.0.remove(at)
        {
            self.0.push_front(hit);
            return Ok(Arc::clone(&self.0[0].1));
        }
        // Room first: the new scene may be as large as all of the old ones.
        self.0.truncate(CACHED_SCENES - 1);
        // Nor are old ones worth more than the new one.
        while limits.memory.is_scarce() && self.0.pop_back().is_some() {}
        let mut told = (f32::NEG_INFINITY, "");
        let mut tell = |fraction: f32, stage: &'static str| {
            if fraction >= told.0 + 0.02 || stage != told.1 {
                told = (fraction, stage);
                let (number, source) = (order.number, order.source.clone());
                // Dropped when nobody keeps up; the next one says more anyway.
                let _dropped = news
                    .try_send(News::Load(LoadNews::Progress { number, source, fraction, stage }))
                    .is_err();
            }
        };
        let scene = match &order.place {
            Place::Demo => demo(limits.n_threads)?,
            Place::File(file) => Arc::new(guarded(|| load_file(&order.source, file, limits, &mut tell))?),
        };
        self.0.push_front((key, Arc::clone(&scene)));
        Ok(scene)
    }
}

fn load_file(
    source: &str,
    file: &Path,
    limits: &ModelLimits,
    tell: &mut dyn FnMut(f32, &'static str),
) -> Result<Scene, LoadError> {
    tell(0.0, "reading the file");
    let loaded = convert::read(file, &limits.of_files(), &mut |share| tell(share * 0.5, "reading the file"))
        .map_err(|error| {
            let code = match &error.fault {
                convert::Fault::Unreadable { .. } => "ModelNotFound",
                convert::Fault::TooLarge { .. } => "ModelTooLarge",
                _ => "ModelInvalid",
            };
            LoadError::new(code, if code == "ModelTooLarge" { advised(&error) } else { error.to_string() })
        })?;
    limits
        .memory
        .admit(RenderScene::bytes_needed(&loaded.model))
        .map_err(|error| LoadError::new("ModelTooLarge", advised(&error)))?;
    Scene::build(source.to_owned(), &loaded, limits.n_threads, &mut |share| {
        tell(0.5 + share * 0.5, "preparing to draw it")
    })
}

/// The demo model, generated once per process; whoever comes meanwhile waits for it.
pub(crate) fn demo(n_threads: NonZeroUsize) -> Result<Arc<Scene>, LoadError> {
    static DEMO_SCENE: OnceLock<Result<Arc<Scene>, LoadError>> = OnceLock::new();
    DEMO_SCENE
        .get_or_init(|| {
            guarded(|| {
                let limits = convert::Limits { n_threads, ..convert::Limits::default() };
                let loaded = convert::read_glb(&convert::samples::demo(), &limits)
                    .map_err(|error| LoadError::new("Internal", error.to_string()))?;
                Scene::build(DEMO.to_owned(), &loaded, n_threads, &mut |_| ())
            })
            .map(Arc::new)
        })
        .clone()
}

/// Turns a panic into an error: a model that trips us must not end the session.
fn guarded<T>(f: impl FnOnce() -> Result<T, LoadError>) -> Result<T, LoadError> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|_panic| {
        Err(LoadError::new(
            "Internal",
            "the model tripped a fault of this service; please report it with the model",
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(source: &str, dir: &Path) -> &'static str {
        find(source, Some(dir)).map_or_else(|error| error.code, |_| "found")
    }

    #[test]
    fn sources_stay_below_their_folder() {
        let outside = tempfile::tempdir().unwrap();
        let dir = outside.path().join("models");
        std::fs::create_dir_all(dir.join("a")).unwrap();
        std::fs::write(outside.path().join("secret.glb"), "x").unwrap();
        std::fs::write(dir.join("a/m.glb"), "x").unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret.glb"), dir.join("link.glb")).unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.join("up")).unwrap();
        std::os::unix::fs::symlink(dir.join("a/m.glb"), dir.join("same.glb")).unwrap();
        for (source, expected) in [
            ("a/m.glb", "found"),
            ("same.glb", "found"),
            ("builtin://demo", "found"),
            ("a", "ModelNotFound"),
            ("none.glb", "ModelNotFound"),
            ("link.glb", "ModelNotFound"),
            ("up/secret.glb", "ModelNotFound"),
            ("../secret.glb", "BadRequest"),
            ("a/../../secret.glb", "BadRequest"),
            ("/etc/passwd", "BadRequest"),
            ("a\\m.glb", "BadRequest"),
            ("builtin://other", "BadRequest"),
            ("", "BadRequest"),
            ("a\0b", "BadRequest"),
        ] {
            assert_eq!(code(source, &dir), expected, "{source:?}");
        }
        assert_eq!(find("a/m.glb", None).unwrap_err().code, "ModelNotFound");
        assert_eq!(list(Some(&dir)), [DEMO, "a/m.glb", "same.glb"]);
        assert_eq!(list(None), [DEMO]);
    }
}
