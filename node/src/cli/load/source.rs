//! The rows of a file, one after the other: JSON lines, one JSON document that holds an array, or CSV.
//!
//! A bad row is told and skipped; only what can't be read at all ends the reading. Memory is bounded by the longest line,
//! or by the document.

use super::row::{self, Object, Row};
use crate::cli::failure::Failure;
use serde_json::value::RawValue;
use std::io::{BufRead, Read};

/// Longest line: the largest value in base64, or escaped many times over.
const LINE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Largest JSON document.
const DOCUMENT_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// One record of the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Its line, from 1; in a JSON document, its place in the array, from 1.
    pub place: u64,
    /// How many bytes of the file were read with it.
    pub read_bytes: u64,
    /// What it holds, or what is wrong with it.
    pub row: Result<Row, String>,
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// JSON lines, or a document that is an array or holds exactly one
    Json,
    /// A header row, then rows
    Csv,
}

/// Takes records until it answers false.
pub(super) type Sink<'a> = &'a mut dyn FnMut(Record) -> bool;

/// Reads all records of a file.
pub(super) fn read(
    source: impl BufRead,
    format: Format,
    key_field: Option<&str>,
    sink: Sink<'_>,
) -> Result<(), Failure> {
    match format {
        Format::Json => read_json(source, key_field, sink),
        Format::Csv => read_csv(source, key_field, sink),
    }
}

fn read_json(mut source: impl BufRead, key_field: Option<&str>, sink: Sink<'_>) -> Result<(), Failure> {
    let mut lines = Lines { place: 0, read_bytes: 0, text: String::new() };
    if !lines.next_full(&mut source)? {
        return Ok(());
    }
    if row::of_json(&lines.text, key_field).is_err() && begins_document(&lines.text) {
        let mut text = std::mem::take(&mut lines.text);
        let rest = source.by_ref().take(DOCUMENT_BYTES_MAX).read_to_string(&mut text);
        rest.map_err(unreadable)?;
        return match elements(&text) {
            Some(elements) => {
                read_elements(&elements, key_field, sink);
                Ok(())
            }
            None => read_lines(text.as_bytes(), Lines::default(), key_field, sink),
        };
    }
    if !sink(lines.record(key_field)) {
        return Ok(());
    }
    read_lines(source, lines, key_field, sink)
}

/// Whether a line that is no row may begin a document (or be all of it).
fn begins_document(line: &str) -> bool {
    match serde_json::from_str::<Object<'_>>(line) {
        Ok(_) => elements(line).is_some(),
        Err(_) => line.trim_start().starts_with(['[', '{']),
    }
}

/// The elements of a document: of an array, or of the only array in an object.
fn elements(text: &str) -> Option<Vec<&RawValue>> {
    if let Ok(elements) = serde_json::from_str(text) {
        return Some(elements);
    }
    let object: Object<'_> = serde_json::from_str(text).ok()?;
    let mut arrays = object.values().filter_map(|value| serde_json::from_str(value.get()).ok());
    match (arrays.next(), arrays.next()) {
        (Some(elements), None) => Some(elements),
        (_, _) => None,
    }
}

fn read_elements(elements: &[&RawValue], key_field: Option<&str>, sink: Sink<'_>) {
    let mut read_bytes = 0;
    for (element, place) in elements.iter().zip(1..) {
        read_bytes += element.get().len() as u64;
        if !sink(Record { place, read_bytes, row: row::of_json(element.get(), key_field) }) {
            return;
        }
    }
}

/// The lines of a source, blank ones left out.
#[derive(Default)]
struct Lines {
    place: u64,
    read_bytes: u64,
    text: String,
}

impl Lines {
    /// Goes to the next line that is not blank; false at the end.
    fn next_full(&mut self, source: &mut impl BufRead) -> Result<bool, Failure> {
        loop {
            let mut line = Vec::new();
            let read =
                source.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(unreadable)?;
            if read == 0 {
                return Ok(false);
            }
            self.place += 1;
            self.read_bytes += read as u64;
            let at = |why: &str| Failure::usage(format!("line {}: {why}", self.place));
            if read as u64 == LINE_BYTES_MAX && !line.ends_with(b"\n") {
                return Err(at("the line is too long; the limit is 64 MiB"));
            }
            self.text = match String::from_utf8(line) {
                Ok(text) => text,
                Err(_) => return Err(at("the line is not UTF-8; bytes are loaded as value_base64")),
            };
            if !self.text.trim().is_empty() {
                return Ok(true);
            }
        }
    }

    fn record(&self, key_field: Option<&str>) -> Record {
        let row = row::of_json(&self.text, key_field);
        Record { place: self.place, read_bytes: self.read_bytes, row }
    }
}

fn read_lines(
    mut source: impl BufRead,
    mut lines: Lines,
    key_field: Option<&str>,
    sink: Sink<'_>,
) -> Result<(), Failure> {
    while lines.next_full(&mut source)? {
        if !sink(lines.record(key_field)) {
            return Ok(());
        }
    }
    Ok(())
}

