//! Readers: frames out of a lane's chunks, and large frames out of streams of their own.
//!
//! Keeps: memory is bounded by what has arrived, never by what a length prefix claims, and what one wakeup brought is handed
//! on in one batch. A malformed frame closes its connection with a reason.

use crate::lane::Port;
use crate::rejection::CLOSE_MALFORMED;
use anser_proto::frame::{FRAME_BYTES_MAX, FrameError, LANE_FRAME_BYTES_MAX, LENGTH_BYTES};
use bytes::{Bytes, BytesMut};
use quinn::{Connection, RecvStream};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Chunks taken in one read: a packet's worth each.
const CHUNKS: usize = 32;
/// How long a large frame may be under way.
const LARGE_MS: u64 = 30_000;
/// The unit of the budget of large frames: a permit is so many bytes.
pub(crate) const PERMIT_BYTES: usize = 1024;
/// Room kept for a frame that spans chunks; more is given back.
const PARTIAL_KEPT_BYTES: usize = 64 * 1024;

/// Cuts a stream of chunks into frames. Frames whole within a chunk are not copied.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    partial: BytesMut,
}

impl Frames {
    /// Takes a chunk, calls `each` with the content of every frame that is complete with it.
    pub fn feed(
        &mut self,
        mut chunk: &[u8],
        max: usize,
        mut each: impl FnMut(&[u8]) -> Result<(), FrameError>,
    ) -> Result<(), FrameError> {
        while !chunk.is_empty() {
            if self.partial.is_empty() {
                let Some((content, rest)) = split(chunk, max)? else {
                    self.partial.extend_from_slice(chunk);
                    return Ok(());
                };
                each(content)?;
                chunk = rest;
            } else {
                chunk = self.fill(chunk, max)?;
                if let Some((content, _)) = split(&self.partial, max)? {
                    each(content)?;
                    self.reset();
                }
            }
        }
        Ok(())
    }

    /// Adds to the partial frame what it lacks: first of its prefix, then of its content.
    fn fill<'a>(&mut self, chunk: &'a [u8], max: usize) -> Result<&'a [u8], FrameError> {
        let whole = match length(&self.partial, max)? {
            Some(length) => LENGTH_BYTES + length,
            None => LENGTH_BYTES,
        };
        let lacking = whole.saturating_sub(self.partial.len()).min(chunk.len());
        let (taken, rest) = chunk.split_at(lacking);
        self.partial.extend_from_slice(taken);
        Ok(rest)
    }

    fn reset(&mut self) {
        if self.partial.capacity() > PARTIAL_KEPT_BYTES {
            self.partial = BytesMut::new();
        } else {
            self.partial.clear();
        }
    }
}

/// The length that a prefix claims, if the prefix is complete.
fn length(bytes: &[u8], max: usize) -> Result<Option<usize>, FrameError> {
    let Some(prefix) = bytes.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = usize::try_from(u32::from_le_bytes(*prefix)).unwrap_or(usize::MAX);
    if length == 0 {
        return Err(FrameError::Empty);
    }
    if length.saturating_add(LENGTH_BYTES) > max {
        Err(FrameError::TooLong(length))
    } else {
        Ok(Some(length))
    }
}

/// A frame's content, and what follows the frame.
type Cut<'a> = (&'a [u8], &'a [u8]);

/// Cuts off the first frame, if it is complete.
fn split(bytes: &[u8], max: usize) -> Result<Option<Cut<'_>>, FrameError> {
    Ok(length(bytes, max)?.and_then(|length| bytes.get(LENGTH_BYTES..)?.split_at_checked(length)))
}

/// Reads a lane until it ends.
pub(crate) async fn read_lane(mut stream: RecvStream, connection: Connection, port: Arc<dyn Port>) {
    let mut frames = Frames::default();
    let mut chunks: [Bytes; CHUNKS] = std::array::from_fn(|_| Bytes::new());
    let mut batch = Vec::new();
    while let Ok(Some(count)) = stream.read_chunks(&mut chunks).await {
        let now = port.now();
        let mut bytes = 0;
        let mut outcome = Ok(());
        for chunk in chunks.iter_mut().take(count) {
            let chunk = std::mem::take(chunk);
            bytes += chunk.len();
            outcome = outcome.and_then(|()| {
                frames.feed(&chunk, LANE_FRAME_BYTES_MAX, |content| {
                    batch.push(port.decode(content, now)?);
                    Ok(())
                })
            });
        }
        if !batch.is_empty() {
            port.deliver(std::mem::take(&mut batch), bytes);
        }
        if let Err(error) = outcome {
            close_malformed(&connection, error);
            return;
        }
    }
}

