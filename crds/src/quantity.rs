//! Amounts of compute as Kubernetes writes them: `500m` cpu, `1Gi` memory.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::text::excerpt;

/// Processors in thousandths, such as `2`, `0.5` or `500m`.
#[derive(Clone, Eq)]
pub struct Cpu {
    text: String,
    millis: u64,
}

/// Bytes, such as `512Mi`, `1Gi` or `2G`.
#[derive(Clone, Eq)]
pub struct Memory {
    text: String,
    bytes: u64,
}

/// Why a text is not an amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuantity {
    #[error(
        "\"{text}\" is not an amount of cpu; write whole or decimal processors such as 2 or 0.5, or thousandths such as 500m"
    )]
    Cpu { text: String },
    #[error(
        "\"{text}\" is not an amount of memory; write bytes with a unit Ki, Mi, Gi, Ti, k, M, G or T, such as 512Mi"
    )]
    Memory { text: String },
}

impl Cpu {
    /// Thousandths of a processor.
    pub fn millis(&self) -> u64 {
        self.millis
    }

    /// Threads of a run with this limit: one per whole processor, at least one.
    pub fn threads(&self) -> usize {
        usize::try_from(self.millis / 1000).unwrap_or(usize::MAX).max(1)
    }
}

impl Memory {
    /// Bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Parses `<digits>[.<digits>]` times `scale`; None when malformed, out of range, or when the
/// result is not whole (an amount is never rounded silently).
fn decimal_times(text: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || (text.contains('.') && fraction.is_empty())
    {
        return None;
    }
    if fraction.len() > 9 {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(scale)?;
    if fraction.is_empty() {
        return Some(whole);
    }
    let unit = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let scaled = u128::from(fraction.parse::<u64>().ok()?) * u128::from(scale);
    if !scaled.is_multiple_of(unit) {
        return None;
    }
    whole.checked_add(u64::try_from(scaled / unit).ok()?)
}

impl FromStr for Cpu {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let millis = match text.strip_suffix('m') {
            Some(number) => decimal_times(number, 1),
            None => decimal_times(text, 1000),
        };
        match millis {
            Some(millis) if millis > 0 => Ok(Self {
                text: text.to_owned(),
                millis,
            }),
            _ => Err(InvalidQuantity::Cpu { text: excerpt(text) }),
        }
    }
}

impl FromStr for Memory {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const UNITS: [(&str, u64); 8] = [
            ("Ki", 1 << 10),
            ("Mi", 1 << 20),
            ("Gi", 1 << 30),
            ("Ti", 1 << 40),
            ("k", 1_000),
            ("M", 1_000_000),
            ("G", 1_000_000_000),
            ("T", 1_000_000_000_000),
        ];
        let (number, scale) = UNITS
            .iter()
            .find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, *scale)))
            .unwrap_or((text, 1));
        match decimal_times(number, scale) {
            Some(bytes) if bytes > 0 => Ok(Self {
                text: text.to_owned(),
                bytes,
            }),
            _ => Err(InvalidQuantity::Memory { text: excerpt(text) }),
        }
    }
}

/// Both amounts read and write alike; only their unit differs.
macro_rules! quantity {
    ($type:ident, $field:ident, $pattern:literal) => {
        impl $type {
            /// Pattern that the schema of such an amount carries.
            pub(crate) const PATTERN: &'static str = $pattern;
        }

        impl PartialEq for $type {
            fn eq(&self, other: &Self) -> bool {
                self.$field == other.$field
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.text)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.text)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.text)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(Deserialize)]
                #[serde(untagged)]
                enum IntOrString {
                    Int(u64),
                    String(String),
                }
                let text = match IntOrString::deserialize(deserializer)? {
                    IntOrString::Int(number) => number.to_string(),
                    IntOrString::String(text) => text,
                };
                text.parse().map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "x-kubernetes-int-or-string": true,
                    "pattern": $pattern,
                    "maxLength": 32,
                })
            }
        }
    };
}

quantity!(Cpu, millis, "^[0-9]+(\\.[0-9]{1,9})?m?$");
quantity!(Memory, bytes, "^[0-9]+(\\.[0-9]{1,9})?(Ki|Mi|Gi|Ti|k|M|G|T)?$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_counts_thousandths() {
        for (text, millis, threads) in [
            ("2", 2000, 2),
            ("500m", 500, 1),
            ("0.5", 500, 1),
            ("1.75", 1750, 1),
            ("2500m", 2500, 2),
        ] {
            let cpu: Cpu = text.parse().unwrap();
            assert_eq!((cpu.millis(), cpu.threads()), (millis, threads), "{text}");
        }
        assert_eq!(serde_json::from_str::<Cpu>("2").unwrap(), "2".parse().unwrap());
        for text in [
            "",
            "m",
            "-1",
            "1e3",
            "0",
            "1.",
            ".5",
            "0.0001",
            "two",
            "99999999999999999999",
        ] {
            assert!(text.parse::<Cpu>().is_err(), "{text}");
        }
    }

    #[test]
    fn memory_counts_bytes() {
        for (text, bytes) in [
            ("1024", 1024),
            ("1Ki", 1024),
            ("512Mi", 512 << 20),
            ("1.5Gi", 3 << 29),
            ("2G", 2_000_000_000),
        ] {
            assert_eq!(text.parse::<Memory>().unwrap().bytes(), bytes, "{text}");
        }
        for text in ["", "Mi", "1mb", "1MB", "-1Gi", "0", "1 Gi", "99999999Ti"] {
            assert!(text.parse::<Memory>().is_err(), "{text}");
        }
    }
}
