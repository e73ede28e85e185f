//! The engine's pure core: memtable, log records, tables, recovery
