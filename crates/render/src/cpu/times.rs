//! Where a frame's time goes.
//!
//! Each worker adds up what its own tasks take, by the clock on the wall: on a machine with other work, that includes waiting
//! for a processor. Clocks are read some hundreds of times in a frame, at 20 to 30 ns each.

use std::time::{Duration, Instant};

/// Time that workers spent, summed over them, by stage of a frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageTimes {
    /// Finding out where instances are.
    pub place: Duration,
    /// Finding clusters that may be seen.
    pub cull: Duration,
    /// Sorting them by band, by one thread.
    pub bin: Duration,
    /// Depth and ids of what is opaque or cut out.
    pub raster: Duration,
    /// What is blended, shading included.
    pub blend: Duration,
    /// From ids to light.
    pub shade: Duration,
    /// From light to bytes, background included.
    pub convert: Duration,
}

impl StageTimes {
    /// Names and times, in the order in which stages run.
    pub fn named(&self) -> [(&'static str, Duration); 7] {
        let Self { place, cull, bin, raster, blend, shade, convert } = *self;
        [
            ("place", place),
            ("cull", cull),
            ("bin", bin),
            ("raster", raster),
            ("blend", blend),
            ("shade", shade),
            ("convert", convert),
        ]
    }

    /// All stages.
    pub fn total(&self) -> Duration {
        self.named().into_iter().map(|(_, time)| time).sum()
    }
}

impl std::ops::AddAssign for StageTimes {
    fn add_assign(&mut self, more: Self) {
        self.place += more.place;
        self.cull += more.cull;
        self.bin += more.bin;
        self.raster += more.raster;
        self.blend += more.blend;
        self.shade += more.shade;
        self.convert += more.convert;
    }
}

/// A stopwatch.
pub(super) struct Lap(Instant);

impl Lap {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// Adds the time since the start, or since the last end, to `stage`.
    #[inline]
    pub(super) fn end(&mut self, stage: &mut Duration) {
        let now = Instant::now();
        *stage += now - self.0;
        self.0 = now;
    }
}
