//! The opaque context token that a client gets with an answer and gives back with a write.
//!
//! It is bound to one keyspace and key, and carries a MAC, so that no client can claim to have seen what it was not
//! shown. It holds no ring step: it outlives ring changes.
//!
//! ```text
//! base64url without padding of:  version 1 | context | rids: count, hash 8 * | MAC 16
//! MAC = first 16 bytes of BLAKE3 keyed over: version | keyspace 4 | key length 4 | key | context and rids as above
//! ```

use crate::context::Context;
use crate::hlc::Hlc;
use crate::id::{KeyspaceId, Rid};
use crate::key::Key;
use crate::layout::{Reader, put_context, put_count};
use crate::state::{KeyState, SETTLED_MAX, Seen};
use alloc::string::String;
use alloc::vec::Vec;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Longest token text that is looked at, in bytes: some thousand actors, where tens are many.
pub const TOKEN_TEXT_BYTES_MAX: usize = 256 * 1024;
const VERSION: u8 = 1;
const MAC_BYTES: usize = 16;
const HASH_BYTES: usize = 8;

/// What a client was shown of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    context: Context,
    rids: Vec<u64>,
}

/// Why a text is no token for this key. Nothing was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// Not base64url, too short, too long, or not decodable.
    #[error("the context is damaged; use one exactly as `get` or `put` printed it")]
    Malformed,
    /// Of a version that this build doesn't know.
    #[error("the context is of version {0}, which this node doesn't know")]
    UnknownVersion(u8),
    /// Its MAC doesn't fit: another cluster's, another key's, or altered.
    #[error("the context is not of this cluster, keyspace and key; read the key again")]
    Forged,
}

impl Token {
    /// What a reader of `state` was shown: all of its context, so all of its request ids, live or settled.
    pub fn of(state: &KeyState) -> Token {
        let live = state.live().iter().map(|(rid, _)| rid.hash64());
        let settled = state.settled().iter().map(|(hash, _)| *hash);
        let mut rids: Vec<u64> = live.chain(settled).collect();
        rids.sort_unstable();
        rids.dedup();
        Token { context: state.context().clone(), rids }
    }

    /// What the writer of `rid` was shown of the state that its write left: its own version, and all that is settled. Other
    /// versions that are live beside it were not shown, so a write with this token leaves them: it must not settle what
    /// nobody looked at.
    pub fn of_write(state: &KeyState, rid: &Rid) -> Token {
        let mut token = Token::of(state);
        for (unseen, version) in state.live().iter().filter(|(live, _)| live != rid) {
            let hash = unseen.hash64();
            token.rids.retain(|known| *known != hash);
            // The own dot may go with it, if both are of one actor: then the request id stands for it.
            version.dots.iter().for_each(|dot| token.context.forget_from(dot));
        }
        token.fit(state, rid);
        token
    }

    /// Keeps no more request ids than a copy remembers, the writer's own among them: one that stands for a dot must not be
    /// lost where they are taken in.
    fn fit(&mut self, state: &KeyState, own: &Rid) {
        if self.rids.len() <= SETTLED_MAX {
            return;
        }
        let mut latest: Vec<(Hlc, u64)> =
            state.settled().iter().map(|(hash, issued)| (*issued, *hash)).collect();
        latest.sort_unstable_by(|a, b| b.cmp(a));
        let own = own.hash64();
        let settled = latest.into_iter().map(|(_, hash)| hash).filter(|hash| *hash != own);
        self.rids = core::iter::once(own).chain(settled.take(SETTLED_MAX - 1)).collect();
        self.rids.sort_unstable();
    }

    /// The token's text (base64url without padding), sealed with the newest MAC key.
    pub fn seal(&self, mac_key: &[u8; 32], keyspace: KeyspaceId, key: &Key) -> String {
        let mut bytes = Vec::with_capacity(
            1 + 3 + 34 * self.context.len() + 3 + HASH_BYTES * self.rids.len() + MAC_BYTES,
        );
        bytes.push(VERSION);
        put_context(&mut bytes, &self.context);
        put_count(&mut bytes, self.rids.len());
        for hash in &self.rids {
            bytes.extend_from_slice(&hash.to_le_bytes());
        }
        let content = bytes.get(1..).unwrap_or_default();
        let mac = mac(mac_key, keyspace, key, content);
        bytes.extend_from_slice(&mac);
        URL_SAFE_NO_PAD.encode(&bytes)
    }

    /// Reads a token back; any of `mac_keys` may have sealed it.
    pub fn open(
        text: &str,
        mac_keys: &[[u8; 32]],
        keyspace: KeyspaceId,
        key: &Key,
    ) -> Result<Token, BadToken> {
        if text.len() > TOKEN_TEXT_BYTES_MAX {
            return Err(BadToken::Malformed);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| BadToken::Malformed)?;
        let (version, rest) = bytes.split_first().ok_or(BadToken::Malformed)?;
        if *version != VERSION {
            return Err(BadToken::UnknownVersion(*version));
        }
        let (content, sealed) = rest.split_last_chunk::<MAC_BYTES>().ok_or(BadToken::Malformed)?;
        let ours = |mac_key| same_mac(&mac(mac_key, keyspace, key, content), sealed);
        if !mac_keys.iter().any(ours) {
            return Err(BadToken::Forged);
        }
        read(content).ok_or(BadToken::Malformed)
    }

    /// What a write with this token has seen.
    pub fn into_seen(self) -> Seen {
        Seen::Token { context: self.context, rids: self.rids }
    }
}

fn read(content: &[u8]) -> Option<Token> {
    let mut reader = Reader::new(content);
    let context = reader.context()?;
    let count = reader.count(HASH_BYTES)?;
    let mut rids = Vec::with_capacity(count);
    for _ in 0..count {
        rids.push(reader.u64()?);
    }
    reader.is_at_end().then_some(Token { context, rids })
}

