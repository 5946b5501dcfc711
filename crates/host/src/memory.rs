//! The memory that this process is held to, by whatever the control plane set up.
//!
//! Who goes beyond it ends: an allocation that fails aborts the process. So a model is measured before it is prepared.

use std::fs;

/// What the host itself may still need while a model is on screen: pictures, the encoder, a connection.
const RESERVE_BYTES: u64 = 64 << 20;

/// A limit, if there is one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    limit_bytes: Option<u64>,
}

/// A model that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the model needs up to {} MiB of memory to be prepared, and {} MiB of the {} MiB of this session are free; \
     simplify the model",
    needed.div_ceil(1 << 20), free >> 20, limit >> 20
)]
pub(crate) struct TooLarge {
    needed: u64,
    free: u64,
    limit: u64,
}

impl Memory {
    /// A limit of so many bytes.
    pub(crate) fn of(limit_bytes: Option<u64>) -> Self {
        Self { limit_bytes }
    }

    /// Bytes that are left for a model; `None` without a limit.
    pub(crate) fn free(&self) -> Option<u64> {
        let used = || used_bytes(&fs::read_to_string("/proc/self/status").unwrap_or_default());
        Some(self.limit_bytes?.saturating_sub(used()).saturating_sub(RESERVE_BYTES))
    }

    /// Whether less than half of the memory is left.
    pub(crate) fn is_scarce(&self) -> bool {
        self.free().zip(self.limit_bytes).is_some_and(|(free, limit)| free < limit / 2)
    }

    /// Refuses what does not fit.
    pub(crate) fn admit(&self, needed: u64) -> Result<(), TooLarge> {
        match (self.free(), self.limit_bytes) {
            (Some(free), Some(limit)) if needed > free => Err(TooLarge { needed, free, limit }),
            _ => Ok(()),
        }
    }
}

/// `VmData` of `/proc/PID/status` in bytes: what RLIMIT_DATA counts, and no less than what a cgroup counts for good.
fn used_bytes(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmData:"));
    let kib: Option<u64> = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_in_words() {
        assert_eq!(Memory::of(None).admit(u64::MAX), Ok(()));
        let memory = Memory::of(Some(1 << 40));
        assert_eq!(memory.admit(1 << 30), Ok(()));
        assert!(!memory.is_scarce());
        let words = memory.admit(1 << 41).unwrap_err().to_string();
        assert!(words.contains("2097152 MiB") && words.contains("1048576 MiB of this session"), "{words}");
        let none = Memory::of(Some(2));
        assert!(none.is_scarce() && none.admit(1).is_err());
    }

    #[test]
    fn used_memory_is_what_the_kernel_says() {
        assert_eq!(used_bytes("VmPeak:  9 kB\nVmData:\t   26464 kB\nVmStk: 1 kB\n"), 26_464 << 10);
        assert!(used_bytes(&fs::read_to_string("/proc/self/status").unwrap()) > 0);
    }
}
