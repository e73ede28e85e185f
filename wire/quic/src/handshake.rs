//! The hello: the first words on every connection, and the judgement of them.
//!
//! Keeps: a peer is up only after both sides took each other's hello. The dialler's TLS handshake ends before the other side
//! has judged its certificate, so nothing else can tell.

use crate::identity::{Identity, Kind};
use crate::rejection::{CLOSE_REFUSED, ConnectError, Rejection};
use anser_model::{ClusterId, Member, NodeId};
use anser_proto::hello::{HELLO_BYTES_MAX, Hello, Purpose};
use quinn::{Connection, RecvStream, SendStream};
use std::time::Duration;

/// How long the other side may take for its hello, in milliseconds.
const HELLO_MS: u64 = 2000;

/// Why no hello came.
pub(crate) enum HelloError {
    /// The connection ended.
    Lost,
    /// It is refused.
    Refused(Rejection),
}

/// What a hello is judged by: this end.
#[derive(Clone, Copy)]
pub(crate) struct Judge<'a> {
    pub cluster_name: &'a str,
    pub cluster: Option<ClusterId>,
    pub me: NodeId,
}

impl Judge<'_> {
    /// Whether whoever dialled may talk to us: certificate and hello fit together, and fit us.
    pub fn dialler(self, identity: &Identity, hello: &Hello) -> Result<(), Rejection> {
        self.cluster(identity, hello)?;
        match (identity.kind, hello.purpose, hello.member) {
            (Kind::Node, Purpose::Control | Purpose::Data | Purpose::Bulk, Some(member)) => {
                self.node(identity, member)
            }
            (Kind::Client | Kind::Operator, Purpose::Session, None) => Ok(()),
            (Kind::Client | Kind::Operator, Purpose::Control | Purpose::Data | Purpose::Bulk, _) => {
                Err(Rejection::NotANode)
            }
            (Kind::Node, _, None)
            | (Kind::Node, Purpose::Session, Some(_))
            | (Kind::Client | Kind::Operator, Purpose::Session, Some(_)) => Err(Rejection::BadHello),
        }
    }

    /// Whether whom we dialled is a node that answers for the purpose we dialled it for.
    pub fn dialled(self, identity: &Identity, hello: &Hello, asked: Purpose) -> Result<(), Rejection> {
        self.cluster(identity, hello)?;
        match (identity.kind, hello.member) {
            (Kind::Client | Kind::Operator, _) => Err(Rejection::NotANode),
            (Kind::Node, Some(member)) if hello.purpose == asked => self.node(identity, member),
            (Kind::Node, Some(_) | None) => Err(Rejection::BadHello),
        }
    }

    fn cluster(self, identity: &Identity, hello: &Hello) -> Result<(), Rejection> {
        let same_name = hello.cluster_name == self.cluster_name && identity.cluster == self.cluster_name;
        let same_id = match (self.cluster, hello.cluster) {
            (Some(ours), Some(theirs)) => ours == theirs,
            (Some(_), None) | (None, Some(_) | None) => true,
        };
        if same_name && same_id { Ok(()) } else { Err(Rejection::OtherCluster) }
    }

    fn node(self, identity: &Identity, member: Member) -> Result<(), Rejection> {
        if member.node != identity.node {
            Err(Rejection::OtherNode)
        } else if member.node == self.me {
            Err(Rejection::Oneself)
        } else {
            Ok(())
        }
    }
}

/// Says hello.
pub(crate) async fn say(stream: &mut SendStream, hello: &Hello) -> Result<(), HelloError> {
    let bytes = hello.encode().map_err(|_| HelloError::Refused(Rejection::BadHello))?;
    let length = u16::try_from(bytes.len()).map_err(|_| HelloError::Refused(Rejection::BadHello))?;
    stream.write_all(&length.to_le_bytes()).await.map_err(|_| HelloError::Lost)?;
    stream.write_all(&bytes).await.map_err(|_| HelloError::Lost)
}

