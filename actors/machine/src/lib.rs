//! The contract of every actor: a pure state machine, its events and effects
