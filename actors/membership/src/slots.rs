//! The three slots on disk: the ring chain, the incarnation, what is kept of the peers. Each begins with a format byte.
//!
//! Keeps: reading is total, in memory bounded by the input's length.

use crate::folders::Remembered;
use alloc::vec::Vec;
use anser_model::NodeId;
use bytes::Bytes;
use core::net::SocketAddr;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The format that this build writes and reads.
const FORMAT: u8 = 2;

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

/// What is kept of peers.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptPeers {
    /// Where they listen.
    pub addresses: Vec<(NodeId, SocketAddr)>,
    /// How far their folders were.
    pub folders: Vec<(NodeId, Remembered)>,
}

/// What is kept of peers.
pub(crate) fn encode_peers(peers: &KeptPeers) -> Bytes {
    encode(peers)
}

/// Reads it back.
pub(crate) fn decode_peers(bytes: &[u8]) -> Result<KeptPeers, BadSlot> {
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
    use crate::folders::Folders;
    use anser_model::FolderId;
    use anser_proto::gossip::{Mark, Trust};

    #[test]
    fn slots_have_their_golden_bytes_and_read_back() {
        let chain = [Bytes::from_static(b"one"), Bytes::from_static(b"")];
        assert_eq!(encode_ring(&chain)[..], *b"\x02\x02\x03one\x00");
        assert_eq!(decode_ring(&encode_ring(&chain)), Ok(chain.to_vec()));

        assert_eq!(encode_incarnation(300)[..], [2, 0xac, 2]);
        assert_eq!(decode_incarnation(&encode_incarnation(300)), Ok(300));

        let mut folders = Folders::default();
        for (folder, records) in [(3, 9), (4, 300)] {
            let mark = Mark { folder: FolderId([folder; 16]), records, trust: Trust::Sound };
            folders.hear(NodeId([7; 16]), &mark);
        }
        let addresses = [(NodeId([7; 16]), "127.0.0.1:4100".parse().unwrap())].to_vec();
        let peers = KeptPeers { addresses, folders: folders.begin_save() };
        let address = [&[1][..], &[7; 16], &[0, 127, 0, 0, 1, 0x84, 0x20]].concat();
        let folder = [&[1][..], &[7; 16], &[4; 16], &[0xac, 2, 1], &[3; 16]].concat();
        assert_eq!(encode_peers(&peers)[..], [&[2][..], &address, &folder].concat());
        assert_eq!(decode_peers(&encode_peers(&peers)), Ok(peers));
    }

    #[test]
    fn anything_else_is_refused() {
        for bytes in [&b""[..], b"\x01\x00", b"\x02\x05", b"\x02\x00\x00", b"\x02\xff\xff\xff\xff\x0f"] {
            assert_eq!(decode_ring(bytes), Err(BadSlot), "{bytes:?}");
        }
    }
}
