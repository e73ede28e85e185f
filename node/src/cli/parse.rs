//! The parts of command lines: keys, levels, contexts, durations and counts, each parsed once into what can't be bad.

use super::failure::Failure;
use anser_client::{ContextArg, Key, KeyspaceName, Level};
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::str::FromStr;
use std::time::Duration;

/// The keyspace of a `KEY` that names none.
pub const KEYSPACE_DEFAULT: &str = "default";

/// A key with its keyspace, from `key` or `keyspace/key`. The first slash always ends the keyspace's name, so that no key
/// lands in another keyspace than its reader thinks; a key with a slash is written `default/a/b`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyArg {
    /// The keyspace.
    pub keyspace: KeyspaceName,
    /// The key.
    pub key: Key,
}

impl KeyArg {
    /// Parses a command line's `KEY`.
    pub fn parse(text: &OsStr) -> Result<KeyArg, Failure> {
        let bytes = text.as_bytes();
        let (keyspace, key) = match bytes.iter().position(|byte| *byte == b'/') {
            Some(slash) => {
                let (keyspace, key) = bytes.split_at(slash);
                (String::from_utf8_lossy(keyspace).into_owned(), key.get(1..).unwrap_or_default())
            }
            None => (KEYSPACE_DEFAULT.to_owned(), bytes),
        };
        let keyspace = KeyspaceName::new(keyspace).map_err(|error| {
            Failure::usage(format!("{error}; a key that has a slash is written default/KEY"))
        })?;
        let key = Key::new(key.to_vec()).map_err(Failure::usage)?;
        Ok(KeyArg { keyspace, key })
    }
}

impl fmt::Display for KeyArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN_CHARS_MAX: usize = 80;
        let key = self.key.to_string();
        write!(f, "{}/{}", self.keyspace, key.chars().take(SHOWN_CHARS_MAX).collect::<String>())?;
        if key.chars().count() > SHOWN_CHARS_MAX { f.write_str("…") } else { Ok(()) }
    }
}

/// A context, from `none` or a token.
pub fn context(text: Option<&str>) -> ContextArg {
    match text {
        None => ContextArg::Blind,
        Some("none") => ContextArg::Sibling,
        Some(token) => ContextArg::Token(token.to_owned()),
    }
}

/// A keyspace's name.
pub fn keyspace(text: &str) -> Result<KeyspaceName, String> {
    KeyspaceName::new(text).map_err(|error| error.to_string())
}

/// A consistency level, by its name.
pub fn level(text: &str) -> Result<Level, String> {
    if text.starts_with(|first: char| first.is_ascii_digit()) {
        return Err("a number of replicas is given by --w or --r".to_owned());
    }
    Level::from_str(text).map_err(|error| error.to_string())
}

/// A number of replicas.
pub fn count(text: &str) -> Result<Level, String> {
    match text.parse::<u8>() {
        Ok(0) | Err(_) => Err("a number of replicas is 1 to 255".to_owned()),
        Ok(count) => Ok(Level::Count(count)),
    }
}

/// A span of time: a number and its unit, `ms`, `s`, `m`, `h` or `d`; longer than nothing.
pub fn duration(text: &str) -> Result<Duration, String> {
    const HINT: &str = "a duration is a number and a unit, as 500ms, 2s, 1.5m, 12h or 7d";
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(HINT)?;
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| HINT)?;
    let unit_seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => return Err(HINT.to_owned()),
    };
    let duration = Duration::try_from_secs_f64(number * unit_seconds).map_err(|_| HINT)?;
    if duration < Duration::from_millis(1) {
        return Err("a duration is at least 1ms".to_owned());
    }
    Ok(duration)
}

/// A time-out: a duration of at most five minutes, since request ids are not remembered for ever.
pub fn timeout(text: &str) -> Result<Duration, String> {
    let timeout = duration(text)?;
    if timeout > anser_client::TIMEOUT_MAX {
        return Err("a time-out is at most 5m".to_owned());
    }
    Ok(timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Result<(String, String), String> {
        let parsed = KeyArg::parse(OsStr::new(text)).map_err(|failure| failure.line)?;
        Ok((parsed.keyspace.to_string(), parsed.key.to_string()))
    }

    #[test]
    fn the_first_slash_ends_the_keyspace() {
        let pair = |keyspace: &str, key: &str| Ok((keyspace.to_owned(), key.to_owned()));
        assert_eq!(key("k"), pair("default", "k"));
        assert_eq!(key("users/1"), pair("users", "1"));
        assert_eq!(key("default/a/b"), pair("default", "a/b"));
        assert_eq!(key("default//etc"), pair("default", "/etc"));
    }

    #[test]
    fn bad_keys_are_refused_with_what_to_do() {
        assert!(key("").unwrap_err().contains("empty"));
        assert!(key("users/").unwrap_err().contains("empty"));
        assert!(key("Users/1").unwrap_err().contains("default/KEY"));
        assert!(key("/etc").unwrap_err().contains("default/KEY"));
        assert!(key(&"k".repeat(16 * 1024 + 1)).unwrap_err().contains("16384"));
    }

    #[test]
    fn keys_may_be_any_bytes() {
        let parsed = KeyArg::parse(OsStr::from_bytes(&[0xff, 0])).unwrap();
        assert_eq!(parsed.key.as_bytes().as_ref(), [0xff, 0]);
    }

    #[test]
    fn durations() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(7 * 86400)));
        for bad in ["", "2", "s", "2 s", "-1s", "1.2.3s", "0s", "0.1ms", "1y", "999999999999999999999d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(timeout("5m"), Ok(Duration::from_secs(300)));
        assert!(timeout("6m").is_err());
    }

    #[test]
    fn levels_and_contexts() {
        assert_eq!(level("quorum"), Ok(Level::Quorum));
        assert!(level("most").unwrap_err().contains("each_quorum"));
        assert!(level("2").unwrap_err().contains("--w"));
        assert_eq!(count("3"), Ok(Level::Count(3)));
        assert!(count("0").is_err());
        assert!(count("256").is_err());
        assert_eq!(context(None), ContextArg::Blind);
        assert_eq!(context(Some("none")), ContextArg::Sibling);
        assert_eq!(context(Some("x")), ContextArg::Token("x".to_owned()));
    }
}
