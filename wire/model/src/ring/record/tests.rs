//! The genesis, its golden bytes, and a record against each of its rules.

use super::*;
use crate::id::FolderId;
use crate::level::Level;
use crate::ring::{DcName, Durability, MemberState, NodeName, QuorumKind, Weight, ZoneName};
use std::format;
use std::string::ToString;

fn entry(node: u8) -> RosterEntry {
    RosterEntry {
        member: Member { node: NodeId([node; 16]), folder: FolderId([node + 100; 16]) },
        name: NodeName::new(format!("n{node}")).unwrap(),
        dc: DcName::new("dc1").unwrap(),
        zone: ZoneName::new("a").unwrap(),
        weight: Weight::default(),
        state: MemberState::Member,
    }
}

fn founding() -> Founding {
    Founding {
        cluster: ClusterId([9; 16]),
        cluster_name: "test".to_string(),
        roster: [3, 1, 2].map(entry).to_vec(),
        partitions: 2,
        seed: 7,
        mac_key: [5; 32],
    }
}

fn genesis() -> Record {
    Record::genesis(founding()).unwrap()
}

#[test]
fn a_genesis_places_the_first_keyspace_on_all_members() {
    let record = genesis();
    assert_eq!((record.step, record.read, record.voters.len()), (Step(1), Side::Old, 3));
    let keyspace = record.keyspace(&KeyspaceName::default()).unwrap();
    assert_eq!(keyspace, record.keyspace_by_id(KeyspaceId(1)).unwrap());
    assert_eq!((keyspace.read, keyspace.write), (Level::Quorum, Level::Quorum));
    let partition = record.partition_of(keyspace.id, &Key::new("k").unwrap());
    let sites = record.sites(record.read_placement(), &keyspace.replicas, partition);
    let mut nodes: Vec<NodeId> = sites.iter().map(|site| site.node).collect();
    nodes.sort_unstable();
    assert_eq!(nodes, [1, 2, 3].map(|node| NodeId([node; 16])));
    assert!(sites.iter().all(|site| site.dc.as_str() == "dc1"));
    assert_eq!(record.write_placements().count(), 1);
    assert_eq!(record.entry(&NodeId([2; 16])), Some(&entry(2)));
    assert_eq!(record.entry(&NodeId([4; 16])), None);
}

#[test]
fn a_record_has_golden_bytes_and_reads_back() {
    let record = genesis();
    let hex: String = record.encode().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN);
    assert_eq!(Record::decode(&record.encode()), Ok(record.clone()));
    assert_eq!(record.hash(), *blake3::hash(&record.encode()).as_bytes());
}

const GOLDEN: &str = concat!(
    "010909090909090909090909090909090904746573740100000000000000000000000000000000000000000000",
    "000000000000000000000003010101010101010101010101010101016565656565656565656565656565656502",
    "6e3103646331016164000202020202020202020202020202020266666666666666666666666666666666026e32",
    "03646331016164000303030303030303030303030303030367676767676767676767676767676767026e330364",
    "633101616400030101010101010101010101010101010165656565656565656565656565656565020202020202",
    "020202020202020202026666666666666666666666666666666603030303030303030303030303030303676767",
    "676767676767676767676767670002070103010101010101010101010101010101016565656565656565656565",
    "656565656502020202020202020202020202020202666666666666666666666666666666660303030303030303",
    "030303030303030367676767676767676767676767676767010364633103000000010003030600020101000200",
    "000101010764656661756c74000301010000000001050505050505050505050505050505050505050505050505",
    "0505050505050505",
);

#[test]
fn broken_bytes_are_refused() {
    let bytes = genesis().encode();
    assert_eq!(Record::decode(&[]), Err(BadRecord::Malformed));
    assert_eq!(Record::decode(&[2, 1, 1]), Err(BadRecord::UnknownFormat(2)));
    assert_eq!(Record::decode(&[bytes.as_ref(), &[0]].concat()), Err(BadRecord::Malformed));
    for end in 1..bytes.len() {
        assert!(Record::decode(&bytes[..end]).is_err(), "cut at {end}");
    }
    for at in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut altered = bytes.to_vec();
            altered[at] ^= flip;
            if let Ok(record) = Record::decode(&altered) {
                assert_eq!(record.check(), Ok(()));
            }
        }
    }
}

