//! What this node claims of itself: its incarnation.
//!
//! Keeps: an incarnation is durable before it is said (I-13's rule for steps, held for incarnations too), so one that others
//! remember is never claimed anew; at most one save is on its way.

use anser_proto::gossip::PeerState;

/// The own incarnation: said, wanted, and being saved.
#[derive(Debug, Default)]
pub(crate) struct Claim {
    said: u64,
    wanted: u64,
    saving: Option<u64>,
}

impl Claim {
    /// After a start, from what was saved last.
    pub fn restored(saved: Option<u64>) -> Claim {
        Claim { said: 0, wanted: saved.unwrap_or(0).saturating_add(1), saving: None }
    }

    /// The incarnation to speak with; 0 before the first is durable.
    pub fn said(&self) -> u64 {
        self.said
    }

    /// Takes in a rumour about this node itself. True if it has to be refuted.
    pub fn refute(&mut self, incarnation: u64, state: PeerState) -> bool {
        let harmful = match state {
            PeerState::Alive => incarnation > self.said,
            PeerState::Suspect | PeerState::Dead => incarnation >= self.said,
        };
        if harmful {
            self.wanted = self.wanted.max(incarnation.saturating_add(1));
        }
        harmful
    }

    /// What to save now, if anything.
    pub fn next_save(&mut self) -> Option<u64> {
        if self.saving.is_some() || self.wanted <= self.said {
            return None;
        }
        self.saving = Some(self.wanted);
        self.saving
    }

    /// The save is durable. True if there is something new to say.
    pub fn saved(&mut self) -> bool {
        match self.saving.take() {
            Some(saved) => {
                self.said = saved;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use PeerState::{Alive, Dead, Suspect};

    #[test]
    fn an_incarnation_is_said_once_it_is_durable() {
        let mut claim = Claim::restored(Some(6));
        assert_eq!((claim.said(), claim.next_save()), (0, Some(7)));
        assert_eq!(claim.next_save(), None, "one save at a time");
        assert!(claim.saved());
        assert_eq!(claim.said(), 7);
        assert!(!claim.saved(), "an answer to nobody's question");
    }

    #[test]
    fn rumours_are_refuted_by_this_table() {
        let table = [
            (7, Alive, None),
            (8, Alive, Some(9)),
            (6, Dead, None),
            (7, Suspect, Some(8)),
            (7, Dead, Some(8)),
            (100, Dead, Some(101)),
        ];
        for (incarnation, state, save) in table {
            let mut claim = Claim { said: 7, wanted: 7, saving: None };
            assert_eq!(claim.refute(incarnation, state), save.is_some());
            assert_eq!(claim.next_save(), save, "{incarnation} {state:?}");
        }
    }

    #[test]
    fn what_is_heard_during_a_save_is_refuted_after_it() {
        let mut claim = Claim { said: 7, wanted: 7, saving: None };
        assert!(claim.refute(7, Suspect));
        assert_eq!(claim.next_save(), Some(8));
        assert!(claim.refute(20, Dead));
        assert_eq!(claim.next_save(), None);
        assert!(claim.saved());
        assert_eq!(claim.next_save(), Some(21));
    }
}
