//! The first connection: every address of the profile is dialled, a little apart, until one tells the ring.

use crate::attempt;
use crate::error::{ConnectError, Tried};
use crate::profile::Profile;
use crate::pursuit::Answer;
use crate::view::View;
use anser_model::Hlc;
use anser_proto::client::{ClientRequest, Outcome, RingReply};
use anser_proto::{Body, Role};
use anser_quic::{ClientConnection, ClientEndpoint, ConnectError as DialError, Credentials, Rejection};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long after an address the next one is dialled, unless that one failed before.
const STAGGER: Duration = Duration::from_millis(150);
/// How long one address is given, from the dial to the ring.
pub(crate) const ADDRESS_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a node that does not serve yet is asked again.
const NOT_READY_RETRY: Duration = Duration::from_millis(100);

/// What was found.
pub(crate) struct Bootstrap {
    pub endpoint: ClientEndpoint,
    pub view: View,
    pub clock: Hlc,
}

/// Connects to the first address that answers.
pub(crate) async fn connect(profile: &Profile) -> Result<Bootstrap, ConnectError> {
    if profile.addresses.is_empty() {
        return Err(ConnectError::NoAddress);
    }
    let credentials = Credentials::load(&profile.ca, &profile.cert, &profile.key)
        .map_err(|error| ConnectError::Credentials(error.to_string()))?;
    let endpoint = ClientEndpoint::new(credentials);
    let mut dials = JoinSet::new();
    for (address, turn) in profile.addresses.iter().copied().zip(0u32..) {
        let endpoint = endpoint.clone();
        dials.spawn(async move {
            tokio::time::sleep(STAGGER.saturating_mul(turn)).await;
            (address, ask(&endpoint, address).await)
        });
    }
    let mut tried = Vec::new();
    let mut refused = None;
    while let Some(dialled) = dials.join_next().await {
        let Ok((address, found)) = dialled else { continue };
        match found.and_then(|found| first_view(address, found)) {
            Ok((view, clock)) => return Ok(Bootstrap { endpoint, view, clock }),
            Err(Unanswered { why, not_allowed }) => {
                if not_allowed && refused.is_none() {
                    refused = Some(why.clone());
                }
                tried.push(Tried { address, why });
            }
        }
    }
    tried.sort_by_key(|tried| profile.addresses.iter().position(|address| *address == tried.address));
    Err(match refused {
        Some(why) => ConnectError::NotAllowed { why, tried },
        None => ConnectError::Unreachable { tried },
    })
}

/// Why an address did not tell the ring.
pub(crate) struct Unanswered {
    why: String,
    not_allowed: bool,
}

/// An address's answer.
pub(crate) struct Answered {
    pub connection: ClientConnection,
    pub ring: RingReply,
    pub clock: Hlc,
}

/// Dials an address and asks for the ring; waits while the node does not serve yet.
pub(crate) async fn ask(endpoint: &ClientEndpoint, address: SocketAddr) -> Result<Answered, Unanswered> {
    let plain = |why: &str| Unanswered { why: why.to_owned(), not_allowed: false };
    let asked = async {
        let connection = endpoint.connect(address, ADDRESS_TIMEOUT).await.map_err(unanswered)?;
        loop {
            let body = Body::Client(ClientRequest::DescribeRing);
            let (answer, clock) =
                attempt::answer(connection.call(Role::Membership, body, ADDRESS_TIMEOUT).await);
            match answer {
                Answer::Done(Outcome::Ring(ring)) => {
                    return Ok(Answered { connection, ring, clock: clock.unwrap_or_default() });
                }
                Answer::NotReady | Answer::Overloaded => tokio::time::sleep(NOT_READY_RETRY).await,
                Answer::NotSent | Answer::Unsure { .. } => return Err(plain("the connection was lost")),
                Answer::Denied(failure) => return Err(plain(&format!("refused: {failure:?}"))),
                Answer::Done(_) | Answer::Unavailable { .. } => {
                    return Err(plain("it answered something else"));
                }
            }
        }
    };
    match tokio::time::timeout(ADDRESS_TIMEOUT, asked).await {
        Ok(result) => result,
        Err(_) => Err(plain("it does not serve yet")),
    }
}

/// Why a dial failed, beside the address.
fn unanswered(error: DialError) -> Unanswered {
    let (why, not_allowed) = match error {
        DialError::RefusedByPeer { why, .. } => (format!("this client was refused: {why}"), denies(why)),
        DialError::RefusedByUs { why, .. } => {
            (format!("its certificate was refused here: {why}"), denies(why))
        }
        DialError::TimedOut { .. } => ("no answer".to_owned(), false),
        DialError::Closed { why, .. } | DialError::Socket { why, .. } => (why, false),
    };
    Unanswered { why, not_allowed }
}

/// Whether it is a matter of certificates, which trying again does not change.
fn denies(why: Rejection) -> bool {
    match why {
        Rejection::OtherAuthority
        | Rejection::NoCertificate
        | Rejection::Expired
        | Rejection::BadCertificate
        | Rejection::OtherCluster
        | Rejection::NotANode
        | Rejection::OtherNode => true,
        Rejection::Oneself | Rejection::OtherProtocol | Rejection::BadHello | Rejection::TooManySessions => {
            false
        }
    }
}

/// The view of the first answer, with the connection that it came on.
fn first_view(address: SocketAddr, found: Answered) -> Result<(View, Hlc), Unanswered> {
    let Answered { connection, mut ring, clock } = found;
    let node = connection.node();
    if !ring.addresses.iter().any(|(known, _)| *known == node) {
        ring.addresses.push((node, address));
    }
    let unusable = |why: String| Unanswered { why, not_allowed: false };
    let view = View::learn(None, ring).map_err(|error| unusable(error.to_string()))?;
    let view = view.ok_or_else(|| unusable("no ring".to_owned()))?;
    if let Some(peer) = view.peer(&node) {
        peer.adopt(connection);
    }
    Ok((view, clock))
}
