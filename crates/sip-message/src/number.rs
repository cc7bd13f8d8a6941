//! Decimal numbers as messages have them, printed without an allocation.
//!
//! Reading them is in `grammar`.

use bytes::BytesMut;

/// Digits of the largest number.
const DIGITS_MAX: usize = 20;

/// Appends `number`.
pub(crate) fn print_number(mut number: u64, out: &mut BytesMut) {
    let mut digits = [0u8; DIGITS_MAX];
    let mut at = DIGITS_MAX;
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_printed() {
        for number in [0, 9, 10, 255, 5060, 65_535, u64::from(u32::MAX), u64::MAX] {
            let mut out = BytesMut::new();
            print_number(number, &mut out);
            assert_eq!(out, number.to_string().as_bytes());
        }
    }
}
