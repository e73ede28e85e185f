//! Who is there: failure detection, gossip and the ring chain's state
