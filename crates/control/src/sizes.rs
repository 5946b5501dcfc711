//! What a session of each size may use, and how many there may be.

use std::fs;
use std::num::NonZeroU32;

use protocol::rest::SessionSize;

/// Floating-point operations that one processor does in one turn of its clock: two units, each a fused multiply-add
/// (two operations) on vectors of so many `f32`.
const fn flops_per_cycle(n_lanes: u32) -> u32 {
    2 * 2 * n_lanes
}

/// The clock of a machine that does not tell it.
const CLOCK_HZ_UNKNOWN: f64 = 2.5e9;

/// Microsoft's limit for Standard: 20 million primitives.
const STANDARD_PRIMITIVES_MAX: u64 = 20_000_000;

/// A host without a model has 120 MiB of data, most of it reserved for stacks; the rest is little enough for models.
const MEMORY_MIN: u64 = 256 << 20;

/// What of a machine decides the default limits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Machine {
    /// Processors that we may use.
    pub n_cpus: NonZeroU32,
    /// Bytes of memory that we may use.
    pub memory_bytes: u64,
    /// Turns of a processor's clock per second, at its fastest.
    pub clock_hz: f64,
    /// `f32` operations of one processor per turn, at most.
    pub flops_per_cycle: u32,
}

impl Machine {
    /// Looks at the machine that we are on. What cannot be found out is taken to be small.
    pub fn detect() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let n_cpus = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        let n_cpus = u32::try_from(n_cpus).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
        let installed = memory_total(&read("/proc/meminfo")).unwrap_or(1 << 30);
        // A container's own limit, where it has one.
        let granted = read("/sys/fs/cgroup/memory.max").trim().parse().unwrap_or(u64::MAX);
        let clock_hz = read("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq")
            .trim()
            .parse()
            .ok()
            .map(|khz: f64| khz * 1e3)
            .or_else(|| clock_told(&read("/proc/cpuinfo")))
            .filter(|hz| (1e8..1e11).contains(hz))
            .unwrap_or(CLOCK_HZ_UNKNOWN);
        Self {
            n_cpus,
            memory_bytes: installed.min(granted),
            clock_hz,
            flops_per_cycle: flops_per_cycle(lanes()),
        }
    }
}

/// `f32` in the vectors that the renderer uses here; it has no kernels for wider ones.
fn lanes() -> u32 {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
        return 8;
    }
    4
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn memory_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The fastest clock in `/proc/cpuinfo`, in Hz.
fn clock_told(cpuinfo: &str) -> Option<f64> {
    let mhz = cpuinfo.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == "cpu MHz").then(|| value.trim().parse::<f64>().ok())?
    });
    mhz.max_by(f64::total_cmp).map(|mhz| mhz * 1e6)
}

/// What one session may use, and how many there may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SizeLimits {
    /// Threads that render a picture.
    pub n_threads: NonZeroU32,
    /// Bytes of memory of a host with its model; `None` sets no limit.
    pub memory_bytes: Option<u64>,
    /// Triangles and points of a model as drawn; `None` sets no limit but memory.
    pub n_primitives_max: Option<u64>,
    /// What sessions report as `teraflops`.
    pub teraflops: f32,
    /// Hosts that wait, started, for the next session.
    pub n_warm: u32,
    /// Sessions of this size that have hosts at the same time; `None` sets no limit but that of all sizes together.
    pub n_hosts_max: Option<u32>,
}

