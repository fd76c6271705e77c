//! Peak memory over a baseline: anonymous resident memory of this process, sampled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often memory is read. A training step takes tens of milliseconds; reading takes some microseconds.
const INTERVAL: Duration = Duration::from_millis(5);

/// Anonymous resident memory of this process in bytes, where the system tells (Linux).
pub fn anonymous_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024 * kibibytes)
}

/// Samples memory in the background from its creation on.
#[derive(Debug)]
pub struct PeakMemory {
    shared: Arc<Shared>,
    sampler: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    peak: AtomicU64,
    stop: AtomicBool,
}

impl PeakMemory {
    /// Starts sampling.
    pub fn start() -> Self {
        let shared = Arc::<Shared>::default();
        let sampler = anonymous_bytes().is_some().then(|| {
            let shared = shared.clone();
            std::thread::spawn(move || {
                while !shared.stop.load(Ordering::Relaxed) {
                    shared.sample();
                    std::thread::sleep(INTERVAL);
                }
            })
        });
        Self { shared, sampler }
    }

    /// The peak since the start or the last reset, over `baseline`; unknown where the system does not tell.
    pub fn over(&self, baseline: Option<u64>) -> Option<u64> {
        self.shared.sample();
        Some(self.shared.peak.load(Ordering::Relaxed).saturating_sub(baseline?))
    }

    /// Forgets the peak so far.
    pub fn reset(&self) {
        self.shared.peak.store(0, Ordering::Relaxed);
        self.shared.sample();
    }
}

impl Shared {
    fn sample(&self) {
        if let Some(now) = anonymous_bytes() {
            self.peak.fetch_max(now, Ordering::Relaxed);
        }
    }
}

impl Drop for PeakMemory {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(sampler) = self.sampler.take() {
            let _ = sampler.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_an_allocation_and_forgets_it() {
        let Some(before) = anonymous_bytes() else { return };
        let memory = PeakMemory::start();
        let block = vec![1u8; 64 << 20];
        std::thread::sleep(4 * INTERVAL);
        assert_eq!(block.iter().step_by(4096).map(|b| u64::from(*b)).sum::<u64>(), 16384);
        drop(block);
        assert!(memory.over(Some(before)).unwrap() >= 60 << 20);
        memory.reset();
        assert!(memory.over(Some(before)).unwrap() < 60 << 20);
    }
}
