//! What nodes and clients say to each other: envelopes, conversations, frames
