//! How fine pictures in motion are. While frames take longer than the rate to keep allows, they lose detail, then pixels,
//! then some of them are left out; they get all of it back when there is time. Pictures at rest are never less than full.
//!
//! ```text
//!   full ◀─▶ less detail ◀─▶ 3/4 size ◀─▶ 1/2 size ◀─▶ 2/3 of the rate ◀─▶ half of it
//! ```
//!
//! Down goes what is too slow for a few frames, and several steps at once if it is far too slow. Up goes what would be quick
//! enough there by the ratio that the last change showed; where that says no, patience decides, which doubles with each
//! time that it was wrong. So a load that stays finds a step that stays.
//!
//! Pure: hears what frames took and when, says the step.

use std::time::Duration;

use render::MotionDetail;

/// A quality of frames in motion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Step {
    /// 0 is the best; as told in frame metadata.
    pub(crate) number: u8,
    pub(crate) detail: MotionDetail,
    /// Share of width and height that is drawn.
    pub(crate) scale: f64,
    /// Times the time that a frame has at the rate to keep.
    slower: f64,
}

const fn step(number: u8, detail: MotionDetail, scale: f64, slower: f64) -> Step {
    Step { number, detail, scale, slower }
}

const STEPS: [Step; 6] = [
    step(0, MotionDetail::Full, 1.0, 1.0),
    step(1, MotionDetail::Coarse, 1.0, 1.0),
    step(2, MotionDetail::Coarse, 0.75, 1.0),
    step(3, MotionDetail::Coarse, 0.5, 1.0),
    step(4, MotionDetail::Coarse, 0.5, 1.5),
    step(5, MotionDetail::Coarse, 0.5, 2.0),
];

/// How many times as long a frame of each step takes as one of the next, at most: as its pixels; for detail, as if
/// three quarters of the time went into shading, and half of that were saved.
const GROWTH_MAX: [f64; STEPS.len() - 1] = [1.6, 16.0 / 9.0, 9.0 / 4.0, 1.0, 1.0];

/// Frames whose median counts.
const WINDOW: usize = 5;
/// So many are enough if they are slower than twice their time.
const WINDOW_SLOW: usize = 3;
/// Of a frame's time, what may be used up at the better step by the ratio that is known.
const SHARE_KNOWN: f64 = 0.8;
/// … and at this step, to try the better one out.
const SHARE_TRIED: f64 = 0.7;
/// Between two changes for the better.
const HOLD: Duration = Duration::from_millis(500);
/// Until the better step is tried out.
const PATIENCE_MIN: Duration = Duration::from_secs(5);
const PATIENCE_MAX: Duration = Duration::from_secs(320);
/// A better step that is not given up for so long was right.
const SETTLED: Duration = Duration::from_secs(60);

/// Chooses the step.
#[derive(Debug)]
pub(crate) struct Adaptive {
    /// What a frame has at the rate to keep.
    frame_time: Duration,
    at: usize,
    /// Milliseconds of the last frames since the last change.
    costs: Vec<f64>,
    /// The next frame also pays for a change.
    fresh: bool,
    changed_at: Duration,
    /// From where the last change came, if from a neighbour, and what frames took there.
    came_from: Option<(usize, f64)>,
    growth: [f64; STEPS.len() - 1],
    patience: Duration,
    /// The last change was for the better, and may yet turn out wrong.
    rose: bool,
}

impl Adaptive {
    /// Keeps `fps` pictures a second as long as it can.
    pub(crate) fn new(fps: u32) -> Self {
        Self {
            frame_time: Duration::from_secs(1) / fps.max(1),
            at: 0,
            costs: Vec::with_capacity(WINDOW),
            fresh: true,
            changed_at: Duration::ZERO,
            came_from: None,
            growth: GROWTH_MAX,
            patience: PATIENCE_MIN,
            rose: false,
        }
    }

    /// Begins anew: another scene or size has other costs.
    pub(crate) fn reset(&mut self) {
        let Self { frame_time, .. } = *self;
        *self = Self { frame_time, ..Self::new(1) };
    }

    /// The step of the next frame.
    pub(crate) fn step(&self) -> Step {
        STEPS[self.at]
    }

    /// Least time from frame to frame, if this step leaves frames out.
    pub(crate) fn interval(&self) -> Duration {
        let slower = STEPS[self.at].slower;
        if slower > 1.0 { self.frame_time.mul_f64(slower) } else { Duration::ZERO }
    }

