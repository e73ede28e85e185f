//! Folders that are sound, in use, or damaged, looked at.
