//! Writers: a lane that coalesces all that is queued into one write, and one that gives every message its own stream.
//!
//! Keeps: what a writer has taken from its queue counts as sent, whether or not the connection then dies; what is still
//! queued was not sent. Requests whose deadline is past are not sent any more.

use crate::queue::Queue;
use anser_proto::frame::{self, FrameError, LANE_FRAME_BYTES_MAX};
use anser_proto::{Envelope, Refusal, Tick};
use bytes::{Bytes, BytesMut};
use quinn::{Connection, SendStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// About how much one write holds.
const WRITE_BYTES_MAX: usize = 64 * 1024;
/// How long a draining lane waits until the other end has everything.
const DRAIN_MS: u64 = 700;

/// What a connection's lanes belong to: a peer's link, a session, or a client's connection.
pub(crate) trait Port: Send + Sync + 'static {
    /// The time.
    fn now(&self) -> Tick;
    /// Reads one frame's content, sender stamped.
    fn decode(&self, content: &[u8], now: Tick) -> Result<Envelope, FrameError>;
    /// Takes what one wakeup brought.
    fn deliver(&self, batch: Vec<Envelope>, bytes: usize);
    /// Sends a message that is too large for a lane.
    fn large(&self, envelope: Envelope);
    /// These will not be sent.
    fn unsent(&self, batch: Vec<Envelope>, why: Refusal);
    /// So much was handed to the transport.
    fn wrote(&self, messages: usize, bytes: usize);
}

/// How far a connection's life has come, as its writers see it.
#[derive(Debug, Default)]
pub(crate) struct Life(AtomicU8);

const RUNNING: u8 = 0;
const DRAINING: u8 = 1;
const STOPPED: u8 = 2;

impl Life {
    /// Send what is queued, then end.
    pub fn drain(&self) {
        self.0.fetch_max(DRAINING, Ordering::AcqRel);
    }

    /// Send nothing more. What is queued stays there.
    pub fn stop(&self) {
        self.0.store(STOPPED, Ordering::Release);
    }

    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Acquire) == STOPPED
    }

    pub fn is_running(&self) -> bool {
        self.0.load(Ordering::Acquire) == RUNNING
    }
}

/// A writer's surroundings.
#[derive(Clone)]
pub(crate) struct Writer {
    pub port: Arc<dyn Port>,
    pub queue: Arc<Queue>,
    pub life: Arc<Life>,
}

impl Writer {
    /// Writes frames to one stream until the connection ends or is to send no more.
    pub async fn run_lane(self, stream: SendStream) {
        self.write_frames(stream).await;
        self.hand_over();
    }

    /// Writes each message to a stream of its own until the connection ends or is to send no more.
    pub async fn run_streams(self, connection: Connection) {
        self.write_streams(&connection).await;
        self.hand_over();
    }

    /// A wake meant for this writer may have come while it ended: it is another's now.
    fn hand_over(&self) {
        if !self.queue.is_empty() {
            self.queue.wake();
        }
    }

    async fn write_frames(&self, mut stream: SendStream) {
        let mut batch = Vec::new();
        loop {
            let ready = self.queue.ready();
            if self.life.is_stopped() {
                break;
            }
            let weight = self.queue.take(WRITE_BYTES_MAX, &mut batch);
            if batch.is_empty() {
                if !self.life.is_running() {
                    break;
                }
                ready.await;
                continue;
            }
            let (messages, written) = self.encode(&mut batch, weight);
            if written.is_empty() {
                continue;
            }
            self.port.wrote(messages, written.len());
            if stream.write_chunk(written).await.is_err() {
                return;
            }
        }
        let _ = stream.finish();
        if !self.life.is_stopped() {
            let _ = tokio::time::timeout(Duration::from_millis(DRAIN_MS), stream.stopped()).await;
        }
    }

    fn encode(&self, batch: &mut Vec<Envelope>, weight: usize) -> (usize, Bytes) {
        let now = self.port.now();
        let mut buffer = BytesMut::with_capacity(weight.min(2 * WRITE_BYTES_MAX));
        let mut messages = 0;
        for envelope in batch.drain(..) {
            if is_late(&envelope, now) {
                self.port.unsent(vec![envelope], Refusal::NotSent);
            } else if envelope.body.payload_bytes() > LANE_FRAME_BYTES_MAX {
                self.port.large(envelope);
            } else {
                let start = buffer.len();
                match frame::encode(&envelope, now, &mut buffer) {
                    Ok(()) if buffer.len() - start <= LANE_FRAME_BYTES_MAX => messages += 1,
                    Ok(()) => {
                        buffer.truncate(start);
                        self.port.large(envelope);
                    }
                    Err(_) => self.port.unsent(vec![envelope], Refusal::NotSent),
                }
            }
        }
        (messages, buffer.freeze())
    }

    async fn write_streams(&self, connection: &Connection) {
        let mut batch = Vec::new();
        loop {
            let ready = self.queue.ready();
            if self.life.is_stopped() {
                break;
            }
            self.queue.take(0, &mut batch);
            let Some(envelope) = batch.pop() else {
                if !self.life.is_running() {
                    break;
                }
                ready.await;
                continue;
            };
            if self.write_stream(connection, envelope).await.is_err() {
                return;
            }
        }
    }

    async fn write_stream(&self, connection: &Connection, envelope: Envelope) -> Result<(), Closed> {
        let now = self.port.now();
        let mut buffer = BytesMut::with_capacity(crate::queue::weight(&envelope));
        if is_late(&envelope, now) || frame::encode(&envelope, now, &mut buffer).is_err() {
            self.port.unsent(vec![envelope], Refusal::NotSent);
            return Ok(());
        }
        let Ok(mut stream) = connection.open_uni().await else {
            self.port.unsent(vec![envelope], Refusal::NotSent);
            return Err(Closed);
        };
        drop(envelope);
        self.port.wrote(1, buffer.len());
        stream.write_chunk(buffer.freeze()).await.map_err(|_| Closed)?;
        let _ = stream.finish();
        if !self.life.is_running() {
            let _ = tokio::time::timeout(Duration::from_millis(DRAIN_MS), stream.stopped()).await;
        }
        Ok(())
    }
}

/// The connection is gone.
struct Closed;

fn is_late(envelope: &Envelope, now: Tick) -> bool {
    envelope.body.is_request() && envelope.deadline <= now
}
