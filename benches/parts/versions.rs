//! Key states: minting, merging, and the token that each answer carries.

use crate::sample::{self, KEYSPACE, actor, state, write};
use anser_model::{KeyState, Token};
use criterion::{BatchSize, Criterion};
use std::hint::black_box;

/// Keys of the tokens' MACs.
const MAC_KEYS: [[u8; 32]; 1] = [[7; 32]];

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("versions");
    let one = state(0);
    let mut mint = |name, before: KeyState| {
        let next = write(100);
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || before.clone(),
                |mut state| {
                    state.mint(actor(9), 1, &next).unwrap();
                    state
                },
                BatchSize::SmallInput,
            );
        });
    };
    mint("mint the first version", KeyState::default());
    mint("mint over one version", one.clone());
    mint("mint over a long history", history(1_000));

    let mut newer = one.clone();
    newer.mint(actor(1), 1, &write(100)).unwrap();
    let mut siblings = one.clone();
    siblings.merge(&state(1));
    siblings.merge(&state(2));
    let mut merge = |name, mine: &KeyState, theirs: &KeyState| {
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || mine.clone(),
                |mut state| {
                    state.merge(black_box(theirs));
                    state
                },
                BatchSize::SmallInput,
            );
        });
    };
    merge("merge into nothing", &KeyState::default(), &one);
    merge("merge the same", &one, &one);
    merge("merge a newer version", &one, &newer);
    merge("merge into siblings", &one, &state(1));
    merge("merge 3 siblings with 1", &siblings, &state(3));

    group.bench_function("digest", |bencher| bencher.iter(|| black_box(&one).digest()));
    let key = sample::key(1);
    let text = Token::of(&one).seal(&MAC_KEYS[0], KEYSPACE, &key);
    group.bench_function("seal a token", |bencher| {
        bencher.iter(|| Token::of(black_box(&one)).seal(&MAC_KEYS[0], KEYSPACE, &key));
    });
    group.bench_function("open a token", |bencher| {
        bencher.iter(|| Token::open(black_box(&text), &MAC_KEYS, KEYSPACE, &key).unwrap());
    });
    group.finish();
}

/// A key written that often, at three copies in turn.
fn history(writes: u64) -> KeyState {
    let mut state = KeyState::default();
    for n in 0..writes {
        let copy = u16::try_from(n % 3).unwrap();
        state.mint(actor(copy), n + 1, &write(n)).unwrap();
    }
    state
}
