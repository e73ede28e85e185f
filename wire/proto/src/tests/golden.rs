//! The bytes of every message, as they were first written: a frame that another build wrote is read by this one.
//!
//! `UPDATE=1 cargo test -p anser-proto` writes `golden.txt` anew; a changed line needs another frame version.

use super::samples::{bodies, envelope, name, node};
use crate::frame::{self, LENGTH_BYTES};
use crate::hello::{Hello, Purpose};
use crate::{Envelope, Tick};
use anser_model::{ClusterId, FolderId, Member};
use bytes::BytesMut;
use std::collections::BTreeSet;
use std::fmt::Write;

const NOW: Tick = Tick(1_000_000);

fn frame_of(envelope: &Envelope) -> BytesMut {
    let mut bytes = BytesMut::new();
    frame::encode(envelope, NOW, &mut bytes).unwrap();
    bytes
}

fn hellos() -> Vec<(String, Hello)> {
    let node = Hello {
        cluster_name: "prod".into(),
        cluster: Some(ClusterId([9; 16])),
        member: Some(Member { node: node(1), folder: FolderId([2; 16]) }),
        boot: 77,
        purpose: Purpose::Control,
        bulk_port: Some(7401),
    };
    let client =
        Hello { cluster: None, member: None, bulk_port: None, purpose: Purpose::Session, ..node.clone() };
    let purposes = [Purpose::Data, Purpose::Bulk].map(|purpose| Hello { purpose, ..node.clone() });
    let [data, bulk] = purposes;
    [("control", node), ("data", data), ("bulk", bulk), ("session", client)]
        .map(|(name, hello)| (format!("hello {name}"), hello))
        .to_vec()
}

fn line(text: &mut String, name: &str, bytes: &[u8]) {
    write!(text, "{name}: ").unwrap();
    bytes.iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
    text.push('\n');
}

#[test]
fn every_message_has_the_bytes_it_always_had() {
    let mut text = String::new();
    for (name, hello) in hellos() {
        line(&mut text, &name, &hello.encode().unwrap());
    }
    for body in bodies() {
        line(&mut text, &name(&body), &frame_of(&envelope(body)));
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/golden.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap();
    for (ours, theirs) in text.lines().zip(golden.lines()) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(text.lines().count(), golden.lines().count(), "messages are missing");
}

#[test]
fn the_bytes_of_old_are_read_as_what_they_were() {
    let golden = include_str!("golden.txt");
    let bytes_of = |name: &str| -> Vec<u8> {
        let line = golden.lines().find(|line| line.split_once(": ").is_some_and(|(known, _)| known == name));
        let hex = line.unwrap_or_else(|| panic!("no {name}")).split_once(": ").unwrap().1;
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    };
    for body in bodies() {
        let sent = envelope(body);
        let bytes = bytes_of(&name(&sent.body));
        let read = frame::decode(&bytes[LENGTH_BYTES..], node(1), node(2), NOW).unwrap();
        assert_eq!(read, sent);
    }
    for (name, hello) in hellos() {
        assert_eq!(Hello::decode(&bytes_of(&name)).unwrap(), hello);
    }
}

#[test]
fn every_sample_is_of_another_variant() {
    let names: Vec<String> = bodies().iter().map(name).collect();
    let distinct: BTreeSet<&String> = names.iter().collect();
    assert_eq!(distinct.len(), names.len());
    // As many as there are arms in `name`: a variant without a sample shows here.
    assert_eq!(names.len(), 68);
}
