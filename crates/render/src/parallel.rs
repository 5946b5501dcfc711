//! Parallel loops for what is done once: building scenes and light.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

/// Most threads, whatever was asked for: beyond, memory is the limit.
const THREADS_MAX: usize = 8;

/// Calls `make` for each number below `n` on up to `n_threads` threads, each with a `W` of its own, and `take` with the results on
/// this one, in order of their numbers.
///
/// # Panics
/// If `make` or `take` does.
pub(crate) fn each_in_order<W: Default, T: Send>(
    n_threads: NonZeroUsize,
    n: usize,
    make: impl Fn(&mut W, usize) -> T + Sync,
    mut take: impl FnMut(usize, T),
) {
    let n_threads = n_threads.get().min(THREADS_MAX).min(n);
    let next = AtomicUsize::new(0);
    let work = |mut each: Box<dyn FnMut(usize, T) + '_>| {
        let mut own = W::default();
        loop {
            let task = next.fetch_add(1, Ordering::Relaxed);
            if task >= n {
                return;
            }
            each(task, make(&mut own, task));
        }
    };
    std::thread::scope(|scope| {
        let (results, arrived) = mpsc::channel();
        let mut n_started = 0;
        for _ in 0..n_threads {
            let results = results.clone();
            let work = &work;
            // Nobody listens once the taker has panicked.
            let send = move |task, made| drop(results.send((task, made)));
            let started = std::thread::Builder::new()
                .name("render-build".into())
                .spawn_scoped(scope, move || work(Box::new(send)));
            n_started += usize::from(started.is_ok());
        }
        drop(results);
        if n_started == 0 {
            return work(Box::new(&mut take));
        }
        let mut waiting = std::collections::BTreeMap::new();
        let mut wanted = 0;
        for (task, made) in arrived {
            waiting.insert(task, made);
            while let Some(made) = waiting.remove(&wanted) {
                take(wanted, made);
                wanted += 1;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_arrive_once_and_in_order() {
        for n in [0, 1, 2, 500] {
            let mut got = Vec::new();
            each_in_order(
                NonZeroUsize::MIN.saturating_add(3),
                n,
                |(): &mut (), task| task * 3,
                |task, made| got.push((task, made)),
            );
            assert_eq!(got, (0..n).map(|task| (task, task * 3)).collect::<Vec<_>>());
        }
    }
}