/// Something done to a good record.
type Damage = Box<dyn Fn(&mut Record)>;

#[test]
fn each_rule_is_kept() {
    let stranger = Member { node: NodeId([8; 16]), folder: FolderId([8; 16]) };
    let other_folder = |record: &mut Record| record.roster[0].member.folder = FolderId([0; 16]);
    let breaks: Vec<(&str, Damage)> = vec![
        ("is no step 1", Box::new(|r| r.step = Step(2))),
        ("is no step 1", Box::new(|r| r.prev = [1; 32])),
        ("cluster name", Box::new(|r| r.cluster_name.clear())),
        ("cluster name", Box::new(|r| r.cluster_name = "x".repeat(64))),
        ("keys for contexts", Box::new(|r| r.mac_keys.clear())),
        ("has no members", Box::new(|r| r.roster.clear())),
        ("members that are not sorted", Box::new(|r| r.roster.reverse())),
        ("members that are not sorted", Box::new(|r| r.roster.insert(0, entry(1)))),
        ("two members of one name", Box::new(|r| r.roster[0].name = r.roster[1].name.clone())),
        ("no voters", Box::new(|r| r.voters.clear())),
        ("no voters", Box::new(|r| r.voters.reverse())),
        ("voters outside", Box::new(move |r| r.voters = vec![stranger])),
        ("voters outside", Box::new(other_folder)),
        ("forgotten nodes that", Box::new(|r| r.forgotten = vec![NodeId([9; 16]), NodeId([8; 16])])),
        ("forgotten node among", Box::new(|r| r.forgotten = vec![NodeId([2; 16])])),
        ("power of two", Box::new(|r| r.partitions = 3)),
        ("table that is not whole", Box::new(|r| r.partitions = 4)),
        (
            "places data on strangers",
            Box::new(|r| {
                r.voters.remove(0);
                r.roster.remove(0);
            }),
        ),
        ("a later epoch", Box::new(|r| r.new = Some(r.old.clone()))),
        ("reads a new placement", Box::new(|r| r.read = Side::New)),
        ("introduced after", Box::new(|r| r.intro = Step(2))),
        ("keyspaces that are not", Box::new(|r| r.keyspaces.push(r.keyspaces[0].clone()))),
        (
            "two keyspaces of one name",
            Box::new(|r| {
                r.keyspaces.push(Keyspace { id: KeyspaceId(2), ..r.keyspaces[0].clone() });
            }),
        ),
        ("keyspace without a placement", Box::new(|r| r.keyspaces[0].replicas = Replicas::PerDc(2))),
        (
            "strict keyspace that is acknowledged from memory",
            Box::new(|r| {
                (r.keyspaces[0].quorum, r.keyspaces[0].durability) =
                    (QuorumKind::Strict, Durability::Interval);
            }),
        ),
        (
            "data centres are not sorted",
            Box::new(|r| {
                let dc = |name| (DcName::new(name).unwrap(), 1);
                r.keyspaces[0].replicas = Replicas::Table(vec![dc("b"), dc("a")]);
            }),
        ),
    ];
    for (rule, damage) in breaks {
        let mut record = genesis();
        damage(&mut record);
        let Err(BadRecord::Rule(broken)) = Record::decode(&record.encode()) else {
            panic!("accepted a record against: {rule}");
        };
        assert!(broken.contains(rule), "{broken:?} instead of {rule:?}");
    }
}

#[test]
fn a_founding_without_sense_is_refused() {
    let nobody = Founding { roster: Vec::new(), ..founding() };
    assert_eq!(Record::genesis(nobody), Err(BadRecord::Placement(PlacementError::NoMembers)));
    let odd = Founding { partitions: 100, ..founding() };
    assert_eq!(Record::genesis(odd), Err(BadRecord::Placement(PlacementError::Partitions(100))));
    let twins = Founding { roster: vec![entry(1), entry(1)], ..founding() };
    assert!(matches!(Record::genesis(twins), Err(BadRecord::Rule(_))));
}
