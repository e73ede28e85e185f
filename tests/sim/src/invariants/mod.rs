//! What is promised, one file each: plain functions of the truth and of what was seen. `Err` says what was seen instead.
//!
//! They are called where the thing happens (`world::observe`) or at the end of a run (`phases`), and counted by
//! [`Verdicts`](crate::verdicts::Verdicts).

pub(crate) mod acked_write_survives;
pub(crate) mod acks_are_durable;
pub(crate) mod acks_outlast_losses;
pub(crate) mod contexts_grow;
pub(crate) mod damage_is_noticed;
pub(crate) mod dots_are_unique;
pub(crate) mod failed_disks_stop_shards;
pub(crate) mod failed_leaves_nothing;
pub(crate) mod incarnations_grow;
pub(crate) mod joining_copies_are_silent;
pub(crate) mod leaves_are_of_the_data;
pub(crate) mod minters_remember;
pub(crate) mod mints_settle_what_they_saw;
pub(crate) mod nothing_from_nowhere;
pub(crate) mod nothing_is_left_over;
pub(crate) mod old_folders_are_known;
pub(crate) mod only_copies_are_kept;
pub(crate) mod open_mints_stay_open;
pub(crate) mod queues_are_bounded;
pub(crate) mod quorums_intersect;
pub(crate) mod reads_see_acked_writes;
pub(crate) mod receipts_tell_the_truth;
pub(crate) mod refilled_copies_know;
pub(crate) mod replicas_agree;
pub(crate) mod retries_make_no_sibling;
pub(crate) mod sessions_go_forward;
pub(crate) mod settled_stays_settled;
pub(crate) mod settling_has_no_cycle;
pub(crate) mod shown_is_durable;
pub(crate) mod siblings_are_concurrent;
pub(crate) mod steps_grow;
pub(crate) mod strays_are_refused;
pub(crate) mod strict_reads_never_go_back;
pub(crate) mod synced_is_read_back;
pub(crate) mod views_agree;

use crate::truth::{Truth, Written};
use anser_model::{Context, Rid};
use anser_proto::client::GetReply;
use std::collections::BTreeSet;

/// What was true when a read began.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReadStart {
    pub at: u64,
    pub slot: usize,
    /// The dots of writes whose quorums meet every quorum of this read's.
    pub acked: Context,
    /// The dots that strict reads had shown.
    pub shown: Context,
    /// How many replicas the read asks.
    pub needed: usize,
}

/// One read that was answered.
#[derive(Debug)]
pub(crate) struct Read<'a> {
    pub start: &'a ReadStart,
    pub reply: &'a GetReply,
    /// What its token has seen.
    pub context: Context,
    pub rids: Vec<u64>,
    /// The writes whose values it shows.
    pub shown: Vec<usize>,
}

impl Read<'_> {
    /// Whether a write is among what its token has seen.
    fn has_seen(&self, write: &Written) -> bool {
        write.dots.iter().any(|dot| self.context.contains(dot)) || self.rids.contains(&write.hash)
    }
}

/// Whether a read knows of a write: it is among what its token has seen, or a write that settled it is.
pub(crate) fn is_known(truth: &Truth, read: &Read<'_>, write: usize) -> bool {
    // Nearly always at once.
    if read.has_seen(&truth.writes[write]) {
        return true;
    }
    let mut stack = vec![write];
    let mut visited = BTreeSet::new();
    while let Some(next) = stack.pop() {
        let written = &truth.writes[next];
        if read.has_seen(written) {
            return true;
        }
        if visited.insert(next) {
            stack.extend(truth.settlers(next));
        }
    }
    false
}

/// The number of a write, as its value carries it.
pub(crate) fn number_of(value: &[u8]) -> Option<usize> {
    let (number, _) = value.split_first_chunk::<8>()?;
    usize::try_from(u64::from_le_bytes(*number)).ok()
}

/// A request, for people.
pub(crate) fn shown(rid: &Rid) -> String {
    format!("{:04x}:{}", rid.writer & 0xffff, rid.seq)
}
