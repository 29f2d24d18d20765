//! PostgreSQL's binary `numeric` into a scaled integer, without rounding.
//!
//! Layout (`numeric_send`, src/backend/utils/adt/numeric.c): four 16-bit words
//! `ndigits, weight, sign, dscale`, then `ndigits` base-10000 digits; the value
//! is the sum of `digit[i] * 10000^(weight - i)`.

use super::Problem;
use crate::decimal::Unscaled;

const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;
const NOT_A_NUMBER: u16 = 0xC000;
const POSITIVE_INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;

const POWERS_OF_TEN: [u64; 20] = {
    let mut powers = [1_u64; 20];
    let mut exponent = 1;
    while exponent < powers.len() {
        powers[exponent] = powers[exponent - 1] * 10;
        exponent += 1;
    }
    powers
};

/// A decimal of at most 38 digits, as a column has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decimal {
    precision: u8,
    scale: i32,
    /// The first magnitude with more digits, or what 64 bits hold.
    limit: u64,
}

impl Decimal {
    pub(super) fn new(precision: u8, scale: i8) -> Self {
        Self {
            precision,
            scale: i32::from(scale),
            limit: POWERS_OF_TEN
                .get(usize::from(precision))
                .copied()
                .unwrap_or(u64::MAX),
        }
    }

    /// As [`unscaled`].
    #[inline]
    pub(super) fn unscaled(&self, bytes: &[u8]) -> Result<i128, Problem> {
        match self.short(bytes) {
            Some(value) => Ok(i128::from(value)),
            None => unscaled(bytes, self.precision, self.scale),
        }
    }

    /// The value if it is an ordinary number of few digits; whatever else it is, or
    /// is wrong with it, takes the long way.
    #[inline]
    fn short(&self, bytes: &[u8]) -> Option<i64> {
        let (&[d0, d1, w0, w1, s0, s1, _, _], digits) = bytes.split_first_chunk::<8>()?;
        let (groups, []) = digits.as_chunks::<2>() else {
            return None;
        };
        let digit = |group: &[u8; 2]| u64::from(u16::from_be_bytes(*group));
        let two = |a, b| digit(a) * 10_000 + digit(b);
        let larger = |a, b| digit(a).max(digit(b));
        // No loop: how many there are is mostly the same as before.
        let (sum, largest) = match groups {
            [] => (0, 0),
            [a] => (digit(a), digit(a)),
            [a, b] => (two(a, b), larger(a, b)),
            [a, b, c] => (two(a, b) * 10_000 + digit(c), larger(a, b).max(digit(c))),
            [a, b, c, d] => (
                two(a, b) * 100_000_000 + two(c, d),
                larger(a, b).max(larger(c, d)),
            ),
            _ => return None,
        };
        let count = usize::from(u16::from_be_bytes([d0, d1]));
        if count != groups.len() || largest > 9999 {
            return None;
        }
        let weight = i32::from(i16::from_be_bytes([w0, w1]));
        // The power of ten of the last digit, in units of the scale.
        let exponent = (weight + 1 - count as i32) * 4 + self.scale;
        // Constants, as dividing by one is a multiplication.
        let exact = |quotient: u64, rest: u64| (rest == 0).then_some(quotient);
        let magnitude = match exponent {
            0 => sum,
            -1 => exact(sum / 10, sum % 10)?,
            -2 => exact(sum / 100, sum % 100)?,
            -3 => exact(sum / 1000, sum % 1000)?,
            1.. => sum.checked_mul(*POWERS_OF_TEN.get(exponent as usize)?)?,
            _ => return None,
        };
        if magnitude >= self.limit {
            return None;
        }
        let magnitude = i64::try_from(magnitude).ok()?;
        match u16::from_be_bytes([s0, s1]) {
            POSITIVE => Some(magnitude),
            NEGATIVE => Some(-magnitude),
            _ => None,
        }
    }
}