fn mac(mac_key: &[u8; 32], keyspace: KeyspaceId, key: &Key, content: &[u8]) -> [u8; MAC_BYTES] {
    let key = key.as_bytes();
    // A key has at most 16 KiB, so its length fits.
    let key_length = u32::try_from(key.len()).unwrap_or(u32::MAX);
    let mut hasher = blake3::Hasher::new_keyed(mac_key);
    hasher.update(&[VERSION]);
    hasher.update(&keyspace.0.to_le_bytes());
    hasher.update(&key_length.to_le_bytes());
    hasher.update(key);
    hasher.update(content);
    let mut mac = [0; MAC_BYTES];
    hasher.finalize_xof().fill(&mut mac);
    mac
}

/// Compares in a time that doesn't tell where the first difference is.
fn same_mac(a: &[u8; MAC_BYTES], b: &[u8; MAC_BYTES]) -> bool {
    let differences = a.iter().zip(b).fold(0, |seen, (a, b)| core::hint::black_box(seen | (a ^ b)));
    differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Actor, Life, NodeId};
    use crate::state::{Body, Write};
    use bytes::Bytes;

    const KEYSPACE: KeyspaceId = KeyspaceId(1);
    const SECRET: [u8; 32] = [7; 32];

    fn key(text: &'static str) -> Key {
        Key::new(text).unwrap()
    }

    fn token() -> Token {
        let mut state = KeyState::default();
        for counter in 1..=2 {
            let write = Write {
                rid: Rid { writer: 9, seq: counter },
                issued: Hlc(counter),
                expires: None,
                body: Body::Value(Bytes::from_static(b"v")),
                seen: Seen::Present,
            };
            state.mint(Actor { node: NodeId([3; 16]), life: Life(5) }, counter, &write).unwrap();
        }
        Token::of(&state)
    }

    #[test]
    fn a_token_shows_live_and_settled_requests() {
        let mut both = [1, 2].map(|seq| Rid { writer: 9, seq }.hash64());
        both.sort_unstable();
        assert_eq!(token().rids, both);
    }

    #[test]
    fn a_writers_token_settles_its_write_and_no_version_it_was_not_shown() {
        let actor = |node| Actor { node: NodeId([node; 16]), life: Life(5) };
        let write = |seq, seen| Write {
            rid: Rid { writer: 9, seq },
            issued: Hlc(seq),
            expires: None,
            body: Body::Value(Bytes::from_static(b"v")),
            seen,
        };
        // The sibling is minted before or after the write, by the same copy or another.
        for (sibling, own) in [((3, 1), (3, 2)), ((3, 2), (3, 1)), ((4, 1), (3, 1)), ((3, 1), (4, 1))] {
            let mut state = KeyState::default();
            let mut minted = [(sibling, 1), (own, 2)];
            minted.sort_by_key(|((_, counter), _)| *counter);
            for ((node, counter), seq) in minted {
                state.mint(actor(node), counter, &write(seq, Seen::Nothing)).unwrap();
            }
            let token = Token::of_write(&state, &Rid { writer: 9, seq: 2 });
            state.mint(actor(6), 1, &write(3, token.into_seen())).unwrap();
            let live: Vec<u64> = state.live().iter().map(|(rid, _)| rid.seq).collect();
            assert_eq!(live, [1, 3], "{sibling:?} {own:?}");
        }
    }

    #[test]
    fn a_token_has_a_golden_text_and_reads_back_under_an_older_key() {
        let text = token().seal(&SECRET, KEYSPACE, &key("k"));
        assert_eq!(text, GOLDEN);
        assert_eq!(Token::open(&text, &[[1; 32], SECRET], KEYSPACE, &key("k")), Ok(token()));
    }

    const GOLDEN: &str = "AQEDAwMDAwMDAwMDAwMDAwMDBQAAAAAAAAACAgNgMCXkLt6hlcvK0QFhE7STWVV9A6STtngVhNoQxtzG";

    #[test]
    fn a_token_fits_its_key_keyspace_and_cluster_only() {
        let text = token().seal(&SECRET, KEYSPACE, &key("k"));
        for (keys, keyspace, key) in [
            (vec![SECRET], KEYSPACE, key("kk")),
            (vec![SECRET], KeyspaceId(2), key("k")),
            (vec![[8; 32]], KEYSPACE, key("k")),
            (vec![], KEYSPACE, key("k")),
        ] {
            assert_eq!(Token::open(&text, &keys, keyspace, &key), Err(BadToken::Forged));
        }
    }

    #[test]
    fn an_altered_token_is_refused() {
        let text = token().seal(&SECRET, KEYSPACE, &key("k"));
        for at in 0..text.len() {
            let mut altered = text.clone().into_bytes();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).unwrap();
            assert!(Token::open(&altered, &[SECRET], KEYSPACE, &key("k")).is_err(), "byte {at}");
            assert!(Token::open(&text[..at], &[SECRET], KEYSPACE, &key("k")).is_err(), "cut at {at}");
        }
        let open = |text: &str| Token::open(text, &[SECRET], KEYSPACE, &key("k"));
        assert_eq!(open(""), Err(BadToken::Malformed));
        assert_eq!(open("no token!"), Err(BadToken::Malformed));
        assert_eq!(open(&(text.clone() + "=")), Err(BadToken::Malformed));
        assert_eq!(open(&"A".repeat(TOKEN_TEXT_BYTES_MAX + 4)), Err(BadToken::Malformed));
        assert_eq!(open("AgAA"), Err(BadToken::UnknownVersion(2)));
    }
}
