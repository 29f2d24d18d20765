//! `to_char` of numbers, and `to_number`.

use std::fmt::Write as _;

use arrow::datatypes::{Field, FieldRef, Float64Type, Int32Type, Int64Type, i256};

use super::scaffold::{Call, Function, Outcome, Returns, TEXT, function, overload};
use crate::cast::float_digits;
use crate::error::FederationError;
use crate::types::FREE_NUMERIC;
use crate::values::read::number::{self, rescale};
use crate::values::read::value_error;

/// How a sign is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Sign {
    /// A blank or minus directly before the number.
    #[default]
    Default,
    /// `S` before the digits.
    Leading,
    /// `S` behind the digits.
    Trailing,
    /// `MI`: a minus or blank at its place.
    Minus,
    /// `PL`
    Plus,
    /// `SG`
    Both,
    /// `PR`: angle brackets.
    Brackets,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// A digit: `9`, or `0` which is shown even if zero.
    Digit {
        zero: bool,
    },
    Point,
    Comma,
    Currency,
    Sign(Sign),
    Ordinal(bool),
    Text(char),
}

/// A template taken apart.
#[derive(Debug, Default)]
struct Template {
    parts: Vec<Part>,
    /// Digits before and behind the point.
    whole: usize,
    fraction: usize,
    /// Digits to shift by: `V`.
    shift: u32,
    fill: bool,
    sign: Sign,
    scientific: bool,
    roman: Option<bool>,
}

fn parse(template: &str) -> Result<Template, FederationError> {
    let mut parsed = Template {
        fill: true,
        ..Template::default()
    };
    let mut rest = template;
    let (mut point, mut shifting) = (false, false);
    while let Some(character) = rest.chars().next() {
        let upper = rest.get(..2).unwrap_or_default().to_ascii_uppercase();
        let mut taken = character.len_utf8();
        match upper.as_str() {
            "FM" => {
                parsed.fill = false;
                taken = 2;
            }
            "MI" | "PL" | "SG" | "PR" => {
                let sign = match upper.as_str() {
                    "MI" => Sign::Minus,
                    "PL" => Sign::Plus,
                    "SG" => Sign::Both,
                    _ => Sign::Brackets,
                };
                parsed.sign = sign;
                if sign != Sign::Brackets {
                    parsed.parts.push(Part::Sign(sign));
                }
                taken = 2;
            }
            "TH" => {
                parsed.parts.push(Part::Ordinal(rest.starts_with('T')));
                taken = 2;
            }
            "RN" => {
                parsed.roman = Some(rest.starts_with('R'));
                taken = 2;
            }
            "EE" if rest
                .get(..4)
                .is_some_and(|text| text.eq_ignore_ascii_case("EEEE")) =>
            {
                parsed.scientific = true;
                taken = 4;
            }
            _ => match character {
                '9' | '0' => {
                    if shifting {
                        parsed.shift += 1;
                        parsed.whole += 1;
                    } else if point {
                        parsed.fraction += 1;
                    } else {
                        parsed.whole += 1;
                    }
                    parsed.parts.push(Part::Digit {
                        zero: character == '0',
                    });
                }
                '.' | 'D' | 'd' => {
                    if point {
                        return Err(value_error("42601", "multiple decimal points"));
                    }
                    point = true;
                    parsed.parts.push(Part::Point);
                }
                ',' | 'G' | 'g' => parsed.parts.push(Part::Comma),
                'V' | 'v' => shifting = true,
                'L' | 'l' => parsed.parts.push(Part::Currency),
                'S' | 's' => {
                    let leading = !parsed.parts.iter().any(|part| matches!(part, Part::Digit { .. }));
                    parsed.sign = if leading { Sign::Leading } else { Sign::Trailing };
                    parsed.parts.push(Part::Sign(parsed.sign));
                }
                '"' => {
                    let quoted = &rest[1..];
                    let end = quoted.find('"').unwrap_or(quoted.len());
                    parsed.parts.extend(quoted[..end].chars().map(Part::Text));
                    taken = (end + 2).min(rest.len());
                }
                other => parsed.parts.push(Part::Text(other)),
            },
        }
        rest = &rest[taken..];
    }
    Ok(parsed)
}

