//! Round trips, damage, bombs, and the size of a call.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use vocab::{Epoch, LockToken, SiteId, Version, ViewNumber};

use super::*;
use crate::record::{Hint, RecordHeader};
use crate::wire::arbitrary;

const MAX: usize = 1 << 20;

proptest! {
    #[test]
    fn a_batch_is_read_back_as_written(entries in vec(arbitrary::entry(), 0..8)) {
        prop_assert_eq!(decode(&encode(&entries), MAX), Ok(entries));
    }

    #[test]
    fn no_changed_byte_goes_unseen(
        entries in vec(arbitrary::entry(), 1..4),
        place in any::<prop::sample::Index>(),
        change in 1_u8..,
    ) {
        let mut bytes = encode(&entries).to_vec();
        let place = place.index(bytes.len());
        bytes[place] ^= change;
        prop_assert!(decode(&Bytes::from(bytes), MAX).is_err());
    }

    #[test]
    fn no_shortened_batch_is_read(
        entries in vec(arbitrary::entry(), 1..4),
        end in any::<prop::sample::Index>(),
    ) {
        let bytes = encode(&entries);
        prop_assert!(decode(&bytes.slice(..end.index(bytes.len())), MAX).is_err());
    }

    #[test]
    fn sealed_nonsense_is_an_error(content in vec(any::<u8>(), 1..300)) {
        let batch = seal(METHOD_ZSTD, 1000, &content);
        prop_assert_eq!(decode(&batch, MAX), Err(BatchError::Inflate));
        // As entries it may be anything, but it never panics.
        let _ = decode(&seal(METHOD_AS_IS, content.len() as u64, &content), MAX);
    }
}

#[test]
fn a_bomb_is_refused_before_it_is_inflated() {
    let zeroes = vec![0; 64 << 20];
    let bomb = zstd::bulk::compress(&zeroes, ZSTD_LEVEL).expect("zeroes compress");
    assert!(bomb.len() < 16 << 10, "{}", bomb.len());
    let honest = seal(METHOD_ZSTD, zeroes.len() as u64, &bomb);
    let bytes = zeroes.len() as u64;
    assert_eq!(decode(&honest, MAX), Err(BatchError::TooLarge { bytes, bytes_max: MAX }));
    // One that lies about its size stops at the end of the room that it asked for.
    assert_eq!(decode(&seal(METHOD_ZSTD, 1000, &bomb), MAX), Err(BatchError::Inflate));
    let endless = seal(METHOD_ZSTD, 1 << 63, &bomb);
    let bytes = 1 << 63;
    assert_eq!(decode(&endless, MAX), Err(BatchError::TooLarge { bytes, bytes_max: MAX }));
}

#[test]
fn a_batch_exactly_at_the_bound_is_read() {
    let entries = [Entry::Record(call(1))];
    let batch = encode(&entries);
    let raw = usize::try_from((&batch[13..21]).get_u64()).expect("a small length");
    assert_eq!(decode(&batch, raw), Ok(entries.to_vec()));
    let beyond = BatchError::TooLarge { bytes: raw as u64, bytes_max: raw - 1 };
    assert_eq!(decode(&batch, raw - 1), Err(beyond));
}

#[test]
fn other_versions_and_methods_are_refused_by_name() {
    assert_eq!(decode(&Bytes::new(), MAX), Err(BatchError::NotABatch));
    assert_eq!(decode(&Bytes::from(vec![b'{'; 100]), MAX), Err(BatchError::NotABatch));
    let mut old = encode(&[]).to_vec();
    old[3] = 0;
    assert_eq!(decode(&Bytes::from(old), MAX), Err(BatchError::UnknownVersion { version: 0 }));
    assert_eq!(decode(&seal(7, 0, b""), MAX), Err(BatchError::UnknownMethod { method: 7 }));
}

#[test]
fn a_hostile_list_ends_at_its_first_entry() {
    let nothing = vec![0; 100_000];
    let why = DecodeError::Missing { what: "record or tombstone" };
    let batch = seal(METHOD_AS_IS, 100_000, &nothing);
    assert_eq!(decode(&batch, MAX), Err(BatchError::Entry { index: 0, why }));
}

#[test]
fn similar_calls_side_by_side_cost_less_than_a_kibibyte() {
    let calls: Vec<_> = (0..100).map(|n| Entry::Record(call(n))).collect();
    let raw: usize = calls.len() * call(1).body_bytes();
    let batch = encode(&calls);
    assert!(batch.len() < raw / 3, "{} of {raw}", batch.len());
    assert!(batch.len() / calls.len() < 512, "{}", batch.len() / calls.len());
}

