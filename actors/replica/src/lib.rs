//! One shard's copies: mints, merges, stores and answers