fn read_csv(source: impl BufRead, key_field: Option<&str>, sink: Sink<'_>) -> Result<(), Failure> {
    let mut reader = csv::ReaderBuilder::new().from_reader(source);
    let header = reader.headers().map_err(|error| Failure::usage(format!("the header: {error}")))?.clone();
    let column = match key_field {
        None => 0,
        Some(name) => header.iter().position(|column| column == name).ok_or_else(|| {
            let there = header.iter().collect::<Vec<_>>().join(", ");
            Failure::usage(format!("there is no column {name:?}; there are {there}"))
        })?,
    };
    let mut record = csv::StringRecord::new();
    loop {
        let place = reader.position().line();
        let row = match reader.read_record(&mut record) {
            Ok(false) => return Ok(()),
            Ok(true) => row::of_csv(header.iter(), record.iter(), record.get(column).unwrap_or_default()),
            Err(error) => match error.kind() {
                csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                    Err(format!("it has {len} fields, the header has {expected_len}"))
                }
                csv::ErrorKind::Utf8 { .. } => Err("it is not UTF-8".to_owned()),
                _ => return Err(Failure::usage(format!("line {place}: {error}"))),
            },
        };
        if !sink(Record { place, read_bytes: reader.position().byte(), row }) {
            return Ok(());
        }
    }
}

fn unreadable(error: std::io::Error) -> Failure {
    Failure::usage(format!("the input can't be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &str, format: Format, key_field: Option<&str>) -> Vec<(u64, Result<String, String>)> {
        let mut all = Vec::new();
        let mut sink = |record: Record| {
            let row = record.row.map(|row| format!("{}={}", row.key, String::from_utf8_lossy(&row.value)));
            all.push((record.place, row));
            true
        };
        read(text.as_bytes(), format, key_field, &mut sink).unwrap();
        all
    }

    fn fine(place: u64, row: &str) -> (u64, Result<String, String>) {
        (place, Ok(row.to_owned()))
    }

    #[test]
    fn json_lines_with_blank_and_bad_lines_between() {
        let text = "{\"key\":\"a\",\"value\":\"1\"}\n\nnonsense\n{\"key\":\"b\",\"value\":2}";
        let all = records(text, Format::Json, None);
        assert_eq!(all[0], fine(1, "a=1"));
        assert_eq!((all[1].0, all[1].1.is_err()), (3, true));
        assert_eq!(all[2], fine(4, "b=2"));
    }

    #[test]
    fn a_bad_first_line_does_not_hide_the_others() {
        let all = records("{\"key\":\n{\"key\":\"b\",\"value\":2}\n", Format::Json, None);
        assert!(all[0].1.is_err());
        assert_eq!(all[1], fine(2, "b=2"));
    }

    #[test]
    fn documents_are_an_array_or_hold_one() {
        let expected = [fine(1, "AW={\"a\":\"AW\"}"), fine(2, "AF={\"a\":\"AF\", \"n\":1}")];
        for text in [
            "[{\"a\":\"AW\"},{\"a\":\"AF\", \"n\":1}]",
            "{\"3166-1\":[{\"a\":\"AW\"},{\"a\":\"AF\", \"n\":1}]}",
            "{\n  \"3166-1\": [\n    {\"a\":\"AW\"},\n    {\"a\":\"AF\", \"n\":1}\n  ]\n}\n",
        ] {
            assert_eq!(records(text, Format::Json, Some("a")), expected, "{text}");
        }
    }

    #[test]
    fn a_pretty_value_is_kept_as_it_was_written() {
        let all = records("[\n {\n  \"a\": \"x\"\n }\n]", Format::Json, Some("a"));
        assert_eq!(all, [fine(1, "x={\n  \"a\": \"x\"\n }")]);
    }

    #[test]
    fn csv_rows_with_the_first_or_a_named_column_as_key() {
        let text = "id,name\n1,Ada\n2\n3,\"two\nlines\"\n";
        let all = records(text, Format::Csv, None);
        assert_eq!(all[0], fine(2, "1={\"id\":\"1\",\"name\":\"Ada\"}"));
        assert_eq!((all[1].0, all[1].1.is_err()), (3, true));
        assert_eq!(all[2], fine(4, "3={\"id\":\"3\",\"name\":\"two\\nlines\"}"));
        assert_eq!(
            records(text, Format::Csv, Some("name"))[0],
            fine(2, "Ada={\"id\":\"1\",\"name\":\"Ada\"}")
        );
    }

    #[test]
    fn a_column_that_is_not_there_ends_it() {
        let failure = read("id\n1\n".as_bytes(), Format::Csv, Some("x"), &mut |_| true).unwrap_err();
        assert!(failure.line.contains("there are id"), "{failure}");
    }

    #[test]
    fn nothing_has_no_records() {
        assert_eq!(records("", Format::Json, None), []);
        assert_eq!(records("\n \n", Format::Json, None), []);
        assert_eq!(records("[]", Format::Json, None), []);
    }
}
