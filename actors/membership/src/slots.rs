//! The three slots on disk: the ring chain, the incarnation, the peers' addresses. Each begins with a format byte.
//!
//! Keeps: reading is total, in memory bounded by the input's length.

use alloc::vec::Vec;
use anser_model::NodeId;
use bytes::Bytes;
use core::net::SocketAddr;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The format that this build writes and reads.
const FORMAT: u8 = 1;

/// Bytes that are no slot of this format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a slot that this build can't read")]
pub(crate) struct BadSlot;

/// The chain's encoded records, from the genesis on.
pub(crate) fn encode_ring(chain: &[Bytes]) -> Bytes {
    encode(&chain)
}

/// Reads the chain back.
pub(crate) fn decode_ring(bytes: &[u8]) -> Result<Vec<Bytes>, BadSlot> {
    decode(bytes)
}

/// An incarnation.
pub(crate) fn encode_incarnation(incarnation: u64) -> Bytes {
    encode(&incarnation)
}

/// Reads an incarnation back.
pub(crate) fn decode_incarnation(bytes: &[u8]) -> Result<u64, BadSlot> {
    decode(bytes)
}

/// Where peers listen.
pub(crate) fn encode_peers(peers: &[(NodeId, SocketAddr)]) -> Bytes {
    encode(&peers)
}

/// Reads the addresses back.
pub(crate) fn decode_peers(bytes: &[u8]) -> Result<Vec<(NodeId, SocketAddr)>, BadSlot> {
    decode(bytes)
}

fn encode<T: Serialize>(content: &T) -> Bytes {
    // Serializing plain values into memory has no way to fail; if it ever did, an empty slot reads back as a bad one.
    postcard::to_extend(content, Vec::from([FORMAT])).unwrap_or_default().into()
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BadSlot> {
    let (format, rest) = bytes.split_first().ok_or(BadSlot)?;
    match postcard::take_from_bytes(rest) {
        Ok((content, [])) if *format == FORMAT => Ok(content),
        Ok(_) | Err(_) => Err(BadSlot),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_have_their_golden_bytes_and_read_back() {
        let chain = [Bytes::from_static(b"one"), Bytes::from_static(b"")];
        assert_eq!(encode_ring(&chain)[..], *b"\x01\x02\x03one\x00");
        assert_eq!(decode_ring(&encode_ring(&chain)), Ok(chain.to_vec()));

        assert_eq!(encode_incarnation(300)[..], [1, 0xac, 2]);
        assert_eq!(decode_incarnation(&encode_incarnation(300)), Ok(300));

        let peers = [(NodeId([7; 16]), "127.0.0.1:4100".parse().unwrap())];
        let mut golden = Vec::from([1, 1]);
        golden.extend([7; 16]);
        golden.extend([0, 127, 0, 0, 1, 0x84, 0x20]);
        assert_eq!(encode_peers(&peers)[..], golden);
        assert_eq!(decode_peers(&encode_peers(&peers)), Ok(peers.to_vec()));
    }

    #[test]
    fn anything_else_is_refused() {
        for bytes in [&b""[..], b"\x02\x00", b"\x01\x05", b"\x01\x00\x00", b"\x01\xff\xff\xff\xff\x0f"] {
            assert_eq!(decode_ring(bytes), Err(BadSlot), "{bytes:?}");
        }
    }
}
