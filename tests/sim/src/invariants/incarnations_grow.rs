//! A node never says a lower incarnation than before, and after a start a higher one: what others remember of it is never
//! claimed anew.

/// What a node said of itself so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Said {
    pub boot: u32,
    pub incarnation: u64,
}

/// Judges an incarnation that a node says in one of its boots.
pub(crate) fn check(before: Said, now: Said) -> Result<(), String> {
    let grows = if now.boot > before.boot {
        now.incarnation > before.incarnation
    } else {
        now.incarnation >= before.incarnation
    };
    if grows { Ok(()) } else { Err(format!("a node said {now:?} after {before:?}")) }
}
