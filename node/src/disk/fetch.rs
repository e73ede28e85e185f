//! The threads that read blocks.

use super::port::{FetchJob, Origin};
use super::sled_trees::SledTrees;
use super::works::Works;
use anser_machine::Feedback;
use anser_storage::store::recovery;
use std::collections::BTreeMap;

/// Most blocks that one thread reads before it hands them over.
const BATCH_MAX: usize = 16;

/// Reads until the queue is closed and empty.
pub(super) fn run(works: &Works, reader: usize) {
    works.port.fetch.sit_down(reader);
    while let Some(jobs) = works.port.fetch.take(reader, BATCH_MAX) {
        let mut answers: BTreeMap<Origin, Vec<Feedback>> = BTreeMap::new();
        for job in jobs {
            answers.entry(job.origin).or_default().push(read(works, &job));
        }
        for (origin, feedback) in answers {
            works.port.feed(origin, feedback);
        }
    }
}

fn read(works: &Works, job: &FetchJob) -> Feedback {
    let ticket = job.ticket;
    let blocks = |trees: &SledTrees| recovery::read_blocks(trees, job.table, job.block, job.count);
    match works.with_table(job.table, blocks) {
        None => Feedback::TableGone { ticket },
        Some(Ok(blocks)) => Feedback::Fetched { ticket, blocks },
        Some(Err(error)) => {
            tracing::error!("{error}");
            Feedback::FetchFailed { ticket }
        }
    }
}
