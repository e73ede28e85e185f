//! The threads that read blocks.

use super::garbage;
use super::port::{FetchJob, Origin};
use super::sled_trees::SledTrees;
use super::works::Works;
use anser_machine::Feedback;
use anser_storage::store::recovery;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Most requests that one thread takes at once, and answers together.
const BATCH_MAX: usize = 16;
/// After so long it hands over what it has: a slow disk must not hold up what is read by what is not.
const ANSWERS_WITHIN: Duration = Duration::from_millis(1);
/// After so many blocks at the latest a thread takes apart what sled has let go of for them.
const COLLECTS_AFTER: usize = 16;

type Answers = BTreeMap<Origin, Vec<Feedback>>;

/// Reads until the queue is closed and empty.
pub(super) fn run(works: &Works, reader: usize) {
    works.port.fetch.sit_down(reader);
    let mut read_since = 0;
    while let Some(jobs) = works.port.fetch.take(reader, BATCH_MAX) {
        let (mut answers, mut since) = (Answers::new(), Instant::now());
        for job in jobs {
            let answer = read(works, &job);
            if let Feedback::Fetched { blocks, .. } = &answer {
                read_since += blocks.len();
            }
            answers.entry(job.origin).or_default().push(answer);
            if since.elapsed() >= ANSWERS_WITHIN {
                since = Instant::now();
                hand_over(works, &mut answers);
            }
        }
        hand_over(works, &mut answers);
        (0..read_since / COLLECTS_AFTER).for_each(|_| garbage::collect());
        read_since %= COLLECTS_AFTER;
    }
}

fn hand_over(works: &Works, answers: &mut Answers) {
    while let Some((origin, feedback)) = answers.pop_first() {
        works.port.feed(origin, feedback);
    }
}

fn read(works: &Works, job: &FetchJob) -> Feedback {
    let ticket = job.ticket;
    let blocks = |trees: &SledTrees| {
        let _later = garbage::put_off();
        recovery::read_blocks(trees, job.table, job.block, job.count)
    };
    match works.with_table(job.table, blocks) {
        None => Feedback::TableGone { ticket },
        Some(Ok(blocks)) => Feedback::Fetched { ticket, blocks },
        Some(Err(error)) => {
            tracing::error!("{error}");
            Feedback::FetchFailed { ticket }
        }
    }
}
