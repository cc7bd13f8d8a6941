//! Protocol buffers that keep the fields which a newer version added.
//!
//! A derived message skips the fields that it does not know, so that what reads a record and writes
//! it again loses what a newer version said in it. [`Kept`] puts them aside as they came and writes
//! them again behind the known ones. It nests: each level of a message keeps its own.
//!
//! Groups, which nobody writes any more, are skipped all the same.

use bytes::{Buf, BufMut, Bytes};
use prost::encoding::{self, DecodeContext, WireType};
use prost::{DecodeError, Message};

/// A message whose fields have the numbers from 1 to [`Fields::LAST`]: what lies beyond is newer.
pub trait Fields: Message {
    /// The highest number of a field that this build knows.
    const LAST: u32;
}

/// A message, and the fields beside it that this build does not know.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept<M> {
    /// What is known.
    pub known: M,
    /// What is not, each field behind its key, in the order in which they came.
    pub newer: Vec<u8>,
}

impl<M> Kept<M> {
    /// The two parts; `newer` takes no memory when it is empty.
    #[must_use]
    pub fn into_parts(self) -> (M, Bytes) {
        (self.known, self.newer.into())
    }
}

impl<M: Fields> Message for Kept<M> {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        self.known.encode_raw(buf);
        buf.put_slice(&self.newer);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        if tag <= M::LAST {
            return self.known.merge_field(tag, wire_type, buf, ctx);
        }
        let out = &mut self.newer;
        match wire_type {
            WireType::Varint => {
                let mut value = 0;
                encoding::uint64::merge(wire_type, &mut value, buf, ctx)?;
                encoding::uint64::encode(tag, &value, out);
            }
            WireType::SixtyFourBit => {
                let mut value = 0;
                encoding::fixed64::merge(wire_type, &mut value, buf, ctx)?;
                encoding::fixed64::encode(tag, &value, out);
            }
            WireType::ThirtyTwoBit => {
                let mut value = 0;
                encoding::fixed32::merge(wire_type, &mut value, buf, ctx)?;
                encoding::fixed32::encode(tag, &value, out);
            }
            WireType::LengthDelimited => {
                let mut value = Bytes::new();
                encoding::bytes::merge(wire_type, &mut value, buf, ctx)?;
                encoding::bytes::encode(tag, &value, out);
            }
            WireType::StartGroup | WireType::EndGroup => {
                encoding::skip_field(wire_type, tag, buf, ctx)?;
            }
        }
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        self.known.encoded_len() + self.newer.len()
    }

    fn clear(&mut self) {
        self.known.clear();
        self.newer.clear();
    }
}

#[cfg(test)]
mod tests;
