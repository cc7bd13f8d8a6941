//! Tokens: what we mint into tags, branches and URIs so that any engine of any site finds the call.
//!
//! A token carries the call's key and the site where it was minted, is authenticated so that nobody
//! can forge one, says nothing readable, and is a pure function of its content: it need not be
//! stored.
//!
//! Layout before printing, 32 bytes: authentication tag (8) | key (16) | site (2) | kind (1) |
//! salt (3) | ordinal (2). All but the tag is covered by a key stream that the tag seeds. Printed
//! in a URL-safe base64 alphabet (43 characters), all of which RFC 3261 allows in a `token`.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;
use siphasher::sip128::{Hasher128, SipHasher24 as SipHasher24Wide};

use crate::{CallKey, SiteId};

/// Characters of a printed token.
pub const TOKEN_CHARS: usize = 43;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const NO_DIGIT: u8 = u8::MAX;
/// The value of each character of the alphabet.
static DIGITS: [u8; 256] = digits();
const TAG: usize = 8;
const BODY: usize = 24;

/// What a token was minted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TokenKind {
    /// A From or To tag of ours; `ordinal` names the dialog's local side.
    Tag,
    /// A Via branch of ours; `ordinal` names the client transaction.
    Branch,
    /// A Call-ID of ours; `ordinal` names the leg.
    CallId,
    /// A Route, Record-Route or Contact of ours.
    Route,
    /// The Via branch of a message forwarded statelessly between sites (RFC 3261 §16.11).
    Forward,
    /// The user of a witness's request-URI: the probe is for an engine of `site` and no other.
    Probe,
}

impl TokenKind {
    const ALL: [Self; 6] =
        [Self::Tag, Self::Branch, Self::CallId, Self::Route, Self::Forward, Self::Probe];
}

/// What a token says to those who hold the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// The call.
    pub key: CallKey,
    /// The site that minted it: the call's home at that moment.
    pub site: SiteId,
    /// What it stands for.
    pub kind: TokenKind,
    /// Distinguishes calls that reuse a Call-ID and From tag; 24 bits.
    pub salt: u32,
    /// Which tag, branch or leg of the call.
    pub ordinal: u16,
}

/// The secret that all sites of one deployment share.
#[derive(Clone)]
pub struct TokenSecret([u8; 16], [u8; 16]);

impl std::fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenSecret(..)")
    }
}

impl TokenSecret {
    /// Takes the 32 secret bytes of the configuration.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        let (mut auth, mut cover) = ([0; 16], [0; 16]);
        auth.copy_from_slice(&secret[..16]);
        cover.copy_from_slice(&secret[16..]);
        Self(auth, cover)
    }

    /// The key of a call that is named by `parts` (Call-ID and From tag, or an application's
    /// session key).
    #[must_use]
    pub fn call_key(&self, parts: &[&[u8]]) -> CallKey {
        let mut hasher = SipHasher24Wide::new_with_key(&self.0);
        for part in parts {
            hasher.write_u64(part.len() as u64);
            hasher.write(part);
        }
        CallKey(hasher.finish128().as_bytes())
    }

    /// A 64-bit keyed hash of `parts`, for frames that must be authenticated.
    #[must_use]
    pub fn authenticate(&self, parts: &[&[u8]]) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        for part in parts {
            hasher.write_u64(part.len() as u64);
            hasher.write(part);
        }
        hasher.finish()
    }

    /// Prints `token`; the same token always prints alike.
    #[must_use]
    pub fn mint(&self, token: &Token) -> String {
        let mut plain = [0_u8; BODY];
        plain[..16].copy_from_slice(&token.key.0);
        plain[16..18].copy_from_slice(&token.site.0.to_be_bytes());
        plain[18] = token.kind as u8;
        plain[19..22].copy_from_slice(&token.salt.to_be_bytes()[1..]);
        plain[22..].copy_from_slice(&token.ordinal.to_be_bytes());
        let tag = self.authenticate(&[&plain]).to_be_bytes();
        let mut all = [0_u8; TAG + BODY];
        all[..TAG].copy_from_slice(&tag);
        all[TAG..].copy_from_slice(&plain);
        self.cover(&tag, &mut all[TAG..]);
        print64(&all)
    }

    /// Reads a token of ours; `None` for anything that this deployment did not mint.
    #[must_use]
    pub fn read(&self, text: &[u8]) -> Option<Token> {
        let mut all = read64(text)?;
        let mut tag = [0; TAG];
        tag.copy_from_slice(&all[..TAG]);
        let plain = &mut all[TAG..];
        self.cover(&tag, plain);
        if self.authenticate(&[plain]).to_be_bytes() != tag {
            return None;
        }
        let mut key = [0; 16];
        key.copy_from_slice(&plain[..16]);
        Some(Token {
            key: CallKey(key),
            site: SiteId(u16::from_be_bytes([plain[16], plain[17]])),
            kind: *TokenKind::ALL.get(usize::from(plain[18]))?,
            salt: u32::from_be_bytes([0, plain[19], plain[20], plain[21]]),
            ordinal: u16::from_be_bytes([plain[22], plain[23]]),
        })
    }

    fn cover(&self, tag: &[u8; TAG], body: &mut [u8]) {
        for (block, chunk) in body.chunks_mut(8).enumerate() {
            let mut seed = [u8::try_from(block).unwrap_or(u8::MAX); TAG + 1];
            seed[..TAG].copy_from_slice(tag);
            let mut hasher = SipHasher24::new_with_key(&self.1);
            hasher.write(&seed);
            for (byte, pad) in chunk.iter_mut().zip(hasher.finish().to_be_bytes()) {
                *byte ^= pad;
            }
        }
    }
}