impl SizeLimits {
    /// The defaults of `size` on `machine`.
    ///
    /// | | Standard | Premium |
    /// |---|---|---|
    /// | threads | half of the processors, but two if there are two | all processors |
    /// | memory | a quarter, but 1 GiB if there is so much | half, likewise |
    /// | primitives | 20 million, as in Azure | what memory holds |
    /// | warm hosts | 1 | 1; none on a machine with fewer than 4 processors or 8 GiB |
    /// | hosts | as many as of all sizes | a quarter of those of all sizes |
    /// | teraflops | threads × clock × operations per turn | likewise |
    pub fn for_machine(size: SessionSize, machine: &Machine) -> Self {
        let n_cpus = machine.n_cpus.get();
        let roomy = n_cpus >= 4 && machine.memory_bytes >= 8 << 30;
        let limits = |n_threads: u32, memory_bytes: u64| {
            let n_threads = NonZeroU32::new(n_threads).unwrap_or(NonZeroU32::MIN);
            Self {
                n_threads,
                memory_bytes: Some(memory_bytes.max(MEMORY_MIN)),
                n_primitives_max: None,
                teraflops: teraflops(n_threads, machine),
                n_warm: 1,
                n_hosts_max: None,
            }
        };
        match size {
            SessionSize::Standard => Self {
                n_primitives_max: Some(STANDARD_PRIMITIVES_MAX),
                ..limits(
                    n_cpus.div_ceil(2).max(n_cpus.min(2)),
                    (machine.memory_bytes / 4).max(machine.memory_bytes.min(1 << 30)),
                )
            },
            SessionSize::Premium => Self {
                n_warm: u32::from(roomy),
                n_hosts_max: Some((n_hosts_max(machine) / 4).max(1)),
                ..limits(n_cpus, (machine.memory_bytes / 2).max(machine.memory_bytes.min(1 << 30)))
            },
        }
    }

    /// What is wrong with them, in words for whoever set them.
    pub fn flaw(&self) -> Option<String> {
        if self.memory_bytes.is_some_and(|bytes| bytes < MEMORY_MIN) {
            return Some(format!(
                "the memory limit is below {} MiB, in which no model fits",
                MEMORY_MIN >> 20
            ));
        }
        if !(self.teraflops.is_finite() && self.teraflops > 0.0) {
            return Some("the teraflops are no positive number".to_owned());
        }
        None
    }
}

/// The most that `n_threads` of this machine can compute, rounded to a thousandth, and never zero: clients divide by it.
#[expect(clippy::cast_possible_truncation, reason = "no machine has more teraflops than an f32 holds")]
fn teraflops(n_threads: NonZeroU32, machine: &Machine) -> f32 {
    let flops = f64::from(n_threads.get()) * machine.clock_hz * f64::from(machine.flops_per_cycle);
    ((flops / 1e9).round().max(1.0) / 1e3) as f32
}

/// Sessions that have hosts at the same time, by default: eight for each processor, as long as each has 512 MiB.
/// A session at rest needs next to nothing of a processor; 256 are beyond what one machine's network carries.
pub(crate) fn n_hosts_max(machine: &Machine) -> u32 {
    let by_memory = u32::try_from(machine.memory_bytes >> 29).unwrap_or(u32::MAX);
    machine.n_cpus.get().saturating_mul(8).min(by_memory).clamp(1, 256)
}

/// The limits of each size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sizes {
    /// Of Standard.
    pub standard: SizeLimits,
    /// Of Premium.
    pub premium: SizeLimits,
}

impl Sizes {
    /// All of them.
    pub const ALL: [SessionSize; 2] = [SessionSize::Standard, SessionSize::Premium];

    /// The defaults on `machine`.
    pub fn for_machine(machine: &Machine) -> Self {
        Self {
            standard: SizeLimits::for_machine(SessionSize::Standard, machine),
            premium: SizeLimits::for_machine(SessionSize::Premium, machine),
        }
    }

    /// Those of `size`.
    pub fn of(&self, size: SessionSize) -> &SizeLimits {
        match size {
            SessionSize::Standard => &self.standard,
            SessionSize::Premium => &self.premium,
        }
    }

