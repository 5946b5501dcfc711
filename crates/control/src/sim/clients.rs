//! Clients that want, change their minds, hang up and ask again, and remember what they were told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use protocol::rest::{SessionSize, SessionStatus};
use protocol::{AccountId, SessionId};
use session::{Minutes, Session};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::World;
use super::disk::rank;
use crate::engine::view::Key;
use crate::engine::{Event, Refused, Start, Wish, is_remembered};

/// A wish for a lease, by PUT or PATCH, and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Asked, or asked and never answered: it may have an effect, now or after a restart.
    Open,
    Done,
    Refused,
}

/// What all clients together know of a session.
#[derive(Default)]
pub(super) struct Known {
    /// Each PUT: size, minutes, what became of it.
    puts: Vec<(SessionSize, u32, Fate)>,
    patches: Vec<(u32, Fate)>,
    /// What was seen or acknowledged.
    rank: u8,
    end: Option<SessionStatus>,
    lease: u32,
    exists: bool,
    /// A PUT was answered with 201.
    created: bool,
    /// What never changes.
    birth: Option<(i64, String)>,
    stopped: bool,
}

/// What a client sees of a session.
struct Sight {
    birth: (i64, String),
    size: SessionSize,
    status: SessionStatus,
    lease: u32,
}

impl Known {
    fn sees(&mut self, key: &Key, sight: &Sight) {
        let name = key.1.as_str();
        let possible = self.puts.iter().any(|(size, _, fate)| *size == sight.size && *fate != Fate::Refused);
        assert!(possible, "nobody asked for {name}: {:?}", self.puts);
        let leases = self.puts.iter().map(|(_, minutes, fate)| (*minutes, *fate));
        let wanted = leases
            .chain(self.patches.iter().copied())
            .any(|(minutes, fate)| minutes == sight.lease && fate != Fate::Refused);
        assert!(wanted, "nobody asked for {} min of {name}", sight.lease);
        let rank = rank(sight.status);
        assert!(rank >= self.rank, "{name} is {:?} again", sight.status);
        assert!(self.end.is_none_or(|end| end == sight.status), "{name} ended twice");
        assert!(sight.lease >= self.lease, "{name} lost its lease of {} min", self.lease);
        assert!(!self.stopped || rank == 2, "{name} was stopped and goes on");
        let birth = self.birth.get_or_insert_with(|| sight.birth.clone());
        assert_eq!(*birth, sight.birth, "{name} was born twice");
        self.exists = true;
        self.rank = rank;
        self.end = (rank == 2).then_some(sight.status);
        self.lease = sight.lease;
    }
}

fn account(n: u64) -> AccountId {
    AccountId::new(Uuid::from_u128(u128::from(n) + 1))
}

pub(super) async fn live(world: Arc<World>) {
    loop {
        world.sim.sleep(world.sim.pause(world.nature.think)).await;
        if !world.is_stormy() && world.state().calm_for_good {
            return;
        }
        let key = choose(&world);
        match world.sim.below(10) {
            0..=3 => put(&world, key).await,
            4 | 5 => patch(&world, key).await,
            6 => stop(&world, key).await,
            7 | 8 => get(&world, &key).await,
            _ => list(&world, key.0),
        }
    }
}

/// One of the newest sessions, which others use, too, or a new one.
fn choose(world: &World) -> Key {
    let mut state = world.state();
    let n_recent = state.recent.len() as u64;
    if n_recent == 0 || world.sim.once_in(6) {
        state.n_names += 1;
        let id: SessionId = format!("s{}", state.n_names).parse().expect("a name");
        let key = (account(world.sim.below(2)), id);
        state.recent.push_back(key.clone());
        if state.recent.len() > 12 {
            state.recent.pop_front();
        }
        return key;
    }
    state.recent[world.sim.below(n_recent) as usize].clone()
}

