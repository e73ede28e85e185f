//! Real data: a table of some thousand JSON objects, as ISO tables are, and the files of this project.

use std::fs;
use std::path::Path;

/// Rows of the table.
const ROWS: usize = 4000;
/// Names in many scripts, with what JSON must escape.
const NAMES: [&str; 8] = [
    "Aruba",
    "Åland",
    "Curaçao",
    "Côte d\\u0027Ivoire",
    "Ελλάδα",
    "日本",
    "a \\\"quoted\\\" name",
    "tab\\tand 😀",
];

/// Keys and values.
pub type Rows = Vec<(String, Vec<u8>)>;

/// Writes the table as a JSON document: its rows, each object's text kept to the byte.
pub fn write_table(path: &Path) -> Rows {
    let rows: Vec<(String, String)> = (0..ROWS)
        .map(|i| {
            let (code, name) = (format!("x-{i:05}"), NAMES[i % NAMES.len()]);
            // Spaces here and there: the text is kept as it was written.
            let gap = " ".repeat(i % 3);
            let object = format!("{{\"code\":{gap}\"{code}\", \"name\": \"{name}\",{gap}\"number\":{i}.50}}");
            (code, object)
        })
        .collect();
    let objects: Vec<&str> = rows.iter().map(|(_, object)| object.as_str()).collect();
    fs::write(path, format!("{{\n  \"x-table\": [\n    {}\n  ]\n}}\n", objects.join(",\n    ")))
        .expect("a file");
    rows.into_iter().map(|(code, object)| (code, object.into_bytes())).collect()
}

/// Files of this project, by their paths.
pub fn files() -> Rows {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names =
        ["Cargo.lock", "Cargo.toml", "LICENSE-APACHE", "LICENSE-MIT", "tests/tidy.rs", "rustfmt.toml"];
    let read =
        |name: &str| (format!("files/{name}"), fs::read(root.join(name)).expect("a file of the project"));
    let rows: Rows = names.into_iter().map(read).collect();
    assert!(
        rows.iter().any(|(_, content)| content.len() > 64 * 1024),
        "one is longer than a commit log record"
    );
    rows
}
