//! Why two ends part: the reasons why one refuses the other, and what a dialler is told.
//!
//! A reason travels as text in the close frame, of TLS alerts as well as of our own codes, so that the refused side can
//! say in plain words what is wrong with it.

use quinn::{ConnectionError, VarInt};
use std::net::SocketAddr;

/// Why one end refused the other. A closed set: metrics have them by [`Rejection::words`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Rejection {
    /// The certificate is not signed by this cluster's authority.
    #[error("other authority")]
    OtherAuthority,
    /// No certificate at all.
    #[error("no certificate")]
    NoCertificate,
    /// The certificate is not valid now: expired, or not yet valid.
    #[error("expired certificate")]
    Expired,
    /// The certificate can't be read, or carries no name of ours.
    #[error("bad certificate")]
    BadCertificate,
    /// Another cluster: its name in the certificate, or its id in the hello.
    #[error("other cluster")]
    OtherCluster,
    /// The certificate is not a node's.
    #[error("not a node")]
    NotANode,
    /// A node, but not the one that was dialled.
    #[error("other node than expected")]
    OtherNode,
    /// It is this very node.
    #[error("oneself")]
    Oneself,
    /// Another version of the protocol.
    #[error("other protocol")]
    OtherProtocol,
    /// The first words were malformed, late, or not those of its kind.
    #[error("bad hello")]
    BadHello,
    /// As many sessions as a node takes.
    #[error("too many sessions")]
    TooManySessions,
}

impl Rejection {
    /// Every reason.
    pub const ALL: [Rejection; 11] = [
        Rejection::OtherAuthority,
        Rejection::NoCertificate,
        Rejection::Expired,
        Rejection::BadCertificate,
        Rejection::OtherCluster,
        Rejection::NotANode,
        Rejection::OtherNode,
        Rejection::Oneself,
        Rejection::OtherProtocol,
        Rejection::BadHello,
        Rejection::TooManySessions,
    ];

    /// The reason in plain words: what travels, and what metrics are labelled with.
    pub fn words(self) -> &'static str {
        match self {
            Rejection::OtherAuthority => "other authority",
            Rejection::NoCertificate => "no certificate",
            Rejection::Expired => "expired certificate",
            Rejection::BadCertificate => "bad certificate",
            Rejection::OtherCluster => "other cluster",
            Rejection::NotANode => "not a node",
            Rejection::OtherNode => "other node than expected",
            Rejection::Oneself => "oneself",
            Rejection::OtherProtocol => "other protocol",
            Rejection::BadHello => "bad hello",
            Rejection::TooManySessions => "too many sessions",
        }
    }

    /// The reason in a close frame's text and TLS alert, if it has one of ours.
    fn of_close(code: u64, reason: &str) -> Option<Rejection> {
        const CRYPTO: u64 = 0x100;
        let said = Rejection::ALL.into_iter().find(|known| reason.ends_with(known.words()));
        said.or(match code.checked_sub(CRYPTO)? {
            42 | 43 | 46 => Some(Rejection::BadCertificate),
            45 => Some(Rejection::Expired),
            48 => Some(Rejection::OtherAuthority),
            70 | 120 => Some(Rejection::OtherProtocol),
            116 => Some(Rejection::NoCertificate),
            _ => None,
        })
    }
}

/// Why a dial brought no connection. Nothing was sent that matters.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The other side refused us.
    #[error("{address} refused this side: {why}")]
    RefusedByPeer {
        /// Who was dialled.
        address: SocketAddr,
        /// Its reason.
        why: Rejection,
    },
    /// We refused the other side.
    #[error("{address} is not to be talked to: {why}")]
    RefusedByUs {
        /// Who was dialled.
        address: SocketAddr,
        /// Our reason.
        why: Rejection,
    },
    /// Nobody answered in time.
    #[error("{address} did not answer in time")]
    TimedOut {
        /// Who was dialled.
        address: SocketAddr,
    },
    /// The connection was closed before it was up.
    #[error("{address} closed the connection: {why}")]
    Closed {
        /// Who was dialled.
        address: SocketAddr,
        /// What it, or the transport, said.
        why: String,
    },
    /// The socket can't be opened, or the address can't be dialled.
    #[error("{address} can't be dialled: {why}")]
    Socket {
        /// Who was dialled.
        address: SocketAddr,
        /// What the system said.
        why: String,
    },
}

impl ConnectError {
    /// The reason, if one side refused the other.
    pub fn rejection(&self) -> Option<Rejection> {
        match self {
            ConnectError::RefusedByPeer { why, .. } | ConnectError::RefusedByUs { why, .. } => Some(*why),
            ConnectError::TimedOut { .. } | ConnectError::Closed { .. } | ConnectError::Socket { .. } => None,
        }
    }

    /// Whether one side's certificate is the trouble: dialling again will not help.
    pub fn is_not_allowed(&self) -> bool {
        self.rejection().is_some_and(|why| match why {
            Rejection::OtherAuthority
            | Rejection::NoCertificate
            | Rejection::Expired
            | Rejection::BadCertificate
            | Rejection::OtherCluster
            | Rejection::NotANode
            | Rejection::OtherNode => true,
            Rejection::Oneself
            | Rejection::OtherProtocol
            | Rejection::BadHello
            | Rejection::TooManySessions => false,
        })
    }

    /// What a lost or failed connection means to its dialler.
    pub(crate) fn of_connection(address: SocketAddr, error: &ConnectionError) -> ConnectError {
        let closed = || ConnectError::Closed { address, why: error.to_string() };
        match error {
            ConnectionError::TimedOut => ConnectError::TimedOut { address },
            ConnectionError::VersionMismatch => {
                ConnectError::RefusedByPeer { address, why: Rejection::OtherProtocol }
            }
            ConnectionError::TransportError(error) => {
                match Rejection::of_close(u64::from(error.code), &error.reason) {
                    Some(why) => ConnectError::RefusedByUs { address, why },
                    None => closed(),
                }
            }
            ConnectionError::ConnectionClosed(close) => {
                match Rejection::of_close(
                    u64::from(close.error_code),
                    &String::from_utf8_lossy(&close.reason),
                ) {
                    Some(why) => ConnectError::RefusedByPeer { address, why },
                    None => closed(),
                }
            }
            ConnectionError::ApplicationClosed(close) => {
                let reason = String::from_utf8_lossy(&close.reason);
                match Rejection::ALL.into_iter().find(|known| reason == known.words()) {
                    Some(why) if close.error_code == CLOSE_REFUSED => {
                        ConnectError::RefusedByPeer { address, why }
                    }
                    Some(_) | None => closed(),
                }
            }
            ConnectionError::Reset | ConnectionError::LocallyClosed | ConnectionError::CidsExhausted => {
                closed()
            }
        }
    }
}

/// Why an incoming connection did not get through its handshake, in words for metrics and logs.
pub(crate) fn words_of(error: &ConnectionError) -> &'static str {
    let address = SocketAddr::from(([0, 0, 0, 0], 0));
    ConnectError::of_connection(address, error).rejection().map_or("handshake failed", Rejection::words)
}

/// Closed in good order: the process ends.
pub(crate) const CLOSE_ENDING: VarInt = VarInt::from_u32(0);
/// Another connection for the same purpose is kept.
pub(crate) const CLOSE_REPLACED: VarInt = VarInt::from_u32(1);
/// A malformed frame.
pub(crate) const CLOSE_MALFORMED: VarInt = VarInt::from_u32(2);
/// Refused; the reason says why.
pub(crate) const CLOSE_REFUSED: VarInt = VarInt::from_u32(3);
