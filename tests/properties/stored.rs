//! What is read back: it comes back as it was written, and any other bytes are an error or another value, even behind a
//! good checksum.

use anser_model::merkle::Fingerprint;
use anser_model::ring::{
    DcName, Founding, MemberState, NodeName, Record, RosterEntry, Weight, Within, ZoneName,
};
use anser_model::{ClusterId, FolderId, Key, KeyspaceId, Member, NodeId, PartitionId};
use anser_storage::store::{Manifest, TableEntry};
use anser_storage::{StoreKey, record};
use bytes::Bytes;
use proptest::prelude::*;

/// Bytes, and the checksum of them.
fn sealed(content: &[u8]) -> Vec<u8> {
    [content, &crc32c::crc32c(content).to_le_bytes()].concat()
}

fn manifests() -> impl Strategy<Value = Manifest> {
    let table = any::<(u64, u32, u16, u64, u64, u32, u32, u64)>().prop_map(
        |(id, shard, group, age, voids, meta_at, chunks, bytes)| TableEntry {
            id,
            shard,
            group,
            age,
            voids,
            meta_at,
            chunks,
            bytes,
        },
    );
    let flushed = prop::collection::btree_map(any::<u32>(), any::<u64>(), 0..5);
    let lists = (flushed, prop::collection::vec(table, 0..5), prop::collection::vec(any::<u64>(), 0..5));
    (any::<(u64, u64, u64)>(), lists).prop_map(
        |((changes, next_table, next_segment), (flushed, tables, segments))| Manifest {
            changes,
            next_table,
            next_segment,
            flushed,
            tables,
            segments,
        },
    )
}

fn rings() -> impl Strategy<Value = Record> {
    let member = (any::<[u8; 16]>(), 0..3_u8, 0..3_u8, 1..300_u16);
    (prop::collection::btree_map(any::<[u8; 16]>(), member, 1..8), any::<u64>(), any::<[u8; 32]>()).prop_map(
        |(members, seed, mac_key)| {
            let entry = |(number, (node, (folder, dc, zone, weight)))| RosterEntry {
                member: Member { node: NodeId(node), folder: FolderId(folder) },
                name: NodeName::new(format!("n{number}")).unwrap(),
                dc: DcName::new(format!("dc{dc}")).unwrap(),
                zone: ZoneName::new(format!("z{zone}")).unwrap(),
                weight: Weight::new(weight).unwrap(),
                state: MemberState::Member,
            };
            let roster = (0..).zip(members).map(|member: (u32, _)| entry(member)).collect();
            let cluster = ClusterId(seed.to_le_bytes().repeat(2).try_into().unwrap());
            let cluster_name = "laws".to_owned();
            Record::genesis(Founding { cluster, cluster_name, roster, partitions: 8, seed, mac_key }).unwrap()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn manifests_come_back(manifest in manifests(), at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let bytes = manifest.encode();
        prop_assert_eq!(&sealed(&bytes[..bytes.len() - 4]), &bytes);
        prop_assert_eq!(&Manifest::decode(&bytes).unwrap(), &manifest);
        let mut content = bytes[..bytes.len() - 4].to_vec();
        let at = at.index(content.len());
        content[at] ^= flip;
        prop_assert_ne!(Manifest::decode(&sealed(&content)), Ok(manifest));
        prop_assert!(Manifest::decode(&sealed(&content[..at])).is_err(), "cut at {}", at);
    }

    #[test]
    fn log_records_come_back(
        key in prop::collection::vec(any::<u8>(), 1..40), state in prop::collection::vec(any::<u8>(), 0..60),
        place in any::<(u16, u32, u32)>(), replaces in prop_oneof![Just(0), any::<u128>()], at in any::<prop::sample::Index>(), flip in 1..=255_u8,
    ) {
        let (partition, keyspace, within) = place;
        let key = StoreKey::new(PartitionId(partition), KeyspaceId(keyspace), Within(within), &Key::new(key).unwrap());
        let encoded = record::encode(&key, &state, Fingerprint(replaces));
        let decoded = record::decode(&encoded.bytes).unwrap();
        prop_assert_eq!((&decoded.key, &decoded.state[..]), (&key, &state[..]));
        prop_assert_eq!(decoded.replaces, Fingerprint(replaces));
        prop_assert_eq!(record::partition_of_record(&encoded.bytes), Some(PartitionId(partition)));
        let mut content = encoded.bytes[..encoded.bytes.len() - 4].to_vec();
        let at = at.index(content.len());
        content[at] ^= flip;
        prop_assert_ne!(record::decode(&Bytes::from(sealed(&content))), Ok(decoded));
    }

    #[test]
    fn any_bytes_behind_a_checksum_are_read_or_refused(content in prop::collection::vec(any::<u8>(), 0..200), version in 0..4_u8) {
        let content = [&[version][..], &content].concat();
        let bytes = sealed(&content);
        if let Ok(manifest) = Manifest::decode(&bytes) {
            prop_assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
        }
        if let Ok(decoded) = record::decode(&Bytes::from(bytes)) {
            let again = record::encode(&decoded.key, &decoded.state, decoded.replaces).bytes;
            prop_assert_eq!(record::decode(&again), Ok(decoded));
        }
    }

    #[test]
    fn ring_records_come_back(ring in rings(), at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let bytes = ring.encode();
        prop_assert_eq!(&Record::decode(&bytes).unwrap(), &ring);
        let mut other = bytes.to_vec();
        let at = at.index(other.len());
        other[at] ^= flip;
        if let Ok(other) = Record::decode(&other) {
            prop_assert_ne!(&other, &ring);
            prop_assert!(other.check().is_ok());
        }
        prop_assert!(Record::decode(&bytes[..at]).is_err(), "cut at {}", at);
    }
}