/// Asks the engine as the API does. `None` if there is no answer: nobody there, a crash, or no patience.
async fn ask<T>(
    world: &World,
    event: impl FnOnce(oneshot::Sender<Result<T, Refused>>) -> Event,
) -> Option<Result<T, Refused>> {
    let engine = world.state().plane.as_ref()?.engine.clone();
    let (reply, answer) = oneshot::channel();
    // Some hang up at once; most wait for as long as a request may take.
    let hurry = world.is_stormy() && world.sim.once_in(10);
    let patience = if hurry { world.sim.millis(0, 10) } else { Duration::from_secs(15) };
    tokio::select! {
        biased;
        answer = async { engine.send(event(reply)).await.ok()?; answer.await.ok() } => answer,
        () = world.sim.sleep(patience) => None,
    }
}

async fn put(world: &World, key: Key) {
    let nature = &world.nature;
    let premium = world.sim.once_in(nature.premium_once_in);
    let size = if premium { SessionSize::Premium } else { SessionSize::Standard };
    let minutes = nature.leases[world.sim.below(nature.leases.len() as u64) as usize];
    let lease = Minutes::new(minutes).expect("within the limit");
    let (n, existed) = {
        let mut state = world.state();
        let known = state.known.entry(key.clone()).or_default();
        known.puts.push((size, minutes, Fate::Open));
        (known.puts.len() - 1, known.exists)
    };
    world.sim.trace(format_args!("PUT {} {minutes} min", key.1));
    let start = Start::new(&key.1, size, String::new());
    let wish = Wish { key: key.clone(), size, lease, model: None, start };
    let answer = ask(world, |reply| Event::Create { wish, reply }).await;
    let mut state = world.state();
    let known = state.known.entry(key.clone()).or_default();
    let rivals = known.puts.iter().enumerate().any(|(other, put)| other != n && put.2 != Fate::Refused);
    let fate = &mut known.puts[n].2;
    match answer {
        Some(Ok(done)) => {
            *fate = Fate::Done;
            assert!(done.created || rivals, "{} was there before it was asked for", key.1);
            assert!(!done.created || !(existed || known.created), "{} was created twice", key.1);
            known.created |= done.created;
            assert_eq!(done.shown.size, size);
            // The answer may come after newer news.
            let sight = Sight {
                birth: (done.shown.seq, done.shown.creation_time.clone()),
                size,
                status: done.shown.life.status(),
                lease: done.shown.life.lease().get(),
            };
            if known.rank <= rank(sight.status) && known.lease <= sight.lease && !known.stopped {
                known.sees(&key, &sight);
            }
            known.exists = true;
            world.sim.trace(format_args!("{} is there, new: {}", key.1, done.created));
        }
        Some(Err(Refused::Conflict)) => {
            // It is not there because of this PUT, unless another one asked for the same.
            *fate = Fate::Refused;
            assert!(rivals, "{} is in conflict with nothing", key.1);
            world.sim.trace(format_args!("{} is taken", key.1));
        }
        // Told before anything was done.
        Some(Err(Refused::Draining)) => *fate = Fate::Refused,
        // The service could not say; it may be there all the same.
        Some(Err(Refused::Unavailable)) | None => {}
        Some(Err(refused)) => panic!("a PUT was refused: {refused:?}"),
    }
}

