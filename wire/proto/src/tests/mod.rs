//! What holds for every message: its bytes never change by accident, it comes back as it went, and no bytes do harm.

mod golden;
mod hostile;
mod round_trip;
mod samples;
