//! Round trips, streams cut anywhere, and hostile bytes.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::wire::arbitrary;

mod golden;

const MAX: usize = 1 << 20;

fn tier_bytes(frames: &[TierFrame]) -> BytesMut {
    let mut out = BytesMut::new();
    frames.iter().for_each(|frame| frame.encode_into(&mut out));
    out
}

fn drain<F: Frame>(decoder: &mut Decoder<F>) -> Result<Vec<F>, FrameError> {
    let mut frames = Vec::new();
    while let Some(frame) = decoder.poll()? {
        frames.push(frame);
    }
    Ok(frames)
}

fn first_error<F: Frame>(bytes: &[u8], frame_bytes_max: usize) -> Option<FrameError> {
    let mut decoder = Decoder::<F>::new(frame_bytes_max);
    decoder.push(bytes);
    drain(&mut decoder).err()
}

proptest! {
    #[test]
    fn tier_frames_are_read_back_as_written(
        frames in vec(arbitrary::tier_frame(), 1..6),
        cut in 1_usize..200,
    ) {
        let mut decoder = Decoder::<TierFrame>::new(MAX);
        let mut read = Vec::new();
        for piece in tier_bytes(&frames).chunks(cut) {
            decoder.push(piece);
            read.extend(drain(&mut decoder).expect("our own frames"));
        }
        prop_assert_eq!(decoder.finish(), Ok(()));
        prop_assert_eq!(read, frames);
    }

    #[test]
    fn site_frames_are_read_back_as_written(frame in arbitrary::site_frame()) {
        let mut out = BytesMut::new();
        frame.encode_into(&mut out);
        let mut decoder = Decoder::<SiteFrame>::new(MAX);
        decoder.push(&out);
        prop_assert_eq!(decoder.poll(), Ok(Some(frame)));
        prop_assert_eq!(decoder.poll(), Ok(None));
    }

    #[test]
    fn a_truncated_frame_is_never_a_word(
        frame in arbitrary::tier_frame(),
        end in any::<prop::sample::Index>(),
    ) {
        let bytes = tier_bytes(&[frame]);
        let end = end.index(bytes.len() - 1) + 1;
        let mut decoder = Decoder::<TierFrame>::new(MAX);
        decoder.push(&bytes[..end]);
        if end < bytes.len() {
            prop_assert_eq!(decoder.poll(), Ok(None));
            prop_assert_eq!(decoder.finish(), Err(FrameError::Truncated));
        }
    }

    #[test]
    fn random_bytes_are_refused_and_hold_no_memory(bytes in vec(any::<u8>(), 0..2000)) {
        let mut tier = Decoder::<TierFrame>::new(MAX);
        tier.push(&bytes);
        prop_assert!(tier.held_bytes() <= AT_ONCE_MAX + bytes.len());
        let _ = drain(&mut tier);
        let mut site = Decoder::<SiteFrame>::new(MAX);
        site.push(&bytes);
        prop_assert!(site.held_bytes() <= AT_ONCE_MAX + bytes.len());
        let _ = drain(&mut site);
    }

    #[test]
    fn a_random_body_behind_a_sound_header_is_a_word_or_an_error(
        kind in TIER_HELLO..=TIER_VIEW,
        body in vec(any::<u8>(), 0..300),
    ) {
        let _ = TierFrame::decode(kind, Bytes::from(body.clone()));
        let _ = SiteFrame::decode(SITE_WORD, Bytes::from(body));
    }

    #[test]
    fn a_changed_byte_is_a_word_or_an_error(
        frame in arbitrary::tier_frame(),
        place in any::<prop::sample::Index>(),
        change in 1_u8..,
    ) {
        let mut bytes = tier_bytes(&[frame]);
        let place = place.index(bytes.len());
        bytes[place] ^= change;
        let mut decoder = Decoder::<TierFrame>::new(MAX);
        decoder.push(&bytes);
        let _ = drain(&mut decoder);
    }
}

#[test]
fn a_length_of_two_to_the_63_is_refused_without_memory() {
    let mut decoder = Decoder::<TierFrame>::new(MAX);
    decoder.push(&[FRAME_VERSION, TIER_COMMAND, 0x80, 0, 0, 0, 0, 0, 0, 0]);
    let error = FrameError::TooLong { bytes: 1 << 31, bytes_max: MAX };
    assert_eq!(decoder.held_bytes(), 0);
    assert_eq!(decoder.poll(), Err(error.clone()));
    // What comes after it is not even looked at.
    decoder.push(&tier_bytes(&[TierFrame::Engine(EngineWord::BatchDeferred { id: 1 })]));
    assert_eq!(decoder.poll(), Err(error.clone()));
    assert_eq!(decoder.finish(), Err(error));
    // The same number where a stream of another protocol would put it.
    let version = FrameError::UnknownVersion { version: 0x80 };
    assert_eq!(first_error::<TierFrame>(&(1_u64 << 63).to_be_bytes(), MAX), Some(version));
}

