//! The hosts, counted: with ten thousand of them, nobody goes through all to find one or to know how many there are.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use protocol::HostId;
use protocol::rest::SessionSize;

use super::hosts::{Host, Role};

/// What a host does, without for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Starting,
    Warm,
    Serving,
    Ending,
}

impl Role {
    fn kind(&self) -> Kind {
        match self {
            Self::Starting => Kind::Starting,
            Self::Warm => Kind::Warm,
            Self::Serving(_) => Kind::Serving,
            Self::Ending => Kind::Ending,
        }
    }
}

/// All hosts by name. Roles change by [`Self::set_role`] alone.
#[derive(Default)]
pub(super) struct Roll {
    hosts: HashMap<HostId, Host>,
    counts: BTreeMap<(Kind, SessionSize), u32>,
    warm: BTreeSet<(SessionSize, HostId)>,
}

impl Roll {
    pub(super) fn get(&self, id: HostId) -> Option<&Host> {
        self.hosts.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: HostId) -> Option<&mut Host> {
        self.hosts.get_mut(&id)
    }

    pub(super) fn insert(&mut self, id: HostId, host: Host) {
        self.remove(id);
        self.count(id, host.size, host.role.kind(), true);
        self.hosts.insert(id, host);
    }

    pub(super) fn remove(&mut self, id: HostId) -> Option<Host> {
        let host = self.hosts.remove(&id)?;
        self.count(id, host.size, host.role.kind(), false);
        Some(host)
    }

    pub(super) fn set_role(&mut self, id: HostId, role: Role) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let (size, new) = (host.size, role.kind());
        let old = std::mem::replace(&mut host.role, role).kind();
        self.count(id, size, old, false);
        self.count(id, size, new, true);
    }

    fn count(&mut self, id: HostId, size: SessionSize, kind: Kind, comes: bool) {
        let n = self.counts.entry((kind, size)).or_default();
        *n = if comes { n.saturating_add(1) } else { n.saturating_sub(1) };
        match (kind, comes) {
            (Kind::Warm, true) => drop(self.warm.insert((size, id))),
            (Kind::Warm, false) => drop(self.warm.remove(&(size, id))),
            (Kind::Starting | Kind::Serving | Kind::Ending, _) => {}
        }
    }

    /// How many of `size` do that.
    pub(super) fn n(&self, kind: Kind, size: SessionSize) -> u32 {
        self.counts.get(&(kind, size)).copied().unwrap_or(0)
    }

    /// All of them.
    pub(super) fn len(&self) -> usize {
        self.hosts.len()
    }

    /// The warm ones of `size`, in the order of their names.
    pub(super) fn warm(&self, size: SessionSize) -> impl Iterator<Item = HostId> {
        self.warm.iter().filter(move |(this, _)| *this == size).map(|(_, id)| *id)
    }

    /// All names, in order.
    pub(super) fn names(&self) -> Vec<HostId> {
        let mut names: Vec<HostId> = self.hosts.keys().copied().collect();
        names.sort_unstable();
        names
    }
}
