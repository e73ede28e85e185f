//! Laws that hold for whatever happens: of the machines' timeouts, of the memtable, of what is read back from a disk.
//!
//! The laws of key states, contexts, tokens and placement are in `wire/model/tests/properties`; those of tables and of the
//! engine over them in `actors/storage`, those of frames in `wire/proto`.

mod memtable;
mod stored;
mod timeouts;
