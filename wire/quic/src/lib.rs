//! QUIC with mutual TLS: endpoints, identities, lanes