/// A call with a section as long as that of two dialogs, half of it the same in every call.
fn call(n: u64) -> Record {
    let unlike = |salt: u64| checksum(0, n ^ salt << 32, b"tag");
    let mut crossing = String::new();
    for leg in 0..2 {
        let (tag, id) = (unlike(leg), unlike(leg + 7));
        crossing.push_str(&format!(
            "sip:alice{n}@atlanta.example.com;tag={tag:016x} Call-ID {id:016x}@192.0.2.{leg} \
             <sip:edge.site1.example.net;lr;t=0123456789abcdef0123456789abcdef0123456789> \
             <sip:bob@client.biloxi.example.com:5060;transport=udp> CSeq {n} INVITE application \
             proxy session expires 1800 refresher uac supported timer replaces 100rel allow \
             INVITE ACK CANCEL OPTIONS BYE REFER NOTIFY ",
        ));
    }
    let stamp = Stamp {
        epoch: Epoch { n: 65_536, site: SiteId(1) },
        token: LockToken { view: ViewNumber(1), counter: n },
        version: Version(3),
    };
    let header = RecordHeader {
        key: CallKey((u128::from(unlike(1)) << 64 | u128::from(unlike(2))).to_be_bytes()),
        stamp,
        origin: SiteId(1),
        backup: Some(SiteId(2)),
        schema: 1,
        age: Duration::from_millis(100 + n),
        deadline: Some(Duration::from_secs(1800)),
        crossing_deadline: Some(Duration::from_secs(1800)),
        hints: vec![(1, Hint::Steady)],
        crossed: Vec::new(),
        newer: None,
    };
    Record { header, crossing: Bytes::from(crossing), local: Bytes::new() }
}

/// Three entries, of which the second has no stamp.
fn with_a_bad_one() -> Bytes {
    let good = |byte: u8| {
        let token = LockToken { view: ViewNumber(1), counter: 1 };
        let stamp = Stamp { epoch: Epoch { n: 1, site: SiteId(1) }, token, version: Version(1) };
        Entry::Tombstone(crate::record::Tombstone { key: CallKey([byte; 16]), stamp })
    };
    let mut bad = entry_bytes(&good(2)).to_vec();
    // The stamp's field of the tombstone becomes one that nobody knows: it has none any more.
    let stamp_at = 2 + 2 + 18;
    assert_eq!(bad[stamp_at], 0x12, "the tag of the stamp");
    bad[stamp_at] = 0x7a;
    encode_raw(&[entry_bytes(&good(1)), bad.into(), entry_bytes(&good(3))])
}

