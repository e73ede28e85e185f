//! The frame: a length, a version, and one envelope in postcard.
//!
//! Layout: `length: u32 little-endian` (of what follows), `version: u8`, then the postcard of the wire envelope. Nodes are
//! not named in a frame: the receiver stamps the sender from its certificate, and knows itself. A deadline travels as the
//! time left, since no two clocks agree.

use crate::address::{Address, Role};
use crate::envelope::{Body, Envelope, OpId, Tick};
use anser_model::{NodeId, Step};
use bytes::{BufMut, BytesMut};
use serde::{Deserialize, Serialize};

/// The version that this build writes and reads.
pub const FRAME_VERSION: u8 = 1;
/// Bytes of the length prefix.
pub const LENGTH_BYTES: usize = 4;
/// Largest frame on a lane, length prefix included; larger ones go to the bulk endpoint.
pub const LANE_FRAME_BYTES_MAX: usize = 32 * 1024;
/// Largest frame at all: the largest value with its key, context and siblings.
pub const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Largest frame that fits a datagram.
pub const DATAGRAM_BYTES_MAX: usize = 1000;

/// Why a frame was not read. The connection that it came on is closed, but for datagrams, which are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Shorter than its smallest content.
    #[error("a frame without content")]
    Empty,
    /// Of another version.
    #[error("a frame of version {0}; this build reads version {FRAME_VERSION}")]
    Version(u8),
    /// Longer than the limit.
    #[error("a frame of {0} bytes; the limit is {FRAME_BYTES_MAX}")]
    TooLong(usize),
    /// Not decodable, or with bytes left over.
    #[error("a malformed frame")]
    Malformed,
}

/// An envelope as it travels.
#[derive(Serialize, Deserialize)]
struct WireEnvelope<B> {
    from: (Role, u32),
    to: (Role, u32),
    op: OpId,
    step: Step,
    left_us: u64,
    body: B,
}

/// Appends an envelope's frame, length prefix included, to `out`. On an error `out` is as it was.
pub fn encode(envelope: &Envelope, now: Tick, out: &mut BytesMut) -> Result<(), FrameError> {
    let start = out.len();
    out.put_u32_le(0);
    out.put_u8(FRAME_VERSION);
    let wire = WireEnvelope {
        from: (envelope.from.role, envelope.from.slot),
        to: (envelope.to.role, envelope.to.slot),
        op: envelope.op,
        step: envelope.step,
        left_us: envelope.deadline.since_us(now),
        body: &envelope.body,
    };
    let written = postcard::serialize_with_flavor(&wire, Appender(out));
    let length = out.len() - start - LENGTH_BYTES;
    let fits = if written.is_err() {
        Err(FrameError::Malformed)
    } else if length + LENGTH_BYTES > FRAME_BYTES_MAX {
        Err(FrameError::TooLong(length))
    } else {
        u32::try_from(length).map_err(|_| FrameError::TooLong(length))
    };
    match fits {
        Ok(length) => {
            if let Some(prefix) = out.get_mut(start..start + LENGTH_BYTES) {
                prefix.copy_from_slice(&length.to_le_bytes());
            }
            Ok(())
        }
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

/// Reads a frame's content (what follows the length prefix) that `from` sent to `me`.
pub fn decode(content: &[u8], from: NodeId, me: NodeId, now: Tick) -> Result<Envelope, FrameError> {
    if content.len() + LENGTH_BYTES > FRAME_BYTES_MAX {
        return Err(FrameError::TooLong(content.len()));
    }
    let (version, rest) = content.split_first().ok_or(FrameError::Empty)?;
    if *version != FRAME_VERSION {
        return Err(FrameError::Version(*version));
    }
    let (wire, left): (WireEnvelope<Body>, _) =
        postcard::take_from_bytes(rest).map_err(|_| FrameError::Malformed)?;
    if !left.is_empty() {
        return Err(FrameError::Malformed);
    }
    Ok(Envelope {
        from: Address { node: from, role: wire.from.0, slot: wire.from.1 },
        to: Address { node: me, role: wire.to.0, slot: wire.to.1 },
        op: wire.op,
        step: wire.step,
        deadline: now.plus_us(wire.left_us),
        body: wire.body,
    })
}

/// Lets postcard append to a buffer that already holds other frames.
struct Appender<'a>(&'a mut BytesMut);

impl postcard::ser_flavors::Flavor for Appender<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.put_u8(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