fn print64(bytes: &[u8; TAG + BODY]) -> String {
    let mut text = [0_u8; TOKEN_CHARS];
    for (chunk, out) in bytes.chunks(3).zip(text.chunks_mut(4)) {
        let mut word = [0_u8; 4];
        word[1..=chunk.len()].copy_from_slice(chunk);
        let word = u32::from_be_bytes(word);
        for (index, c) in out.iter_mut().enumerate() {
            *c = ALPHABET[(word >> (18 - 6 * index)) as usize & 63];
        }
    }
    text.iter().map(|c| char::from(*c)).collect()
}

fn read64(text: &[u8]) -> Option<[u8; TAG + BODY]> {
    if text.len() != TOKEN_CHARS {
        return None;
    }
    let mut bytes = [0; TAG + BODY];
    for (chunk, out) in text.chunks(4).zip(bytes.chunks_mut(3)) {
        let mut word = 0_u32;
        for index in 0..4 {
            let value = chunk.get(index).map_or(Some(0), |&c| digit(c))?;
            word = word << 6 | value;
        }
        let word = word.to_be_bytes();
        let (kept, spare) = word[1..].split_at(out.len());
        out.copy_from_slice(kept);
        // The last character carries two spare bits: only the printed form is accepted.
        if spare.iter().any(|bits| *bits != 0) {
            return None;
        }
    }
    Some(bytes)
}

fn digit(c: u8) -> Option<u32> {
    let value = DIGITS[usize::from(c)];
    (value != NO_DIGIT).then_some(u32::from(value))
}

const fn digits() -> [u8; 256] {
    let mut table = [NO_DIGIT; 256];
    let mut value = 0;
    while value < ALPHABET.len() {
        table[ALPHABET[value] as usize] = value as u8;
        value += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> TokenSecret {
        TokenSecret::new(*b"0123456789abcdef0123456789ABCDEF")
    }

    fn token(ordinal: u16) -> Token {
        Token {
            key: CallKey([7; 16]),
            site: SiteId(2),
            kind: TokenKind::Branch,
            salt: 0x00ab_cdef,
            ordinal,
        }
    }

    #[test]
    fn what_was_minted_is_read_back() {
        for ordinal in [0, 1, 255, 256, u16::MAX] {
            let text = secret().mint(&token(ordinal));
            assert_eq!(text.len(), TOKEN_CHARS);
            assert_eq!(secret().read(text.as_bytes()), Some(token(ordinal)));
        }
    }

    #[test]
    fn no_changed_character_is_accepted() {
        let text = secret().mint(&token(3)).into_bytes();
        for index in 0..text.len() {
            for c in ALPHABET {
                let mut forged = text.clone();
                forged[index] = *c;
                assert_eq!(secret().read(&forged).is_some(), forged == text);
            }
        }
    }

    #[test]
    fn another_secret_reads_nothing() {
        let other = TokenSecret::new(*b"0123456789abcdef0123456789ABCDEG");
        let text = secret().mint(&token(3));
        assert!(other.read(text.as_bytes()).is_none_or(|read| read != token(3)));
        assert_eq!(TokenSecret::new([1; 32]).read(text.as_bytes()), None);
    }

    #[test]
    fn two_ordinals_share_no_readable_part() {
        let (one, two) = (secret().mint(&token(1)), secret().mint(&token(2)));
        let same = one.bytes().zip(two.bytes()).filter(|(a, b)| a == b).count();
        assert!(same < 12, "{one} {two}");
    }
}