#[test]
fn an_entry_that_makes_no_sense_is_passed_over_with_its_key() {
    let batch = with_a_bad_one();
    assert!(matches!(decode(&batch, MAX), Err(BatchError::Entry { index: 1, .. })));
    let (entries, bad) = decode_each(&batch, MAX).expect("a batch");
    assert_eq!(entries.iter().map(|entry| entry.key().0[0]).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(bad.len(), 1);
    assert_eq!((bad[0].index, bad[0].key), (1, Some(CallKey([2; 16]))));
}

#[test]
fn a_batch_whose_entries_cannot_be_told_apart_is_none() {
    let batch = seal(METHOD_AS_IS, 2, &[5, 1]);
    assert!(matches!(decode_each(&batch, MAX), Err(BatchError::Entry { index: 0, .. })));
    let nonsense = [0_u8; 200];
    let batch = seal(METHOD_AS_IS, nonsense.len() as u64, &nonsense);
    let refused = decode_each(&batch, MAX);
    assert!(matches!(refused, Err(BatchError::Entry { index: BAD_ENTRIES_MAX, .. })));
}

/// D44: a site of this version stores what a newer one sent, and sends it on.
#[test]
fn d44_a_newer_versions_fields_stay_with_the_record() {
    let mut bytes = BytesMut::new();
    call(7).encode(&mut bytes);
    let mut newer = Vec::new();
    prost::encoding::bytes::encode(13, &Bytes::from_static(b"of the header"), &mut newer);
    prost::encoding::uint64::encode(4000, &0, &mut newer);
    bytes.extend_from_slice(&newer);
    let bytes = bytes.freeze();
    let mut record = Record::decode(bytes.clone()).expect("a newer version's record is read");
    let newer = Some(Box::new(Bytes::from(newer)));
    assert_eq!(record.header.newer, newer);
    let mut again = BytesMut::new();
    record.encode(&mut again);
    assert_eq!(again, bytes);
    // What replaces it begins with its header; what crosses is trimmed.
    record.header.stamp.version.0 += 1;
    let entries = [Entry::Record(record.trimmed()), Entry::Record(call(8))];
    let (read, bad) = decode_each(&encode(&entries), MAX).expect("a batch");
    assert_eq!((&read[..], &bad[..]), (&entries[..], &[][..]));
    let Entry::Record(read) = &read[0] else { panic!("a record was sent") };
    assert_eq!(read.header.newer, newer);
}

/// What was kept of the calls that trained the newest dictionary, and of as many others.
fn samples() -> Vec<Entry> {
    let bytes = Bytes::from_static(include_bytes!("../../dictionary/1.samples"));
    decode(&bytes, 16 << 20).expect("the samples are a batch")
}

proptest! {
    #[test]
    fn a_batch_with_a_dictionary_is_read_back_as_written(
        entries in vec(arbitrary::entry(), 0..8),
        reads in any::<u16>(),
    ) {
        let Encoded { bytes, raw_bytes } = encode_for(&entries, reads);
        let lengths: usize = entries.iter().map(|entry| entry_bytes(entry).len()).sum();
        prop_assert!(raw_bytes >= lengths as u64);
        prop_assert!(dictionary_of(&bytes) <= reads.min(dictionary::NEWEST));
        prop_assert_eq!(decode(&bytes, MAX), Ok(entries));
    }

    #[test]
    fn neither_a_changed_nor_a_shortened_batch_with_a_dictionary_is_read(
        place in any::<prop::sample::Index>(),
        change in 1_u8..,
    ) {
        let bytes = encode_for(&samples()[..2], 1).bytes;
        let place = place.index(bytes.len());
        prop_assert!(decode(&bytes.slice(..place), MAX).is_err());
        let mut changed = bytes.to_vec();
        changed[place] ^= change;
        prop_assert!(decode(&Bytes::from(changed), MAX).is_err());
    }

    #[test]
    fn sealed_nonsense_with_a_dictionary_is_an_error(content in vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(decode(&seal_with(1, 1000, &content), MAX), Err(BatchError::Inflate));
    }
}

#[test]
fn a_batch_is_written_with_the_newest_dictionary_that_both_have() {
    let entries = &samples()[..3];
    let number = |reads| dictionary_of(&encode_for(entries, reads).bytes);
    assert_eq!((number(0), number(1), number(u16::MAX)), (0, 1, dictionary::NEWEST));
    // Who reads none gets what was written before there were dictionaries.
    assert_eq!(encode_for(entries, 0).bytes, encode(entries));
    assert_eq!(encode(entries)[4], METHOD_ZSTD);
}

#[test]
fn a_dictionary_that_is_not_here_is_refused_by_its_number() {
    for number in [0, dictionary::NEWEST + 1, u16::MAX] {
        let batch = seal_with(number, 1000, b"content");
        assert_eq!(decode(&batch, MAX), Err(BatchError::UnknownDictionary { number }));
        assert_eq!(decode_each(&batch, MAX), Err(BatchError::UnknownDictionary { number }));
        assert_eq!(dictionary_of(&batch), number);
    }
    assert_eq!(decode(&seal(METHOD_ZSTD_DICTIONARY, 1000, &[0]), MAX), Err(BatchError::Inflate));
    assert_eq!(dictionary_of(&seal(METHOD_ZSTD_DICTIONARY, 1000, &[0])), 0);
    assert_eq!(dictionary_of(b"RHB"), 0);
}

#[test]
fn a_damaged_number_of_a_dictionary_is_damage() {
    let mut bytes = encode_for(&samples()[..2], 1).bytes.to_vec();
    bytes[HEADER + 1] = 2;
    assert_eq!(decode(&Bytes::from(bytes), MAX), Err(BatchError::Damaged));
}

#[test]
fn a_bomb_with_a_dictionary_is_refused_too() {
    let zeroes = vec![0; 64 << 20];
    let bomb = dictionary::compress(1, &zeroes).expect("there is a first dictionary");
    assert!(bomb.len() < 16 << 10, "{}", bomb.len());
    let bytes = zeroes.len() as u64;
    let honest = seal_with(1, bytes, &bomb);
    assert_eq!(decode(&honest, MAX), Err(BatchError::TooLarge { bytes, bytes_max: MAX }));
    assert_eq!(decode(&seal_with(1, 1000, &bomb), MAX), Err(BatchError::Inflate));
}

#[test]
fn a_real_call_costs_less_than_a_kibibyte_alone_and_a_third_with_a_dictionary() {
    // Three of four trained it.
    let unseen: Vec<Entry> = samples().into_iter().skip(3).step_by(4).collect();
    assert!(unseen.len() >= 64, "{}", unseen.len());
    for (size, bytes_max) in [(1, 400), (16, 350), (64, 330)] {
        let batches = unseen.chunks_exact(size);
        let calls = batches.len() * size;
        let [plain, small] = [0, 1].map(|reads| {
            let batches = batches.clone().map(|entries| encode_for(entries, reads).bytes.len());
            batches.sum::<usize>() / calls
        });
        assert!(small <= bytes_max && small < plain && plain < 1024, "{size}: {small}, {plain}");
    }
}

#[test]
fn the_first_dictionary_is_the_one_that_batches_were_written_with() {
    let file = include_bytes!("../../dictionary/1.zdict");
    assert_eq!(checksum(0, file.len() as u64, file), FIRST_DICTIONARY, "it must never change");
}

const FIRST_DICTIONARY: u64 = 9_864_594_752_379_132_920;
