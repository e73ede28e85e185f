//! That samples are summed up though nobody asks for them.

use super::sum_up;
use metrics::{Recorder, histogram, with_local_recorder};
use metrics_exporter_prometheus::PrometheusBuilder;
use std::time::Duration;

const SAMPLES: u64 = 4_000_000;
const SAMPLE_BYTES: u64 = 8;

fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Nobody reads the page, and memory does not grow with the samples.
#[tokio::test]
async fn samples_that_nobody_reads_are_not_kept() {
    let recorder = PrometheusBuilder::new().set_buckets(&[1.0, 2.0]).unwrap().build_recorder();
    let page = recorder.handle();
    let summing = tokio::spawn(sum_up(page.clone(), Duration::from_millis(1)));
    let samples = with_local_recorder(&recorder as &dyn Recorder, || histogram!("samples"));
    let before = resident_bytes();
    for sample in 0..SAMPLES {
        samples.record(1.5);
        if sample % 50_000 == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < SAMPLES * SAMPLE_BYTES / 4, "{grown} bytes");
    summing.abort();
    assert!(page.render().contains(&format!("samples_count {SAMPLES}")), "{}", page.render());
}
