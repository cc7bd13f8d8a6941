//! How a mistake in the configuration is told: where, what, and what to do about it.

use std::fmt;

use toml::de::{DeTable, DeValue};

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The file.
    pub file: String,
    /// From 1; 0 when it is the whole file.
    pub line: usize,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": {}\n  remedy: {}", self.what, self.remedy)
    }
}

impl Mistake {
    pub(super) fn of_file(file: &str, what: String, remedy: &str) -> Self {
        Self { file: file.into(), line: 0, what, remedy: remedy.into() }
    }

    /// A mistake of grammar or type, as the TOML reader found it.
    pub(super) fn of_toml(file: &str, text: &str, error: &toml::de::Error) -> Self {
        let line = error.span().map_or(0, |span| line_of_offset(text, span.start));
        let message = error.message().trim().replace('\n', " ");
        let remedy = remedy_of(&message);
        Self { file: file.into(), line, what: message, remedy }
    }
}

fn remedy_of(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown field") || message.starts_with("unknown variant") {
        let wrong = quoted.next().unwrap_or_default();
        let known: Vec<&str> = quoted.collect();
        return match nearest(wrong, &known) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "remove it".into(),
            None => format!("use one of: {}", known.join(", ")),
        };
    }
    if message.starts_with("missing field") {
        return format!("add `{} = ...` to this table", quoted.next().unwrap_or_default());
    }
    if message.contains("socket address") {
        return "write an address and a port, for example \"127.0.0.1:5060\"".into();
    }
    if message.starts_with("invalid type") || message.starts_with("invalid value") {
        return "give a value of the kind that is expected here".into();
    }
    if message.starts_with("duplicate key") {
        return "keep one of the two".into();
    }
    "mend the TOML at this line; text stands in quotes, tables in brackets".into()
}

/// The known word that is at most a third of its letters away.
fn nearest<'a>(wrong: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|word| (distance(wrong, word), *word))
        .filter(|(distance, word)| *distance <= word.len().div_ceil(3))
        .min()
        .map(|(_, word)| word)
}

/// Letters to insert, remove or change to make one word of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[other.len()]
}

fn line_of_offset(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}

/// Finds the line of a word in the file.
pub struct Lines<'a> {
    pub(super) file: &'a str,
    text: &'a str,
    table: Option<toml::Spanned<DeTable<'a>>>,
}

impl<'a> Lines<'a> {
    /// Of the text of `file`.
    #[must_use]
    pub fn new(file: &'a str, text: &'a str) -> Self {
        Self { file, text, table: DeTable::parse(text).ok() }
    }

    /// The line of the word at `path`, or of the last table on the way that exists; 0 if none
    /// does.
    /// A number in the path is an index into an array.
    #[must_use]
    pub fn of(&self, path: &[&str]) -> usize {
        let Some(table) = &self.table else { return 0 };
        let mut line = 0;
        let mut table = table.get_ref();
        let mut path = path.iter();
        while let Some(word) = path.next() {
            let Some((key, value)) = table.get_key_value(*word) else { return line };
            line = line_of_offset(self.text, key.span().start);
            let mut value = value;
            while let DeValue::Array(items) = value.get_ref() {
                let index = path.next().and_then(|index| index.parse::<usize>().ok());
                let Some(item) = index.and_then(|index| items.get(index)) else { return line };
                line = line_of_offset(self.text, item.span().start);
                value = item;
            }
            let DeValue::Table(inner) = value.get_ref() else { return line };
            table = inner;
        }
        line
    }
}