/// Reads one large frame, its stream's only content, within the budget.
pub(crate) async fn read_large(
    stream: RecvStream,
    connection: Connection,
    port: Arc<dyn Port>,
    budget: Arc<Semaphore>,
) {
    let read = read_large_frame(stream, &port, &budget);
    match tokio::time::timeout(Duration::from_millis(LARGE_MS), read).await {
        // Cut off: the sender has its own ideas about that.
        Ok(Ok(())) | Ok(Err(LargeError::CutOff)) | Err(_) => {}
        Ok(Err(LargeError::Frame(error))) => close_malformed(&connection, error),
    }
}

enum LargeError {
    CutOff,
    Frame(FrameError),
}

async fn read_large_frame(
    mut stream: RecvStream,
    port: &Arc<dyn Port>,
    budget: &Arc<Semaphore>,
) -> Result<(), LargeError> {
    let mut prefix = [0; LENGTH_BYTES];
    stream.read_exact(&mut prefix).await.map_err(|_| LargeError::CutOff)?;
    let length = length(&prefix, FRAME_BYTES_MAX).map_err(LargeError::Frame)?.unwrap_or(0);
    let permits = u32::try_from(length.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX);
    let _held = budget.acquire_many(permits).await.map_err(|_| LargeError::CutOff)?;
    let mut content = BytesMut::new();
    while content.len() < length {
        let chunk = stream.read_chunk(length - content.len(), true).await.map_err(|_| LargeError::CutOff)?;
        content.extend_from_slice(&chunk.ok_or(LargeError::CutOff)?.bytes);
    }
    let envelope = port.decode(&content, port.now()).map_err(LargeError::Frame)?;
    port.deliver(vec![envelope], length + LENGTH_BYTES);
    Ok(())
}

/// Closes a connection on which a malformed frame came.
fn close_malformed(connection: &Connection, error: FrameError) {
    tracing::warn!(peer = %connection.remote_address(), %error, "closing a connection");
    connection.close(CLOSE_MALFORMED, error.to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn framed(contents: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for content in contents {
            bytes.extend((content.len() as u32).to_le_bytes());
            bytes.extend(content);
        }
        bytes
    }

    proptest! {
        #[test]
        fn frames_come_out_however_the_stream_is_cut(
            contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 0..20),
            cut in 1usize..64,
        ) {
            let bytes = framed(&contents);
            let mut frames = Frames::default();
            let mut seen = Vec::new();
            for chunk in bytes.chunks(cut) {
                frames.feed(chunk, 1000, |content| { seen.push(content.to_vec()); Ok(()) }).unwrap();
            }
            prop_assert_eq!(seen, contents);
        }

        #[test]
        fn any_bytes_end_in_frames_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            let mut frames = Frames::default();
            let _ = frames.feed(&bytes, 300, |_| Ok(()));
            prop_assert!(frames.partial.len() <= 500);
        }
    }

    #[test]
    fn a_hostile_length_is_refused_before_anything_is_held() {
        let mut frames = Frames::default();
        let error = frames.feed(&u32::MAX.to_le_bytes(), 32 * 1024, |_| Ok(())).unwrap_err();
        assert!(matches!(error, FrameError::TooLong(_)));
        assert!(frames.partial.capacity() < 1024);
        let claimed = (20 * 1024u32).to_le_bytes();
        frames.feed(&claimed, 32 * 1024, |_| Ok(())).unwrap();
        assert!(frames.partial.capacity() < 1024, "a claim holds no memory");
        assert_eq!(frames.feed(&[0; 4], 100, |_| Ok(())), Err(FrameError::TooLong(20 * 1024)));
        assert_eq!(Frames::default().feed(&[0; 4], 100, |_| Ok(())), Err(FrameError::Empty));
    }
}
