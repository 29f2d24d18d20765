//! Decimals from text, exactly.

use arrow::datatypes::i256;

/// An integer wide enough for a decimal's unscaled value.
pub(crate) trait Unscaled: Copy + PartialOrd {
    const ZERO: Self;
    fn from_digits(digits: u64) -> Self;
    fn times_ten_to(self, exponent: u32) -> Option<Self>;
    fn plus(self, other: Self) -> Option<Self>;
    fn negated(self) -> Self;
    /// 10^precision, the first magnitude that no longer fits.
    fn limit(precision: u8) -> Option<Self>;
}

impl Unscaled for i128 {
    const ZERO: Self = 0;

    fn from_digits(digits: u64) -> Self {
        Self::from(digits)
    }

    fn times_ten_to(self, exponent: u32) -> Option<Self> {
        self.checked_mul(10_i128.checked_pow(exponent)?)
    }

    fn plus(self, other: Self) -> Option<Self> {
        self.checked_add(other)
    }

    fn negated(self) -> Self {
        -self
    }

    fn limit(precision: u8) -> Option<Self> {
        10_i128.checked_pow(u32::from(precision))
    }
}

impl Unscaled for i256 {
    const ZERO: Self = i256::ZERO;

    fn from_digits(digits: u64) -> Self {
        i256::from_i128(i128::from(digits))
    }

    fn times_ten_to(self, exponent: u32) -> Option<Self> {
        self.checked_mul(i256::from_i128(10).checked_pow(exponent)?)
    }

    fn plus(self, other: Self) -> Option<Self> {
        self.checked_add(other)
    }

    fn negated(self) -> Self {
        self.wrapping_neg()
    }

    fn limit(precision: u8) -> Option<Self> {
        i256::from_i128(10).checked_pow(u32::from(precision))
    }
}

/// Digits that always fit a 64-bit integer.
const CHUNK_DIGITS: usize = 18;

/// A decimal text as its unscaled value, if it has no more than `scale` decimals
/// (trailing zeros aside) and `precision` digits.
pub(crate) fn parse_decimal<T: Unscaled>(text: &str, precision: u8, scale: i8) -> Option<T> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    let scale = usize::from(scale.unsigned_abs());
    if whole.is_empty() || fraction.len() > scale {
        return None;
    }
    // Leading zeros are no digits of the number.
    let whole = whole.trim_start_matches('0');
    let mut value = append_digits(T::ZERO, whole.as_bytes())?;
    value = append_digits(value, fraction.as_bytes())?;
    if value > T::ZERO {
        // The difference is at most the scale, an i8.
        value = value.times_ten_to((scale - fraction.len()) as u32)?;
    }
    if T::limit(precision).is_some_and(|limit| value >= limit) {
        return None;
    }
    Some(if negative { value.negated() } else { value })
}

/// The number with these decimal digits written after it.
fn append_digits<T: Unscaled>(mut value: T, digits: &[u8]) -> Option<T> {
    for chunk in digits.chunks(CHUNK_DIGITS) {
        let mut part: u64 = 0;
        for byte in chunk {
            if !byte.is_ascii_digit() {
                return None;
            }
            part = part * 10 + u64::from(byte - b'0');
        }
        if value > T::ZERO {
            value = value.times_ten_to(chunk.len() as u32)?;
        }
        value = value.plus(T::from_digits(part))?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimals_are_exact_or_refused() {
        let nines = "9".repeat(38);
        let cases = [
            ("1.1", 10, 2, Some(110)),
            ("-0.05", 10, 2, Some(-5)),
            ("7", 10, 2, Some(700)),
            ("1.100", 10, 2, Some(110)),
            ("1.105", 10, 2, None),
            ("100000000", 10, 2, None),
            ("99999999.99", 10, 2, Some(9_999_999_999)),
            ("0", 10, 2, Some(0)),
            ("-0.00", 10, 2, Some(0)),
            ("000012.50", 10, 2, Some(1250)),
            (&nines, 38, 0, Some(10_i128.pow(38) - 1)),
            ("", 10, 2, None),
            (".5", 10, 2, None),
            ("1e3", 10, 2, None),
            ("abc", 10, 2, None),
        ];
        for (text, precision, scale, expected) in cases {
            assert_eq!(parse_decimal::<i128>(text, precision, scale), expected, "{text}");
        }
        let long = format!("-{}.{}", "9".repeat(35), "9".repeat(30));
        let expected = i256::from_string(&format!("-{}", "9".repeat(65)));
        assert_eq!(parse_decimal::<i256>(&long, 65, 30), expected);
        assert_eq!(parse_decimal::<i128>(&long, 38, 30), None);
    }

    proptest! {
        #[test]
        fn every_decimal_survives(value in -(10_i128.pow(38) - 1)..10_i128.pow(38), scale in 0_i8..=38) {
            let width = usize::from(scale.unsigned_abs());
            let digits = format!("{:0>width$}", value.unsigned_abs(), width = width + 1);
            let (whole, fraction) = digits.split_at(digits.len() - width);
            let sign = if value < 0 { "-" } else { "" };
            let text = format!("{sign}{whole}.{fraction}");
            prop_assert_eq!(parse_decimal::<i128>(&text, 38, scale), Some(value));
            prop_assert_eq!(parse_decimal::<i256>(&text, 65, scale), Some(i256::from_i128(value)));
        }

        #[test]
        fn arbitrary_text_never_panics(text in ".{0,90}", precision in 0_u8..=76, scale in 0_i8..=76) {
            let _ = parse_decimal::<i128>(&text, precision, scale);
            let _ = parse_decimal::<i256>(&text, precision, scale);
        }
    }
}