    /// What is wrong with them, in words for whoever set them.
    pub(crate) fn flaw(&self) -> Option<String> {
        Self::ALL
            .into_iter()
            .find_map(|size| Some(format!("of size {}, {}", size.as_str(), self.of(size).flaw()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GIB: u64 = 1 << 30;

    fn machine(n_cpus: u32, memory_bytes: u64) -> Machine {
        let n_cpus = NonZeroU32::new(n_cpus).unwrap();
        Machine { n_cpus, memory_bytes, clock_hz: 2.25e9, flops_per_cycle: 32 }
    }

    #[test]
    fn defaults_fit_the_machine() {
        let told = |n_cpus, memory| {
            let sizes = Sizes::for_machine(&machine(n_cpus, memory));
            let row = |limits: SizeLimits| {
                let memory = limits.memory_bytes.unwrap() / GIB;
                (limits.n_threads.get(), memory, limits.n_warm, limits.n_hosts_max, limits.teraflops)
            };
            (row(sizes.standard), row(sizes.premium))
        };
        assert_eq!(told(1, GIB), ((1, 1, 1, None, 0.072), (1, 1, 0, Some(1), 0.072)));
        assert_eq!(told(2, 24 * GIB), ((2, 6, 1, None, 0.144), (2, 12, 0, Some(4), 0.144)));
        assert_eq!(told(4, 16 * GIB), ((2, 4, 1, None, 0.144), (4, 8, 1, Some(8), 0.288)));
        assert_eq!(told(64, 256 * GIB), ((32, 64, 1, None, 2.304), (64, 128, 1, Some(64), 4.608)));
        let sizes = Sizes::for_machine(&machine(2, GIB));
        assert_eq!(
            (sizes.standard.n_primitives_max, sizes.premium.n_primitives_max),
            (Some(20_000_000), None)
        );
        assert_eq!(
            [(2, 24), (1, 1), (128, 512)].map(|(n, gib)| n_hosts_max(&machine(n, gib * GIB))),
            [16, 2, 256]
        );
    }

    #[test]
    fn this_machine_has_a_processor_and_memory() {
        let here = Machine::detect();
        println!("{here:?}");
        assert!(here.memory_bytes > 64 << 20 && here.clock_hz > 1e8);
        assert_eq!(Sizes::for_machine(&here).flaw(), None);
    }

    #[test]
    fn what_the_kernel_says_is_understood() {
        assert_eq!(memory_total("MemTotal:       24622980 kB\nMemFree: 1 kB\n"), Some(24_622_980 << 10));
        assert_eq!(memory_total("MemTotal: many\n"), None);
        assert_eq!(clock_told("cpu MHz\t\t: 2249.998\ncpu MHz\t: 3000.5\n"), Some(3_000.5e6));
        assert_eq!(clock_told("Features : fp asimd\n"), None);
    }

    #[test]
    fn impossible_limits_are_named() {
        let good = Sizes::for_machine(&machine(2, GIB));
        let mut small = good;
        small.premium.memory_bytes = Some(1 << 20);
        assert!(small.flaw().unwrap().contains("Premium"));
        let mut weak = good;
        weak.standard.teraflops = 0.0;
        assert!(weak.flaw().unwrap().contains("Standard, the teraflops"));
    }

    proptest! {
        #[test]
        fn defaults_are_within_the_machine(n_cpus in 1..=4096u32, memory in (64u64 << 20)..=(1 << 44)) {
            let machine = machine(n_cpus, memory);
            let sizes = Sizes::for_machine(&machine);
            prop_assert_eq!(sizes.flaw(), None);
            for size in Sizes::ALL {
                let limits = sizes.of(size);
                prop_assert!(limits.n_threads.get() <= n_cpus);
                prop_assert!(limits.memory_bytes.unwrap() <= memory.max(MEMORY_MIN));
                prop_assert!(limits.n_hosts_max.is_none_or(|n| (1..=n_hosts_max(&machine)).contains(&n)));
            }
            prop_assert!(sizes.standard.n_threads <= sizes.premium.n_threads);
            prop_assert!(sizes.standard.memory_bytes <= sizes.premium.memory_bytes);
        }
    }
}
