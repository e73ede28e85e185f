//! The hybrid logical clock: 48 bits of milliseconds since 1970, 16 bits of count.
//!
//! Source: Kulkarni et al., "Logical Physical Clocks" (2014). No safety rests on it: it orders
//! last-write-wins versions and bounds how long request ids are remembered.

use serde::{Deserialize, Serialize};

/// A hybrid time stamp. Its order is the order of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Hlc(pub u64);

impl Hlc {
    /// The first stamp of a millisecond.
    pub fn from_ms(ms: u64) -> Hlc {
        Hlc(ms << 16)
    }

    /// The stamp's milliseconds since 1970.
    pub fn ms(self) -> u64 {
        self.0 >> 16
    }

    /// The next stamp of a clock whose last one was `self`, at `now_ms`: later than both.
    pub fn tick(self, now_ms: u64) -> Hlc {
        Hlc::from_ms(now_ms).max(Hlc(self.0.saturating_add(1)))
    }
}
