//! I-4: of two versions shown side by side neither had seen the other.

use super::shown;
use crate::truth::Truth;

/// Judges the writes that one read shows.
pub(crate) fn check(truth: &Truth, writes: &[usize]) -> Result<(), String> {
    for older in writes {
        for newer in writes {
            let (settled, by) = (&truth.writes[*older], &truth.writes[*newer]);
            // A write minted twice may show with the dot of the mint that took nothing off.
            let took_off = by.dots.len() == 1 && settled.settled_by.iter().any(|(write, _)| write == newer);
            if older != newer
                && !truth.may_be_forgotten(*older)
                && (took_off || settled.seen_by.contains(newer))
            {
                return Err(format!(
                    "{} is shown beside {}, which settled it",
                    shown(&settled.rid),
                    shown(&by.rid)
                ));
            }
        }
    }
    Ok(())
}
