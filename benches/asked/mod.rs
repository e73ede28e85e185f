//! What a bench program of its own was asked to do, by the words that cargo starts it with.

/// How much is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// `cargo bench`: measure.
    Measure,
    /// `cargo test --benches`: all of it once, as small as it gets.
    Test,
    /// `cargo bench -- WORD` with a word that is not in this bench's name.
    Nothing,
}

impl Asked {
    /// Reads this process's words.
    pub fn of_arguments(name: &str) -> Asked {
        let words: Vec<String> = std::env::args().skip(1).collect();
        let has = |flag: &str| words.iter().any(|word| word == flag);
        let mut filters = words.iter().filter(|word| !word.starts_with('-')).peekable();
        if filters.peek().is_some() && !filters.any(|word| name.contains(word.as_str())) {
            println!("{name}: not asked for");
            Asked::Nothing
        } else if has("--bench") && !has("--test") {
            Asked::Measure
        } else {
            Asked::Test
        }
    }
}
