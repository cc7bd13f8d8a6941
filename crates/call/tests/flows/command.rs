//! One line of a flow, split into its parts: `who what [words] [key=value] | Header: value | …`.

use std::time::Duration;

/// A line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Command {
    /// The first word: a peer, or a word of the bench.
    pub(crate) who: String,
    /// The words after it that have no `=`.
    pub(crate) words: Vec<String>,
    options: Vec<(String, String)>,
    /// Header lines to add.
    pub(crate) headers: Vec<String>,
}

impl Command {
    pub(crate) fn parse(line: &str) -> Self {
        let mut parts = line.split(" | ");
        let mut command = Self::default();
        let first = parts.next().unwrap_or_default();
        for (index, word) in first.split_whitespace().enumerate() {
            match word.split_once('=') {
                _ if index == 0 => word.clone_into(&mut command.who),
                Some((key, value)) => command.options.push((key.to_owned(), value.to_owned())),
                None => command.words.push(word.to_owned()),
            }
        }
        command.headers = parts.map(|part| part.trim().to_owned()).collect();
        command
    }

    /// The value of `key=`.
    pub(crate) fn option(&self, key: &str) -> Option<&str> {
        self.options.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    pub(crate) fn options(&self) -> impl Iterator<Item = (&str, &str)> {
        self.options.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The word at `index`, the first word being `who`.
    pub(crate) fn word(&self, index: usize) -> &str {
        self.words.get(index - 1).map_or("", String::as_str)
    }

    pub(crate) fn has(&self, word: &str) -> bool {
        self.words.iter().any(|other| other == word)
    }
}

/// `600ms`, `32s`, `3m`.
pub(crate) fn duration(text: &str) -> Duration {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().unwrap_or_else(|_| panic!("not a duration: {text}"));
    match &text[digits.len()..] {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number * 60),
        unit => panic!("not a unit of time: {unit}"),
    }
}
