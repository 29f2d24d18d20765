//! Numbers.

use arrow::datatypes::i256;

use super::{invalid, out_of_range};
use crate::error::FederationError;

/// An integer within bounds; `name` is the type's for the message.
///
/// # Errors
/// 22P02, 22003.
pub fn integer(text: &str, least: i64, most: i64, name: &str) -> Result<i64, FederationError> {
    let trimmed = text.trim();
    let (negative, digits) = match trimmed.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, trimmed.strip_prefix('+').unwrap_or(trimmed)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid(name, text));
    }
    let mut value: i128 = 0;
    for byte in digits.bytes() {
        value = value * 10 + i128::from(byte - b'0');
        if value > i128::from(i64::MAX) + 1 {
            return Err(out_of_range(name, text));
        }
    }
    if negative {
        value = -value;
    }
    match i64::try_from(value) {
        Ok(value) if (least..=most).contains(&value) => Ok(value),
        _ => Err(out_of_range(name, text)),
    }
}

/// A `double precision`.
///
/// # Errors
/// 22P02, 22003.
pub fn float8(text: &str) -> Result<f64, FederationError> {
    const NAME: &str = "double precision";
    let trimmed = text.trim();
    if let Some(special) = special(trimmed) {
        return Ok(special);
    }
    if !looks_numeric(trimmed) {
        return Err(invalid(NAME, text));
    }
    let value: f64 = trimmed.parse().map_err(|_| invalid(NAME, text))?;
    if value.is_infinite() || (value == 0.0 && has_nonzero_digit(trimmed)) {
        return Err(float_out_of_range(trimmed, NAME));
    }
    Ok(value)
}

/// A `real`.
///
/// # Errors
/// 22P02, 22003.
pub fn float4(text: &str) -> Result<f32, FederationError> {
    const NAME: &str = "real";
    let trimmed = text.trim();
    if let Some(special) = special(trimmed) {
        return Ok(special as f32);
    }
    if !looks_numeric(trimmed) {
        return Err(invalid(NAME, text));
    }
    let value: f32 = trimmed.parse().map_err(|_| invalid(NAME, text))?;
    if value.is_infinite() || (value == 0.0 && has_nonzero_digit(trimmed)) {
        return Err(float_out_of_range(trimmed, NAME));
    }
    Ok(value)
}

fn float_out_of_range(text: &str, name: &str) -> FederationError {
    crate::error::Cause::OutOfRange {
        message: format!("\"{text}\" is out of range for type {name}"),
    }
    .into()
}

fn special(text: &str) -> Option<f64> {
    match text.to_ascii_lowercase().as_str() {
        "nan" => Some(f64::NAN),
        "inf" | "infinity" | "+inf" | "+infinity" => Some(f64::INFINITY),
        "-inf" | "-infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

fn has_nonzero_digit(text: &str) -> bool {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    mantissa.bytes().any(|byte| matches!(byte, b'1'..=b'9'))
}

/// A sign, digits with at most one point, an exponent: what Rust's parser takes beyond that is no number here.
fn looks_numeric(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    unsigned
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'-' | b'+'))
        && unsigned
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// An exact number as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numeric {
    /// The digits, without the point.
    pub unscaled: i256,
    /// How many of them stand behind the point.
    pub scale: i32,
    /// How many digits there are; at least `scale`.
    pub precision: u32,
}

/// The most digits of any decimal here.
pub const MOST_DIGITS: u32 = 76;

/// A `numeric`, with the scale it is written with.
///
/// # Errors
/// 22P02; 22003 for more than 76 digits, for NaN and for infinity, which no decimal here holds.
pub fn numeric(text: &str) -> Result<Numeric, FederationError> {
    const NAME: &str = "numeric";
    let trimmed = text.trim();
    if special(trimmed).is_some() {
        return Err(crate::error::Cause::OutOfRange {
            message: format!("numeric \"{trimmed}\" has no exact value"),
        }
        .into());
    }
    let wrong = || invalid(NAME, text);
    let (mantissa, exponent) = match trimmed.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => {
            let sign_free = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
            if sign_free.is_empty() || !sign_free.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(wrong());
            }
            (mantissa, exponent.parse::<i32>().map_err(|_| overflow())?)
        }
        None => (trimmed, 0),
    };
    let (negative, unsigned) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    if (whole.is_empty() && fraction.is_empty()) || !digits().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let ten = i256::from(10);
    let mut unscaled = i256::ZERO;
    let mut count = 0u32;
    for byte in digits() {
        if count > 0 || byte != b'0' {
            count += 1;
        }
        if count > MOST_DIGITS {
            return Err(overflow());
        }
        unscaled = unscaled * ten + i256::from(i32::from(byte - b'0'));
    }
    let mut scale = i32::try_from(fraction.len()).map_err(|_| overflow())? - exponent.min(100_000);
    if scale < 0 {
        // 1e3 is 1000
        for _ in scale..0 {
            if count > 0 {
                count += 1;
            }
            if count > MOST_DIGITS {
                return Err(overflow());
            }
            unscaled *= ten;
        }
        scale = 0;
    }
    if scale.unsigned_abs() > MOST_DIGITS {
        return Err(overflow());
    }
    Ok(Numeric {
        unscaled: if negative { -unscaled } else { unscaled },
        scale,
        precision: count.max(scale.unsigned_abs()).max(1),
    })
}

