//! Sockets and transport settings: what was measured to matter, in one place.
//!
//! Initial round trip 20 ms (the default third of a second makes the first lost packet cost that much), idle timeouts kept
//! alive by the dialler, explicit stream limits (the default of 100 blocks silently), large socket buffers, path MTU
//! discovery. The key of stateless resets outlives a restart, so that peers notice it at once. Deliberately absent:
//! migration, resumption, 0-RTT, and BBR (Cubic did better).

use crate::credentials::Credentials;
use quinn::{EndpointConfig, IdleTimeout, MtuDiscoveryConfig, TokioRuntime, TransportConfig, VarInt};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Between nodes: how long silence may last.
const NODE_IDLE_MS: u32 = 3000;
/// Between nodes: how often the dialler breaks the silence.
const NODE_KEEP_ALIVE_MS: u64 = 500;
/// What an accepting node allows at most; the dialler's lower value holds for both.
const ACCEPTED_IDLE_MS: u32 = 30_000;
/// How long a client waits before it takes a silent node for lost.
const CLIENT_IDLE_MS: u32 = 4000;
/// How often a client breaks the silence.
const CLIENT_KEEP_ALIVE_MS: u64 = 1000;
const INITIAL_RTT_MS: u64 = 20;
/// Largest UDP payload looked for on a path.
const UDP_PAYLOAD_MAX: u16 = 6500;
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;
const DATAGRAM_BUFFER_BYTES: usize = 1024 * 1024;
/// Streams a peer may hold open: lanes, and one for each large message under way.
const BIDI_STREAMS_MAX: u32 = 8;
const UNI_STREAMS_MAX: u32 = 64;
const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
const SEND_WINDOW_BYTES: u64 = 8 * 1024 * 1024;

/// Whose end of which connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// A node dials a node.
    NodeDials,
    /// A client dials a node.
    ClientDials,
    /// A node accepts.
    Accepts,
}

/// The transport's settings at one end.
pub(crate) fn transport(end: End) -> Arc<TransportConfig> {
    let (idle_ms, keep_alive_ms) = match end {
        End::NodeDials => (NODE_IDLE_MS, Some(NODE_KEEP_ALIVE_MS)),
        End::ClientDials => (CLIENT_IDLE_MS, Some(CLIENT_KEEP_ALIVE_MS)),
        End::Accepts => (ACCEPTED_IDLE_MS, None),
    };
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(UDP_PAYLOAD_MAX);
    let mut config = TransportConfig::default();
    config
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(idle_ms))))
        .keep_alive_interval(keep_alive_ms.map(Duration::from_millis))
        .initial_rtt(Duration::from_millis(INITIAL_RTT_MS))
        .mtu_discovery_config(Some(mtu))
        .max_concurrent_bidi_streams(VarInt::from_u32(BIDI_STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(UNI_STREAMS_MAX))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .send_fairness(true)
        .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER_BYTES))
        .datagram_send_buffer_size(DATAGRAM_BUFFER_BYTES);
    Arc::new(config)
}

/// Opens an endpoint on the runtime that this is called in. Only a node gives its `boot` and accepts.
pub(crate) fn open_endpoint(
    address: SocketAddr,
    credentials: &Credentials,
    boot: u64,
    accepts: Option<quinn::ServerConfig>,
) -> io::Result<quinn::Endpoint> {
    let config = endpoint_config(credentials, boot)?;
    quinn::Endpoint::new(config, accepts, open_socket(address)?, Arc::new(TokioRuntime))
}

/// An endpoint's settings, whatever its socket.
pub(crate) fn endpoint_config(credentials: &Credentials, boot: u64) -> io::Result<EndpointConfig> {
    let mut config = EndpointConfig::new(Arc::new(ResetKey(credentials.secret("stateless reset"))));
    config.max_udp_payload_size(UDP_PAYLOAD_MAX).map_err(io::Error::other)?;
    let key = credentials.secret("connection ids");
    config.cid_generator(move || Box::new(ConnectionIds { key, boot, count: 0 }));
    Ok(config)
}

/// A server's settings.
pub(crate) fn server_config(credentials: &Credentials) -> Result<quinn::ServerConfig, rustls::Error> {
    let tls = crate::verify::acceptor_config(credentials)?;
    let tls = quinn::crypto::rustls::QuicServerConfig::try_from(tls)
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(tls));
    config.transport_config(transport(End::Accepts));
    config.migration(false);
    Ok(config)
}

/// A dialler's settings.
pub(crate) fn client_config(
    credentials: &Credentials,
    end: End,
) -> Result<quinn::ClientConfig, rustls::Error> {
    let tls = crate::verify::dialler_config(credentials)?;
    let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls)
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let mut config = quinn::ClientConfig::new(Arc::new(tls));
    config.transport_config(transport(end));
    Ok(config)
}

fn open_socket(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
    // Best effort: a system that gives less serves all the same.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// The key of stateless resets: the same at every start, so that a peer's first packet to a connection that the restarted
/// process does not know is answered with a reset it believes.
struct ResetKey([u8; 32]);

const RESET_KEY_BYTES: usize = 32;

impl quinn::crypto::HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature: &mut [u8]) {
        let hash = blake3::keyed_hash(&self.0, data);
        for (to, from) in signature.iter_mut().zip(hash.as_bytes()) {
            *to = *from;
        }
    }

    fn signature_len(&self) -> usize {
        RESET_KEY_BYTES
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), quinn::crypto::CryptoError> {
        let hash = blake3::keyed_hash(&self.0, data);
        let expected: Option<[u8; RESET_KEY_BYTES]> = signature.try_into().ok();
        // Comparing hashes takes the same time wherever they differ.
        if expected.is_some_and(|expected| hash == blake3::Hash::from_bytes(expected)) {
            Ok(())
        } else {
            Err(quinn::crypto::CryptoError)
        }
    }
}

/// Connection ids nobody can guess: a keyed hash of a count. Any id of their length may have been made by the process before
/// this one, so all of them are answered with resets.
struct ConnectionIds {
    key: [u8; 32],
    boot: u64,
    count: u64,
}

const CONNECTION_ID_BYTES: usize = 8;

impl quinn::ConnectionIdGenerator for ConnectionIds {
    fn generate_cid(&mut self) -> quinn::ConnectionId {
        self.count = self.count.wrapping_add(1);
        let mut made = [0; 16];
        let (boot, count) = made.split_at_mut(8);
        boot.copy_from_slice(&self.boot.to_le_bytes());
        count.copy_from_slice(&self.count.to_le_bytes());
        let hash = blake3::keyed_hash(&self.key, &made);
        quinn::ConnectionId::new(hash.as_bytes().get(..CONNECTION_ID_BYTES).unwrap_or_default())
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}
