//! Whether a request is good, before anybody is asked: keyspace, size, level, context. Plain decisions.

use crate::failure::unmeetable;
use crate::route::{Plan, Ring, Served};
use crate::view::View;
use alloc::string::ToString;
use alloc::sync::Arc;
use anser_model::Token;
use anser_model::ring::Blind;
use anser_model::state::Seen;
use anser_proto::client::{ContextArg, Failure, GetRequest, PutRequest, body_bytes};

/// Where a put goes and what it has seen, or why it goes nowhere.
pub(crate) fn put_order(view: &mut View, request: &PutRequest) -> Result<(Served, Arc<Plan>, Seen), Failure> {
    let limit = view.config.value_bytes_max;
    let ring = view.ring.as_mut().ok_or(Failure::NotReady)?;
    let served = ring.keyspace(&request.keyspace).ok_or(Failure::UnknownKeyspace)?;
    if body_bytes(&request.body) > limit {
        return Err(Failure::ValueTooLarge { limit: u64::try_from(limit).unwrap_or(u64::MAX) });
    }
    let plan = ring.plan(&served, &request.key, request.level.unwrap_or(served.write));
    if let Err(why) = &plan.writes {
        return Err(unmeetable(*why));
    }
    let seen = seen(ring, &served, request)?;
    Ok((served, plan, seen))
}

/// Where a get goes, or why it goes nowhere.
pub(crate) fn get_order(view: &mut View, request: &GetRequest) -> Result<(Served, Arc<Plan>), Failure> {
    let ring = view.ring.as_mut().ok_or(Failure::NotReady)?;
    let served = ring.keyspace(&request.keyspace).ok_or(Failure::UnknownKeyspace)?;
    let plan = ring.plan(&served, &request.key, request.level.unwrap_or(served.read));
    match &plan.read {
        Ok(_) => Ok((served, plan)),
        Err(why) => Err(unmeetable(*why)),
    }
}

/// What a write has seen, by its context or by what the keyspace takes a missing one for.
fn seen(ring: &Ring, served: &Served, request: &PutRequest) -> Result<Seen, Failure> {
    match &request.context {
        ContextArg::Sibling => Ok(Seen::Nothing),
        ContextArg::Blind => match served.blind {
            Blind::Supersede => Ok(Seen::Present),
            Blind::Sibling => Ok(Seen::Nothing),
            Blind::Reject => Err(Failure::ContextNeeded),
        },
        ContextArg::Token(text) => {
            let token = Token::open(text, &ring.record().mac_keys, served.id, &request.key);
            token.map(Token::into_seen).map_err(|why| Failure::BadContext(why.to_string()))
        }
    }
}