fn overflow() -> FederationError {
    crate::error::Cause::OutOfRange {
        message: "value overflows numeric format".into(),
    }
    .into()
}

impl Numeric {
    /// The digits of a decimal with that scale, rounded half away from zero; None when they overflow.
    pub fn rescale(self, scale: i32) -> Option<i256> {
        rescale(self.unscaled, self.scale, scale)
    }
}

/// Ten to the power of a number of digits.
pub fn power_of_ten(exponent: u32) -> Option<i256> {
    i256::from(10).checked_pow(exponent)
}

/// `value / 10^from` as `result / 10^to`, rounded half away from zero; None when it overflows.
pub fn rescale(value: i256, from: i32, to: i32) -> Option<i256> {
    if to >= from {
        return value.checked_mul(power_of_ten(to.checked_sub(from)?.unsigned_abs())?);
    }
    let drop = from.checked_sub(to)?.unsigned_abs();
    let Some(divisor) = power_of_ten(drop) else {
        // fewer digits than are dropped
        return Some(i256::ZERO);
    };
    Some(divide_half_away(value, divisor))
}

/// `value / divisor`, rounded half away from zero; `divisor` is positive.
pub fn divide_half_away(value: i256, divisor: i256) -> i256 {
    let quotient = value.wrapping_div(divisor);
    let rest = value.wrapping_rem(divisor).wrapping_abs();
    // twice the rest may overflow, the rest's complement does not
    if rest >= divisor.wrapping_sub(rest) {
        if value.is_negative() {
            quotient.wrapping_sub(i256::ONE)
        } else {
            quotient.wrapping_add(i256::ONE)
        }
    } else {
        quotient
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers() {
        let read = |text| integer(text, i64::from(i32::MIN), i64::from(i32::MAX), "integer");
        assert_eq!(read(" +42 "), Ok(42));
        assert_eq!(read("-2147483648"), Ok(-2_147_483_648));
        for (text, code) in [
            ("", "22P02"),
            ("4.2", "22P02"),
            ("1e3", "22P02"),
            ("- 1", "22P02"),
            ("2147483648", "22003"),
            ("99999999999999999999999", "22003"),
        ] {
            assert_eq!(read(text).unwrap_err().sqlstate(), code, "{text}");
        }
        assert_eq!(
            integer("-9223372036854775808", i64::MIN, i64::MAX, "bigint"),
            Ok(i64::MIN)
        );
    }

    #[test]
    fn floats() {
        assert_eq!(float8(" 1.5e3 "), Ok(1500.0));
        assert_eq!(float8("-Infinity"), Ok(f64::NEG_INFINITY));
        assert_eq!(float8("0e999"), Ok(0.0));
        for (text, code) in [
            ("1e400", "22003"),
            ("1e-400", "22003"),
            ("", "22P02"),
            ("1.5x", "22P02"),
            ("infinite", "22P02"),
        ] {
            assert_eq!(float8(text).unwrap_err().sqlstate(), code, "{text}");
        }
    }

    #[test]
    fn numerics_keep_their_scale() {
        for (text, unscaled, scale, precision) in [
            ("1.50", 150, 2, 3),
            ("-.5", -5, 1, 1),
            ("1e3", 1000, 0, 4),
            ("1.5e-3", 15, 4, 4),
            ("000", 0, 0, 1),
            ("0.001", 1, 3, 3),
            ("12.", 12, 0, 2),
        ] {
            let expected = Numeric {
                unscaled: i256::from(unscaled),
                scale,
                precision,
            };
            assert_eq!(numeric(text), Ok(expected), "{text}");
        }
        for text in ["", ".", "1.2.3", "1e", "--1", "0x10"] {
            assert_eq!(numeric(text).unwrap_err().sqlstate(), "22P02", "{text}");
        }
        assert_eq!(numeric(&"9".repeat(77)).unwrap_err().sqlstate(), "22003");
    }

    #[test]
    fn rounding_is_half_away_from_zero() {
        for (value, from, to, expected) in [
            (25, 1, 0, 3),
            (-25, 1, 0, -3),
            (24, 1, 0, 2),
            (1005, 3, 2, 101),
            (15, 0, 2, 1500),
            (5, 80, 2, 0),
        ] {
            assert_eq!(
                rescale(i256::from(value), from, to),
                Some(i256::from(expected)),
                "{value}"
            );
        }
    }
}
