//! Many operations at once, a bounded number of them under way.

use std::future::Future;
use tokio::task::JoinSet;

/// Operations under way at once.
const CONCURRENCY: usize = 64;

/// Runs an operation for each item, and gathers what they return, in no order.
pub(super) async fn each<I, F, R>(items: impl IntoIterator<Item = I>, operation: impl Fn(I) -> F) -> Vec<R>
where
    F: Future<Output = R> + Send + 'static,
    R: Send + 'static,
{
    let mut items = items.into_iter();
    let mut running = JoinSet::new();
    let mut results = Vec::new();
    loop {
        while running.len() < CONCURRENCY {
            match items.next() {
                Some(item) => drop(running.spawn(operation(item))),
                None => break,
            }
        }
        match running.join_next().await {
            Some(Ok(result)) => results.push(result),
            Some(Err(ended)) => std::panic::resume_unwind(ended.into_panic()),
            None => return results,
        }
    }
}
