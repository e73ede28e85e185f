//! Any bytes give a value or an error, in memory bounded by the input's length.

use super::samples::{bodies, envelope, node};
use crate::frame::{self, FRAME_BYTES_MAX, FRAME_VERSION, FrameError, LENGTH_BYTES};
use crate::hello::{HELLO_BYTES_MAX, Hello, Purpose};
use crate::{Envelope, Tick};
use bytes::BytesMut;
use proptest::prelude::*;
use std::time::{Duration, Instant};

fn decode(content: &[u8]) -> Result<Envelope, FrameError> {
    frame::decode(content, node(1), node(2), Tick(0))
}

fn content(index: usize) -> Vec<u8> {
    let mut out = BytesMut::new();
    frame::encode(&envelope(bodies().swap_remove(index)), Tick(0), &mut out).unwrap();
    out[LENGTH_BYTES..].to_vec()
}

proptest! {
    #[test]
    fn any_bytes_are_a_message_or_an_error(mut bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = decode(&bytes);
        let _ = Hello::decode(&bytes);
        if let Some(first) = bytes.first_mut() {
            *first = FRAME_VERSION;
        }
        let _ = decode(&bytes);
        let _ = Hello::decode(&bytes);
    }

    #[test]
    fn a_damaged_message_is_a_message_or_an_error(
        index in 0..bodies().len(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = content(index);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = decode(&bytes);
        let _ = decode(&bytes[..cut.index(bytes.len())]);
    }
}

/// Where a content's bytes are replaced by the largest length that its encoding can say, wherever that is.
#[test]
fn a_hostile_length_inside_costs_nothing() {
    let claim = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let begun = Instant::now();
    let mut refused = 0;
    for index in 0..bodies().len() {
        let good = content(index);
        for at in 1..good.len() {
            let bytes = [&good[..at], &claim, &good[at..]].concat();
            refused += u32::from(decode(&bytes).is_err());
        }
    }
    assert!(refused > 1000);
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "thousands of them take no time: nothing is laid out for a claim"
    );
}

#[test]
fn what_is_too_long_is_not_looked_at() {
    let long = vec![FRAME_VERSION; FRAME_BYTES_MAX - LENGTH_BYTES + 1];
    assert_eq!(decode(&long), Err(FrameError::TooLong(long.len())));
    let long = vec![FRAME_VERSION; HELLO_BYTES_MAX + 1];
    assert_eq!(Hello::decode(&long), Err(FrameError::TooLong(long.len())));
}

#[test]
fn what_is_too_long_is_not_written_and_leaves_the_buffer_alone() {
    let state = bytes::Bytes::from(vec![0; FRAME_BYTES_MAX]);
    let place = crate::replicate::Place {
        keyspace: anser_model::KeyspaceId(1),
        partition: anser_model::PartitionId(1),
        round: anser_model::Round(1),
    };
    let key = anser_model::Key::new(&b"k"[..]).unwrap();
    let body = crate::Body::Replicate(crate::replicate::ReplicaRequest::StoreState { place, key, state });
    let mut out = BytesMut::from(&b"before"[..]);
    assert!(matches!(frame::encode(&envelope(body), Tick(0), &mut out), Err(FrameError::TooLong(_))));
    assert_eq!(&out[..], b"before");
}

#[test]
fn the_longest_names_make_a_hello_that_fits() {
    let hello = Hello {
        cluster_name: "x".repeat(63),
        cluster: Some(anser_model::ClusterId([255; 16])),
        member: Some(anser_model::Member { node: node(1), folder: anser_model::FolderId([255; 16]) }),
        boot: u64::MAX,
        purpose: Purpose::Session,
        bulk_port: Some(u16::MAX),
    };
    assert_eq!(Hello::decode(&hello.encode().unwrap()), Ok(hello.clone()));
    let too_long = Hello { cluster_name: "x".repeat(HELLO_BYTES_MAX), ..hello };
    assert!(matches!(too_long.encode(), Err(FrameError::TooLong(_))));
}