    /// Hears that a frame of [`Self::step`] took `cost`, at `now` since any beginning.
    pub(crate) fn frame(&mut self, now: Duration, cost: Duration) {
        if std::mem::take(&mut self.fresh) {
            return;
        }
        if self.costs.len() == WINDOW {
            self.costs.remove(0);
        }
        self.costs.push(cost.as_secs_f64() * 1e3);
        let budget = self.budget(self.at);
        let all_slow = self.costs.len() >= WINDOW_SLOW && self.costs.iter().all(|cost| *cost > 2.0 * budget);
        if self.costs.len() < WINDOW && !all_slow {
            return;
        }
        let cost = median(&self.costs);
        if let Some((from, cost_there)) = self.came_from.take() {
            let (finer, ratio) =
                if from < self.at { (from, cost_there / cost) } else { (self.at, cost / cost_there) };
            // Beyond 4, something else changed too.
            self.growth[finer] = ratio.clamp(1.0, 4.0);
        }
        let since = now.saturating_sub(self.changed_at);
        if self.rose && since >= SETTLED {
            (self.rose, self.patience) = (false, (self.patience / 2).max(PATIENCE_MIN));
        }
        if cost > budget {
            if self.at + 1 < STEPS.len() {
                if self.rose {
                    self.patience = (self.patience * 2).min(PATIENCE_MAX);
                }
                self.change(self.quick_enough(cost), now, cost);
            }
        } else if self.at > 0 && since >= HOLD {
            let better = self.at - 1;
            let known = cost * self.growth[better] <= SHARE_KNOWN * self.budget(better);
            let tried = since >= self.patience && cost <= SHARE_TRIED * self.budget(better);
            if known || tried {
                self.change(better, now, cost);
            }
        }
    }

    /// Milliseconds that a frame has at a step.
    fn budget(&self, at: usize) -> f64 {
        self.frame_time.as_secs_f64() * 1e3 * STEPS[at].slower
    }

    /// The next step, or the first after it that can be quick enough if frames take `cost` here.
    fn quick_enough(&self, cost: f64) -> usize {
        let mut cost = cost;
        for at in self.at + 1..STEPS.len() {
            cost /= GROWTH_MAX[at - 1];
            if cost <= self.budget(at) {
                return at;
            }
        }
        STEPS.len() - 1
    }

    fn change(&mut self, to: usize, now: Duration, cost: f64) {
        self.came_from = Some((self.at, cost)).filter(|(from, _)| from.abs_diff(to) == 1);
        self.rose = to < self.at;
        self.at = to;
        self.changed_at = now;
        self.costs.clear();
        self.fresh = true;
    }
}