/// Hears the other side's hello.
pub(crate) async fn hear(stream: &mut RecvStream) -> Result<Hello, HelloError> {
    let heard = async {
        let mut length = [0; 2];
        stream.read_exact(&mut length).await.map_err(|_| HelloError::Lost)?;
        let length = usize::from(u16::from_le_bytes(length));
        if length > HELLO_BYTES_MAX {
            return Err(HelloError::Refused(Rejection::BadHello));
        }
        let mut bytes = vec![0; length];
        stream.read_exact(&mut bytes).await.map_err(|_| HelloError::Lost)?;
        Hello::decode(&bytes).map_err(|_| HelloError::Refused(Rejection::BadHello))
    };
    match tokio::time::timeout(Duration::from_millis(HELLO_MS), heard).await {
        Ok(heard) => heard,
        Err(_) => Err(HelloError::Refused(Rejection::BadHello)),
    }
}

/// Closes a connection for a reason that the other side is to know.
pub(crate) fn refuse(connection: &Connection, why: Rejection) {
    connection.close(CLOSE_REFUSED, why.words().as_bytes());
}

/// What the dialler makes of a hello that did not come about.
pub(crate) fn dial_failure(connection: &Connection, error: HelloError) -> ConnectError {
    let address = connection.remote_address();
    match error {
        HelloError::Refused(why) => {
            refuse(connection, why);
            ConnectError::RefusedByUs { address, why }
        }
        HelloError::Lost => match connection.close_reason() {
            Some(reason) => ConnectError::of_connection(address, &reason),
            None => ConnectError::Closed { address, why: "the stream of the hello was closed".to_owned() },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anser_model::FolderId;

    fn node(id: u8) -> NodeId {
        NodeId([id; 16])
    }

    #[test]
    fn certificate_and_hello_must_fit_each_other_and_us() {
        let identity = |kind| Identity { cluster: "prod".into(), kind, name: "n2".into(), node: node(2) };
        let member = |id| Some(Member { node: node(id), folder: FolderId([7; 16]) });
        let hello = |purpose, member| Hello {
            cluster_name: "prod".into(),
            cluster: None,
            member,
            boot: 1,
            purpose,
            bulk_port: None,
        };
        let us = Judge { cluster_name: "prod", cluster: Some(ClusterId([1; 16])), me: node(1) };
        use Purpose::{Control, Session};
        let cases = [
            (Kind::Node, hello(Control, member(2)), Ok(())),
            (Kind::Client, hello(Session, None), Ok(())),
            (Kind::Operator, hello(Session, None), Ok(())),
            (Kind::Node, hello(Control, member(3)), Err(Rejection::OtherNode)),
            (Kind::Node, hello(Control, None), Err(Rejection::BadHello)),
            (Kind::Node, hello(Session, None), Err(Rejection::BadHello)),
            (Kind::Client, hello(Control, member(2)), Err(Rejection::NotANode)),
            (Kind::Client, hello(Session, member(2)), Err(Rejection::BadHello)),
            (
                Kind::Node,
                Hello { cluster: Some(ClusterId([2; 16])), ..hello(Control, member(2)) },
                Err(Rejection::OtherCluster),
            ),
            (Kind::Node, Hello { cluster: Some(ClusterId([1; 16])), ..hello(Control, member(2)) }, Ok(())),
            (
                Kind::Node,
                Hello { cluster_name: "test".into(), ..hello(Control, member(2)) },
                Err(Rejection::OtherCluster),
            ),
        ];
        for (kind, hello, expected) in cases {
            assert_eq!(us.dialler(&identity(kind), &hello), expected, "{kind} {hello:?}");
        }
        let oneself = Judge { me: node(2), ..us };
        assert_eq!(
            oneself.dialler(&identity(Kind::Node), &hello(Control, member(2))),
            Err(Rejection::Oneself)
        );
        let answers = |kind, purpose, member| us.dialled(&identity(kind), &hello(purpose, member), Session);
        assert_eq!(answers(Kind::Node, Session, member(2)), Ok(()));
        assert_eq!(answers(Kind::Node, Control, member(2)), Err(Rejection::BadHello));
        assert_eq!(answers(Kind::Node, Session, None), Err(Rejection::BadHello));
        assert_eq!(answers(Kind::Operator, Session, None), Err(Rejection::NotANode));
    }
}
