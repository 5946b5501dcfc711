//! A cgroup for each host, where the system lets us have one (version 2 only).
//!
//! ```text
//!   base, delegated to us          belvedere.service        controllers enabled for what is below
//!   ├── control                    this process             (`DelegateSubgroup=control`)
//!   ├── host-8f14e45f-…            a host                   memory.max, memory.oom.group, cpu.weight
//!   └── host-45c48cce-…            a host
//! ```
//!
//! A group with controllers for its children may have no processes of its own, which is why we must be in a leaf. We
//! do not move there ourselves under systemd: it could then not start us again while hosts of ours live.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::HostId;

use crate::sizes::SizeLimits;

/// What the leaf that we are in must be called.
const OWN_LEAF: &str = "control";

/// Killed processes leave their group within milliseconds.
const REMOVE_PAUSES: u32 = 10;
const REMOVE_PAUSE: Duration = Duration::from_millis(20);

/// The cgroup below which hosts get theirs.
#[derive(Clone, Debug)]
pub struct Cgroups {
    base: PathBuf,
    /// Whether the groups limit memory.
    memory: bool,
}

impl Cgroups {
    /// Finds the cgroup that was delegated to this process and makes it ready.
    ///
    /// # Errors
    ///
    /// Says why there is none; memory has to be limited in another way then.
    pub fn find() -> Result<Self, String> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let own = own_group(&read("/proc/self/mounts"), &read("/proc/self/cgroup"))
            .ok_or("there is no cgroup of version 2 here")?;
        let base = match own.parent() {
            Some(parent) if own.ends_with(OWN_LEAF) => parent.to_owned(),
            // The first process of a container: nobody else will ever be started in our group.
            _ if std::process::id() == 1 => {
                let leaf = own.join(OWN_LEAF);
                let moved = make_dir(&leaf).and_then(|()| fs::write(leaf.join("cgroup.procs"), "1"));
                moved.map_err(|error| format!("{} is not writable ({error})", own.display()))?;
                own
            }
            _ => return Err(format!("this process is in no cgroup called {OWN_LEAF} below a delegated one")),
        };
        let cgroups = Self::at(&base)?;
        if !cgroups.memory {
            return Err(format!("the memory controller is not available in {}", base.display()));
        }
        Ok(cgroups)
    }

    /// Uses the group at `base`, which must be ours and have no processes of its own, with what controllers there are.
    ///
    /// # Errors
    ///
    /// If groups cannot be made there.
    pub fn at(base: &Path) -> Result<Self, String> {
        let refuse = |error: io::Error| format!("{} cannot be used ({error})", base.display());
        let available = fs::read_to_string(base.join("cgroup.controllers")).map_err(refuse)?;
        let has = |controller: &str| available.split_whitespace().any(|name| name == controller);
        let enable = |controller: &str| {
            has(controller)
                && fs::write(base.join("cgroup.subtree_control"), format!("+{controller}")).is_ok()
        };
        let memory = enable("memory");
        let _unweighted = enable("cpu");
        let cgroups = Self { base: base.to_owned(), memory };
        // Whether we may make groups, and what hosts of an earlier process left.
        let probe = base.join("host-probe");
        make_dir(&probe).and_then(|()| fs::remove_dir(&probe)).map_err(refuse)?;
        cgroups.sweep();
        Ok(cgroups)
    }

    /// The folder.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// Whether the groups limit memory.
    pub(super) fn limit_memory(&self) -> bool {
        self.memory
    }

    /// Removes the groups in which nobody is left; others cannot be removed.
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.base) else { return };
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with("host-") {
                let _somebody_is_there = fs::remove_dir(entry.path()).is_err();
            }
        }
    }

    /// The host's group; it need not exist.
    pub(super) fn group(&self, host: HostId) -> Group {
        Group { path: self.base.join(format!("host-{host}")) }
    }

    /// Makes the host's group, with limits, and puts the process there.
    pub(super) fn confine(&self, host: HostId, pid: u32, limits: &SizeLimits) -> io::Result<Group> {
        let group = self.group(host);
        make_dir(&group.path)?;
        let set = |file: &str, value: String| fs::write(group.path.join(file), value);
        if self.memory {
            if let Some(bytes) = limits.memory_bytes {
                set("memory.max", bytes.to_string())?;
                // Absent without swap; with it, a model would not be refused but make the machine crawl.
                let _no_swap = set("memory.swap.max", "0".to_owned()).is_err();
            }
            // A host without its helpers, or the other way round, is of no use.
            set("memory.oom.group", "1".to_owned())?;
        }
        // On a busy machine each host gets what its size promises relative to others. No `cpu.max`: it would stop a
        // host in the middle of a picture while processors idle.
        let weight = limits.n_threads.get().saturating_mul(100).min(10_000);
        let _unweighted = set("cpu.weight", weight.to_string()).is_err();
        set("cgroup.procs", pid.to_string())?;
        Ok(group)
    }
}

/// A host's group.
#[derive(Debug)]
pub(super) struct Group {
    path: PathBuf,
}

impl Group {
    /// Whether the kernel killed for want of memory here.
    pub(super) fn ran_out_of_memory(&self) -> bool {
        fs::read_to_string(self.path.join("memory.events")).is_ok_and(|events| n_oom_kills(&events) > 0)
    }

    /// Ends whoever is left in the group, and removes it.
    pub(super) async fn remove(self) {
        // Kernels before 5.14 cannot; then only the process group is killed.
        let _cannot = fs::write(self.path.join("cgroup.kill"), "1").is_err();
        for _ in 0..REMOVE_PAUSES {
            match fs::remove_dir(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tokio::time::sleep(REMOVE_PAUSE).await;
                }
                _ => return,
            }
        }
        tracing::warn!(group = %self.path.display(), "a host's cgroup cannot be removed; the next start tries again");
    }
}

fn make_dir(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// The folder of this process's cgroup, from `/proc/self/mounts` and `/proc/self/cgroup`.
fn own_group(mounts: &str, cgroup: &str) -> Option<PathBuf> {
    let mount = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (at, kind) = (fields.next()?, fields.next()?);
        (kind == "cgroup2").then_some(at)
    })?;
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new(mount).join(path))
}

/// `oom_kill` of `memory.events`: processes of the group that were killed.
fn n_oom_kills(events: &str) -> u64 {
    let count = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_group_is_found() {
        let mounts = "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n";
        assert_eq!(
            own_group(mounts, "0::/system.slice/belvedere.service/control\n"),
            Some("/sys/fs/cgroup/system.slice/belvedere.service/control".into())
        );
        let both =
            "cgroup /sys/fs/cgroup/memory cgroup rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(own_group(both, "4:memory:/a\n0::/\n"), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(own_group("proc /proc proc rw 0 0\n", "0::/\n"), None);
    }

    #[test]
    fn kills_are_counted() {
        assert_eq!(n_oom_kills("low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\noom_group_kill 1\n"), 1);
        assert_eq!(n_oom_kills("oom 1\n"), 0);
    }
}
