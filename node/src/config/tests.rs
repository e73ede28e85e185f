//! What the settings accept, and what they say when they don't.

use super::{Config, LogFormat};
use std::path::Path;

const GOOD: &str = r#"
[node]
name = "n1"
dc = "dc1"
zone = "z1"
data_dir = "data"
[listen]
quic = "127.0.0.1:7400"
[cluster]
seeds = ["127.0.0.1:7402"]
[tls]
ca = "ca.pem"
cert = "n1.pem"
key = "/keys/n1.key"
"#;

fn parse(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::parse(text, Path::new("/etc/anser/node.toml"), environment).map_err(|error| error.to_string())
}

#[test]
fn defaults_follow_from_the_quic_address() {
    let config = parse(GOOD, &[]).unwrap();
    assert_eq!(config.bulk.to_string(), "127.0.0.1:7401");
    assert_eq!(config.http.to_string(), "127.0.0.1:7401");
    assert_eq!(config.advertise, config.quic);
    assert_eq!(config.data_dir, Path::new("/etc/anser/data"));
    assert_eq!(config.key, Path::new("/keys/n1.key"));
    assert_eq!(config.log_format, LogFormat::Text);
}

#[test]
fn the_environment_goes_over_the_file() {
    let environment = [
        ("ANSER_NODE_WEIGHT", "200"),
        ("ANSER_LIMITS_MEMORY", "256MiB"),
        ("ANSER_LIMITS_MAX_INFLIGHT", "7"),
        ("ANSER_CLUSTER_SEEDS", "127.0.0.1:1,127.0.0.1:2"),
        ("ANSER_LOG_FORMAT", "json"),
        ("ANSER_PROFILE", "not a setting"),
        ("HOME", "/root"),
    ];
    let config = parse(GOOD, &environment).unwrap();
    assert_eq!(config.weight.get(), 200);
    assert_eq!(config.memory_bytes, 256 << 20);
    assert_eq!(config.max_inflight, 7);
    assert_eq!(config.seeds.len(), 2);
    assert_eq!(config.log_format, LogFormat::Json);
}

#[test]
fn every_mistake_is_one_line_that_names_it() {
    type Case = (&'static str, &'static [(&'static str, &'static str)], &'static [&'static str]);
    let cases: [Case; 8] = [
        ("[node]\nnmae = \"n1\"\n", &[], &["/etc/anser/node.toml:2", "nmae", "unknown field"]),
        ("[nod]\nname = \"n1\"\n", &[], &["/etc/anser/node.toml:1", "nod"]),
        ("[node]\nname = \"N 1\"\n", &[], &["node.toml:2", "name"]),
        ("[listen]\n\nquic = \"here\"\n", &[], &["node.toml:3", "quic"]),
        ("[limits]\nmemory = \"lots\"\n", &[], &["node.toml:2", "memory", "no size"]),
        ("[node]\nname = \"n1\"\n", &[], &["[listen] quic is missing"]),
        (GOOD, &[("ANSER_NODE_WIEGHT", "2")], &["ANSER_NODE_WIEGHT", "unknown field"]),
        (GOOD, &[("ANSER_LIMITS_MEMORY", "1MiB")], &["[limits] memory", "128MiB"]),
    ];
    for (text, environment, parts) in cases {
        let error = parse(text, environment).unwrap_err();
        assert!(!error.contains('\n'), "{error}");
        for part in parts {
            assert!(error.contains(part), "{error:?} lacks {part:?}");
        }
    }
}
