//! Minting: one atomic step that settles what the write has seen and adds its version.
//!
//! Keeps I-1 (a known request is never minted again here) and I-2 (the context grows only by what the write's token
//! showed and by the write's own dot).

use super::{KeyState, MintError, Minted, SIBLINGS_MAX, Seen, Version, Write};
use crate::hlc::Hlc;
use crate::id::{Actor, Dot};
use alloc::vec;
use alloc::vec::Vec;

impl KeyState {
    /// Mints a version for `write` as this copy's `counter`-th write. A write that supersedes what is present becomes a
    /// sibling instead if it is older than all of a full memory of settled requests: it may be a forgotten retry.
    ///
    /// # Panics
    /// If the dot is known already, or `counter` is 0: its actor is no longer this copy's own, and the version would be
    /// lost in the next merge. The copy must draw a new Life.
    pub fn mint(&mut self, actor: Actor, counter: u64, write: &Write) -> Result<Minted, MintError> {
        if self.knows(&write.rid) {
            return Ok(Minted::Known);
        }
        let forgotten = write.seen == Seen::Present && self.settled.may_have_forgotten(write.issued);
        let seen = if forgotten { &Seen::Nothing } else { &write.seen };
        if self.live.len() >= SIBLINGS_MAX && self.staying(seen) >= SIBLINGS_MAX {
            return Err(MintError::TooManySiblings);
        }
        self.settle(seen, write.rid.hash64(), write.issued);
        let dot = Dot { actor, counter };
        assert!(!self.context.contains(&dot), "dot {dot} was minted before: this copy's Life is not its own");
        self.context.insert(&dot);
        let version = Version {
            dots: vec![dot],
            issued: write.issued,
            expires: write.expires,
            body: write.body.clone(),
        };
        if let Err(at) = self.find(&write.rid) {
            self.live.insert(at, (write.rid, version));
        }
        Ok(Minted::New(dot))
    }

    /// How many live versions a write would leave.
    fn staying(&self, seen: &Seen) -> usize {
        match seen {
            Seen::Present => 0,
            Seen::Nothing => self.live.len(),
            Seen::Token { .. } => {
                self.live.iter().filter(|(rid, version)| !seen.settles(rid.hash64(), version)).count()
            }
        }
    }

    /// Settles what a write has seen; never its own request, whatever its token says.
    fn settle(&mut self, seen: &Seen, own: u64, issued: Hlc) {
        match seen {
            Seen::Nothing => return,
            Seen::Present => {
                for (rid, version) in self.live.drain(..) {
                    let hash = rid.hash64();
                    if hash != own {
                        self.settled.insert(hash, version.issued);
                    }
                }
            }
            Seen::Token { context, rids } => {
                let settled = &mut self.settled;
                self.live.retain(|(rid, version)| {
                    let hash = rid.hash64();
                    let stays = hash == own || !seen.settles(hash, version);
                    if !stays {
                        settled.insert(hash, version.issued);
                    }
                    stays
                });
                // A request that this copy never met was first tried before it was shown: the writer's clock, which
                // follows every reply, is no earlier. Counted among the newest, even if the writer's clock went back: a
                // full memory would forget it at once, and a token may have nothing but the id of what it settles.
                let issued = settled.next().max(issued);
                let unmet: Vec<u64> =
                    rids.iter().copied().filter(|hash| *hash != own && !settled.contains(*hash)).collect();
                for hash in unmet {
                    settled.insert(hash, issued);
                }
                self.context.merge(context);
            }
        }
        self.settled.cut();
    }
}

impl Seen {
    /// Whether a version was seen.
    fn settles(&self, hash: u64, version: &Version) -> bool {
        match self {
            Seen::Present => true,
            Seen::Nothing => false,
            Seen::Token { context, rids } => {
                version.dots.iter().any(|dot| context.contains(dot)) || rids.contains(&hash)
            }
        }
    }
}
