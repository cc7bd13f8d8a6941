//! The encoding of every word: protobuf messages, annotated by hand, with conversions both ways.
//!
//! One message for each word enum: `kind` says which variant, and a variant uses the fields that it
//! needs. Field numbers and kinds are never given a second meaning; golden files watch over it.
//! Fields that a build does not know are skipped, kinds that it does not know are refused.

pub(crate) mod batch;
pub(crate) mod command;
pub(crate) mod gate;
pub(crate) mod list;
pub(crate) mod partition;
pub(crate) mod peer;
pub(crate) mod quarantine;
pub(crate) mod record;
pub(crate) mod reply;
pub(crate) mod site;
pub(crate) mod sweep;
pub(crate) mod view;
pub(crate) mod word;

#[cfg(test)]
pub(crate) mod arbitrary;
#[cfg(test)]
mod tests;
