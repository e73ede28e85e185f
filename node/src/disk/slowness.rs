//! How slow a test makes a node's disk. Without the feature `faults` it is nothing.
//!
//! Felt beneath all threads of the disk, at the trees and at the witness, so that whoever touched those elsewhere, as from an
//! actor's thread, would be held up just the same.

#[cfg(feature = "faults")]
use std::sync::Arc;
#[cfg(feature = "faults")]
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
#[cfg(feature = "faults")]
use std::time::Duration;

/// Shared by all who feel it.
#[derive(Clone, Debug, Default)]
pub(super) struct Slowness {
    /// Milliseconds that each read, write and sync takes more.
    #[cfg(feature = "faults")]
    delay_ms: Arc<AtomicU64>,
}

impl Slowness {
    /// From now on each read, write and sync takes so much longer.
    #[cfg(feature = "faults")]
    pub fn set(&self, delay_ms: u64) {
        self.delay_ms.store(delay_ms, Relaxed);
    }

    /// Takes as long as was asked for.
    #[cfg(feature = "faults")]
    pub fn hold(&self) {
        let delay_ms = self.delay_ms.load(Relaxed);
        if delay_ms > 0 {
            std::thread::sleep(Duration::from_millis(delay_ms));
        }
    }

    /// Nothing: no test is here to ask for it.
    #[cfg(not(feature = "faults"))]
    pub fn hold(&self) {
        let Slowness {} = self;
    }
}
