//! At rest nothing is held: no operation of a coordinator, no request that an actor was handed and never answered. And at
//! all times what is held is within its bound.

/// Judges one actor at rest.
pub(crate) fn check(name: &str, operations: usize, requests: usize) -> Result<(), String> {
    if operations == 0 && requests == 0 {
        Ok(())
    } else {
        Err(format!("{name} holds {operations} operations and {requests} unanswered requests at rest"))
    }
}