#[test]
fn an_announced_length_is_not_allocated_before_its_bytes_come() {
    let mut decoder = Decoder::<TierFrame>::new(256 << 20);
    decoder.push(&[FRAME_VERSION, TIER_COMMAND, 0x0f, 0, 0, 0, 1, 2, 3]);
    assert_eq!(decoder.poll(), Ok(None));
    assert!(decoder.held_bytes() <= 2 * AT_ONCE_MAX, "{}", decoder.held_bytes());
}

#[test]
fn other_protocols_and_versions_are_refused_at_their_first_byte() {
    for hostile in [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x03\x01", b"INVITE sip:a@b SIP/2.0", b"\0"] {
        let version = FrameError::UnknownVersion { version: hostile[0] };
        assert_eq!(first_error::<TierFrame>(hostile, MAX), Some(version.clone()));
        assert_eq!(first_error::<SiteFrame>(&hostile[..1], MAX), Some(version));
    }
}

#[test]
fn a_link_to_the_wrong_port_is_refused_at_its_first_word() {
    let mut site = BytesMut::new();
    SiteFrame(SiteWord::KeysetAsk { cursor: None }).encode_into(&mut site);
    let unknown = |kind| Some(FrameError::UnknownKind { kind });
    assert_eq!(first_error::<TierFrame>(&site, MAX), unknown(SITE_WORD));
    let tier = tier_bytes(&[TierFrame::Engine(EngineWord::BatchDeferred { id: 1 })]);
    assert_eq!(first_error::<SiteFrame>(&tier, MAX), unknown(TIER_ENGINE));
}

#[test]
fn frames_before_a_broken_one_are_still_given() {
    let good = TierFrame::Engine(EngineWord::BatchDeferred { id: 7 });
    let mut bytes = tier_bytes(&[good.clone(), good.clone()]);
    bytes.put_slice(b"\xff");
    let mut decoder = Decoder::<TierFrame>::new(MAX);
    decoder.push(&bytes);
    assert_eq!(decoder.poll(), Ok(Some(good.clone())));
    assert_eq!(decoder.poll(), Ok(Some(good)));
    assert_eq!(decoder.poll(), Err(FrameError::UnknownVersion { version: 0xff }));
}

#[test]
fn an_empty_body_is_an_error_of_its_word() {
    let error = FrameError::Body(DecodeError::Unknown { what: "engine word", value: 0 });
    assert_eq!(
        first_error::<TierFrame>(&[FRAME_VERSION, TIER_ENGINE, 0, 0, 0, 0], MAX),
        Some(error)
    );
}

#[test]
fn a_long_name_is_clipped_on_its_way_out_and_refused_on_its_way_in() {
    let role = EngineId(1);
    let frame = TierFrame::Hello { role, name: "é".repeat(200), version: 1, dictionary: 0 };
    let mut decoder = Decoder::<TierFrame>::new(MAX);
    decoder.push(&tier_bytes(&[frame]));
    let clipped = TierFrame::Hello { role, name: "é".repeat(127), version: 1, dictionary: 0 };
    assert_eq!(decoder.poll(), Ok(Some(clipped)));
    let mut long = BytesMut::new();
    write(
        TIER_HELLO,
        &Hello { role: 1, name: "x".repeat(256), version: 1, partition: None, dictionary: 0 },
        &mut long,
    );
    let error = DecodeError::OutOfRange { what: "length of a name", value: 256 };
    assert_eq!(first_error::<TierFrame>(&long, MAX), Some(FrameError::Body(error)));
}

#[test]
fn the_sections_of_a_put_share_the_memory_of_their_frame() {
    let bytes = tier_bytes(&[golden::put()]).split_off(HEADER).freeze();
    let range = bytes.as_ptr_range();
    let TierFrame::Command { command: Command::Put { record, .. }, .. } =
        TierFrame::decode(TIER_COMMAND, bytes.clone()).expect("our own frame")
    else {
        panic!("not the put that was written");
    };
    assert!(range.contains(&record.crossing.as_ptr()));
    assert!(range.contains(&record.local.as_ptr()));
}