async fn patch(world: &World, key: Key) {
    let minutes = world.sim.below(u64::from(world.nature.leases.iter().copied().max().unwrap_or(5)) + 3);
    let minutes = u32::try_from(minutes).unwrap_or(0).min(1_440);
    let lease = Minutes::new(minutes).expect("within the limit");
    let (n, existed) = {
        let mut state = world.state();
        let known = state.known.entry(key.clone()).or_default();
        known.patches.push((minutes, Fate::Open));
        (known.patches.len() - 1, known.exists)
    };
    world.sim.trace(format_args!("PATCH {} {minutes} min", key.1));
    let answer = ask(world, |reply| Event::SetLease { key: key.clone(), lease, reply }).await;
    let mut state = world.state();
    let known = state.known.entry(key.clone()).or_default();
    let fate = &mut known.patches[n].1;
    match answer {
        Some(Ok(done)) => {
            *fate = Fate::Done;
            assert!(!known.stopped, "{} was stopped and got a lease", key.1);
            known.lease = known.lease.max(minutes);
            assert_eq!(done.shown.life.lease().get(), minutes);
        }
        Some(Err(Refused::Denied(_))) => *fate = Fate::Refused,
        Some(Err(Refused::NotFound)) => {
            *fate = Fate::Refused;
            assert!(!existed, "{} is lost", key.1);
        }
        Some(Err(Refused::Unavailable)) | None => {}
        Some(Err(refused @ (Refused::Conflict | Refused::Draining))) => {
            panic!("a PATCH was refused: {refused:?}")
        }
    }
}

async fn stop(world: &World, key: Key) {
    let existed = {
        let mut state = world.state();
        state.stops.insert(key.clone());
        state.known.get(&key).is_some_and(|known| known.exists)
    };
    world.sim.trace(format_args!("stop {}", key.1));
    let answer = ask(world, |reply| Event::Stop { key: key.clone(), reply }).await;
    let mut state = world.state();
    let known = state.known.entry(key.clone()).or_default();
    match answer {
        Some(Ok(())) => {
            known.stopped = true;
            world.sim.trace(format_args!("{} is stopped", key.1));
        }
        Some(Err(Refused::NotFound)) => assert!(!existed, "{} is lost", key.1),
        Some(Err(Refused::Unavailable)) | None => {}
        Some(Err(refused)) => panic!("a stop was refused: {refused:?}"),
    }
}

async fn get(world: &World, key: &Key) {
    let Some(view) = world.state().plane.as_ref().map(|plane| Arc::clone(&plane.view)) else { return };
    let existed = world.state().known.get(key).is_some_and(|known| known.exists);
    let sight = match view.session(key) {
        Some(shown) => Sight {
            birth: (shown.seq, shown.creation_time.clone()),
            size: shown.size,
            status: shown.life.status(),
            lease: shown.life.lease().get(),
        },
        None => {
            let Ok(row) = world.read_row(key).await else { return };
            let now = world.sim.now();
            let row = row.filter(|row| is_remembered(now, row));
            let Some(row) = row else {
                assert!(!existed, "{} is lost", key.1);
                return;
            };
            let life = Session::restore(now, row.life, row.host.is_some()).expect("a life");
            let birth = (row.seq, row.creation_time);
            Sight { birth, size: row.size, status: life.status(), lease: life.lease().get() }
        }
    };
    let mut state = world.state();
    // What is shown is stored.
    let row = &state.rows[key];
    let (status, lease) = (row.life.status, row.life.lease.get());
    assert!(rank(sight.status) <= rank(status) && sight.lease <= lease, "{} is shown too early", key.1);
    world.sim.trace(format_args!("{} is {:?}", key.1, sight.status));
    state.known.entry(key.clone()).or_default().sees(key, &sight);
}

/// All pages at once: what is live and was acknowledged is there, in order.
fn list(world: &World, account: AccountId) {
    let Some(view) = world.state().plane.as_ref().map(|plane| Arc::clone(&plane.view)) else { return };
    let mut after = 0;
    let mut all = BTreeMap::new();
    loop {
        let page = view.page(account, after, 3);
        let Some(last) = page.last() else { break };
        after = last.seq;
        for shown in page {
            assert!(all.insert((account, shown.id.clone()), shown.seq).is_none(), "listed twice");
        }
    }
    let state = world.state();
    for key in state.live.iter().filter(|key| key.0 == account) {
        let known = state.known.get(key).is_some_and(|known| known.exists);
        assert!(!known || all.contains_key(key), "{} is not listed", key.1);
    }
}