/// The middle of a few numbers.
fn median(costs: &[f64]) -> f64 {
    let mut sorted = costs.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A world where a frame takes `fixed` and `by_pixels` milliseconds at full quality, both times a load that changes.
    struct World {
        fixed: f64,
        by_pixels: f64,
        /// Share by which costs vary from frame to frame.
        noise: f64,
    }

    impl World {
        fn cost_ms(&self, step: Step, load: f64, n: u64) -> f64 {
            let detail = if step.detail == MotionDetail::Coarse { 0.7 } else { 1.0 };
            let steady = self.fixed + self.by_pixels * step.scale * step.scale * detail;
            // A number without pattern for each frame.
            let chance = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31).wrapping_mul(n | 1) >> 40;
            let noise = (chance as f64 / f64::from(1 << 24) * 2.0 - 1.0) * self.noise;
            steady * load * (1.0 + noise)
        }

        /// Moves for `secs`; gives when which step was chosen, and each frame's time from the one before.
        fn run(&self, adaptive: &mut Adaptive, from: f64, secs: f64, load: f64) -> Run {
            let (mut now, mut n, mut run) = (from, 0, Run::default());
            while now < from + secs {
                let step = adaptive.step();
                let cost = self.cost_ms(step, load, n) / 1e3;
                let next = now + cost.max(adaptive.interval().as_secs_f64()).max(1.0 / 60.0);
                adaptive.frame(Duration::from_secs_f64(now + cost), Duration::from_secs_f64(cost));
                if adaptive.step() != step {
                    run.changes.push((next - from, adaptive.step().number));
                }
                run.frames.push(((next - now) * 1e3, step.number));
                (now, n) = (next, n + 1);
            }
            run
        }
    }

    #[derive(Default, Debug)]
    struct Run {
        changes: Vec<(f64, u8)>,
        frames: Vec<(f64, u8)>,
    }

    const FPS: u32 = 30;

    #[test]
    fn what_is_quick_enough_stays_full() {
        let world = World { fixed: 10.0, by_pixels: 15.0, noise: 0.2 };
        let run = world.run(&mut Adaptive::new(FPS), 0.0, 600.0, 1.0);
        assert!(run.changes.is_empty(), "{:?}", run.changes);
    }

    #[test]
    fn too_heavy_a_model_keeps_the_rate_at_fewer_pixels() {
        let world = World { fixed: 8.0, by_pixels: 78.0, noise: 0.05 };
        let mut adaptive = Adaptive::new(FPS);
        let run = world.run(&mut adaptive, 0.0, 60.0, 1.0);
        assert_eq!(adaptive.step().number, 3, "{:?}", run.changes);
        let slow = run.frames.iter().filter(|(ms, _)| *ms > 34.0).count();
        assert!(slow < 30, "{slow} frames were slow: {:?}", run.changes);
    }

    #[test]
    fn far_too_heavy_a_model_finds_its_step_within_a_few_frames() {
        let world = World { fixed: 10.0, by_pixels: 300.0, noise: 0.05 };
        let mut adaptive = Adaptive::new(FPS);
        let run = world.run(&mut adaptive, 0.0, 60.0, 1.0);
        assert!(run.changes[0].1 >= 3, "{:?}", run.changes);
        assert!(run.frames.iter().skip(12).all(|(_, number)| *number == 5), "{:?}", run.changes);
    }

    #[test]
    fn geometry_that_no_step_makes_quicker_is_drawn_as_often_as_can_be() {
        let world = World { fixed: 90.0, by_pixels: 5.0, noise: 0.0 };
        let mut adaptive = Adaptive::new(FPS);
        world.run(&mut adaptive, 0.0, 60.0, 1.0);
        assert_eq!(adaptive.step().number, 5);
    }

    #[test]
    fn full_quality_returns_when_others_leave_the_machine() {
        let world = World { fixed: 8.0, by_pixels: 12.0, noise: 0.1 };
        for load in [2.0, 3.0, 10.0] {
            let mut adaptive = Adaptive::new(FPS);
            world.run(&mut adaptive, 0.0, 20.0, load);
            assert!(adaptive.step().number > 0, "load {load}");
            let run = world.run(&mut adaptive, 20.0, 60.0, 1.0);
            assert_eq!(adaptive.step().number, 0, "load {load}: {:?}", run.changes);
        }
    }

    #[test]
    fn a_new_scene_begins_full() {
        let mut adaptive = Adaptive::new(FPS);
        World { fixed: 8.0, by_pixels: 60.0, noise: 0.0 }.run(&mut adaptive, 0.0, 10.0, 1.0);
        assert!(adaptive.step().number > 0);
        adaptive.reset();
        assert_eq!((adaptive.step().number, adaptive.frame_time), (0, Duration::from_secs(1) / FPS));
    }

    #[test]
    fn one_slow_frame_changes_nothing() {
        let mut adaptive = Adaptive::new(FPS);
        for n in 0..1000_u64 {
            let cost = if n % 4 == 0 { 300 } else { 20 };
            adaptive.frame(Duration::from_millis(40 * n), Duration::from_millis(cost));
            assert_eq!(adaptive.step().number, 0);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

        /// Whatever stays as it is leads to a step that stays: after the first half minute, changes are trials, ever fewer.
        #[test]
        fn nothing_swings(
            fixed in 0.0..120.0, by_pixels in 0.0..400.0, noise in 0.0..0.15, fps in 10_u32..120,
        ) {
            let world = World { fixed, by_pixels, noise };
            let mut adaptive = Adaptive::new(fps);
            world.run(&mut adaptive, 0.0, 30.0, 1.0);
            let run = world.run(&mut adaptive, 30.0, 600.0, 1.0);
            prop_assert!(run.changes.len() <= 20, "{:?}", run.changes);
        }

        /// Any frames at any time: the step is one of those that there are, and the memory is bounded.
        #[test]
        fn nothing_breaks(frames in prop::collection::vec((0_u64..5_000, 0_u64..100_000, 0_u8..20), 0..400)) {
            let mut adaptive = Adaptive::new(FPS);
            for (now, cost, what) in frames {
                match what {
                    0 => adaptive.reset(),
                    _ => adaptive.frame(Duration::from_millis(now), Duration::from_micros(cost)),
                }
                prop_assert!(usize::from(adaptive.step().number) < STEPS.len());
                prop_assert!(adaptive.costs.len() <= WINDOW);
                prop_assert!(adaptive.interval() <= Duration::from_secs(2) / FPS);
            }
        }
    }
}
