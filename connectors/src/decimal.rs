//! Decimals from text, exactly.

/// A decimal text as its unscaled value, if it has no more than `scale` decimals
/// (trailing zeros aside) and `precision` digits.
pub fn parse_decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
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
    let mut value: i128 = 0;
    for byte in whole.bytes().chain(fraction.bytes()) {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(i128::from(byte - b'0'))?;
    }
    for _ in fraction.len()..scale {
        value = value.checked_mul(10)?;
    }
    let limit = 10_i128.checked_pow(u32::from(precision))?;
    (value < limit).then_some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact_or_refused() {
        let cases = [
            ("1.1", 10, 2, Some(110)),
            ("-0.05", 10, 2, Some(-5)),
            ("7", 10, 2, Some(700)),
            ("1.100", 10, 2, Some(110)),
            ("1.105", 10, 2, None),
            ("100000000", 10, 2, None),
            ("99999999.99", 10, 2, Some(9_999_999_999)),
            ("", 10, 2, None),
            (".5", 10, 2, None),
            ("1e3", 10, 2, None),
            ("abc", 10, 2, None),
        ];
        for (text, precision, scale, expected) in cases {
            assert_eq!(parse_decimal(text, precision, scale), expected, "{text}");
        }
    }
}
