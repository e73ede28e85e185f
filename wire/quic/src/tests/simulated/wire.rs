//! A simulated network: sockets that quinn takes for UDP ones, with seeded loss, delay, doubling and cuts. Some are
//! late, so that others overtake them. Whatever is sent is written down.
//!
//! Deliberately absent: any knowledge of what a datagram says, and a socket that is ever too busy to send.

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// The largest datagram that passes: what an Ethernet leaves of its 1500 bytes.
const PAYLOAD_MAX: usize = 1472;

/// What datagrams meet on their way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    /// Of a thousand, lost.
    pub lost: u64,
    /// Of a thousand, doubled.
    pub doubled: u64,
    /// Of a thousand, late: others overtake them.
    pub late: u64,
}

/// The shortest and the longest way of most, in microseconds.
const WAY_US: (u64, u64) = (200, 1000);
/// The longest way of those that are late.
const LATE_US_MAX: u64 = 15_000;

impl Weather {
    /// A local network on a good day.
    pub const FINE: Weather = Weather { lost: 0, doubled: 0, late: 0 };
    /// On a bad one.
    pub const FOUL: Weather = Weather { lost: 50, doubled: 20, late: 50 };
}

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Lost,
    /// The way was cut, or nobody was there.
    Cut,
    TooLarge,
    Arrives,
    Doubled,
}

/// A datagram that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Passage {
    pub at: Duration,
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub bytes: usize,
    pub fate: Fate,
}

/// The network. Cheap to clone.
#[derive(Clone)]
pub(super) struct Wire(Arc<Mutex<Inner>>);

struct Inner {
    born: Instant,
    dice: fastrand::Rng,
    weather: Weather,
    /// From where to where nothing passes.
    cuts: BTreeSet<(IpAddr, IpAddr)>,
    sockets: BTreeMap<SocketAddr, Weak<Socket>>,
    passages: Vec<Passage>,
}

impl Wire {
    pub fn new(seed: u64, weather: Weather) -> Wire {
        Wire(Arc::new(Mutex::new(Inner {
            born: Instant::now(),
            dice: fastrand::Rng::with_seed(seed),
            weather,
            cuts: BTreeSet::new(),
            sockets: BTreeMap::new(),
            passages: Vec::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// A socket at an address, in place of the one that was there.
    pub fn bind(&self, address: SocketAddr) -> Arc<Socket> {
        let socket = Arc::new(Socket {
            address,
            wire: self.clone(),
            dead: AtomicBool::new(false),
            inbox: Mutex::default(),
        });
        self.lock().sockets.insert(address, Arc::downgrade(&socket));
        socket
    }

    /// From now on nothing passes this way; what is under way arrives.
    pub fn cut(&self, from: IpAddr, to: IpAddr) {
        self.lock().cuts.insert((from, to));
    }

    pub fn mend(&self) {
        self.lock().cuts.clear();
    }

    /// All that was sent so far.
    pub fn passages(&self) -> Vec<Passage> {
        self.lock().passages.clone()
    }
}

impl Inner {
    fn send(&mut self, from: SocketAddr, to: SocketAddr, content: &[u8]) {
        let socket = self.sockets.get(&to).and_then(Weak::upgrade);
        let cut = self.cuts.contains(&(from.ip(), to.ip()));
        let fate = match &socket {
            None => Fate::Cut,
            Some(_) if cut => Fate::Cut,
            Some(_) if content.len() > PAYLOAD_MAX => Fate::TooLarge,
            Some(_) if self.chance(self.weather.lost) => Fate::Lost,
            Some(_) if self.chance(self.weather.doubled) => Fate::Doubled,
            Some(_) => Fate::Arrives,
        };
        let at = self.born.elapsed();
        self.passages.push(Passage { at, from, to, bytes: content.len(), fate });
        let copies = match fate {
            Fate::Lost | Fate::Cut | Fate::TooLarge => 0,
            Fate::Arrives => 1,
            Fate::Doubled => 2,
        };
        for _ in 0..copies {
            let (shortest, longest) = WAY_US;
            let longest = if self.chance(self.weather.late) { LATE_US_MAX } else { longest };
            let arrives = Instant::now() + Duration::from_micros(self.dice.u64(shortest..=longest));
            if let Some(socket) = &socket {
                socket.post(arrives, from, content);
            }
        }
    }

    fn chance(&mut self, per_mille: u64) -> bool {
        self.dice.u64(..1000) < per_mille
    }
}

/// One end of the network.
pub(super) struct Socket {
    address: SocketAddr,
    wire: Wire,
    dead: AtomicBool,
    inbox: Mutex<Inbox>,
}

#[derive(Default)]
struct Inbox {
    /// What is on its way here, by its arrival; of two that arrive at once, the one that was sent first.
    coming: BTreeMap<(Instant, u64), (SocketAddr, Vec<u8>)>,
    sent: u64,
    timer: Option<Pin<Box<Sleep>>>,
    reader: Option<Waker>,
}

impl Socket {
    /// The process behind it is gone: it says and hears nothing more.
    pub fn kill(&self) {
        self.dead.store(true, Ordering::Relaxed);
    }

    fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    fn post(&self, arrives: Instant, from: SocketAddr, content: &[u8]) {
        let mut inbox = self.inbox.lock().unwrap();
        inbox.sent += 1;
        let place = (arrives, inbox.sent);
        inbox.coming.insert(place, (from, content.to_vec()));
        if let Some(reader) = inbox.reader.take() {
            reader.wake();
        }
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Socket").field(&self.address).finish()
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if !self.is_dead() {
            self.wire.lock().send(self.address, transmit.destination, transmit.contents);
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let inbox = &mut *self.inbox.lock().unwrap();
        if self.is_dead() {
            inbox.coming.clear();
        }
        loop {
            let mut count = 0;
            let room = buffers.iter_mut().zip(metas.iter_mut());
            for (buffer, meta) in room {
                let Some(next) = inbox.coming.first_entry() else { break };
                if next.key().0 > Instant::now() {
                    break;
                }
                let (from, content) = next.remove();
                buffer[..content.len()].copy_from_slice(&content);
                *meta = RecvMeta::default();
                (meta.addr, meta.len, meta.stride) = (from, content.len(), content.len());
                count += 1;
            }
            if count > 0 {
                return Poll::Ready(Ok(count));
            }
            inbox.reader = Some(context.waker().clone());
            let Some(((arrives, _), _)) = inbox.coming.first_key_value() else { return Poll::Pending };
            let timer = inbox.timer.insert(Box::pin(sleep_until(*arrives)));
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
