//! Everything that decodes: any bytes give a value or an error, and what was encoded comes back.

use crate::histories::{History, ops};
use anser_model::context::Context;
use anser_model::ring::Record;
use anser_model::token::BadToken;
use anser_model::{Key, KeyState, KeyspaceId, Token};
use proptest::prelude::*;

const SECRET: [u8; 32] = [9; 32];

fn open(text: &str, keyspace: u32, key: &Key) -> Result<Token, BadToken> {
    Token::open(text, &[[1; 32], SECRET], KeyspaceId(keyspace), key)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_a_state_or_none(first in 0..3_u8, rest in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = [&[first][..], &rest].concat();
        let _ = Record::decode(&bytes);
        if let Ok(state) = KeyState::decode(&bytes) {
            prop_assert_eq!(state.encode().to_vec(), bytes, "a second encoding");
            let mut merged = state.clone();
            prop_assert!(!merged.merge(&state).changed);
        }
    }

    #[test]
    fn any_text_is_a_token_or_none(text in "[A-Za-z0-9_=-]{0,100}", key in "[a-z]{1,9}") {
        prop_assert!(open(&text, 1, &Key::new(key).unwrap()).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_altered_state_is_refused_or_another(
        ops in ops(1..40), at in any::<prop::sample::Index>(), flip in 1..=255_u8,
    ) {
        let history = History::run(&ops);
        let Some(last) = history.snapshots.last() else { return Ok(()) };
        let mut bytes = last.state.encode().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(other) = KeyState::decode(&bytes) {
            prop_assert_ne!(&other, &last.state);
            prop_assert_eq!(other.encode().to_vec(), bytes);
        }
    }

    #[test]
    fn a_token_opens_for_its_key_only(
        ops in ops(1..40), keyspace in any::<u32>(), key in prop::collection::vec(any::<u8>(), 1..99),
        at in any::<prop::sample::Index>(), flip in 1..=255_u8,
    ) {
        let history = History::run(&ops);
        let Some(last) = history.snapshots.last() else { return Ok(()) };
        let (token, key) = (Token::of(&last.state), Key::new(key).unwrap());
        let text = token.seal(&SECRET, KeyspaceId(keyspace), &key);
        prop_assert_eq!(open(&text, keyspace, &key), Ok(token));
        prop_assert_eq!(open(&text, keyspace.wrapping_add(1), &key), Err(BadToken::Forged));
        let mut other = key.as_bytes().to_vec();
        let at = at.index(other.len());
        other[at] ^= flip;
        prop_assert_eq!(open(&text, keyspace, &Key::new(other).unwrap()), Err(BadToken::Forged));
    }

    #[test]
    fn contexts_join(entries in prop::collection::vec((0..6_u8, 1..9_u64), 0..20), split in 0..20_usize) {
        use anser_model::{Actor, Dot, Life, NodeId};
        let dot = |(node, counter): &(u8, u64)| {
            Dot { actor: Actor { node: NodeId([*node; 16]), life: Life(1) }, counter: *counter }
        };
        let of = |entries: &[(u8, u64)]| {
            let mut context = Context::default();
            entries.iter().for_each(|entry| context.insert(&dot(entry)));
            context
        };
        let (a, b) = entries.split_at(split.min(entries.len()));
        let (mut ab, mut ba) = (of(a), of(b));
        ab.merge(&of(b));
        ba.merge(&of(a));
        prop_assert_eq!(&ab, &ba);
        prop_assert_eq!(&ab, &of(&entries));
        prop_assert!(ab.covers(&of(a)) && entries.iter().all(|entry| ab.contains(&dot(entry))));
        prop_assert_eq!(Context::try_from(ab.entries().to_vec()), Ok(ab));
    }
}