fn word(bytes: &[u8], index: usize) -> Option<u16> {
    let at = index * 2;
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// The value times 10^scale. Refused, never rounded: digits below the scale,
/// more digits than the precision, NaN, infinities.
pub(super) fn unscaled<T: Unscaled>(bytes: &[u8], precision: u8, scale: i32) -> Result<T, Problem> {
    let malformed = || Problem::Malformed("numeric");
    let digits = usize::from(word(bytes, 0).ok_or_else(malformed)?);
    let weight = i32::from(word(bytes, 1).ok_or_else(malformed)? as i16);
    let sign = word(bytes, 2).ok_or_else(malformed)?;
    match sign {
        POSITIVE | NEGATIVE => {}
        NOT_A_NUMBER => return Err(Problem::NotANumber),
        POSITIVE_INFINITY | NEGATIVE_INFINITY => return Err(Problem::Infinity("numeric")),
        _ => return Err(malformed()),
    }
    if bytes.len() != 8 + digits * 2 {
        return Err(malformed());
    }
    let misfit = || Problem::NumericMisfit { precision, scale };
    let mut sum = T::ZERO;
    // The power of ten of the last group taken into the sum.
    let mut exponent = 0;
    for index in 0..digits {
        let digit = word(bytes, 4 + index).ok_or_else(malformed)?;
        if digit > 9999 {
            return Err(malformed());
        }
        let group = (weight - index as i32) * 4 + scale;
        if group >= 0 {
            exponent = group;
            sum = sum
                .times_ten_to(4)
                .and_then(|sum| sum.plus(T::from_digits(digit.into())))
                .ok_or_else(misfit)?;
        } else {
            // Only the leading digits of this group are above the scale; what
            // is below must be zero.
            exponent = 0;
            let below = (-group) as u32;
            let kept = 4_u32.saturating_sub(below);
            let divisor = 10_u16.checked_pow(below.min(4)).ok_or_else(malformed)?;
            if digit % divisor != 0 {
                return Err(misfit());
            }
            sum = sum
                .times_ten_to(kept)
                .and_then(|sum| sum.plus(T::from_digits((digit / divisor).into())))
                .ok_or_else(misfit)?;
        }
    }
    if sum > T::ZERO && exponent > 0 {
        sum = sum.times_ten_to(exponent as u32).ok_or_else(misfit)?;
    }
    if T::limit(precision).is_some_and(|limit| sum >= limit) {
        return Err(misfit());
    }
    Ok(if sign == NEGATIVE { sum.negated() } else { sum })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::i256;
    use proptest::prelude::*;

    /// What `numeric_send` writes for a decimal text such as `-12.30`.
    pub(crate) fn encode(text: &str) -> Vec<u8> {
        let (sign, digits) = match text.strip_prefix('-') {
            Some(rest) => (NEGATIVE, rest),
            None => (POSITIVE, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let whole_width = whole.len().div_ceil(4) * 4;
        let fraction_width = fraction.len().div_ceil(4) * 4;
        let padded = format!("{whole:0>whole_width$}{fraction:0<fraction_width$}");
        let mut groups: Vec<u16> = padded
            .as_bytes()
            .chunks(4)
            .map(|group| std::str::from_utf8(group).unwrap().parse().unwrap())
            .collect();
        let mut weight = (whole_width / 4) as i16 - 1;
        while groups.first() == Some(&0) {
            groups.remove(0);
            weight -= 1;
        }
        while groups.last() == Some(&0) {
            groups.pop();
        }
        if groups.is_empty() {
            weight = 0;
        }
        let mut bytes = Vec::new();
        bytes.extend((groups.len() as u16).to_be_bytes());
        bytes.extend(weight.to_be_bytes());
        bytes.extend(sign.to_be_bytes());
        bytes.extend((fraction.len() as u16).to_be_bytes());
        for group in groups {
            bytes.extend(group.to_be_bytes());
        }
        bytes
    }

    #[test]
    fn known_values() {
        let nines = "9".repeat(38);
        let small = format!("0.{}", "9".repeat(38));
        let cases: [(&str, u8, i32, i128); 12] = [
            ("0", 5, 2, 0),
            ("0.00", 5, 2, 0),
            ("1", 5, 2, 100),
            ("-1.5", 5, 2, -150),
            ("123.45", 5, 2, 12345),
            ("10000", 9, 0, 10000),
            ("100000000.0001", 13, 4, 1_000_000_000_001),
            ("0.00012", 10, 5, 12),
            ("0.00000001", 10, 8, 1),
            (&nines, 38, 0, 10_i128.pow(38) - 1),
            (&small, 38, 38, 10_i128.pow(38) - 1),
            (
                "99999999999999999999999999999999999.999",
                38,
                3,
                10_i128.pow(38) - 1,
            ),
        ];
        for (text, precision, scale, expected) in cases {
            assert_eq!(
                unscaled::<i128>(&encode(text), precision, scale),
                Ok(expected),
                "{text}"
            );
        }
    }

    #[test]
    fn misfits_are_refused() {
        for (text, precision, scale) in [
            ("1.234", 10, 2),
            ("0.00001", 10, 4),
            ("1000", 3, 0),
            ("100", 5, 3),
            ("100000000000000000000000000000000000000000000", 38, 0),
        ] {
            assert_eq!(
                unscaled::<i128>(&encode(text), precision, scale),
                Err(Problem::NumericMisfit { precision, scale }),
                "{text}"
            );
        }
    }

    #[test]
    fn special_values_are_named() {
        let special = |sign: u16| {
            let mut bytes = vec![0, 0, 0, 0];
            bytes.extend(sign.to_be_bytes());
            bytes.extend([0, 0]);
            unscaled::<i128>(&bytes, 10, 2)
        };
        assert_eq!(special(NOT_A_NUMBER), Err(Problem::NotANumber));
        assert_eq!(special(POSITIVE_INFINITY), Err(Problem::Infinity("numeric")));
        assert_eq!(special(NEGATIVE_INFINITY), Err(Problem::Infinity("numeric")));
        assert_eq!(special(0x1234), Err(Problem::Malformed("numeric")));
        assert_eq!(
            unscaled::<i128>(&[0, 1], 10, 2),
            Err(Problem::Malformed("numeric"))
        );
    }

    proptest! {
        #[test]
        fn every_decimal_survives(
            value in -(10_i128.pow(38) - 1)..10_i128.pow(38),
            scale in 0_usize..=38,
        ) {
            let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
            let (whole, fraction) = digits.split_at(digits.len() - scale);
            let sign = if value < 0 { "-" } else { "" };
            let text = if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") };
            let bytes = encode(&text);
            prop_assert_eq!(unscaled::<i128>(&bytes, 38, scale as i32), Ok(value));
            prop_assert_eq!(unscaled::<i256>(&bytes, 76, scale as i32), Ok(i256::from_i128(value)));
        }

        #[test]
        fn the_short_way_agrees_with_the_long(
            value in -(10_i128.pow(17))..10_i128.pow(17),
            zeros in 0_u32..17,
            decimals in 0_usize..=18,
            precision in 1_u8..=38,
            scale in 0_i8..=18,
        ) {
            let value = value / 10_i128.pow(zeros);
            let digits = format!("{:0>width$}", value.unsigned_abs(), width = decimals + 1);
            let (whole, fraction) = digits.split_at(digits.len() - decimals);
            let sign = if value < 0 { "-" } else { "" };
            let bytes = encode(&format!("{sign}{whole}.{fraction}"));
            prop_assert_eq!(
                Decimal::new(precision, scale).unscaled(&bytes),
                unscaled::<i128>(&bytes, precision, scale.into())
            );
        }

        #[test]
        fn the_short_way_agrees_on_arbitrary_bytes(
            digits in proptest::collection::vec(0_u16..10_100, 0..6),
            weight in -6_i16..6,
            sign in prop_oneof![Just(POSITIVE), Just(NEGATIVE), Just(NOT_A_NUMBER), any::<u16>()],
            precision in 1_u8..=38,
            scale in 0_i8..=38,
        ) {
            let mut bytes = (digits.len() as u16).to_be_bytes().to_vec();
            bytes.extend(weight.to_be_bytes());
            bytes.extend(sign.to_be_bytes());
            bytes.extend([0, 0]);
            for digit in digits { bytes.extend(digit.to_be_bytes()); }
            prop_assert_eq!(
                Decimal::new(precision, scale).unscaled(&bytes),
                unscaled::<i128>(&bytes, precision, scale.into())
            );
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40), scale in 0_i32..=38) {
            let _ = unscaled::<i128>(&bytes, 38, scale);
            let _ = unscaled::<i256>(&bytes, 76, scale);
        }
    }
}
