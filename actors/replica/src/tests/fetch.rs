//! Keys in tables: operations on one key wait for its block and go on in their order.

use super::*;

/// A shard whose key "k" lies in a table, and whose memory was lost since.
fn in_a_table() -> Bench {
    let mut config = config(1);
    config.limits.engine.memtable_bytes = 1;
    let mut bench = Bench::warm(config, FakeDisk::default());
    bench.mint("k", write(1, "a", Seen::Present));
    bench.sync();
    bench.serve_disk();
    assert_eq!((bench.disk.tables(), bench.disk.synced.len()), (1, 0));
    let tables = Count::Tables { shard: 0, tables: 1 };
    assert!(bench.counts.contains(&tables), "{:?}", bench.counts);
    Bench::warm(super::config(2), bench.disk)
}

#[test]
fn a_read_of_a_table_is_answered_with_its_block() {
    let mut bench = in_a_table();
    let (read, answers) = bench.read("k", Want::Full);
    assert_eq!(answers, []);
    assert_eq!(bench.disk.asked.len(), 1);
    let answers = bench.serve_disk();
    let [(seq, Body::Replicated(ReplicaReply::State { state, .. }))] = &answers[..] else {
        panic!("{answers:?}")
    };
    assert_eq!((*seq, values(state)), (read, vec!["a".to_string()]));
    assert!(bench.replica.budget.is_unused());
    // From the cache now.
    assert_eq!(bench.read("k", Want::Full).1.len(), 1);
    assert!(bench.counts.contains(&Count::Cache { hit: true }));
    assert!(bench.counts.contains(&Count::Cache { hit: false }));
}

#[test]
fn operations_on_one_key_go_in_their_order_and_other_keys_go_on() {
    let mut bench = in_a_table();
    let (before, _) = bench.read("k", Want::Full);
    let (mint, answers) = bench.mint("k", write(2, "b", Seen::Present));
    assert_eq!(answers, []);
    let (after, _) = bench.read("k", Want::Full);
    let (retry, _) = bench.mint("k", write(2, "b", Seen::Present));
    assert_eq!(bench.disk.asked.len(), 1, "one fetch for all of them");
    assert_eq!(bench.mint("other", write(3, "c", Seen::Present)).1.len(), 1);

    let answers = bench.serve_disk();
    let order: Vec<u64> = answers.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(order, [before, mint, retry]);
    assert_eq!(values(&minted_state(&answers[1..])), ["b"]);
    let durable: Vec<u64> = bench.sync().iter().map(|(seq, _)| *seq).collect();
    assert_eq!(durable[1..], [mint, after, retry]);
    assert!(bench.replica.budget.is_unused());
}

#[test]
fn waiting_for_a_block_is_bounded_and_ends_with_the_deadline() {
    let mut bench = in_a_table();
    bench.replica.budget = crate::pending::Budget::new(2, 1 << 20);
    let (first, _) = bench.read("k", Want::Full);
    let place = bench.place(&key("k"));
    let request = ReplicaRequest::ReadState { place, key: key("k"), want: Want::Full };
    bench.ask(Ask { deadline: Tick(20), ..Ask::default() }, request);
    let (third, answers) = bench.read("k", Want::Full);
    assert_eq!(answers, [(third, refused(Refusal::Busy))]);
    bench.now.tick = Tick(21);
    let answered: Vec<u64> = bench.serve_disk().iter().map(|(seq, _)| *seq).collect();
    assert_eq!(answered, [first]);
    assert!(bench.replica.budget.is_unused());
}

#[test]
fn what_waits_is_checked_again_when_the_ring_has_moved_on() {
    let mut bench = in_a_table();
    let (mint, _) = bench.mint("k", write(2, "b", Seen::Present));
    let mut newer = ring();
    newer.step = Step(2);
    bench.step(Event::Fact(Fact::RingAdopted(Arc::new(newer))));
    assert_eq!(bench.serve_disk(), [(mint, refused(Refusal::StaleStep(Step(2))))]);
}

#[test]
fn a_block_that_cannot_be_trusted_is_the_loss_of_its_group() {
    let mut bench = in_a_table();
    let (read, _) = bench.read("k", Want::Full);
    let (other, _) = bench.mint("j", write(2, "b", Seen::Present));
    let Some(DiskRequest::Fetch { ticket, .. }) = bench.disk.asked.pop_front() else { panic!() };
    let stray = anser_machine::Ticket(ticket.0 + 1);
    assert_eq!(bench.own(Feedback::FetchFailed { ticket: stray }), [], "a predecessor's");
    // What was minted may be lost, what was to be read is.
    let answers = [(other, refused(Refusal::Crashed)), (read, refused(Refusal::NotServing))];
    assert_eq!(bench.own(Feedback::FetchFailed { ticket }), answers);
    assert_eq!(bench.facts.last(), Some(&true), "the shard goes on");
    assert!(bench.replica.budget.is_unused());
}

#[test]
fn a_memtable_too_large_is_written_and_writes_wait_for_it_while_reads_go_on() {
    let mut config = config(1);
    config.limits.engine.memtable_bytes = 1;
    let mut bench = Bench::warm(config, FakeDisk::default());
    let mut busy = None;
    for seq in 1..100 {
        let (op, answers) = bench.mint("k", write(seq, "v", Seen::Present));
        if answers == [(op, refused(Refusal::Busy))] {
            busy = Some(seq);
            break;
        }
    }
    let busy = busy.expect("the memtable is bounded");
    let (op, answers) = bench.store("j", &foreign(200, "v"));
    assert_eq!(answers, [(op, refused(Refusal::Busy))]);
    bench.sync();
    assert_eq!(bench.read("k", Want::Full).1.len(), 1);
    bench.serve_disk();
    assert_eq!(bench.mint("j", write(busy, "v", Seen::Present)).1.len(), 1);
    assert!(bench.counts.iter().any(|count| matches!(count, Count::MemtableBytes { shard: 0, .. })));
}
