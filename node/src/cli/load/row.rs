//! From one record of a file to a key and its value. The text of a JSON value is kept as it was written.

use anser_client::Key;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// A JSON object whose fields are not looked into.
pub(super) type Object<'a> = BTreeMap<String, &'a RawValue>;

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub key: Key,
    pub value: Bytes,
}

/// A row from a JSON object: with a key field, the object is the value; else its fields `key` and `value` (or
/// `value_base64`) say both.
pub(super) fn of_json(text: &str, key_field: Option<&str>) -> Result<Row, String> {
    let text = text.trim();
    let object: Object<'_> =
        serde_json::from_str(text).map_err(|error| format!("it is no JSON object: {error}"))?;
    let key = key_of(&object, key_field.unwrap_or("key"))?;
    let value = match key_field {
        Some(_) => Bytes::copy_from_slice(text.as_bytes()),
        None => value_of(&object)?,
    };
    Ok(Row { key, value })
}

/// A row from a CSV record: the value is a JSON object of all its fields, in the header's order.
pub(super) fn of_csv<'a>(
    header: impl Iterator<Item = &'a str>,
    record: impl Iterator<Item = &'a str>,
    key: &str,
) -> Result<Row, String> {
    let mut value = String::from("{");
    for (name, field) in header.zip(record) {
        let quote = |text: &str| serde_json::to_string(text).map_err(|error| error.to_string());
        if value.len() > 1 {
            value.push(',');
        }
        value.push_str(&quote(name)?);
        value.push(':');
        value.push_str(&quote(field)?);
    }
    value.push('}');
    Ok(Row { key: parse_key(key)?, value: Bytes::from(value) })
}

fn key_of(object: &Object<'_>, field: &str) -> Result<Key, String> {
    let raw = object
        .get(field)
        .ok_or_else(|| format!("there is no field {field:?}; name the one that is the key by --key-field"))?;
    let text = raw.get();
    if text.starts_with('"') {
        parse_key(&serde_json::from_str::<String>(text).map_err(|error| error.to_string())?)
    } else if text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        parse_key(text)
    } else {
        Err(format!("the field {field:?} is no text and no number, so it can't be the key"))
    }
}

fn parse_key(text: &str) -> Result<Key, String> {
    Key::new(text.as_bytes().to_vec()).map_err(|error| error.to_string())
}

fn value_of(object: &Object<'_>) -> Result<Bytes, String> {
    match (object.get("value"), object.get("value_base64")) {
        (Some(_), Some(_)) => Err("it has both value and value_base64".to_owned()),
        (None, None) => {
            Err("there is no field \"value\"; to store whole objects, name the key's field by --key-field"
                .to_owned())
        }
        (Some(raw), None) if raw.get().starts_with('"') => {
            let text: String = serde_json::from_str(raw.get()).map_err(|error| error.to_string())?;
            Ok(Bytes::from(text))
        }
        (Some(raw), None) => Ok(Bytes::copy_from_slice(raw.get().as_bytes())),
        (None, Some(raw)) => {
            let text: String =
                serde_json::from_str(raw.get()).map_err(|_| "value_base64 is no text".to_owned())?;
            STANDARD.decode(text).map(Bytes::from).map_err(|error| format!("value_base64: {error}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(row: Result<Row, String>) -> (String, String) {
        let row = row.unwrap();
        (row.key.to_string(), String::from_utf8(row.value.to_vec()).unwrap())
    }

    fn expect(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn text_is_stored_as_text_and_all_else_as_it_was_written() {
        assert_eq!(pair(of_json(r#"{"key":"a","value":"h\u00e9"}"#, None)), expect("a", "hé"));
        assert_eq!(
            pair(of_json(r#"{"key":"a","value":{"x" : 1.50}}"#, None)),
            expect("a", r#"{"x" : 1.50}"#)
        );
        assert_eq!(pair(of_json(r#"{"value":null,"key":7}"#, None)), expect("7", "null"));
        assert_eq!(pair(of_json(r#"{"key":"a","value_base64":"aGk="}"#, None)), expect("a", "hi"));
    }

    #[test]
    fn with_a_key_field_the_object_is_the_value() {
        let text = r#" {"alpha_2":"AW", "name" : "Aruba"} "#;
        assert_eq!(pair(of_json(text, Some("alpha_2"))), expect("AW", text.trim()));
    }

    #[test]
    fn what_is_no_row_is_named() {
        for (text, said) in [
            ("{", "no JSON object"),
            ("[1]", "no JSON object"),
            (r#"{"value":1}"#, "--key-field"),
            (r#"{"key":"a"}"#, "--key-field"),
            (r#"{"key":"","value":1}"#, "empty"),
            (r#"{"key":[],"value":1}"#, "can't be the key"),
            (r#"{"key":"a","value_base64":"?"}"#, "value_base64"),
            (r#"{"key":"a","value_base64":"","value":1}"#, "both"),
        ] {
            let why = of_json(text, None).unwrap_err();
            assert!(why.contains(said), "{text}: {why}");
        }
    }

    #[test]
    fn a_csv_row_becomes_an_object_in_the_headers_order() {
        let row = of_csv(["b", "a"].into_iter(), ["1", "x\"y"].into_iter(), "1");
        assert_eq!(pair(row), expect("1", r#"{"b":"1","a":"x\"y"}"#));
    }
}
