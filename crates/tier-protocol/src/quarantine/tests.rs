//! What is kept is bounded, whatever was said.

use super::*;

#[test]
fn a_text_is_cut_between_two_characters() {
    assert_eq!(shortened("short"), "short");
    let long = format!("{}é", "a".repeat(WHAT_BYTES_MAX - 1));
    assert_eq!(shortened(&long), "a".repeat(WHAT_BYTES_MAX - 1));
}

#[test]
fn a_message_is_cut() {
    assert_eq!(beginning(b"INFO"), b"INFO"[..]);
    assert_eq!(beginning(&[7; 5_000]).len(), MESSAGE_BYTES_MAX);
}