fn roman(value: i64) -> Option<String> {
    const NUMERALS: [(i64, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    let mut rest = value;
    if !(1..=3999).contains(&value) {
        return None;
    }
    let mut text = String::new();
    for (number, numeral) in NUMERALS {
        while rest >= number {
            text.push_str(numeral);
            rest -= number;
        }
    }
    Some(text)
}

/// A number by a template.
fn format(value: i256, scale: i32, template: &Template, out: &mut String) {
    if let Some(upper) = template.roman {
        let whole = rescale(value, scale, 0).and_then(i256::to_i128).unwrap_or(0);
        let text = roman(i64::try_from(whole).unwrap_or(0)).unwrap_or_else(|| "###############".into());
        let text = if upper { text } else { text.to_lowercase() };
        if template.fill {
            let _ = write!(out, "{text:>15}");
        } else {
            out.push_str(&text);
        }
        return;
    }
    if template.scientific {
        scientific(value, scale, template, out);
        return;
    }
    // V multiplies, and rounds what is left
    let places = template.fraction as i32;
    let shifted = rescale(value, scale - template.shift as i32, places).unwrap_or(i256::ZERO);
    let negative = shifted.is_negative() || (value.is_negative() && shifted != i256::ZERO);
    let digits = shifted.wrapping_abs().to_string();
    let digits = format!("{digits:0>width$}", width = template.fraction + 1);
    let (whole, fraction) = digits.split_at(digits.len() - template.fraction);
    let whole = whole.trim_start_matches('0');
    let overflow = whole.len() > template.whole;
    number(whole, fraction, negative, overflow, template, out);
}

fn number(
    whole: &str,
    fraction: &str,
    negative: bool,
    overflow: bool,
    template: &Template,
    out: &mut String,
) {
    let missing = template.whole.saturating_sub(whole.len());
    // from the first 0 on every digit is shown; the last digit before a point always is
    let mut index = 0;
    let first_zero = template
        .parts
        .iter()
        .filter(|part| matches!(part, Part::Digit { .. }))
        .take(template.whole)
        .position(|part| matches!(part, Part::Digit { zero: true }));
    let shown_from = first_zero.map_or(missing, |zero| zero.min(missing));
    // without a fraction a zero is shown as its last digit
    let shown_from = if template.fraction == 0 && whole.is_empty() && template.whole > 0 && !overflow {
        shown_from.min(template.whole - 1)
    } else {
        shown_from
    };
    let last_significant = fraction.trim_end_matches('0').len();
    let mut behind_point = 0;
    let mut body = String::new();
    let mut started = false;
    let sign_text = |sign: Sign| match (sign, negative) {
        (Sign::Minus | Sign::Both | Sign::Leading | Sign::Trailing, true) => "-",
        (Sign::Minus, false) if template.fill => " ",
        (Sign::Plus | Sign::Both | Sign::Leading | Sign::Trailing, false) => "+",
        (Sign::Plus, true) if template.fill => " ",
        _ => "",
    };
    let default_sign = match (template.sign, negative) {
        (Sign::Default, true) => "-",
        (Sign::Brackets, true) => "<",
        (Sign::Default | Sign::Brackets, false) if template.fill => " ",
        // PL shows a plus alone: the minus stands before the digits
        (Sign::Plus, true) => "-",
        (Sign::Plus, false) if template.fill => " ",
        _ => "",
    };
    let mut point_seen = false;
    let mut pending = String::new();
    let start = |body: &mut String, started: &mut bool, pending: &mut String| {
        if !*started {
            *started = true;
            // the sign stands directly before the first digit
            body.push_str(pending);
            pending.clear();
            if template.sign == Sign::Leading {
                body.push_str(sign_text(Sign::Leading));
            } else {
                body.push_str(default_sign);
            }
        }
    };
    for part in &template.parts {
        match part {
            Part::Digit { zero } if !point_seen => {
                let place = index;
                index += 1;
                if overflow {
                    start(&mut body, &mut started, &mut pending);
                    body.push('#');
                } else if place >= missing {
                    start(&mut body, &mut started, &mut pending);
                    body.push_str(whole.get(place - missing..=place - missing).unwrap_or("0"));
                } else if place >= shown_from {
                    start(&mut body, &mut started, &mut pending);
                    body.push('0');
                } else if template.fill {
                    let _ = zero;
                    pending.push(' ');
                }
            }
            Part::Digit { zero } => {
                start(&mut body, &mut started, &mut pending);
                let keep = template.fill || *zero || behind_point < last_significant
                    // a zero further on keeps those before it
                    || zero_follows(template, behind_point);
                if overflow {
                    body.push('#');
                } else if keep {
                    body.push_str(fraction.get(behind_point..=behind_point).unwrap_or("0"));
                }
                behind_point += 1;
            }
            Part::Point => {
                start(&mut body, &mut started, &mut pending);
                point_seen = true;
                body.push('.');
            }
            Part::Comma => {
                if started {
                    body.push(',');
                } else if template.fill {
                    pending.push(' ');
                }
            }
            Part::Currency => {
                if template.fill || started {
                    body.push(' ');
                }
            }
            Part::Sign(Sign::Leading) => {}
            Part::Sign(sign) => {
                if started {
                    body.push_str(sign_text(*sign));
                } else {
                    pending.push_str(sign_text(*sign));
                }
            }
            Part::Ordinal(upper) => {
                if !negative && template.fraction == 0 {
                    let last: i64 = whole.parse().unwrap_or(0);
                    let ending = match (last % 100, last % 10) {
                        (11..=13, _) => "th",
                        (_, 1) => "st",
                        (_, 2) => "nd",
                        (_, 3) => "rd",
                        _ => "th",
                    };
                    body.push_str(&if *upper {
                        ending.to_uppercase()
                    } else {
                        ending.to_owned()
                    });
                }
            }
            Part::Text(character) => {
                if started {
                    body.push(*character);
                } else {
                    pending.push(*character);
                }
            }
        }
    }
    out.push_str(&pending);
    out.push_str(&body);
    if template.sign == Sign::Brackets {
        if negative {
            out.push('>');
        } else if template.fill {
            out.push(' ');
        }
    }
}

fn zero_follows(template: &Template, behind_point: usize) -> bool {
    template
        .parts
        .iter()
        .filter(|part| matches!(part, Part::Digit { .. }))
        .skip(template.whole)
        .skip(behind_point)
        .any(|part| matches!(part, Part::Digit { zero: true }))
}

fn scientific(value: i256, scale: i32, template: &Template, out: &mut String) {
    let digits = value.wrapping_abs().to_string();
    let exponent = if value == i256::ZERO {
        0
    } else {
        digits.len() as i32 - 1 - scale
    };
    let places = template.fraction as i32;
    let mut mantissa = rescale(value.wrapping_abs(), scale + exponent, places)
        .unwrap_or(i256::ZERO)
        .to_string();
    let mut exponent = exponent;
    // 9.99 may round to 10.0
    if mantissa.len() as i32 > places + 1 {
        mantissa.pop();
        exponent += 1;
    }
    let mantissa = format!("{mantissa:0>width$}", width = template.fraction + 1);
    let (whole, fraction) = mantissa.split_at(mantissa.len() - template.fraction);
    out.push_str(if value.is_negative() {
        "-"
    } else if template.fill {
        " "
    } else {
        ""
    });
    out.push_str(whole);
    if template.fraction > 0 {
        out.push('.');
        out.push_str(fraction);
    }
    let _ = write!(
        out,
        "e{}{:02}",
        if exponent < 0 { '-' } else { '+' },
        exponent.abs()
    );
}

/// Remembers the last template.
struct Templates(Option<(String, Template)>);

impl Templates {
    fn of(&mut self, text: &str) -> Result<&Template, FederationError> {
        if self.0.as_ref().is_none_or(|(known, _)| known != text) {
            self.0 = Some((text.to_owned(), parse(text)?));
        }
        match &self.0 {
            Some((_, template)) => Ok(template),
            None => Err(FederationError::internal("a template that was just read")),
        }
    }
}

fn with(call: &Call<'_>, value: impl Fn(usize) -> Result<(i256, i32), FederationError>) -> Outcome {
    let texts = call.texts(1);
    let mut templates = Templates(None);
    call.text(|row, out| {
        let (digits, scale) = value(row)?;
        format(digits, scale, templates.of(texts.get(row))?, out);
        Ok(true)
    })
}

pub(super) fn of_int4(call: &Call<'_>) -> Outcome {
    let values = call.values::<Int32Type>(0);
    with(call, |row| Ok((i256::from(values.get(row)), 0)))
}

pub(super) fn of_int8(call: &Call<'_>) -> Outcome {
    let values = call.values::<Int64Type>(0);
    with(call, |row| Ok((i256::from_i128(i128::from(values.get(row))), 0)))
}

pub(super) fn of_numeric(call: &Call<'_>) -> Outcome {
    let values = call.decimals(0);
    with(call, |row| Ok((values.get(row), values.scale)))
}

pub(super) fn of_float8(call: &Call<'_>) -> Outcome {
    let values = call.values::<Float64Type>(0);
    with(call, |row| {
        let digits = float_digits(values.get(row), false)?;
        Ok((digits.unscaled, digits.scale))
    })
}

fn free(_: &[FieldRef]) -> Result<Field, FederationError> {
    Ok(Field::new("", FREE_NUMERIC, true))
}

/// The digits and sign of a text; what a template adds to them is passed over.
fn to_number(call: &Call<'_>) -> Outcome {
    let (texts, templates) = (call.texts(0), call.texts(1));
    call.decimal(|row| {
        let template = parse(templates.get(row))?;
        let mut digits = String::new();
        let mut negative = false;
        let (mut whole, mut behind) = (0, None::<usize>);
        for character in texts.get(row).chars() {
            match character {
                '-' | '<' => negative = true,
                '.' if behind.is_none() && template.fraction > 0 => {
                    behind = Some(0);
                    digits.push('.');
                }
                '.' => break,
                digit if digit.is_ascii_digit() => match &mut behind {
                    Some(count) if *count < template.fraction => {
                        *count += 1;
                        digits.push(digit);
                    }
                    Some(_) => {}
                    None if whole < template.whole => {
                        whole += 1;
                        digits.push(digit);
                    }
                    None => {}
                },
                _ => {}
            }
        }
        if !digits.contains(|character: char| character.is_ascii_digit()) {
            return Err(crate::values::read::invalid("numeric", texts.get(row)));
        }
        let value = number::numeric(&digits)?;
        Ok(Some((
            if negative {
                value.unscaled.wrapping_neg()
            } else {
                value.unscaled
            },
            value.scale,
        )))
    })
}

pub(super) fn functions() -> Vec<Function> {
    vec![function(
        "to_number",
        [overload(&[TEXT, TEXT], Returns::From(free), to_number)],
    )]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_formatted_as_postgres_formats_them() {
        for (value, template, expected) in [
            ("1234.5", "9999.99", " 1234.50"),
            ("1234.5", "FM9999.99", "1234.5"),
            ("1234567.891", "9,999,999.99", " 1,234,567.89"),
            ("-5", "999", "  -5"),
            ("5", "000", " 005"),
            ("0.5", "0.99", " 0.50"),
            ("0.5", "9.99", "  .50"),
            ("12", "FM000", "012"),
            ("1234.5", "FM999,999,990.00", "1,234.50"),
            ("12345", "999", " ###"),
            ("-12.3", "S99.9", "-12.3"),
            ("12.3", "99.9PR", " 12.3 "),
            ("-12.3", "99.9PR", "<12.3>"),
            ("485", "RN", "        CDLXXXV"),
            ("12.45", "99V9", " 125"),
            ("485", "999th", " 485th"),
            ("0", "999", "   0"),
            ("1e10", "9.99EEEE", " 1.00e+10"),
        ] {
            let number = number::numeric(value).unwrap();
            let mut out = String::new();
            format(number.unscaled, number.scale, &parse(template).unwrap(), &mut out);
            assert_eq!(out, expected, "to_char({value}, '{template}')");
        }
    }
}
