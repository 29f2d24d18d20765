//! Numbers: decimal text, Postgres' shortest float format, and the binary `numeric`.

use std::fmt::Write;

use arrow::datatypes::i256;
use bytes::{BufMut, BytesMut};

/// Decimal digits of a number.
pub fn put_unsigned(value: u64, out: &mut BytesMut) {
    put_padded(value, 1, out);
}

/// Decimal digits, at least `width` of them.
pub fn put_padded(mut value: u64, width: usize, out: &mut BytesMut) {
    let mut buffer = [b'0'; 20];
    let mut start = 20;
    while value != 0 || 20 - start < width {
        start -= 1;
        buffer[start] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.put_slice(&buffer[start..]);
}

/// A signed integer.
pub fn put_integer(value: i64, out: &mut BytesMut) {
    if value < 0 {
        out.put_u8(b'-');
    }
    put_unsigned(value.unsigned_abs(), out);
}

/// A text buffer on the stack for `fmt::Write`.
struct Scratch {
    bytes: [u8; 96],
    length: usize,
}

impl Scratch {
    fn of(arguments: std::fmt::Arguments<'_>) -> Self {
        let mut scratch = Scratch {
            bytes: [0; 96],
            length: 0,
        };
        // 96 bytes hold every float and every 256-bit integer; `write_str` refuses more rather than cut
        let written = scratch.write_fmt(arguments);
        debug_assert!(written.is_ok());
        scratch
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Takes bytes off the end.
    fn shorten(&mut self, count: usize) {
        self.length = self.length.saturating_sub(count);
    }
}

impl Write for Scratch {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        self.bytes
            .get_mut(self.length..end)
            .ok_or(std::fmt::Error)?
            .copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// `float8out` with `extra_float_digits >= 1`: the shortest digits that read back as the same number.
pub fn put_f64(value: f64, out: &mut BytesMut) {
    if put_special(value, out) {
        put_shortest(&Scratch::of(format_args!("{value:e}")), 15, out);
    }
}

/// `float4out`, see [`put_f64`].
pub fn put_f32(value: f32, out: &mut BytesMut) {
    if put_special(f64::from(value), out) {
        put_shortest(&Scratch::of(format_args!("{value:e}")), 6, out);
    }
}

/// Writes what has no digits and returns whether digits remain to be written.
fn put_special(value: f64, out: &mut BytesMut) -> bool {
    if value.is_nan() {
        out.put_slice(b"NaN");
    } else if value.is_infinite() {
        out.put_slice(if value < 0.0 { b"-Infinity" } else { b"Infinity" });
    } else {
        return true;
    }
    false
}

/// Rewrites Rust's `-1.25e-7` by the rule of Postgres' `ryu`: fixed notation for exponents from -4 up to
/// `fixed_below`, otherwise an exponent with a sign and at least two digits (d2s.c, f2s.c).
fn put_shortest(scratch: &Scratch, fixed_below: i32, out: &mut BytesMut) {
    let text = scratch.as_bytes();
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    if negative {
        out.put_u8(b'-');
    }
    let split = text.iter().position(|byte| *byte == b'e').unwrap_or(text.len());
    let exponent: i32 = std::str::from_utf8(text.get(split + 1..).unwrap_or_default())
        .ok()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0);
    let (lead, rest) = (&text[..1], text[..split].get(2..).unwrap_or_default());
    if (-4..fixed_below).contains(&exponent) {
        if exponent < 0 {
            out.put_slice(b"0.");
            out.put_bytes(b'0', (-exponent - 1) as usize);
            out.put_slice(lead);
            out.put_slice(rest);
        } else {
            let whole = exponent as usize;
            out.put_slice(lead);
            if rest.len() <= whole {
                out.put_slice(rest);
                out.put_bytes(b'0', whole - rest.len());
            } else {
                out.put_slice(&rest[..whole]);
                out.put_u8(b'.');
                out.put_slice(&rest[whole..]);
            }
        }
    } else {
        out.put_slice(lead);
        if !rest.is_empty() {
            out.put_u8(b'.');
            out.put_slice(rest);
        }
        out.put_u8(b'e');
        out.put_u8(if exponent < 0 { b'-' } else { b'+' });
        put_padded(u64::from(exponent.unsigned_abs()), 2, out);
    }
}

/// An exact decimal: sign, digits without leading zeros, and how many of them follow the point.
pub struct Decimal {
    scratch: Scratch,
    scale: i32,
}

impl Decimal {
    /// `value / 10^scale`.
    pub fn from_i128(value: i128, scale: i8) -> Self {
        Decimal {
            scratch: Scratch::of(format_args!("{value}")),
            scale: i32::from(scale),
        }
    }

    /// `value / 10^scale`.
    pub fn from_i256(value: i256, scale: i8) -> Self {
        Decimal {
            scratch: Scratch::of(format_args!("{value}")),
            scale: i32::from(scale),
        }
    }

    /// Without zeros at the end: a numeric that keeps no account of how many digits it was written with.
    #[must_use]
    pub fn trimmed(mut self) -> Self {
        let places = self.scale.max(0) as usize;
        let digits = self.scratch.as_bytes();
        if digits == b"0" {
            self.scale = 0;
            return self;
        }
        let zeros = digits
            .iter()
            .rev()
            .take_while(|digit| **digit == b'0')
            .count()
            .min(places);
        self.scale -= zeros as i32;
        self.scratch.shorten(zeros);
        self
    }

    fn parts(&self) -> (bool, &[u8]) {
        match self.scratch.as_bytes() {
            [b'-', digits @ ..] => (true, digits),
            [b'0'] => (false, &[]),
            digits => (false, digits),
        }
    }

    /// `-0.05`: as many digits behind the point as the scale says.
    pub fn put_text(&self, out: &mut BytesMut) {
        let (negative, digits) = self.parts();
        if negative {
            out.put_u8(b'-');
        }
        let scale = self.scale.max(0) as usize;
        let whole = digits.len().saturating_sub(scale);
        if whole == 0 {
            out.put_u8(b'0');
        } else {
            out.put_slice(&digits[..whole]);
            if self.scale < 0 {
                out.put_bytes(b'0', self.scale.unsigned_abs() as usize);
            }
        }
        if scale > 0 {
            out.put_u8(b'.');
            out.put_bytes(b'0', scale - (digits.len() - whole));
            out.put_slice(&digits[whole..]);
        }
    }

    /// `numeric_send`: number of base-10000 digits, weight of the first, sign, display scale, digits.
    pub fn put_binary(&self, out: &mut BytesMut) {
        let (negative, digits) = self.parts();
        // the place of a decimal digit, 0 for ones: the last digit has place -scale
        let digit_at = |place: i32| -> i16 {
            let index = digits.len() as i32 - 1 - (place + self.scale);
            usize::try_from(index)
                .ok()
                .and_then(|index| digits.get(index))
                .map_or(0, |digit| i16::from(digit - b'0'))
        };
        let (mut groups, mut weight) = (Vec::with_capacity(20), 0);
        if !digits.is_empty() {
            let highest = (digits.len() as i32 - 1 - self.scale).div_euclid(4);
            let lowest = (-self.scale).div_euclid(4);
            weight = highest;
            for group in (lowest..=highest).rev() {
                let place = group * 4;
                groups.push(
                    digit_at(place + 3) * 1_000
                        + digit_at(place + 2) * 100
                        + digit_at(place + 1) * 10
                        + digit_at(place),
                );
            }
            while groups.last() == Some(&0) {
                groups.pop();
            }
        }
        out.put_i16(groups.len() as i16);
        out.put_i16(weight as i16);
        out.put_u16(if negative { 0x4000 } else { 0 });
        out.put_i16(self.scale.max(0) as i16);
        for group in groups {
            out.put_i16(group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        write(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn floats_have_the_shortest_postgres_form() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (-123.456, "-123.456"),
            (1e14, "100000000000000"),
            (123_456_789_012_345.0, "123456789012345"),
            (1e15, "1e+15"),
            (1.5e300, "1.5e+300"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.234e-7, "1.234e-07"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, expected) in cases {
            assert_eq!(text(|out| put_f64(value, out)), expected);
        }
        for (value, expected) in [
            (0.1_f32, "0.1"),
            (1e5, "100000"),
            (1e6, "1e+06"),
            (3.402_823_5e38, "3.4028235e+38"),
            (123_456.7, "123456.7"),
        ] {
            assert_eq!(text(|out| put_f32(value, out)), expected);
        }
    }

    #[test]
    fn decimals_are_exact() {
        let cases: [(i128, i8, &str, &[u8]); 9] = [
            (0, 0, "0", &[0, 0, 0, 0, 0, 0, 0, 0]),
            (0, 2, "0.00", &[0, 0, 0, 0, 0, 0, 0, 2]),
            (5, 2, "0.05", &[0, 1, 0xff, 0xff, 0, 0, 0, 2, 0x01, 0xf4]),
            (-5, 2, "-0.05", &[0, 1, 0xff, 0xff, 0x40, 0, 0, 2, 0x01, 0xf4]),
            (12_345, 2, "123.45", &[0, 2, 0, 0, 0, 0, 0, 2, 0, 123, 0x11, 0x94]),
            (10_000, 0, "10000", &[0, 1, 0, 1, 0, 0, 0, 0, 0, 1]),
            (100_000_000, 4, "10000.0000", &[0, 1, 0, 1, 0, 0, 0, 4, 0, 1]),
            (12, -3, "12000", &[0, 2, 0, 1, 0, 0, 0, 0, 0, 1, 0x07, 0xd0]),
            (1, 9, "0.000000001", &[0, 1, 0xff, 0xfd, 0, 0, 0, 9, 0x03, 0xe8]),
        ];
        for (value, scale, expected, binary) in cases {
            let decimal = Decimal::from_i128(value, scale);
            assert_eq!(text(|out| decimal.put_text(out)), expected);
            let mut out = BytesMut::new();
            decimal.put_binary(&mut out);
            assert_eq!(&out[..], binary, "{expected}");
        }
        let widest = Decimal::from_i256(i256::MIN, 76);
        assert_eq!(
            text(|out| widest.put_text(out)),
            "-5.7896044618658097711785492504343953926634992332820282019728792003956564819968"
        );
    }
}
